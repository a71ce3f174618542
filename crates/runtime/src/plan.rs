//! What can be decided about a process before it exists, so that the new process only has to act.

use rustix::process::Resource;
use shim_protocol::StartError;
use shim_protocol::spec::Process;
use sys::capability::Bits;
use sys::seccomp::Instruction;

use crate::failure::{During as _, failed};
use crate::seccomp;

/// A resource limit with its kernel name.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) resource: Resource,
    /// `u64::MAX` is without limit.
    pub(crate) soft: u64,
    pub(crate) hard: u64,
    pub(crate) required: bool,
}

/// A process, resolved as far as the host alone allows.
#[derive(Debug)]
pub(crate) struct ProcessPlan<'a> {
    pub(crate) process: &'a Process,
    pub(crate) filter: Option<Vec<Instruction>>,
    pub(crate) capabilities: Bits,
    /// What this process may use now; needed until the very end.
    pub(crate) permitted: Bits,
    pub(crate) limits: Vec<Limit>,
}

impl<'a> ProcessPlan<'a> {
    /// With `all_capabilities` the list of the process is not looked at.
    pub(crate) fn new(process: &'a Process, all_capabilities: bool) -> Result<Self, StartError> {
        if process.args.is_empty() {
            return Err(failed("exec", "no command specified"));
        }
        if !process.cwd.starts_with('/') {
            let text = format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                process.cwd
            );
            return Err(failed("cwd", text));
        }
        let permitted = sys::capability::permitted()
            .during("capabilities", || "cannot read capabilities".to_owned())?;
        let mut wanted = 0;
        for name in &process.capabilities {
            wanted |= sys::capability::bit(name)
                .ok_or_else(|| failed("capabilities", format!("invalid capability: \"{name}\"")))?;
        }
        if all_capabilities {
            wanted = permitted;
        }
        Ok(Self {
            process,
            filter: seccomp::filter(process)?,
            // Nobody can give away what he has not got: hosts often hold some back.
            capabilities: wanted & permitted,
            permitted,
            limits: process
                .rlimits
                .iter()
                .map(limit)
                .collect::<Result<_, _>>()?,
        })
    }
}

fn limit(rlimit: &shim_protocol::spec::Rlimit) -> Result<Limit, StartError> {
    let resource = match rlimit.name.as_str() {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        name => return Err(failed("rlimits", format!("invalid ulimit type: {name}"))),
    };
    Ok(Limit {
        name: rlimit.name.clone(),
        resource,
        soft: rlimit.soft,
        hard: rlimit.hard,
        required: rlimit.required,
    })
}
