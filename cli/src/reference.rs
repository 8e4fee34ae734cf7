//! `belljar reference`: the command line as Markdown, for `docs/reference/cli.md`.

use std::fmt::Write as _;

use anyhow::Result;
use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;
use crate::serve::announce;

const HEAD: &str = "# Command line

`make reference` writes this page from the program. Options take their values from the command line, else from \
the environment variable, else from the default. Exit codes: 0 done, 1 failed, 2 wrong usage. `belljar run`, \
`tasks`, `logs`, `workers` and `cancel` are commands of the Python client; `--help` shows their options.
";

pub(crate) fn run() -> Result<()> {
    announce(markdown().trim_end());
    Ok(())
}

fn markdown() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut text = HEAD.to_owned();
    command(&mut text, &cli, "belljar", None);
    text
}

/// A section for the command, and one for each of its subcommands; options of the parent are left out.
fn command(text: &mut String, command: &Command, name: &str, parent: Option<&Command>) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let mut usage = format!("{name} [OPTIONS]");
    for argument in &positionals {
        usage += &format!(" {}", value(argument));
    }
    if command.has_subcommands() {
        usage += " COMMAND";
    }
    // Writing to a string cannot fail.
    let _ =
        write!(text, "\n## `{name}`\n\n{}.\n\n```\n{usage}\n```\n", about.trim_end_matches('.'));
    let is_inherited = |arg: &Arg| {
        let mut above = parent.into_iter().flat_map(Command::get_arguments);
        arg.is_global_set() && above.any(|other| other.get_id() == arg.get_id())
    };
    let is_own =
        |arg: &&Arg| !arg.is_hide_set() && arg.get_long() != Some("help") && !is_inherited(arg);
    let options: Vec<&Arg> = command.get_opts().chain(flags(command)).filter(is_own).collect();
    if !positionals.is_empty() || !options.is_empty() {
        *text += "\n| option | environment | default | |\n|---|---|---|---|\n";
    }
    positionals.iter().chain(&options).for_each(|argument| row(text, argument));
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        if subcommand.get_name() != "help" {
            let name = format!("{name} {}", subcommand.get_name());
            self::command(text, subcommand, &name, Some(command));
        }
    }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let flags = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.get_action().takes_values());
    flags.filter(|arg| arg.get_long() != Some("version"))
}

fn row(text: &mut String, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let name = match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => {
            format!("{short}`--{long} {}`", value(argument))
        }
        Some(long) => format!("{short}`--{long}`"),
        None => format!("`{}`", value(argument)),
    };
    let variable =
        argument.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    // A default that depends on the machine stands in the help.
    let (help, computed) = match help.split_once(" [default: ") {
        Some((help, default)) => {
            (help.to_owned(), Some(default.trim_end_matches(['.', ']']).to_owned()))
        }
        None => (help, None),
    };
    let defaults = argument.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| format!("`{}`", value.display())).collect();
    let default = computed.unwrap_or_else(|| defaults.join(", "));
    let choices: Vec<_> = argument.get_possible_values();
    let choices = choices.iter().filter(|value| !["true", "false"].contains(&value.get_name()));
    let choices: Vec<_> = choices.map(|value| format!("`{}`", value.get_name())).collect();
    let choices =
        if choices.is_empty() { String::new() } else { format!(": {}", choices.join(", ")) };
    let row = format!("{name} | {variable} | {default} | {help}{choices}");
    let row = row.replace('\n', " ").replace("true|false", "BOOL");
    let _ = writeln!(text, "| {row} |");
}

/// How the value of an argument is shown.
fn value(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map_or_else(|| argument.get_id().to_string().to_uppercase(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_current() {
        let page = include_str!("../../docs/reference/cli.md");
        assert!(page == markdown(), "run `make reference`");
    }
}
