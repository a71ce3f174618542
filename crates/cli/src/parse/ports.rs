//! `-p [ip:][host:]container[/protocol]`, with ranges, and `--expose`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// `PortBindings` and `ExposedPorts` of the API.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ports {
    pub(crate) bindings: BTreeMap<String, Vec<Value>>,
    pub(crate) exposed: BTreeMap<String, Value>,
}

impl Ports {
    /// Adds one `-p`.
    pub(crate) fn publish(&mut self, spec: &str) -> Result<(), String> {
        let spec_body = match spec.split_once('=') {
            Some(_) => long_form(spec)?,
            None => spec.to_owned(),
        };
        let (addresses, protocol) = spec_body.rsplit_once('/').unwrap_or((&spec_body, "tcp"));
        let (rest, container) = addresses.rsplit_once(':').unwrap_or(("", addresses));
        let (ip, host) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((ip, host)) => (ip, host.trim_start_matches(':')),
            None => rest.rsplit_once(':').unwrap_or(("", rest)),
        };
        let ip = ip.trim_start_matches('[').trim_end_matches(']');
        if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("invalid IP address: {ip}"));
        }
        if container.is_empty() {
            return Err(format!("no port specified: {spec_body}<empty>"));
        }
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(format!("invalid proto: {protocol}"));
        }
        let (first, last) =
            range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
        let host_range = match host {
            "" => None,
            host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
        };
        if let Some((low, high)) = host_range
            && high - low != last - first
            && first != last
        {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
        for (offset, port) in (first..=last).enumerate() {
            let host_port = match host_range {
                None => String::new(),
                // One container port, a choice of host ports.
                Some((low, high)) if first == last && low != high => format!("{low}-{high}"),
                Some((low, _)) => (usize::from(low) + offset).to_string(),
            };
            let key = format!("{port}/{protocol}");
            self.exposed.insert(key.clone(), json!({}));
            self.bindings
                .entry(key)
                .or_default()
                .push(json!({ "HostIp": ip, "HostPort": host_port }));
        }
        Ok(())
    }

    /// Adds one `--expose`.
    pub(crate) fn expose(&mut self, spec: &str) -> Result<(), String> {
        let (ports, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
        if ports.contains(':') {
            return Err(format!("invalid port format for --expose: {spec}"));
        }
        let (first, last) = range(ports).ok_or_else(|| {
            format!("invalid range format for --expose: {spec}, error: strconv.ParseUint: parsing \"{ports}\": invalid syntax")
        })?;
        for port in first..=last {
            self.exposed.insert(format!("{port}/{protocol}"), json!({}));
        }
        Ok(())
    }
}

/// `published=8080,target=80,protocol=tcp`.
fn long_form(spec: &str) -> Result<String, String> {
    let (mut published, mut target, mut protocol) =
        (String::new(), String::new(), "tcp".to_owned());
    for field in spec.split(',') {
        match field.split_once('=') {
            Some(("published", value)) => value.clone_into(&mut published),
            Some(("target", value)) => value.clone_into(&mut target),
            Some(("protocol", value)) => value.clone_into(&mut protocol),
            Some(("mode", "ingress" | "host")) => {}
            _ => return Err(format!("invalid field {field}")),
        }
    }
    Ok(if published.is_empty() {
        format!("{target}/{protocol}")
    } else {
        format!("{published}:{target}/{protocol}")
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(spec: &str) -> Result<Vec<(String, String, String)>, String> {
        let mut ports = Ports::default();
        ports.publish(spec)?;
        Ok(ports
            .bindings
            .into_iter()
            .flat_map(|(port, list)| {
                list.into_iter().map(move |binding| {
                    let text = |key: &str| binding[key].as_str().unwrap().to_owned();
                    (port.clone(), text("HostIp"), text("HostPort"))
                })
            })
            .collect())
    }

    #[test]
    fn publishing() {
        let one = |port: &str, ip: &str, host: &str| {
            vec![(port.to_owned(), ip.to_owned(), host.to_owned())]
        };
        assert_eq!(bindings("80"), Ok(one("80/tcp", "", "")));
        assert_eq!(bindings("8080:80"), Ok(one("80/tcp", "", "8080")));
        assert_eq!(
            bindings("127.0.0.1:8080:80/udp"),
            Ok(one("80/udp", "127.0.0.1", "8080"))
        );
        assert_eq!(
            bindings("127.0.0.1::80"),
            Ok(one("80/tcp", "127.0.0.1", ""))
        );
        assert_eq!(bindings("[::1]:8080:80"), Ok(one("80/tcp", "::1", "8080")));
        assert_eq!(bindings("8000-8001:80-81").unwrap().len(), 2);
        assert_eq!(bindings("8000-8010:80"), Ok(one("80/tcp", "", "8000-8010")));
        assert_eq!(
            bindings("published=8080,target=80"),
            Ok(one("80/tcp", "", "8080"))
        );
        for spec in ["", "x", "1:2:3:4", "80/foo", "8000-8002:80-81", "99999:80"] {
            assert!(bindings(spec).is_err(), "{spec}");
        }
    }
}
