//! Registries of the OCI distribution specification and Docker's, behind a blocking face.
//!
//! What comes from a registry is hostile: documents have a bound, and every byte of a blob is counted and digested
//! before the caller is told that it is right. Nothing is written to disk here, and nothing is read from the environment
//! but the names of proxies.
//!
//! * [`Client`] - the settings of an engine; opens sessions, logs in, searches.
//! * [`Session`] - one repository of one registry, with the caller's credentials: manifests, tags, blobs, uploads.
//! * [`Manifest`], [`Index`], [`Platform`] - what a reference leads to.
//! * [`Cancel`] - ends transfers that wait or run.

mod blob;
mod cancel;
mod challenge;
mod client;
mod credentials;
mod download;
mod error;
mod login;
mod manifest;
mod name;
mod platform;
mod search;
mod session;
mod settings;
mod transport;
mod upload;

pub use blob::digest;
pub use cancel::Cancel;
pub use client::{Access, Client, Endpoint};
pub use credentials::Credentials;
pub use download::Download;
pub use error::{RegistryError, Unanswered};
pub use manifest::{
    Descriptor, Document, Fetched, INDEX_TYPES, Index, MANIFEST_LIMIT, MAX_LAYERS, Manifest, types,
};
pub use name::Repository;
pub use platform::Platform;
pub use search::Found;
pub use session::Session;
pub use settings::Settings;
pub use upload::Begun;
