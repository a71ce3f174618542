//! `system dial-stdio`: the connection to the engine on the standard streams, for clients elsewhere.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::Client;

const PORTION: usize = 64 << 10;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "as every command")]
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let engine = client.dial()?;
        let writer = engine.try_clone()?;
        // Not joined: a read of standard input cannot be called off, and the process ends soon after us.
        drop(thread::spawn(move || send(&writer)));
        let mut engine = engine;
        let mut out = io::stdout().lock();
        let mut buffer = vec![0; PORTION];
        loop {
            match engine.read(&mut buffer) {
                Ok(0) => return Ok(0),
                Ok(count) => {
                    out.write_all(&buffer[..count])?;
                    out.flush()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn send(mut engine: &UnixStream) {
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; PORTION];
    loop {
        match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if engine.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        }
    }
    // The engine may have ended first.
    drop(engine.shutdown(Shutdown::Write));
}
