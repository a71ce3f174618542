//! Whom the process runs as, by the container's own /etc/passwd and /etc/group.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use shim_protocol::StartError;

use super::target;
use crate::failure::{During as _, failed};

/// Numbers of a resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, with `gid`.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// The greatest number that Docker takes.
const GREATEST: u32 = 2_147_483_647;

/// Files longer than this are not user databases.
const LONGEST: u64 = 16 << 20;

/// Looks up `name|uid[:group|gid]` and further groups in the file tree that this process lives in.
pub(crate) fn look_up(user: &str, additional_groups: &[String]) -> Result<User, StartError> {
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during("user", || "cannot open the root".to_owned())?;
    look_up_in(root.as_fd(), user, additional_groups)
}

/// As [`look_up`], in the tree of which `root` is the root.
pub(crate) fn look_up_in(
    root: BorrowedFd<'_>,
    user: &str,
    additional_groups: &[String],
) -> Result<User, StartError> {
    resolve(user, additional_groups, &read(root, "/etc/passwd")?, || {
        read(root, "/etc/group")
    })
}

/// A missing file is an empty one. Anything but a plain file is not read: it could block or be endless.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, StartError> {
    let what = || format!("cannot read {path}");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match target::open_in(root, path, flags) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error).during("user", what),
    };
    let stat = rustix::fs::fstat(&file).during("user", what)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .during("user", what)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn resolve(
    user: &str,
    additional_groups: &[String],
    passwd: &str,
    group_file: impl FnOnce() -> Result<String, StartError>,
) -> Result<User, StartError> {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    // Name, number, group, home.
    let entry = passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [name, _, uid, gid, rest @ ..] = fields.as_slice() else {
                return None;
            };
            let home = rest.get(1).copied().unwrap_or("");
            Some((
                *name,
                uid.parse::<u32>().ok()?,
                gid.parse::<u32>().ok()?,
                home,
            ))
        })
        .find(|(name, uid, ..)| *name == user || number == Some(*uid));
    let (name, uid, mut gid, home) = match (entry, number) {
        (Some((name, uid, gid, home)), _) => (Some(name), uid, gid, home),
        (None, Some(uid)) => (None, uid, 0, "/"),
        (None, None) => {
            let text = format!("unable to find user {user}: no matching entries in passwd file");
            return Err(failed("user", text));
        }
    };
    let wanted: Vec<&str> = additional_groups
        .iter()
        .map(String::as_str)
        .chain((!group.is_empty()).then_some(group))
        .collect();
    // Numbers alone need no names.
    let file = group_file()?;
    let groups: Vec<(&str, u32, Vec<&str>)> = file
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [name, _, gid, rest @ ..] = fields.as_slice() else {
                return None;
            };
            let members = rest
                .first()
                .map_or_else(Vec::new, |list| list.split(',').collect());
            Some((*name, gid.parse().ok()?, members))
        })
        .collect();
    let find = |wanted: &str| -> Result<u32, StartError> {
        let number = wanted.parse::<u32>().ok();
        let known = groups
            .iter()
            .find(|(name, gid, _)| *name == wanted || number == Some(*gid));
        known.map(|(_, gid, _)| *gid).or(number).ok_or_else(|| {
            let text = format!("unable to find group {wanted}: no matching entries in group file");
            failed("user", text)
        })
    };
    let mut numbers = Vec::new();
    if group.is_empty() {
        let member = |members: &Vec<&str>| name.is_some_and(|name| members.contains(&name));
        numbers.extend(
            groups
                .iter()
                .filter(|(_, _, members)| member(members))
                .map(|(_, gid, _)| *gid),
        );
    } else {
        gid = find(group)?;
    }
    for wanted in wanted.iter().take(additional_groups.len()) {
        numbers.push(find(wanted)?);
    }
    let mut all = vec![gid];
    for number in numbers {
        if !all.contains(&number) {
            all.push(number);
        }
    }
    if uid > GREATEST || all.iter().any(|gid| *gid > GREATEST) {
        return Err(failed(
            "user",
            format!("uids and gids must be in range 0-{GREATEST}"),
        ));
    }
    let home = if home.is_empty() { "/" } else { home };
    Ok(User {
        uid,
        gid,
        groups: all,
        home: home.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nwww:x:33:33::/srv/www:\n\
        app:x:1000:100:App:/home/app:/bin/sh\n5:x:77:77::/five:\n";
    const GROUP: &str =
        "root:x:0:\nwww:x:33:\nusers:x:100:\nadm:x:4:app,www\ndocker:x:998:app\nbad\n";

    fn look(user: &str, more: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        resolve(user, &more, PASSWD, || Ok(GROUP.to_owned()))
            .map(|user| (user.uid, user.gid, user.groups, user.home))
            .map_err(|error| error.message)
    }

    #[test]
    fn users_and_groups() {
        let user =
            |uid, gid, groups: &[u32], home: &str| Ok((uid, gid, groups.to_vec(), home.to_owned()));
        for (text, more, expected) in [
            ("", &[][..], user(0, 0, &[0], "/root")),
            ("root", &[], user(0, 0, &[0], "/root")),
            ("app", &[], user(1000, 100, &[100, 4, 998], "/home/app")),
            ("1000", &[], user(1000, 100, &[100, 4, 998], "/home/app")),
            ("app:www", &[], user(1000, 33, &[33], "/home/app")),
            ("app:12345", &[], user(1000, 12345, &[12345], "/home/app")),
            ("4242", &[], user(4242, 0, &[0], "/")),
            (
                "4242:users",
                &["docker", "7", "docker"],
                user(4242, 100, &[100, 998, 7], "/"),
            ),
            (":www", &[], user(0, 33, &[33], "/root")),
            ("app:", &[], user(1000, 100, &[100, 4, 998], "/home/app")),
            ("5", &[], user(77, 77, &[77], "/five")),
            (
                "foo",
                &[],
                Err("unable to find user foo: no matching entries in passwd file".to_owned()),
            ),
            (
                "root:foo",
                &[],
                Err("unable to find group foo: no matching entries in group file".to_owned()),
            ),
            (
                "root",
                &["bar"],
                Err("unable to find group bar: no matching entries in group file".to_owned()),
            ),
            (
                "4294967295",
                &[],
                Err("uids and gids must be in range 0-2147483647".to_owned()),
            ),
        ] {
            assert_eq!(look(text, more), expected, "{text:?} {more:?}");
        }
    }
}
