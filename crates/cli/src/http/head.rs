//! Heads of answers.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::net::UnixStream;

use super::body::Length;

/// Heads longer than this are not of an engine.
const MAX: usize = 64 << 10;

pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) length: Length,
    /// The connection stays open behind the body.
    pub(super) reusable: bool,
}

pub(super) fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

pub(super) fn read(reader: &mut BufReader<UnixStream>, method: &str) -> io::Result<Head> {
    loop {
        let head = read_one(reader, method)?;
        // 100 Continue and its like announce the real one.
        if head.status >= 200 || head.status == 101 {
            return Ok(head);
        }
    }
}

fn read_one(reader: &mut BufReader<UnixStream>, method: &str) -> io::Result<Head> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed",
            ));
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            break;
        }
        if head.len() > MAX {
            return Err(invalid("the answer's head is too long".to_owned()));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed
        .parse(&head)
        .map_err(|error| invalid(error.to_string()))?;
    let status = parsed
        .code
        .ok_or_else(|| invalid("the answer has no status".to_owned()))?;
    let is_current = parsed.version == Some(1);
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| {
            (
                header.name.to_owned(),
                String::from_utf8_lossy(header.value).into_owned(),
            )
        })
        .collect();
    let has = |name: &str, word: &str| {
        find(&headers, name).is_some_and(|value| value.eq_ignore_ascii_case(word))
    };
    let length = if method == "HEAD" || status == 204 || status == 304 {
        Length::Known(0)
    } else if has("transfer-encoding", "chunked") {
        Length::Chunked
    } else if let Some(length) = find(&headers, "content-length").filter(|_| status != 101) {
        let length = length
            .parse()
            .map_err(|_| invalid("bad content length".to_owned()))?;
        Length::Known(length)
    } else {
        Length::UntilClose
    };
    Ok(Head {
        status,
        reusable: is_current && length != Length::UntilClose && !has("connection", "close"),
        headers,
        length,
    })
}
