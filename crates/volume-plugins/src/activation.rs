//! The handshake: what a plugin is, asked once for each address at which it is found.

use serde::Deserialize;

use crate::client::Client;
use crate::discovery::{self, SpecError};
use crate::driver::{CAPABILITIES, CapabilitiesAnswer, Scope};
use crate::plugin::{Plugin, parsed};
use crate::{PluginError, held};

const ACTIVATE: &str = "Plugin.Activate";
/// What a volume plugin implements.
const KIND: &str = "VolumeDriver";

/// A plugin that has answered at its address.
#[derive(Debug)]
pub(crate) struct Active {
    address: crate::address::Address,
    pub(crate) client: Client,
    pub(crate) is_driver: bool,
    pub(crate) scope: Scope,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Manifest {
    implements: Option<Vec<String>>,
}

impl Plugin {
    /// The plugin, found and asked for what it is.
    pub(crate) fn activate(&self) -> Result<std::sync::Arc<Active>, PluginError> {
        let unusable = |why: String| PluginError::Unusable {
            plugin: self.name().to_owned(),
            why,
        };
        let address = discovery::find(&self.settings, self.name())
            .map_err(|error: SpecError| unusable(error.to_string()))?
            .ok_or_else(|| PluginError::NotFound {
                plugin: self.name().to_owned(),
            })?;
        let known = held(&self.active).clone();
        let active = match known.filter(|active| active.address == address) {
            Some(active) => active,
            None => {
                let client =
                    Client::new(address.clone()).map_err(|error| unusable(error.to_string()))?;
                let active = std::sync::Arc::new(self.shake_hands(address, client)?);
                *held(&self.active) = Some(std::sync::Arc::clone(&active));
                active
            }
        };
        if active.is_driver {
            Ok(active)
        } else {
            Err(PluginError::NotImplemented {
                plugin: self.name().to_owned(),
            })
        }
    }

    fn shake_hands(
        &self,
        address: crate::address::Address,
        client: Client,
    ) -> Result<Active, PluginError> {
        let deadline = self.settings.short;
        let manifest: Manifest = self
            .post(&client, ACTIVATE, b"", deadline)
            .and_then(|answer| parsed(self.name(), ACTIVATE, &answer))
            .map_err(|error| PluginError::Inactive {
                plugin: self.name().to_owned(),
                reason: Box::new(error),
            })?;
        let is_driver = manifest
            .implements
            .unwrap_or_default()
            .iter()
            .any(|kind| kind == KIND);
        let mut scope = Scope::Local;
        if is_driver {
            // Older plugins have never heard of it.
            let asked = self
                .post(&client, CAPABILITIES, b"{}", deadline)
                .and_then(|answer| {
                    parsed::<CapabilitiesAnswer>(self.name(), CAPABILITIES, &answer)
                });
            match asked {
                Ok(answer) => scope = answer.scope(),
                Err(error) if error.is_answer() => {
                    tracing::debug!(plugin = self.name(), %error, "capabilities");
                }
                Err(error @ PluginError::Nonsense { .. }) => {
                    tracing::warn!(plugin = self.name(), %error, "capabilities");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Active {
            address,
            client,
            is_driver,
            scope,
        })
    }
}
