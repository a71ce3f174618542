//! `kill`: one signal to the container's first process.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::find::Columns as _;
use super::{ContainerError, Containers, Status, WaitCondition};

/// Linux' signal numbers on the architectures we run on, by name.
const SIGNALS: [(&str, i32); 34] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];
const SIGKILL: i32 = 9;
/// How long a killed container is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// `KILL`, `SIGKILL`, `9`, `RTMIN+3`.
pub(crate) fn signal_number(text: &str) -> Result<i32, ContainerError> {
    let invalid = || ContainerError::Invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=RTMAX).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(&(_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Ok(number);
    }
    let real_time = match name.split_at_checked(5) {
        Some(("RTMIN", "")) => Some(RTMIN),
        Some(("RTMAX", "")) => Some(RTMAX),
        Some(("RTMIN", offset)) => offset
            .strip_prefix('+')
            .and_then(|n| n.parse().ok())
            .map(|n: i32| RTMIN + n),
        Some(("RTMAX", offset)) => offset
            .strip_prefix('-')
            .and_then(|n| n.parse().ok())
            .map(|n: i32| RTMAX - n),
        _ => None,
    };
    real_time
        .filter(|number| (RTMIN..=RTMAX).contains(number))
        .ok_or_else(invalid)
}

impl Containers {
    /// `signal`: name with or without SIG, or number; `None` is SIGKILL.
    pub fn kill(
        self: &Arc<Self>,
        reference: &str,
        signal: Option<&str>,
    ) -> Result<(), ContainerError> {
        let signal = signal_number(signal.filter(|text| !text.is_empty()).unwrap_or("KILL"))?;
        let row = self.find(reference)?;
        let not_running =
            || ContainerError::Conflict(format!("container {} is not running", row.id));
        if !row.status()?.is_active() {
            return Err(not_running());
        }
        // Only what ends a container counts as a wish that it stay down.
        let stop = signal == SIGKILL
            || signal == 15
            || row
                .config()?
                .stop_signal
                .as_deref()
                .and_then(|name| signal_number(name).ok())
                == Some(signal);
        if stop {
            self.change_state(&row.id, |row| row.manually_stopped = true)?;
        }
        let (sender, ended) = mpsc::channel();
        if signal == SIGKILL {
            let tell = Box::new(move |outcome| {
                // Nobody waits any more when the signal could not be sent.
                drop(sender.send(outcome));
            });
            self.wait(&row.id, WaitCondition::NotRunning, tell)?;
        }
        match self.ask(&row.id, &shim_protocol::Request::Kill { signal, stop }) {
            Ok(_) => {}
            Err(ContainerError::NotRunning(_)) => return Err(not_running()),
            Err(error) => return Err(error),
        }
        self.publish_kill(&row, signal);
        if row.status()? == Status::Paused && signal == SIGKILL {
            self.thaw(&row.id)?;
        }
        if signal == SIGKILL {
            // As in Docker, who asks next sees it ended; a process that is stuck in the kernel is not waited for.
            drop(ended.recv_timeout(PATIENCE));
        }
        Ok(())
    }

    /// Tells that a signal was sent, at once: what it brings about is told after it.
    pub(crate) fn publish_kill(&self, row: &store::ContainerRow, signal: i32) {
        self.publish(row, "kill", &[("signal", &signal.to_string())]);
    }
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigkill", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("usr1", 10),
        ] {
            assert_eq!(signal_number(text).expect(text), number);
        }
        for text in ["0", "65", "SIGFOO", "", "RTMIN+99", "-1"] {
            assert_eq!(
                signal_number(text).expect_err(text).to_string(),
                format!("invalid signal: {text}")
            );
        }
    }
}
