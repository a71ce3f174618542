//! Archives that try to get out, to fill memory or disk, or make no sense.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;

use archive::{Devices, Limits, Owner, Rename, UnpackError, UnpackOptions, Unpacked, unpack};

use crate::raw::{Raw, tar, unfinished};
use crate::scratch::{Scratch, describe, is_root};

const SECRET: &str = "outside";

/// A target directory beside a file that nobody may touch.
struct Trap {
    scratch: Scratch,
    before: String,
}

impl Trap {
    fn new() -> Self {
        let scratch = Scratch::new();
        scratch.dir("target");
        scratch.dir("outside");
        fs::write(scratch.path("outside/sentinel"), SECRET).unwrap();
        let before = outside(&scratch);
        Self { scratch, before }
    }

    fn unpack(&self, stream: &[u8], options: &UnpackOptions<'_>) -> Result<Unpacked, UnpackError> {
        let target = sys::dir::open(&self.scratch.path("target")).unwrap();
        unpack(stream, target.as_fd(), options)
    }

    fn assert_closed(&self, what: &str) {
        assert_eq!(outside(&self.scratch), self.before, "{what} got out");
        let names: Vec<_> = fs::read_dir(&self.scratch.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "target" && name != "outside")
            .collect();
        assert!(names.is_empty(), "{what} made {names:?}");
    }
}

fn outside(scratch: &Scratch) -> String {
    let sentinel = fs::metadata(scratch.path("outside/sentinel")).unwrap();
    format!(
        "{:?} {} {:?}",
        describe(&scratch.path("outside")),
        sentinel.nlink(),
        sentinel.ctime()
    )
}

#[test]
fn nothing_leaves_the_target() {
    let trap = Trap::new();
    let absolute = trap.scratch.path("outside");
    let absolute = absolute.to_str().unwrap();
    let sentinel = format!("{absolute}/sentinel");
    let cases: Vec<(&str, Vec<Raw>)> = vec![
        ("absolute name", vec![Raw::file(&sentinel, "x")]),
        ("dots", vec![Raw::file("../outside/sentinel", "x")]),
        (
            "dots inside",
            vec![Raw::file("a/../../outside/sentinel", "x")],
        ),
        ("dots at the end", vec![Raw::dir("a/..")]),
        (
            "link then file",
            vec![Raw::symlink("l", absolute), Raw::file("l/sentinel", "x")],
        ),
        (
            "relative link then file",
            vec![
                Raw::symlink("l", "../outside"),
                Raw::file("l/sentinel", "x"),
            ],
        ),
        (
            "link to the file",
            vec![Raw::symlink("l", &sentinel), Raw::file("l", "x")],
        ),
        (
            "link to the file, written as directory",
            vec![Raw::symlink("l", absolute), Raw::dir("l").mode(0o777)],
        ),
        (
            "link then directory below",
            vec![Raw::symlink("l", absolute), Raw::dir("l/new")],
        ),
        (
            "chain",
            vec![
                Raw::symlink("a", ".."),
                Raw::symlink("b", "a/outside"),
                Raw::file("b/sentinel", "x"),
            ],
        ),
        (
            "deep chain",
            vec![
                Raw::dir("d"),
                Raw::symlink("d/up", "../.."),
                Raw::file("d/up/outside/sentinel", "x"),
            ],
        ),
        (
            "link to proc",
            vec![Raw::symlink("l", "/proc/self/cwd"), Raw::file("l/x", "x")],
        ),
        (
            "link to the root of a process",
            vec![
                Raw::symlink("l", "/proc/self/root"),
                Raw::file(format!("l{sentinel}"), "x"),
            ],
        ),
        (
            "hard link by absolute name",
            vec![Raw::hard_link("h", &sentinel), Raw::file("h", "x")],
        ),
        (
            "hard link with dots",
            vec![Raw::hard_link("h", "../outside/sentinel")],
        ),
        (
            "hard link through a link",
            vec![
                Raw::symlink("l", absolute),
                Raw::hard_link("h", "l/sentinel"),
            ],
        ),
        (
            "hard link to a link, then written",
            vec![
                Raw::symlink("l", &sentinel),
                Raw::hard_link("h", "l"),
                Raw::file("h", "x"),
            ],
        ),
        (
            "device below a link",
            vec![
                Raw::symlink("l", absolute),
                Raw::device(b'3', "l/null", 1, 3),
            ],
        ),
        (
            "fifo below a link",
            vec![Raw::symlink("l", absolute), Raw::new(b'6', "l/fifo")],
        ),
        (
            "link below a link",
            vec![Raw::symlink("l", absolute), Raw::symlink("l/new", "x")],
        ),
        (
            "directory replaced by a link",
            vec![
                Raw::dir("d"),
                Raw::file("d/f", "1"),
                Raw::symlink("d", absolute),
                Raw::file("d/sentinel", "x"),
            ],
        ),
        (
            "directory replaced by a link, attributes later",
            vec![
                Raw::dir("d").mode(0o777),
                Raw::hard_link("d", "nothing"),
                Raw::symlink("d", absolute),
            ],
        ),
        (
            "directory attributes through a link",
            vec![Raw::dir("d").mode(0o4777), Raw::symlink("d", absolute)],
        ),
        (
            "parent replaced by a link, attributes later",
            vec![
                Raw::dir("p"),
                Raw::dir("p/outside").mode(0o4777),
                Raw::symlink("p", ".."),
            ],
        ),
        (
            "long name",
            vec![
                Raw::new(b'L', "././@LongLink").data(format!("{}x", "../".repeat(80))),
                Raw::file("x", "x"),
            ],
        ),
        (
            "record",
            vec![
                Raw::pax(&[("path", b"../outside/sentinel")]),
                Raw::file("x", "x"),
            ],
        ),
        (
            "linkpath record",
            vec![
                Raw::pax(&[("linkpath", sentinel.as_bytes())]),
                Raw::hard_link("x", "y"),
            ],
        ),
        (
            "sparse name",
            vec![
                Raw::pax(&[
                    ("GNU.sparse.name", b"../outside/sentinel"),
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.realsize", b"1"),
                ]),
                Raw::file("x", "0\n"),
            ],
        ),
        (
            "zero byte in a name",
            vec![
                Raw::pax(&[("path", b"a\0/../../outside/sentinel")]),
                Raw::file("x", "x"),
            ],
        ),
    ];
    for (what, members) in &cases {
        // What it does inside does not matter; many of them are errors.
        drop(trap.unpack(&tar(members), &UnpackOptions::default()));
        trap.assert_closed(what);
        sys::dir::remove_contents(trap.scratch.dir("target").as_fd()).unwrap();
    }
    for (what, members) in &cases {
        let layer = UnpackOptions {
            whiteouts: archive::UnpackWhiteouts::ToOverlay,
            ..Default::default()
        };
        drop(trap.unpack(&tar(members), &layer));
        trap.assert_closed(what);
        sys::dir::remove_contents(trap.scratch.dir("target").as_fd()).unwrap();
    }
}

#[test]
fn links_in_the_target_do_not_lead_out() {
    let trap = Trap::new();
    let outside = trap.scratch.path("outside");
    symlink(&outside, trap.scratch.path("target/abs")).unwrap();
    symlink("../outside", trap.scratch.path("target/rel")).unwrap();
    let stream = tar(&[
        Raw::file("abs/sentinel", "x"),
        Raw::file("rel/sentinel", "x"),
    ]);
    trap.unpack(&stream, &UnpackOptions::default()).unwrap();
    trap.assert_closed("a link of the target");
    let inside = trap.scratch.path("target").join("outside/sentinel");
    assert_eq!(fs::read(inside).unwrap(), b"x");
}

#[test]
fn refused_with_a_reason() {
    let trap = Trap::new();
    let long = "n".repeat(256);
    let too_long = format!("cannot write {long}");
    let cases: Vec<(Vec<Raw>, &str)> = vec![
        (
            vec![Raw::file("../x", "")],
            "path ../x of the archive leads out of its directory",
        ),
        (
            vec![Raw::hard_link("h", "missing")],
            "cannot link h to missing",
        ),
        (vec![Raw::hard_link("h", "")], "cannot link h to "),
        (
            vec![Raw::dir("d"), Raw::hard_link("h", "d")],
            "cannot link h to d",
        ),
        (
            vec![Raw::pax(&[("path", long.as_bytes())]), Raw::file("x", "")],
            &too_long,
        ),
        (
            vec![Raw::new(b'9', "x")],
            "the archive has a member of unknown type '9'",
        ),
        (
            vec![Raw::file(".", "x")],
            "a path of the archive is not usable: .",
        ),
        (
            vec![Raw::file("a", ""), Raw::file("a/b", "")],
            "cannot write a/b",
        ),
        (
            vec![Raw::symlink("l", "l"), Raw::file("l/b", "")],
            "cannot write l/b",
        ),
        (
            vec![Raw::file("x", "").patch(124, "9999")],
            "invalid archive, a wrong size in the header before byte 512",
        ),
        (
            vec![Raw::file("x", "").patch(124, [0xff; 12])],
            "invalid archive, a wrong size in the header before byte 512",
        ),
        (
            vec![Raw::file("x", "").patch(108, [0xff; 8])],
            "invalid archive, a wrong owner in the header before byte 512",
        ),
        (
            vec![Raw::pax(&[("uid", b"4294967295")]), Raw::file("x", "")],
            "invalid archive, a wrong owner in the header before byte 1536",
        ),
        (
            vec![Raw::pax(&[("mtime", b"soon")]), Raw::file("x", "")],
            "invalid archive, a wrong time in the header before byte 1536",
        ),
        (
            vec![Raw::new(b'x', "x").data("99 path=x\n"), Raw::file("x", "")],
            "invalid archive, a malformed record in the header before byte 522",
        ),
        (
            vec![Raw::new(b'L', "x").claims(9 << 20)],
            "invalid archive, an oversized extension in the header before byte 512",
        ),
        (
            vec![Raw::new(b'x', "x").data("")],
            "invalid archive, a missing member in the header before byte 1024",
        ),
        (
            vec![Raw::device(b'3', "x", 1, 3).patch(329, "x")],
            "invalid archive, a wrong device number in the header before byte 512",
        ),
    ];
    for (members, expected) in cases {
        let error = trap
            .unpack(&tar(&members), &UnpackOptions::default())
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
        sys::dir::remove_contents(trap.scratch.dir("target").as_fd()).unwrap();
    }
    let mut wrong = tar(&[Raw::file("x", "")]);
    wrong[0] = b'y';
    let error = trap.unpack(&wrong, &UnpackOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid archive, a wrong checksum in the header before byte 512"
    );
}

#[test]
fn extensions_do_not_fill_the_memory() {
    let trap = Trap::new();
    let mut members = vec![Raw::pax(&[("comment", &[b'x'; 300_000])]); 4];
    members.push(Raw::file("f", ""));
    let error = trap
        .unpack(&tar(&members), &UnpackOptions::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("invalid archive, an oversized extension"),
        "{error}"
    );
    // For each member anew.
    let members: Vec<Raw> = (0..4)
        .flat_map(|number| [members[0].clone(), Raw::file(format!("{number}"), "")])
        .collect();
    trap.unpack(&tar(&members), &UnpackOptions::default())
        .unwrap();
    let long = Raw::pax(&[("path", &[b'x'; 5000])]);
    let error = trap
        .unpack(&tar(&[long, Raw::file("f", "")]), &UnpackOptions::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("a path of the archive is not usable: xxx"),
        "{error}"
    );
}

#[test]
fn truncation_is_noticed() {
    let trap = Trap::new();
    let whole = unfinished(&[Raw::file("a", [1; 700]), Raw::file("b", [2; 700])]);
    let unpacked = |length: usize| trap.unpack(&whole[..length], &UnpackOptions::default());
    // The end of the archive may be missing, as with Docker and GNU tar, and what fills the last block up, as with
    // Docker's client.
    for complete in [0, 1212, 1213, whole.len() / 2, whole.len() - 1, whole.len()] {
        unpacked(complete).unwrap();
    }
    for cut in [
        1,
        511,
        512,
        513,
        1211,
        whole.len() / 2 + 1,
        whole.len() / 2 + 1211,
    ] {
        assert_eq!(
            unpacked(cut).unwrap_err().to_string(),
            "the archive ends too early",
            "{cut} bytes"
        );
    }
    let huge = unfinished(&[Raw::file("huge", "little").claims(7 << 30)]);
    assert_eq!(
        trap.unpack(&huge, &UnpackOptions::default())
            .unwrap_err()
            .to_string(),
        "the archive ends too early"
    );
    assert_eq!(
        fs::metadata(trap.scratch.path("target/huge"))
            .unwrap()
            .blocks(),
        8
    );
}

#[test]
fn limits_hold_while_reading() {
    let trap = Trap::new();
    let limits = Limits {
        max_bytes: 1000,
        max_entries: 3,
    };
    let options = UnpackOptions {
        limits,
        ..Default::default()
    };
    let error = trap
        .unpack(
            &tar(&[Raw::file("a", [1; 600]), Raw::file("b", [1; 600])]),
            &options,
        )
        .unwrap_err();
    assert_eq!(error.to_string(), "the archive holds more than 1000 bytes");
    let many: Vec<Raw> = (0..4).map(|number| Raw::dir(format!("{number}"))).collect();
    let error = trap.unpack(&tar(&many), &options).unwrap_err();
    assert_eq!(error.to_string(), "the archive holds more than 3 entries");
    // Holes do not count, and take no space.
    let mut row = [&b"00000000000\0"[..], b"00000000000\0"].concat();
    row.resize(24, 0);
    let hole = Raw::new(b'S', "hole")
        .patch(386, row)
        .patch(483, "77777777777\0");
    let done = trap.unpack(&tar(&[hole]), &options).unwrap();
    assert_eq!(done.bytes, 0);
    let hole = fs::metadata(trap.scratch.path("target/hole")).unwrap();
    assert_eq!((hole.len(), hole.blocks()), (0o77_777_777_777, 0));
}

#[test]
fn holes_must_make_sense() {
    let trap = Trap::new();
    let pax = |records: &[(&str, &str)]| {
        let mut all = vec![("GNU.sparse.realsize", &b"2000"[..])];
        all.extend(records.iter().map(|(key, value)| (*key, value.as_bytes())));
        Raw::pax(&all)
    };
    let one = |map: &str, data: &str| {
        let mut bytes = map.as_bytes().to_vec();
        bytes.resize(512, 0);
        bytes.extend_from_slice(data.as_bytes());
        vec![
            pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")]),
            Raw::file("f", bytes),
        ]
    };
    let good: Vec<(Vec<Raw>, u64)> = vec![
        (one("1\n1000\n4\n", "data"), 1000),
        (one("2\n1000\n4\n2000\n0\n", "data"), 1000),
        (
            vec![
                pax(&[("GNU.sparse.map", "1000,4,2000,0")]),
                Raw::file("f", "data"),
            ],
            1000,
        ),
        (
            vec![
                pax(&[("GNU.sparse.offset", "1996"), ("GNU.sparse.numbytes", "4")]),
                Raw::file("f", "data"),
            ],
            1996,
        ),
    ];
    for (members, at) in good {
        trap.unpack(&tar(&members), &UnpackOptions::default())
            .unwrap();
        let read = fs::read(trap.scratch.path("target/f")).unwrap();
        let at = usize::try_from(at).unwrap();
        assert_eq!((read.len(), &read[at..at + 4]), (2000, &b"data"[..]));
        assert_eq!(read.iter().filter(|byte| **byte != 0).count(), 4);
    }
    let wrong: Vec<Vec<Raw>> = vec![
        one("1\n1998\n4\n", "data"),
        one("2\n1000\n2\n1001\n2\n", "data"),
        one("1\n1000\n5\n", "data"),
        one("1\n1000\n3\n", "data"),
        one("1\n18446744073709551615\n4\n", "data"),
        one("99999999999\n", "data"),
        one("x\n", "data"),
        one("1\n1000", "data"),
        vec![pax(&[("GNU.sparse.map", "1000")]), Raw::file("f", "data")],
        vec![pax(&[("GNU.sparse.numbytes", "4")]), Raw::file("f", "data")],
        vec![
            pax(&[("GNU.sparse.offset", "1"), ("GNU.sparse.offset", "2")]),
            Raw::file("f", "data"),
        ],
        vec![
            Raw::pax(&[("GNU.sparse.map", b"0,4")]),
            Raw::file("f", "data"),
        ],
    ];
    for members in wrong {
        let error = trap
            .unpack(&tar(&members), &UnpackOptions::default())
            .unwrap_err();
        assert!(error.to_string().contains("hole"), "{error}");
    }
}

#[test]
fn later_members_win() {
    let trap = Trap::new();
    let make: Vec<(&str, Vec<Raw>)> = vec![
        ("file", vec![Raw::file("x", "last")]),
        ("dir", vec![Raw::dir("x"), Raw::file("x/inner", "")]),
        ("symlink", vec![Raw::symlink("x", "target")]),
        ("fifo", vec![Raw::new(b'6', "x")]),
        (
            "hard link",
            vec![Raw::file("other", ""), Raw::hard_link("x", "other")],
        ),
    ];
    for (first, before) in &make {
        for (second, after) in &make {
            let stream = tar(&[before.as_slice(), after].concat());
            trap.unpack(&stream, &UnpackOptions::default()).unwrap();
            let kind = fs::symlink_metadata(trap.scratch.path("target/x"))
                .unwrap()
                .file_type();
            let right = match *second {
                "dir" => kind.is_dir(),
                "symlink" => kind.is_symlink(),
                "fifo" => kind.is_fifo(),
                _ => kind.is_file(),
            };
            assert!(right, "{first} then {second}");
            let stays = UnpackOptions {
                no_overwrite_dir_non_dir: true,
                ..Default::default()
            };
            let error = trap
                .unpack(&stream, &stays)
                .map(drop)
                .map_err(|error| error.to_string());
            if (*first == "dir") != (*second == "dir") {
                assert!(
                    error.unwrap_err().starts_with("cannot overwrite "),
                    "{first} then {second}"
                );
            }
            sys::dir::remove_contents(trap.scratch.dir("target").as_fd()).unwrap();
        }
    }
    // Directories are merged, and get the attributes of the last of them, whatever is put into them later.
    let stream = tar(&[
        Raw::dir("d").mode(0o700),
        Raw::file("d/one", ""),
        Raw::dir("d").mode(0o500),
        Raw::file("d/two", ""),
        Raw::dir(".").mode(0o711),
    ]);
    trap.unpack(&stream, &UnpackOptions::default()).unwrap();
    let directory = fs::metadata(trap.scratch.path("target/d")).unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.mtime()), (0o500, 10));
    assert!(
        trap.scratch.path("target/d/one").exists() && trap.scratch.path("target/d/two").exists()
    );
    assert_eq!(
        fs::metadata(trap.scratch.path("target")).unwrap().mode() & 0o7777,
        0o711
    );
    // A link to itself changes nothing.
    trap.unpack(
        &tar(&[Raw::file("s", "kept"), Raw::hard_link("s", "./s")]),
        &UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(fs::read(trap.scratch.path("target/s")).unwrap(), b"kept");
}

#[test]
fn odd_but_legal() {
    if !is_root() {
        return;
    }
    let trap = Trap::new();
    let target = |name: &str| trap.scratch.path("target").join(name);
    let stream = tar(&[
        Raw::new(b'g', "global").data("15 path=global\n"),
        Raw::new(b'V', "label"),
        Raw::new(0, "old/dir/"),
        Raw::new(0, "old/file").data("v7").patch(257, [0; 8]),
        Raw::new(b'7', "contiguous").data("c"),
        // Blank device fields, as some writers leave them.
        Raw::new(b'6', "fifo").patch(329, [b' '; 16]),
        // A length although there are no data.
        Raw::symlink("link", "a").claims(5),
        Raw::dir("dir/").claims(1 << 20),
        Raw::new(b'K', "x").data(format!("{}\0", "t".repeat(300))),
        Raw::new(b'L', "x").data(format!("{}\0", ["n"; 100].join("/"))),
        Raw::symlink("cut", "cut"),
        Raw::pax(&[
            ("path", b"owned"),
            ("uid", b"4000000000"),
            ("gid", b"3000000"),
            ("mtime", b"-1.5"),
            ("comment", b"="),
        ]),
        Raw::file("x", ""),
        Raw::file("old/gnu", "base 256")
            .patch(257, "ustar  \0")
            .patch(108, [0x80, 0, 0, 0, 0, 0x30, 0, 0])
            .patch(345, "12345670123"),
        Raw::file("name", "prefix").patch(345, "some/prefix"),
        Raw::pax(&[("path", b"non-\xff-utf8")]),
        Raw::file("x", ""),
        Raw::pax(&[
            ("SCHILY.xattr.user.a", b"1"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("SCHILY.xattr.bad", b"1"),
        ]),
        Raw::file("tagged", ""),
    ]);
    let done = trap.unpack(&stream, &UnpackOptions::default()).unwrap();
    assert_eq!(
        done,
        Unpacked {
            entries: 12,
            bytes: 17,
            skipped: 0
        }
    );
    assert!(target("old/dir").is_dir() && target("dir").is_dir());
    assert_eq!(fs::read(target("old/file")).unwrap(), b"v7");
    assert_eq!(fs::read(target("some/prefix/name")).unwrap(), b"prefix");
    assert_eq!(fs::metadata(target("old/gnu")).unwrap().uid(), 0x30_0000);
    let long = target(&["n"; 100].join("/"));
    assert_eq!(fs::read_link(long).unwrap(), Path::new(&"t".repeat(300)));
    let owned = fs::metadata(target("owned")).unwrap();
    assert_eq!(
        (owned.uid(), owned.gid(), owned.mtime(), owned.mtime_nsec()),
        (4_000_000_000, 3_000_000, -2, 500_000_000)
    );
    let described = describe(&trap.scratch.path("target"));
    assert!(
        described[Path::new("tagged")].contains(r#"["\"user.a\"=1"]"#),
        "{}",
        described[Path::new("tagged")]
    );
    assert!(
        described
            .keys()
            .any(|path| path.to_string_lossy().starts_with("non-\u{fffd}"))
    );
}

#[test]
fn options_change_what_is_made() {
    if !is_root() {
        return;
    }
    let trap = Trap::new();
    let stream = tar(&[
        Raw::device(b'3', "dev/null", 1, 3).mode(0o666),
        Raw::new(b'6', "dev/fifo"),
        Raw::file("src/a", "a").patch(108, "0001750\0"),
        Raw::hard_link("src/b", "src/a"),
    ]);
    let error = trap
        .unpack(
            &stream,
            &UnpackOptions {
                devices: Devices::Refuse,
                ..Default::default()
            },
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "dev/null is a device or fifo, which is not allowed here"
    );
    let progress = std::sync::atomic::AtomicU64::new(0);
    let count = |done: Unpacked| progress.store(done.entries, std::sync::atomic::Ordering::Relaxed);
    let options = UnpackOptions {
        devices: Devices::Skip,
        owner: Owner::Fixed(5, 6),
        rename: Some(Rename {
            from: "src".into(),
            to: "deep/dst".into(),
        }),
        progress: Some(&count),
        ..Default::default()
    };
    let done = trap.unpack(&stream, &options).unwrap();
    assert_eq!(
        (done.entries, done.skipped, progress.into_inner()),
        (4, 2, 4)
    );
    let one = fs::metadata(trap.scratch.path("target/deep/dst/b")).unwrap();
    assert_eq!((one.uid(), one.gid(), one.nlink()), (5, 6, 2));
    assert!(!trap.scratch.path("target/src").exists() && !trap.scratch.path("target/dev").exists());
    trap.unpack(&stream, &UnpackOptions::default()).unwrap();
    let null = fs::metadata(trap.scratch.path("target/dev/null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(
        (null.rdev(), null.mode() & 0o7777),
        (rustix::fs::makedev(1, 3), 0o666)
    );
}
