//! A person at a terminal: runs a command on a pseudo-terminal, types, reads what the screen shows.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::wait::until;

/// A command on a terminal of its own. Dropping it hangs up.
pub struct Terminal {
    master: File,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// How much of the screen has been expected already.
    seen: usize,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("screen", &self.screen())
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// Starts `command` with a terminal of 24 rows and 80 columns as its controlling terminal.
    pub fn start(command: &Command) -> Self {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let master = File::from(master);
        // setsid makes the terminal the controlling one: Rust's Command cannot without unsafe code.
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => session.env(key, value),
                None => session.env_remove(key),
            };
        }
        session.env("TERM", "xterm");
        session
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = session.spawn().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let reader = {
            let screen = Arc::clone(&screen);
            let mut master = master.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                // EIO says that nobody has the terminal open any more.
                while let Ok(length @ 1..) = master.read(&mut buffer) {
                    screen
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend_from_slice(&buffer[..length]);
                }
            })
        };
        // `session` holds the slave side; a reader would never see its end.
        drop(session);
        let terminal = Self {
            master,
            child,
            screen,
            reader: Some(reader),
            seen: 0,
        };
        terminal.resize(24, 80);
        terminal
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until `text` appears after what was expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let seen = self.seen;
        let mut shown = String::new();
        let started = std::time::Instant::now();
        self.seen = until(&format!("the terminal shows {text:?}"), || {
            let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let found = find(&screen[seen..], text.as_bytes()).map(|at| seen + at + text.len());
            shown = String::from_utf8_lossy(&screen).into_owned();
            drop(screen);
            assert!(
                found.is_some() || started.elapsed() < std::time::Duration::from_secs(30),
                "the terminal does not show {text:?} but\n{shown}"
            );
            found
        });
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size; the kernel tells the programs on it.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    /// Waits for the command's end: its exit code and all that the terminal showed.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        let status = until("the command on the terminal ends", || {
            self.child.try_wait().unwrap()
        });
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status.code().unwrap_or(-1), self.screen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already ended in the usual case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}
