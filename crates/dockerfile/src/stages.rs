//! A whole file: instructions gathered into stages.
//!
//! 1. Parser directives are read.
//! 2. Instruction after instruction is joined from its lines, with the bodies of its heredocs.
//! 3. `FROM` begins a stage; before the first one only `ARG` may stand.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::lines::{Joined, Reader};
use crate::mistake::{Mistake, ParseError};
use crate::statement::{self, Place, Statement};
use crate::{Dockerfile, Instruction, Kind, Lines, Warning};

/// Reads a Dockerfile. Bytes that are not UTF-8 are replaced, with a warning.
///
/// # Errors
/// The first mistake, in Docker's words where it has any.
pub fn parse(text: &[u8]) -> Result<Dockerfile, ParseError> {
    let source = String::from_utf8_lossy(text);
    let mut reader = Reader::new(&source, '\\');
    let directives = reader.directives();
    directives.map_err(|(lines, mistake)| mistake.at(lines, None, text))?;
    let mut file = Dockerfile {
        escape: reader.escape,
        ..Dockerfile::default()
    };
    if let Cow::Owned(_) = source {
        file.warnings.push(not_utf8(text));
    }
    let mut names = HashSet::new();
    let mut is_empty = true;
    while let Some(joined) = reader.next() {
        is_empty = false;
        let (lines, read) = statement(&mut reader, &joined, text, &mut file.warnings)?;
        let fail = |text_: String| {
            let (name, _) = statement::head(&joined.text);
            Err(Mistake::new(text_).at(lines, Some(name), text))
        };
        match (read, file.stages.last_mut()) {
            (Statement::From(stage), _) => {
                if let Some(name) = &stage.name
                    && !names.insert(name.clone())
                {
                    return fail(format!("{name} stage name already used"));
                }
                file.stages.push(stage);
            }
            (Statement::Plain(instruction), Some(stage)) => stage.instructions.push(instruction),
            (Statement::Plain(instruction), None) => match instruction.kind {
                Kind::Arg(_) => file.arguments.push(instruction),
                _ => return fail("no build stage in current context".to_owned()),
            },
        }
    }
    if file.stages.is_empty() {
        let sentence = if is_empty {
            "file with no instructions"
        } else {
            "dockerfile contains no stages to build"
        };
        return Err(Mistake::new(sentence).at(Lines::default(), None, text));
    }
    Ok(file)
}

/// Reads one instruction, its heredocs included: a trigger that an image stored, or a change asked of `commit` or `import`.
///
/// # Errors
/// As [`parse`]; also if it is `FROM`, nothing, or more than one.
pub fn parse_instruction(text: &str, escape: char) -> Result<Instruction, ParseError> {
    let mut reader = Reader::new(text, escape);
    let Some(joined) = reader.next() else {
        return Err(Mistake::new("file with no instructions").at(Lines::default(), None, b""));
    };
    let (lines, read) = statement(&mut reader, &joined, text.as_bytes(), &mut Vec::new())?;
    let fail = |name: &str, sentence: &str, lines: Lines| {
        Err(Mistake::new(sentence).at(lines, Some(name.to_owned()), text.as_bytes()))
    };
    let instruction = match read {
        Statement::Plain(instruction) => instruction,
        Statement::From(_) => return fail("FROM", "FROM is not allowed here", lines),
    };
    if let Some(next) = reader.next() {
        let (name, _) = statement::head(&next.text);
        return fail(&name, "only one instruction is allowed here", next.lines);
    }
    Ok(instruction)
}

/// The instruction of some joined lines, with the bodies that follow them, and all its lines.
fn statement(
    reader: &mut Reader<'_>,
    joined: &Joined,
    source: &[u8],
    warnings: &mut Vec<Warning>,
) -> Result<(Lines, Statement), ParseError> {
    let mut lines = joined.lines;
    let fail = |mistake: Mistake, lines: Lines| {
        let (name, _) = statement::head(&joined.text);
        mistake.at(lines, Some(name), source)
    };
    if joined.has_empty_line {
        warnings.push(Warning {
            lines,
            text: format!("Empty continuation line found in: {}", joined.text),
        });
    }
    let mut bodies = Vec::new();
    for opening in statement::openings(&joined.text) {
        let Some(body) = reader.body(&opening.name, opening.chomp) else {
            let sentence = format!("unterminated heredoc: no line is {:?}", opening.name);
            return Err(fail(Mistake::new(sentence), lines));
        };
        bodies.push(body);
        lines.last = reader.read();
    }
    let mut warn = |text: String| warnings.push(Warning { lines, text });
    let place = Place {
        lines,
        bodies: &bodies,
        escape: reader.escape,
    };
    let read = statement::read(&joined.text, place, &mut warn);
    let read = read.map_err(|mistake| fail(mistake, lines))?;
    Ok((lines, read))
}

fn not_utf8(text: &[u8]) -> Warning {
    let good = match std::str::from_utf8(text) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    let line = 1 + text[..good].iter().filter(|byte| **byte == b'\n').count();
    Warning {
        lines: Lines {
            first: line,
            last: line,
        },
        text: "bytes that are not UTF-8 were replaced".to_owned(),
    }
}
