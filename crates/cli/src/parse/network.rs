//! `--network`: a name, or `name=…,alias=…,ip=…`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One network to connect to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) ip: Option<String>,
    pub(crate) ip6: Option<String>,
    pub(crate) link_local: Vec<String>,
    pub(crate) mac: Option<String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) priority: Option<i64>,
}

impl Attachment {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut one = Self::default();
        if !text.contains('=') {
            text.clone_into(&mut one.name);
            return Ok(one);
        }
        for field in text.split(',') {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("invalid field {field}"))?;
            let key = key.trim().to_lowercase();
            match key.as_str() {
                "name" => value.clone_into(&mut one.name),
                "alias" => one.aliases.push(value.to_owned()),
                "ip" => one.ip = Some(value.to_owned()),
                "ip6" => one.ip6 = Some(value.to_owned()),
                "link-local-ip" => one.link_local.push(value.to_owned()),
                "mac-address" => one.mac = Some(value.to_owned()),
                "driver-opt" => {
                    let (name, value) = value.split_once('=').ok_or_else(|| {
                        "invalid key value pair format in driver options".to_owned()
                    })?;
                    one.options
                        .insert(name.trim().to_lowercase(), value.to_owned());
                }
                "gw-priority" => {
                    let number = value
                        .parse()
                        .map_err(|_| format!("invalid gw-priority ({value})"))?;
                    one.priority = Some(number);
                }
                _ => return Err(format!("invalid field key {key}")),
            }
        }
        if one.name.is_empty() {
            return Err("network name/id is not specified".to_owned());
        }
        Ok(one)
    }

    /// A network of the user's making: only there aliases mean something.
    pub(crate) fn is_user_defined(&self) -> bool {
        !matches!(
            self.name.as_str(),
            "" | "default" | "bridge" | "host" | "none"
        ) && !self.name.starts_with("container:")
    }

    /// `EndpointSettings` of the API.
    pub(crate) fn settings(&self) -> Value {
        let mut settings = Map::new();
        let mut set = |key: &str, value: Value| {
            settings.insert(key.to_owned(), value);
        };
        if !self.aliases.is_empty() {
            set("Aliases", json!(self.aliases));
        }
        if !self.links.is_empty() {
            set("Links", json!(self.links));
        }
        if !self.options.is_empty() {
            set("DriverOpts", json!(self.options));
        }
        if let Some(mac) = &self.mac {
            set("MacAddress", json!(mac));
        }
        if let Some(priority) = self.priority {
            set("GwPriority", json!(priority));
        }
        let mut addresses = Map::new();
        if let Some(ip) = &self.ip {
            addresses.insert("IPv4Address".to_owned(), json!(ip));
        }
        if let Some(ip) = &self.ip6 {
            addresses.insert("IPv6Address".to_owned(), json!(ip));
        }
        if !self.link_local.is_empty() {
            addresses.insert("LinkLocalIPs".to_owned(), json!(self.link_local));
        }
        if !addresses.is_empty() {
            set("IPAMConfig", Value::Object(addresses));
        }
        Value::Object(settings)
    }
}

/// `--add-host name:ip` or `name=ip`, in the API's form.
pub(crate) fn extra_host(text: &str) -> Result<String, String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("bad format for add-host: \"{text}\""))?;
    let address = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: \"{address}\""));
    }
    Ok(format!("{name}:{address}"))
}

/// `--dns`.
pub(crate) fn address(text: &str) -> Result<String, String> {
    match text.trim().parse::<std::net::IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// `--mac-address`.
pub(crate) fn mac(text: &str) -> Result<String, String> {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    let valid = matches!(bytes.len(), 6 | 8 | 20)
        && bytes
            .iter()
            .all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok());
    if valid {
        Ok(text.trim().to_owned())
    } else {
        Err(format!("{text} is not a valid mac address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let one = Attachment::parse("name=n1,alias=x,driver-opt=a=b,ip=1.2.3.4").unwrap();
        assert_eq!(one.name, "n1");
        assert_eq!(
            one.settings(),
            json!({"Aliases": ["x"], "DriverOpts": {"a": "b"}, "IPAMConfig": {"IPv4Address": "1.2.3.4"}})
        );
        assert_eq!(Attachment::parse("host").unwrap().settings(), json!({}));
        for (name, is) in [("n1", true), ("bridge", false), ("container:x", false)] {
            assert_eq!(Attachment::parse(name).unwrap().is_user_defined(), is);
        }
        for text in ["alias=x", "name=a,foo=b", "name=a,b", "name=a,driver-opt=x"] {
            assert!(Attachment::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        for (text, host) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("b=1.2.3.5", "b:1.2.3.5"),
            ("h:host-gateway", "h:host-gateway"),
            ("s:::1", "s:::1"),
            ("s=[::1]", "s:::1"),
        ] {
            assert_eq!(extra_host(text), Ok(host.to_owned()));
        }
        assert!(extra_host("a").is_err() && extra_host("a:b").is_err());
        assert!(address("8.8.8.8").is_ok() && address("x").is_err());
        assert!(mac("92:d0:c6:0a:29:33").is_ok() && mac("xx").is_err());
    }
}
