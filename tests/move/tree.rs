//! Trees with everything in them, and all that can be told of a tree.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Timespec, Timestamps, XattrFlags};

const SPARSE: u64 = 64 << 30;

/// Every kind of file, odd names and attributes, `files` small files, and a file that is nearly all hole.
pub(crate) fn populate(root: &Path, files: usize) {
    fs::create_dir_all(root.join("kinds/deep/er")).unwrap();
    let kinds = root.join("kinds");
    fs::write(kinds.join("file"), "hello").unwrap();
    fs::write(kinds.join("empty"), "").unwrap();
    fs::write(kinds.join(OsStr::from_bytes(b"odd \xff\xfe\n")), "odd").unwrap();
    fs::hard_link(kinds.join("file"), root.join("another name")).unwrap();
    symlink("../nowhere/at all", kinds.join("link")).unwrap();
    drop(UnixListener::bind(kinds.join("socket")).unwrap());
    for (name, rest) in [
        ("fifo", &["p"][..]),
        ("char", &["c", "1", "3"]),
        ("block", &["b", "7", "200"]),
    ] {
        let made = Command::new("mknod")
            .arg(kinds.join(name))
            .args(rest)
            .status()
            .unwrap();
        assert!(made.success());
    }
    xattr(&kinds.join("file"), "user.color", b"blue\0white");
    xattr(&kinds.join("deep"), "trusted.secret", b"x");
    // cap_net_raw, version 2.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fs::copy("/bin/true", kinds.join("program")).unwrap();
    std::os::unix::fs::chown(kinds.join("file"), Some(1234), Some(4321)).unwrap();
    std::os::unix::fs::lchown(kinds.join("link"), Some(7), Some(8)).unwrap();
    xattr(&kinds.join("program"), "security.capability", &capability);
    // user::rw- user:1000:r-- group::r-- mask::r-- other::---
    let acl = |entries: &[(u16, u16, u32)]| -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    };
    let none = u32::MAX;
    let entries = [
        (1, 6, none),
        (2, 4, 1000),
        (4, 4, none),
        (16, 4, none),
        (32, 0, none),
    ];
    xattr(
        &kinds.join("empty"),
        "system.posix_acl_access",
        &acl(&entries),
    );
    xattr(
        &kinds.join("deep/er"),
        "system.posix_acl_default",
        &acl(&entries),
    );
    fs::write(kinds.join("deep/er/heir"), "inherits").unwrap();
    fs::set_permissions(kinds.join("file"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(kinds.join("deep"), fs::Permissions::from_mode(0o1731)).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(SPARSE).unwrap();
    sparse.write_all_at(b"island", SPARSE / 2 + 5).unwrap();
    for number in 0..files {
        let directory = root.join(format!("small/{}", number / 500));
        if number % 500 == 0 {
            fs::create_dir_all(&directory).unwrap();
        }
        fs::write(directory.join(number.to_string()), format!("{number}\n")).unwrap();
    }
    let old = Timespec {
        tv_sec: 981_173_106,
        tv_nsec: 123_456_789,
    };
    let times = Timestamps {
        last_access: old,
        last_modification: old,
    };
    for path in ["kinds/file", "kinds/link", "kinds/deep", "kinds"] {
        rustix::fs::utimensat(
            rustix::fs::CWD,
            root.join(path),
            &times,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .unwrap();
    }
}

/// So many bytes that no two blocks of are alike.
pub(crate) fn noise(path: &Path, bytes: usize) {
    let mut random = fs::File::open("/dev/urandom").unwrap();
    let mut file = fs::File::create(path).unwrap();
    let copied = std::io::copy(&mut random.by_ref().take(bytes as u64), &mut file).unwrap();
    assert_eq!(copied, bytes as u64);
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A line for everything in a tree, by path.
pub(crate) fn listing(root: &Path) -> BTreeMap<OsString, String> {
    let mut lines = BTreeMap::new();
    let mut first: BTreeMap<u64, OsString> = BTreeMap::new();
    walk(root, OsStr::new("."), &mut first, &mut lines);
    lines
}

fn walk(
    path: &Path,
    name: &OsStr,
    first: &mut BTreeMap<u64, OsString>,
    lines: &mut BTreeMap<OsString, String>,
) {
    let stat = fs::symlink_metadata(path).unwrap();
    let kind = stat.file_type();
    let content = if kind.is_symlink() {
        format!("{:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() && stat.len() == SPARSE {
        assert!(
            stat.blocks() < 10_000,
            "{} has lost its holes",
            path.display()
        );
        let mut bytes = [0; 16];
        fs::File::open(path)
            .unwrap()
            .read_exact_at(&mut bytes, SPARSE / 2)
            .unwrap();
        format!("{bytes:?}")
    } else if kind.is_file() {
        let mut hash = DefaultHasher::new();
        hash.write(&fs::read(path).unwrap());
        format!("{} {:x}", stat.len(), hash.finish())
    } else {
        String::new()
    };
    let links = if stat.nlink() > 1 && !kind.is_dir() {
        let known = first.entry(stat.ino()).or_insert_with(|| name.to_owned());
        format!("{} {known:?}", stat.nlink())
    } else {
        String::new()
    };
    let mut buffer = vec![0; 4096];
    let count = rustix::fs::llistxattr(path, &mut buffer).unwrap();
    let mut names: Vec<Vec<u8>> = buffer[..count]
        .split(|&byte| byte == 0)
        // XFS shows ACLs a second time under names of its own.
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted.SGI_"))
        .map(<[u8]>::to_vec)
        .collect();
    names.sort();
    let attributes: Vec<String> = names
        .into_iter()
        .map(|name| {
            let name = OsString::from_vec(name);
            let mut value = vec![0; 4096];
            let count = rustix::fs::lgetxattr(path, &name, &mut value).unwrap();
            format!("{name:?}={:?}", &value[..count])
        })
        .collect();
    lines.insert(
        name.to_owned(),
        format!(
            "{:o} {}:{} {}.{} {:x} {links} {content} {attributes:?}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.rdev()
        ),
    );
    if kind.is_dir() {
        let mut entries: Vec<OsString> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        entries.sort();
        for entry in entries {
            let inside = Path::new(name).join(&entry);
            walk(&path.join(&entry), inside.as_os_str(), first, lines);
        }
    }
}

/// That two trees are the same in everything.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (listing(one), listing(other));
    for (path, line) in &one {
        assert_eq!(Some(line), other.get(path), "{path:?}");
    }
    assert_eq!(one.len(), other.len());
}
