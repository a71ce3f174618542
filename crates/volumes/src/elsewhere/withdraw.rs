//! A plugin's part in [`crate::remove`]: the plugin removes the volume with its bytes, then the record goes.
//!
//! Steps of the journaled operation:
//! 1. begin: no lease, no mount and no protection, row `removing`; nobody can take the volume any more
//! 2. `ask`: the plugin removes it; the commit point
//! 3. `forget`: the directory with the description is deleted, and the row with it
//!
//! Before 2 is recorded everything is undone, and the volume is there again. If the plugin had removed it already, it says
//! so when it is asked for the next time: a removal that it refuses is done if it does not know the volume.
//!
//! There is no trash for such volumes: what a plugin removes is gone.

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, VolumeId, VolumeRow, VolumeState, WriteTx};
use volume_plugins::{Patience, Plugin};

use crate::create::Context;
use crate::remove::{delete_tree, forget, may_go, take_away};
use crate::{VolumeAction, VolumeError, Volumes};

impl Volumes {
    /// Removes a volume at its plugin. With `force` the record goes even if the plugin does not do that, or is not there;
    /// what it keeps then is its affair. The caller holds the name's lock.
    pub(crate) fn withdraw(
        &self,
        row: &VolumeRow,
        plugin: &Plugin,
        force: bool,
    ) -> Result<(), VolumeError> {
        self.store.read(|tx| may_go(tx, &row.id, &row.name))?;
        for mount in self.store.read(|tx| tx.plugin_mounts_of(&row.id))? {
            // Its last user has gone, but the plugin could not be told then.
            if let Err(error) = self.tell(row, plugin, &mount) {
                tracing::warn!(volume = row.name, %error, "unmount before a removal");
            }
        }
        match self.run_withdraw(row, true) {
            Err(error @ VolumeError::Plugin { .. }) if force => {
                tracing::warn!(
                    volume = row.name,
                    driver = row.driver,
                    %error,
                    "the record of a volume goes, what its plugin keeps of it stays"
                );
                self.run_withdraw(row, false)?;
            }
            other => other?,
        }
        self.publish(&row.name, &row.driver, VolumeAction::Destroy);
        Ok(())
    }

    /// Drops the record of a volume that its plugin has lost.
    pub(crate) fn forget_record(&self, row: &VolumeRow) -> Result<(), VolumeError> {
        self.run_withdraw(row, false)
    }

    fn run_withdraw(&self, row: &VolumeRow, ask: bool) -> Result<(), VolumeError> {
        let withdraw = Withdraw {
            id: row.id.clone(),
            name: row.name.clone(),
            driver: row.driver.clone(),
            ask,
        };
        journal::execute(&self.store, &withdraw, &self.context())
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Withdraw {
    id: VolumeId,
    name: String,
    driver: String,
    /// The plugin is asked.
    ask: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Ask,
    Forget,
}

impl Withdraw {
    fn ask(&self, context: &Context<'_>) -> Result<(), VolumeError> {
        let plugin = context.plugins.get(&self.driver);
        let Err(reason) = plugin.remove(&self.name) else {
            return Ok(());
        };
        let is_gone =
            reason.is_answer() && matches!(plugin.look_up(&self.name, Patience::Never), Ok(None));
        if is_gone {
            tracing::info!(volume = self.name, %reason, "the plugin had removed it before");
            return Ok(());
        }
        Err(VolumeError::Plugin {
            verb: "remove",
            name: self.name.clone(),
            reason: Box::new(reason),
        })
    }
}

impl Operation for Withdraw {
    const KIND: &'static str = "volume-withdraw";
    const STEPS: &'static [(&'static str, Step)] = &[("ask", Step::Ask), ("forget", Step::Forget)];
    const COMMIT: Option<Step> = Some(Step::Ask);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        may_go(tx, &self.id, &self.name)?;
        Ok(tx.set_volume_state(&self.id, VolumeState::Removing)?)
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        match step {
            Step::Ask if self.ask => self.ask(context),
            Step::Ask => Ok(()),
            Step::Forget => {
                take_away(context.paths, &self.id, op)?;
                delete_tree(context, op)
            }
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if step == Step::Forget {
            for mount in tx.plugin_mounts_of(&self.id)? {
                tx.delete_plugin_mount(&mount.mount_id)?;
            }
            tx.delete_volume(&self.id)?;
            forget(tx, &self.id)?;
        }
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, _context: &Context<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(tx.set_volume_state(&self.id, VolumeState::Ready)?)
    }
}
