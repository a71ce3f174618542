//! What clap found wrong, in docker's words.

use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command, CommandFactory as _};

use super::{Typed, help, typed};
use crate::commands::Cli;

/// Prints help, version or a mistake; the exit code.
pub(super) fn print(error: &Error, words: &[String]) -> i32 {
    let mut root = Cli::command();
    root.build();
    let typed = typed(&root, words);
    match error.kind() {
        ErrorKind::DisplayHelp => {
            print!("{}", help::text(&typed));
            0
        }
        ErrorKind::DisplayVersion => {
            println!("orlop version {}", env!("CARGO_PKG_VERSION"));
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            eprint!("{}", help::text(&typed));
            0
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(error, ContextKind::InvalidSubcommand);
            if typed.path.len() == 1 {
                eprintln!("orlop: '{word}' is not an orlop command.\nSee 'orlop --help'");
            } else {
                let name = typed.name();
                eprintln!(
                    "orlop: unknown command: {name} {word}{}",
                    help::reminder(&typed)
                );
            }
            1
        }
        _ => {
            let (text, code) = mistake(error, &typed, words);
            eprintln!("{text}{}", help::reminder(&typed));
            code
        }
    }
}

fn context(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    }
}

fn mistake(error: &Error, typed: &Typed<'_>, words: &[String]) -> (String, i32) {
    let argument = context(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let name = argument.split('=').next().unwrap_or_default();
            (format!("unknown flag: {name}"), 125)
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') && argument.len() > 1 => {
            let letter = argument.chars().nth(1).unwrap_or_default();
            let is_it = |word: &&String| {
                word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
            };
            let word = words.iter().find(is_it).unwrap_or(&argument);
            (format!("unknown shorthand flag: '{letter}' in {word}"), 125)
        }
        ErrorKind::UnknownArgument
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues => (count(typed), 1),
        _ => {
            let Some(flag) = flag(typed.command, &argument) else {
                return (error.to_string().trim_end().to_owned(), 125);
            };
            let value = context(error, ContextKind::InvalidValue);
            let source = std::error::Error::source(error);
            match source {
                None if value.is_empty() => (needs_argument(flag, words), 125),
                source => {
                    let why = source.map_or_else(String::new, |why| reason(why, flag, &value));
                    let name = spelled(flag);
                    (
                        format!("invalid argument \"{value}\" for \"{name}\" flag: {why}"),
                        125,
                    )
                }
            }
        }
    }
}

/// The flag of which clap says `--name <value>`.
fn flag<'a>(command: &'a Command, said: &str) -> Option<&'a Arg> {
    let name = said
        .trim_start_matches('-')
        .split([' ', '=', '['])
        .next()
        .unwrap_or_default();
    command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name))
}

/// `-n, --last`.
fn spelled(flag: &Arg) -> String {
    let long = flag.get_long().unwrap_or_default();
    match flag.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

fn needs_argument(flag: &Arg, words: &[String]) -> String {
    let last = words.last().map(String::as_str).unwrap_or_default();
    match flag.get_short() {
        Some(short) if !last.starts_with("--") => {
            format!("flag needs an argument: '{short}' in {last}")
        }
        _ => format!(
            "flag needs an argument: --{}",
            flag.get_long().unwrap_or_default()
        ),
    }
}

/// Numbers are refused in the words of Go's parser.
fn reason(why: &(dyn std::error::Error + 'static), flag: &Arg, value: &str) -> String {
    let text = why.to_string();
    let unsigned = flag
        .get_value_names()
        .and_then(<[_]>::first)
        .is_some_and(|name| name.starts_with("uint"));
    let function = if unsigned { "ParseUint" } else { "ParseInt" };
    let syntax = match why.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => "value out of range",
        Some(_) => "invalid syntax",
        None if text.contains(" is not in ") => "value out of range",
        None if text.contains("invalid digit") => "invalid syntax",
        None => return text,
    };
    format!("strconv.{function}: parsing \"{value}\": {syntax}")
}

/// How many arguments a command takes, when it got another number of them.
fn count(typed: &Typed<'_>) -> String {
    let (least, most) = help::arity(typed.command);
    let name = typed.name();
    let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
    match most {
        None => format!(
            "orlop: '{name}' requires at least {least} {}",
            plural(least)
        ),
        Some(0) => format!("orlop: '{name}' accepts no arguments"),
        Some(most) if most == least => {
            format!("orlop: '{name}' requires {least} {}", plural(least))
        }
        Some(most) if least == 0 => {
            format!("orlop: '{name}' requires at most {most} {}", plural(most))
        }
        Some(most) => format!(
            "orlop: '{name}' requires at least {least} and at most {most} {}",
            plural(most)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (String, i32) {
        let mut root = Cli::command();
        root.build();
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = super::super::tolerant(Cli::command())
            .try_get_matches_from(&arguments)
            .unwrap_err();
        mistake(&error, &typed(&root, &arguments[1..]), &arguments[1..])
    }

    #[test]
    fn mistakes_are_dockers() {
        for (line, text, code) in [
            ("orlop ps --foo", "unknown flag: --foo", 125),
            ("orlop ps --foo=1", "unknown flag: --foo", 125),
            ("orlop run -dZ x", "unknown shorthand flag: 'Z' in -dZ", 125),
            ("orlop run -e", "flag needs an argument: 'e' in -e", 125),
            ("orlop run --env", "flag needs an argument: --env", 125),
            (
                "orlop ps -n x",
                "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
                125,
            ),
            (
                "orlop run --blkio-weight 70000 x",
                "invalid argument \"70000\" for \"--blkio-weight\" flag: strconv.ParseUint: parsing \"70000\": value out of range",
                125,
            ),
            (
                "orlop run --tty=x x",
                "invalid argument \"x\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
                125,
            ),
            (
                "orlop rm",
                "orlop: 'orlop rm' requires at least 1 argument",
                1,
            ),
            (
                "orlop run --rm",
                "orlop: 'orlop run' requires at least 1 argument",
                1,
            ),
            (
                "orlop exec web",
                "orlop: 'orlop exec' requires at least 2 arguments",
                1,
            ),
            ("orlop tag a", "orlop: 'orlop tag' requires 2 arguments", 1),
            ("orlop ps x", "orlop: 'orlop ps' accepts no arguments", 1),
            (
                "orlop images a b",
                "orlop: 'orlop images' requires at most 1 argument",
                1,
            ),
            (
                "orlop commit",
                "orlop: 'orlop commit' requires at least 1 and at most 2 arguments",
                1,
            ),
        ] {
            assert_eq!(said(line), (text.to_owned(), code), "{line}");
        }
    }
}
