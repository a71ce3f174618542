//! Names of what the event loop waits for, as epoll's 64 bits carry them.
//!
//! Numbers are never used twice, so an event for something that was closed meanwhile finds nothing.

use shim_protocol::stdio::Stream;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Listener,
    Connection(u32),
    /// A process ended.
    Exit(u32),
    Input(u32),
    Output(u32, Stream),
    Port(u32),
    /// Datagrams for the resolver.
    Questions,
    /// Connections to the resolver.
    Callers,
    Caller(u32),
    /// A name server that the resolver has asked.
    Upstream(u32),
}

impl Source {
    pub(crate) fn token(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Connection(number) => (1, number),
            Self::Exit(number) => (2, number),
            Self::Input(number) => (3, number),
            Self::Output(number, Stream::Stderr) => (5, number),
            Self::Output(number, _) => (4, number),
            Self::Port(number) => (6, number),
            Self::Questions => (7, 0),
            Self::Callers => (8, 0),
            Self::Caller(number) => (9, number),
            Self::Upstream(number) => (10, number),
        };
        kind << 32 | u64::from(number)
    }

    pub(crate) fn from_token(token: u64) -> Option<Self> {
        let number = u32::try_from(token & u64::from(u32::MAX)).ok()?;
        Some(match token >> 32 {
            0 => Self::Listener,
            1 => Self::Connection(number),
            2 => Self::Exit(number),
            3 => Self::Input(number),
            4 => Self::Output(number, Stream::Stdout),
            5 => Self::Output(number, Stream::Stderr),
            6 => Self::Port(number),
            7 => Self::Questions,
            8 => Self::Callers,
            9 => Self::Caller(number),
            10 => Self::Upstream(number),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_source() {
        for source in [
            Source::Listener,
            Source::Connection(7),
            Source::Exit(u32::MAX),
            Source::Input(0),
            Source::Output(1, Stream::Stdout),
            Source::Output(1, Stream::Stderr),
            Source::Port(3),
            Source::Questions,
            Source::Callers,
            Source::Caller(9),
            Source::Upstream(u32::MAX),
        ] {
            assert_eq!(Source::from_token(source.token()), Some(source));
        }
        assert_eq!(Source::from_token(u64::MAX), None);
    }
}
