//! Removes what is left of containers that are gone, in the background: a removal keeps nobody waiting.
//!
//! The wish is recorded in the transaction that forgets the container ([`discard`]), so that nothing is removed because
//! it merely looks unused, and a crash leaves nothing behind: the next start sweeps what is still recorded.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use store::{OpId, Paths, Store, StoreError, WriteTx};
use sys::program::Program;

const KEY: &str = "discarded-container/";

/// Forgets a container and records that its files shall go.
pub(super) fn discard(tx: &WriteTx<'_>, id: &str) -> Result<(), StoreError> {
    tx.set_meta(&format!("{KEY}{id}"), "")?;
    tx.delete_container(id)
}

/// One thread that removes files, in order.
#[derive(Debug)]
pub(crate) struct Sweeper(Sender<String>);

impl Sweeper {
    /// Begins with what earlier engines left.
    pub(crate) fn start(
        store: Arc<Store>,
        paths: Arc<Paths>,
        program: Arc<Program>,
    ) -> Result<Self, StoreError> {
        let left = store.read(|tx| tx.meta_with_prefix(KEY))?;
        let (sender, receiver) = channel::<String>();
        for key in left {
            sender
                .send(key[KEY.len()..].to_owned())
                .expect("the receiver is right here");
        }
        thread::Builder::new()
            .name("sweeper".to_owned())
            .spawn(move || {
                for id in receiver {
                    if let Err(error) = sweep(&store, &paths, &program, &id) {
                        // It stays recorded; the next start tries again.
                        tracing::warn!(
                            container = id,
                            error = &*error,
                            "files of a removed container stay"
                        );
                    }
                }
            })
            .map_err(|source| StoreError::Io {
                action: "start a thread for",
                path: "sweeping".into(),
                source,
            })?;
        Ok(Self(sender))
    }

    pub(crate) fn sweep(&self, id: &str) {
        self.0
            .send(id.to_owned())
            .expect("the sweeper lives as long as its sender");
    }
}

fn sweep(
    store: &Store,
    paths: &Paths,
    program: &Program,
    id: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    // Forgotten for good only when it cannot come back with a power cut: what is in the trash goes at the next start.
    let trash = paths.trash(&OpId::random());
    match sys::durable::rename_sync(&paths.container(id), &trash) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => remove(&trash)?,
    }
    // The shim holds the lock in its run directory until it has cleaned up.
    sys::lock::wait_unlocked(paths.shim_lock(id))?;
    // It may have been killed before it had.
    super::clean::leftovers(program, paths, id)?;
    remove(&paths.run(id))?;
    store.write(|tx| tx.delete_meta(&format!("{KEY}{id}")))?;
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match sys::dir::remove_tree(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
