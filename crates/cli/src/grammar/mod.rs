//! Docker's flag grammar on top of clap: what clap is told beyond the derived commands, and its words replaced.
//!
//! * Every flag may be given again, the last one counts; a value may begin with a dash.
//! * Switches take Go's spellings of a truth value after `=`: `--rm=false`, `-t=1`.
//! * Mistakes are told in docker's words with docker's exit codes: 125 for a flag, 1 for everything else.

mod help;
mod lazy;
mod mistakes;

use std::ffi::OsString;

use clap::{ArgAction, Command, CommandFactory as _, FromArgMatches as _};

use crate::commands::Cli;

pub(crate) use lazy::Lazy;

/// Reads the command line of this process. Help, version and mistakes are printed here; then the exit code is `Err`.
pub(crate) fn parse() -> Result<Cli, i32> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    tolerant(Cli::command())
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| mistakes::print(&error, &words(&arguments)))
}

/// `Usage: …` and where to read more, for the command that was typed: what follows a mistake in a flag's value.
pub(crate) fn reminder() -> String {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut root = Cli::command();
    root.build();
    help::reminder(&typed(&root, &words(&arguments)))
}

fn words(arguments: &[OsString]) -> Vec<String> {
    arguments
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// A command and the words that lead to it, `orlop` first.
#[derive(Debug)]
struct Typed<'a> {
    path: Vec<&'a str>,
    command: &'a Command,
}

impl Typed<'_> {
    fn name(&self) -> String {
        self.path.join(" ")
    }
}

/// Follows the words of a command line down the tree of commands.
fn typed<'a>(root: &'a Command, words: &[String]) -> Typed<'a> {
    let mut found = Typed {
        path: vec!["orlop"],
        command: root,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !found.command.has_subcommands() {
            break;
        }
        if matches!(word.as_str(), "-H" | "--host" | "--root") {
            words.next();
            continue;
        }
        if word.starts_with('-') {
            continue;
        }
        let Some(below) = found.command.find_subcommand(word) else {
            break;
        };
        found.path.push(below.get_name());
        found.command = below;
    }
    found
}

/// Applies docker's rules to the flags of a derived command.
fn tolerant(command: Command) -> Command {
    command.args_override_self(true).mut_args(|argument| {
        let is_switch = matches!(argument.get_action(), ArgAction::SetTrue)
            || argument
                .get_value_names()
                .is_some_and(|names| names == ["bool"]);
        if is_switch {
            let default = argument
                .get_default_values()
                .first()
                .and_then(|value| value.to_str())
                .unwrap_or("false")
                .to_owned();
            argument
                .action(ArgAction::Set)
                .value_name("bool")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value(default)
                .value_parser(truth)
        } else if argument.get_action().takes_values() && !argument.is_positional() {
            argument.allow_hyphen_values(true)
        } else {
            argument
        }
    })
}

/// What Go takes for a truth value.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing \"{text}\": invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(line: &str) -> Result<clap::ArgMatches, clap::Error> {
        tolerant(Cli::command()).try_get_matches_from(line.split(' '))
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        tolerant(Cli::command()).debug_assert();
    }

    #[test]
    fn what_docker_accepts() {
        for line in [
            "orlop run --entrypoint sh image -c true",
            "orlop run --rm=true -it=false -d image",
            "orlop run --name -x image --name y",
            "orlop run --name a --name b image",
            "orlop run --memory-swap -1 image",
            "orlop exec -it web sh -c -x",
            "orlop exec web -it",
            "orlop top web -ef",
            "orlop history -H=false image",
            "orlop ps --no-trunc=0 -aq",
            "orlop --root /r volume ls",
            "orlop volume ls --root /r",
        ] {
            if let Err(error) = matches(line) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "orlop run",
            "orlop run --foo image",
            "orlop run --tty=x image",
            "orlop exec web",
            "orlop volume foo",
            "orlop tag a",
        ] {
            assert!(matches(line).is_err(), "{line}");
        }
    }

    #[test]
    fn words_after_the_image_are_the_containers() {
        let matches = matches("orlop run -e A=1 image -e B=2 --rm -- x").unwrap();
        let (_, run) = matches.subcommand().unwrap();
        let words: Vec<&String> = run.get_many("words").unwrap().collect();
        assert_eq!(words, ["image", "-e", "B=2", "--rm", "--", "x"]);
        assert_eq!(run.get_many::<String>("env").unwrap().len(), 1);
    }

    #[test]
    fn the_typed_command_is_found() {
        let mut root = Cli::command();
        root.build();
        let name = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            typed(&root, &words).name()
        };
        assert_eq!(name("--root volume image ls -q"), "orlop image ls");
        assert_eq!(name("volume list"), "orlop volume ls");
        assert_eq!(name("run volume ls"), "orlop run");
        assert_eq!(name("volume nothing"), "orlop volume");
    }
}
