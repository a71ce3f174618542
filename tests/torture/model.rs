//! What must be there: the volumes, trash and containers of one lane, as its acknowledged moves have left them.

use std::collections::BTreeMap;

/// Path in a volume and what the file holds, as [`text`] writes it, and whose it is, as [`owned`] says it.
pub(super) type Content = BTreeMap<String, String>;

#[derive(Debug, Clone, Default)]
pub(super) struct Volume {
    /// Name of its directory; empty until somebody looked.
    pub(super) id: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) protected: bool,
    /// Bytes that it may hold.
    pub(super) limit: Option<u64>,
    /// It, or what it was cloned from, was made with a limit: a prune leaves it alone.
    pub(super) sized: bool,
    pub(super) content: Content,
    pub(super) snapshots: BTreeMap<String, Content>,
    /// What restores took away, with its name, oldest first.
    pub(super) kept: Vec<(String, Content)>,
}

/// A container that has a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) volume: String,
    pub(super) running: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) volumes: BTreeMap<String, Volume>,
    /// With the name that each had, in no order.
    pub(super) trash: Vec<(String, Volume)>,
    pub(super) holders: BTreeMap<String, Holder>,
}

/// What a file named `token` holds: its name, as often as its last part says.
pub(super) fn text(token: &str) -> String {
    let lines: usize = token
        .rsplit('x')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a token ends with a count");
    format!("{token}\n").repeat(lines)
}

/// How what is no token begins.
pub(super) const DAMAGED: &str = "DAMAGED";

/// The token of a file, or what is wrong with it.
pub(super) fn token(found: &str) -> String {
    let token = found.lines().next().unwrap_or_default();
    let whole = token
        .rsplit_once('x')
        .is_some_and(|(_, count)| count.parse::<usize>().is_ok())
        && found == text(token);
    if whole {
        token.to_owned()
    } else {
        format!("{DAMAGED}, {} bytes that begin {token:?}", found.len())
    }
}

/// A token of a file that belongs to `uid`; what nobody gave away is root's.
pub(super) fn owned(token: &str, uid: u64) -> String {
    let plain = token.split(' ').next().unwrap_or_default();
    if uid == 0 {
        plain.to_owned()
    } else {
        format!("{plain} of {uid}")
    }
}

impl World {
    /// Whether a container has the volume.
    pub(super) fn is_held(&self, volume: &str) -> bool {
        self.holders.values().any(|holder| holder.volume == volume)
    }

    pub(super) fn is_held_by_running(&self, volume: &str) -> bool {
        self.holders
            .values()
            .any(|holder| holder.volume == volume && holder.running)
    }

    /// Puts a volume into the trash, unless there is nothing to lose.
    pub(super) fn throw_away(&mut self, name: &str) {
        if let Some(volume) = self.volumes.remove(name)
            && volume.has_files()
        {
            self.trash.push((name.to_owned(), volume));
        }
    }

    /// Everything that can be seen, line by line; equal lines, equal worlds. Who runs is compared elsewhere.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, volume) in &self.volumes {
            lines.push(format!("volume {name}{}", volume.facts()));
            lines.extend(volume.trees(name));
        }
        for (name, volume) in &self.trash {
            let trees = volume.trees("");
            let bound = volume.bound();
            lines.push(format!("trash {name} {:?}{bound} {trees:?}", volume.labels));
        }
        for (name, holder) in &self.holders {
            lines.push(format!("container {name} has {}", holder.volume));
        }
        lines.sort();
        lines
    }
}

impl Volume {
    pub(super) fn has_files(&self) -> bool {
        let kept = self.kept.iter().map(|(_, content)| content);
        self.snapshots
            .values()
            .chain(kept)
            .chain([&self.content])
            .any(|content| !content.is_empty())
    }

    fn facts(&self) -> String {
        let protected = if self.protected { ", protected" } else { "" };
        format!(" {:?}{protected}{}", self.labels, self.bound())
    }

    fn bound(&self) -> String {
        let sized = if self.sized {
            ", made with a limit"
        } else {
            ""
        };
        match self.limit {
            Some(bytes) => format!(", at most {bytes}{sized}"),
            None => sized.to_owned(),
        }
    }

    fn trees(&self, name: &str) -> Vec<String> {
        let kept = self
            .kept
            .iter()
            .enumerate()
            .map(|(index, (_, content))| (format!("kept {index}"), content));
        let snapshots = self
            .snapshots
            .iter()
            .map(|(snapshot, content)| (snapshot.clone(), content));
        let mut lines = Vec::new();
        for (tree, content) in std::iter::once((String::new(), &self.content))
            .chain(snapshots)
            .chain(kept)
        {
            if !tree.is_empty() {
                lines.push(format!("snapshot {name}@{tree}"));
            }
            lines.extend(
                content
                    .iter()
                    .map(|(path, token)| format!("file {name}@{tree}/{path} = {token}")),
            );
        }
        lines
    }
}

/// The lines of one that the other does not have.
pub(super) fn difference(expected: &[String], found: &[String]) -> String {
    let missing = expected.iter().filter(|line| !found.contains(line));
    let surplus = found.iter().filter(|line| !expected.contains(line));
    let lines: Vec<String> = missing
        .map(|line| format!("  lost:    {line}"))
        .chain(surplus.map(|line| format!("  surplus: {line}")))
        .collect();
    lines.join("\n")
}
