//! What stages tell while they work: what was of use, what to warn of, what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use dockerfile::Lines;

use super::stage::Record;
use super::{Build, BuildError, scope};
use crate::images::built::Block;

/// What is gathered while stages work.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Keys of records that were of use.
    pub(super) used: BTreeSet<String>,
    /// Arguments that some stage declared.
    pub(super) consumed: BTreeSet<String>,
    /// By stage.
    pub(super) warnings: BTreeMap<usize, Vec<String>>,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) failure: Option<BuildError>,
}

/// What a stage made, also one that failed.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) blocks: Vec<Block>,
    pub(super) records: Vec<Record>,
}

impl Build<'_> {
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn used(&self, key: &str) {
        self.notes().used.insert(key.to_owned());
    }

    pub(super) fn consumed(&self, name: &str) {
        self.notes().consumed.insert(name.to_owned());
    }

    pub(super) fn warn(&self, position: usize, text: String) {
        self.notes()
            .warnings
            .entry(position)
            .or_default()
            .push(text);
    }

    /// The lines of an instruction that failed.
    pub(super) fn show(&self, position: usize, lines: Lines) {
        if self.cancel.is_cancelled() || lines.first == 0 {
            return;
        }
        const RULE: &str = "--------------------";
        let mut text = format!("{}:{}\n{RULE}\n", self.file, lines.first);
        for (number, line) in dockerfile::excerpt(&self.text, lines) {
            let wrong = (lines.first..=lines.last).contains(&number);
            let mark = if wrong { ">>>" } else { "   " };
            text.push_str(format!("{number:4} | {mark} {line}").trim_end());
            text.push('\n');
        }
        text.push_str(RULE);
        text.push('\n');
        self.desk.text(position, &text);
    }

    /// What is said when all is done: arguments that nobody asked for, writes that are lost.
    pub(super) fn warnings(&self) -> String {
        let notes = self.notes();
        let mut text: String = notes
            .warnings
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        let unused: Vec<&str> = self
            .request
            .arguments
            .keys()
            .filter(|name| !notes.consumed.contains(*name) && !scope::is_proxy(name))
            .map(String::as_str)
            .collect();
        if !unused.is_empty() {
            text.push_str(&format!(
                "[Warning] One or more build-args [{}] were not consumed\n",
                unused.join(" ")
            ));
        }
        text
    }
}
