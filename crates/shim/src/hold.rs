//! A container that stands still for a moment: frozen by a connection, and never longer than that lasts.
//!
//! An engine that dies while it copies a volume leaves nobody frozen. What is told of the container stays as it is, so that an
//! engine that comes back in the middle takes it for what it is.

use std::time::{Duration, Instant};

use shim_protocol::Response;

use crate::connection::Role;
use crate::supervise::Supervisor;

#[derive(Debug)]
pub(crate) struct Held {
    /// Number of the connection.
    by: u32,
    since: Instant,
}

impl Supervisor {
    pub(crate) fn hold(&mut self, number: u32) -> Result<(), String> {
        if self.state.paused || self.held.is_some() {
            return Err("container is already paused".to_owned());
        }
        let since = Instant::now();
        self.freeze(false)?;
        self.held = Some(Held { by: number, since });
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.role = Role::Holding;
        }
        Ok(())
    }

    /// The connection has ended, or its client has: whoever it holds goes on.
    pub(crate) fn end_hold(&mut self, number: u32) {
        let stood_still = match self.held.take_if(|held| held.by == number) {
            Some(held) => self.thaw().map(|()| held.since.elapsed()),
            // Somebody has killed it meanwhile; what runs since is not held by this connection.
            None => Ok(Duration::ZERO),
        };
        match stood_still {
            Ok(time) => {
                let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                self.answer(number, &Response::Thawed { microseconds });
            }
            Err(reason) => self.refuse(number, &reason),
        }
    }

    /// Thaws what is held, whoever holds it.
    pub(crate) fn let_go(&mut self) -> Result<(), String> {
        match self.held.take() {
            Some(_) => self.thaw(),
            None => Ok(()),
        }
    }
}
