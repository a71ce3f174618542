//! `--device`, `--ulimit`, `--restart` and their like.

use serde_json::{Value, json};

/// `host[:container][:rwm]`.
pub(crate) fn device(text: &str) -> Result<Value, String> {
    let fields: Vec<&str> = text.split(':').collect();
    let is_access =
        |field: &str| !field.is_empty() && field.chars().all(|letter| "rwm".contains(letter));
    let (host, container, access) = match fields.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, access] if is_access(access) => (*host, *host, *access),
        [host, container] => (*host, *container, "rwm"),
        [host, container, access] if is_access(access) => (*host, *container, *access),
        [_, _, access] => return Err(format!("bad mode specified: {access}")),
        _ => return Err(format!("bad format for path: {text}")),
    };
    for path in [host, container] {
        if !path.starts_with('/') {
            return Err(format!("{path} is not an absolute path"));
        }
    }
    Ok(json!({ "PathOnHost": host, "PathInContainer": container, "CgroupPermissions": access }))
}

/// `vendor.com/class=name` names a device of the Container Device Interface, not a file.
pub(crate) fn is_cdi(text: &str) -> bool {
    !text.starts_with('/')
        && text.split_once('=').is_some_and(|(kind, name)| {
            !name.is_empty()
                && kind
                    .split_once('/')
                    .is_some_and(|(vendor, class)| !vendor.is_empty() && !class.is_empty())
        })
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `name=soft[:hard]`.
pub(crate) fn ulimit(text: &str) -> Result<Value, String> {
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    if hard.contains(':') {
        return Err(format!(
            "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        ));
    }
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(json!({ "Name": name, "Soft": soft, "Hard": hard }))
}

/// `no`, `always`, `unless-stopped`, `on-failure[:n]`.
pub(crate) fn restart(text: &str) -> Result<Value, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if text.contains(':') && name.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let count: i64 = if count.is_empty() {
        0
    } else {
        count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?
    };
    Ok(json!({ "Name": name, "MaximumRetryCount": count }))
}

/// `/dev/x:value`.
fn of_device(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `/dev/x:10mb` of `--device-read-bps`.
pub(crate) fn bytes_rate(text: &str) -> Result<Value, String> {
    let (path, rate) = of_device(text)?;
    let rate = super::size::bytes(rate).map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    })?;
    Ok(json!({ "Path": path, "Rate": rate }))
}

/// `/dev/x:1000` of `--device-read-iops`.
pub(crate) fn operations_rate(text: &str) -> Result<Value, String> {
    let (path, rate) = of_device(text)?;
    let rate: u64 = rate.parse().map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
    })?;
    Ok(json!({ "Path": path, "Rate": rate }))
}

/// `/dev/x:500` of `--blkio-weight-device`.
pub(crate) fn weight(text: &str) -> Result<Value, String> {
    let (path, weight) = of_device(text)?;
    match weight.parse::<u16>() {
        Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => {
            Ok(json!({ "Path": path, "Weight": weight }))
        }
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

/// `c 1:3 rwm`.
pub(crate) fn cgroup_rule(text: &str) -> Result<String, String> {
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let fields: Vec<&str> = text.split(' ').collect();
    match fields.as_slice() {
        ["a" | "b" | "c", device, access]
            if device
                .split_once(':')
                .is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&access.len())
                && access.chars().all(|letter| "rwm".contains(letter)) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("invalid device cgroup format '{text}'")),
    }
}

/// `--cap-add` and `--cap-drop` in the names that engines know: sorted, adding wins over dropping, `ALL` over the rest.
pub(crate) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let named = |list: &[String]| {
        let mut names: Vec<String> = list
            .iter()
            .map(|name| name.trim().to_uppercase())
            .map(|name| match name.as_str() {
                "ALL" => name,
                known if known.starts_with("CAP_") => name,
                short => format!("CAP_{short}"),
            })
            .collect();
        names.sort();
        names.dedup();
        if names.iter().any(|name| name == "ALL") {
            names = vec!["ALL".to_owned()];
        }
        names
    };
    let (add, mut drop) = (named(add), named(drop));
    drop.retain(|name| !add.contains(name));
    (add, drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        assert_eq!(device("/dev/x").unwrap()["PathInContainer"], "/dev/x");
        assert_eq!(device("/dev/x:/dev/y:r").unwrap()["CgroupPermissions"], "r");
        assert_eq!(device("/dev/x:rw").unwrap()["CgroupPermissions"], "rw");
        for (text, why) in [
            ("/a:/b:q", "bad mode specified: q"),
            ("/a:/b:c:d", "bad format for path: /a:/b:c:d"),
            ("x", "x is not an absolute path"),
        ] {
            assert_eq!(device(text), Err(why.to_owned()));
        }
        assert!(is_cdi("vendor.com/class=name") && !is_cdi("/dev/x=y") && !is_cdi("x"));
        assert_eq!(cgroup_rule("c 1:* rwm"), Ok("c 1:* rwm".to_owned()));
        for text in ["foo", "c 1 r", "x 1:3 r", "c 1:3 q", "c 1:3 "] {
            assert!(cgroup_rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(
            ulimit("nofile=10:20").unwrap(),
            json!({"Name": "nofile", "Soft": 10, "Hard": 20})
        );
        for (text, why) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("foo=1", "invalid ulimit type: foo"),
            (
                "nofile=x",
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "nofile=20:10",
                "ulimit soft limit must be less than or equal to hard limit: 20 > 10",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(ulimit(text), Err(why.to_owned()));
        }
        assert_eq!(
            bytes_rate("/dev/sda:1mb").unwrap(),
            json!({"Path": "/dev/sda", "Rate": 1 << 20})
        );
        assert!(bytes_rate("sda:1").is_err() && bytes_rate("/dev/sda").is_err());
        assert!(operations_rate("/dev/sda:1mb").is_err() && weight("/dev/sda:5").is_err());
    }

    #[test]
    fn restart_policies() {
        for (text, name, count) in [
            ("always", "always", 0),
            ("on-failure:3", "on-failure", 3),
            ("on-failure:", "on-failure", 0),
        ] {
            assert_eq!(
                restart(text),
                Ok(json!({"Name": name, "MaximumRetryCount": count}))
            );
        }
        assert!(restart("on-failure:x").is_err() && restart(":").is_err());
    }

    #[test]
    fn capability_names() {
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            capabilities(
                &list(&["sys_time", "CAP_NET_ADMIN"]),
                &list(&["all", "KILL"])
            ),
            (list(&["CAP_NET_ADMIN", "CAP_SYS_TIME"]), list(&["ALL"]))
        );
        assert_eq!(
            capabilities(&list(&["kill"]), &list(&["CAP_KILL", "chown"])),
            (list(&["CAP_KILL"]), list(&["CAP_CHOWN"]))
        );
    }
}
