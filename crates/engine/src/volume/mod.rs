//! Where volumes meet what the volumes crate does not know: containers, images, what is under way on the host.
//!
//! * [`users`] - who uses a volume, who made it, who had it last
//! * [`rename`] - another name, in everything that names it
//! * [`audit`] - what does not fit together, and what to do about it
//! * [`pruning`] - a prune of exactly what was shown
//! * [`reseed`] - new contents from an upgraded image
//! * [`safety`] - snapshots before risky steps
//! * [`onlooker`] - who waits while a volume is copied or compared
//! * [`files`] - copies in and out without a container
//! * [`limits`] - the thread that watches soft limits; [`rescue`] - a database made anew from what is beside the data
//! * [`keeper`] - the thread that empties the trash in time
//! * [`plugins`] - the thread that tells volume plugins what they could not be told at once

mod adopt;
pub mod audit;
mod chown;
pub mod files;
pub(crate) mod keeper;
pub(crate) mod limits;
mod onlooker;
pub(crate) mod plugins;
pub mod pruning;
mod rename;
pub mod rescue;
pub mod reseed;
mod safety;
pub mod users;

pub use audit::{Audit, AuditRequest, Finding, Weight};
pub use rescue::RescueError;
pub use reseed::{Drift, Reseed, ReseedMode, Seed};
pub use users::{Creator, LastUse, VolumeDetail, VolumeUser};
