//! `--mount`: a line of comma-separated fields.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::size;
use super::volume::absolute;

/// The API's form of one flag.
pub(crate) fn parse(text: &str, directory: &Path) -> Result<Value, String> {
    let mut mount = Map::new();
    mount.insert("Type".into(), json!("volume"));
    let mut blocks: [(&str, &str, Map<String, Value>); 4] = [
        ("bind-", "BindOptions", Map::new()),
        ("volume-", "VolumeOptions", Map::new()),
        ("tmpfs-", "TmpfsOptions", Map::new()),
        ("image-", "ImageOptions", Map::new()),
    ];
    let mut excluding = false;
    for field in split(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        if key.trim() != key || value.is_some_and(|value| value.trim() != value) {
            return Err(format!(
                "invalid option '{field}': option should not have whitespace"
            ));
        }
        let flag = matches!(
            key.as_str(),
            "readonly"
                | "ro"
                | "volume-nocopy"
                | "volume-exclusive"
                | "bind-create-src"
                | "bind-nonrecursive"
                | "bind-require-device"
                | "idmap"
                | "bind-idmap"
        );
        // Words behind a list go on with it: `bind-exclude=a,b`.
        if value.is_none() && !flag && excluding {
            exclude(&mut blocks[0].2, &field);
            continue;
        }
        excluding = key == "bind-exclude";
        let value = match value {
            None if flag => "true",
            Some("") if key == "type" => return Err("type is required".to_owned()),
            None => return Err(format!("invalid field '{field}' must be a key=value pair")),
            Some("") => return Err(format!("invalid value for '{key}': value is empty")),
            Some(value) => value,
        };
        let [bind, volume, tmpfs, image] = &mut blocks;
        match key.as_str() {
            "type" => set(&mut mount, "Type", json!(value.to_ascii_lowercase())),
            "source" | "src" => {
                let source = if value.starts_with('.') {
                    absolute(value, directory)
                } else {
                    value.to_owned()
                };
                set(&mut mount, "Source", json!(source));
            }
            "target" | "dst" | "destination" => set(&mut mount, "Target", json!(value)),
            "readonly" | "ro" => set(&mut mount, "ReadOnly", json!(boolean(&key, value)?)),
            "consistency" => set(&mut mount, "Consistency", json!(value.to_ascii_lowercase())),
            "bind-propagation" => set(
                &mut bind.2,
                "Propagation",
                json!(value.to_ascii_lowercase()),
            ),
            "bind-create-src" => set(
                &mut bind.2,
                "CreateMountpoint",
                json!(boolean(&key, value)?),
            ),
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => set(&mut bind.2, "NonRecursive", json!(true)),
                "writable" => set(&mut bind.2, "ReadOnlyNonRecursive", json!(true)),
                "readonly" => set(&mut bind.2, "ReadOnlyForceRecursive", json!(true)),
                _ => {
                    return Err(format!(
                        "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            "bind-nonrecursive" => {
                return Err(
                    "bind-nonrecursive is deprecated, use bind-recursive=disabled instead"
                        .to_owned(),
                );
            }
            "bind-missing" => set(&mut bind.2, "Missing", json!(value)),
            "bind-require-device" => {
                set(&mut bind.2, "RequireDevice", json!(boolean(&key, value)?));
            }
            "bind-exclude" => value.split(',').for_each(|path| exclude(&mut bind.2, path)),
            "idmap" | "bind-idmap" => match value {
                "true" | "1" => set(&mut mount, "IDMap", json!("match-user")),
                "false" | "0" => {}
                value => set(&mut mount, "IDMap", json!(value)),
            },
            "volume-nocopy" => set(&mut volume.2, "NoCopy", json!(boolean(&key, value)?)),
            "volume-exclusive" => set(&mut volume.2, "Exclusive", json!(boolean(&key, value)?)),
            "volume-subpath" => set(&mut volume.2, "Subpath", json!(value)),
            "volume-label" => pair(&mut volume.2, &["Labels"], value),
            "volume-driver" => set(nested(&mut volume.2, "DriverConfig"), "Name", json!(value)),
            "volume-opt" => pair(nested(&mut volume.2, "DriverConfig"), &["Options"], value),
            "image-subpath" => set(&mut image.2, "Subpath", json!(value)),
            "tmpfs-size" => {
                let size =
                    size::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
                set(&mut tmpfs.2, "SizeBytes", json!(size));
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8)
                    .map_err(|_| format!("invalid value for {key}: {value}"))?;
                set(&mut tmpfs.2, "Mode", json!(mode));
            }
            _ => return Err(format!("unknown option '{key}' in '{field}'")),
        }
    }
    check(&mount, &blocks)?;
    for (_, name, block) in blocks {
        if !block.is_empty() {
            mount.insert(name.into(), Value::Object(block));
        }
    }
    Ok(Value::Object(mount))
}

fn check(
    mount: &Map<String, Value>,
    blocks: &[(&str, &str, Map<String, Value>)],
) -> Result<(), String> {
    let kind = mount["Type"].as_str().unwrap_or_default();
    if kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if !mount.contains_key("Target") {
        return Err("target is required".to_owned());
    }
    for (prefix, _, block) in blocks {
        if !block.is_empty() && prefix.trim_end_matches('-') != kind {
            return Err(format!(
                "cannot mix '{prefix}*' options with mount type '{kind}'"
            ));
        }
    }
    let bind = &blocks[0].2;
    let readonly = mount.get("ReadOnly") == Some(&json!(true));
    if bind.contains_key("ReadOnlyNonRecursive") && !readonly {
        return Err(
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
                .to_owned(),
        );
    }
    if bind.contains_key("ReadOnlyForceRecursive") {
        if !readonly {
            return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".to_owned());
        }
        if bind.get("Propagation") != Some(&json!("rprivate")) {
            return Err("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction".to_owned());
        }
    }
    Ok(())
}

fn exclude(bind: &mut Map<String, Value>, path: &str) {
    bind.entry("Exclude")
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .expect("just made as a list")
        .push(json!(path));
}

fn set(map: &mut Map<String, Value>, key: &str, value: Value) {
    map.insert(key.to_owned(), value);
}

fn nested<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    map.entry(key)
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .expect("just made as an object")
}

fn pair(map: &mut Map<String, Value>, path: &[&str], value: &str) {
    let (key, value) = value.split_once('=').unwrap_or((value, ""));
    let mut map = map;
    for name in path {
        map = nested(map, name);
    }
    map.insert(key.to_owned(), json!(value));
}

/// Only these four, unlike elsewhere.
fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!(
            "invalid value for '{key}': invalid boolean value (\"{value}\"): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")"
        )),
    }
}

/// Fields of one CSV record: a field in quotes may hold commas, a doubled quote is one.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let field = fields.last_mut().expect("never empty");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => return Err("parse error on line 1: bare \" in non-quoted-field".to_owned()),
            ',' if !quoted => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    if quoted {
        return Err("parse error on line 1: extraneous or missing \" in quoted-field".to_owned());
    }
    if fields == [""] {
        return Err("value is empty".to_owned());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Value, String> {
        parse(text, Path::new("/here"))
    }

    #[test]
    fn mounts() {
        for (text, value) in [
            (
                "type=bind,src=./a,dst=/b,ro",
                json!({"Type": "bind", "Source": "/here/a", "Target": "/b", "ReadOnly": true}),
            ),
            (
                "source=v,target=/b,volume-nocopy",
                json!({"Type": "volume", "Source": "v", "Target": "/b", "VolumeOptions": {"NoCopy": true}}),
            ),
            (
                "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
                json!({"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}}),
            ),
            (
                "type=volume,dst=/t,volume-driver=local,\"volume-opt=o=a,b\",volume-label=x=y",
                json!({"Type": "volume", "Target": "/t", "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"o": "a,b"}}, "Labels": {"x": "y"}}}),
            ),
            (
                "type=bind,src=/a,dst=/b,bind-recursive=disabled",
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"NonRecursive": true}}),
            ),
            (
                "type=bind,src=/a,dst=/b,bind-exclude=node_modules,target,ro,idmap,bind-missing=error",
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true, "IDMap": "match-user",
                    "BindOptions": {"Exclude": ["node_modules", "target"], "Missing": "error"}}),
            ),
            (
                "source=v,target=/b,idmap=uids=1000-0-1;gids=100-0-1",
                json!({"Type": "volume", "Source": "v", "Target": "/b", "IDMap": "uids=1000-0-1;gids=100-0-1"}),
            ),
        ] {
            assert_eq!(parsed(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        for (text, why) in [
            ("", "value is empty"),
            (
                "type=volume,foo=bar,dst=/x",
                "unknown option 'foo' in 'foo=bar'",
            ),
            (
                "type=volume,dst",
                "invalid field 'dst' must be a key=value pair",
            ),
            (
                "type=volume,src=,dst=/x",
                "invalid value for 'src': value is empty",
            ),
            (
                "type=bind,src=/a,dst=/b,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                "type=bind,src=/a,dst=/b,ro=no",
                "invalid value for 'ro': invalid boolean value (\"no\"): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")",
            ),
            (
                "type=bind,src=/a,dst=/b,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
            ),
            ("type=bind,src=/a", "target is required"),
        ] {
            assert_eq!(parsed(text), Err(why.to_owned()), "{text}");
        }
    }
}
