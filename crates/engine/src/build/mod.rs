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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;

use dockerfile::ignore::Ignore;
use dockerfile::{Dockerfile, Lines};
use jiff::Timestamp;
use registry::Repository;
use store::{BuildRecordRow, Paths, Store};

use crate::containers::Containers;
use crate::images::built::{Base, Block, Finished, Sealing, chain};
use crate::images::{ImageError, Images, PullRequest, Reference};

mod cache;
mod context;
mod copy;
mod error;
mod gate;
mod mounts;
mod output;
mod plan;
mod request;
mod run;
mod scope;
mod scratch;
pub(crate) mod settings;
mod shared;
mod stage;
mod tree;
mod volumes;

pub use crate::cancel::Cancel;
pub use cache::{BuildCacheEntry, PruneBuilds, PrunedBuilds};
pub use error::BuildError;
pub use request::{BuildOutput, BuildRequest};

use context::Context;
use gate::Gate;
use output::Desk;
use plan::Plan;
use scope::{Globals, Platforms};
use scratch::Scratch;
use shared::Shared;
use stage::{Done, Made, Record, Stage};

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

/// What is gathered while stages work.
#[derive(Debug, Default)]
struct Notes {
    /// Keys of records that were of use.
    used: BTreeSet<String>,
    /// Arguments that some stage declared.
    consumed: BTreeSet<String>,
    /// By stage.
    warnings: BTreeMap<usize, Vec<String>>,
    ledgers: Vec<Ledger>,
    failure: Option<BuildError>,
}

/// What a stage made, also one that failed.
#[derive(Debug)]
struct Ledger {
    blocks: Vec<Block>,
    records: Vec<Record>,
}

/// The stages that have ended.
#[derive(Debug, Default)]
struct Slots {
    stages: Mutex<Vec<Option<Option<Arc<Done>>>>>,
    changed: Condvar,
}

impl Slots {
    fn new(count: usize) -> Self {
        Self {
            stages: Mutex::new(vec![None; count]),
            changed: Condvar::new(),
        }
    }

    /// `None`: it failed.
    fn set(&self, position: usize, done: Option<Arc<Done>>) {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)[position].get_or_insert(done);
        self.changed.notify_all();
    }

    fn wait(&self, position: usize) -> Result<Arc<Done>, BuildError> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = self
            .changed
            .wait_while(stages, |stages| stages[position].is_none())
            .unwrap_or_else(PoisonError::into_inner);
        stages[position]
            .clone()
            .flatten()
            .ok_or(BuildError::Cancelled)
    }
}

/// Says that a stage has ended, whatever ended it.
struct Ending<'a, 'b> {
    build: &'a Build<'b>,
    position: usize,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.build.finished.set(self.position, None);
        self.build.desk.finished(self.position);
    }
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

    /// The images of `--cache-from`. One that is not there is no source, as with Docker.
    fn sources(&self, names: &[String]) -> Result<Vec<Base>, BuildError> {
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

    /// Packs a layer in the background.
    fn seal(&self, sealing: &Arc<Sealing>) -> Result<(), BuildError> {
        /// Nobody waits for ever for a thread that panicked.
        struct Guard(Arc<Sealing>, Option<Result<(String, u64), ImageError>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                let result = self.1.take().unwrap_or_else(|| {
                    Err(ImageError::Io {
                        action: "a layer's packing ended unexpectedly".to_owned(),
                        source: std::io::ErrorKind::Other.into(),
                    })
                });
                self.0.done(result);
            }
        }
        let (images, gate) = (Arc::clone(&self.images), Arc::clone(&self.sealing));
        let sealing = Arc::clone(sealing);
        thread::Builder::new()
            .name("seal".to_owned())
            .spawn(move || {
                let mut guard = Guard(sealing, None);
                let _place = gate.enter();
                guard.1 = Some(images.seal(guard.0.id));
            })
            .map(drop)
            .map_err(|source| BuildError::File {
                action: "cannot start a thread for",
                path: "packing".into(),
                source,
            })
    }

    /// A file in memory for a step that is going to run; it goes with the step.
    fn write_run_file(
        &self,
        id: &str,
        name: &str,
        bytes: &[u8],
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<PathBuf, BuildError> {
        let path = self.paths.run(id).join(name);
        sys::durable::create_dir_all(&self.paths.run(id), 0o700)
            .and_then(|()| sys::durable::write_atomic(&path, bytes, mode))
            .and_then(|()| {
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(uid),
                    rustix::fs::Gid::from_raw(gid),
                );
                Ok(rustix::fs::chown(&path, Some(uid), Some(gid))?)
            })
            .map_err(|source| BuildError::File {
                action: "cannot write",
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }
}

/// Looks for base images, and remembers those that were found.
struct Finding<'a> {
    builder: &'a Builder,
    request: &'a BuildRequest,
    out: &'a dyn BuildOutput,
    cancel: &'a Cancel,
    bases: &'a Mutex<HashMap<String, Base>>,
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

impl<'b> Build<'b> {
    /// Step 3: every stage in its thread.
    fn work(&'b self) {
        thread::scope(|scope| {
            for position in 0..self.plan.stages.len() {
                scope.spawn(move || {
                    let _ending = Ending {
                        build: self,
                        position,
                    };
                    if let Err(error) = self.stage(position) {
                        self.cancel_for(error);
                    }
                });
            }
        });
    }

    fn stage(&'b self, position: usize) -> Result<(), BuildError> {
        let mut stage = Stage::begin(self, position)?;
        let worked = stage.work();
        let done = stage.done();
        self.notes().ledgers.push(Ledger {
            blocks: done.blocks.clone(),
            records: std::mem::take(&mut stage.records),
        });
        worked?;
        self.finished.set(position, Some(Arc::new(done)));
        Ok(())
    }

    /// The first failure ends the others, and is the one that is told.
    fn cancel_for(&self, error: BuildError) {
        {
            let mut notes = self.notes();
            let told = notes.failure.as_ref();
            if told.is_none_or(|told| matches!(told, BuildError::Cancelled)) {
                notes.failure = Some(error);
            }
        }
        self.cancel.cancel();
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), BuildError> {
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        Ok(())
    }

    fn used(&self, key: &str) {
        self.notes().used.insert(key.to_owned());
    }

    fn consumed(&self, name: &str) {
        self.notes().consumed.insert(name.to_owned());
    }

    fn warn(&self, position: usize, text: String) {
        self.notes()
            .warnings
            .entry(position)
            .or_default()
            .push(text);
    }

    /// The lines of an instruction that failed.
    fn show(&self, position: usize, lines: Lines) {
        if self.cancel.is_cancelled() || lines.first == 0 {
            return;
        }
        const RULE: &str = "--------------------";
        let mut text = format!("{}:{}\n{RULE}\n", self.file, lines.first);
        for (number, line) in dockerfile::excerpt(&self.text, lines) {
            let wrong = (lines.first..=lines.last).contains(&number);
            let mark = if wrong { ">>>" } else { "   " };
            text.push_str(format!("{number:4} | {mark} {line}").trim_end());
            text.push('\n');
        }
        text.push_str(RULE);
        text.push('\n');
        self.desk.text(position, &text);
    }

    fn image(&self, name: &str) -> Result<Base, BuildError> {
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

    /// Step 4; the layers of each stage, in the order of the stages that ended.
    fn publish(&self) -> Result<Vec<Vec<Block>>, BuildError> {
        let ledgers = std::mem::take(&mut self.notes().ledgers);
        let images = &self.builder.images;
        let mut known = HashMap::new();
        let mut stacks = Vec::new();
        for ledger in &ledgers {
            stacks.push(images.publish_built(&ledger.blocks, &mut known)?);
        }
        for block in ledgers.iter().flat_map(|ledger| &ledger.blocks) {
            if let Block::Fresh(sealing) = block
                && !known.contains_key(&sealing.id)
            {
                images.discard_layer(sealing.id)?;
            }
        }
        sys::fault::step("build:published");
        let now = Timestamp::now().to_string();
        let mut rows = Vec::new();
        for (ledger, stack) in ledgers.iter().zip(&stacks) {
            for record in &ledger.records {
                let needed = record.below + usize::from(record.made != Made::Nothing);
                // The layer, or one below it, could not be packed.
                if stack.len() < needed {
                    continue;
                }
                let below = chain(&stack[..record.below])?;
                rows.push(BuildRecordRow {
                    key: cache::key(&below, &record.body),
                    layer: (record.made != Made::Nothing).then(|| stack[record.below].id()),
                    alias: record.alias,
                    step: record.step.key(&below),
                    description: record.description.clone(),
                    notes: record.notes.clone(),
                    created_at: now.clone(),
                    used_at: now.clone(),
                    uses: 1,
                });
            }
        }
        let used = std::mem::take(&mut self.notes().used);
        self.builder.store.write(|tx| {
            for row in &rows {
                tx.set_build_record(row)?;
            }
            for key in &used {
                tx.touch_build_record(key, &now)?;
            }
            Ok::<_, BuildError>(())
        })?;
        sys::fault::step("build:recorded");
        Ok(stacks)
    }

    /// What is said when all is done: arguments that nobody asked for, writes that are lost.
    fn warnings(&self) -> String {
        let notes = self.notes();
        let mut text: String = notes
            .warnings
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        let unused: Vec<&str> = self
            .request
            .arguments
            .keys()
            .filter(|name| !notes.consumed.contains(*name) && !scope::is_proxy(name))
            .map(String::as_str)
            .collect();
        if !unused.is_empty() {
            text.push_str(&format!(
                "[Warning] One or more build-args [{}] were not consumed\n",
                unused.join(" ")
            ));
        }
        text
    }

    /// Step 5.
    fn finish(
        &self,
        done: &Done,
        blocks: &[Block],
        names: &[Reference],
    ) -> Result<String, BuildError> {
        self.check()?;
        let lines = done.lines(blocks)?;
        let id = self.builder.images.finish_built(&Finished {
            base: &done.base,
            config: &done.config,
            author: &done.author,
            blocks,
            lines: &lines,
            sources: &self.sources,
            names,
        })?;
        let short = &id["sha256:".len()..][..12];
        let text = format!(" ---> {short}\n{}", self.warnings());
        if !self.request.quiet {
            self.desk.last(&text);
            self.out.image(&id);
        }
        if self.request.quiet {
            self.out.text(&format!("{id}\n"));
            return Ok(id);
        }
        // Each in a message of its own: clients find the id by matching whole messages.
        self.desk.last(&format!("Successfully built {short}\n"));
        for name in names {
            self.desk.last(&format!(
                "Successfully tagged {}:{}\n",
                name.repository,
                name.tag_or_latest()
            ));
        }
        Ok(id)
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

/// What the Dockerfile is called and says. It and the list of what is left out leave the context if that list says so.
fn dockerfile_of(context: &mut Context, given: &str) -> Result<(String, Vec<u8>), BuildError> {
    /// How clients call a Dockerfile that is no part of the context.
    const FOREIGN: &str = ".dockerfile.";
    let path: PathBuf = Path::new(if given.is_empty() {
        "Dockerfile"
    } else {
        given
    })
    .components()
    .filter(|part| matches!(part, std::path::Component::Normal(_)))
    .collect();
    let (path, text) = match context.text(&path)? {
        Some(text) => (path, text),
        // As Docker does, for systems whose users write it so.
        None if given.is_empty() || given == "Dockerfile" => {
            let other = PathBuf::from("dockerfile");
            let text = context
                .text(&other)?
                .ok_or_else(|| BuildError::NoDockerfile("Dockerfile".to_owned()))?;
            (other, text)
        }
        None => return Err(BuildError::NoDockerfile(given.to_owned())),
    };
    let mut own = path.as_os_str().as_bytes().to_vec();
    own.extend_from_slice(b".dockerignore");
    let own = PathBuf::from(std::ffi::OsStr::from_bytes(&own));
    let list = match context.text(&own)? {
        Some(list) => Some((own, list)),
        None => context
            .text(Path::new(".dockerignore"))?
            .map(|list| (PathBuf::from(".dockerignore"), list)),
    };
    if let Some((name, list)) = list {
        let ignore = Ignore::parse(&list)
            .map_err(|error| BuildError::Invalid(format!("{}: {error}", name.display())))?;
        for file in [&path, &name] {
            if ignore.excludes(&file.to_string_lossy()) {
                context.remove(file);
            }
        }
    }
    let shown = path.to_string_lossy().into_owned();
    if shown.starts_with(FOREIGN) {
        context.remove(&path);
        return Ok(("Dockerfile".to_owned(), text));
    }
    Ok((shown, text))
}
