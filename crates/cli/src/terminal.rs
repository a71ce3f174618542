//! The terminal of the client: raw while a container has it, and as it was afterwards whatever happens.

use std::io::IsTerminal as _;
use std::sync::Mutex;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Restores the terminal when dropped.
#[derive(Debug)]
pub(crate) struct Raw;

/// What to go back to; also reached from a panic's unwinding by the guard's drop.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

impl Raw {
    /// `None` when standard input is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).ok()?;
        *BEFORE.lock().expect("nothing panics while holding it") = Some(before);
        Some(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = BEFORE
            .lock()
            .expect("nothing panics while holding it")
            .take()
        {
            // A terminal that is gone needs no restoring.
            tcsetattr(std::io::stdin(), OptionalActions::Drain, &before).unwrap_or_default();
        }
    }
}

/// Rows and columns of standard output's terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
