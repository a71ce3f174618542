//! Any commands as a stream of btrfs: no panic, nothing outside the tree, and a digest that was not earned is not believed.
//!
//! An input is a row of commands: a byte for the kind, two for the length, little end first, and so many bytes of attributes.
//! Heads and checksums are made here, as nothing else would ever be reached. Kind 0 begins the next stream.

#![no_main]

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sys::dir::{self, Stat};
use transfer::{Link, Message, Receiver};

struct Scratch {
    target: OwnedFd,
    /// Everything around the target, as it was.
    around: Vec<(OwnedFd, Stat)>,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/fuzz-stream-{}", std::process::id()));
    fs::create_dir_all(path.join("target")).expect("a scratch directory");
    fs::create_dir_all(path.join("outside")).expect("a scratch directory");
    fs::write(path.join("outside/sentinel"), "untouched").expect("a sentinel");
    let mut around: Vec<OwnedFd> = [&path, &path.join("outside")]
        .map(|path| dir::open(path).expect("a scratch directory"))
        .into();
    around.push(
        File::open(path.join("outside/sentinel"))
            .expect("the sentinel")
            .into(),
    );
    Scratch {
        target: dir::open(&path.join("target")).expect("the target"),
        around: around
            .into_iter()
            .map(|fd| {
                let stat = dir::stat(fd.as_fd()).expect("what it is");
                (fd, stat)
            })
            .collect(),
    }
});

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
    let target = SCRATCH.target.as_fd();
    let mut link = Link::new(heard.as_slice(), std::io::sink());
    let mut receiver = Receiver::new(&mut link, target).streams();
    if let Ok(ended) = receiver.run() {
        // Nobody can guess a digest.
        receiver.verify(&ended).expect_err("it is believed");
    }
    for (fd, before) in &SCRATCH.around {
        let now = dir::stat(fd.as_fd()).expect("what it is");
        assert_eq!(
            (now.mtime, now.ctime, now.nlink),
            (before.mtime, before.ctime, before.nlink),
            "something outside was changed"
        );
    }
    dir::remove_contents(target).expect("the target can be emptied");
});
