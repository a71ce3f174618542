//! Content of a container's /etc/hosts.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::NetworkError;

const HOST_FILE: &str = "/etc/hosts";

const ALWAYS: &str = "\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// What is known about a container's names and neighbours.
#[derive(Debug, Clone, Default)]
pub struct HostsInput {
    /// The container shares the host's network, and so the host's file.
    pub host_network: bool,
    /// Its own, of all its networks.
    pub addresses: Vec<String>,
    pub hostname: String,
    pub domainname: String,
    /// What `host-gateway` stands for; empty without a network.
    pub gateway: String,
    /// `--add-host`: `name:address` or `name=address`.
    pub extra: Vec<String>,
    /// Addresses of other containers with their names.
    pub others: Vec<(String, Vec<String>)>,
}

/// The file's content. An unreadable file of the host counts as empty.
///
/// # Errors
/// [`NetworkError::InvalidExtraHost`] and [`NetworkError::NoHostGateway`].
pub fn hosts(input: &HostsInput) -> Result<String, NetworkError> {
    let host = input
        .host_network
        .then(|| std::fs::read_to_string(HOST_FILE).unwrap_or_default());
    compose(host.as_deref(), input)
}

fn compose(host: Option<&str>, input: &HostsInput) -> Result<String, NetworkError> {
    let mut text = host.unwrap_or(ALWAYS).to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for entry in &input.extra {
        let (name, address) = extra(entry, input)?;
        line(&mut text, &address, &[&name]);
    }
    for (address, names) in &input.others {
        let mut distinct: Vec<&str> = Vec::new();
        for name in names {
            if !name.is_empty() && !distinct.contains(&name.as_str()) {
                distinct.push(name);
            }
        }
        line(&mut text, address, &distinct);
    }
    if host.is_none() && !input.hostname.is_empty() {
        let full = format!("{}.{}", input.hostname, input.domainname);
        let names: &[&str] = if input.domainname.is_empty() {
            &[&input.hostname]
        } else {
            &[&full, &input.hostname]
        };
        for address in &input.addresses {
            line(&mut text, address, names);
        }
    }
    Ok(text)
}

fn line(text: &mut String, address: &str, names: &[&str]) {
    if !address.is_empty() && !names.is_empty() {
        writeln!(text, "{address}\t{}", names.join(" ")).expect("strings grow");
    }
}

/// Name and address of an `--add-host`. The name has no colon, an IPv6 address does.
fn extra(entry: &str, input: &HostsInput) -> Result<(String, String), NetworkError> {
    let invalid = || NetworkError::InvalidExtraHost(entry.to_owned());
    let (name, address) = entry
        .split_once(['=', ':'])
        .filter(|(name, address)| !name.is_empty() && !address.is_empty())
        .ok_or_else(invalid)?;
    if address == "host-gateway" {
        let gateway = match (input.gateway.as_str(), input.host_network) {
            ("", true) => "127.0.0.1",
            ("", false) => return Err(NetworkError::NoHostGateway),
            (gateway, _) => gateway,
        };
        return Ok((name.to_owned(), gateway.to_owned()));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    let address: IpAddr = bare.parse().map_err(|_| invalid())?;
    Ok((name.to_owned(), address.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> HostsInput {
        HostsInput {
            addresses: vec!["172.17.0.2".to_owned()],
            hostname: "web".to_owned(),
            gateway: "172.17.0.1".to_owned(),
            ..HostsInput::default()
        }
    }

    #[test]
    fn own_name_others_and_extra_hosts() {
        let input = HostsInput {
            addresses: vec!["172.17.0.2".to_owned(), "fd00::2".to_owned()],
            domainname: "example.com".to_owned(),
            extra: [
                "db:10.0.0.5",
                "up=host-gateway",
                "six:2001:db8::1",
                "b=[::1]",
            ]
            .map(str::to_owned)
            .to_vec(),
            others: vec![(
                "172.17.0.3".to_owned(),
                ["cache", "0123456789ab", "cache"]
                    .map(str::to_owned)
                    .to_vec(),
            )],
            ..input()
        };
        let expected = format!(
            "{ALWAYS}10.0.0.5\tdb\n172.17.0.1\tup\n2001:db8::1\tsix\n::1\tb\n\
             172.17.0.3\tcache 0123456789ab\n172.17.0.2\tweb.example.com web\nfd00::2\tweb.example.com web\n"
        );
        assert_eq!(compose(None, &input).unwrap(), expected);
    }

    #[test]
    fn without_a_network_there_is_only_localhost() {
        let input = HostsInput {
            addresses: Vec::new(),
            gateway: String::new(),
            ..input()
        };
        assert_eq!(compose(None, &input).unwrap(), ALWAYS);
    }

    #[test]
    fn the_hosts_file_is_extended() {
        let input = HostsInput {
            host_network: true,
            gateway: String::new(),
            extra: vec!["up:host-gateway".to_owned()],
            ..input()
        };
        let text = compose(Some("127.0.0.1 localhost\n1.2.3.4 me"), &input).unwrap();
        assert_eq!(text, "127.0.0.1 localhost\n1.2.3.4 me\n127.0.0.1\tup\n");
    }

    #[test]
    fn malformed_extra_hosts() {
        for entry in ["", "x", "x:", ":1.2.3.4", "x:1.2.3", "x:y"] {
            let input = HostsInput {
                extra: vec![entry.to_owned()],
                ..input()
            };
            let error = compose(None, &input).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid add-host: \"{entry}\""));
        }
        let input = HostsInput {
            extra: vec!["x:host-gateway".to_owned()],
            ..HostsInput::default()
        };
        assert!(matches!(
            compose(None, &input),
            Err(NetworkError::NoHostGateway)
        ));
    }
}
