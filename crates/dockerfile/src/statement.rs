//! One instruction: its name, its flags, its arguments.

use crate::command;
use crate::copy;
use crate::flags::{self, Flags, Known, Takes};
use crate::healthcheck;
use crate::heredoc::{self, Opening};
use crate::json::{self, Form};
use crate::mistake::Mistake;
use crate::mount;
use crate::pairs;
use crate::suggest::closest;
use crate::{Command, Instruction, Kind, Lines, Run, Stage};

const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const RUN: Known = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
];

/// Letters of an unknown instruction that the error shows.
const SHOWN: usize = 100;

/// What stands in a file besides comments.
#[derive(Debug)]
pub(crate) enum Statement {
    From(Stage),
    Plain(Instruction),
}

/// What is known of an instruction beside its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) lines: Lines,
    /// Of the heredocs that it [opens](openings), in their order.
    pub(crate) bodies: &'a [String],
    pub(crate) escape: char,
}

/// The name in upper case, and what follows it.
pub(crate) fn head(text: &str) -> (String, &str) {
    let (name, rest) = text.split_once(is_blank).unwrap_or((text, ""));
    let rest = rest.trim_start_matches(is_blank);
    (name.to_ascii_uppercase(), rest.trim_end_matches(CLOSING))
}

/// Heredocs that the instruction opens: in `RUN`, `COPY` and `ADD`, also as triggers, and not in the exec form.
pub(crate) fn openings(text: &str) -> Vec<Opening> {
    let (mut name, mut rest) = head(text);
    if name == "ONBUILD" {
        (name, rest) = head(flags::split(rest).1);
    }
    if !["RUN", "COPY", "ADD"].contains(&name.as_str()) {
        return Vec::new();
    }
    let (_, rest) = flags::split(rest);
    match json::form(rest) {
        Form::Strings(_) => Vec::new(),
        Form::Mixed | Form::NotJson => heredoc::openings(rest),
    }
}

/// Reads an instruction; `warn` hears what is legal and doubtful.
pub(crate) fn read(
    text: &str,
    place: Place<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Statement, Mistake> {
    let (name, rest) = head(text);
    let (given, rest) = flags::split(rest);
    if name == "FROM" {
        let flags = Flags::check(&given, &[("platform", Takes::Value)])?;
        return Ok(Statement::From(from(text, place.lines, &flags, rest)?));
    }
    let kind = kind(&name, text, &given, rest, place, warn)?;
    Ok(Statement::Plain(Instruction {
        lines: place.lines,
        text: text.to_owned(),
        kind,
    }))
}

fn kind(
    name: &str,
    text: &str,
    given: &[String],
    rest: &str,
    place: Place<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Kind, Mistake> {
    let known = match name {
        "ADD" => copy::ADD,
        "COPY" => copy::COPY,
        "RUN" => RUN,
        "HEALTHCHECK" => healthcheck::FLAGS,
        _ if NAMES.contains(&name) => &[],
        _ => {
            let written = text.chars().take_while(|letter| !is_blank(*letter));
            let written: String = written.take(SHOWN).collect();
            return Err(Mistake::suggesting(
                format!("unknown instruction: {written}"),
                closest(name, NAMES.iter().copied()),
            ));
        }
    };
    let flags = Flags::check(given, known)?;
    let mut doubt = |doubtful: bool| {
        if doubtful {
            warn(format!(
                "{name} looks like a JSON array but is not one: the shell gets it as it is"
            ));
        }
    };
    Ok(match name {
        "ADD" => Kind::Add(copy::read(name, &flags, rest, place.bodies)?),
        "COPY" => Kind::Copy(copy::read(name, &flags, rest, place.bodies)?),
        "ARG" => Kind::Arg(pairs::arguments(rest, place.escape)?),
        "ENV" | "LABEL" => {
            let (pairs, old) = pairs::pairs(name, rest, place.escape)?;
            if old {
                warn(format!(
                    "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
                ));
            }
            if name == "ENV" {
                Kind::Env(pairs)
            } else {
                Kind::Label(pairs)
            }
        }
        "CMD" | "ENTRYPOINT" => {
            let (command, doubtful) = command::read(rest)?;
            doubt(doubtful);
            if name == "CMD" {
                Kind::Cmd(command)
            } else {
                Kind::Entrypoint(command)
            }
        }
        "RUN" => {
            let (run, doubtful) = run(&flags, rest, place.bodies)?;
            doubt(doubtful);
            Kind::Run(run)
        }
        "HEALTHCHECK" => {
            let (check, doubtful) = healthcheck::read(&flags, rest)?;
            doubt(doubtful);
            Kind::Healthcheck(check)
        }
        "SHELL" => match command::read(rest)? {
            (Command::Exec(words), _) if words.is_empty() => return Err(at_least_one(name)),
            (Command::Exec(words), _) => Kind::Shell(words),
            (Command::Shell(_), _) => {
                return Err(Mistake::new(
                    "SHELL requires the arguments to be in JSON form",
                ));
            }
        },
        "EXPOSE" => {
            let ports: Vec<String> = words(rest).collect();
            if ports.is_empty() {
                return Err(at_least_one(name));
            }
            Kind::Expose(ports)
        }
        "VOLUME" => Kind::Volume(volumes(rest)?),
        "MAINTAINER" => {
            warn("Maintainer instruction is deprecated in favor of using label".to_owned());
            Kind::Maintainer(exactly_one(name, rest)?)
        }
        "STOPSIGNAL" => Kind::Stopsignal(exactly_one(name, rest)?),
        "USER" => Kind::User(exactly_one(name, rest)?),
        "WORKDIR" => Kind::Workdir(exactly_one(name, rest)?),
        // FROM was read before, so this is ONBUILD.
        _ => Kind::Onbuild(Box::new(trigger(rest, place, warn)?)),
    })
}

fn run(flags: &Flags, rest: &str, bodies: &[String]) -> Result<(Run, bool), Mistake> {
    let (command, doubtful) = command::read(rest)?;
    if command == Command::Exec(Vec::new()) {
        return Err(at_least_one("RUN"));
    }
    let heredocs = match &command {
        Command::Shell(line) => heredoc::openings(line)
            .into_iter()
            .zip(bodies)
            .map(|(opening, body)| opening.filled(body))
            .collect(),
        Command::Exec(_) => Vec::new(),
    };
    let mounts = flags.values("mount");
    let mounts = mounts.iter().map(|text| mount::read(text));
    let network = flags.value("network");
    if let Some(network) = &network
        && !["default", "none", "host"].contains(&network.as_str())
    {
        return Err(Mistake::new(format!("invalid network mode {network:?}")));
    }
    let security = flags.value("security");
    if let Some(security) = &security
        && !["sandbox", "insecure"].contains(&security.as_str())
    {
        return Err(Mistake::new(format!("security {security:?} is not valid")));
    }
    let run = Run {
        command,
        heredocs,
        mounts: mounts.collect::<Result<_, _>>()?,
        network,
        security,
    };
    Ok((run, doubtful))
}

/// The instruction of an `ONBUILD`. Its text has its heredocs: it is all that is stored.
fn trigger(
    rest: &str,
    place: Place<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Instruction, Mistake> {
    let (name, _) = head(rest);
    match name.as_str() {
        "" => return Err(at_least_one("ONBUILD")),
        "ONBUILD" => {
            return Err(Mistake::new(
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ));
        }
        "MAINTAINER" | "FROM" => {
            return Err(Mistake::new(format!(
                "{name} isn't allowed as an ONBUILD trigger"
            )));
        }
        _ => {}
    }
    match read(rest, place, warn)? {
        Statement::Plain(mut instruction) => {
            for (opening, body) in openings(rest).iter().zip(place.bodies) {
                instruction
                    .text
                    .push_str(&format!("\n{body}{}", opening.name));
            }
            Ok(instruction)
        }
        Statement::From(_) => Err(Mistake::new("FROM isn't allowed as an ONBUILD trigger")),
    }
}

fn from(text: &str, lines: Lines, flags: &Flags, rest: &str) -> Result<Stage, Mistake> {
    let words: Vec<String> = words(rest).collect();
    let (image, name) = match words.as_slice() {
        [image] => (image, None),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            (image, Some(stage_name(name)?))
        }
        _ => {
            return Err(Mistake::new("FROM requires either one or three arguments"));
        }
    };
    Ok(Stage {
        name,
        image: image.clone(),
        platform: flags.filled("platform"),
        lines,
        text: text.to_owned(),
        instructions: Vec::new(),
    })
}

fn stage_name(written: &str) -> Result<String, Mistake> {
    let name = written.to_lowercase();
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if !good {
        return Err(Mistake::new(format!(
            "invalid name for build stage: {written:?}, name can't start with a number or contain symbols"
        )));
    }
    Ok(name)
}

fn volumes(rest: &str) -> Result<Vec<String>, Mistake> {
    let volumes: Vec<String> = match json::form(rest) {
        Form::Strings(words) => words,
        Form::Mixed => return Err(Mistake::new(command::NOT_STRINGS)),
        Form::NotJson => words(rest).collect(),
    };
    if volumes.is_empty() {
        return Err(at_least_one("VOLUME"));
    }
    let volumes: Vec<String> = volumes
        .iter()
        .map(|volume| volume.trim().to_owned())
        .collect();
    if volumes.iter().any(String::is_empty) {
        return Err(Mistake::new("VOLUME specified can not be an empty string"));
    }
    Ok(volumes)
}

fn exactly_one(name: &str, rest: &str) -> Result<String, Mistake> {
    if rest.is_empty() {
        return Err(Mistake::new(format!(
            "{name} requires exactly one argument"
        )));
    }
    Ok(rest.to_owned())
}

fn at_least_one(name: &str) -> Mistake {
    Mistake::new(format!("{name} requires at least one argument"))
}

/// What stands between blanks.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(is_blank)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
}

/// Blanks that may follow an escape character at the end of a line, and mean nothing at the end of an instruction. Others
/// stay there: without them, an escape character before them would continue the line when it is read again.
pub(crate) const CLOSING: [char; 3] = [' ', '\t', '\r'];

/// Blanks that separate words of an instruction.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{b}' | '\u{c}' | '\r')
}
