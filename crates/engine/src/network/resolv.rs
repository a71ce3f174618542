//! Content of a container's /etc/resolv.conf, from the host's by Docker's rules.
//!
//! Nameservers on a loopback address cannot be reached from a container and are left out. When none is left, Google's
//! stand in, as with Docker. A host that runs systemd-resolved keeps the real ones in another file.

use std::fmt::Write as _;
use std::net::IpAddr;

use shim_protocol::spec::Upstream;

const HOST_FILE: &str = "/etc/resolv.conf";
const BEHIND_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";
const SYSTEMD_STUB: &str = "127.0.0.53";
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
const FALLBACK6: [&str; 2] = ["2001:4860:4860::8888", "2001:4860:4860::8844"];

/// What a container's options say about name resolution.
#[derive(Debug, Clone, Default)]
pub struct ResolvInput {
    /// The container shares the host's network: its loopback nameservers work.
    pub host_network: bool,
    /// The container is on a network with names: it asks its own resolver, which asks the others.
    pub resolver: bool,
    /// `--dns`: instead of the host's.
    pub nameservers: Vec<String>,
    /// `--dns-search`: instead of the host's; `.` alone means none.
    pub search: Vec<String>,
    /// `--dns-option`: instead of the host's.
    pub options: Vec<String>,
}

/// Content of the file, and what a resolver inside has to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolving {
    pub text: String,
    /// Whom the resolver asks.
    pub upstream: Vec<Upstream>,
    /// Names without a dot are passed on, too.
    pub forward_single: bool,
}

/// Where a container on a network with names asks.
const RESOLVER: &str = "127.0.0.11";

/// An unreadable file of the host counts as empty.
pub fn resolv_conf(input: &ResolvInput) -> Resolving {
    let mut host = std::fs::read_to_string(HOST_FILE).unwrap_or_default();
    if nameservers(&host) == [SYSTEMD_STUB] && !input.host_network {
        // Without the other file the stub is all there is; it is left out below.
        host = std::fs::read_to_string(BEHIND_SYSTEMD).unwrap_or(host);
    }
    let ipv6 = super::bridge::ipv6_usable().unwrap_or(false);
    if input.resolver {
        return behind(&host, input, ipv6);
    }
    Resolving {
        text: compose(&host, input, ipv6),
        ..Resolving::default()
    }
}

/// The resolver reaches the host's name servers, on loopback, too; those of the user's choice are the container's to reach.
fn behind(host: &str, input: &ResolvInput, ipv6: bool) -> Resolving {
    let upstream = |address: &str, from_host| Upstream {
        address: address.to_owned(),
        from_host,
    };
    let given = input.nameservers.iter();
    let mut servers: Vec<Upstream> = given.map(|server| upstream(server, false)).collect();
    if servers.is_empty() {
        let hosts = nameservers(host).into_iter();
        servers.extend(hosts.map(|server| upstream(server, true)));
    }
    let text = compose(
        host,
        &ResolvInput {
            nameservers: vec![RESOLVER.to_owned()],
            ..input.clone()
        },
        ipv6,
    );
    let options = |line: &str| line.strip_prefix("options ").map(str::to_owned);
    let known = text.lines().find_map(options).unwrap_or_default();
    let ndots = known
        .split_whitespace()
        .find_map(|option| option.strip_prefix("ndots:"));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if ndots.is_none() {
        match lines.iter_mut().find(|line| line.starts_with("options ")) {
            Some(line) => line.push_str(" ndots:0"),
            None => lines.push("options ndots:0".to_owned()),
        }
    }
    Resolving {
        text: lines.iter().map(|line| format!("{line}\n")).collect(),
        upstream: servers,
        forward_single: ndots.is_none_or(|ndots| ndots == "0"),
    }
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    let (keyword, rest) = line
        .split_once(|separator: char| separator.is_ascii_whitespace())
        .unwrap_or((line, ""));
    Some((keyword, rest.trim()))
}

fn nameservers(host: &str) -> Vec<&str> {
    let directives = host.lines().filter_map(directive);
    directives
        .filter(|(keyword, _)| *keyword == "nameserver")
        .map(|(_, value)| value)
        .collect()
}

/// The last one counts, as for the C library; `domain` is a search list of one.
fn last<'a>(host: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let directives = host.lines().filter_map(directive);
    directives
        .filter(|(keyword, _)| keywords.contains(keyword))
        .map(|(_, value)| value)
        .next_back()
}

fn reachable(nameserver: &str, ipv6: bool) -> bool {
    let address = nameserver.split('%').next().unwrap_or(nameserver);
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => !address.is_loopback(),
        Ok(IpAddr::V6(address)) => ipv6 && !address.is_loopback() && !nameserver.contains('%'),
        Err(_) => false,
    }
}

fn compose(host: &str, input: &ResolvInput, ipv6: bool) -> String {
    let untouched =
        input.nameservers.is_empty() && input.search.is_empty() && input.options.is_empty();
    if input.host_network && untouched {
        return host.to_owned();
    }
    let mut servers: Vec<&str> = input.nameservers.iter().map(String::as_str).collect();
    if servers.is_empty() {
        servers = nameservers(host);
        if !input.host_network {
            servers.retain(|server| reachable(server, ipv6));
            if servers.is_empty() {
                servers.extend(FALLBACK);
                if ipv6 {
                    servers.extend(FALLBACK6);
                }
            }
        }
    }
    let given = |list: &[String]| (!list.is_empty()).then(|| list.join(" "));
    let search = match given(&input.search) {
        Some(list) if list == "." => None,
        Some(list) => Some(list),
        None => last(host, &["search", "domain"]).map(str::to_owned),
    };
    let options = given(&input.options).or_else(|| last(host, &["options"]).map(str::to_owned));
    let mut text = String::new();
    for server in servers {
        line(&mut text, "nameserver", server);
    }
    for (keyword, value) in [("search", search), ("options", options)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            line(&mut text, keyword, &value);
        }
    }
    for (keyword, value) in host.lines().filter_map(directive) {
        if !["nameserver", "search", "domain", "options"].contains(&keyword) {
            line(&mut text, keyword, value);
        }
    }
    text
}

fn line(text: &mut String, keyword: &str, value: &str) {
    writeln!(text, "{keyword} {value}").expect("strings grow");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn from_the_hosts_file() {
        let table = [
            (
                "# mine\nsearch example.com  corp\nnameserver 192.0.2.1\nnameserver 127.0.0.1\noptions ndots:2\n",
                false,
                "nameserver 192.0.2.1\nsearch example.com corp\noptions ndots:2\n",
            ),
            (
                "nameserver 127.0.0.53\n",
                false,
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
            ),
            (
                "",
                true,
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n",
            ),
            (
                "nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver\t10.0.0.1\n",
                true,
                "nameserver 2001:db8::1\nnameserver 10.0.0.1\n",
            ),
            (
                "nameserver 2001:db8::1\nnameserver 10.0.0.1",
                false,
                "nameserver 10.0.0.1\n",
            ),
            (
                "domain a.test\nsortlist 10.0.0.0\nnameserver 10.0.0.1\n",
                false,
                "nameserver 10.0.0.1\nsearch a.test\nsortlist 10.0.0.0\n",
            ),
        ];
        for (host, ipv6, expected) in table {
            // Runs of blanks inside a value are the resolver's business.
            let text = compose(host, &ResolvInput::default(), ipv6).replace("  ", " ");
            assert_eq!(text, expected, "{host}");
        }
    }

    #[test]
    fn options_replace_the_hosts() {
        let host = "nameserver 10.0.0.1\nsearch a b\noptions ndots:2\n";
        let mut input = ResolvInput {
            nameservers: strings(&["127.0.0.1", "1.1.1.1"]),
            search: strings(&["."]),
            options: strings(&["timeout:1", "rotate"]),
            ..ResolvInput::default()
        };
        let expected = "nameserver 127.0.0.1\nnameserver 1.1.1.1\noptions timeout:1 rotate\n";
        assert_eq!(compose(host, &input, false), expected);
        input.search = strings(&["x.test", "y.test"]);
        assert!(compose(host, &input, false).contains("search x.test y.test\n"));
    }

    #[test]
    fn a_resolver_of_the_containers_own_asks_the_others() {
        let mut input = ResolvInput {
            resolver: true,
            ..ResolvInput::default()
        };
        let host = "nameserver 127.0.0.1\nnameserver 10.0.0.1\nsearch a\n";
        let found = behind(host, &input, false);
        assert_eq!(
            found.text,
            "nameserver 127.0.0.11\nsearch a\noptions ndots:0\n"
        );
        let asked: Vec<(&str, bool)> = (found.upstream.iter())
            .map(|server| (server.address.as_str(), server.from_host))
            .collect();
        assert_eq!(asked, [("127.0.0.1", true), ("10.0.0.1", true)]);
        assert!(found.forward_single);
        input.nameservers = strings(&["1.1.1.1"]);
        input.options = strings(&["ndots:2", "rotate"]);
        let found = behind(host, &input, false);
        assert!(found.text.contains("options ndots:2 rotate\n"));
        assert!(!found.forward_single && !found.upstream[0].from_host);
    }

    #[test]
    fn the_hosts_network_keeps_the_hosts_file() {
        let host = "# stub\nnameserver 127.0.0.53\noptions edns0\n";
        let mut input = ResolvInput {
            host_network: true,
            ..ResolvInput::default()
        };
        assert_eq!(compose(host, &input, false), host);
        input.search = strings(&["z"]);
        assert_eq!(
            compose(host, &input, false),
            "nameserver 127.0.0.53\nsearch z\noptions edns0\n"
        );
    }
}
