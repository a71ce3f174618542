//! Through whom servers are reached that cannot be reached otherwise.
//!
//! Which servers need nobody is read as curl and programs in Go read `NO_PROXY`. A name is never looked up for that: networks
//! are for servers that are named by an address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Proxies, as programs are told them by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `[http://][USER:PASSWORD@]HOST[:PORT]`, for servers with TLS.
    pub https: Option<String>,
    /// And for those without.
    pub http: Option<String>,
    /// Hosts that are reached directly, separated by commas: names (and what is below them), addresses, networks
    /// (`10.0.0.0/8`), each with or without a port, and `*` for every host. This host itself is always reached directly.
    pub except: String,
}

impl Proxies {
    /// The proxy for what is at `url`, if there is one.
    pub(super) fn for_url(&self, url: &str) -> Option<&str> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next().unwrap_or_default();
        let proxy = match scheme {
            "https" => self.https.as_deref(),
            _ => self.http.as_deref(),
        };
        let (host, port) = divided(authority);
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        proxy
            .filter(|proxy| !proxy.is_empty())
            .filter(|_| !self.is_excepted(host, port))
    }

    fn is_excepted(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let address = address(&host);
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.except
            .split(',')
            .map(|entry| entry.trim().to_ascii_lowercase())
            .any(|entry| means(&entry, &host, address, port))
    }
}

/// Whether an entry of the list means the host.
fn means(entry: &str, host: &str, of_host: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return of_host.is_some_and(|address| network.contains(&address));
    }
    let (name, its_port) = divided(entry);
    if its_port.is_some_and(|its_port| its_port != port) {
        return false;
    }
    if let Some(named) = address(name) {
        return of_host == Some(named);
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.');
    let below = host
        .strip_suffix(name)
        .is_some_and(|above| above.is_empty() || above.ends_with('.'));
    !name.is_empty() && below
}

/// An address as it is compared: one of the old kind is written in two ways.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(['[', ']']);
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// Host and port, without user.
fn divided(authority: &str) -> (&str, Option<u16>) {
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    match place.rsplit_once(':') {
        // Colons belong to an address that stands without brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (host, None),
        },
        _ => (place, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_proxy_or_none() {
        let proxies = Proxies {
            https: Some("http://secure:3128".to_owned()),
            http: Some("plain:3128".to_owned()),
            except: " .example.org, 10.0.0.1,*.internal,172.16.0.0/12, 2001:db8:1::/48,store.example.net:9000,\
                     [2001:db8:2::1]:9000,10.0.0.0/33,,:80"
                .to_owned(),
        };
        for (url, proxy) in [
            ("https://s3.example.com/bucket", Some("http://secure:3128")),
            ("http://s3.example.com:9000", Some("plain:3128")),
            ("https://user@s3.example.org:9000/", None),
            ("https://example.org", None),
            ("https://badexample.org", Some("http://secure:3128")),
            ("http://10.0.0.1:80/", None),
            ("http://10.0.0.10/", Some("plain:3128")),
            ("https://a.INTERNAL", None),
            ("http://localhost:9000/", None),
            ("http://127.0.0.1:9000/", None),
            ("http://[::1]:9000/", None),
            ("http://[2001:db8::1]/", Some("plain:3128")),
            // Networks mean addresses, and are never asked for names.
            ("https://172.31.255.9:9000/b", None),
            ("https://172.32.0.1/", Some("http://secure:3128")),
            (
                "https://172.16.0.0.example.com/",
                Some("http://secure:3128"),
            ),
            ("http://[2001:db8:1:2::3]:80/", None),
            ("http://[::ffff:172.16.0.9]/", None),
            // A port means that port.
            ("https://store.example.net:9000/", None),
            ("https://a.store.example.net:9000/", None),
            ("https://store.example.net/", Some("http://secure:3128")),
            ("http://[2001:db8:2::1]:9000/", None),
            ("http://[2001:db8:2::1]/", Some("plain:3128")),
        ] {
            assert_eq!(proxies.for_url(url), proxy, "{url}");
        }
        let nobody = Proxies {
            except: "*".to_owned(),
            ..proxies
        };
        assert_eq!(nobody.for_url("https://example.com"), None);
        assert_eq!(Proxies::default().for_url("https://example.com"), None);
    }
}
