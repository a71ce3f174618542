//! Sources that somebody changes while they are saved.

use std::path::Path;
use std::sync::Mutex;

use backup::{BackupError, Check, Compare, Parent, Repository, Unwatched, Watch};

use crate::world::{PASSWORD, World, noise, what};

pub(crate) const TESTS: &[(&str, fn())] = &[(
    "directories_that_go_meanwhile",
    directories_that_go_meanwhile,
)];

/// Does something once, as soon as bytes of the source were read.
struct Once<'a>(Mutex<Option<&'a (dyn Fn() + Sync)>>);

impl Watch for Once<'_> {
    fn total(&self, _: u64) {}

    fn advance(&self, _: u64) {
        if let Some(act) = self.0.lock().unwrap().take() {
            act();
        }
    }

    fn stop(&self) -> bool {
        false
    }
}

/// Directories are read after all that is beside them was looked at: they may be gone by then.
fn directories_that_go_meanwhile() {
    for strict in [false, true] {
        let world = World::new("going");
        let source = world.dir("source");
        let deep = source.join("deep");
        for name in ["file", "gone", "link", "other", "stays"] {
            std::fs::create_dir_all(deep.join(name).join("below")).unwrap();
            std::fs::write(deep.join(name).join("f"), name).unwrap();
        }
        // The only file that is looked at before any of them is read.
        std::fs::write(deep.join("z"), noise(1, 1000)).unwrap();
        let repository = Repository::create(&world.place(), PASSWORD).unwrap();
        let meddle = || {
            for name in ["file", "gone", "link", "other"] {
                std::fs::remove_dir_all(deep.join(name)).unwrap();
            }
            std::fs::write(deep.join("file"), "a file now").unwrap();
            std::os::unix::fs::symlink("stays", deep.join("link")).unwrap();
            std::fs::create_dir(deep.join("other")).unwrap();
            std::fs::write(deep.join("other/g"), "another one").unwrap();
        };
        let since = backup::Began::after_rest();
        let what = backup::Save {
            untouched_since: strict.then_some(&since),
            ..what(Compare::Changed, Parent::Newest)
        };
        let saved = repository.save(&source, &what, &Once(Mutex::new(Some(&meddle))));
        if strict {
            let error = saved.unwrap_err();
            assert!(matches!(error, BackupError::Touched { .. }), "{error:?}");
            assert_eq!(repository.backups().unwrap().len(), 0);
            continue;
        }
        let to = world.dir("to");
        repository
            .restore(
                saved.unwrap().id,
                Path::new("/volumes/v/_data"),
                &to,
                &Unwatched,
            )
            .unwrap();
        std::fs::remove_file(deep.join("file")).unwrap();
        std::fs::remove_file(deep.join("link")).unwrap();
        let names = |dir: &Path| {
            let all = std::fs::read_dir(dir).unwrap();
            let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        for dir in ["deep", "deep/other", "deep/stays"] {
            assert_eq!(names(&to.join(dir)), names(&source.join(dir)), "{dir}");
        }
        assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    }
}
