//! Engines behind `ssh://`: the user's own OpenSSH carries the connection, and `system dial-stdio` there hands it to the engine.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Outcome};

/// Where, in the words of a command line of `ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ssh {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// Of the engine there; `None`: the usual one.
    socket: Option<String>,
}

impl Ssh {
    /// `[user@]host[:port][/path]`, what stands behind `ssh://`; the path apart, without its slash.
    ///
    /// # Errors
    /// What `ssh` would misunderstand.
    pub(crate) fn parse(text: &str) -> Outcome<(Self, String)> {
        let refused = |why: &str| {
            Failure::new(format!(
                "unable to parse host 'ssh://{text}': {why} (ssh://[user@]host[:port])"
            ))
        };
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(refused("plain-text password is not supported"));
        }
        let (host, port) = if let Some(rest) = address.strip_prefix('[') {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| refused("a bracket is not closed"))?;
            (host, rest.strip_prefix(':'))
        } else {
            match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            }
        };
        let port = port
            .map(|port| port.parse().map_err(|_| refused("the port is no number")))
            .transpose()?;
        // What begins so would be an option of ssh's.
        let odd = |word: &str| word.is_empty() || word.starts_with('-');
        if odd(host) || user.is_some_and(odd) {
            return Err(refused("there is no host"));
        }
        let ssh = Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            socket: None,
        };
        Ok((ssh, path.to_owned()))
    }

    /// The engine with this socket there.
    pub(crate) fn with_socket(self, socket: Option<String>) -> Self {
        Self { socket, ..self }
    }

    /// What `ssh` is told.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "-o",
            "ConnectTimeout=30",
            // A host that is gone must not be waited for for ever.
            "-o",
            "ServerAliveInterval=30",
            "-T",
        ]
        .map(str::to_owned)
        .to_vec();
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        let endpoint = self.socket.as_ref().map_or_else(String::new, |socket| {
            // A shell reads it there.
            let socket = socket.replace('\'', r"'\''");
            format!("-H 'unix://{socket}' ")
        });
        arguments.extend([
            "--".to_owned(),
            self.host.clone(),
            format!("orlop {endpoint}system dial-stdio"),
        ]);
        arguments
    }

    /// A connection; what `ssh` has to say goes to standard error.
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's ssh needs the user's environment"
    )]
    pub(crate) fn connect(&self) -> Outcome<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let output = theirs.try_clone()?;
        // It ends when either end of the connection does.
        Command::new("ssh")
            .args(self.arguments())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(output)))
            .spawn()
            .map_err(|error| Failure::file("run", "ssh", &error))?;
        Ok(ours)
    }
}

impl std::fmt::Display for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown, path) in [
            ("host", "ssh://host", ""),
            ("host/", "ssh://host", ""),
            ("me@host:2222/data", "ssh://me@host:2222", "data"),
            ("a@b@host", "ssh://a@b@host", ""),
            ("[::1]:22/x/y", "ssh://[::1]:22", "x/y"),
        ] {
            let (ssh, rest) = Ssh::parse(text).expect(text);
            assert_eq!((ssh.to_string().as_str(), rest.as_str()), (shown, path));
        }
        for text in [
            "",
            "/x",
            "-oProxyCommand=x",
            "u:p@host",
            "host:x",
            "[::1",
            "-l@host",
        ] {
            Ssh::parse(text).expect_err(text);
        }
    }

    #[test]
    fn what_ssh_is_told() {
        let (ssh, _) = Ssh::parse("me@host:22").expect("good");
        let told = ssh.clone().arguments();
        assert_eq!(
            told[5..],
            [
                "-l",
                "me",
                "-p",
                "22",
                "--",
                "host",
                "orlop system dial-stdio"
            ]
        );
        let told = ssh.with_socket(Some("/a'b".to_owned())).arguments();
        assert_eq!(
            told.last().map(String::as_str),
            Some(r"orlop -H 'unix:///a'\''b' system dial-stdio")
        );
    }
}
