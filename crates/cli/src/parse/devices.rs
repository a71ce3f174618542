//! `--device`, `--ulimit`, `--restart`, `--tmpfs` and their like.

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
        _ => return Err(format!("invalid device specification: {text}")),
    };
    Ok(json!({ "PathOnHost": host, "PathInContainer": container, "CgroupPermissions": access }))
}

/// `name=soft[:hard]`.
pub(crate) fn ulimit(text: &str) -> Result<Value, String> {
    let invalid = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| {
        if text == "unlimited" {
            Ok(-1)
        } else {
            text.parse::<i64>().map_err(|_| invalid())
        }
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
    let count: i64 = match count {
        "" if text.ends_with(':') => {
            return Err(
                "invalid restart policy format: no policy provided before colon".to_owned(),
            );
        }
        "" => 0,
        count => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(json!({ "Name": name, "MaximumRetryCount": count }))
}

/// `path:rate`.
pub(crate) fn throttle(text: &str, bytes: bool) -> Result<Value, String> {
    let invalid = || format!("bad format: {text}");
    let (path, rate) = text.split_once(':').ok_or_else(invalid)?;
    let rate = if bytes {
        super::size::bytes(rate)?
    } else {
        rate.parse().map_err(|_| invalid())?
    };
    Ok(json!({ "Path": path, "Rate": rate }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(device("/dev/x").unwrap()["PathInContainer"], "/dev/x");
        assert_eq!(device("/dev/x:/dev/y:r").unwrap()["CgroupPermissions"], "r");
        assert_eq!(device("/dev/x:rw").unwrap()["CgroupPermissions"], "rw");
        assert!(device("/a:/b:q").is_err());
        assert_eq!(
            ulimit("nofile=10:20").unwrap(),
            json!({"Name": "nofile", "Soft": 10, "Hard": 20})
        );
        assert!(ulimit("nofile=20:10").is_err() && ulimit("nofile").is_err());
        assert_eq!(
            restart("on-failure:3").unwrap(),
            json!({"Name": "on-failure", "MaximumRetryCount": 3})
        );
        assert!(restart("on-failure:x").is_err());
    }
}
