//! A `.dockerignore` and, behind the first NUL, a path: no panic, and a walker that skips what it may skip misses nothing.

#![no_main]

use dockerfile::ignore::{Ignore, matches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.iter().position(|byte| *byte == 0);
    let (text, path) = bytes.split_at(split.unwrap_or(bytes.len()));
    let path = String::from_utf8_lossy(path.strip_prefix(b"\0").unwrap_or(path));
    if let Some(pattern) = std::str::from_utf8(text).ok()
        && let Ok(true) = matches(pattern, &path)
    {
        let slashes = |text: &str| text.matches('/').count();
        assert!(pattern.contains('[') || slashes(pattern) == slashes(&path));
    }
    let Ok(ignore) = Ignore::parse(text) else {
        return;
    };
    let is_plain = |name: &str| !matches!(name, "" | "." | "..");
    if !path.split('/').all(is_plain) {
        assert!(!ignore.excludes(""));
        let _ = ignore.excludes(&path);
        return;
    }
    let excluded = ignore.excludes(&path);
    for (at, _) in path.match_indices('/') {
        let directory = &path[..at];
        if ignore.excludes(directory) && !ignore.may_contain_exception(directory) {
            assert!(excluded, "{directory:?} was skipped");
        }
    }
});
