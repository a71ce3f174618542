//! Any text as a `--format` template over an object such as inspect shows: no panic, no endless loop.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static OBJECT: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "Id": "0123456789ab",
        "Name": "/näme",
        "State": { "Running": true, "Pid": 42, "Error": "", "Health": null },
        "Mounts": [
            { "Type": "volume", "Destination": "/a", "RW": true },
            { "Type": "bind", "Destination": "/b", "RW": false }
        ],
        "Labels": { "b": "2", "a": "1" },
        "Args": [],
        "Size": 1.5
    })
});

fuzz_target!(|text: &str| cli::fuzzing::template(text, &OBJECT));
