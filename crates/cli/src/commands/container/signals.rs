//! Signals of the client on their way to the container.

use std::thread;

use signal_hook::consts::{SIGCHLD, SIGPIPE, SIGURG, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::failure::Outcome;
use crate::http::{Client, Query};

/// Signals that people and supervisors send to a foreground program.
const FORWARDED: [i32; 6] = [1, 2, 3, 10, 12, 15];

/// Sends every signal that this process gets to the container, until the process ends.
pub(super) fn forward(client: &Client, container: &str) -> Outcome<()> {
    let mut signals = Signals::new(FORWARDED)?;
    let (client, path) = (client.clone(), format!("/containers/{container}/kill"));
    thread::spawn(move || {
        for signal in signals.forever() {
            if matches!(signal, SIGCHLD | SIGPIPE | SIGURG) {
                continue;
            }
            if let Err(failure) =
                client.act(&Query::new(&*path).set("signal", signal.to_string()).build())
            {
                // It ended just now.
                drop(failure);
            }
        }
    });
    Ok(())
}

/// Follows the size of the client's terminal; `path` is the resize route.
pub(super) fn follow_size(client: &Client, path: &str) -> Outcome<()> {
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
    if let Some((rows, columns)) = crate::terminal::size() {
        let path = Query::new(path)
            .set("h", rows.to_string())
            .set("w", columns.to_string())
            .build();
        // A process that has not started, or has ended, has no terminal to resize.
        drop(client.act(&path));
    }
}
