//! Resource limits of the process.

use rustix::io::Errno;
use rustix::process::{Rlimit, getrlimit, setrlimit};
use shim_protocol::StartError;

use crate::failure::{During as _, failed};
use crate::plan::Limit;

/// Sets the limits. One that nobody asked for is lowered to what this host lets us have.
pub(crate) fn set(limits: &[Limit]) -> Result<(), StartError> {
    for limit in limits {
        let wanted = Rlimit {
            current: finite(limit.soft),
            maximum: finite(limit.hard),
        };
        match setrlimit(limit.resource, wanted) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                let present = getrlimit(limit.resource).maximum.unwrap_or(u64::MAX);
                if limit.required {
                    return Err(failed(
                        "rlimits",
                        format!(
                            "error setting rlimit {}: the hard limit {} is above this host's {present}, \
                             which may not be raised: operation not permitted",
                            limit.name, limit.hard
                        ),
                    ));
                }
                let clamped = Rlimit {
                    current: finite(limit.soft.min(present)),
                    maximum: finite(limit.hard.min(present)),
                };
                setrlimit(limit.resource, clamped)
                    .during("rlimits", || format!("error setting rlimit {}", limit.name))?;
            }
            Err(error) => {
                return Err(error)
                    .during("rlimits", || format!("error setting rlimit {}", limit.name));
            }
        }
    }
    Ok(())
}

fn finite(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}
