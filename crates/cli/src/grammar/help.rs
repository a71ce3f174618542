//! Help in docker's layout: usage, aliases, commands in groups, flags with their types, wrapped to the terminal.

use clap::{Arg, Command};

use super::Typed;

/// What people need first, in this order.
const FIRST: [&str; 6] = ["run", "exec", "ps", "images", "version", "info"];

/// Commands that exist in a second spelling, with and without their noun.
const TWINS: [(&str, &str, &str); 5] = [
    ("ps", "container", "ls"),
    ("images", "image", "ls"),
    ("rmi", "image", "rm"),
    ("events", "system", "events"),
    ("info", "system", "info"),
];

/// Everything that `--help` prints.
pub(super) fn text(typed: &Typed<'_>) -> String {
    let command = typed.command;
    let mut out = format!("{}\n", usage(typed));
    let about = command.get_long_about().or(command.get_about());
    if let Some(about) = about {
        out.push_str(&format!("\n{about}\n"));
    }
    if command.has_subcommands() {
        groups(&mut out, typed);
        return out;
    }
    let spellings = spellings(typed);
    if spellings.len() > 1 {
        out.push_str(&format!("\nAliases:\n  {}\n", spellings.join(", ")));
    }
    flags(&mut out, "Options", command);
    out
}

/// Empty line, usage, and where to read more.
pub(super) fn reminder(typed: &Typed<'_>) -> String {
    format!(
        "\n\n{}\n\nRun '{} --help' for more information",
        usage(typed),
        typed.name()
    )
}

fn usage(typed: &Typed<'_>) -> String {
    let (name, command) = (typed.name(), typed.command);
    if command.has_subcommands() {
        let options = if typed.path.len() == 1 {
            " [OPTIONS]"
        } else {
            ""
        };
        return format!("Usage:  {name}{options} COMMAND");
    }
    if command.get_name() == "cp" {
        let what = if typed.path.contains(&"volume") {
            "VOLUME"
        } else {
            "CONTAINER"
        };
        return format!(
            "Usage:  {name} [OPTIONS] {what}:SRC_PATH DEST_PATH|-\n\t{name} [OPTIONS] SRC_PATH|- {what}:DEST_PATH"
        );
    }
    let mut line = format!("Usage:  {name}");
    if shown(command).next().is_some() {
        line.push_str(" [OPTIONS]");
    }
    for argument in command.get_positionals() {
        let value = value_name(argument);
        let many = most(argument).is_none() && !value.contains(' ');
        line.push_str(&match (argument.is_required_set(), many) {
            (true, true) => format!(" {value} [{value}...]"),
            (true, false) => format!(" {value}"),
            (false, true) => format!(" [{value}...]"),
            (false, false) => format!(" [{value}]"),
        });
    }
    line
}

/// Least and most arguments of a command, flags not counted.
pub(super) fn arity(command: &Command) -> (usize, Option<usize>) {
    let least = command
        .get_positionals()
        .filter(|argument| argument.is_required_set())
        .map(|argument| {
            argument
                .get_num_args()
                .map_or(1, |range| range.min_values())
        })
        .sum();
    let most = command
        .get_positionals()
        .try_fold(0, |sum, argument| Some(sum + most(argument)?));
    (least, most)
}

fn most(argument: &Arg) -> Option<usize> {
    let most = argument
        .get_num_args()
        .map_or(1, |range| range.max_values());
    (most != usize::MAX).then_some(most)
}

fn value_name(argument: &Arg) -> String {
    argument
        .get_value_names()
        .and_then(<[_]>::first)
        .map_or_else(|| argument.get_id().to_string(), ToString::to_string)
}

/// `orlop container run, orlop run`.
fn spellings(typed: &Typed<'_>) -> Vec<String> {
    let own: Vec<String> = {
        let (_, noun) = typed.path.split_last().expect("orlop at least");
        std::iter::once(typed.command.get_name())
            .chain(typed.command.get_visible_aliases())
            .map(|name| format!("{} {name}", noun.join(" ")))
            .collect()
    };
    let twin: Vec<String> = match typed.path.as_slice() {
        ["orlop", verb] => TWINS
            .iter()
            .find(|(short, _, _)| short == verb)
            .map(|(_, noun, verb)| format!("orlop {noun} {verb}"))
            .or_else(|| noun_of(verb).map(|noun| format!("orlop {noun} {verb}")))
            .into_iter()
            .collect(),
        ["orlop", noun, verb] => TWINS
            .iter()
            .find(|(_, known, long)| known == noun && long == verb)
            .map(|(short, _, _)| format!("orlop {short}"))
            .or_else(|| (noun_of(verb) == Some(noun)).then(|| format!("orlop {verb}")))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    };
    // The long spelling first.
    if typed.path.len() == 2 {
        twin.into_iter().chain(own).collect()
    } else {
        own.into_iter().chain(twin).collect()
    }
}

/// The noun that a verb without one belongs to.
fn noun_of(verb: &str) -> Option<&'static str> {
    match verb {
        "history" | "import" | "load" | "save" | "tag" => Some("image"),
        "attach" | "commit" | "cp" | "create" | "diff" | "exec" | "export" | "kill" | "logs"
        | "pause" | "port" | "rename" | "restart" | "rm" | "run" | "start" | "stats" | "stop"
        | "top" | "unpause" | "update" | "wait" => Some("container"),
        _ => None,
    }
}

fn groups(out: &mut String, typed: &Typed<'_>) {
    let mut commands: Vec<&Command> = typed
        .command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .collect();
    commands.sort_by_key(|command| command.get_name());
    let width = commands
        .iter()
        .map(|command| command.get_name().len())
        .max()
        .unwrap_or(0)
        .max(10);
    let mut group = |title: &str, list: &[&Command]| {
        if list.is_empty() {
            return;
        }
        out.push_str(&format!("\n{title}:\n"));
        for command in list {
            let about = command.get_about().map(ToString::to_string);
            out.push_str(&format!(
                "  {:width$}  {}\n",
                command.get_name(),
                about.unwrap_or_default()
            ));
        }
    };
    if typed.path.len() > 1 {
        group("Commands", &commands);
        out.push_str(&format!(
            "\nRun '{} COMMAND --help' for more information on a command.\n",
            typed.name()
        ));
        return;
    }
    let first: Vec<&Command> = FIRST
        .iter()
        .filter_map(|name| commands.iter().find(|command| command.get_name() == *name))
        .copied()
        .collect();
    let (nouns, verbs): (Vec<&Command>, Vec<&Command>) = commands
        .iter()
        .filter(|command| !FIRST.contains(&command.get_name()))
        .partition(|command| command.has_subcommands());
    group("Common Commands", &first);
    group("Management Commands", &nouns);
    group("Commands", &verbs);
    flags(out, "Global Options", typed.command);
    out.push_str("\nRun 'orlop COMMAND --help' for more information on a command.\n");
}

/// Flags to tell of: not hidden ones, not those of `orlop` itself below it, help only where docker tells of it.
fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_root = command.get_name() == "orlop";
    command.get_arguments().filter(move |argument| {
        let id = argument.get_id().as_str();
        !argument.is_positional()
            && !argument.is_hide_set()
            && id != "help"
            && (is_root || !argument.is_global_set())
    })
}

fn flags(out: &mut String, title: &str, command: &Command) {
    let mut rows: Vec<(String, String, String)> = shown(command)
        .map(|argument| {
            let long = argument.get_long().unwrap_or_default();
            let mut name = match argument.get_short() {
                Some(short) => format!("  -{short}, --{long}"),
                None => format!("      --{long}"),
            };
            let kind = value_name(argument);
            let is_switch = !argument.get_action().takes_values() || kind == "bool";
            if !is_switch {
                name.push(' ');
                name.push_str(&kind);
            }
            (long.to_owned(), name, description(argument, is_switch))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    rows.sort();
    let indent = rows
        .iter()
        .map(|(_, name, _)| name.len())
        .max()
        .unwrap_or(0)
        + 3;
    let columns = crate::terminal::size().map_or(80, |(_, columns)| usize::from(columns));
    let width = columns.saturating_sub(indent + 1).max(24);
    out.push_str(&format!("\n{title}:\n"));
    for (_, name, text) in rows {
        let mut lead = format!("{name:indent$}");
        for line in wrapped(&text, width) {
            out.push_str(&format!("{}\n", format!("{lead}{line}").trim_end()));
            lead = " ".repeat(indent);
        }
    }
}

fn description(argument: &Arg, is_switch: bool) -> String {
    let mut text = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let default = argument
        .get_default_values()
        .first()
        .and_then(|value| value.to_str())
        .filter(|default| !(is_switch && *default == "false"));
    if let Some(default) = default {
        text.push_str(&if is_switch {
            format!(" (default {default})")
        } else {
            format!(" (default \"{default}\")")
        });
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::commands::Cli;

    fn help(line: &str) -> String {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        text(&super::super::typed(&root, &words))
    }

    /// Of a command, its help; of its switches, neither values nor what they are without.
    #[test]
    fn what_is_told() {
        for (line, about) in [
            (
                "volume cp",
                "\n\nCopy files into, out of and between volumes\n",
            ),
            (
                "volume export",
                "\n\nExport the content of a volume as a tar archive\n",
            ),
            ("volume import", "\n\nImport a tar archive into a volume\n"),
        ] {
            assert!(help(line).contains(about), "{}", help(line));
        }
        let run = help("run");
        assert!(run.contains("      --rm    "), "{run}");
        assert!(
            !run.contains("(default \"false\")") && !run.contains("(default false)"),
            "{run}"
        );
        assert!(run.contains("(default true)"), "{run}");
    }

    #[test]
    fn layout() {
        let start = "Usage:  orlop start [OPTIONS] CONTAINER [CONTAINER...]\n\nStart one or more stopped containers\n\nAliases:\n  orlop container start, orlop start\n\nOptions:\n  -a, --attach ";
        assert!(help("start").starts_with(start), "{}", help("start"));
        for (line, usage) in [
            (
                "run",
                "Usage:  orlop run [OPTIONS] IMAGE [COMMAND] [ARG...]\n",
            ),
            (
                "exec",
                "Usage:  orlop exec [OPTIONS] CONTAINER COMMAND [ARG...]\n",
            ),
            ("top", "Usage:  orlop top CONTAINER [ps OPTIONS]\n"),
            (
                "tag",
                "Usage:  orlop tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n",
            ),
            (
                "images",
                "Usage:  orlop images [OPTIONS] [REPOSITORY[:TAG]]\n",
            ),
            ("volume", "Usage:  orlop volume COMMAND\n"),
            (
                "volume create",
                "Usage:  orlop volume create [OPTIONS] [VOLUME]\n",
            ),
            ("", "Usage:  orlop [OPTIONS] COMMAND\n"),
        ] {
            assert!(help(line).starts_with(usage), "{line}: {}", help(line));
        }
        let whole = help("");
        for title in [
            "Common Commands",
            "Management Commands",
            "Commands",
            "Global Options",
        ] {
            assert!(whole.contains(&format!("\n{title}:\n")), "{title}");
        }
        assert!(
            help("ps")
                .contains("orlop container ls, orlop container ps, orlop container list, orlop ps")
                || help("ps").contains("orlop container ls, orlop ps")
        );
    }

    #[test]
    fn every_command_and_flag_is_described() {
        fn check(command: &Command, path: &str) {
            for argument in command.get_arguments().filter(|one| !one.is_positional()) {
                assert!(
                    argument.get_help().is_some(),
                    "{path} {}",
                    argument.get_id()
                );
            }
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                assert!(below.get_about().is_some(), "{path}");
                check(below, &path);
            }
        }
        let mut root = Cli::command();
        let described = |root: &Command| -> Vec<String> {
            let described = root.get_subcommands();
            described
                .map(|one| format!("{}: {:?}", one.get_name(), one.get_about()))
                .collect()
        };
        let unlearnt = described(&root);
        root.build();
        check(&root, "orlop");
        // What is learnt of the commands below one does not change what it is.
        assert!(described(&root).starts_with(&unlearnt));
    }
}
