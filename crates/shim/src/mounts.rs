//! Mounts that come and go while the container runs.
//!
//! The specification always lists what the next start mounts. A mount that is added comes last in it: nothing that was
//! mounted before lies below its target, or the engine would not have asked.

use shim_protocol::spec::Mount;

use crate::supervise::Supervisor;

impl Supervisor {
    pub(crate) fn mount(&mut self, mount: Mount, keep: bool) -> Result<(), String> {
        let pid = self.pid()?;
        if self.has_mount(&mount.target) {
            return Ok(());
        }
        runtime::add_mount(pid, &self.spec.process.user, &mount).map_err(|error| error.message)?;
        if keep {
            self.spec.mounts.push(mount);
        } else {
            self.passing_mounts.push(mount.target);
        }
        Ok(())
    }

    pub(crate) fn unmount(&mut self, target: &str, lazy: bool) -> Result<(), String> {
        let pid = self.pid()?;
        if !self.has_mount(target) {
            return Ok(());
        }
        runtime::take_mount(pid, target, lazy).map_err(|error| error.message)?;
        self.spec.mounts.retain(|mount| mount.target != target);
        self.passing_mounts.retain(|passing| passing != target);
        Ok(())
    }

    fn has_mount(&self, target: &str) -> bool {
        let kept = self.spec.mounts.iter().any(|mount| mount.target == target);
        kept || self.passing_mounts.iter().any(|passing| passing == target)
    }

    fn pid(&self) -> Result<i32, String> {
        self.running()
            .and_then(|main| self.processes.get(&main))
            .map(|process| process.pid)
            .ok_or_else(|| "container is not running".to_owned())
    }
}
