//! Completion scripts, man pages, and the flags of `serve`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::failure::Outcome;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Ask this URL for Docker Hub's images first
    #[arg(long, value_name = "URL")]
    registry_mirror: Vec<String>,
    /// Let this registry (HOST[:PORT] or a network) answer without TLS
    #[arg(long, value_name = "HOST")]
    insecure_registry: Vec<String>,
    /// Let Prometheus read the metrics, and nothing else, at this address (a port alone: for this host only)
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// Look for volume plugins' sockets here instead of in /run/docker/plugins
    #[arg(long, value_name = "DIR")]
    plugin_sockets: Option<PathBuf>,
    /// Look for volume plugins' .spec and .json files here instead of in /etc/docker/plugins and /usr/lib/docker/plugins
    #[arg(long, value_name = "DIR")]
    plugin_specs: Vec<PathBuf>,
    /// Put a damaged database aside, and make the records of volumes again from what lies beside their data
    #[arg(long)]
    rescue: bool,
    /// Leave when idle; started by a client
    #[arg(long, hide = true)]
    embedded: bool,
    /// Descriptor on which readiness is told
    #[arg(long, hide = true)]
    ready_fd: Option<i32>,
    /// Seconds of idleness before an embedded engine leaves
    #[arg(long, hide = true)]
    idle_exit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    shell: Shell,
}

impl CompletionArgs {
    pub(crate) fn run(&self, command: &mut clap::Command) -> Outcome<i32> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "orlop", &mut script);
        print!("{}", String::from_utf8_lossy(&script));
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    directory: PathBuf,
}

impl ManArgs {
    pub(crate) fn run(&self, command: clap::Command) -> Outcome<i32> {
        clap_mangen::generate_to(command, &self.directory)?;
        Ok(0)
    }
}
