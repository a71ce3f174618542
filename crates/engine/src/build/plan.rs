//! What a build has to do: the stages that its target needs, in the order of the file, with their base images and triggers.

use std::collections::BTreeMap;

use dockerfile::{Dockerfile, Instruction, Kind};

use super::BuildError;
use super::scope::Globals;
use crate::images::built::Base;

#[derive(Debug)]
pub(super) struct Plan {
    /// The last one is the target.
    pub(super) stages: Vec<Planned>,
    /// Steps of all of them.
    pub(super) total: usize,
    /// Names of all stages of the file, with their place in it.
    names: Vec<Option<String>>,
}

#[derive(Debug)]
pub(super) struct Planned {
    /// In the file.
    pub(super) index: usize,
    pub(super) from: From,
    /// The `FROM` line.
    pub(super) text: String,
    /// `ONBUILD` of what it is built upon.
    pub(super) triggers: Vec<Instruction>,
    pub(super) instructions: Vec<Instruction>,
    /// The number of its `FROM`.
    pub(super) first_step: usize,
}

#[derive(Debug)]
pub(super) enum From {
    Scratch,
    Image(Box<Base>),
    /// By its place in [`Plan::stages`].
    Stage(usize),
}

/// Before it is known which stages are left out.
struct Needed {
    base: Option<Base>,
    /// By its place in the file.
    above: Option<usize>,
    triggers: Vec<Instruction>,
}

/// Finds base images, pulling what is missing.
pub(super) trait FindImage {
    fn find(&self, name: &str, platform: Option<&str>) -> Result<Base, BuildError>;
}

impl Plan {
    pub(super) fn new(
        file: Dockerfile,
        target: &str,
        labels: bool,
        platform: Option<&str>,
        globals: &Globals,
        images: &dyn FindImage,
    ) -> Result<Self, BuildError> {
        let names: Vec<Option<String>> =
            file.stages.iter().map(|stage| stage.name.clone()).collect();
        let target = match target {
            "" => file.stages.len() - 1,
            name => position(&names, name, names.len())
                .ok_or_else(|| BuildError::NoTarget(name.to_owned()))?,
        };
        let mut needed: BTreeMap<usize, Needed> = BTreeMap::new();
        let mut ahead = vec![target];
        while let Some(index) = ahead.pop() {
            if needed.contains_key(&index) {
                continue;
            }
            let stage = &file.stages[index];
            let name = globals.word(&stage.image)?;
            if name.is_empty() {
                return Err(BuildError::Invalid(format!(
                    "base name ({}) should not be blank",
                    stage.image
                )));
            }
            let above = names[..index]
                .iter()
                .rposition(|known| known.as_deref() == Some(name.to_lowercase().as_str()));
            let wanted = match &stage.platform {
                Some(text) => Some(globals.word(text)?).filter(|text| !text.is_empty()),
                None => platform.map(str::to_owned),
            };
            let (base, triggers) = match above {
                Some(above) => {
                    let triggers = file.stages[above].instructions.iter();
                    let triggers = triggers.filter_map(|one| match &one.kind {
                        Kind::Onbuild(trigger) => Some(trigger.as_ref().clone()),
                        _ => None,
                    });
                    (None, triggers.collect())
                }
                None if name == "scratch" => (None, Vec::new()),
                None => {
                    let base = images.find(&name, wanted.as_deref())?;
                    let triggers = triggers(&base)?;
                    (Some(base), triggers)
                }
            };
            ahead.extend(above);
            for instruction in triggers.iter().chain(&stage.instructions) {
                for from in sources(instruction) {
                    ahead.extend(position(&names, from, index));
                }
            }
            needed.insert(
                index,
                Needed {
                    base,
                    above,
                    triggers,
                },
            );
        }
        let places: BTreeMap<usize, usize> = needed.keys().copied().zip(0..).collect();
        let mut total = 0;
        let mut stages = Vec::new();
        for (index, stage) in file.stages.into_iter().enumerate() {
            let Some(one) = needed.remove(&index) else {
                continue;
            };
            let first_step = total + 1;
            total += 1 + stage.instructions.len();
            stages.push(Planned {
                index,
                from: match (one.above, one.base) {
                    (Some(above), _) => From::Stage(places[&above]),
                    (None, Some(base)) => From::Image(Box::new(base)),
                    (None, None) => From::Scratch,
                },
                text: stage.text,
                triggers: one.triggers,
                instructions: stage.instructions,
                first_step,
            });
        }
        Ok(Self {
            stages,
            total: total + usize::from(labels),
            names,
        })
    }

    /// The stage that was probably meant, seen from a stage of the file.
    pub(super) fn stage_like(&self, from: &str, index: usize) -> Option<String> {
        dockerfile::closest(
            from,
            self.names[..index].iter().flatten().map(String::as_str),
        )
    }

    /// The place in [`Plan::stages`] of what `--from` names, seen from a stage of the file; `None`: an image.
    pub(super) fn stage_before(
        &self,
        from: &str,
        index: usize,
    ) -> Result<Option<usize>, BuildError> {
        if let Some(index) = position(&self.names, from, index) {
            return Ok(self.stages.iter().position(|stage| stage.index == index));
        }
        if from.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BuildError::Invalid(format!(
                "invalid from flag value {from}: invalid stage index {from}"
            )));
        }
        Ok(None)
    }
}

/// A stage of the file by name or number, before the stage `end`.
fn position(names: &[Option<String>], name: &str, end: usize) -> Option<usize> {
    let lower = name.to_lowercase();
    names[..end]
        .iter()
        .rposition(|known| known.as_deref() == Some(lower.as_str()))
        .or_else(|| name.parse().ok().filter(|index| *index < end))
}

/// What an instruction copies or mounts from.
fn sources(instruction: &Instruction) -> Vec<&str> {
    match &instruction.kind {
        Kind::Copy(copy) | Kind::Add(copy) => copy.from.iter().map(String::as_str).collect(),
        Kind::Run(run) => run
            .mounts
            .iter()
            .map(|mount| mount.from.as_str())
            .filter(|from| !from.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

fn triggers(base: &Base) -> Result<Vec<Instruction>, BuildError> {
    base.config
        .on_build
        .iter()
        .flatten()
        .map(|text| {
            dockerfile::parse_instruction(text, '\\').map_err(|error| BuildError::Dockerfile {
                report: error.report("ONBUILD"),
            })
        })
        .collect()
}
