//! Through whom servers are reached that cannot be reached otherwise.

/// Proxies, as programs are told them by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `[http://][USER:PASSWORD@]HOST[:PORT]`, for servers with TLS.
    pub https: Option<String>,
    /// And for those without.
    pub http: Option<String>,
    /// Hosts that are reached directly, separated by commas: a name means the names below it, too, `*` every host. This host
    /// itself is always reached directly.
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
        proxy
            .filter(|proxy| !proxy.is_empty())
            .filter(|_| !self.is_excepted(host(authority)))
    }

    fn is_excepted(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
            return true;
        }
        self.except.split(',').map(str::trim).any(|entry| {
            let entry = entry.to_ascii_lowercase();
            let name = entry.trim_start_matches("*.").trim_start_matches('.');
            let below = host
                .strip_suffix(name)
                .is_some_and(|above| above.is_empty() || above.ends_with('.'));
            entry == "*" || (!name.is_empty() && below)
        })
    }
}

/// Without user and port.
fn host(authority: &str) -> &str {
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => place,
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
            except: " .example.org, 10.0.0.1,*.internal".to_owned(),
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
