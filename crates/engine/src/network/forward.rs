//! Accepting the bridges' traffic in the host's own forwarding rules.
//!
//! Docker and other firewalls drop what is forwarded unless a rule of theirs accepts it, and no table of ours can
//! overrule that. So two rules for each bridge, with our comment, go to the top of the chain that is meant for it: `DOCKER-USER` where
//! there is one, else `FORWARD`. They are written as `iptables-nft` would write them, because it must be able to read
//! them. Tables of the old iptables cannot be reached that way; there, and only there, the old program is run.

use std::io;
use std::process::Output;

use sys::nftables::{Batch, Family, Netfilter, NftablesError, Place, Rule, RuleInfo};

const TABLE: &str = "filter";
const FOR_USERS: &str = "DOCKER-USER";
const FORWARD: &str = "FORWARD";

/// The accepting rules of all networks.
#[derive(Debug)]
pub(super) struct Accept<'a> {
    pub(super) netfilter: &'a Netfilter,
    pub(super) bridges: Vec<&'a str>,
    /// With which the comments begin by which the rules are found again.
    pub(super) comment: &'a str,
}

impl Accept<'_> {
    /// Makes sure that forwarded packets of the bridge are accepted, as far as anything would drop them.
    pub(super) fn ensure(&self, family: Family) -> Result<(), NftablesError> {
        self.ensure_nftables(family)?;
        if let Some(programs) = legacy_programs(family) {
            self.ensure_legacy(programs);
        }
        Ok(())
    }

    /// Removes the rules wherever they are. Returns whether there were any.
    pub(super) fn remove(&self, family: Family) -> Result<bool, NftablesError> {
        let mut batch = Batch::new();
        for name in [FOR_USERS, FORWARD] {
            for rule in self.ours(family, name)? {
                batch.delete_rule(family, TABLE, name, rule.handle);
            }
        }
        let mut found = !batch.is_empty();
        batch.commit(self.netfilter)?;
        if let Some(programs) = legacy_programs(family) {
            found |= self.remove_legacy(programs);
        }
        Ok(found)
    }

    fn ours(&self, family: Family, name: &str) -> Result<Vec<RuleInfo>, NftablesError> {
        let mut found = self.netfilter.rules(family, TABLE, Some(name))?;
        found.retain(|rule| {
            rule.comment
                .as_deref()
                .is_some_and(|comment| comment.starts_with(self.comment))
        });
        Ok(found)
    }

    fn ensure_nftables(&self, family: Family) -> Result<(), NftablesError> {
        let name = if self.netfilter.chain(family, TABLE, FOR_USERS)?.is_some() {
            FOR_USERS
        } else {
            let Some(forward) = self.netfilter.chain(family, TABLE, FORWARD)? else {
                return Ok(());
            };
            // An empty chain that accepts needs no rule of ours.
            if !forward.drops
                && self
                    .netfilter
                    .rules(family, TABLE, Some(FORWARD))?
                    .is_empty()
            {
                return Ok(());
            }
            FORWARD
        };
        let wanted: Vec<(String, Rule)> = self
            .bridges
            .iter()
            .flat_map(|bridge| {
                let comment = self.comment_of(bridge);
                [
                    (
                        comment.clone(),
                        Rule::new().input_is(bridge).counted().accept(),
                    ),
                    (comment, Rule::new().output_is(bridge).counted().accept()),
                ]
            })
            .collect();
        let found = self.ours(family, name)?;
        let complete = found.len() == wanted.len()
            && wanted.iter().all(|(comment, _)| {
                found
                    .iter()
                    .any(|rule| rule.comment.as_deref() == Some(comment))
            });
        if complete {
            return Ok(());
        }
        let mut batch = Batch::new();
        for rule in found {
            batch.delete_rule(family, TABLE, name, rule.handle);
        }
        for (comment, rule) in &wanted {
            batch.add_rule(family, TABLE, name, Place::First, rule, comment);
        }
        batch.commit(self.netfilter)
    }

    fn comment_of(&self, bridge: &str) -> String {
        format!("{} {bridge}", self.comment)
    }

    fn ensure_legacy(&self, programs: [&'static str; 2]) {
        let Some((program, name, listing)) = legacy_chain(programs) else {
            return;
        };
        for bridge in &self.bridges {
            for side in ["-i", "-o"] {
                let there = |line: &str| {
                    line.contains(self.comment) && line.contains(&format!("{side} {bridge} "))
                };
                if listing.lines().any(there) {
                    continue;
                }
                let comment = self.comment_of(bridge);
                let done = run(program, &legacy_rule("-I", name, side, bridge, &comment));
                if !done.is_ok_and(|output| output.status.success()) {
                    tracing::warn!(program, chain = name, bridge, "rule not added");
                }
            }
        }
    }

    fn remove_legacy(&self, programs: [&'static str; 2]) -> bool {
        let mut found = false;
        let Some((program, name, listing)) = legacy_chain(programs) else {
            return found;
        };
        for line in listing.lines().filter(|line| line.contains(self.comment)) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| ["-i", "-o"].contains(word)) else {
                continue;
            };
            let Some(&[side, bridge]) = words.get(at..at + 2).and_then(<[&str]>::first_chunk)
            else {
                continue;
            };
            found = true;
            let comment = self.comment_of(bridge);
            let done = run(program, &legacy_rule("-D", name, side, bridge, &comment));
            if !done.is_ok_and(|output| output.status.success()) {
                tracing::warn!(program, chain = name, bridge, "rule not removed");
            }
        }
        found
    }
}

fn legacy_rule<'a>(
    action: &'a str,
    name: &'a str,
    side: &'a str,
    bridge: &'a str,
    comment: &'a str,
) -> [&'a str; 10] {
    [
        action,
        name,
        side,
        bridge,
        "-m",
        "comment",
        "--comment",
        comment,
        "-j",
        "ACCEPT",
    ]
}

/// Programs for the old tables, when this namespace has an old filter table.
fn legacy_programs(family: Family) -> Option<[&'static str; 2]> {
    let (names, programs) = match family {
        Family::Ip => ("ip_tables_names", ["iptables-legacy", "iptables"]),
        Family::Ip6 => ("ip6_tables_names", ["ip6tables-legacy", "ip6tables"]),
    };
    // Absent when the kernel never loaded the old tables.
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{names}")).ok()?;
    text.lines().any(|name| name == TABLE).then_some(programs)
}

/// The first program that is there, the chain for our rules, and what is in it.
fn legacy_chain(programs: [&'static str; 2]) -> Option<(&'static str, &'static str, String)> {
    for program in programs {
        for name in [FOR_USERS, FORWARD] {
            match run(program, &["-S", name]) {
                Ok(output) if output.status.success() => {
                    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
                    return Some((program, name, listing));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => {
                    tracing::warn!(program, %error, "cannot be run");
                    break;
                }
            }
        }
    }
    tracing::warn!("old iptables are in use, and there is no program to change them");
    None
}

/// Waits for other writers of the tables.
fn run(program: &str, arguments: &[&str]) -> io::Result<Output> {
    let all: Vec<&str> = [&["-w"], arguments].concat();
    sys::command::run(program, &all)
}
