//! Containers that write while their volume travels.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use testkit::until;

use super::host_there::There;
use super::{Pair, tree};

/// Appends numbers, each acknowledged on standard output once it is on the disk.
const WRITER: &str =
    "i=0; while :; do i=$((i+1)); echo $i >> /data/log; sync /data/log; echo $i; done";

fn pair(name: &str, host: &Arc<There>) -> Pair {
    let pair = Pair::new(name, host);
    pair.here.load_busybox();
    pair.run("volume create data").ok();
    tree::noise(&pair.data("data").join("noise"), 60 << 20);
    let words: Vec<&str> = "run -d --name app -v data:/data busybox sh -c"
        .split(' ')
        .collect();
    testkit::Client::Orlop
        .run(&pair.here, &[words.as_slice(), &[WRITER]].concat())
        .ok();
    until("it writes", || (acknowledged(&pair) > 10).then_some(()));
    pair
}

/// The last number that the writer has acknowledged.
pub(crate) fn acknowledged(pair: &Pair) -> u64 {
    let logs = pair.run("logs --tail 1 app").ok();
    logs.lines()
        .last()
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or(0)
}

/// The numbers that arrived, which have no gap.
#[track_caller]
pub(crate) fn arrived(data: &Path) -> u64 {
    let log = fs::read_to_string(data.join("log")).unwrap();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut last = 0;
    for line in whole.lines() {
        last += 1;
        assert_eq!(line, last.to_string());
    }
    last
}

pub(crate) fn copy(host: &Arc<There>) {
    let pair = pair("writer-copy", host);
    let before = acknowledged(&pair);
    let copied = pair.travel("volume copy --consistent freeze data SSH/");
    copied.ok();
    assert!(
        copied.stderr.contains("containers were frozen for"),
        "{copied}"
    );
    let there = arrived(&pair.data_there("data"));
    assert!(there >= before, "{there} of at least {before} arrived");
    // It writes on here.
    assert_eq!(
        pair.run("inspect app --format {{.State.Status}}").ok(),
        "running"
    );
    let now = acknowledged(&pair);
    until("it writes on", || (acknowledged(&pair) > now).then_some(()));
}

pub(crate) fn moved(host: &Arc<There>) {
    let pair = pair("writer-move", host);
    let done = pair.travel("volume move --stop data SSH/");
    done.ok();
    assert_eq!(
        pair.run("inspect app --format {{.State.Status}}").ok(),
        "exited"
    );
    let (last, there) = (acknowledged(&pair), arrived(&pair.data_there("data")));
    assert!(
        there >= last,
        "{there} of {last} acknowledged records arrived"
    );
    assert_eq!(pair.run("volume ls -q").ok(), "");
    // The volume is there no more: nothing is made in its place.
    pair.run("start app").fails(1, "no such volume");
    assert_eq!(pair.run("volume ls -q").ok(), "");
    // Nor is another volume that has the name now taken for it.
    pair.run("volume create data").ok();
    pair.run("start app")
        .fails(1, "is another one than it was made with");
    pair.run("volume rm data").ok();
    pair.run("volume undelete data").ok();
    pair.run("start app").ok();
    // It is held again.
    pair.run("volume rm data").fails(1, "in use");
    pair.run("rm -f app").ok();
    pair.run("volume rm data").ok();
}
