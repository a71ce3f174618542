//! Backups in repositories of restic's format: another tool can read what is written here, and what it wrote is read.
//!
//! The format, its encryption and its deduplication are rustic's; this crate gives it places to be (a directory, S3, SFTP, a
//! REST server) and a blocking face that knows neither volumes nor containers. It prints nothing and reads no environment.

mod location;

pub use location::{Location, LocationError, ObjectStore, SshLocation};
