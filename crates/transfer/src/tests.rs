//! Both sides over a socket pair: what is kept, what a second attempt sends, and what a hostile side gets.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sys::xattr::Subject;

use crate::{
    Digest, Ended, Ending, Entry, Link, Message, Meta, Node, Passed, Receiver, RelPath, Sender,
    TransferError,
};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("transfer-{}-{next}", std::process::id()));
        fs::create_dir_all(path.join("from")).expect("made");
        fs::create_dir_all(path.join("to")).expect("made");
        Self(path)
    }

    fn from(&self) -> PathBuf {
        self.0.join("from")
    }

    fn to(&self) -> PathBuf {
        self.0.join("to")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

type Ours = Link<UnixStream, UnixStream>;

fn links() -> (Ours, Ours) {
    let (one, other) = UnixStream::pair().expect("a pair");
    let link = |stream: UnixStream| Link::new(stream.try_clone().expect("cloned"), stream);
    (link(one), link(other))
}

/// Copies `from` to `to`; `between` is called after the first of two passes.
fn copy(from: &Path, to: &Path, between: impl FnOnce()) -> (Vec<Passed>, Digest) {
    let (mut ours, mut theirs) = links();
    let to = to.to_owned();
    let receiving = std::thread::spawn(move || {
        let root = fs::File::open(to).expect("open");
        let mut receiver = Receiver::new(&mut theirs, root.as_fd());
        receiver.tell()?;
        let ended = receiver.run()?;
        receiver.verify(&ended)?;
        theirs.send(&Message::Done {
            digest: ended.digest,
        })?;
        theirs.flush()
    });
    let root = fs::File::open(from).expect("open");
    let mut sender = Sender::new(&mut ours);
    sender.learn(root.as_fd()).expect("heard");
    let first = sender.pass(root.as_fd(), "Sending").expect("sent");
    between();
    let second = sender.pass(root.as_fd(), "Sending").expect("sent");
    let Ending::Agreed(digest) = sender.end().expect("they answer") else {
        panic!("they do not agree");
    };
    receiving.join().expect("no panic").expect("received");
    (vec![first, second], digest)
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let parent = fs::File::open(path.parent().expect("one")).expect("open");
    let subject = Subject::Entry(parent.as_fd(), path.file_name().expect("one"));
    sys::xattr::set(subject, OsStr::new(name), value).expect("set");
}

fn populate(from: &Path) {
    fs::create_dir_all(from.join("d/e/f")).expect("made");
    fs::write(from.join("d/small"), b"hello").expect("written");
    fs::write(from.join("empty"), b"").expect("written");
    let odd = OsStr::from_bytes(b"odd\xff\xfe name\n");
    fs::write(from.join(odd), b"odd").expect("written");
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(from.join("large"), &large).expect("written");
    let sparse = fs::File::create(from.join("sparse")).expect("made");
    sparse.set_len(1 << 40).expect("long");
    sparse
        .write_all_at(b"island", (1 << 39) + 5)
        .expect("written");
    symlink("../../nowhere", from.join("d/link")).expect("linked");
    fs::hard_link(from.join("d/small"), from.join("other name")).expect("linked");
    drop(UnixListener::bind(from.join("socket")).expect("bound"));
    let made = std::process::Command::new("mkfifo")
        .arg(from.join("fifo"))
        .status()
        .expect("run");
    assert!(made.success());
    set_xattr(&from.join("d/small"), "user.color", b"blue\0");
    fs::set_permissions(from.join("d/e"), fs::Permissions::from_mode(0o1700)).expect("set");
    if rustix::process::geteuid().is_root() {
        let owner = Some(1234);
        std::os::unix::fs::chown(from.join("d/small"), owner, Some(4321)).expect("given");
        std::os::unix::fs::lchown(from.join("d/link"), owner, owner).expect("given");
        fs::set_permissions(from.join("d/small"), fs::Permissions::from_mode(0o4751)).expect("set");
        let node = from.join("null");
        let made = std::process::Command::new("mknod")
            .arg(&node)
            .args(["c", "1", "3"])
            .status()
            .expect("run");
        assert!(made.success());
    }
}

#[test]
fn everything_is_kept_and_nothing_is_sent_twice() {
    let scratch = Scratch::new();
    populate(&scratch.from());
    let (passes, digest) = copy(&scratch.from(), &scratch.to(), || {});
    assert!(passes[0].sent >= 12_000_000, "{passes:?}");
    assert_eq!(passes[1].sent, 0);
    let to = scratch.to();
    let island = fs::metadata(to.join("sparse")).expect("there");
    assert_eq!(island.len(), 1 << 40);
    assert!(island.blocks() < 1000);
    let (one, other) = (
        fs::metadata(to.join("d/small")).expect("there"),
        fs::metadata(to.join("other name")).expect("there"),
    );
    assert_eq!((one.ino(), one.nlink()), (other.ino(), 2));
    let source = fs::metadata(scratch.from().join("d/small")).expect("there");
    assert_eq!(
        (one.mode(), one.uid(), one.gid(), one.mtime_nsec()),
        (
            source.mode(),
            source.uid(),
            source.gid(),
            source.mtime_nsec()
        )
    );
    // The second attempt finds all of it there, and nothing is said twice.
    let (again, same) = copy(&scratch.from(), &scratch.to(), || {});
    assert_eq!((again[0].sent, same), (0, digest));
}

#[test]
fn a_change_costs_its_blocks_and_no_more() {
    let scratch = Scratch::new();
    let from = scratch.from();
    populate(&from);
    let (passes, _) = copy(&from, &scratch.to(), || {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(from.join("large"))
            .expect("open");
        file.write_all_at(b"changed", 5_000_000).expect("written");
        let zeros = vec![0; 256 << 10];
        file.write_all_at(&zeros, 0).expect("written");
        file.set_len(11_999_999).expect("cut");
        fs::remove_dir_all(from.join("d/e")).expect("removed");
        fs::write(from.join("d/e"), b"a file now").expect("written");
        fs::remove_file(from.join("empty")).expect("removed");
        fs::create_dir(from.join("empty")).expect("a directory now");
        fs::write(from.join("empty/in it"), b"x").expect("written");
        // The first of two names goes, and comes back as another file.
        fs::remove_file(from.join("d/small")).expect("removed");
        fs::write(from.join("d/small"), b"alone").expect("written");
    });
    assert!(passes[1].sent <= 3 * (128 << 10) + 100, "{passes:?}");
    let to = scratch.to();
    assert_eq!(fs::read(to.join("d/e")).expect("there"), b"a file now");
    assert_eq!(fs::read(to.join("other name")).expect("there"), b"hello");
    assert_eq!(fs::read(to.join("d/small")).expect("there"), b"alone");
    assert_eq!(fs::read(to.join("empty/in it")).expect("there"), b"x");
}

#[test]
fn what_is_left_of_another_attempt_is_made_right() {
    let scratch = Scratch::new();
    populate(&scratch.from());
    let to = scratch.to();
    fs::create_dir_all(to.join("large/was/a/directory")).expect("made");
    fs::write(to.join("d"), b"was a file").expect("written");
    fs::write(to.join("sparse"), vec![7; 300_000]).expect("written");
    symlink("/etc", to.join("stale")).expect("linked");
    fs::hard_link(to.join("sparse"), to.join("fifo")).expect("linked");
    copy(&scratch.from(), &to, || {});
    assert!(fs::symlink_metadata(to.join("stale")).is_err());
}

fn meta() -> Meta {
    Meta {
        mode: 0o644,
        uid: 0,
        gid: 0,
        seconds: 1,
        nanoseconds: 2,
        attributes: Vec::new(),
    }
}

fn entry(path: &str, node: Node) -> Entry {
    Entry {
        path: RelPath::from_bytes(path),
        meta: meta(),
        node,
        blocks: Vec::new(),
    }
}

fn put(path: &str, node: Node) -> Message {
    Message::Put {
        entry: entry(path, node),
        fresh: true,
    }
}

/// What a receiver answers to a sender that says this.
fn hostile(to: &Path, messages: &[Message]) -> Result<Ended, TransferError> {
    let (mut ours, mut theirs) = links();
    for message in messages {
        ours.send(message).expect("sent");
    }
    ours.flush().expect("sent");
    drop(ours);
    let root = fs::File::open(to).expect("open");
    Receiver::new(&mut theirs, root.as_fd()).run()
}

#[test]
fn a_hostile_sender_stays_in_the_tree() {
    let scratch = Scratch::new();
    let outside = scratch.0.join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("file"), b"precious").expect("written");
    let file = || Node::File { size: 5 };
    let up = Node::Symlink(b"../outside".to_vec());
    let strange = Message::Put {
        entry: Entry {
            meta: Meta {
                attributes: vec![(b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec())],
                ..meta()
            },
            ..entry("x", Node::Fifo)
        },
        fresh: true,
    };
    let cases: Vec<Vec<Message>> = vec![
        vec![put("../outside/new", file())],
        vec![put("/etc/new", file())],
        vec![put("a/../../outside/new", file())],
        vec![put("up", up.clone()), put("up/new", file())],
        vec![
            put("up", up.clone()),
            Message::Put {
                entry: entry("up", file()),
                fresh: false,
            },
        ],
        vec![
            put("up", up.clone()),
            Message::Remove(RelPath::from_bytes("up/file")),
        ],
        vec![
            put("aup", up),
            put("b", Node::Link(RelPath::from_bytes("aup/file"))),
        ],
        vec![put("b", Node::Link(RelPath::from_bytes("../outside/file")))],
        vec![Message::Remove(RelPath::from_bytes(""))],
        vec![Message::Remove(RelPath::from_bytes(".."))],
        vec![put("f", Node::File { size: u64::MAX })],
        vec![put("f", file()), Message::Zero { index: 1 }],
        vec![put("f", file()), Message::Zero { index: u64::MAX }],
        vec![
            put("f", file()),
            Message::Block { index: 0 },
            Message::Sealed,
        ],
        vec![put("f", file()), put("g", file())],
        vec![Message::Sealed],
        vec![Message::HaveEnd],
        vec![put("", file())],
        vec![strange],
    ];
    for messages in cases {
        let answer = hostile(&scratch.to(), &messages);
        assert!(
            !matches!(answer, Ok(_) | Err(TransferError::Broken(_))),
            "{messages:?}: {answer:?}"
        );
        assert_eq!(fs::read(outside.join("file")).expect("there"), b"precious");
        assert_eq!(fs::read_dir(&outside).expect("there").count(), 1);
        fs::remove_dir_all(scratch.to()).expect("removed");
        fs::create_dir(scratch.to()).expect("made");
    }
}

#[test]
fn names_of_one_thing_stay_names_of_one_thing() {
    let scratch = Scratch::new();
    let from = scratch.from();
    let make = |target: &str| {
        for name in ["a", "b"] {
            fs::remove_file(from.join(name)).unwrap_or_default();
        }
        symlink(target, from.join("a")).expect("linked");
        fs::hard_link(from.join("a"), from.join("b")).expect("linked");
    };
    make("one");
    copy(&from, &scratch.to(), || make("another"));
    let target = |name| fs::read_link(scratch.to().join(name)).expect("there");
    assert_eq!(target("b"), Path::new("another"));
    let inode = |name| fs::symlink_metadata(scratch.to().join(name)).map(|found| found.ino());
    assert_eq!(inode("a").expect("there"), inode("b").expect("there"));
}

#[test]
fn what_somebody_else_has_changed_is_said_and_made_right() {
    let scratch = Scratch::new();
    populate(&scratch.from());
    let (mut ours, mut theirs) = links();
    let to = scratch.to();
    let receiving = std::thread::spawn(move || {
        let root = fs::File::open(&to).expect("open");
        let mut receiver = Receiver::new(&mut theirs, root.as_fd());
        receiver.tell()?;
        let ended = receiver.run()?;
        // Neither has seen this.
        fs::write(to.join("d/small"), b"hullo").expect("written");
        assert!(matches!(
            receiver.verify(&ended),
            Err(TransferError::Disagree { .. })
        ));
        receiver.doubt()?;
        let ended = receiver.run()?;
        receiver.verify(&ended)?;
        theirs.send(&Message::Done {
            digest: ended.digest,
        })?;
        theirs.flush()
    });
    let root = fs::File::open(scratch.from()).expect("open");
    let mut sender = Sender::new(&mut ours);
    sender.learn(root.as_fd()).expect("heard");
    sender.pass(root.as_fd(), "Sending").expect("sent");
    sender.settle().expect("read");
    assert_eq!(sender.end().expect("answered"), Ending::Doubted);
    let differing = sender.relearn(root.as_fd()).expect("heard");
    assert_eq!(differing, [RelPath::from_bytes("d/small")]);
    let passed = sender.pass(root.as_fd(), "Sending").expect("sent");
    assert_eq!(passed.sent, 5);
    let agreed = sender.end().expect("answered");
    assert!(matches!(agreed, Ending::Agreed(_)));
    receiving.join().expect("no panic").expect("received");
    let small = fs::read(scratch.to().join("d/small")).expect("there");
    assert_eq!(small, b"hello");
}

#[test]
fn a_digest_that_lies_is_found_out() {
    let scratch = Scratch::new();
    let ended = hostile(
        &scratch.to(),
        &[
            put("f", Node::File { size: 5 }),
            Message::Sealed,
            Message::End {
                digest: Digest([1; 32]),
                entries: 2,
                bytes: 0,
            },
        ],
    )
    .expect("nothing is wrong so far");
    let (mut ours, _theirs) = links();
    let root = fs::File::open(scratch.to()).expect("open");
    let verified = Receiver::new(&mut ours, root.as_fd()).verify(&ended);
    assert!(matches!(verified, Err(TransferError::Disagree { .. })));
}

#[test]
fn a_receiver_that_claims_without_end_is_cut_off() {
    let scratch = Scratch::new();
    let (mut ours, mut theirs) = links();
    let claiming = std::thread::spawn(move || {
        for number in 0.. {
            let claim = Message::Have(entry(&number.to_string(), Node::Fifo));
            if theirs.send(&claim).is_err() {
                return number;
            }
        }
        0
    });
    let root = fs::File::open(scratch.from()).expect("open");
    let heard = Sender::new(&mut ours).learn(root.as_fd());
    assert!(
        matches!(heard, Err(TransferError::Nonsense(_))),
        "{heard:?}"
    );
    drop(ours);
    assert!(claiming.join().expect("no panic") > 0);
}

#[test]
fn broken_frames_are_refused() {
    let read = |bytes: &[u8]| {
        let (mut one, other) = UnixStream::pair().expect("a pair");
        one.write_all(bytes).expect("written");
        drop(one);
        Link::new(other.try_clone().expect("cloned"), other).receive()
    };
    for bytes in [
        &[9, 0, 0, 0, 1, 0][..],
        &[1, 255, 255, 255, 255],
        &[2, 0, 0, 0, 1, 0],
        &[1, 0, 0, 0, 1, 200],
    ] {
        assert!(matches!(read(bytes), Err(TransferError::Nonsense(_))));
    }
    for bytes in [&[][..], &[1, 0, 0], &[1, 0, 0, 0, 9, 1]] {
        assert!(matches!(read(bytes), Err(TransferError::Broken(_))));
    }
}

#[test]
fn who_hangs_up_says_why() {
    let (mut ours, mut theirs) = links();
    theirs.fail("no room");
    drop(theirs);
    let told = loop {
        if let Err(error) = ours.send(&Message::Sealed).and_then(|()| ours.flush()) {
            break error;
        }
    };
    assert!(matches!(told, TransferError::Peer(why) if why == "no room"));
}

mod streams {
    //! A receiver of streams, from one that says what it likes.

    use std::os::fd::AsFd as _;

    use super::*;
    use crate::stream::command::tests::{
        DATA, LINK, MODE, OFFSET, PATH, SIZE, TO, UUID, command, head,
    };

    const NAME: u16 = 13;
    const VALUE: u16 = 14;
    const ME: (u16, &[u8]) = (UUID, &[7; 16]);

    fn begun(commands: &[Vec<u8>]) -> Vec<u8> {
        [
            head(),
            command(1, &[(PATH, b"any name"), ME]),
            commands.concat(),
            command(21, &[]),
        ]
        .concat()
    }

    /// What a receiver makes of it in `to`, beside which there is `outside`.
    fn take(scratch: &Scratch, streams: &[Vec<u8>]) -> Result<Ended, TransferError> {
        let (mut ours, mut theirs) = links();
        for stream in streams {
            ours.send(&Message::Stream).expect("sent");
            for piece in stream.chunks(1000) {
                ours.send_data(piece).expect("sent");
            }
            ours.send(&Message::Streamed { whole: true }).expect("sent");
        }
        let digest = Digest([0; 32]);
        ours.send(&Message::End {
            digest,
            entries: 0,
            bytes: 0,
        })
        .expect("sent");
        ours.flush().expect("sent");
        let root = fs::File::open(scratch.to()).expect("open");
        Receiver::new(&mut theirs, root.as_fd()).streams().run()
    }

    fn write(path: &[u8], offset: u64, bytes: &[u8]) -> Vec<u8> {
        command(
            15,
            &[(PATH, path), (OFFSET, &offset.to_le_bytes()), (DATA, bytes)],
        )
    }

    #[test]
    fn what_commands_say_is_done() {
        let scratch = Scratch::new();
        let first = begun(&[
            command(4, &[(PATH, b"o257-7-0")]),
            command(9, &[(PATH, b"o257-7-0"), (TO, b"d")]),
            command(3, &[(PATH, b"o258-7-0")]),
            command(9, &[(PATH, b"o258-7-0"), (TO, b"d/file")]),
            command(
                13,
                &[
                    (PATH, b"d/file"),
                    (NAME, b"security.selinux"),
                    (VALUE, b"x"),
                ],
            ),
            command(13, &[(PATH, b"d/file"), (NAME, b"user.a"), (VALUE, b"b")]),
            write(b"d/file", 3, b"hello"),
            write(b"d/file", 8192, &[0; 8192]),
            command(18, &[(PATH, b"d/file"), (MODE, &0o640_u64.to_le_bytes())]),
            command(10, &[(PATH, b"e"), (LINK, b"d/file")]),
            command(8, &[(PATH, b"l"), (LINK, b"../outside")]),
        ]);
        let second = [
            head(),
            command(2, &[(PATH, b"any name"), (UUID, &[8; 16]), (20, ME.1)]),
            command(9, &[(PATH, b"d"), (TO, b"renamed")]),
            command(11, &[(PATH, b"e")]),
            write(b"renamed/file", 0, b"new"),
            command(17, &[(PATH, b"renamed/file"), (SIZE, &9_u64.to_le_bytes())]),
            command(21, &[]),
        ]
        .concat();
        take(&scratch, &[first, second]).expect("it makes sense");
        let file = scratch.to().join("renamed/file");
        assert_eq!(fs::read(&file).expect("there"), b"newhello\0");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o7777, 0o640);
        let parent = fs::File::open(scratch.to().join("renamed")).expect("there");
        let subject = Subject::Entry(parent.as_fd(), OsStr::new("file"));
        let kept = |name: &str| sys::xattr::get(subject, OsStr::new(name)).expect("looked at");
        assert_eq!(kept("user.a").as_deref(), Some(&b"b"[..]));
        assert_eq!(kept("security.selinux"), None);
        assert!(!scratch.to().join("e").exists());
    }

    #[test]
    fn a_hostile_stream_stays_inside() {
        let clone = |whose: &[u8], from: &[u8]| {
            command(
                16,
                &[
                    (PATH, b"file"),
                    (OFFSET, &[0; 8]),
                    (24, &4096_u64.to_le_bytes()),
                    (20, whose),
                    (22, from),
                    (23, &[0; 8]),
                ],
            )
        };
        let file = || command(3, &[(PATH, b"file")]);
        let link = || command(8, &[(PATH, b"link"), (LINK, b"../outside")]);
        let no_begin = [head(), file(), command(21, &[])].concat();
        let no_end = [head(), command(1, &[(PATH, b"x"), ME])].concat();
        let other_parent = [
            head(),
            command(2, &[(PATH, b"x"), ME, (20, &[9; 16])]),
            command(21, &[]),
        ]
        .concat();
        for (what, stream) in [
            (
                "rename",
                begun(&[file(), command(9, &[(PATH, b"file"), (TO, b"../out")])]),
            ),
            (
                "in through a link",
                begun(&[link(), command(3, &[(PATH, b"link/made")])]),
            ),
            ("write to a link", begun(&[link(), write(b"link", 0, b"x")])),
            (
                "write below a link",
                begun(&[link(), write(b"link/kept", 0, b"x")]),
            ),
            (
                "rename out through a link",
                begun(&[
                    link(),
                    file(),
                    command(9, &[(PATH, b"file"), (TO, b"link/x")]),
                ]),
            ),
            (
                "link in from outside",
                begun(&[link(), command(10, &[(PATH, b"x"), (LINK, b"link/kept")])]),
            ),
            (
                "swap a directory for a link",
                begun(&[
                    command(4, &[(PATH, b"d")]),
                    command(3, &[(PATH, b"d/kept")]),
                    command(9, &[(PATH, b"d"), (TO, b"away")]),
                    command(8, &[(PATH, b"d"), (LINK, b"../outside")]),
                    write(b"d/kept", 0, b"x"),
                ]),
            ),
            (
                "mode of a link",
                begun(&[
                    link(),
                    command(18, &[(PATH, b"link"), (MODE, &0o777_u64.to_le_bytes())]),
                ]),
            ),
            (
                "a fifo",
                begun(&[command(6, &[(PATH, b"p")]), write(b"p", 0, b"x")]),
            ),
            (
                "data of another tree",
                begun(&[file(), clone(&[9; 16], b"file")]),
            ),
            (
                "data through a link",
                begun(&[link(), file(), clone(ME.1, b"link/kept")]),
            ),
            (
                "data from the end of a file",
                begun(&[file(), clone(ME.1, b"file")]),
            ),
            (
                "take the root away",
                begun(&[command(9, &[(PATH, b""), (TO, b"x")])]),
            ),
            ("what is there twice", begun(&[file(), file()])),
            (
                "something after the end",
                begun(&[command(21, &[]), file()]),
            ),
            (
                "a second beginning",
                begun(&[command(1, &[(PATH, b"x"), ME])]),
            ),
            ("no beginning", no_begin),
            ("no end", no_end),
            ("of another parent", other_parent),
            ("half a command", [begun(&[]), vec![1, 0]].concat()),
        ] {
            let scratch = Scratch::new();
            let outside = scratch.0.join("outside");
            fs::create_dir(&outside).expect("made");
            fs::write(outside.join("kept"), b"kept").expect("written");
            let before = fs::metadata(outside.join("kept")).expect("there");
            match take(&scratch, &[stream]) {
                Err(TransferError::Broken(error)) => panic!("{what}: {error}"),
                Err(_) => {}
                Ok(_) => panic!("{what} was done"),
            }
            let after = fs::metadata(outside.join("kept")).expect("there");
            assert_eq!(
                (after.mode(), after.nlink(), after.ctime_nsec(), after.len()),
                (
                    before.mode(),
                    before.nlink(),
                    before.ctime_nsec(),
                    before.len()
                ),
                "{what}"
            );
            assert_eq!(fs::read_dir(&outside).expect("there").count(), 1, "{what}");
            assert_eq!(
                fs::read_dir(&scratch.0).expect("there").count(),
                3,
                "{what}"
            );
        }
    }

    #[test]
    fn one_who_was_not_asked_for_streams_takes_none() {
        let (mut ours, mut theirs) = links();
        ours.send(&Message::Stream).expect("sent");
        ours.flush().expect("sent");
        let scratch = Scratch::new();
        let root = fs::File::open(scratch.to()).expect("open");
        let refused = Receiver::new(&mut theirs, root.as_fd()).run();
        assert!(matches!(refused, Err(TransferError::Nonsense(_))));
    }

    #[test]
    fn a_stream_that_is_broken_off_is_followed_by_what_differs() {
        let scratch = Scratch::new();
        let (mut ours, mut theirs) = links();
        let to = scratch.to();
        let receiving = std::thread::spawn(move || {
            let root = fs::File::open(to).expect("open");
            let mut receiver = Receiver::new(&mut theirs, root.as_fd()).streams();
            receiver.tell()?;
            receiver.run()
        });
        let root = fs::File::open(scratch.from()).expect("open");
        let mut sender = Sender::new(&mut ours);
        sender.learn(root.as_fd()).expect("heard");
        sender.say(&Message::Stream).expect("said");
        let cut = [
            head(),
            command(1, &[(PATH, b"x"), ME]),
            command(3, &[(PATH, b"part")]),
        ];
        sender.link().send_data(&cut.concat()).expect("sent");
        sender
            .say(&Message::Streamed { whole: false })
            .expect("said");
        sender.learn(root.as_fd()).expect("it says what it has");
        fs::write(scratch.from().join("file"), b"hello").expect("written");
        sender.pass(root.as_fd(), "Sending").expect("sent");
        sender
            .say(&Message::End {
                digest: Digest([0; 32]),
                entries: 0,
                bytes: 0,
            })
            .expect("said");
        receiving.join().expect("no panic").expect("received");
        assert!(!scratch.to().join("part").exists());
        assert_eq!(
            fs::read(scratch.to().join("file")).expect("there"),
            b"hello"
        );
    }
}
