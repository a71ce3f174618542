//! Any bytes as the documents of a repository of restic's: no panic, and what is read is written and read as the same.

#![no_main]

use backup::fuzzing::{DOCUMENTS, document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, rest)) = bytes.split_first() {
        document(kind % (DOCUMENTS.end() + 1), rest);
    }
});
