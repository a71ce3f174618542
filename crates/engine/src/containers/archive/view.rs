//! A container's files, as seen from inside it.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use shim_protocol::frame::{encode, receive};
use shim_protocol::spec::MountKind;
use shim_protocol::{Response, RunSpec};
use store::ContainerRow;
use sys::socket::FdReader;

use super::super::find::Columns as _;
use super::super::mounts::realise::volume_names;
use super::super::{ContainerError, Containers, Status};

/// Keeps the files visible as long as it lives.
pub(crate) struct View<'a> {
    root: OwnedFd,
    _helper: Option<Helper<'a>>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// The process in whose mount namespace the files of a stopped container are shown.
struct Helper<'a> {
    containers: &'a Containers,
    container: String,
    volumes: Vec<String>,
    stream: Option<UnixStream>,
    pid: i32,
}

impl View<'_> {
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        // The end of the stream is the helper's sign to leave, and its mounts leave with it.
        drop(self.stream.take());
        if self.pid != 0
            && let Err(error) = sys::process::wait(self.pid)
        {
            tracing::debug!(%error, "view helper was reaped by somebody else");
        }
        for volume in &self.volumes {
            if let Err(error) = self.containers.volumes.unmount(volume, &self.container) {
                tracing::warn!(volume, %error, "volume could not be unmounted after a copy");
            }
        }
    }
}

impl Containers {
    /// The files of a root that belongs to no container: `spec` says its layers.
    pub(crate) fn view_root(&self, spec: &RunSpec) -> Result<View<'_>, ContainerError> {
        let helper = Helper {
            containers: self,
            container: spec.id.clone(),
            volumes: Vec::new(),
            stream: None,
            pid: 0,
        };
        show(&self.shim_program, spec, helper)
    }

    pub(super) fn view(&self, row: &ContainerRow) -> Result<View<'_>, ContainerError> {
        let failed = |source| ContainerError::Io {
            action: format!("cannot look into container {}", row.id),
            source,
        };
        if matches!(row.status()?, Status::Running | Status::Paused) {
            let root = rustix::fs::open(
                format!("/proc/{}/root", row.pid),
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            );
            match root {
                Ok(root) => {
                    return Ok(View {
                        root,
                        _helper: None,
                    });
                }
                // It ended just now: its files are shown as of a stopped one.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        let host = row.host_config()?;
        let mounts = self.stored_mounts(row)?;
        let mut helper = Helper {
            containers: self,
            container: row.id.clone(),
            volumes: Vec::new(),
            stream: None,
            pid: 0,
        };
        let mut realised = self.realise_mounts(&row.id, &mounts, &host)?;
        // A container that has never started has no files for /etc yet.
        if !self.paths.container_file(&row.id, "hosts").exists() {
            let own = self.paths.container(&row.id);
            realised.retain(|mount| !matches!(&mount.kind, MountKind::Bind { source, .. } if source.starts_with(&own)));
        }
        helper.volumes = volume_names(&mounts).map(str::to_owned).collect();
        let spec = self.files_spec(row, realised)?;
        show(&self.shim_program, &spec, helper)
    }
}

fn show<'a>(
    program: &sys::program::Program,
    spec: &RunSpec,
    mut helper: Helper<'a>,
) -> Result<View<'a>, ContainerError> {
    let failed = |source| ContainerError::Io {
        action: format!("cannot look into container {}", spec.id),
        source,
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    helper.pid = sys::command::spawn_with_control(program.path(), &["shim-view"], theirs.as_fd())
        .map_err(failed)?;
    drop(theirs);
    let bytes = encode(spec)
        .map_err(|error| ContainerError::Invalid(format!("container configuration: {error}")))?;
    (&ours).write_all(&bytes).map_err(failed)?;
    let mut reader = FdReader::new(&ours);
    let response: Response = receive(&mut reader)
        .map_err(|error| ContainerError::Shim(format!("the files could not be shown ({error})")))?;
    let root = reader.into_fds().into_iter().next();
    helper.stream = Some(ours);
    match (response, root) {
        (Response::Ok, Some(root)) => Ok(View {
            root,
            _helper: Some(helper),
        }),
        (Response::StartFailed { error }, _) => Err(ContainerError::Start {
            message: error.message,
            code: error.code,
        }),
        (other, _) => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
    }
}
