//! Kernel interfaces as safe, blocking functions. The only crate with unsafe code; it knows no domain words.
//!
//! Nothing here logs above debug, retries, or decides: callers bring policy.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

pub mod at_rest;
pub mod attributes;
pub mod btrfs;
pub mod btrfs_extents;
pub mod btrfs_quota;
pub mod btrfs_send;
mod btrfs_tree;
pub mod btrfs_unwritten;
pub mod capability;
pub mod catch_up;
pub mod cgroup;
pub mod command;
pub mod commit_order;
mod copy_attributes;
mod copy_data;
pub mod copy_tree;
pub mod descent;
pub mod device_filter;
pub mod dir;
pub mod durable;
mod error_words;
pub mod fault;
pub mod fd;
mod filesystem_kind;
pub mod fork;
mod gone;
pub mod heap;
pub mod identity;
pub mod image_file;
pub mod lock;
pub mod loop_device;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod nftables;
pub mod overlay;
pub mod process;
pub mod program;
pub mod project_quota;
pub mod pty;
pub mod reflink;
mod remove_tree;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod untouched;
pub mod user_namespace;
pub mod uuid;
pub mod watch;
pub mod writeback;
pub mod xattr;
pub mod xfs;
pub mod xfs_log;

pub use error_words::error_words;
pub use gone::is_gone;
