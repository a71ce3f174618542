//! Carries bytes between processes and the clients attached to them.
//!
//! Every attached client gets every byte from the moment it is attached, or is dropped: while one of them has
//! [`FULL`](crate::outbound::FULL) bytes waiting, no output is read, so that the process's pipe fills and the process
//! waits. A client that takes nothing for [`STALL`](crate::supervise::STALL) in that state is dropped.

use std::time::Instant;

use rustix::event::epoll::EventFlags;
use shim_protocol::stdio::{self, Stream};
use shim_protocol::{AttachSpec, Notice};

use crate::connection::{Received, Role};
use crate::detach::DetachKeys;
use crate::streams::Portion;
use crate::supervise::Supervisor;

/// Portions that one event of one stream may take before others get their turn.
const TURNS: usize = 8;

impl Supervisor {
    /// Makes connection `number` carry the streams of process `process`.
    pub(crate) fn attach(&mut self, number: u32, process: u32, mut streams: AttachSpec) {
        let (Some(connection), Some(target)) = (
            self.connections.get_mut(&number),
            self.processes.get_mut(&process),
        ) else {
            return;
        };
        streams.stdin &= target.takes_stdin;
        let keys = DetachKeys::new(streams.detach_keys.take());
        connection.role = Role::Attached {
            process,
            streams,
            keys,
        };
        target.clients.push(number);
        let early = std::mem::take(&mut connection.inbound);
        self.give_input(number, &early);
        self.refresh(process);
    }

    /// Something happened on a client's socket.
    pub(crate) fn on_connection(&mut self, number: u32, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        if flags.contains(EventFlags::OUT) && connection.flush().is_err() {
            self.lose(number);
            return;
        }
        if gone || flags.contains(EventFlags::IN) {
            self.hear(number, gone);
        }
        if gone {
            self.lose(number);
        } else {
            self.refresh_connection(number);
        }
    }

    /// Reads what the client sent: all of it when it is gone.
    fn hear(&mut self, number: u32, gone: bool) {
        // Not the loop's buffer: what is heard may lead to output.
        let mut buffer = [0; 8192];
        for turn in 0.. {
            let Some(connection) = self.connections.get_mut(&number) else {
                break;
            };
            if connection.input_ended {
                break;
            }
            if !gone && (turn == TURNS || !self.is_thirsty(number)) {
                break;
            }
            let Some(connection) = self.connections.get_mut(&number) else {
                break;
            };
            match connection.receive(&mut buffer) {
                Received::Nothing => break,
                Received::End => {
                    self.input_over(number);
                    break;
                }
                Received::Bytes(count) => match connection.role {
                    Role::Asking => {
                        connection.inbound.extend_from_slice(&buffer[..count]);
                        self.consider(number);
                    }
                    Role::Attached { .. } => self.give_input(number, &buffer[..count]),
                    // Nothing is expected: it is thrown away.
                    Role::Watching | Role::Holding | Role::AwaitingExec(_) | Role::Leaving => {}
                },
            }
        }
    }

    /// Whether input of this connection can be used now.
    fn is_thirsty(&self, number: u32) -> bool {
        match self
            .connections
            .get(&number)
            .map(|connection| &connection.role)
        {
            Some(Role::Attached {
                process, streams, ..
            }) if streams.stdin => self
                .processes
                .get(process)
                .is_none_or(|process| process.streams.is_thirsty()),
            _ => true,
        }
    }

    /// Gives a client's bytes to the process, unless they contain the detach keys.
    fn give_input(&mut self, number: u32, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let Role::Attached {
            process,
            streams,
            keys,
        } = &mut connection.role
        else {
            return;
        };
        if !streams.stdin || bytes.is_empty() {
            return;
        }
        let (process, mut input) = (*process, Vec::new());
        let detached = keys.feed(bytes, &mut input);
        if let Some(target) = self.processes.get_mut(&process) {
            target.streams.write(&input);
        }
        if detached {
            let exec = self
                .processes
                .get(&process)
                .map(|process| process.exec.clone());
            self.release(number);
            if let Some(exec) = exec {
                self.announce(&Notice::Detached { exec });
            }
        }
    }

    /// A client will send nothing more.
    fn input_over(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        match &mut connection.role {
            Role::Asking => self.lose(number),
            Role::Holding => self.end_hold(number),
            Role::Attached {
                process,
                streams,
                keys,
            } if streams.stdin => {
                let (process, mut held) = (*process, Vec::new());
                keys.finish(&mut held);
                let Some(process) = self.processes.get_mut(&process) else {
                    return;
                };
                process.streams.write(&held);
                if process.stdin_once && !process.streams.tty {
                    process.streams.end_input();
                } else {
                    // As in Docker: stdin of such a process stays open for others, but this client is served.
                    self.release(number);
                }
            }
            _ => {}
        }
    }

    /// Output is ready.
    pub(crate) fn on_output(&mut self, number: u32, stream: Stream) {
        for _ in 0..TURNS {
            if !matches!(self.pump(number, stream), Some(Portion::Bytes(_))) {
                break;
            }
        }
        self.refresh(number);
        self.settle(number);
    }

    /// Carries one portion of output to the log and to the clients. `None` while a client holds the output up; the
    /// last output of a process that has ended is not held up, because it is bounded.
    fn pump(&mut self, number: u32, stream: Stream) -> Option<Portion> {
        const HEADER: usize = stdio::HEADER;
        let held_up = self.is_held_up(number);
        let process = self.processes.get_mut(&number)?;
        let ended = process.end.is_some();
        if held_up && !ended {
            return None;
        }
        let portion = process
            .streams
            .read(stream, &mut self.buffer[HEADER..], ended);
        let Portion::Bytes(count) = portion else {
            return Some(portion);
        };
        if ended {
            process.last_output = process.last_output.saturating_sub(count);
            if process.last_output == 0 {
                process.streams.close_outputs();
            }
        }
        if let Some(capture) = &mut process.capture {
            capture.take(&self.buffer[HEADER..HEADER + count]);
        }
        if process.exec.is_none() {
            self.log.write(stream, &self.buffer[HEADER..HEADER + count]);
        }
        let length = u32::try_from(count).expect("a portion is small");
        self.buffer[..HEADER].copy_from_slice(&stdio::header(stream, length));
        let message = if process.streams.tty {
            &self.buffer[HEADER..HEADER + count]
        } else {
            &self.buffer[..HEADER + count]
        };
        let mut lost = Vec::new();
        for client in &process.clients {
            let Some(connection) = self.connections.get_mut(client) else {
                continue;
            };
            let Role::Attached { streams, .. } = &connection.role else {
                continue;
            };
            let wanted = if stream == Stream::Stderr {
                streams.stderr
            } else {
                streams.stdout
            };
            if wanted && connection.send(message).is_err() {
                lost.push(*client);
            }
        }
        for client in lost {
            self.lose(client);
        }
        Some(portion)
    }

    fn is_held_up(&self, number: u32) -> bool {
        self.processes.get(&number).is_some_and(|process| {
            let mut clients = process
                .clients
                .iter()
                .filter_map(|n| self.connections.get(n));
            clients.any(|connection| connection.outbound.is_full())
        })
    }

    /// Waits for what matters now for a process and its clients.
    pub(crate) fn refresh(&mut self, number: u32) {
        let held_up = self.is_held_up(number);
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        process.streams.pause(held_up);
        let thirsty = process.streams.is_thirsty();
        let mut lost = Vec::new();
        for client in &process.clients {
            if let Some(connection) = self.connections.get_mut(client)
                && connection.refresh(thirsty).is_err()
            {
                lost.push(*client);
            }
        }
        for client in lost {
            self.lose(client);
        }
    }

    /// Waits for what matters now for one connection, and for the process behind it.
    pub(crate) fn refresh_connection(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if let Role::Attached { process, .. } = connection.role {
            self.refresh(process);
            self.settle(process);
            return;
        }
        let done = matches!(connection.role, Role::Leaving) && connection.outbound.is_empty();
        if done || connection.refresh(true).is_err() {
            self.lose(number);
        }
    }

    /// Closes a connection once everything it was sent is delivered; its process goes on without it.
    pub(crate) fn release(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let role = std::mem::replace(&mut connection.role, Role::Leaving);
        if let Role::Attached { process, .. } = role {
            self.forget_client(process, number);
        }
        self.refresh_connection(number);
    }

    /// Closes a connection at once.
    pub(crate) fn lose(&mut self, number: u32) {
        let Some(connection) = self.connections.remove(&number) else {
            return;
        };
        if matches!(connection.role, Role::Holding) {
            self.end_hold(number);
        }
        if let Role::Attached {
            process, streams, ..
        } = connection.role
        {
            self.forget_client(process, number);
            if let Some(process) = self.processes.get_mut(&process)
                && streams.stdin
                && process.stdin_once
                && !process.streams.tty
            {
                process.streams.end_input();
            }
        }
    }

    fn forget_client(&mut self, process: u32, number: u32) {
        if let Some(target) = self.processes.get_mut(&process) {
            target.clients.retain(|client| *client != number);
            // It may have been the one that held the output up.
            self.refresh(process);
        }
    }

    /// Gives out what a process that has ended has left in its outputs.
    pub(crate) fn drain(&mut self, number: u32) {
        let Some(process) = self.processes.get(&number) else {
            return;
        };
        for stream in process.streams.open_outputs() {
            while matches!(self.pump(number, stream), Some(Portion::Bytes(_))) {}
        }
    }

    /// Carries on with a process that has ended: the rest of its output, then the clients' share of it, then its end.
    pub(crate) fn settle(&mut self, number: u32) {
        let Some(process) = self.processes.get(&number) else {
            return;
        };
        if process.end.is_none() {
            return;
        }
        self.drain(number);
        self.refresh(number);
        let Some(process) = self.processes.get(&number) else {
            return;
        };
        if self
            .patience_ends(process)
            .is_some_and(|at| at > Instant::now())
        {
            return;
        }
        for client in process.clients.clone() {
            self.release(client);
        }
        let Some(process) = self.processes.remove(&number) else {
            return;
        };
        match process.exec.clone() {
            Some(exec) => self.exec_ended(exec, &process),
            None => self.container_ended(&process),
        }
    }
}
