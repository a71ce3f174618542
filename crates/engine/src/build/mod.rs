//! Builds: from a Dockerfile and a context to an image.
//!
//! Steps of [`Builder::build`]:
//! 1. the context is read once: members in memory, contents in one file without a name ([`context`])
//! 2. the Dockerfile becomes a plan: the stages that the target needs, their base images, pulled where they are missing
//! 3. each stage works in a thread of its own; one that needs another waits for it. Each step is looked up first, and done in
//!    a new layer where it is not known; layers are packed while the next step runs
//! 4. what was made is published, also when the build failed: the next one begins there. Until then recovery removes it
//! 5. the image: one transaction makes it and its names visible
//!
//! A step runs in a sandbox like a container's ([`crate::containers::build_step`]) that is in no list. `Cancel` ends a build: the
//! client has gone, or a stage has failed.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dockerfile::Dockerfile;
use store::{Paths, Store};

use crate::containers::Containers;
use crate::images::built::Base;
use crate::images::{ImageError, Images, Reference};

mod bases;
mod cache;
mod context;
mod copy;
mod error;
mod gate;
mod mounts;
mod notes;
mod output;
mod packing;
mod plan;
mod publish;
mod request;
mod run;
mod run_file;
mod scope;
mod scratch;
pub(crate) mod settings;
mod shared;
mod source;
mod stage;
mod tree;
mod volumes;
mod work;

pub use crate::cancel::Cancel;
pub use cache::{BuildCacheEntry, PruneBuilds, PrunedBuilds};
pub use error::BuildError;
pub use request::{BuildOutput, BuildRequest};

use bases::Finding;
use context::Context;
use gate::Gate;
use notes::Notes;
use output::Desk;
use plan::Plan;
use scope::{Globals, Platforms};
use scratch::Scratch;
use shared::Shared;
use source::dockerfile_of;
use stage::Stage;
use work::Slots;

/// Builds images for one engine.
#[derive(Debug)]
pub struct Builder {
    containers: Arc<Containers>,
    images: Arc<Images>,
    store: Arc<Store>,
    paths: Arc<Paths>,
    /// Layers that are packed at the same time.
    sealing: Arc<Gate>,
    shared: Shared,
}

/// One build.
struct Build<'b> {
    builder: &'b Builder,
    request: &'b BuildRequest,
    cancel: &'b Cancel,
    desk: Desk<'b>,
    context: Context,
    scratch: Scratch,
    plan: Plan,
    globals: Globals,
    /// What people call the Dockerfile, and its text.
    file: String,
    text: Vec<u8>,
    finished: Slots,
    /// Steps at the same time.
    gate: Gate,
    unpacked: Mutex<Option<PathBuf>>,
    bases: Mutex<HashMap<String, Base>>,
    /// Images whose steps need not be done again.
    sources: Vec<Base>,
    out: &'b dyn BuildOutput,
    notes: Mutex<Notes>,
}

impl Builder {
    /// What an earlier engine left unfinished is finished; a sentence for each repair.
    pub(crate) fn open(
        containers: Arc<Containers>,
        images: Arc<Images>,
        store: Arc<Store>,
        paths: Arc<Paths>,
    ) -> Result<(Self, Vec<String>), BuildError> {
        let builder = Self {
            containers,
            images,
            store,
            paths,
            sealing: Arc::default(),
            shared: Shared::default(),
        };
        let sentences = builder.recover_shared()?;
        Ok((builder, sentences))
    }

    /// Builds an image from the archive that `context` gives; its id.
    ///
    /// # Errors
    /// See [`BuildError`]. What was done until then is remembered for the next build.
    pub fn build(
        &self,
        request: &BuildRequest,
        context: &mut (dyn Read + Send),
        out: &dyn BuildOutput,
        cancel: &Cancel,
    ) -> Result<String, BuildError> {
        let names = request
            .tags
            .iter()
            .map(|tag| {
                let name = Reference::parse(tag)?;
                if name.digest.is_some() {
                    return Err(ImageError::Invalid(
                        "build tag cannot contain a digest".to_owned(),
                    ));
                }
                Ok(name)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let scratch = Scratch::new(&self.paths)?;
        let stream = context;
        let mut context = Context::read(stream, scratch.root())?;
        // Read to its very end: only then is it noticed when the client goes away.
        std::io::copy(stream, &mut std::io::sink()).map_err(|source| BuildError::File {
            action: "cannot read the end of",
            path: "the build context".into(),
            source,
        })?;
        let (file, text) = dockerfile_of(&mut context, &request.dockerfile)?;
        let parsed = dockerfile::parse(&text).map_err(|error| BuildError::Dockerfile {
            report: error.report(&file),
        })?;
        let held = self.images.hold();
        let built = self.build_held(
            request,
            (context, scratch),
            (file, text, parsed),
            &names,
            (out, cancel),
        );
        drop(held);
        // What was replaced or came to nothing could not be swept meanwhile.
        self.images.sweep()?;
        built
    }

    fn build_held(
        &self,
        request: &BuildRequest,
        (context, scratch): (Context, Scratch),
        (file, text, parsed): (String, Vec<u8>, Dockerfile),
        names: &[Reference],
        (out, cancel): (&dyn BuildOutput, &Cancel),
    ) -> Result<String, BuildError> {
        let host = format!("linux/{}", architecture());
        let platforms = Platforms {
            target: request.platform.clone().unwrap_or_else(|| host.clone()),
            build: host,
            stage: request.target.clone(),
        };
        let mut globals = Globals::new(request.arguments.clone(), &platforms, parsed.escape);
        let mut notes = Notes::default();
        for instruction in &parsed.arguments {
            if let dockerfile::Kind::Arg(list) = &instruction.kind {
                for (name, default) in list {
                    globals.declare(name, default.as_deref())?;
                    notes.consumed.insert(name.clone());
                }
            }
        }
        let warnings: Vec<String> = parsed
            .warnings
            .iter()
            .map(|warning| {
                format!(
                    "[Warning] {file}:{}: {}\n",
                    warning.lines.first, warning.text
                )
            })
            .collect();
        let bases = Mutex::default();
        let finder = Finding {
            builder: self,
            request,
            out,
            cancel,
            bases: &bases,
        };
        let plan = Plan::new(
            parsed,
            &request.target,
            !request.labels.is_empty(),
            request.platform.as_deref(),
            &globals,
            &finder,
        )?;
        sys::fault::step("build:planned");
        let stages = plan.stages.len();
        notes.warnings.insert(usize::MAX, warnings);
        let build = Build {
            builder: self,
            request,
            cancel,
            desk: Desk::new(out, stages, request.quiet),
            context,
            scratch,
            plan,
            globals,
            file,
            text,
            finished: Slots::new(stages),
            gate: Gate::default(),
            unpacked: Mutex::default(),
            bases,
            sources: self.sources(&request.cache_from)?,
            out,
            notes: Mutex::new(notes),
        };
        build.work();
        let published = build.publish();
        let failure = build.notes().failure.take();
        let done = match failure {
            Some(failure) => Err(failure),
            None => build.finished.wait(stages - 1),
        };
        let result = published.and_then(|published| {
            let done = done?;
            let last = published.last().cloned().unwrap_or_default();
            build.finish(&done, &last, names)
        });
        if result.is_err() {
            build.desk.last(&build.warnings());
            build.desk.failed();
        }
        result
    }
}

impl Build<'_> {
    /// The context as a directory, for mounts.
    fn unpacked(&self) -> Result<PathBuf, BuildError> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &*unpacked {
            return Ok(path.clone());
        }
        let path = self.scratch.directory()?;
        Stage::write_out(&tree::Tree::Context(&self.context), "/", &path)?;
        *unpacked = Some(path.clone());
        Ok(path)
    }
}

/// Go's name of the architecture we run on.
fn architecture() -> &'static str {
    static NAME: OnceLock<&'static str> = OnceLock::new();
    NAME.get_or_init(|| match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    })
}
