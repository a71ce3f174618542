//! What the new process does until it is the container's program. [`order`] has the list of steps.

mod attach;
mod cgroup_view;
mod command;
mod confine;
mod cwd;
mod dev;
mod exclude;
pub(crate) mod graft;
mod idmap;
pub(crate) mod join;
mod masks;
mod mounts;
pub(crate) mod order;
mod pivot;
mod program;
mod reaper;
mod rlimits;
mod root;
pub(crate) mod sources;
mod streams;
mod submounts;
mod target;
mod terminal;
mod tmpfs;
mod user;
pub(crate) mod view;
