//! What older versions of the API did not know, and newer ones no longer show: one table.
//!
//! Handlers know the newest version only. Before one is called, parameters and fields of the request that its client's
//! version does not have are taken away, as Docker ignores them; afterwards fields of the answer. A client of 1.24 so
//! gets the behaviour of 1.24 from code that has never heard of it.

use api::version::ApiVersion;
use hyper::Method;
use serde_json::{Value, json};

use crate::errors::Refusal;

/// One difference between versions of one route.
pub(crate) struct Gate {
    method: Method,
    path: &'static str,
    what: What,
}

/// A path of fields is separated by dots; `[]` stands for each item of a list or each value of a map.
pub(crate) enum What {
    /// A parameter of the query, and the version that brought it.
    Parameter(&'static str, u16),
    /// A field of the request's body, and the version that brought it.
    Field(&'static str, u16),
    /// A field of the request's body, and the version that dropped it.
    FieldUntil(&'static str, u16),
    /// A field of the answer, and the version that brought it.
    Shown(&'static str, u16),
    /// A field of the answer, and the version that dropped it.
    ShownUntil(&'static str, u16),
    /// A field that only answers before this version have: always this value.
    Ghost(&'static str, u16, fn() -> Value),
    /// The request of a version before this one is turned into what the present one would say.
    Reading(
        u16,
        #[cfg_attr(not(test), expect(dead_code, reason = "the page is made by a test"))]
        &'static str,
        fn(&mut Value, ApiVersion) -> Result<(), Refusal>,
    ),
}

use What::{Field, FieldUntil, Ghost, Parameter, Reading, Shown, ShownUntil};

macro_rules! gates {
    ($($method:ident $path:literal: $($what:expr),+;)*) => {
        &[$($(Gate { method: Method::$method, path: $path, what: $what }),+),*]
    };
}

/// Docker's differences, as far as they touch what is served here.
pub(crate) const GATES: &[Gate] = gates! {
    POST "/containers/create":
        Parameter("platform", 41),
        Field("HostConfig.AutoRemove", 25),
        Field("HostConfig.DeviceRequests", 40),
        Reading(40, "an empty `HostConfig.IpcMode` means `shareable`", shareable),
        FieldUntil("HostConfig.KernelMemory", 42),
        Field("HostConfig.ConsoleSize", 42),
        Field("HostConfig.Annotations", 43),
        Field("Healthcheck.StartInterval", 44),
        Field("NetworkingConfig.EndpointsConfig.[].MacAddress", 44),
        Reading(44, "more than one endpoint is refused", one_endpoint),
        Field("NetworkingConfig.EndpointsConfig.[].GwPriority", 48),
        Reading(48, "mounts are read as that version read them", mounts);
    POST "/containers/{}/update":
        Field("PidsLimit", 40),
        FieldUntil("KernelMemory", 42);
    POST "/containers/{}/stop": Parameter("signal", 42);
    POST "/containers/{}/restart": Parameter("signal", 42);
    POST "/containers/{}/wait": Parameter("condition", 30);
    GET "/containers/{}/stats": Parameter("one-shot", 41);
    POST "/containers/{}/exec":
        Field("Env", 25),
        Field("WorkingDir", 35),
        Field("ConsoleSize", 42);
    POST "/exec/{}/start": Field("ConsoleSize", 42);
    GET "/images/json":
        Parameter("shared-size", 42),
        ShownUntil("[].VirtualSize", 44);
    GET "/images/{...}/json":
        ShownUntil("VirtualSize", 44),
        Ghost("Container", 45, || json!("")),
        ShownUntil("Config.Hostname", 50),
        ShownUntil("Config.Domainname", 50),
        ShownUntil("Config.AttachStdin", 50),
        ShownUntil("Config.AttachStdout", 50),
        ShownUntil("Config.AttachStderr", 50),
        ShownUntil("Config.Tty", 50),
        ShownUntil("Config.OpenStdin", 50),
        ShownUntil("Config.StdinOnce", 50),
        ShownUntil("Config.Image", 50),
        ShownUntil("Config.NetworkDisabled", 50),
        ShownUntil("Config.MacAddress", 50),
        ShownUntil("Config.StopTimeout", 50);
    GET "/system/df":
        Parameter("type", 42),
        Shown("BuildCache.[].Parents", 42),
        ShownUntil("BuildCache.[].Parent", 42),
        ShownUntil("BuilderSize", 42),
        ShownUntil("Images.[].VirtualSize", 44);
    GET "/info":
        Shown("PidsLimit", 40),
        Shown("CgroupVersion", 41),
        Shown("DefaultAddressPools", 41),
        Ghost("KernelMemory", 42, || json!(false)),
        Ghost("KernelMemoryTCP", 42, || json!(false)),
        Shown("CDISpecDirs", 44),
        Shown("FirewallBackend", 49),
        Ghost("BridgeNfIptables", 50, || json!(false)),
        Ghost("BridgeNfIp6tables", 50, || json!(false)),
        Shown("DiscoveredDevices", 50);
};

/// Multiplexed streams have a media type of their own from this version on.
pub(crate) const MULTIPLEXED_TYPE: ApiVersion = ApiVersion::v1(42);

/// `attach/ws` chooses its streams by parameters from this version on; before it carries them all.
pub(crate) const WEBSOCKET_STREAMS: ApiVersion = ApiVersion::v1(42);

/// The gates of one route that matter to one version.
#[derive(Clone, Copy)]
pub(crate) struct Gates {
    method: &'static Method,
    path: &'static str,
    version: ApiVersion,
}

impl Gates {
    pub(crate) fn new(method: &'static Method, path: &'static str, version: ApiVersion) -> Self {
        Self {
            method,
            path,
            version,
        }
    }

    fn here(self) -> impl Iterator<Item = &'static What> {
        GATES
            .iter()
            .filter(move |gate| gate.path == self.path && gate.method == *self.method)
            .map(|gate| &gate.what)
    }

    fn before(self, minor: u16) -> bool {
        self.version < ApiVersion::v1(minor)
    }

    /// Takes parameters away that the version does not have.
    pub(crate) fn query(self, query: &mut Vec<(String, String)>) {
        for what in self.here() {
            if let Parameter(name, since) = what
                && self.before(*since)
            {
                query.retain(|(known, _)| known != name);
            }
        }
    }

    /// Makes the body of a request what the newest version would say.
    pub(crate) fn request(self, body: &mut Value) -> Result<(), Refusal> {
        for what in self.here() {
            match what {
                Field(path, since) if self.before(*since) => remove(body, path),
                FieldUntil(path, until) if !self.before(*until) => remove(body, path),
                Reading(until, _, change) if self.before(*until) => change(body, self.version)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether [`Gates::answer`] would change anything.
    pub(crate) fn change_answers(self) -> bool {
        self.here().any(|what| self.changes(what))
    }

    fn changes(self, what: &What) -> bool {
        match what {
            Shown(_, since) => self.before(*since),
            ShownUntil(_, until) => !self.before(*until),
            Ghost(_, until, _) => self.before(*until),
            Parameter(..) | Field(..) | FieldUntil(..) | Reading(..) => false,
        }
    }

    /// Makes the newest version's answer what this version's was.
    pub(crate) fn answer(self, answer: &mut Value) {
        for what in self.here().filter(|what| self.changes(what)) {
            match what {
                Shown(path, _) | ShownUntil(path, _) => remove(answer, path),
                Ghost(field, _, value) => {
                    if let Value::Object(fields) = answer {
                        fields.insert((*field).to_owned(), value());
                    }
                }
                Parameter(..) | Field(..) | FieldUntil(..) | Reading(..) => {}
            }
        }
    }
}

/// Removes the field at `path`, wherever it is.
fn remove(value: &mut Value, path: &str) {
    let Some((first, rest)) = path.split_once('.') else {
        if let Value::Object(fields) = value {
            fields.remove(path);
        }
        return;
    };
    match (first, value) {
        ("[]", Value::Array(items)) => items.iter_mut().for_each(|item| remove(item, rest)),
        ("[]", Value::Object(fields)) => fields.values_mut().for_each(|item| remove(item, rest)),
        (name, Value::Object(fields)) => {
            if let Some(field) = fields.get_mut(name) {
                remove(field, rest);
            }
        }
        _ => {}
    }
}

fn shareable(body: &mut Value, _: ApiVersion) -> Result<(), Refusal> {
    let host = body
        .as_object_mut()
        .map(|fields| fields.entry("HostConfig").or_insert_with(|| json!({})));
    let Some(host) = host.and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let given = host.get("IpcMode").and_then(Value::as_str);
    if given.is_none_or(str::is_empty) {
        host.insert("IpcMode".to_owned(), json!("shareable"));
    }
    Ok(())
}

fn one_endpoint(body: &mut Value, _: ApiVersion) -> Result<(), Refusal> {
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object();
    match endpoints {
        Some(endpoints) if endpoints.len() > 1 => {
            let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            Err(Refusal::invalid(format!(
                "Container cannot be connected to network endpoints: {}",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

fn mounts(body: &mut Value, version: ApiVersion) -> Result<(), Refusal> {
    let before = |minor| version < ApiVersion::v1(minor);
    let mounts = body
        .get_mut("HostConfig")
        .and_then(|host| host.get_mut("Mounts"))
        .and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        let Some(mount) = mount.as_object_mut() else {
            return Err(Refusal::invalid("invalid JSON: a mount is an object"));
        };
        let kind = mount
            .get("Type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let readonly = mount.get("ReadOnly") == Some(&Value::Bool(true));
        if before(42) {
            for (block, owner) in [
                ("BindOptions", "bind"),
                ("VolumeOptions", "volume"),
                ("TmpfsOptions", "tmpfs"),
            ] {
                if owner != kind {
                    mount.remove(block);
                }
            }
        }
        if kind == "image" && before(48) {
            return Err(Refusal::invalid(
                "mount type \"image\" needs API version 1.48",
            ));
        }
        if before(44) && kind == "bind" && readonly {
            let options = mount.entry("BindOptions").or_insert_with(|| json!({}));
            if options.get("ReadOnlyForceRecursive").is_some() {
                return Err(Refusal::invalid(
                    "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
                ));
            }
            if let Value::Object(options) = options {
                options.insert("ReadOnlyNonRecursive".to_owned(), json!(true));
            }
        }
        if let Some(Value::Object(options)) = mount.get_mut("BindOptions") {
            if before(40) {
                options.remove("NonRecursive");
            }
            if before(42) {
                options.remove("CreateMountpoint");
            }
        }
        let subpath = mount
            .get("VolumeOptions")
            .and_then(|options| options.get("Subpath"))
            .is_some();
        if subpath && before(45) {
            return Err(Refusal::invalid(
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ));
        }
    }
    Ok(())
}

/// The table as `docs/docker-compat.md` shows it.
#[cfg(test)]
pub(crate) fn page() -> String {
    let mut lines = "| route | difference |\n|---|---|\n".to_owned();
    for Gate { method, path, what } in GATES {
        let text = match what {
            Parameter(name, since) => format!("parameter `{name}` since 1.{since}"),
            Field(name, since) => format!("takes `{name}` since 1.{since}"),
            FieldUntil(name, until) => format!("ignores `{name}` since 1.{until}"),
            Shown(name, since) => format!("shows `{name}` since 1.{since}"),
            ShownUntil(name, until) => format!("no `{name}` since 1.{until}"),
            Ghost(name, until, value) => format!("shows `{name}` (`{}`) before 1.{until}", value()),
            Reading(until, text, _) => format!("before 1.{until}: {text}"),
        };
        lines.push_str(&format!("| {method} `{path}` | {text} |\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(minor: u16) -> Gates {
        Gates::new(&Method::POST, "/containers/create", ApiVersion::v1(minor))
    }

    #[test]
    fn older_versions_of_mounts() {
        let body = || json!({ "HostConfig": { "IpcMode": "private", "Mounts": [{ "Type": "bind", "ReadOnly": true, "VolumeOptions": {}, "BindOptions": { "CreateMountpoint": true } }] } });
        let mut old = body();
        gates(41).request(&mut old).expect("accepted");
        let mount = &old["HostConfig"]["Mounts"][0];
        assert!(mount.get("VolumeOptions").is_none());
        assert_eq!(
            mount["BindOptions"],
            json!({ "ReadOnlyNonRecursive": true })
        );
        let mut new = body();
        gates(47).request(&mut new).expect("accepted");
        assert_eq!(new, body());
        let image = || json!({ "HostConfig": { "Mounts": [{ "Type": "image" }] } });
        assert!(gates(47).request(&mut image()).is_err());
        gates(48).request(&mut image()).expect("accepted");
    }

    #[test]
    fn requests_of_older_versions() {
        let body = || {
            json!({
                "Healthcheck": { "StartInterval": 5, "Interval": 1 },
                "HostConfig": { "Annotations": { "a": "b" }, "KernelMemory": 1 },
                "NetworkingConfig": { "EndpointsConfig": { "x": { "MacAddress": "02:00:00:00:00:01" } } },
            })
        };
        let mut old = body();
        gates(39).request(&mut old).expect("accepted");
        assert_eq!(
            old,
            json!({
                "Healthcheck": { "Interval": 1 },
                "HostConfig": { "IpcMode": "shareable", "KernelMemory": 1 },
                "NetworkingConfig": { "EndpointsConfig": { "x": {} } },
            })
        );
        let mut new = body();
        gates(48).request(&mut new).expect("accepted");
        assert!(new["HostConfig"].get("KernelMemory").is_none());
        assert_eq!(new["Healthcheck"]["StartInterval"], 5);
        let mut two = json!({ "NetworkingConfig": { "EndpointsConfig": { "x": {}, "y": {} } } });
        assert!(gates(43).request(&mut two.clone()).is_err());
        gates(44).request(&mut two).expect("accepted");
    }

    #[test]
    fn answers_of_older_versions() {
        let images = |minor| Gates::new(&Method::GET, "/images/json", ApiVersion::v1(minor));
        let answer = json!([{ "Size": 1, "VirtualSize": 1 }]);
        assert!(!images(43).change_answers());
        assert!(images(44).change_answers());
        let mut newer = answer.clone();
        images(44).answer(&mut newer);
        assert_eq!(newer, json!([{ "Size": 1 }]));
        let image = |minor| Gates::new(&Method::GET, "/images/{...}/json", ApiVersion::v1(minor));
        let mut old = json!({ "VirtualSize": 1, "Config": { "Tty": false, "Cmd": [] } });
        image(43).answer(&mut old);
        assert_eq!(
            old,
            json!({ "VirtualSize": 1, "Container": "", "Config": { "Tty": false, "Cmd": [] } })
        );
        let mut newest = old.clone();
        image(50).answer(&mut newest);
        assert_eq!(newest["Config"], json!({ "Cmd": [] }));
    }

    #[test]
    fn parameters_of_older_versions() {
        let mut query = vec![("condition".to_owned(), "removed".to_owned())];
        let wait = |minor| Gates::new(&Method::POST, "/containers/{}/wait", ApiVersion::v1(minor));
        wait(30).query(&mut query);
        assert_eq!(query.len(), 1);
        wait(29).query(&mut query);
        assert!(query.is_empty());
    }

    #[test]
    fn every_gate_is_of_a_route() {
        for gate in GATES {
            assert!(
                crate::routes::all()
                    .any(|route| route.path == gate.path && route.method == gate.method),
                "{} {}",
                gate.method,
                gate.path
            );
        }
    }
}
