//! The container's resolver at 127.0.0.11: names of neighbours are answered here, everything else by name servers elsewhere.
//!
//! It belongs to the shim, so that names resolve for as long as the container lives, whoever else has died. What it knows
//! of neighbours it reads from files ([`names`]); the engine writes them, and each shim takes its own away at its end.
//!
//! Nothing waits: a question that is passed on is a [`forward::Question`] with a deadline, and answers from files go out at
//! once whatever the name servers do. Questions, callers and their bytes are limited; who comes when there is no room is
//! told that the server failed, or not served.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use runtime::ResolverSockets;
use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recvfrom, sendto};
use shim_protocol::spec::Resolver;
use sys::fd::{Epoll, Watched};

use crate::source::Source;

pub(crate) mod answer;
mod caller;
mod forward;
mod names;

use answer::Decision;
use caller::Caller;
use forward::Question;
use names::Names;

/// Questions that wait for name servers elsewhere.
const QUESTIONS: usize = 128;
/// Clients over TCP at a time.
const CALLERS: usize = 32;
/// Datagrams that one event may take before others get their turn.
const TURNS: usize = 64;
/// The longest datagram.
const LONGEST: usize = 64 * 1024;

/// Who gets an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Datagram(SocketAddr),
    Caller(u32),
}

/// The resolver of one run of a container.
#[derive(Debug)]
pub(crate) struct Dns {
    epoll: Epoll,
    /// First process of the container, for questions that the container asks.
    pid: i32,
    config: Resolver,
    udp: Watched,
    listener: Watched,
    names: Names,
    questions: BTreeMap<u32, Question>,
    callers: BTreeMap<u32, Caller>,
    /// The number given last; never given twice by one shim.
    pub(crate) last: u32,
    buffer: Vec<u8>,
}

impl Dns {
    /// `last`: numbers up to this one were given before.
    pub(crate) fn new(
        epoll: &Epoll,
        sockets: ResolverSockets,
        config: Resolver,
        pid: i32,
        last: u32,
    ) -> io::Result<Self> {
        let mut udp = Watched::new(epoll, sockets.udp, Source::Questions.token())?;
        udp.watch(EventFlags::IN)?;
        let mut listener = Watched::new(epoll, sockets.tcp, Source::Callers.token())?;
        listener.watch(EventFlags::IN)?;
        Ok(Self {
            epoll: epoll.clone(),
            pid,
            config,
            udp,
            listener,
            names: Names::default(),
            questions: BTreeMap::new(),
            callers: BTreeMap::new(),
            last,
            buffer: vec![0; LONGEST],
        })
    }

    /// Other networks, other name servers. Questions under way go on.
    pub(crate) fn configure(&mut self, config: Resolver) {
        self.config = config;
    }

    /// Datagrams have arrived.
    pub(crate) fn on_questions(&mut self) {
        for _ in 0..TURNS {
            let mut buffer = std::mem::take(&mut self.buffer);
            let received = recvfrom(&self.udp, &mut buffer[..], RecvFlags::DONTWAIT);
            let question = match received {
                Ok((count, _, Some(from))) => SocketAddr::try_from(from)
                    .ok()
                    .map(|from| (buffer[..count].to_vec(), from)),
                Ok(_) => None,
                Err(_) => {
                    self.buffer = buffer;
                    return;
                }
            };
            self.buffer = buffer;
            if let Some((packet, from)) = question {
                self.consider(&packet, Asker::Datagram(from));
            }
        }
    }

    /// Somebody connects.
    pub(crate) fn on_callers(&mut self) {
        let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            return;
        };
        if self.callers.len() >= CALLERS {
            return;
        }
        self.last += 1;
        // A caller that cannot be watched is closed, and may come again.
        if let Ok(caller) = Caller::new(&self.epoll, socket, self.last) {
            self.callers.insert(self.last, caller);
        }
    }

    pub(crate) fn on_caller(&mut self, number: u32, flags: EventFlags) {
        let Some(caller) = self.callers.get_mut(&number) else {
            return;
        };
        match caller.proceed(flags, &mut self.buffer) {
            caller::Progress::Waits => {}
            caller::Progress::Asks(packet) => self.consider(&packet, Asker::Caller(number)),
            caller::Progress::Gone => drop(self.callers.remove(&number)),
        }
    }

    pub(crate) fn on_upstream(&mut self, number: u32, flags: EventFlags) {
        let Some(question) = self.questions.get_mut(&number) else {
            return;
        };
        match question.proceed(flags, &mut self.buffer) {
            forward::Progress::Waits => {}
            forward::Progress::Answered(bytes) => self.conclude(number, &bytes),
            forward::Progress::Failed => self.ask_next(number),
        }
    }

    fn consider(&mut self, packet: &[u8], asker: Asker) {
        let datagram = matches!(asker, Asker::Datagram(_));
        match answer::decide(packet, datagram, &self.config, &mut self.names) {
            Decision::Reply(bytes) => self.reply(asker, &bytes),
            Decision::Ignore => {
                if let Asker::Caller(number) = asker {
                    self.callers.remove(&number);
                }
            }
            Decision::Forward => {
                if self.questions.len() >= QUESTIONS {
                    self.refuse(asker, packet);
                    return;
                }
                self.last += 1;
                let number = self.last;
                self.questions
                    .insert(number, Question::new(number, packet.to_vec(), asker));
                self.ask_next(number);
            }
        }
    }

    /// Puts a question to the next name server; when there is none, the best that was heard is the answer.
    fn ask_next(&mut self, number: u32) {
        let Some(question) = self.questions.get_mut(&number) else {
            return;
        };
        if question.ask_next(&self.epoll, &self.config.upstream, self.pid) {
            return;
        }
        let last = question
            .take_last()
            .or_else(|| answer::failure(&question.packet));
        match last {
            Some(bytes) => self.conclude(number, &bytes),
            None => drop(self.questions.remove(&number)),
        }
    }

    fn conclude(&mut self, number: u32, bytes: &[u8]) {
        if let Some(question) = self.questions.remove(&number) {
            self.reply(question.asker, bytes);
        }
    }

    fn refuse(&mut self, asker: Asker, packet: &[u8]) {
        if let Some(bytes) = answer::failure(packet) {
            self.reply(asker, &bytes);
        }
    }

    fn reply(&mut self, asker: Asker, bytes: &[u8]) {
        match asker {
            Asker::Datagram(to) => {
                // A datagram that does not go out is asked for again.
                sendto(&self.udp, bytes, SendFlags::DONTWAIT, &to).unwrap_or_default();
            }
            Asker::Caller(number) => {
                let Some(caller) = self.callers.get_mut(&number) else {
                    return;
                };
                if !caller.answer(bytes) {
                    self.callers.remove(&number);
                }
            }
        }
    }

    /// The next moment at which something is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let questions = self.questions.values().map(|question| question.deadline);
        let callers = self.callers.values().map(|caller| caller.deadline);
        questions.chain(callers).min()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        let late: Vec<u32> = self
            .questions
            .iter()
            .filter(|(_, question)| question.deadline <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            self.ask_next(number);
        }
        self.callers.retain(|_, caller| caller.deadline > now);
    }
}
