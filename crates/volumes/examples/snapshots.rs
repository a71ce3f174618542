//! Measures snapshot, clone and restore of the volume `data` below a state directory: `snapshots ROOT [TIMES]`.

#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use store::{Paths, Store};
use volumes::snapshot::Unheld;
use volumes::{CloneVolume, CreateSnapshots, CreateVolume, RestoreFrom, Unobserved, Volumes};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().ok_or("usage: snapshots ROOT [TIMES]")?;
    let times: u32 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let paths = Arc::new(Paths::new(&root)?);
    paths.create_skeleton()?;
    let store = Arc::new(Store::open(&paths)?);
    let volumes = Volumes::open(store, paths, volumes::PluginSettings::default())?;
    volumes.recover()?;
    volumes.create(CreateVolume {
        name: Some("data".to_owned()),
        ..CreateVolume::default()
    })?;
    for number in 0..times {
        let start = Instant::now();
        let request = CreateSnapshots {
            volumes: vec!["data".to_owned()],
            name: Some(format!("s{number}")),
            ..CreateSnapshots::default()
        };
        volumes.create_snapshots(&request, &Unheld, &Unobserved)?;
        let snapshot = start.elapsed();
        let start = Instant::now();
        let request = CloneVolume {
            source: "data".to_owned(),
            snapshot: Some("s0".to_owned()),
            name: format!("clone{number}"),
            ..CloneVolume::default()
        };
        volumes.clone_volume(&request, &Unheld, &Unobserved)?;
        let clone = start.elapsed();
        let start = Instant::now();
        volumes.restore(
            "data",
            &RestoreFrom::Snapshot("s0".to_owned()),
            false,
            &Unobserved,
        )?;
        println!(
            "snapshot {snapshot:.0?}  clone {clone:.0?}  restore {:.0?}",
            start.elapsed()
        );
    }
    Ok(())
}
