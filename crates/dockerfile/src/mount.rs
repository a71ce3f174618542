//! `RUN --mount`: comma-separated `key=value`.
//!
//! Values that name variables are taken as they are: they mean something only when the instruction runs. All others are
//! checked here, whatever the order of the keys.

use crate::mistake::Mistake;
use crate::suggest::closest;
use crate::{Mount, MountKind};

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "size",
    "env",
];

const KINDS: &[(&str, MountKind)] = &[
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARING: &[&str] = &["shared", "private", "locked"];

pub(crate) fn read(text: &str) -> Result<Mount, Mistake> {
    let mut mount = Mount::default();
    let mut required = None;
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        let key = key.to_ascii_lowercase();
        let Some(value) = value else {
            match key.as_str() {
                "readonly" | "ro" => mount.read_only = Some(true),
                "readwrite" | "rw" => mount.read_only = Some(false),
                "required" => required = Some(true),
                _ => {
                    return Err(Mistake::new(format!(
                        "invalid field '{field}' must be a key=value pair"
                    )));
                }
            }
            continue;
        };
        let number = |radix| {
            if holds_variable(value) || u32::from_str_radix(value, radix).is_ok() {
                Ok(Some(value.to_owned()))
            } else {
                Err(Mistake::new(format!("invalid value {value} for {key}")))
            }
        };
        match key.as_str() {
            "type" => mount.kind = kind(value)?,
            "from" if holds_variable(value) => {
                return Err(Mistake::new(
                    "'from' doesn't support variable expansion, define alias stage instead",
                ));
            }
            "from" => value.clone_into(&mut mount.from),
            "source" | "src" => value.clone_into(&mut mount.source),
            "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
            "readonly" | "ro" => mount.read_only = Some(boolean(&key, value)?),
            "readwrite" | "rw" => mount.read_only = Some(!boolean(&key, value)?),
            "required" => required = Some(boolean(&key, value)?),
            "id" => value.clone_into(&mut mount.id),
            "env" => mount.env = Some(value.to_owned()),
            "sharing" => mount.sharing = Some(sharing(value)?),
            "size" if holds_variable(value) || is_size(value) => {
                mount.size = Some(value.to_owned());
            }
            "size" => return Err(Mistake::new(format!("invalid value for size: {value}"))),
            "mode" => mount.mode = number(8)?,
            "uid" => mount.uid = number(10)?,
            "gid" => mount.gid = number(10)?,
            _ => {
                let text = format!("unexpected key '{key}' in '{field}'");
                let suggestion = closest(&key, KEYS.iter().copied());
                return Err(Mistake::suggesting(text, suggestion));
            }
        }
    }
    fits(&mount, required)?;
    mount.required = required.unwrap_or(false);
    Ok(mount)
}

/// Keys that the kind of mount does not know, and those it cannot do without.
fn fits(mount: &Mount, required: Option<bool>) -> Result<(), Mistake> {
    use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
    let kind = mount.kind;
    let (name, _) = KINDS
        .iter()
        .find(|(_, known)| *known == kind)
        .expect("every kind has a name");
    let unexpected =
        |key: &str| Mistake::new(format!("unexpected key '{key}' for mount type '{name}'"));
    let is_file = matches!(kind, Secret | Ssh);
    if required.is_some() && !is_file {
        return Err(unexpected("required"));
    }
    if mount.size.is_some() && kind != Tmpfs {
        return Err(unexpected("size"));
    }
    if mount.env.is_some() && kind != Secret {
        return Err(unexpected("env"));
    }
    if matches!(kind, Bind | Tmpfs) {
        for (key, value) in [
            ("mode", &mount.mode),
            ("uid", &mount.uid),
            ("gid", &mount.gid),
        ] {
            if value.is_some() {
                return Err(Mistake::new(format!(
                    "{key} not allowed for {name:?} type mounts"
                )));
            }
        }
    }
    if kind == Secret {
        if !mount.from.is_empty() {
            return Err(Mistake::new("secret mount should not have a from"));
        }
        if mount.sharing.is_some() {
            return Err(Mistake::new("secret mount should not define sharing"));
        }
        if mount.source.is_empty() && mount.target.is_empty() && mount.id.is_empty() {
            return Err(Mistake::new(
                "invalid secret mount. one of source, target required",
            ));
        }
        if !mount.source.is_empty() && !mount.id.is_empty() {
            return Err(Mistake::new("both source and id can't be set"));
        }
    }
    if mount.sharing.is_some() && kind != Cache {
        return Err(Mistake::new(format!(
            "invalid cache sharing set for {name} mount"
        )));
    }
    if mount.target.is_empty() && !is_file {
        return Err(Mistake::new(format!("{name} mount requires a target")));
    }
    Ok(())
}

fn kind(value: &str) -> Result<MountKind, Mistake> {
    let lower = value.to_ascii_lowercase();
    let found = KINDS.iter().find(|(name, _)| *name == lower);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let names = KINDS.iter().map(|(name, _)| *name);
        let text = format!("unsupported mount type {value:?}");
        Mistake::suggesting(text, closest(value, names))
    })
}

fn sharing(value: &str) -> Result<String, Mistake> {
    let lower = value.to_ascii_lowercase();
    if holds_variable(value) {
        return Ok(value.to_owned());
    }
    if SHARING.contains(&lower.as_str()) {
        return Ok(lower);
    }
    let text = format!("unsupported sharing value {value:?}");
    let suggestion = closest(value, SHARING.iter().copied());
    Err(Mistake::suggesting(text, suggestion))
}

/// A dollar and something behind it.
fn holds_variable(value: &str) -> bool {
    value.find('$').is_some_and(|at| at + 1 < value.len())
}

/// The words Go takes for a truth value.
fn boolean(key: &str, value: &str) -> Result<bool, Mistake> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Mistake::new(format!("invalid value for {key}: {value}"))),
    }
}

/// Docker's sizes: `64m`, `1.5 GiB`.
fn is_size(value: &str) -> bool {
    let rest = value.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == value.len() {
        return false;
    }
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if rest.len() == fraction.len() {
                return false;
            }
            rest
        }
        None => rest,
    };
    let unit = rest.strip_prefix(' ').unwrap_or(rest).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    matches!(
        unit,
        "" | "k" | "m" | "g" | "t" | "p" | "ki" | "mi" | "gi" | "ti" | "pi"
    )
}

/// One line of comma-separated values; a field that begins with a quote may hold commas, and quotes twice.
fn fields(text: &str) -> Result<Vec<String>, Mistake> {
    let wrong = |why: &str| Mistake::new(format!("failed to parse csv mounts: {why}"));
    if text.is_empty() {
        return Err(wrong("EOF"));
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut field = String::new();
                let mut rest = quoted;
                loop {
                    let Some((before, after)) = rest.split_once('"') else {
                        return Err(wrong("extraneous or missing \" in quoted-field"));
                    };
                    field.push_str(before);
                    match after.strip_prefix('"') {
                        Some(after) => {
                            field.push('"');
                            rest = after;
                        }
                        None => break (field, after),
                    }
                }
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return Err(wrong("bare \" in non-quoted-field"));
                }
                (field.to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => return Err(wrong("extraneous or missing \" in quoted-field")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let mount = read("type=cache,target=/root/.cache,id=x,sharing=LOCKED,uid=1,mode=0755,ro")
            .expect("a cache");
        let wanted = Mount {
            kind: MountKind::Cache,
            target: "/root/.cache".to_owned(),
            id: "x".to_owned(),
            sharing: Some("locked".to_owned()),
            uid: Some("1".to_owned()),
            mode: Some("0755".to_owned()),
            read_only: Some(true),
            ..Mount::default()
        };
        assert_eq!(mount, wanted);
        let mount = read("target=/a,\"source=b,c\"\"d\",rw=true,from=base").expect("a bind mount");
        let wanted = Mount {
            target: "/a".to_owned(),
            source: "b,c\"d".to_owned(),
            from: "base".to_owned(),
            read_only: Some(false),
            ..Mount::default()
        };
        assert_eq!(mount, wanted);
        for text in [
            "required,type=secret,id=token",
            "type=ssh",
            "type=secret,id=x,env=TOKEN",
            "type=tmpfs,dst=/t,size=64m",
            "type=tmpfs,dst=/t,size=1.5 GiB",
            "type=tmpfs,dst=/t,size=$SIZE",
            "type=cache,target=/c,uid=$ID,sharing=$S",
        ] {
            read(text).expect(text);
        }
    }

    #[test]
    fn refuses() {
        for (text, wanted, suggestion) in [
            ("", "failed to parse csv mounts: EOF", None),
            (
                "a\"b",
                "failed to parse csv mounts: bare \" in non-quoted-field",
                None,
            ),
            (
                "\"a",
                "failed to parse csv mounts: extraneous or missing \" in quoted-field",
                None,
            ),
            (
                "\"a\"b",
                "failed to parse csv mounts: extraneous or missing \" in quoted-field",
                None,
            ),
            (
                "target",
                "invalid field 'target' must be a key=value pair",
                None,
            ),
            (
                "typ=bind",
                "unexpected key 'typ' in 'typ=bind'",
                Some("type"),
            ),
            (
                "type=cash,target=/x",
                "unsupported mount type \"cash\"",
                Some("cache"),
            ),
            (
                "type=cache,target=/x,sharing=lock",
                "unsupported sharing value \"lock\"",
                Some("locked"),
            ),
            (
                "from=$X,target=/x",
                "'from' doesn't support variable expansion, define alias stage instead",
                None,
            ),
            ("target=/x,ro=maybe", "invalid value for ro: maybe", None),
            (
                "target=/x,required",
                "unexpected key 'required' for mount type 'bind'",
                None,
            ),
            (
                "target=/x,size=1m",
                "unexpected key 'size' for mount type 'bind'",
                None,
            ),
            (
                "type=tmpfs,target=/x,size=much",
                "invalid value for size: much",
                None,
            ),
            (
                "type=cache,target=/x,mode=9",
                "invalid value 9 for mode",
                None,
            ),
            (
                "target=/x,uid=1",
                "uid not allowed for \"bind\" type mounts",
                None,
            ),
            (
                "type=secret,id=x,from=y",
                "secret mount should not have a from",
                None,
            ),
            (
                "type=secret",
                "invalid secret mount. one of source, target required",
                None,
            ),
            (
                "target=/x,sharing=shared",
                "invalid cache sharing set for bind mount",
                None,
            ),
            ("type=tmpfs", "tmpfs mount requires a target", None),
        ] {
            let mistake = read(text).expect_err(text);
            assert_eq!(
                (mistake.text.as_str(), mistake.suggestion.as_deref()),
                (wanted, suggestion)
            );
        }
    }
}
