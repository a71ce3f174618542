//! Prometheus' text format, version 0.0.4: families of samples, each with its help and type.

use std::fmt::Write as _;

use jiff::Timestamp;

/// The content type that scrapers ask for.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

/// Labels of a sample.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// One family in the making; it is there only if it has samples.
#[derive(Debug)]
pub(super) struct Family<'p> {
    page: &'p mut Page,
    name: &'static str,
    help: &'static str,
    kind: Kind,
    begun: bool,
}

impl Page {
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, Kind::Gauge)
    }

    /// Something that only grows; its name ends with `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, Kind::Counter)
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> Family<'_> {
        Family {
            page: self,
            name,
            help,
            kind,
            begun: false,
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are floating point numbers"
    )]
    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.sample(labels, value as f64);
    }

    /// A moment as seconds since 1970; nothing for a text that is none.
    pub(super) fn moment(&mut self, labels: Labels<'_>, time: &str) {
        if let Ok(time) = time.parse::<Timestamp>() {
            self.sample(labels, time.as_duration().as_secs_f64());
        }
    }

    pub(super) fn sample(&mut self, labels: Labels<'_>, value: f64) {
        let text = &mut self.page.text;
        let written = "writing to a string cannot fail";
        if !self.begun {
            self.begun = true;
            let kind = match self.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            };
            let (name, help) = (self.name, self.help);
            write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect(written);
        }
        text.push_str(self.name);
        for (index, (key, value)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            text.push_str(key);
            text.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        writeln!(text, " {value}").expect(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let mut page = Page::default();
        page.gauge("orlop_nothing", "No samples, no family.");
        let mut family = page.gauge("orlop_volume_bytes", "Bytes.");
        family.count(&[("volume", "a\"b\\c\nd"), ("pool", "x")], 1_500_000_000);
        family.moment(&[], "1970-01-01T00:00:01.5Z");
        family.moment(&[], "never");
        page.counter("orlop_runs_total", "Runs.").count(&[], 3);
        assert_eq!(
            page.finish(),
            "# HELP orlop_volume_bytes Bytes.\n\
             # TYPE orlop_volume_bytes gauge\n\
             orlop_volume_bytes{volume=\"a\\\"b\\\\c\\nd\",pool=\"x\"} 1500000000\n\
             orlop_volume_bytes 1.5\n\
             # HELP orlop_runs_total Runs.\n\
             # TYPE orlop_runs_total counter\n\
             orlop_runs_total 3\n"
        );
    }
}
