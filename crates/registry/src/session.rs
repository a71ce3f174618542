//! One repository of one registry: requests with the right credentials, manifests, tags, configurations.
//!
//! How a registry wants to be asked is learnt from its greeting. A request that is refused all the same is repeated once,
//! with what its refusal asks for: tokens age.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::blob::digest;
use crate::cancel::Cancel;
use crate::challenge::Challenge;
use crate::client::{Access, Client};
use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::manifest::{ACCEPT, Descriptor, Fetched, MANIFEST_LIMIT, is_sha256};
use crate::name::{Repository, host_of_address};
use crate::transport::{Answer, Payload, Transport, shown};

/// Attempts at what may pass by itself.
pub(crate) const ATTEMPTS: u32 = 5;
const TOKEN_LIMIT: u64 = 1 << 20;
/// Tags that one repository may have.
const MAX_TAGS: usize = 100_000;
/// A token is renewed so long before it ends.
const MARGIN: Duration = Duration::from_secs(10);

/// Talks to one repository.
#[derive(Debug)]
pub struct Session<'a> {
    client: &'a Client,
    transport: Transport,
    base: String,
    repository: Repository,
    credentials: Option<Credentials>,
    scopes: Vec<String>,
    entrance: Mutex<Entrance>,
    /// Ends every request.
    pub(crate) cancel: Arc<Cancel>,
}

/// How the registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entrance {
    Open,
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        token: Option<(String, Instant)>,
    },
}

impl Entrance {
    fn of(challenges: &[Challenge]) -> Self {
        let bearer = challenges
            .iter()
            .find(|challenge| challenge.scheme == "bearer")
            .and_then(|challenge| {
                Some(Self::Bearer {
                    realm: challenge.get("realm")?.to_owned(),
                    service: challenge.get("service").map(str::to_owned),
                    token: None,
                })
            });
        let basic = challenges
            .iter()
            .any(|challenge| challenge.scheme == "basic");
        bearer.unwrap_or(if basic { Self::Basic } else { Self::Open })
    }
}

impl<'a> Session<'a> {
    pub(crate) fn greet(
        client: &'a Client,
        transport: Transport,
        base: &str,
        repository: &Repository,
        credentials: Option<Credentials>,
        access: &Access,
        cancel: &Arc<Cancel>,
    ) -> Result<Self, RegistryError> {
        let url = format!("{base}/v2/");
        let answer = transport.send(cancel, "GET", &url, &[], Payload::Nothing)?;
        let entrance = match answer.status {
            401 => Entrance::of(&answer.challenges()),
            // Some let nobody greet without a token, and yet show what is public.
            200..300 | 403 => Entrance::Open,
            _ => return Err(answer.into_error()),
        };
        let path = &repository.path;
        let scopes = match access {
            Access::Pull => vec![format!("repository:{path}:pull")],
            Access::Push { from } => std::iter::once(format!("repository:{path}:pull,push"))
                .chain(from.iter().map(|from| format!("repository:{from}:pull")))
                .collect(),
            Access::Catalogue => vec!["registry:catalog:*".to_owned()],
            Access::Login => Vec::new(),
        };
        Ok(Self {
            client,
            transport,
            base: base.to_owned(),
            repository: repository.clone(),
            credentials,
            scopes,
            entrance: Mutex::new(entrance),
            cancel: Arc::clone(cancel),
        })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The URL of something in the repository.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.repository.path)
    }

    /// A URL that the registry gave, which may be relative.
    pub(crate) fn resolve(&self, location: &str) -> String {
        if location.starts_with("http://") || location.starts_with("https://") {
            location.to_owned()
        } else {
            format!("{}/{}", self.base, location.trim_start_matches('/'))
        }
    }

    /// Any request with credentials. A payload that is a stream is sent once.
    pub(crate) fn send(
        &self,
        method: &'static str,
        url: &str,
        headers: &[(&str, &str)],
        payload: Payload,
    ) -> Result<Answer, RegistryError> {
        self.send_for(&self.cancel, method, url, headers, payload)
    }

    /// As [`Session::send`], for a part of what the session does: `cancel` is a child of the session's.
    pub(crate) fn send_for(
        &self,
        cancel: &Arc<Cancel>,
        method: &'static str,
        url: &str,
        headers: &[(&str, &str)],
        payload: Payload,
    ) -> Result<Answer, RegistryError> {
        let bytes = match payload {
            Payload::Stream { .. } => {
                return self.send_once(cancel, method, url, headers, payload);
            }
            Payload::Nothing => Vec::new(),
            Payload::Bytes(bytes) => bytes,
        };
        let again = |bytes: Vec<u8>| {
            if bytes.is_empty() {
                Payload::Nothing
            } else {
                Payload::Bytes(bytes)
            }
        };
        let answer = self.send_once(cancel, method, url, headers, again(bytes.clone()))?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let challenges = answer.challenges();
        let wanted = Entrance::of(&challenges);
        let insufficient = challenges
            .iter()
            .any(|challenge| challenge.get("error") == Some("insufficient_scope"));
        {
            let mut entrance = self.entrance.lock().unwrap_or_else(PoisonError::into_inner);
            // The same request with the same password, or another token for the same rights, would end alike.
            if wanted == Entrance::Open || *entrance == wanted || insufficient {
                return Ok(answer);
            }
            *entrance = wanted;
        }
        self.send_once(cancel, method, url, headers, again(bytes))
    }

    fn send_once(
        &self,
        cancel: &Arc<Cancel>,
        method: &'static str,
        url: &str,
        headers: &[(&str, &str)],
        payload: Payload,
    ) -> Result<Answer, RegistryError> {
        let authorization = self.authorization(cancel, method, url)?;
        let mut all = headers.to_vec();
        // What a registry names as the place of an upload may be another host.
        if let Some(value) = &authorization
            && host_of_address(url) == host_of_address(&self.base)
        {
            all.push(("Authorization", value));
        }
        self.transport.send(cancel, method, url, &all, payload)
    }

    fn authorization(
        &self,
        cancel: &Arc<Cancel>,
        method: &'static str,
        url: &str,
    ) -> Result<Option<String>, RegistryError> {
        if let Some(credentials) = &self.credentials
            && !credentials.registry_token.is_empty()
        {
            return Ok(Some(format!("Bearer {}", credentials.registry_token)));
        }
        // Held while a token is fetched: transfers beside each other need one, not three.
        let mut entrance = self.entrance.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *entrance {
            Entrance::Open => Ok(None),
            Entrance::Basic => match &self.credentials {
                Some(credentials) if !credentials.username.is_empty() => {
                    self.may_be_sent_to(&self.base)?;
                    Ok(Some(basic(credentials)))
                }
                _ => Err(RegistryError::NoCredentials(format!(
                    "{} \"{url}\"",
                    shown(method)
                ))),
            },
            Entrance::Bearer {
                realm,
                service,
                token,
            } => {
                if let Some((text, until)) = token
                    && Instant::now() + MARGIN < *until
                {
                    return Ok(Some(format!("Bearer {text}")));
                }
                let granted = self.fetch_token(cancel, realm, service.as_deref(), false)?;
                let header = format!("Bearer {}", granted.token);
                *token = Some((granted.token, granted.until));
                Ok(Some(header))
            }
        }
    }

    /// Passwords go over TLS, or to those who were declared insecure.
    fn may_be_sent_to(&self, url: &str) -> Result<(), RegistryError> {
        let plain = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        match plain {
            Some(registry) if !self.client.settings.is_insecure(registry) => {
                Err(RegistryError::Unencrypted(url.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn fetch_token(
        &self,
        cancel: &Arc<Cancel>,
        realm: &str,
        service: Option<&str>,
        offline: bool,
    ) -> Result<Granted, RegistryError> {
        if !realm.starts_with("https://") && !realm.starts_with("http://") {
            return Err(RegistryError::Answer {
                url: self.base.clone(),
                why: format!("\"{realm}\" is no address of a token service"),
            });
        }
        let host = realm.split('/').nth(2).unwrap_or_default();
        let transport = self.client.transport(host);
        let known = self
            .credentials
            .as_ref()
            .filter(|credentials| !credentials.is_empty());
        if known.is_some() {
            self.may_be_sent_to(realm)?;
        }
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(service.map(|service| ("service", service)));
        let answer = match known {
            Some(credentials) if !credentials.identity_token.is_empty() => {
                let scope = self.scopes.join(" ");
                fields.extend([
                    ("client_id", "orlop"),
                    ("grant_type", "refresh_token"),
                    ("refresh_token", credentials.identity_token.as_str()),
                ]);
                if !scope.is_empty() {
                    fields.push(("scope", &scope));
                }
                let form = form(&fields);
                transport.send(
                    cancel,
                    "POST",
                    realm,
                    &[("Content-Type", "application/x-www-form-urlencoded")],
                    Payload::Bytes(form.into_bytes()),
                )?
            }
            known => {
                fields.extend(self.scopes.iter().map(|scope| ("scope", scope.as_str())));
                if offline {
                    fields.extend([("offline_token", "true"), ("client_id", "orlop")]);
                }
                let header = known.map(basic);
                if let Some(credentials) = known {
                    fields.push(("account", &credentials.username));
                }
                let joint = if realm.contains('?') { '&' } else { '?' };
                let url = format!("{realm}{joint}{}", form(&fields));
                let headers: Vec<(&str, &str)> = header
                    .iter()
                    .map(|value| ("Authorization", value.as_str()))
                    .collect();
                transport.send(cancel, "GET", &url, &headers, Payload::Nothing)?
            }
        };
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let value = answer.json("a token", TOKEN_LIMIT)?;
        let text = |key: &str| {
            value[key]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let token = text("token")
            .or_else(|| text("access_token"))
            .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| RegistryError::Answer {
                url: realm.to_owned(),
                why: "authorization server did not include a token in the response".to_owned(),
            })?;
        // Docker's rule: a minute at least.
        let seconds = value["expires_in"].as_u64().unwrap_or(60).clamp(60, 86_400);
        Ok(Granted {
            token,
            until: Instant::now() + Duration::from_secs(seconds),
            refresh: text("refresh_token"),
        })
    }

    /// Whether the registry lets these credentials in; the refresh token that it may give in exchange.
    pub(crate) fn log_in(&self) -> Result<Option<String>, RegistryError> {
        let entrance = self
            .entrance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let url = format!("{}/v2/", self.base);
        let mut refresh = None;
        if let Entrance::Bearer { realm, service, .. } = &entrance {
            let granted = self.fetch_token(&self.cancel, realm, service.as_deref(), true)?;
            refresh = granted.refresh;
            *self.entrance.lock().unwrap_or_else(PoisonError::into_inner) = Entrance::Bearer {
                realm: realm.clone(),
                service: service.clone(),
                token: Some((granted.token, granted.until)),
            };
        }
        let answer = self.send_once(&self.cancel, "GET", &url, &[], Payload::Nothing)?;
        if answer.is_success() {
            return Ok(refresh);
        }
        let status = match answer.status {
            401 => "401 Unauthorized".to_owned(),
            403 => "403 Forbidden".to_owned(),
            other => other.to_string(),
        };
        Err(RegistryError::Login { url, status })
    }

    /// Repeats what may pass by itself.
    pub(crate) fn patiently<T>(
        cancel: &Cancel,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut count = 0;
        loop {
            match attempt() {
                Err(error) if error.is_passing() => {
                    count += 1;
                    if count >= ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(%error, count, "another attempt follows");
                    if cancel.pause(back_off(count)) {
                        return Err(RegistryError::Cancelled);
                    }
                }
                result => return result,
            }
        }
    }

    /// The manifest or index of a tag or digest. `name` is for messages.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] where there is none; [`RegistryError::TooLarge`]; [`RegistryError::Mismatch`] when the
    /// bytes do not have the digest.
    pub fn manifest(&self, reference: &str, name: &str) -> Result<Fetched, RegistryError> {
        let url = self.url(&format!("manifests/{reference}"));
        let what = format!("the manifest of {name}");
        let (media_type, told, bytes) = Self::patiently(&self.cancel, || {
            let answer = self.send("GET", &url, &[("Accept", ACCEPT)], Payload::Nothing)?;
            if !answer.is_success() {
                return Err(answer.into_error());
            }
            let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
            let media_type = header("Content-Type");
            let told = header("Docker-Content-Digest");
            Ok((media_type, told, answer.bytes(&what, MANIFEST_LIMIT)?))
        })?;
        let found = digest(&bytes);
        for expected in [reference, told.as_str()] {
            if is_sha256(expected) && expected != found {
                return Err(RegistryError::Mismatch {
                    what: format!("{what} does not have its digest"),
                    expected: expected.to_owned(),
                    got: found,
                });
            }
        }
        let media_type = media_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        Ok(Fetched {
            media_type,
            bytes,
            digest: found,
        })
    }

    /// A small blob, such as a configuration, whole.
    ///
    /// # Errors
    /// As [`Session::download`].
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > MANIFEST_LIMIT {
            return Err(RegistryError::TooLarge {
                what: format!("the configuration {}", descriptor.digest),
                limit: MANIFEST_LIMIT,
            });
        }
        let mut bytes = Vec::new();
        let sink = &mut |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok(())
        };
        self.download(
            &descriptor.digest,
            descriptor.size,
            &self.cancel,
            &mut io::empty(),
            sink,
        )?;
        Ok(bytes)
    }

    /// All tags of the repository.
    ///
    /// # Errors
    /// As the registry refuses.
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        self.pages(&self.url("tags/list?n=1000"), "tags", MAX_TAGS)
    }

    /// A list that comes in pages, each naming the next one in `Link`.
    pub(crate) fn pages(
        &self,
        first: &str,
        key: &str,
        most: usize,
    ) -> Result<Vec<String>, RegistryError> {
        let mut found: Vec<String> = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(url) = next.take() {
            let answer = self.send("GET", &url, &[], Payload::Nothing)?;
            if !answer.is_success() {
                return Err(answer.into_error());
            }
            let link = answer
                .header("Link")
                .filter(|link| link.contains("next"))
                .and_then(|link| link.split_once('<')?.1.split_once('>'))
                .map(|(url, _)| self.resolve(url));
            let value = answer.json("a list", MANIFEST_LIMIT)?;
            let before = found.len();
            found.extend(
                value[key]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned),
            );
            if found.len() > most {
                return Err(RegistryError::TooLarge {
                    what: format!("the list {first}"),
                    limit: most as u64,
                });
            }
            // A page with nothing new would lead in circles.
            next = link.filter(|_| found.len() > before);
        }
        Ok(found)
    }
}

struct Granted {
    token: String,
    until: Instant,
    refresh: Option<String>,
}

/// Before attempt `count + 1`.
pub(crate) fn back_off(count: u32) -> Duration {
    Duration::from_millis(100 << count.min(6))
}

fn basic(credentials: &Credentials) -> String {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    format!("Basic {}", STANDARD.encode(pair))
}

/// `key=value&…`, percent-encoded.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (key, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(char::from(byte));
                }
                _ => write!(text, "%{byte:02X}").expect("writing to a string"),
            }
        }
    }
    text
}
