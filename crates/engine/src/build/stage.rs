//! One stage of a build: its instructions one after the other, upon layers that were known or are made.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use dockerfile::{Instruction, Kind, Lines};
use serde_json::json;
use store::LayerId;

use super::cache;
use super::copy::body;
use super::plan::From;
use super::scope::Scope;
use super::settings::{self, Expand};
use super::tree::Tree;
use super::volumes::{Declared, Lost};
use super::{Build, BuildError};
use crate::containers::Config;
use crate::containers::archive::view::View;
use crate::images::built::{Base, Block, Line, Sealing, chain};

/// What a stage has come to.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) base: Base,
    pub(super) config: Config,
    pub(super) author: String,
    pub(super) blocks: Vec<Block>,
    lines: Vec<Said>,
    volumes: Vec<Declared>,
}

/// A line of the image's history.
#[derive(Debug, Clone)]
struct Said {
    created_by: String,
    /// It added a layer.
    layer: bool,
    step: Step,
}

/// What a step is known by.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// It is only a setting.
    None,
    Key(String),
    /// What it depends on beside the layers below, which may not be packed yet.
    Body(String),
}

impl Step {
    /// Upon these layers; empty for none.
    pub(super) fn key(&self, below: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::Key(key) => key.clone(),
            Self::Body(body) => cache::key(below, body),
        }
    }
}

impl Done {
    /// The lines that the stage adds to the history of its base, now that its layers are published.
    pub(super) fn lines(&self, blocks: &[Block]) -> Result<Vec<Line>, BuildError> {
        let mut below = self.base.blocks.len();
        let mut lines = Vec::new();
        for said in &self.lines {
            lines.push(Line {
                created_by: said.created_by.clone(),
                layer: said.layer,
                step: said.step.key(&chain(&blocks[..below])?),
            });
            below += usize::from(said.layer);
        }
        Ok(lines)
    }
}

/// What a step gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Layer(LayerId),
    /// It changed no file.
    Nothing,
}

/// A step that later builds need not do again.
#[derive(Debug)]
pub(super) struct Record {
    /// What it depends on beside the layers below.
    pub(super) body: String,
    pub(super) alias: bool,
    /// What it is known by itself, whatever its other names.
    pub(super) step: Step,
    /// How many layers were below.
    pub(super) below: usize,
    pub(super) made: Made,
    pub(super) description: String,
    pub(super) notes: String,
}

/// A step that need not be done.
struct Known {
    /// The layer that it made.
    block: Option<Block>,
    step: String,
    notes: String,
    is_recorded: bool,
}

pub(super) struct Stage<'b> {
    pub(super) build: &'b Build<'b>,
    /// In the order of work.
    pub(super) position: usize,
    pub(super) config: Config,
    pub(super) scope: Scope,
    pub(super) blocks: Vec<Block>,
    pub(super) volumes: Vec<Declared>,
    pub(super) records: Vec<Record>,
    base: Base,
    author: String,
    lines: Vec<Said>,
    has_command: bool,
}

impl Expand for Scope {
    fn word(&self, text: &str, config: &Config) -> Result<String, BuildError> {
        Self::word(self, text, config)
    }

    fn words(&self, text: &str, config: &Config) -> Result<Vec<String>, BuildError> {
        Self::words(self, text, config)
    }
}

impl<'b> Stage<'b> {
    /// A stage with what its `FROM` gives it.
    pub(super) fn begin(build: &'b Build<'b>, position: usize) -> Result<Self, BuildError> {
        let planned = &build.plan.stages[position];
        let done = match &planned.from {
            From::Scratch => fresh(Base::scratch()),
            From::Image(base) => fresh(base.as_ref().clone()),
            From::Stage(other) => build.finished.wait(*other)?.as_ref().clone(),
        };
        let mut config = done.config;
        config.on_build = None;
        Ok(Self {
            build,
            position,
            config,
            scope: Scope::new(build.globals.escape),
            blocks: done.blocks,
            volumes: done.volumes,
            records: Vec::new(),
            base: done.base,
            author: done.author,
            lines: done.lines,
            has_command: false,
        })
    }

    /// Everything between one `FROM` and the next.
    pub(super) fn work(&mut self) -> Result<(), BuildError> {
        let planned = &self.build.plan.stages[self.position];
        let total = self.build.plan.total;
        let is_target = self.position + 1 == self.build.plan.stages.len();
        let mut number = planned.first_step;
        self.say(&format!("Step {number}/{total} : {}\n", planned.text));
        let only = planned.instructions.is_empty() && self.build.request.labels.is_empty();
        if !planned.triggers.is_empty() {
            let count = planned.triggers.len();
            let s = if count == 1 { "" } else { "s" };
            self.say(&format!("# Executing {count} build trigger{s}\n"));
            for trigger in &planned.triggers {
                self.instruction(trigger)?;
            }
        }
        if !(is_target && only) {
            self.arrow();
        }
        let last = planned.instructions.len();
        for (index, instruction) in planned.instructions.iter().enumerate() {
            number += 1;
            self.say(&format!("Step {number}/{total} : {}\n", instruction.text));
            self.instruction(instruction)
                .inspect_err(|_| self.build.show(self.position, instruction.lines))?;
            let is_last = index + 1 == last && self.build.request.labels.is_empty();
            if !(is_target && is_last) {
                self.arrow();
            }
        }
        if is_target && !self.build.request.labels.is_empty() {
            let labels = &self.build.request.labels;
            let shown: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let shown = shown.join(" ");
            self.say(&format!("Step {total}/{total} : LABEL {shown}\n"));
            self.config.labels.extend(labels.clone());
            self.line(format!("LABEL {shown}"));
        }
        Ok(())
    }

    pub(super) fn done(&self) -> Done {
        Done {
            base: self.base.clone(),
            config: self.config.clone(),
            author: self.author.clone(),
            blocks: self.blocks.clone(),
            lines: self.lines.clone(),
            volumes: self.volumes.clone(),
        }
    }

    pub(super) fn say(&self, text: &str) {
        self.build.desk.text(self.position, text);
    }

    /// A short name for what there is now. It is no image: it cannot be inspected.
    fn arrow(&self) {
        let unchanged = self.lines.is_empty() && !self.base.id.is_empty();
        let id = if unchanged {
            self.base.id.trim_start_matches("sha256:").to_owned()
        } else if self.lines.is_empty() {
            String::new()
        } else {
            let layers: Vec<i64> = self.blocks.iter().map(|block| block.id().0).collect();
            let lines: Vec<&str> = self
                .lines
                .iter()
                .map(|line| line.created_by.as_str())
                .collect();
            body(&json!([layers, lines]))
        };
        self.say(&format!(" ---> {}\n", id.get(..12).unwrap_or(&id)));
    }

    /// A line for something that is only a setting.
    fn line(&mut self, created_by: String) {
        self.step_line(created_by, false, Step::None);
    }

    fn step_line(&mut self, created_by: String, layer: bool, step: Step) {
        self.lines.push(Said {
            created_by,
            layer,
            step,
        });
    }

    pub(super) fn word(&self, text: &str) -> Result<String, BuildError> {
        self.scope.word(text, &self.config)
    }

    fn instruction(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        self.build.check()?;
        match &instruction.kind {
            Kind::Run(run) => self.run(instruction, run),
            Kind::Copy(copy) => self.copy(instruction, copy, "COPY"),
            Kind::Add(copy) => self.copy(instruction, copy, "ADD"),
            Kind::Arg(list) => {
                for (name, default) in list {
                    self.scope.declare(
                        name,
                        default.as_deref(),
                        &self.build.globals,
                        &self.config,
                    )?;
                    self.build.consumed(name);
                }
                self.line(instruction.text.clone());
                Ok(())
            }
            kind => {
                let scope = self.scope.clone();
                if let Some(line) = settings::apply(&mut self.config, kind, &scope)? {
                    match kind {
                        Kind::Workdir(_) => return self.working_directory(&line),
                        Kind::Volume(_) => self.declare_volumes(instruction.lines),
                        Kind::Maintainer(name) => self.author.clone_from(name),
                        Kind::Cmd(_) => self.has_command = true,
                        // A command that was meant for another entry point means nothing to this one.
                        Kind::Entrypoint(_) if !self.has_command => self.config.cmd = None,
                        _ => {}
                    }
                    self.line(line);
                }
                Ok(())
            }
        }
    }

    fn declare_volumes(&mut self, lines: Lines) {
        for path in self.config.volumes.iter().flatten().map(|(path, _)| path) {
            let path = settings::absolute(path, "/");
            if path != "/" && !self.volumes.iter().any(|known| known.path == path) {
                self.volumes.push(Declared {
                    path,
                    lines: Some(lines),
                });
            }
        }
    }

    /// The directory of a `WORKDIR` is made.
    fn working_directory(&mut self, line: &str) -> Result<(), BuildError> {
        let path = PathBuf::from(self.config.working_dir.trim_start_matches('/'));
        if path.as_os_str().is_empty() {
            self.line(line.to_owned());
            return Ok(());
        }
        let key = body(&json!(["WORKDIR", path]));
        if self.use_cached(&key, &[], line)? {
            return Ok(());
        }
        let made = self.fill_layer(|root| {
            sys::dir::mkdir_all_in_root(root, &path, 0o755)
                .map(drop)
                .map_err(|source| BuildError::File {
                    action: "cannot make the working directory",
                    path: path.clone(),
                    source,
                })
        })?;
        self.record(&key, &[], made, line);
        Ok(())
    }

    /// A new layer whose files `fill` makes in the image's root.
    pub(super) fn fill_layer(
        &mut self,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<(), BuildError>,
    ) -> Result<Made, BuildError> {
        let build = self.build;
        let _place = build.gate.enter();
        build.check()?;
        let images = &build.builder.images;
        let layer = images.open_layer()?;
        let filled = self.view_of_layer(layer).and_then(|view| fill(view.root()));
        sys::fault::step("build:filled");
        match filled {
            Ok(()) => self.close_layer(layer),
            Err(error) => {
                images.discard_layer(layer)?;
                Err(error)
            }
        }
    }

    /// The files of this stage; changes go to the layer.
    pub(super) fn view_of_layer(&self, layer: LayerId) -> Result<View<'b>, BuildError> {
        let builder = self.build.builder;
        Ok(builder.containers.view_layers(
            builder.images.stack(&self.blocks),
            builder.paths.layer_fs(layer),
            builder.paths.layer_work(layer),
        )?)
    }

    /// A layer that was filled is the topmost from now on, and is packed in the background; an empty one is none.
    pub(super) fn close_layer(&mut self, layer: LayerId) -> Result<Made, BuildError> {
        let builder = self.build.builder;
        let path = builder.paths.layer_fs(layer);
        let is_empty = sys::dir::open(&path)
            .and_then(|opened| sys::dir::read_dir(std::os::fd::AsFd::as_fd(&opened)))
            .map_err(|source| BuildError::File {
                action: "cannot read",
                path,
                source,
            })?
            .is_empty();
        if is_empty {
            builder.images.discard_layer(layer)?;
            return Ok(Made::Nothing);
        }
        let sealing = Arc::new(Sealing::new(layer));
        builder.seal(&sealing)?;
        self.blocks.push(Block::Fresh(sealing));
        Ok(Made::Layer(layer))
    }

    /// Remembers a step that was done, also under its other names.
    pub(super) fn record(&mut self, key: &str, aliases: &[String], made: Made, text: &str) {
        self.record_with(key, aliases, made, text, &[]);
    }

    pub(super) fn record_with(
        &mut self,
        key: &str,
        aliases: &[String],
        made: Made,
        text: &str,
        lost: &[Lost],
    ) {
        let is_layer = made != Made::Nothing;
        let below = self.blocks.len() - usize::from(is_layer);
        let names =
            std::iter::once((key, false)).chain(aliases.iter().map(|alias| (alias.as_str(), true)));
        for (body, alias) in names {
            self.records.push(Record {
                body: body.to_owned(),
                alias,
                step: Step::Body(key.to_owned()),
                below,
                made,
                description: text.to_owned(),
                notes: serde_json::to_string(lost).expect("plain data serialises"),
            });
        }
        self.step_line(text.to_owned(), is_layer, Step::Body(key.to_owned()));
    }

    pub(super) fn use_cached(
        &mut self,
        key: &str,
        aliases: &[String],
        text: &str,
    ) -> Result<bool, BuildError> {
        Ok(self.use_cached_notes(key, aliases, text)?.is_some())
    }

    /// Does what a record of the step with this key says was done; `None`: there is none.
    pub(super) fn use_cached_notes(
        &mut self,
        key: &str,
        aliases: &[String],
        text: &str,
    ) -> Result<Option<Vec<Lost>>, BuildError> {
        let build = self.build;
        // Upon a layer that is new, nothing was ever done.
        let is_known = self
            .blocks
            .iter()
            .all(|block| matches!(block, Block::Known(_)));
        if build.request.no_cache || !is_known {
            return Ok(None);
        }
        let Some(known) = self.known(&chain(&self.blocks)?, key)? else {
            return Ok(None);
        };
        self.say(" ---> Using cache\n");
        let count = self.blocks.len();
        let made = known
            .block
            .as_ref()
            .map_or(Made::Nothing, |block| Made::Layer(block.id()));
        // Names under which the step was not known yet, and its own if an image told of it.
        let mut names: Vec<(&str, bool)> = Vec::new();
        if known.is_recorded {
            build.used(&cache::key(&chain(&self.blocks)?, key));
        } else {
            names.push((key, false));
        }
        names.extend(
            aliases
                .iter()
                .filter(|alias| *alias != key)
                .map(|alias| (alias.as_str(), true)),
        );
        for (body, alias) in names {
            self.records.push(Record {
                body: body.to_owned(),
                alias,
                step: Step::Key(known.step.clone()),
                below: count,
                made,
                description: text.to_owned(),
                notes: known.notes.clone(),
            });
        }
        self.step_line(
            text.to_owned(),
            known.block.is_some(),
            Step::Key(known.step),
        );
        self.blocks.extend(known.block);
        Ok(Some(serde_json::from_str(&known.notes).unwrap_or_default()))
    }

    /// What is remembered of a step upon the layers `below`, or what an image of `--cache-from` tells of it.
    fn known(&self, below: &str, body: &str) -> Result<Option<Known>, BuildError> {
        let builder = self.build.builder;
        // What an earlier version remembered under another name does not say what the history is to say.
        let row = builder
            .look_up(below, body)?
            .filter(|row| !(row.alias && row.step.is_empty()));
        if let Some(row) = row {
            let step = if row.alias { row.step } else { row.key };
            let known = |block| Known {
                block,
                step,
                notes: row.notes,
                is_recorded: true,
            };
            match row.layer {
                None => return Ok(Some(known(None))),
                Some(id) => {
                    if let Some(block) = builder.images.published(id)? {
                        return Ok(Some(known(Some(block))));
                    }
                }
            }
        }
        let step = cache::key(below, body);
        let told = self.build.sources.iter();
        let found = told
            .filter_map(|image| image.step(&step, &self.blocks))
            .next();
        Ok(found.map(|block| Known {
            block,
            step,
            notes: "[]".to_owned(),
            is_recorded: false,
        }))
    }

    /// The layers of another stage or of an image.
    pub(super) fn blocks_of(&self, from: &str) -> Result<Vec<Block>, BuildError> {
        let build = self.build;
        let own = build.plan.stages[self.position].index;
        match build.plan.stage_before(from, own)? {
            Some(position) => Ok(build.finished.wait(position)?.blocks.clone()),
            None => match build.image(from) {
                Ok(image) => Ok(image.blocks),
                Err(error @ BuildError::Image(_)) => Err(match build.plan.stage_like(from, own) {
                    Some(suggestion) => BuildError::NoStage {
                        from: from.to_owned(),
                        suggestion,
                        source: Box::new(error),
                    },
                    None => error,
                }),
                Err(error) => Err(error),
            },
        }
    }

    /// The id of those layers; waits until they are packed.
    pub(super) fn chain_of(&self, from: &str) -> Result<String, BuildError> {
        Ok(chain(&self.blocks_of(from)?)?)
    }

    /// The files of another stage or of an image.
    pub(super) fn tree_of(&self, from: &str) -> Result<Tree<'b>, BuildError> {
        let builder = self.build.builder;
        let blocks = self.blocks_of(from)?;
        let (upper, work) = self.build.scratch.overlay()?;
        let view = builder
            .containers
            .view_layers(builder.images.stack(&blocks), upper, work)?;
        Ok(Tree::Files(view))
    }
}

fn fresh(base: Base) -> Done {
    let volumes = base.config.volumes.iter().flatten();
    Done {
        config: base.config.clone(),
        author: String::new(),
        blocks: base.blocks.clone(),
        lines: Vec::new(),
        volumes: volumes
            .map(|(path, _)| Declared {
                path: settings::absolute(path, "/"),
                lines: None,
            })
            .filter(|declared| declared.path != "/")
            .collect(),
        base,
    }
}
