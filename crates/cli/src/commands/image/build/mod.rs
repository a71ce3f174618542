//! `build`.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::logins::Logins;
use crate::parse::{devices, network, size};

mod context;
mod secret;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Add a custom host-to-IP mapping ("host:ip")
    #[arg(long, value_name = "list")]
    add_host: Vec<String>,
    /// Set build-time variables
    #[arg(long, value_name = "list")]
    build_arg: Vec<String>,
    /// What RUN writes below a declared volume: "classic" drops it, "keep" keeps it as BuildKit does
    #[arg(long, value_name = "string", default_value = "classic")]
    build_volumes: String,
    /// Images to consider as cache sources
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    cache_from: Vec<String>,
    /// Limit the CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    cpu_period: Option<i64>,
    /// Limit the CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int")]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Name of the Dockerfile (Default is "PATH/Dockerfile")
    #[arg(short, long, value_name = "string")]
    file: Option<String>,
    /// Always remove intermediate containers
    #[arg(long)]
    force_rm: bool,
    /// Write the image ID to the file
    #[arg(long, value_name = "string")]
    iidfile: Option<String>,
    /// Set metadata for an image
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes")]
    memory_swap: Option<String>,
    /// Set the networking mode for the RUN instructions during build
    #[arg(long, value_name = "string", default_value = "default")]
    network: String,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Set type of progress output ("auto", "plain", "quiet")
    #[arg(long, value_name = "string", default_value = "auto")]
    progress: String,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pull: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    quiet: bool,
    /// Remove intermediate containers after a successful build
    #[arg(long, value_name = "bool", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    rm: bool,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
    #[arg(long, value_name = "list")]
    secret: Vec<String>,
    /// Size of "/dev/shm"
    #[arg(long, value_name = "bytes")]
    shm_size: Option<String>,
    /// Name and optionally a tag in the "name:tag" format
    #[arg(short, long, value_name = "list")]
    tag: Vec<String>,
    /// Set the target build stage to build.
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit")]
    ulimit: Vec<String>,
    /// A directory, or - for an archive or a Dockerfile on standard input
    #[arg(value_name = "PATH|-")]
    path: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let quiet = match self.progress.as_str() {
            "quiet" => true,
            "auto" | "plain" | "tty" => self.quiet,
            other => {
                return Err(Failure::new(format!("invalid progress mode {other}")));
            }
        };
        let mut context = context::open(&self.path, self.file.as_deref())?;
        let query = self.query(quiet, context.dockerfile())?;
        let client = self.headers(client)?;
        let body = Body::Stream("application/x-tar", &mut context);
        let answer = client.send("POST", &query, body)?;
        let mut id = None;
        for message in serde_json::Deserializer::from_reader(answer.body).into_iter::<Value>() {
            let message = message.map_err(|error| {
                Failure::new(format!(
                    "the engine's answer could not be understood: {error}"
                ))
            })?;
            if let Some(error) = message["error"].as_str() {
                let code = message["errorDetail"]["code"].as_i64().unwrap_or(1);
                return Err(Failure {
                    code: i32::try_from(code).unwrap_or(1).max(1),
                    ..Failure::new(error)
                });
            }
            show(&message)?;
            let told = match message["stream"].as_str() {
                Some(text) if quiet => Some(text.trim()),
                _ => message["aux"]["ID"].as_str(),
            };
            id = told.map(str::to_owned).or(id);
        }
        if let (Some(path), Some(id)) = (&self.iidfile, id) {
            write_id(path, &id)?;
        }
        Ok(0)
    }

    fn query(&self, quiet: bool, dockerfile: &str) -> Outcome<String> {
        let bytes = |flag: &str, text: Option<&String>| {
            text.map(|text| size::bytes(text).map_err(|why| Failure::flag(flag, text, why)))
                .transpose()
        };
        let mut query = Query::new("/build")
            .set("version", "1")
            .set("dockerfile", dockerfile);
        for tag in &self.tag {
            query = query.set("t", tag);
        }
        for host in &self.add_host {
            let host =
                network::extra_host(host).map_err(|why| Failure::flag("--add-host", host, why))?;
            query = query.set("extrahosts", host);
        }
        let ulimits = self
            .ulimit
            .iter()
            .map(|text| devices::ulimit(text).map_err(|why| Failure::flag("--ulimit", text, why)))
            .collect::<Outcome<Vec<Value>>>()?;
        let swap = match self.memory_swap.as_deref() {
            Some("-1") => Some(-1),
            _ => bytes("--memory-swap", self.memory_swap.as_ref())?,
        };
        let json = |value: Value, is_empty: bool| (!is_empty).then(|| value.to_string());
        Ok(query
            .option(
                "buildargs",
                json(json!(self.arguments()), self.build_arg.is_empty()),
            )
            .option(
                "cachefrom",
                json(json!(self.cache_from), self.cache_from.is_empty()),
            )
            .option("labels", json(json!(self.labels()), self.label.is_empty()))
            .option("ulimits", json(json!(ulimits), ulimits.is_empty()))
            .option("target", self.target.as_ref())
            .option("platform", self.platform.as_ref())
            .option("memory", bytes("-m, --memory", self.memory.as_ref())?)
            .option("memswap", swap)
            .option("shmsize", bytes("--shm-size", self.shm_size.as_ref())?)
            .option("cpuperiod", self.cpu_period)
            .option("cpuquota", self.cpu_quota)
            .option("cpushares", self.cpu_shares)
            .option("cpusetcpus", self.cpuset_cpus.as_ref())
            .option("cpusetmems", self.cpuset_mems.as_ref())
            .set("networkmode", &self.network)
            .set("buildvolumes", &self.build_volumes)
            .flag("q", quiet)
            .flag("nocache", self.no_cache)
            .flag("pull", self.pull)
            .flag("rm", self.rm)
            .flag("forcerm", self.force_rm)
            .build())
    }

    /// An argument without a value has that of the client's environment, if there is one.
    #[expect(
        clippy::disallowed_methods,
        reason = "an argument that is only named means the client's variable"
    )]
    fn arguments(&self) -> BTreeMap<&str, Option<String>> {
        self.build_arg
            .iter()
            .map(|entry| match entry.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (entry.as_str(), std::env::var(entry).ok()),
            })
            .collect()
    }

    fn labels(&self) -> BTreeMap<&str, &str> {
        self.label
            .iter()
            .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
            .collect()
    }

    /// Logins for base images, and secrets: both in headers, never in the context.
    fn headers(&self, client: &Client) -> Outcome<Client> {
        let mut client = client.clone();
        let logins = Logins::load()?;
        let mut known = serde_json::Map::new();
        for server in logins.servers() {
            let login = logins.get(&server)?;
            if !login.is_empty() {
                known.insert(server, login.json());
            }
        }
        if !known.is_empty() {
            let value = Value::Object(known).to_string();
            client = client.with_header("X-Registry-Config", &URL_SAFE.encode(value));
        }
        let secrets = secret::read(&self.secret)?;
        if !secrets.is_empty() {
            let encoded: BTreeMap<String, String> = secrets
                .into_iter()
                .map(|(id, bytes)| (id, STANDARD.encode(bytes)))
                .collect();
            let value = serde_json::to_vec(&encoded).expect("strings serialise");
            client = client.with_header("X-Orlop-Build-Secrets", &URL_SAFE.encode(value));
        }
        Ok(client)
    }
}

/// What the build says, and in short what is pulled for it.
fn show(message: &Value) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    if let Some(text) = message["stream"].as_str() {
        out.write_all(text.as_bytes())?;
        out.flush()?;
        return Ok(());
    }
    let measured = message["progressDetail"]["current"].is_number();
    if let Some(status) = message["status"].as_str().filter(|_| !measured) {
        match message["id"].as_str() {
            Some(id) => writeln!(out, "{id}: {status}")?,
            None => writeln!(out, "{status}")?,
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of the user's own, not of the state directory"
)]
fn write_id(path: &str, id: &str) -> Outcome<()> {
    std::fs::write(path, id).map_err(|error| Failure::file("open", path, &error))
}
