//! Length-prefixed JSON messages on a stream socket.
