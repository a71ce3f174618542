//! A repository by hand, for measurements: `repository save|restore|check|prune REPOSITORY DIRECTORY [CACHE]`.
//!
//! The password is `bench`; a repository that is not there is made. Prints what was done, and the most memory that it took.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the bench"
)]

use std::path::Path;

use backup::{
    Check, Compare, Location, Parent, Place, PruneOptions, Repository, Save, Unlock, Unwatched,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [action, location, directory, rest @ ..] = arguments.as_slice() else {
        return Err(
            "usage: repository save|restore|check|prune REPOSITORY DIRECTORY [CACHE]".into(),
        );
    };
    let mut place = Place::new(Location::parse(location)?);
    place.cache = rest.first().map(Into::into);
    let repository = match Repository::open(&place, Unlock::Password("bench")) {
        Err(backup::BackupError::NoRepository { .. }) => Repository::create(&place, "bench")?,
        other => other?,
    };
    match action.as_str() {
        "save" => {
            let save = Save {
                as_path: "/volumes/bench",
                host: "bench",
                tags: &[],
                description: None,
                time: None,
                extra: &[],
                parent: Parent::Newest,
                compare: Compare::Modified,
                untouched_since: None,
                program: "bench",
            };
            println!(
                "{:?}",
                repository.save(Path::new(directory), &save, &Unwatched)?
            );
        }
        "restore" => {
            let newest = repository.backups()?.pop().ok_or("no backup")?;
            let data = Path::new("/volumes/bench/_data");
            println!(
                "{:?}",
                repository.restore(newest.id, data, Path::new(directory), &Unwatched)?
            );
        }
        "check" => println!("{:?}", repository.check(Check::Everything, &Unwatched)?),
        "prune" => println!(
            "{:?}",
            repository.prune(PruneOptions::default(), &Unwatched)?
        ),
        other => return Err(format!("unknown action {other}").into()),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("{}", peak.unwrap_or_default());
    Ok(())
}
