//! Volumes that go as streams of btrfs, and those that do not although they begin as such.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use testkit::{Client, Output, until};

use super::broken::{SIZE, begin, go_on};
use super::host_there::There;
use super::writers::{acknowledged, arrived};
use super::{Pair, sent, tree};

const COPY: &str = "volume copy --pool fast data UNIX/";

/// Two engines with a btrfs each, and a volume on the one here.
fn pair(name: &str, host: &Arc<There>) -> Pair {
    let pair = Pair::new(name, host);
    pair.run("pool create --kind btrfs --size 1g fast").ok();
    pair.run_there("pool create --kind btrfs --size 1g fast")
        .ok();
    pair.run("volume create --pool fast data").ok();
    pair
}

fn is_streamed(output: &Output) -> bool {
    output.stderr.contains(" as streams of btrfs, ")
}

/// What was made for the journey is gone.
#[track_caller]
fn assert_no_snapshot(pair: &Pair) {
    assert_eq!(pair.run("volume snapshot ls -q").ok(), "");
}

fn shell(directory: &Path, script: &str) {
    let done = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(done.success(), "{script}");
}

pub(crate) fn every_kind(host: &Arc<There>) {
    let pair = pair("stream-kinds", host);
    let data = pair.data("data");
    tree::populate(&data, 2000);
    tree::noise(&data.join("noise"), 20 << 20);
    // Data that files share, in whole and with itself; holes; what was written ahead of; what looks like a name of the stream's.
    shell(
        &data,
        "cp --reflink=always noise shared; cp --reflink=always noise part; truncate -s 5000001 part
        fallocate -d -o 0 -l 1M noise; fallocate -p -o 1M -l 3M noise; fallocate -l 1M ahead
        mkdir o257-7-0; echo x > o258-7-0; dd if=/dev/zero of=zeros bs=1M count=3 status=none
        chmod 2770 .; chown 12:34 .; setfattr -n user.root -v yes .
        # An ACL that new files would have, and those that are there have not.
        setfattr -n system.posix_acl_default -v 0x0200000001000700ffffffff02000500e803000004000500ffffffff\
10000500ffffffff20000000ffffffff .
        touch -d '2001-02-03 04:05:06.789' .",
    );
    let copied = pair.travel("volume copy --pool fast data SSH/");
    copied.ok();
    assert!(is_streamed(&copied), "{copied}");
    // Data that is shared is sent once.
    assert!(sent(&copied) < 30e6, "{copied}");
    tree::assert_same(&data, &pair.data_there("data"));
    assert_no_snapshot(&pair);
    // A snapshot that somebody made goes as a stream, and stays.
    pair.run("volume snapshot create --name then data").ok();
    fs::write(data.join("later"), "later").unwrap();
    let copied = pair.travel("volume copy --pool fast data@then UNIX/then");
    copied.ok();
    assert!(is_streamed(&copied), "{copied}");
    assert!(!pair.data_there("then").join("later").exists());
    assert_eq!(pair.run("volume snapshot ls data -q").ok(), "data@then");
    // A volume that nobody uses moves by one stream.
    let moved = pair.travel("volume move --pool fast data UNIX/moved");
    moved.ok();
    assert!(is_streamed(&moved), "{moved}");
    pair.run("volume undelete data").ok();
    tree::assert_same(&pair.data("data"), &pair.data_there("moved"));
}

pub(crate) fn both_or_neither(host: &Arc<There>) {
    let pair = pair("stream-neither", host);
    tree::populate(&pair.data("data"), 10);
    pair.run("volume create plain").ok();
    tree::populate(&pair.data("plain"), 10);
    for (volume, line) in [
        ("data", "volume copy data UNIX/"),
        ("plain", "volume copy --pool fast plain UNIX/"),
    ] {
        let copied = pair.travel(line);
        copied.ok();
        assert!(!is_streamed(&copied), "{copied}");
        tree::assert_same(&pair.data(volume), &pair.data_there(volume));
    }
}

/// Appends numbers that are acknowledged, and keeps everything else in motion: names, links, sizes, holes, attributes.
const WRITER: &str = "cd /data; mkdir -p a b; i=0; while :; do i=$((i+1)); echo $i >> log; sync log; echo $i
    mkdir -p d$((i % 7))/e; echo $i > a/$i; mv a/$i d$((i % 7))/e/$i; ln -f d$((i % 7))/e/$i b/name$((i % 5))
    rm -rf swapped; mv d$((i % 7)) swapped; mv swapped d$(((i + 1) % 7))x; rm -rf d$(((i + 3) % 7))x
    chmod $((600 + i % 8)) log; ln -sfn $i link; truncate -s $((i % 3 * 100000)) size; echo $i >> size; done";

pub(crate) fn moved(host: &Arc<There>) {
    let pair = pair("stream-writer", host);
    pair.here.load_busybox();
    let data = pair.data("data");
    tree::populate(&data, 500);
    tree::noise(&data.join("noise"), 60 << 20);
    let words: Vec<&str> = "run -d --name app -v data:/data busybox sh -c"
        .split(' ')
        .collect();
    Client::Orlop
        .run(&pair.here, &[words.as_slice(), &[WRITER]].concat())
        .ok();
    until("it writes", || (acknowledged(&pair) > 10).then_some(()));
    let done = pair.travel("volume move --stop --pool fast data SSH/");
    done.ok();
    assert!(is_streamed(&done), "{done}");
    // What has not changed is not sent a second time.
    assert!(sent(&done) < 80e6, "{done}");
    let (last, there) = (acknowledged(&pair), arrived(&pair.data_there("data")));
    assert!(
        there >= last,
        "{there} of {last} acknowledged records arrived"
    );
    pair.run("volume undelete data").ok();
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
    assert_no_snapshot(&pair);
    pair.run("rm -f app").ok();
}

pub(crate) fn left_out(host: &Arc<There>) {
    let pair = pair("stream-nested", host);
    let data = pair.data("data");
    tree::populate(&data, 10);
    // A snapshot would have an empty directory in its place.
    shell(
        &data,
        "btrfs -q subvolume create nested; echo precious > nested/file",
    );
    let done = pair.travel("volume move --pool fast data UNIX/");
    done.ok();
    assert!(!is_streamed(&done), "{done}");
    assert_eq!(
        fs::read_to_string(pair.data_there("data").join("nested/file")).unwrap(),
        "precious\n"
    );
}

fn below(directory: &fs::File, name: &str) -> fs::File {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
        .unwrap()
        .into()
}

pub(crate) fn broken_off(host: &Arc<There>) {
    let pair = pair("stream-deep", host);
    let data = pair.data("data");
    tree::noise(&data.join("noise"), 10 << 20);
    // The kernel has no path in a stream that is longer than those of its calls.
    let (depth, name) = (30, "0".repeat(200));
    let mut bottom = fs::File::open(&data).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&bottom, &name, Mode::RWXU).unwrap();
        bottom = below(&bottom, &name);
    }
    rustix::fs::symlinkat("deep", &bottom, "link").unwrap();
    let done = pair.travel(COPY);
    done.ok();
    assert!(!is_streamed(&done), "{done}");
    assert!(done.stderr.contains("broke off"), "{done}");
    let mut bottom = fs::File::open(pair.data_there("data")).unwrap();
    for _ in 0..depth {
        bottom = below(&bottom, &name);
    }
    let link = rustix::fs::readlinkat(&bottom, "link", Vec::new()).unwrap();
    assert_eq!(link.as_bytes(), b"deep");
    assert_no_snapshot(&pair);
}

/// With enough in it that it can be cut off.
fn long_pair(name: &str, host: &Arc<There>) -> Pair {
    let pair = pair(name, host);
    tree::populate(&pair.data("data"), 200);
    tree::noise(&pair.data("data").join("noise"), SIZE);
    pair
}

pub(crate) fn engine_there(host: &Arc<There>) {
    let mut pair = long_pair("stream-there", host);
    let child = begin(&pair, COPY);
    pair.there.kill();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    let host = Arc::clone(&pair.host);
    host.inside(|| pair.there.resume());
    go_on(&pair, COPY);
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
    assert_no_snapshot(&pair);
}

pub(crate) fn engine_here(host: &Arc<There>) {
    let mut pair = long_pair("stream-here", host);
    let child = begin(&pair, COPY);
    pair.here.kill();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    pair.here.resume();
    // The snapshot that it was read from did not wait for its time.
    assert_no_snapshot(&pair);
    go_on(&pair, COPY);
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
}
