//! Journeys that do not come to their end, and the same command again.

use std::process::{Child, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use testkit::until;

use super::host_there::There;
use super::{Pair, sent, tree};

pub(crate) const SIZE: usize = 300 << 20;
/// So much must have arrived before something breaks.
const ENOUGH: u64 = 40 << 20;

fn pair(name: &str, host: &Arc<There>) -> Pair {
    let pair = Pair::new(name, host);
    pair.run("volume create data").ok();
    tree::populate(&pair.data("data"), 200);
    tree::noise(&pair.data("data").join("noise"), SIZE);
    pair
}

/// Begins the journey and waits until a part of it has arrived.
pub(crate) fn begin(pair: &Pair, line: &str) -> Child {
    let mut child = pair
        .command(line)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("a part has arrived", || {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be broken"
        );
        pair.arrived("data").filter(|&bytes| bytes >= ENOUGH)
    });
    child
}

/// Nothing is visible; the same command ends the journey, and sends what is missing.
pub(crate) fn go_on(pair: &Pair, line: &str) {
    assert_eq!(pair.run_there("volume ls -q").ok(), "");
    assert_eq!(pair.run("volume ls -q").ok(), "data");
    until("nobody is at it any more", || {
        let shown = pair.run_there("volume receiving ls").ok();
        shown.contains("interrupted").then_some(())
    });
    let arrived = pair.arrived("data").unwrap();
    pair.run_there("volume create data").fails(1, "unfinished");
    let done = pair.travel(line);
    done.ok();
    #[expect(clippy::cast_precision_loss, reason = "a bound of a size")]
    let most = (SIZE as u64 - arrived) as f64 + 3e6;
    assert!(sent(&done) <= most, "{arrived} had arrived: {done}");
    assert_eq!(pair.run_there("volume receiving ls -q").ok(), "");
    assert_eq!(pair.run_there("volume ls -q").ok(), "data");
}

pub(crate) fn connection(host: &Arc<There>) {
    let pair = pair("cut", host);
    let line = "volume copy data SSH/";
    let child = begin(&pair, line);
    host.cut(&host.login(&pair.there.socket()));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("broke") && said.contains("goes on"), "{said}");
    // A part of another volume is not gone on with.
    pair.run("volume create other").ok();
    pair.travel("volume copy other SSH/data")
        .fails(1, "a part of another volume");
    pair.run("volume rm other").ok();
    go_on(&pair, line);
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
}

pub(crate) fn engine_there(host: &Arc<There>) {
    let mut pair = pair("there", host);
    let line = "volume move data UNIX/";
    let child = begin(&pair, line);
    pair.there.kill();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    let host = Arc::clone(&pair.host);
    host.inside(|| pair.there.resume());
    let before = tree::listing(&pair.data("data"));
    go_on(&pair, line);
    assert_eq!(before, tree::listing(&pair.data_there("data")));
    assert_eq!(pair.run("volume ls -q").ok(), "");
    assert!(pair.run("volume trash ls").ok().contains("moved"));
    pair.run("volume undelete data").ok();
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
}

pub(crate) fn engine_here(host: &Arc<There>) {
    let mut pair = pair("here", host);
    let line = "volume copy data UNIX/";
    let child = begin(&pair, line);
    pair.here.kill();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    pair.here.resume();
    go_on(&pair, line);
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
}

pub(crate) fn stopped(host: &Arc<There>) {
    let pair = pair("stopped", host);
    let child = begin(&pair, "volume copy data SSH/");
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("what has arrived is kept"), "{said}");
    until("nobody is at it any more", || {
        let shown = pair.run_there("volume receiving ls").ok();
        shown.contains("interrupted").then_some(())
    });
    // It can be given up as well.
    assert_eq!(pair.run_there("volume receiving rm data").ok(), "data");
    assert_eq!(pair.run_there("volume receiving ls -q").ok(), "");
    assert_eq!(
        std::fs::read_dir(pair.there.root.join("data"))
            .unwrap()
            .count(),
        0
    );
}
