//! The drivers that exist, by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Driver, Local};

/// The driver of volumes that were asked for without one.
pub(crate) const DEFAULT: &str = "local";

#[derive(Debug, Clone)]
pub struct Drivers(BTreeMap<&'static str, Arc<dyn Driver>>);

impl Drivers {
    /// Every driver of this version.
    pub fn builtin() -> Self {
        let all: [Arc<dyn Driver>; 1] = [Arc::new(Local)];
        Self(
            all.into_iter()
                .map(|driver| (driver.name(), driver))
                .collect(),
        )
    }

    /// The driver called `name`.
    pub fn find(&self, name: &str) -> Option<&dyn Driver> {
        self.0.get(name).map(Arc::as_ref)
    }

    /// [`Driver::renounce`] of a directory of which nobody knows the driver any more.
    pub(crate) fn renounce(&self, directory: &Path, volume: Option<&str>) {
        for driver in self.0.values() {
            driver.renounce(directory, volume);
        }
    }

    /// Names of all drivers, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}
