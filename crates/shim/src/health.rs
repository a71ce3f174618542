//! The health check of a container: when it is probed, what a probe said, and what follows for its health.
//!
//! The shim probes, because it is there as long as the container is, with or without an engine, and has no thread to
//! spend: a probe is one more process of its loop. The rules are Docker's:
//!
//! * the first probe begins one interval after the start, each further one an interval after the end of the last; until
//!   the first success within the start period the start interval counts instead;
//! * a success makes the container healthy, `retries` failures in a row make it unhealthy; failures within the start
//!   period of a container that is still starting do not count;
//! * a probe that takes too long is killed, with all that it has started in its process group;
//! * a new start of the container begins with `starting`; the log of the last probes stays.
//!
//! While the container is frozen there are no probes: neither intervals nor timeouts run on. When it is its user who froze
//! it, it is unhealthy until the next good probe.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use shim_protocol::messages::{ExecSpec, HealthRecord, HealthStatus, Notice, ProbeRecord};
use shim_protocol::spec::HealthCheck;

use crate::supervise::{Process, Supervisor};

/// Probes that are remembered.
const KEPT: usize = 5;

/// Bytes of a probe's output that are remembered.
const OUTPUT: usize = 4096;

/// Exit code of a probe that did not run, or not to its end.
const FAILED: i32 = -1;

/// What a probe has written so far.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Capture {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let room = OUTPUT - self.bytes.len();
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.truncated {
            text.push_str("...");
        }
        text
    }
}

/// A probe that runs.
#[derive(Debug)]
struct Probe {
    exec: String,
    began: Timestamp,
    process: u32,
    /// When it is killed; `None` once it was.
    deadline: Option<Instant>,
}

/// The health of a container that has a check.
#[derive(Debug)]
pub(crate) struct Monitor {
    check: HealthCheck,
    record: HealthRecord,
    started: Instant,
    next: Option<Instant>,
    probe: Option<Probe>,
    frozen_at: Option<Instant>,
}

impl Monitor {
    pub(crate) fn new(check: HealthCheck) -> Self {
        Self {
            check,
            record: HealthRecord {
                status: HealthStatus::Starting,
                failing_streak: 0,
                log: Vec::new(),
            },
            started: Instant::now(),
            next: None,
            probe: None,
            frozen_at: None,
        }
    }

    pub(crate) fn record(&self) -> HealthRecord {
        self.record.clone()
    }

    /// The container has started, for the first time or again.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.record.status = HealthStatus::Starting;
        self.record.failing_streak = 0;
        self.started = now;
        self.frozen_at = None;
        self.probe = None;
        self.next = Some(now + self.pause(now));
    }

    /// The container has ended.
    pub(crate) fn end(&mut self) {
        self.next = None;
        self.probe = None;
    }

    /// `unwell`: a container that its user has frozen does not serve anybody, which is what its health tells until the next
    /// probe; one that is frozen for a moment does not notice.
    pub(crate) fn freeze(&mut self, now: Instant, unwell: bool) {
        self.frozen_at = Some(now);
        if unwell {
            self.record.status = HealthStatus::Unhealthy;
        }
    }

    pub(crate) fn thaw(&mut self, now: Instant) {
        let Some(since) = self.frozen_at.take() else {
            return;
        };
        let lost = now.saturating_duration_since(since);
        self.started += lost;
        for moment in [
            self.next.as_mut(),
            self.probe
                .as_mut()
                .and_then(|probe| probe.deadline.as_mut()),
        ]
        .into_iter()
        .flatten()
        {
            *moment += lost;
        }
    }

    /// When something is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.frozen_at.is_some() {
            return None;
        }
        match &self.probe {
            Some(probe) => probe.deadline,
            None => self.next,
        }
    }

    /// From the end of one probe to the next.
    fn pause(&self, now: Instant) -> Duration {
        let starting = self.record.status == HealthStatus::Starting
            && now.saturating_duration_since(self.started)
                < Duration::from_nanos(self.check.start_period);
        Duration::from_nanos(if starting {
            self.check.start_interval
        } else {
            self.check.interval
        })
    }

    /// Takes the result of a probe that began at `began`, and says when the next one is.
    fn judge(&mut self, probe: ProbeRecord, began: Instant, now: Instant) {
        let success = probe.exit_code == 0;
        if self.record.log.len() >= KEPT {
            self.record.log.drain(..=self.record.log.len() - KEPT);
        }
        self.record.log.push(probe);
        if success {
            self.record.failing_streak = 0;
            self.record.status = HealthStatus::Healthy;
        } else {
            let excused = self.record.status == HealthStatus::Starting
                && began.saturating_duration_since(self.started)
                    < Duration::from_nanos(self.check.start_period);
            if !excused {
                self.record.failing_streak = self.record.failing_streak.saturating_add(1);
                if self.record.failing_streak >= self.check.retries {
                    self.record.status = HealthStatus::Unhealthy;
                }
            }
        }
        self.next = Some(now + self.pause(now));
    }
}

impl Supervisor {
    /// Does what the check has to do by now.
    pub(crate) fn check_health(&mut self, now: Instant) {
        let Some(monitor) = &mut self.health else {
            return;
        };
        if monitor.due().is_none_or(|due| due > now) {
            return;
        }
        if let Some(probe) = &mut monitor.probe {
            probe.deadline = None;
            let process = self.processes.get(&probe.process);
            if let Some(pid) = process.and_then(|process| Pid::from_raw(process.pid)) {
                // It leads a group of its own, and is not reaped yet: the number is nobody else's. It may just have ended.
                kill_process_group(pid, Signal::KILL).unwrap_or_default();
            }
            return;
        }
        monitor.next = None;
        self.start_probe();
    }

    fn start_probe(&mut self) {
        let Some(monitor) = &self.health else {
            return;
        };
        let process = monitor.check.process.clone();
        let timeout = Duration::from_nanos(monitor.check.timeout);
        let began = Timestamp::now();
        let exec = random_id();
        self.announce(&Notice::Probing { exec: exec.clone() });
        let spec = ExecSpec {
            exec: exec.clone(),
            process,
            privileged: false,
            stdin: false,
            stdout: true,
            stderr: true,
            detach: false,
            detach_keys: None,
        };
        match self.start_exec(spec) {
            Ok(number) => {
                if let Some(process) = self.processes.get_mut(&number) {
                    process.capture = Some(Capture::default());
                }
                if let Some(monitor) = &mut self.health {
                    monitor.probe = Some(Probe {
                        exec,
                        began,
                        process: number,
                        // Counted from here: the time that the start took is not the program's.
                        deadline: Some(Instant::now() + timeout),
                    });
                }
            }
            Err(error) => {
                let output = format!(
                    "OCI runtime exec failed: exec failed: unable to start container process: {}",
                    error.message
                );
                self.probed(exec, None, began, FAILED, output);
            }
        }
    }

    /// A probe has ended and its output is there.
    pub(crate) fn probe_ended(&mut self, exec: String, process: &Process, capture: &Capture) {
        let Some(monitor) = &mut self.health else {
            return;
        };
        let code = process.end.as_ref().map(|end| end.code);
        let Some(probe) = monitor.probe.take_if(|probe| probe.exec == exec) else {
            // The container ended, and the probe with it: that says nothing about its health.
            let code = code.unwrap_or(FAILED);
            self.announce(&Notice::ExecExited { exec, code });
            return;
        };
        let text = capture.text();
        if probe.deadline.is_some() {
            self.probed(exec, code, probe.began, code.unwrap_or(FAILED), text);
            return;
        }
        let limit = go_duration(monitor.check.timeout);
        let mut output = format!("Health check exceeded timeout ({limit})");
        if !text.is_empty() {
            output.push_str(": ");
            output.push_str(&text);
        }
        self.probed(exec, code, probe.began, FAILED, output);
    }

    fn probed(
        &mut self,
        exec: String,
        code: Option<i32>,
        began: Timestamp,
        exit_code: i32,
        output: String,
    ) {
        let Some(monitor) = &mut self.health else {
            return;
        };
        let (end, now) = (Timestamp::now(), Instant::now());
        let took = end.duration_since(began).unsigned_abs();
        let probe = ProbeRecord {
            start: began.to_string(),
            end: end.to_string(),
            exit_code,
            output,
        };
        monitor.judge(probe.clone(), now.checked_sub(took).unwrap_or(now), now);
        let (status, failing_streak) = (monitor.record.status, monitor.record.failing_streak);
        self.announce(&Notice::Probed {
            exec,
            code,
            status,
            failing_streak,
            probe,
        });
    }
}

/// An exec's id: 64 hex digits.
fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        // After boot this cannot fail for such a size, only be interrupted by a signal.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or_default();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A duration of a millisecond or more as Go prints it: `1m30s`, `1.5s`, `300ms`.
fn go_duration(nanoseconds: u64) -> String {
    let fraction = |value: u64, scale: u64, unit: &str| {
        let digits = format!("{}", scale + value % scale);
        let text = format!("{}.{}", value / scale, &digits[1..]);
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    if nanoseconds < 1_000_000_000 {
        return fraction(nanoseconds, 1_000_000, "ms");
    }
    let minutes = nanoseconds / 60_000_000_000;
    let seconds = fraction(nanoseconds % 60_000_000_000, 1_000_000_000, "s");
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shim_protocol::spec::{Process as Program, Seccomp};

    const SECOND: u64 = 1_000_000_000;

    fn monitor(start_period: u64) -> Monitor {
        Monitor::new(HealthCheck {
            process: Program {
                args: vec!["true".into()],
                env: Vec::new(),
                cwd: "/".into(),
                user: String::new(),
                additional_groups: Vec::new(),
                tty: false,
                console_size: None,
                capabilities: Vec::new(),
                no_new_privileges: false,
                seccomp: Seccomp::Default,
                rlimits: Vec::new(),
                apparmor_profile: None,
            },
            interval: 30 * SECOND,
            timeout: SECOND,
            start_period,
            start_interval: 5 * SECOND,
            retries: 3,
        })
    }

    fn probe(exit_code: i32) -> ProbeRecord {
        ProbeRecord {
            start: String::new(),
            end: String::new(),
            exit_code,
            output: exit_code.to_string(),
        }
    }

    /// Judges a probe at each of these seconds after the start; the status after it, the streak, and seconds to the next.
    fn course(start_period: u64, probes: &[(u64, i32)]) -> Vec<(HealthStatus, u32, u64)> {
        let mut monitor = monitor(start_period * SECOND);
        let begin = Instant::now();
        monitor.begin(begin);
        probes
            .iter()
            .map(|&(at, code)| {
                let now = begin + Duration::from_secs(at);
                monitor.judge(probe(code), now, now);
                let next = monitor.next.expect("always one") - now;
                (
                    monitor.record.status,
                    monitor.record.failing_streak,
                    next.as_secs(),
                )
            })
            .collect()
    }

    #[test]
    fn three_failures_are_unhealthy_and_one_success_is_healthy() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        assert_eq!(
            course(
                0,
                &[(30, 1), (60, 1), (90, 2), (120, 1), (150, 0), (180, 1)]
            ),
            [
                (Starting, 1, 30),
                (Starting, 2, 30),
                (Unhealthy, 3, 30),
                (Unhealthy, 4, 30),
                (Healthy, 0, 30),
                (Healthy, 1, 30),
            ]
        );
    }

    #[test]
    fn the_start_period_excuses_failures_until_the_first_success() {
        use HealthStatus::{Healthy, Starting};
        assert_eq!(
            course(20, &[(5, 1), (10, 1), (15, 1), (21, 1)]),
            [
                (Starting, 0, 5),
                (Starting, 0, 5),
                (Starting, 0, 5),
                (Starting, 1, 30)
            ]
        );
        assert_eq!(
            course(20, &[(5, 0), (10, 1)]),
            [(Healthy, 0, 30), (Healthy, 1, 30)]
        );
    }

    #[test]
    fn five_probes_are_remembered_and_a_new_start_keeps_them() {
        let mut monitor = monitor(0);
        let now = Instant::now();
        monitor.begin(now);
        for code in 1..=7 {
            monitor.judge(probe(code), now, now);
        }
        monitor.begin(now);
        let record = monitor.record();
        let codes: Vec<_> = record.log.iter().map(|probe| probe.exit_code).collect();
        assert_eq!(codes, [3, 4, 5, 6, 7]);
        assert_eq!(
            (record.status, record.failing_streak),
            (HealthStatus::Starting, 0)
        );
    }

    #[test]
    fn nothing_is_due_in_a_frozen_container_and_everything_later_for_it() {
        let mut monitor = monitor(0);
        let begin = Instant::now();
        monitor.begin(begin);
        let due = monitor.due().expect("the first probe");
        monitor.freeze(begin, false);
        assert_eq!(monitor.due(), None);
        monitor.thaw(begin + Duration::from_secs(100));
        assert_eq!(monitor.due(), Some(due + Duration::from_secs(100)));
        assert_eq!(monitor.record.status, HealthStatus::Starting);
    }

    #[test]
    fn what_its_user_has_frozen_is_unhealthy_until_a_good_probe() {
        let mut monitor = monitor(0);
        let now = Instant::now();
        monitor.begin(now);
        monitor.judge(probe(0), now, now);
        monitor.freeze(now, true);
        monitor.thaw(now);
        assert_eq!(monitor.record.status, HealthStatus::Unhealthy);
        monitor.judge(probe(1), now, now);
        assert_eq!(monitor.record.status, HealthStatus::Unhealthy);
        monitor.judge(probe(0), now, now);
        assert_eq!(monitor.record.status, HealthStatus::Healthy);
    }

    #[test]
    fn output_is_cut() {
        let mut capture = Capture::default();
        capture.take(&[b'a'; 4000]);
        capture.take(&[b'b'; 96]);
        assert_eq!(capture.text().len(), OUTPUT);
        capture.take(b"c");
        assert!(capture.text().ends_with("b..."));
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (nanoseconds, text) in [
            (1_000_000, "1ms"),
            (1_500_000, "1.5ms"),
            (SECOND, "1s"),
            (SECOND * 3 / 2, "1.5s"),
            (90 * SECOND, "1m30s"),
            (3600 * SECOND, "1h0m0s"),
        ] {
            assert_eq!(go_duration(nanoseconds), text);
        }
    }
}
