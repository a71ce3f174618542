//! What the tests share: scratch directories, a source with all kinds of files, restic, comparing trees.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use backup::{BackupError, Compare, Location, Parent, Place, Repository, Save, Saved, Unwatched};

pub(crate) const PASSWORD: &str = "correct horse";

/// A scratch directory with a repository in it; removed at the end.
pub(crate) struct World {
    path: PathBuf,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("backup-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn place(&self) -> Place {
        let path = self.path("repository");
        Place::new(Location::parse(path.to_str().unwrap()).unwrap())
    }

    /// `None`, with a word about it, where restic is not installed.
    pub(crate) fn restic(&self) -> Option<Restic> {
        Restic::on(
            self.path("repository").to_str().unwrap(),
            &self.path("cache"),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).ok();
    }
}

pub(crate) struct Restic {
    repository: String,
    cache: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) options: Vec<String>,
}

impl Restic {
    pub(crate) fn on(repository: &str, cache: &Path) -> Option<Self> {
        if Command::new("restic").arg("version").output().is_err() {
            println!("SKIPPED: restic is not installed");
            return None;
        }
        Some(Self {
            repository: repository.to_owned(),
            cache: cache.to_owned(),
            environment: Vec::new(),
            options: Vec::new(),
        })
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(["--repo", &self.repository, "--cache-dir"])
            .arg(&self.cache)
            .args(&self.options)
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .envs(self.environment.iter().cloned());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (success, text) = self.try_run(arguments);
        assert!(success, "restic {arguments:?}: {text}");
        text
    }

    pub(crate) fn try_run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

pub(crate) fn save(repository: &Repository, source: &Path) -> Result<Saved, BackupError> {
    save_with(repository, source, Compare::Modified, Parent::Newest)
}

pub(crate) fn save_with(
    repository: &Repository,
    source: &Path,
    compare: Compare,
    parent: Parent,
) -> Result<Saved, BackupError> {
    repository.save(source, &what(compare, parent), &Unwatched)
}

pub(crate) fn what(compare: Compare, parent: Parent) -> Save<'static> {
    Save {
        as_path: "/volumes/v",
        host: "tester",
        tags: &[],
        description: Some("a test"),
        time: None,
        extra: &[("volume.json", b"{}")],
        parent,
        compare,
        untouched_since: None,
        program: "test 1",
    }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .collect()
}

/// Every kind of file there is.
pub(crate) fn entries(dir: &Path) {
    let write = |name: &[u8], bytes: &[u8]| {
        let path = dir.join(OsStr::from_bytes(name));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    write(b"empty", b"");
    write(b"small", b"small");
    write(b"same as small", b"small");
    write(b"large", &noise(1, 9_000_000));
    write(b"text", "line\n".repeat(400_000).as_bytes());
    write(b"bad\xff\xfename", b"x");
    write("ünï\u{200b}cödé \"quoted\" \\ back".as_bytes(), b"y");
    write(b"new\nline", b"z");
    let setuid = write(b"setuid", b"#!");
    std::fs::set_permissions(&setuid, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let old = write(b"old", b"old");
    run(
        "touch",
        &[
            "-d",
            "1969-12-31 23:59:58.123456789 UTC",
            old.to_str().unwrap(),
        ],
    );
    let sparse = std::fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 40 << 20).unwrap();
    std::fs::create_dir_all(dir.join("deep/er/est")).unwrap();
    std::fs::write(dir.join("deep/er/est/leaf"), "leaf").unwrap();
    std::fs::create_dir(dir.join("empty directory")).unwrap();
    std::fs::set_permissions(dir.join("deep/er"), std::fs::Permissions::from_mode(0o1750)).unwrap();
    std::fs::hard_link(dir.join("small"), dir.join("deep/link of small")).unwrap();
    symlink("nowhere/../at all", dir.join("dangling")).unwrap();
    symlink(OsStr::from_bytes(b"bad\xfftarget"), dir.join("bad link")).unwrap();
    run("mkfifo", &[dir.join("fifo").to_str().unwrap()]);
    let socket = std::os::unix::net::UnixListener::bind(dir.join("socket"));
    drop(socket.unwrap());
    if is_root() {
        run(
            "mknod",
            &[dir.join("null").to_str().unwrap(), "c", "1", "3"],
        );
        run(
            "mknod",
            &[dir.join("block").to_str().unwrap(), "b", "7", "200"],
        );
        std::os::unix::fs::chown(dir.join("text"), Some(1234), Some(5678)).unwrap();
        let text = dir.join("text");
        run(
            "setfattr",
            &["-n", "user.note", "-v", "a value", text.to_str().unwrap()],
        );
        run(
            "setfattr",
            &["-n", "trusted.note", "-v", "0x00ff", text.to_str().unwrap()],
        );
        run("setfacl", &["-m", "u:1:rwx", text.to_str().unwrap()]);
        run(
            "setfacl",
            &["-d", "-m", "u:2:r-x", dir.join("deep").to_str().unwrap()],
        );
        run("setcap", &["cap_net_raw+ep", setuid.to_str().unwrap()]);
    } else {
        println!("SKIPPED: devices, owners and attributes need root");
    }
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    match Command::new(program).args(arguments).status() {
        Err(error) => println!("SKIPPED: {program}: {error}"),
        Ok(status) => assert!(status.success(), "{program} {arguments:?}"),
    }
}

/// Makes everything an hour old, so that nothing is read again out of doubt.
pub(crate) fn age(dir: &Path) {
    let list = format!(
        "find '{}' -exec touch -h -d '2024-05-06 07:08:09.123456789' {{}} +",
        dir.display()
    );
    run("sh", &["-c", &list]);
}

/// Names, kinds, modes, owners, times, attributes, links and contents.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let described = |dir: &Path| {
        let script = "find . -printf '%P|%y|%m|%U|%G|%T@|%s|%l|%n\\n' | grep -av '|d|' | sort; \
            find . -type d -printf '%P|%m|%U|%G|%T@\\n' | sort; \
            find . \\( -type b -o -type c \\) -exec stat -c '%n %t %T' {} + | sort; \
            getfattr -R -h -d -m - . 2>/dev/null; getfacl -R -p . 2>/dev/null; \
            find . -type f -print0 | sort -z | xargs -0 sha256sum; \
            find . -samefile small | sort";
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(dir)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (one, other) = (described(one), described(other));
    for (one, other) in one.lines().zip(other.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(one, other);
}
