//! `orlop`: one program with three faces. Which one is decided before any thread exists, for two of them fork.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the program reads its environment and talks to a person, so that libraries need not"
)]

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use server::{Proxies, ServeOptions};

/// How long an engine that a client started stays without anything to do.
const IDLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let code = match arguments.next().as_deref().and_then(|word| word.to_str()) {
        Some("shim") => shim::run_shim(),
        Some("shim-view") => shim::run_view(),
        Some("shim-clean") => shim::run_clean(),
        _ => match serve_arguments(std::env::args_os().skip(1)) {
            Some(Ok(options)) => run_engine(options),
            Some(Err(error)) => {
                eprintln!("orlop: {error}");
                1
            }
            None => cli::main(),
        },
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

fn run_engine(options: ServeOptions) -> i32 {
    // For tests of what survives a crash at a named step.
    if let Some(step) = std::env::var_os("ORLOP_FAULT_STEP") {
        sys::fault::kill_process_at(&step.to_string_lossy());
    }
    sys::heap::bound();
    server::serve(options)
}

/// `None`: the command line is not `serve`, or asks for help. Flags may stand before the word, as for other commands.
fn serve_arguments(
    arguments: impl Iterator<Item = OsString>,
) -> Option<Result<ServeOptions, String>> {
    let arguments: Vec<OsString> = arguments.collect();
    let words: Vec<String> = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut root = std::env::var_os("ORLOP_ROOT").map(PathBuf::from);
    let mut host = None;
    let mut own_root = false;
    let (mut serve, mut embedded, mut ready, mut idle, mut socket) =
        (false, false, None, IDLE, None);
    let (mut mirrors, mut insecure) = (Vec::new(), Vec::new());
    let (mut plugin_sockets, mut plugin_specs) = (None, Vec::new());
    let mut metrics = None;
    let mut rescue = false;
    let mut index = 0;
    while index < words.len() {
        let (flag, inline) = match words[index].split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                (flag.to_owned(), Some(value.to_owned()))
            }
            _ => (words[index].clone(), None),
        };
        let mut value = || {
            inline.clone().or_else(|| {
                index += 1;
                words.get(index).cloned()
            })
        };
        let missing = || Some(Err(format!("flag needs an argument: {flag}")));
        match flag.as_str() {
            "serve" => serve = true,
            "--embedded" => embedded = true,
            "--rescue" => rescue = true,
            "--root" => match value() {
                Some(text) => {
                    root = Some(PathBuf::from(text));
                    own_root = true;
                }
                None => return missing(),
            },
            "-H" | "--host" => match value() {
                Some(text) => host = Some(text),
                None => return missing(),
            },
            "--socket" => match value() {
                Some(text) => socket = Some(PathBuf::from(text)),
                None => return missing(),
            },
            "--registry-mirror" => match value() {
                Some(text) => mirrors.push(text),
                None => return missing(),
            },
            "--insecure-registry" => match value() {
                Some(text) => insecure.push(text),
                None => return missing(),
            },
            "--plugin-sockets" => match value() {
                Some(text) => plugin_sockets = Some(PathBuf::from(text)),
                None => return missing(),
            },
            "--plugin-specs" => match value() {
                Some(text) => plugin_specs.push(PathBuf::from(text)),
                None => return missing(),
            },
            "--metrics" => match value().as_deref().map(address) {
                Some(Ok(address)) => metrics = Some(address),
                Some(Err(error)) => return Some(Err(error)),
                None => return missing(),
            },
            "--ready-fd" => match value().and_then(|text| text.parse().ok()) {
                Some(number) => ready = Some(number),
                None => return missing(),
            },
            "--idle-exit" => match value().and_then(|text| text.parse().ok()) {
                Some(seconds) => idle = Duration::from_secs(seconds),
                None => return missing(),
            },
            // Another command, help, or something that only the client can explain.
            other if !serve => {
                let _ = other;
                return None;
            }
            "--help" => return None,
            other => return Some(Err(format!("unknown argument for serve: {other}"))),
        }
        index += 1;
    }
    if !serve {
        return None;
    }
    // A directory that was named here has a socket of its own: the environment's is where clients look for another engine.
    if !own_root {
        host = host.or_else(|| std::env::var("ORLOP_HOST").ok());
    }
    let root = root.unwrap_or_else(|| PathBuf::from("/var/lib/orlop"));
    let socket = match (socket, host) {
        (Some(socket), _) => socket,
        (None, Some(host)) => match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None => {
                return Some(Err(format!(
                    "unable to serve on '{host}': only unix:// endpoints are possible"
                )));
            }
        },
        (None, None) if root == Path::new("/var/lib/orlop") => {
            PathBuf::from("/run/orlop/docker.sock")
        }
        (None, None) => root.join("docker.sock"),
    };
    let ready: Option<OwnedFd> = match ready.map(sys::fd::inherited).transpose() {
        Ok(ready) => ready,
        Err(error) => return Some(Err(format!("--ready-fd: {error}"))),
    };
    let listener = match activated() {
        Ok(listener) => listener,
        Err(error) => return Some(Err(format!("socket activation: {error}"))),
    };
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    Some(Ok(ServeOptions {
        root,
        socket,
        listener,
        metrics,
        embedded,
        ready,
        idle,
        program,
        mirrors,
        insecure,
        proxies: proxies(),
        plugin_sockets,
        plugin_specs,
        rescue,
    }))
}

/// An address and a port, or a port that nobody but this host reaches.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse();
    match (port, text.parse()) {
        (Ok(port), _) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        (_, Ok(address)) => Ok(address),
        _ => Err(format!(
            "invalid value '{text}' for --metrics: it is an address with a port, like 127.0.0.1:9323"
        )),
    }
}

/// What the environment says of proxies, in the names that other programs know; of upper and lower case the latter goes first,
/// as in curl.
fn proxies() -> Proxies {
    let find = |name: &str| {
        [name.to_ascii_lowercase(), name.to_owned()]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
    };
    Proxies {
        https: find("HTTPS_PROXY").or_else(|| find("ALL_PROXY")),
        http: find("HTTP_PROXY").or_else(|| find("ALL_PROXY")),
        except: find("NO_PROXY").unwrap_or_default(),
    }
}

/// The socket that a service manager listens on for us, by the convention of sd_listen_fds(3).
fn activated() -> std::io::Result<Option<OwnedFd>> {
    const FIRST: i32 = 3;
    let number = |name: &str| -> Option<u32> { std::env::var(name).ok()?.parse().ok() };
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        Some(1) => sys::fd::inherited(FIRST).map(Some),
        count => Err(std::io::Error::other(format!(
            "one socket is expected, not {}",
            count.unwrap_or(0)
        ))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn where_metrics_are_served() {
        for (text, address) in [
            ("127.0.0.1:9323", Some("127.0.0.1:9323")),
            ("9323", Some("127.0.0.1:9323")),
            (":9323", Some("127.0.0.1:9323")),
            ("0.0.0.0:80", Some("0.0.0.0:80")),
            ("[::1]:9323", Some("[::1]:9323")),
            ("", None),
            ("127.0.0.1", None),
            ("localhost:9323", None),
            ("127.0.0.1:93230", None),
            ("unix:///run/metrics", None),
        ] {
            let read = super::address(text).ok().map(|read| read.to_string());
            assert_eq!(read.as_deref(), address, "{text}");
        }
    }
}
