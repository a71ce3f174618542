//! Bodies that are produced while they are sent, and request bodies that are read by blocking code.
//!
//! Everything goes through bounded channels: a slow reader stops its writer, never fills memory. A body that cannot be
//! completed ends with an error, so that the client sees a broken answer instead of a short one.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::connections::Busy;
use crate::errors::Refusal;

/// Pieces under way in one body.
const DEPTH: usize = 8;
/// Bytes that a blocking writer collects before it sends them.
const CHUNK: usize = 64 * 1024;

/// What a producer says.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    /// The body is complete with this.
    Last(Bytes),
    /// The body is complete. A producer that vanishes without it has failed.
    End,
    Failed(Refusal),
}

pub(crate) type Pieces = mpsc::Receiver<Piece>;

pub(crate) fn channel() -> (mpsc::Sender<Piece>, Pieces) {
    mpsc::channel(DEPTH)
}

/// A response body.
#[derive(Debug)]
pub(crate) struct Body {
    /// Sent before anything of `rest`.
    first: Option<Piece>,
    rest: Option<Pieces>,
    /// Marks the connection as busy while it is sent.
    busy: Option<Busy>,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self {
            first: None,
            rest: None,
            busy: None,
        }
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            first: Some(Piece::Data(bytes.into())),
            rest: None,
            busy: None,
        }
    }

    /// One JSON value and the newline that Docker ends it with.
    pub(crate) fn json<T: Serialize>(value: &T) -> Self {
        Self::full(json_line(value))
    }

    /// The body with its JSON changed; one that is no single JSON value stays as it is.
    pub(crate) fn reshaped(self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let Self {
            first: Some(Piece::Data(bytes)),
            rest: None,
            ..
        } = &self
        else {
            return self;
        };
        match serde_json::from_slice(bytes) {
            Ok(mut value) => {
                change(&mut value);
                Self::json(&value)
            }
            Err(_) => self,
        }
    }

    pub(crate) fn holding(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }

    pub(crate) fn pieces(pieces: Pieces) -> Self {
        Self {
            first: None,
            rest: Some(pieces),
            busy: None,
        }
    }
}

pub(crate) fn json_line<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("wire types have string keys only");
    bytes.push(b'\n');
    bytes
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match (self.first.take(), &mut self.rest) {
            (Some(piece), _) => Some(piece),
            (None, Some(rest)) => match rest.poll_recv(context) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
            (None, None) => return Poll::Ready(None),
        };
        Poll::Ready(match piece {
            Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Last(bytes)) => {
                self.rest = None;
                Some(Ok(Frame::data(bytes)))
            }
            Some(Piece::End) => {
                self.rest = None;
                None
            }
            Some(Piece::Failed(refusal)) => {
                self.rest = None;
                Some(Err(io::Error::other(refusal.message)))
            }
            None => {
                self.rest = None;
                Some(Err(io::ErrorKind::BrokenPipe.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.first, &self.rest) {
            (None, None) => SizeHint::with_exact(0),
            (Some(Piece::Data(bytes)), None) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

/// The answer of a producer: its first piece decides whether there is a body at all.
pub(crate) async fn respond(
    content_type: &'static str,
    mut pieces: Pieces,
) -> Result<Response<Body>, Refusal> {
    let first = match pieces.recv().await {
        Some(Piece::Failed(refusal)) => return Err(refusal),
        Some(first) => first,
        None => return Err(Refusal::internal("the operation ended unexpectedly")),
    };
    let mut response = Response::new(match first {
        Piece::End => Body::empty(),
        Piece::Last(bytes) => Body::full(bytes),
        first => Body {
            first: Some(first),
            rest: Some(pieces),
            busy: None,
        },
    });
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    Ok(response)
}

/// Lets blocking code write a body. Fails with `BrokenPipe` when the client is gone; sends the rest when dropped.
#[derive(Debug)]
pub(crate) struct PieceWriter {
    pieces: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

impl PieceWriter {
    pub(crate) fn new(pieces: mpsc::Sender<Piece>) -> Self {
        Self {
            pieces,
            buffer: Vec::with_capacity(CHUNK),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.pieces
            .blocking_send(Piece::Data(full.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Drop for PieceWriter {
    fn drop(&mut self) {
        // Nobody is left to hear of a client that went away.
        drop(self.send());
    }
}

/// Progress as Docker's JSON lines. Steps are dropped rather than slow the work down, but for the last one of each item; lines
/// are never dropped.
#[derive(Debug)]
pub(crate) struct Lines {
    pieces: mpsc::Sender<Piece>,
    /// Set once the answer has begun: from then on errors are lines too.
    begun: std::sync::atomic::AtomicBool,
    steps: bool,
    /// The last step of each item that was dropped.
    dropped: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Lines {
    /// `steps`: whether the client wants to see progress.
    pub(crate) fn new(pieces: mpsc::Sender<Piece>, steps: bool) -> Self {
        Self {
            pieces,
            begun: false.into(),
            steps,
            dropped: Mutex::default(),
        }
    }

    pub(crate) fn send<T: Serialize>(&self, line: &T) {
        self.put(Piece::Data(json_line(line).into()));
    }

    fn put(&self, piece: Piece) {
        self.catch_up();
        self.begun.store(true, std::sync::atomic::Ordering::Relaxed);
        // A client that went away does not stop the work.
        drop(self.pieces.blocking_send(piece));
    }

    /// Sends the last steps that were dropped.
    fn catch_up(&self) {
        let dropped = std::mem::take(&mut *self.dropped());
        for step in dropped.into_values() {
            // A client that went away does not stop the work.
            drop(self.pieces.blocking_send(Piece::Data(step.into())));
        }
    }

    fn dropped(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the answer with the result; with a refusal before the first line, with an error line after it.
    pub(crate) fn conclude(self, result: Result<serde_json::Value, Refusal>) {
        match result {
            Ok(value) => self.put(Piece::Last(result_line(&value))),
            Err(refusal) => self.finish(Err(refusal)),
        }
    }

    /// As [`Lines::conclude`], with nothing to tell.
    pub(crate) fn finish(self, result: Result<(), Refusal>) {
        let last = match result {
            Err(refusal) if self.begun.load(std::sync::atomic::Ordering::Relaxed) => {
                let message = refusal.message;
                self.send(&json!({ "errorDetail": { "message": message }, "error": message }));
                Piece::End
            }
            Err(refusal) => Piece::Failed(refusal),
            Ok(()) => {
                self.catch_up();
                Piece::End
            }
        };
        // As above.
        drop(self.pieces.blocking_send(last));
    }
}

impl engine::Progress for Lines {
    fn step(&self, id: &str, action: &str, done: u64, total: u64) {
        if !self.steps {
            return;
        }
        let detail = if total == 0 {
            json!({ "current": done })
        } else {
            json!({ "current": done, "total": total })
        };
        let line = json!({ "status": action, "progressDetail": detail, "progress": bar(done, total), "id": id });
        let line = json_line(&line);
        let mut dropped = self.dropped();
        match self.pieces.try_reserve() {
            Ok(place) => {
                place.send(Piece::Data(line.into()));
                dropped.remove(id);
                self.begun.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            Err(_) => drop(dropped.insert(id.to_owned(), line)),
        }
    }

    fn line(&self, text: &str) {
        self.send(&json!({ "stream": format!("{text}\n") }));
    }

    fn warning(&self, text: &str) {
        self.send(&json!({ "warning": text }));
    }

    fn status(&self, id: &str, text: &str) {
        if id.is_empty() {
            self.send(&json!({ "status": text }));
        } else {
            self.send(&json!({ "status": text, "progressDetail": {}, "id": id }));
        }
    }

    fn result(&self, value: &serde_json::Value) {
        self.put(Piece::Data(result_line(value)));
    }
}

fn result_line(value: &serde_json::Value) -> Bytes {
    json_line(&json!({ "progressDetail": {}, "aux": value })).into()
}

/// Docker's own drawing, for clients that print it as it comes.
fn bar(done: u64, total: u64) -> String {
    if total == 0 {
        return size(done);
    }
    let width = usize::try_from(done.min(total).saturating_mul(50) / total).unwrap_or(50);
    let arrow = if width < 50 { ">" } else { "" };
    format!(
        "[{}{arrow}{}] {}/{}",
        "=".repeat(width),
        " ".repeat(50 - width - arrow.len()),
        size(done),
        size(total)
    )
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut scale = 1u64;
    while bytes / scale >= 1000 && unit + 1 < UNITS.len() {
        scale *= 1000;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        let tenths = bytes / (scale / 10);
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// A request body as blocking code reads it.
#[derive(Debug)]
pub(crate) struct BodyReader {
    frames: mpsc::Receiver<Result<Bytes, hyper::Error>>,
    current: Bytes,
}

impl BodyReader {
    /// Must be called on the runtime.
    pub(crate) fn new(mut body: Incoming) -> Self {
        let (sender, frames) = mpsc::channel(DEPTH);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let data = match frame.map(Frame::into_data) {
                    Ok(Ok(data)) => Ok(data),
                    // Trailers say nothing here.
                    Ok(Err(_)) => continue,
                    Err(error) => Err(error),
                };
                if sender.send(data).await.is_err() {
                    read_out(body).await;
                    return;
                }
            }
        });
        Self {
            frames,
            current: Bytes::new(),
        }
    }
}

/// Reads on, within reason, what nobody wants any more (the padding behind an archive's end): a client that is still sending
/// when the connection ends takes that for a failure, and does not read the answer.
pub(crate) async fn read_out(mut body: Incoming) {
    const REASON: usize = 64 << 20;
    let mut left = REASON;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        if size > left {
            return;
        }
        left -= size;
    }
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.frames.blocking_recv() {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(_)) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the client went away before it had sent everything",
                    ));
                }
                None => return Ok(0),
            }
        }
        let taken = self.current.split_to(buffer.len().min(self.current.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use engine::Progress as _;

    use super::*;

    fn collected(mut pieces: Pieces) -> (Vec<u8>, Option<Piece>) {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Data(data) => bytes.extend_from_slice(&data),
                last => return (bytes, Some(last)),
            }
        }
        (bytes, None)
    }

    #[test]
    fn a_writer_sends_everything_and_notices_a_lost_client() {
        let (sender, pieces) = channel();
        let writing = std::thread::spawn(move || {
            let mut writer = PieceWriter::new(sender);
            for _ in 0..100 {
                writer.write_all(&[7; 5000]).expect("somebody reads");
            }
        });
        let (bytes, last) = collected(pieces);
        writing.join().expect("no panic");
        assert_eq!(bytes.len(), 500_000);
        assert!(last.is_none(), "only the producer says when it is complete");

        let (sender, pieces) = channel();
        drop(pieces);
        let mut writer = PieceWriter::new(sender);
        let error = writer.write_all(&[0; 2 * CHUNK]).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn errors_are_refusals_before_the_first_line_and_lines_after_it() {
        let (sender, pieces) = channel();
        Lines::new(sender, true).finish(Err(Refusal::invalid("no")));
        assert!(matches!(collected(pieces), (empty, Some(Piece::Failed(_))) if empty.is_empty()));

        let (sender, pieces) = channel();
        let lines = Lines::new(sender, true);
        lines.line("one");
        lines.finish(Err(Refusal::invalid("no")));
        let (bytes, last) = collected(pieces);
        assert!(matches!(last, Some(Piece::End)));
        assert_eq!(
            String::from_utf8(bytes).expect("JSON"),
            "{\"stream\":\"one\\n\"}\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\n"
        );
    }

    #[test]
    fn steps_never_block() {
        let (sender, pieces) = channel();
        let lines = Lines::new(sender, true);
        for done in 0..1000 {
            lines.step("x", "Loading layer", done, 1000);
        }
        let reading = std::thread::spawn(move || collected(pieces).0);
        lines.finish(Ok(()));
        let text = String::from_utf8(reading.join().expect("no panic")).expect("JSON");
        assert!(text.lines().count() < 1000, "steps were dropped");
        let last = text.lines().last().expect("steps");
        assert!(last.contains("\"current\":999"), "{last}");
    }

    #[test]
    fn bars() {
        assert_eq!(bar(0, 0), "0B");
        assert_eq!(bar(1500, 0), "1.5kB");
        assert!(bar(1, 2).starts_with("[=========================>"));
        assert_eq!(
            bar(2_000_000, 2_000_000),
            format!("[{}] 2.0MB/2.0MB", "=".repeat(50))
        );
    }
}
