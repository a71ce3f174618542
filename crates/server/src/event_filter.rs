//! Which events a client of `/events` wants: the `filters` parameter, by Docker's rules.
//!
//! Values of one key are alternatives, keys must all fit, except `label`, of which every value must fit. `container`,
//! `image`, `volume`, `network`, `plugin` and `daemon` take the beginning of an id or of a name; `image` also takes a
//! name without its tag, and finds what containers of that image do.

use engine::containers::list::Filters;
use engine::events::Event;

/// Actions that are told with what they are about behind a colon, and found without it.
const WITH_DETAIL: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// Kinds whose events are found by their id or name.
const NAMED: [&str; 9] = [
    "container",
    "daemon",
    "plugin",
    "volume",
    "network",
    "service",
    "node",
    "secret",
    "config",
];

pub(crate) fn passes(event: &Event, filters: &Filters) -> bool {
    let values = |key: &str| {
        filters
            .0
            .get(key)
            .map(Vec::as_slice)
            .filter(|values| !values.is_empty())
    };
    let any = |key: &str, fits: &dyn Fn(&str) -> bool| {
        values(key).is_none_or(|values| values.iter().any(|value| fits(value)))
    };
    let attribute = |key: &str| event.attributes.get(key).map_or("", String::as_str);
    let fuzzy = values("event").is_some_and(|values| {
        values
            .iter()
            .any(|value| WITH_DETAIL.contains(&value.as_str()))
    });
    any("type", &|value| event.kind == value)
        && any("scope", &|value| value == "local")
        && any("event", &|value| {
            event.action == value || fuzzy && event.action.starts_with(value)
        })
        && NAMED.iter().all(|kind| {
            any(kind, &|value| {
                event.kind == *kind
                    && (event.actor.starts_with(value) || attribute("name").starts_with(value))
            })
        })
        && any("image", &|value| {
            let name = match event.kind {
                "image" => attribute("name"),
                _ => attribute("image"),
            };
            [event.actor.as_str(), name, without_tag(name)].contains(&value)
        })
        && values("label").is_none_or(|values| {
            values.iter().all(|value| match value.split_once('=') {
                Some((key, value)) => event.attributes.get(key).is_some_and(|is| is == value),
                None => event.attributes.contains_key(value),
            })
        })
}

/// `host:5000/a/b:tag` to `host:5000/a/b`.
fn without_tag(name: &str) -> &str {
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[path..]
        .find([':', '@'])
        .map_or(name.len(), |colon| path + colon);
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &'static str, action: &str, actor: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            kind,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes: attributes
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn filters() {
        let health = event(
            "container",
            "health_status: healthy",
            "abcdef",
            &[("name", "web"), ("image", "reg:5000/a/b:1"), ("tier", "x")],
        );
        let pull = event("image", "pull", "sha256:1", &[("name", "busybox:latest")]);
        for (filter, health_fits, pull_fits) in [
            (r#"{}"#, true, true),
            (r#"{"type":["image"]}"#, false, true),
            (r#"{"type":["image","container"]}"#, true, true),
            (r#"{"event":["health_status"]}"#, true, false),
            (r#"{"event":["health_status: healthy"]}"#, true, false),
            (r#"{"event":["health_status: unhealthy"]}"#, false, false),
            (r#"{"event":["health"]}"#, false, false),
            (r#"{"event":["pull"]}"#, false, true),
            (r#"{"container":["abc"]}"#, true, false),
            (r#"{"container":["we"]}"#, true, false),
            (r#"{"container":["other","web"]}"#, true, false),
            (r#"{"image":["reg:5000/a/b"]}"#, true, false),
            (r#"{"image":["reg:5000/a/b:1"]}"#, true, false),
            (r#"{"image":["busybox"]}"#, false, true),
            (r#"{"image":["sha256:1"]}"#, false, true),
            (r#"{"label":["tier"]}"#, true, false),
            (r#"{"label":["tier=x","name=web"]}"#, true, false),
            (r#"{"label":["tier=x","absent"]}"#, false, false),
            (r#"{"scope":["local"]}"#, true, true),
            (r#"{"scope":["swarm"]}"#, false, false),
            (r#"{"daemon":["x"]}"#, false, false),
        ] {
            let parsed = crate::filters::parse(Some(filter)).expect(filter);
            assert_eq!(
                (passes(&health, &parsed), passes(&pull, &parsed)),
                (health_fits, pull_fits),
                "{filter}"
            );
        }
    }
}
