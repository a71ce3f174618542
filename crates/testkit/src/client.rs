//! The programs that people type.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::engine::{Engine, binary};
use crate::output::Output;

/// Both speak to the same socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Orlop,
    /// The stock CLI, as Debian ships it.
    Docker,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Orlop => "orlop",
            Self::Docker => "docker",
        })
    }
}

impl Client {
    /// The command with the endpoint set, hermetic otherwise.
    pub fn command<A: AsRef<OsStr>>(self, engine: &Engine, arguments: &[A]) -> Command {
        let host = format!("unix://{}", engine.socket().display());
        let mut command = match self {
            Self::Orlop => {
                let mut command = Command::new(binary());
                command.env("ORLOP_HOST", host);
                command
            }
            Self::Docker => {
                let mut command = Command::new("docker");
                command.env("DOCKER_HOST", host);
                command
            }
        };
        command
            .env("HOME", "/nonexistent")
            .env_remove("ORLOP_ROOT")
            .args(arguments);
        command
    }

    /// Runs to the end, with no input.
    pub fn run<A: AsRef<OsStr>>(self, engine: &Engine, arguments: &[A]) -> Output {
        self.run_with(engine, arguments, b"")
    }

    /// Runs to the end with `input` on standard input.
    pub fn run_with<A: AsRef<OsStr>>(
        self,
        engine: &Engine,
        arguments: &[A],
        input: &[u8],
    ) -> Output {
        let shown: Vec<String> = arguments
            .iter()
            .map(|argument| argument.as_ref().to_string_lossy().into_owned())
            .collect();
        let mut child = self
            .command(engine, arguments)
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let writer = child.stdin.take().map(|mut stdin| {
            let input = input.to_owned();
            // A command may end without reading all of it.
            std::thread::spawn(move || drop(stdin.write_all(&input)))
        });
        let output = child.wait_with_output().unwrap();
        if let Some(writer) = writer {
            writer.join().unwrap();
        }
        Output {
            command: format!("{self} {}", shown.join(" ")),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
