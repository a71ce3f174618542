//! Which options the local driver accepts.

use super::super::{DriverError, Limits, Options};

const KNOWN: [&str; 8] = [
    "type",
    "o",
    "device",
    "size",
    "soft-size",
    "inodes",
    "image",
    "pool",
];

/// Each option, and those that make no sense without it being there too.
const REQUIRED: [(&str, &[&str]); 3] = [
    ("type", &["device"]),
    ("device", &["type"]),
    ("o", &["device", "type"]),
];

pub(super) fn check(options: &Options) -> Result<(), DriverError> {
    if let Some(unknown) = options
        .keys()
        .find(|option| !KNOWN.contains(&option.as_str()))
    {
        return Err(DriverError::InvalidOption(unknown.clone()));
    }
    if let (Some("cifs"), Some(device)) = (
        options.get("type").map(String::as_str),
        options.get("device"),
    ) && host_of(device).is_some_and(|host| host.contains(':'))
    {
        return Err(DriverError::CifsPort);
    }
    let limits = limits(options)?;
    let soft = soft_size(options)?;
    // What is mounted there has a size of its own.
    if options.contains_key("device") && !(limits.is_none() && soft.is_none()) {
        return Err(DriverError::NoQuota);
    }
    if soft.is_some_and(|soft| limits.bytes.is_some_and(|bytes| soft > bytes)) {
        return Err(DriverError::SoftAboveSize);
    }
    if wants_image(options) && limits.bytes.is_none() {
        return Err(DriverError::ImageWithoutSize);
    }
    for (option, required) in REQUIRED {
        if options.contains_key(option)
            && let Some(missing) = required
                .iter()
                .find(|required| !options.contains_key(**required))
        {
            return Err(DriverError::MissingOption(missing));
        }
    }
    Ok(())
}

/// What a volume made with these options may hold. A size of 0 is none, as Docker has it.
pub(super) fn limits(options: &Options) -> Result<Limits, DriverError> {
    let inodes = options
        .get("inodes")
        .map(|text| {
            text.parse()
                .map_err(|_| DriverError::InvalidSize(text.clone()))
        })
        .transpose()?;
    Ok(Limits {
        bytes: size(options, "size")?,
        inodes: inodes.filter(|inodes| *inodes > 0),
    })
}

/// Beyond which bytes somebody is told.
pub(super) fn soft_size(options: &Options) -> Result<Option<u64>, DriverError> {
    size(options, "soft-size")
}

/// Whether a filesystem of the volume's own was asked for, whatever else could keep its limit.
pub(super) fn wants_image(options: &Options) -> bool {
    options.get("image").is_some_and(|word| word != "false")
}

fn size(options: &Options, key: &str) -> Result<Option<u64>, DriverError> {
    let Some(text) = options.get(key) else {
        return Ok(None);
    };
    let bytes = parse_size(text).ok_or_else(|| DriverError::InvalidSize(text.clone()))?;
    Ok((bytes > 0).then_some(bytes))
}

/// `host[:port]` of `//host[:port]/share`.
pub(super) fn host_of(device: &str) -> Option<&str> {
    let (_, rest) = device.split_once("//")?;
    rest.split('/').next().filter(|host| !host.is_empty())
}

/// What the largest filesystems hold.
const LARGEST: u64 = 1 << 60;

/// A number with an optional unit of 1024: `10`, `1.5g`, `512 MB`, `1GiB`; at most an exbibyte.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let part: u64 = match digits {
        0 => 0,
        // Not more than a product with the largest unit has room for.
        1..=4 if fraction.bytes().all(|byte| byte.is_ascii_digit()) => fraction.parse().ok()?,
        _ => return None,
    };
    let unit = 1_u64 << shift;
    let part = part.checked_mul(unit)? / 10_u64.pow(digits);
    let bytes = whole.checked_mul(unit)?.checked_add(part)?;
    (bytes <= LARGEST).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, &str)]) -> String {
        let options = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        check(&options)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn dockers_rules_and_words() {
        for (pairs, error) in [
            (&[][..], ""),
            (
                &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=10m")],
                "",
            ),
            (&[("type", "tmpfs"), ("device", "tmpfs")], ""),
            (&[("size", "0")], ""),
            (&[("color", "red")], "invalid option: \"color\""),
            (&[("type", "tmpfs")], "missing required option: \"device\""),
            (
                &[("device", "/dev/sda")],
                "missing required option: \"type\"",
            ),
            (&[("o", "ro")], "missing required option: \"device\""),
            (&[("size", "10G"), ("soft-size", "8G"), ("inodes", "9")], ""),
            (
                &[("size", "1g"), ("type", "tmpfs"), ("device", "tmpfs")],
                "quota size requested but no quota support",
            ),
            (&[("soft-size", "8G")], ""),
            (
                &[("soft-size", "8G"), ("size", "7G")],
                "a soft limit above the size is never crossed",
            ),
            (
                &[("soft-size", "1g"), ("type", "tmpfs"), ("device", "tmpfs")],
                "quota size requested but no quota support",
            ),
            (&[("image", "true")], "an image needs a size"),
            (&[("size", "much")], "invalid size: 'much'"),
            (
                &[("type", "cifs"), ("device", "//host:445/share")],
                "port not allowed in CIFS device URL, include 'port' in 'o='",
            ),
        ] {
            assert_eq!(words(pairs), error, "{pairs:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10", Some(10)),
            ("10k", Some(10 << 10)),
            ("512 MB", Some(512 << 20)),
            ("1GiB", Some(1 << 30)),
            ("1.5k", Some(1024 + 512)),
            ("1.25g", Some((1 << 30) + (1 << 28))),
            ("1.9999p", Some((1 << 50) + (9999 << 50) / 10_000)),
            ("1024p", Some(1 << 60)),
            ("1152921504606846977", None),
            ("1.5.3g", None),
            ("1.00001g", None),
            ("", None),
            ("k", None),
            ("1x", None),
            ("-1", None),
            ("99999999999p", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
