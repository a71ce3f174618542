//! Signals of the client on their way to the container.

use std::thread;

use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGSYS, SIGTERM, SIGTRAP,
    SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::failure::Outcome;
use crate::http::{Client, Query};
use crate::terminal;

/// What people and supervisors send to a foreground program. Not those that are about the client itself: children, broken
/// pipes, background reads.
const FORWARDED: [i32; 17] = [
    SIGHUP, SIGINT, SIGQUIT, SIGTRAP, SIGABRT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCONT,
    SIGTSTP, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGSYS,
];

/// Real-time signals: `RTMIN+3` stops a container that runs systemd.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Sends every signal that this process gets to the container, until the process ends. A signal that means the end and
/// cannot be delivered twice is for the client: its engine is gone.
pub(super) fn forward(client: &Client, container: &str) -> Outcome<()> {
    let mut signals = Signals::new(FORWARDED.into_iter().chain(REAL_TIME))?;
    let (client, path) = (client.clone(), format!("/containers/{container}/kill"));
    thread::spawn(move || {
        let mut undelivered = 0;
        for signal in signals.forever() {
            let path = Query::new(&*path).set("signal", signal.to_string()).build();
            if client.act(&path).is_ok() {
                undelivered = 0;
            } else if matches!(signal, SIGINT | SIGTERM | SIGQUIT | SIGHUP) {
                undelivered += 1;
                if undelivered > 1 {
                    die(signal);
                }
            }
        }
    });
    Ok(())
}

/// Signals that end this process leave a terminal that is as it was.
pub(super) fn restore_terminal() -> Outcome<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            die(signal);
        }
    });
    Ok(())
}

fn die(signal: i32) {
    terminal::restore();
    // It does not return: the signal's default is the end.
    drop(emulate_default_handler(signal));
}

/// Follows the size of the client's terminal; `path` is the resize route.
pub(super) fn follow_size(client: &Client, path: &str) -> Outcome<()> {
    if !terminal::stdout_is_terminal() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGWINCH])?;
    let (client, path) = (client.clone(), path.to_owned());
    resize(&client, &path);
    thread::spawn(move || {
        for _ in signals.forever() {
            resize(&client, &path);
        }
    });
    Ok(())
}

fn resize(client: &Client, path: &str) {
    if let Some((rows, columns)) = terminal::size() {
        let path = Query::new(path)
            .set("h", rows.to_string())
            .set("w", columns.to_string())
            .build();
        // A process that has not started, or has ended, has no terminal to resize.
        drop(client.act(&path));
    }
}
