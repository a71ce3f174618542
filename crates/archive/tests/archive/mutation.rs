//! Archives with random damage: whatever comes out, it comes out inside, and nothing panics.

use std::fs;
use std::os::fd::AsFd as _;

use archive::{Limits, UnpackOptions, UnpackWhiteouts, decompress, unpack};

use crate::raw::{Raw, tar};
use crate::scratch::Scratch;

const ROUNDS: u64 = 4000;

/// Always the same numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut map = b"2\n0\n3\n4096\n3\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"onetwo");
    let row = [&b"00000000000\0"[..], b"00000000003\0"].concat();
    vec![
        tar(&[
            Raw::dir("d"),
            Raw::file("d/f", "contents"),
            Raw::symlink("d/l", "../../outside"),
            Raw::hard_link("h", "d/f"),
            Raw::file("d/l/x", ""),
            Raw::new(b'6', "fifo"),
        ]),
        tar(&[
            Raw::pax(&[
                ("path", b"long/name"),
                ("mtime", b"1.5"),
                ("SCHILY.xattr.user.x", b"y"),
                ("size", b"3"),
            ]),
            Raw::file("x", "abc"),
            Raw::new(b'L', "l").data("d/very/long\0"),
            Raw::file("x", "abc"),
            Raw::new(b'K', "k").data("/outside/sentinel\0"),
            Raw::hard_link("y", "x"),
        ]),
        tar(&[
            Raw::pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.realsize", b"5000"),
                ("GNU.sparse.name", b"s"),
            ]),
            Raw::file("GNUSparseFile.0/s", map),
            Raw::new(b'S', "old")
                .data("abc")
                .patch(386, row)
                .patch(483, "00000001000\0"),
            Raw::pax(&[("GNU.sparse.map", b"0,3,10,0"), ("GNU.sparse.size", b"10")]),
            Raw::file("t", "abc"),
            Raw::file("d/.wh.x", ""),
            Raw::file("d/.wh..wh..opq", ""),
        ]),
    ]
}

fn damage(stream: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        if stream.is_empty() {
            return;
        }
        let at = numbers.below(stream.len());
        match numbers.below(6) {
            0 => stream[at] = numbers.next().to_le_bytes()[0],
            1 => stream[at] ^= 1 << numbers.below(8),
            2 => stream.truncate(at),
            3 => {
                let block = at / 512 * 512;
                let copy = stream[block..(block + 512).min(stream.len())].to_vec();
                let to = numbers.below(stream.len()) / 512 * 512;
                stream.splice(to..to, copy);
            }
            4 => {
                let block = at / 512 * 512;
                stream.drain(block..(block + 512).min(stream.len()));
            }
            _ => {
                let words: [&[u8]; 6] = [
                    b"../",
                    b"/",
                    b"\xff\xff\xff\xff",
                    b"99999999",
                    b"\0\0",
                    b".wh.",
                ];
                for (byte, new) in stream[at..]
                    .iter_mut()
                    .zip(words[numbers.below(words.len())])
                {
                    *byte = *new;
                }
            }
        }
    }
    // Mostly right checksums, or else nothing beyond them is ever reached.
    if numbers.below(8) > 0 {
        for block in stream
            .chunks_exact_mut(512)
            .filter(|block| &block[257..262] == b"ustar")
        {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
}

#[test]
fn damaged_archives_stay_inside() {
    let scratch = Scratch::new();
    let target = scratch.dir("target");
    scratch.dir("outside");
    fs::write(scratch.path("outside/sentinel"), "untouched").unwrap();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let seeds = seeds();
    let mut complete = 0;
    for round in 0..ROUNDS {
        let mut stream = seeds[numbers.below(seeds.len())].clone();
        damage(&mut stream, &mut numbers);
        let options = UnpackOptions {
            whiteouts: if round % 2 == 0 {
                UnpackWhiteouts::Literal
            } else {
                UnpackWhiteouts::ToOverlay
            },
            // Otherwise a damaged type makes device nodes of the machine that runs the test.
            devices: archive::Devices::Skip,
            limits: Limits {
                max_bytes: 1 << 20,
                max_entries: 100,
            },
            ..Default::default()
        };
        if let Ok(plain) = decompress(stream.as_slice()) {
            complete += u64::from(unpack(plain, target.as_fd(), &options).is_ok());
        }
        sys::dir::remove_contents(target.as_fd()).unwrap();
    }
    assert_eq!(
        fs::read(scratch.path("outside/sentinel")).unwrap(),
        b"untouched"
    );
    let mut names: Vec<_> = fs::read_dir(&scratch.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["outside", "target"]);
    assert!(
        complete > ROUNDS / 20,
        "only {complete} archives were readable"
    );
}
