//! The way in for `fuzz/`: what places and repositories say, and the names that people give them.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use rustic_core::Id;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::index::{Index, IndexFile};
use crate::keys::{About, readable};
use crate::location::Location;
use crate::lock::LockFile;
use crate::node::{Tree, quote, unquote};
use crate::places::{http, object_store, rest};
use crate::repository::Config;
use crate::snapshot::{Backup, Snapshot};
use crate::view::plain_name;

/// Reads the text as the location of a repository.
///
/// # Panics
/// When what is shown of it means another place, or depends on a password.
pub fn location(text: &str) {
    let location = match Location::parse(text) {
        Ok(location) => location,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let shown = location.to_string();
    match location {
        Location::Rest { url, user, .. } => {
            let other = Location::Rest {
                url: url.clone(),
                user: user.clone(),
                password: Some("another".to_owned()),
            };
            assert_eq!(other.to_string(), shown, "the password is shown");
            let again = Location::parse(&shown).expect("what is shown is a location");
            let Location::Rest {
                url: shown_url,
                user: shown_user,
                ..
            } = again
            else {
                panic!("{shown} is of another kind");
            };
            assert_eq!((shown_url, shown_user), (url, user), "{shown}");
        }
        location => assert_eq!(Location::parse(&shown), Ok(location), "{shown}"),
    }
}

/// Reads the bytes as a page of a list of S3, as a list of a REST server, and as the words of either about an error.
///
/// # Panics
/// When an error would be told in more than a short line.
pub fn answers(body: &[u8]) {
    let words = http::explanation(body);
    assert!(words.chars().count() <= http::EXPLANATION, "{words}");
    assert!(!words.chars().any(char::is_control), "{words:?}");
    if let Ok(page) = object_store::understand(body) {
        for object in page.contents {
            object_store::id(&object.key);
        }
    }
    drop(rest::understand(body));
}

/// How many kinds of documents there are for [`document`].
pub const DOCUMENTS: RangeInclusive<u8> = 0..=6;

/// Reads the bytes as a document of restic's format, decrypted and decompressed.
///
/// # Panics
/// When what is written again from what was read means something else, or something that callers count on is not so.
pub fn document(kind: u8, bytes: &[u8]) {
    match kind {
        0 => {
            if let Some(snapshot) = same_again::<Snapshot>(bytes) {
                let backup = Backup::of(Id::default(), snapshot.clone());
                assert_eq!((backup.time, backup.tags), (snapshot.time, snapshot.tags));
            }
        }
        1 => {
            if let Some(tree) = same_again::<Tree>(bytes) {
                check_nodes(&tree);
            }
        }
        2 => {
            if let Some(file) = same_again::<IndexFile>(bytes) {
                check_index(&file);
            }
        }
        3 => {
            if let Some(lock) = same_again::<LockFile>(bytes) {
                lock.is_stale();
            }
        }
        4 => drop(read::<Config>(bytes)),
        5 => drop(read::<About>(bytes)),
        _ => drop(readable(bytes)),
    }
}

fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn same_again<T: DeserializeOwned + Serialize + Debug>(bytes: &[u8]) -> Option<T> {
    let first: T = read(bytes)?;
    let text = serde_json::to_vec(&first).expect("what was read can be written");
    let second: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    Some(first)
}

fn check_nodes(tree: &Tree) {
    for node in &tree.nodes {
        assert_eq!(node.permissions() & !0o7777, 0);
        node.target();
        if let Ok(name) = plain_name(Id::default(), node) {
            assert_eq!(std::path::Path::new(&name).components().count(), 1);
            assert_eq!(unquote(&quote(&name)), name);
        }
    }
}

fn check_index(file: &IndexFile) {
    let mut index = Index::default();
    for pack in &file.packs {
        index.add(pack);
        assert!(pack.size() > 0);
    }
    for pack in &file.packs {
        for blob in &pack.blobs {
            let spot = index.find(blob.kind, &blob.id).expect("it was added");
            index.pack(spot.pack);
            assert!(spot.plain_length() <= u64::from(u32::MAX));
        }
    }
}
