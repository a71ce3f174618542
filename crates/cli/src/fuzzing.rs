//! The way in for `fuzz/`: parsers that are private, results dropped.

use std::path::Path;

use serde_json::Value;

use crate::http::Query;
use crate::parse::ports::Ports;
use crate::parse::{devices, duration, keys, mount, network, size, volume};
use crate::render::template::Template;

/// Reads the text as a published and as an exposed port. Wide ranges are left out: they are legal, and slow because of what
/// they name.
pub fn ports(text: &str) {
    let is_wide = |word: &str| word.len() > 2 && text.contains('-');
    if text
        .split(|letter: char| !letter.is_ascii_digit())
        .any(is_wide)
    {
        return;
    }
    let mut ports = Ports::default();
    drop(ports.publish(text));
    drop(ports.expose(text));
}

/// Reads the text as the value of every other flag that has a grammar.
pub fn flags(text: &str) {
    let directory = Path::new("/home");
    drop(mount::parse(text, directory));
    drop(volume::parse(text, directory));
    drop(size::bytes(text));
    drop(size::nano_cpus(text));
    drop(devices::device(text));
    drop(devices::ulimit(text));
    drop(devices::restart(text));
    drop(devices::bytes_rate(text));
    drop(devices::operations_rate(text));
    drop(devices::weight(text));
    drop(devices::cgroup_rule(text));
    drop(network::extra_host(text));
    drop(network::mac(text));
    drop(keys::parse(Some(text)));
    drop(duration::nanoseconds(text));
    drop(
        Query::new("/x")
            .filters(&[text.to_owned()])
            .map(Query::build),
    );
}

/// Parses a `--format` template and renders it.
pub fn template(source: &str, data: &Value) {
    if let Ok(template) = Template::parse(source) {
        drop(template.render(data));
        drop(template.with_missing_key_error().render(data));
    }
}
