//! What stages say, in the order of the Dockerfile although they work at the same time.
//!
//! The first stage that is not finished speaks at once; what later ones say is kept until it is their turn.

use std::sync::{Mutex, PoisonError};

use super::request::BuildOutput;

#[derive(Debug)]
pub(super) struct Desk<'a> {
    out: &'a dyn BuildOutput,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// With `-q`, all is kept for the case that the build fails.
    quiet: bool,
    kept: String,
    turn: usize,
    waiting: Vec<Waiting>,
}

#[derive(Debug, Default, Clone)]
struct Waiting {
    text: String,
    finished: bool,
}

impl<'a> Desk<'a> {
    pub(super) fn new(out: &'a dyn BuildOutput, stages: usize, quiet: bool) -> Self {
        Self {
            out,
            state: Mutex::new(State {
                quiet,
                kept: String::new(),
                turn: 0,
                waiting: vec![Waiting::default(); stages],
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a stage.
    pub(super) fn text(&self, stage: usize, text: &str) {
        let mut state = self.lock();
        if stage == state.turn {
            self.say(&mut state, text);
        } else {
            state.waiting[stage].text.push_str(text);
        }
    }

    fn say(&self, state: &mut State, text: &str) {
        if text.is_empty() {
        } else if state.quiet {
            state.kept.push_str(text);
        } else {
            self.out.text(text);
        }
    }

    /// The stage says nothing any more.
    pub(super) fn finished(&self, stage: usize) {
        let mut state = self.lock();
        state.waiting[stage].finished = true;
        while state
            .waiting
            .get(state.turn)
            .is_some_and(|waiting| waiting.finished)
        {
            state.turn += 1;
            let turn = state.turn;
            let text = match state.waiting.get_mut(turn) {
                Some(next) => std::mem::take(&mut next.text),
                None => break,
            };
            self.say(&mut state, &text);
        }
    }

    /// All stages have ended: text of the build as a whole, after all that is still kept.
    pub(super) fn last(&self, text: &str) {
        let mut state = self.lock();
        let kept: String = state
            .waiting
            .iter_mut()
            .map(|waiting| std::mem::take(&mut waiting.text))
            .collect();
        self.say(&mut state, &kept);
        self.say(&mut state, text);
    }

    /// The build failed: now it may say what it has kept to itself.
    pub(super) fn failed(&self) {
        let kept = std::mem::take(&mut self.lock().kept);
        if !kept.is_empty() {
            self.out.text(&kept);
        }
    }
}

/// Bytes of a process as text, letters that cross portions in one piece.
#[derive(Debug, Default)]
pub(super) struct Letters(Vec<u8>);

impl Letters {
    /// The text that is complete with these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let mut end = self.0.len();
        if let Err(error) = std::str::from_utf8(&self.0)
            && error.error_len().is_none()
        {
            end = error.valid_up_to();
        } else if let Some(cut) = incomplete(&self.0) {
            end = cut;
        }
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0.drain(..end);
        text
    }

    /// What is left.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned()
    }
}

/// Where a letter begins whose last bytes are still to come.
fn incomplete(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(3);
    (from..bytes.len()).find(|&at| {
        let needed = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return false,
        };
        at + needed > bytes.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<String>);

    impl crate::Progress for Heard {
        fn step(&self, _: &str, _: &str, _: u64, _: u64) {}
        fn line(&self, _: &str) {}
    }

    impl BuildOutput for Heard {
        fn text(&self, text: &str) {
            self.0.lock().unwrap().push_str(text);
        }
        fn image(&self, _: &str) {}
    }

    #[test]
    fn stages_speak_in_order() {
        let heard = Heard::default();
        let desk = Desk::new(&heard, 3, false);
        desk.text(2, "c1 ");
        desk.text(0, "a1 ");
        desk.text(1, "b1 ");
        desk.finished(2);
        desk.finished(0);
        desk.text(1, "b2 ");
        desk.finished(1);
        desk.last("end");
        assert_eq!(*heard.0.lock().unwrap(), "a1 b1 b2 c1 end");
    }

    #[test]
    fn quiet_builds_speak_when_they_fail() {
        let heard = Heard::default();
        let desk = Desk::new(&heard, 1, true);
        desk.text(0, "a");
        assert_eq!(*heard.0.lock().unwrap(), "");
        desk.failed();
        assert_eq!(*heard.0.lock().unwrap(), "a");
    }

    #[test]
    fn letters_stay_whole() {
        let mut letters = Letters::default();
        let bytes = "aé€😀".as_bytes();
        let text: String = bytes.iter().map(|byte| letters.feed(&[*byte])).collect();
        assert_eq!(text, "aé€😀");
        assert_eq!(letters.feed(b"\xff\xc3"), "\u{fffd}");
        assert_eq!(letters.finish(), "\u{fffd}");
    }
}
