//! Giving up power: bounding set, user, capabilities, filter. The order is what makes it work without gaps.
//!
//! 1. The bounding set shrinks (needs `CAP_SETPCAP`).
//! 2. The user changes, permitted capabilities kept: the filter needs `CAP_SYS_ADMIN` unless new privileges are given up.
//! 3. Death of the parent means death again: the kernel forgets it when the user changes.
//! 4. No new privileges, when asked for.
//! 5. The filter, with nothing after it but 6 and execve.
//! 6. Capabilities shrink to what the program may have. A user other than root loses them at execve.

use shim_protocol::StartError;

use super::user::User;
use crate::failure::During as _;
use crate::plan::ProcessPlan;

/// Steps 1 to 4.
pub(crate) fn become_user(plan: &ProcessPlan<'_>, user: &User) -> Result<(), StartError> {
    let what = || "cannot give up capabilities".to_owned();
    sys::capability::limit_bounding(plan.capabilities).during("capabilities", what)?;
    sys::capability::clear_ambient().during("capabilities", what)?;
    sys::capability::keep_over_user_change(true).during("capabilities", what)?;
    sys::process::become_user(user.uid, user.gid, &user.groups).during("user", || {
        format!("cannot become user {}:{}", user.uid, user.gid)
    })?;
    sys::capability::keep_over_user_change(false).during("capabilities", what)?;
    // The change of user has made everything ineffective; what follows needs some of it.
    sys::capability::set(plan.permitted, plan.permitted).during("capabilities", what)?;
    die_with_parent()?;
    if plan.process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).during("capabilities", || {
            "cannot give up new privileges".to_owned()
        })?;
    }
    Ok(())
}

/// Steps 5 and 6.
pub(crate) fn seal(plan: &ProcessPlan<'_>) -> Result<(), StartError> {
    if let Some(filter) = &plan.filter {
        sys::seccomp::install(filter).during("seccomp", || {
            "cannot install the system call filter".to_owned()
        })?;
    }
    sys::capability::set(plan.capabilities, plan.capabilities)
        .during("capabilities", || "cannot give up capabilities".to_owned())
}

/// Has this process killed when its parent ends.
pub(crate) fn die_with_parent() -> Result<(), StartError> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .during("start", || {
            "cannot tie the process to its parent".to_owned()
        })
}
