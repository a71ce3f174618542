//! `run --explain-mounts` and `create --explain-mounts`: what would be mounted, before anything is made.

use serde_json::Value;

use crate::failure::Outcome;
use crate::http::Client;
use crate::json::{each, text};
use crate::render::list::print_table;

/// Prints the table of the container that `body` describes.
pub(super) fn explain(client: &Client, body: &Value) -> Outcome<i32> {
    let explanation = client.post("/orlop/v1/explain", body)?;
    let mounts = explanation["Mounts"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    println!("user {}", text(&explanation["User"]));
    let lines = mounts.iter().map(|mount| {
        vec![
            text(&mount["Target"]).to_owned(),
            text(&mount["Type"]).to_owned(),
            source(mount),
            if mount["RW"] == Value::Bool(true) {
                "rw"
            } else {
                "ro"
            }
            .to_owned(),
            text(&mount["Origin"]).to_owned(),
        ]
    });
    print_table(
        &[
            ("TARGET", ""),
            ("TYPE", ""),
            ("SOURCE", ""),
            ("MODE", ""),
            ("FROM", ""),
        ],
        lines,
    );
    for line in mounts.iter().flat_map(remarks) {
        println!("{line}");
    }
    for warning in strings(&explanation["Warnings"]) {
        eprintln!("WARNING: {warning}");
    }
    Ok(0)
}

fn source(mount: &Value) -> String {
    match (text(&mount["Source"]), text(&mount["Type"])) {
        ("", "volume") => "(anonymous)".to_owned(),
        ("", _) => "-".to_owned(),
        (source, _) => source.to_owned(),
    }
}

fn remarks(mount: &Value) -> Vec<String> {
    let target = text(&mount["Target"]);
    let mut lines = Vec::new();
    for (key, word) in [("Overrides", "instead of"), ("Creates", "makes")] {
        for what in strings(&mount[key]) {
            lines.push(format!("{target}: {word} {what}"));
        }
    }
    for (key, word) in [("Copies", "copies"), ("Shadows", "hides")] {
        if let Some(what) = mount[key].as_str() {
            lines.push(format!("{target}: {word} {what}"));
        }
    }
    for what in strings(&mount["Warnings"]) {
        lines.push(format!("{target}: WARNING: {what}"));
    }
    lines
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    each(value).filter_map(Value::as_str)
}
