//! Any commands as a stream of btrfs: no panic, nothing outside the tree, and a digest that was not earned is not believed.
//!
//! An input is a row of commands: a byte for the kind, two for the length, little end first, and so many bytes of attributes.
//! Heads and checksums are made here, as nothing else would ever be reached. Kind 0 begins the next stream.

#![no_main]

mod scratch;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scratch::Scratch;
use transfer::{Link, Message, Receiver};

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("stream"));

fn said(message: &Message) -> Vec<u8> {
    let mut link = Link::new(std::io::empty(), Vec::new());
    link.send(message).expect("it is written to memory");
    link.flush().expect("it is written to memory");
    link.writer().clone()
}

static BEGIN: LazyLock<Vec<u8>> =
    LazyLock::new(|| [said(&Message::Stream), data(b"btrfs-stream\0\x01\0\0\0")].concat());
static END: LazyLock<Vec<u8>> = LazyLock::new(|| said(&Message::Streamed { whole: true }));
static LAST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    said(&Message::End {
        digest: transfer::Digest([0; 32]),
        entries: 0,
        bytes: 0,
    })
});

fn data(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("inputs are short");
    [&[2], &length.to_be_bytes()[..], bytes].concat()
}

fn command(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("inputs are short");
    let head = [&length.to_le_bytes()[..], &[kind, 0]].concat();
    let sum = [&head[..], &[0; 4], body]
        .iter()
        .fold(!0, |sum, part| crc32c::crc32c_append(sum, part));
    data(&[&head[..], &(!sum).to_le_bytes(), body].concat())
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut heard = BEGIN.clone();
    while let Some((&[kind, a, b], more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([a, b])).min(more.len());
        let (body, more) = more.split_at(length);
        if kind == 0 {
            heard.extend(&*END);
            heard.extend(&*BEGIN);
        } else {
            heard.extend(command(kind, body));
        }
        rest = more;
    }
    heard.extend(&*END);
    heard.extend(&*LAST);
    let target = SCRATCH.target();
    let mut link = Link::new(heard.as_slice(), std::io::sink());
    let mut receiver = Receiver::new(&mut link, target).streams();
    if let Ok(ended) = receiver.run() {
        // Nobody can guess a digest.
        receiver.verify(&ended).expect_err("it is believed");
    }
    SCRATCH.check_and_empty();
});
