//! Base images: those that are here, and those that are pulled because they are missing or shall be the newest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use registry::Repository;

use super::{Build, BuildError, BuildOutput, BuildRequest, Builder, Cancel, plan};
use crate::images::built::Base;
use crate::images::{ImageError, PullRequest, Reference};

/// Looks for base images, and remembers those that were found.
pub(super) struct Finding<'a> {
    pub(super) builder: &'a Builder,
    pub(super) request: &'a BuildRequest,
    pub(super) out: &'a dyn BuildOutput,
    pub(super) cancel: &'a Cancel,
    pub(super) bases: &'a Mutex<HashMap<String, Base>>,
}

impl plan::FindImage for Finding<'_> {
    fn find(&self, name: &str, platform: Option<&str>) -> Result<Base, BuildError> {
        let key = format!("{name} {}", platform.unwrap_or_default());
        let known = |key: &str| {
            self.bases
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(key)
                .cloned()
        };
        if let Some(base) = known(&key) {
            return Ok(base);
        }
        let images = &self.builder.images;
        let fits = |base: &Base| {
            platform.is_none_or(|wanted| {
                let mut parts = wanted.split('/');
                parts.next().is_none_or(|os| os == base.os)
                    && parts.next().is_none_or(|arch| arch == base.architecture)
            })
        };
        let local = if self.request.pull {
            None
        } else {
            match images.base(name) {
                Ok(base) => Some(base).filter(fits),
                Err(ImageError::NoSuch(_)) => None,
                Err(error) => return Err(error.into()),
            }
        };
        let base = match local {
            Some(base) => base,
            None => {
                let repository = Repository::parse(&Reference::parse(name)?.repository);
                let credentials = self
                    .request
                    .credentials
                    .iter()
                    .find(|(server, _)| is_server(server, &repository.host))
                    .map(|(_, credentials)| credentials.clone());
                let reference = Reference::parse(name)?;
                let request = PullRequest {
                    reference: name.to_owned(),
                    // Without a tag, all would be pulled.
                    tag: (reference.tag.is_none() && reference.digest.is_none())
                        .then(|| "latest".to_owned()),
                    platform: platform.map(str::to_owned),
                    credentials,
                    cancel: Arc::default(),
                };
                let _hooked = self.cancel.on_cancel({
                    let cancel = Arc::clone(&request.cancel);
                    Box::new(move || cancel.give_up())
                });
                if self.request.quiet {
                    images.pull(&request, &crate::progress::Silent)?;
                } else {
                    images.pull(&request, self.out)?;
                }
                images.base(name)?
            }
        };
        self.bases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, base.clone());
        Ok(base)
    }
}

/// `https://index.docker.io/v1/`, `localhost:5000`
fn is_server(server: &str, host: &str) -> bool {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    bare == host || (host.ends_with("docker.io") && bare.ends_with("docker.io"))
}

impl Build<'_> {
    pub(super) fn image(&self, name: &str) -> Result<Base, BuildError> {
        use plan::FindImage as _;
        Finding {
            builder: self.builder,
            request: self.request,
            out: self.out,
            cancel: self.cancel,
            bases: &self.bases,
        }
        .find(name, self.request.platform.as_deref())
    }
}

impl Builder {
    /// The images of `--cache-from`. One that is not there is no source, as with Docker.
    pub(super) fn sources(&self, names: &[String]) -> Result<Vec<Base>, BuildError> {
        let mut sources = Vec::new();
        for name in names {
            match self.images.base(name) {
                Ok(base) => sources.push(base),
                Err(ImageError::NoSuch(_)) => tracing::info!(name, "no image to take steps from"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sources)
    }
}
