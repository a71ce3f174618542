//! Two engines joined: what one says is handed to the other, frame by frame, and read along.
//!
//! A side that hangs up ends the other one, too: each direction passes its end on.

use std::collections::HashMap;
use std::io::{self, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;
use transfer::wire::{HEAD, Head};
use transfer::{Digest, Message};

use crate::http::Upgraded;
use crate::render::course::{Course, Item};

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// The volume is there, and is what it was here.
    pub(super) done: Option<Digest>,
    /// It was let go here.
    pub(super) released: bool,
    /// Why it ended early, if somebody said.
    pub(super) failed: Option<String>,
    /// What the volume is called there.
    pub(super) name: Option<String>,
    /// Contents that went through.
    pub(super) sent: u64,
    /// They went as the filesystem's own streams, with the names and attributes in them.
    pub(super) streamed: bool,
    pub(super) entries: u64,
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Target,
}

struct Ear<'c> {
    course: &'c Course,
    volume: &'c str,
    joined: Joined,
    items: HashMap<String, Item>,
}

impl Ear<'_> {
    fn hear(&mut self, side: Side, message: Message) {
        match message {
            Message::Accept { about } => {
                let about: Value = serde_json::from_str(&about).unwrap_or_default();
                self.joined.name = about["Name"].as_str().map(str::to_owned);
                if about["Resumed"].as_bool() == Some(true) {
                    self.course
                        .say(&format!("{}: going on with what is there", self.volume));
                }
            }
            Message::Progress {
                action,
                done,
                total,
            } => {
                if !self.items.contains_key(&action) {
                    // What was done before is over.
                    self.items.clear();
                    let item = self.course.item(&action, self.volume, total);
                    self.items.insert(action.clone(), item);
                }
                if let Some(item) = self.items.get_mut(&action) {
                    item.set(done, total);
                }
            }
            Message::Note(text) => eprintln!("{}", plain(&text)),
            Message::Streamed { whole } => self.joined.streamed = whole,
            Message::End { entries, .. } => self.joined.entries = entries,
            Message::Done { digest } => self.joined.done = Some(digest),
            Message::Released { .. } => self.joined.released = true,
            Message::Failed(why) => {
                let who = match side {
                    Side::Source => "the engine here",
                    Side::Target => "the engine there",
                };
                self.joined
                    .failed
                    .get_or_insert(format!("{who}: {}", plain(&why)));
            }
            _ => {}
        }
    }
}

/// What an engine says, without what would move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// Hands everything on until both have hung up.
pub(super) fn join(source: Upgraded, target: Upgraded, course: &Course, volume: &str) -> Joined {
    let ear = Mutex::new(Ear {
        course,
        volume,
        joined: Joined::default(),
        items: HashMap::new(),
    });
    thread::scope(|scope| {
        scope.spawn(|| hand_on(target.reader, &source.writer, Side::Target, &ear));
        hand_on(source.reader, &target.writer, Side::Source, &ear);
    });
    let ear = ear.into_inner().unwrap_or_else(PoisonError::into_inner);
    ear.joined
}

fn hand_on(mut from: impl Read, to: &UnixStream, side: Side, ear: &Mutex<Ear<'_>>) {
    // Whatever ends it, the other side hears of it by the end of the stream.
    drop(frames(&mut from, to, side, ear));
    drop(to.shutdown(Shutdown::Write));
}

fn frames(
    from: &mut impl Read,
    mut to: &UnixStream,
    side: Side,
    ear: &Mutex<Ear<'_>>,
) -> io::Result<()> {
    let mut frame = Vec::new();
    loop {
        let mut bytes = [0; HEAD];
        from.read_exact(&mut bytes)?;
        let head = Head::parse(bytes).map_err(io::Error::other)?;
        frame.resize(HEAD + head.length, 0);
        frame[..HEAD].copy_from_slice(&bytes);
        from.read_exact(&mut frame[HEAD..])?;
        {
            let mut ear = ear.lock().unwrap_or_else(PoisonError::into_inner);
            if head.is_message {
                let message = Message::decode(&frame[HEAD..]).map_err(io::Error::other)?;
                ear.hear(side, message);
            } else {
                ear.joined.sent += head.length as u64;
            }
        }
        match to.write_all(&frame) {
            // A side that has said its last word reads no more; the other one may still have something to say.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
}
