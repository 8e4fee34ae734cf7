//! Code in the docs: Python compiles, and commands name targets, subcommands and options that exist.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use belljar_testkit::{Python, binary, paths, root};

use crate::tracked;

/// A code block: its first line, what is written behind the backticks, and its lines.
struct Block {
    line: usize,
    language: String,
    text: Vec<String>,
}

/// The code blocks of Markdown; those in lists without their indentation.
fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<(usize, Block)>);
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        match (&mut open, trimmed.strip_prefix("```")) {
            (None, Some(language)) => {
                let language = language.split([' ', ',']).next().unwrap_or_default().to_owned();
                let block = Block { line: number + 1, language, text: Vec::new() };
                open = Some((line.len() - trimmed.len(), block));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), None) => {
                block.text.push(line.get(*indent..).unwrap_or_default().to_owned());
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of a shell block, with the places of their lines in it. A block with prompts also shows
/// output.
fn commands(block: &[String]) -> Vec<(usize, String)> {
    let has_prompt = block.iter().any(|line| line.starts_with("$ "));
    let (mut commands, mut joined) = (Vec::new(), String::new());
    for (place, line) in block.iter().enumerate() {
        let line = match line.strip_prefix("$ ") {
            Some(line) => line,
            None if has_prompt && joined.is_empty() => continue,
            None => line,
        };
        let line = line.split(" #").next().unwrap_or_default();
        match line.strip_suffix('\\') {
            Some(line) => joined.push_str(line),
            None => commands.push((place, std::mem::take(&mut joined) + line)),
        }
    }
    commands
}

/// The code in backticks within prose that is a command of ours, and its line.
fn inline_commands(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        let spans = line.split('`').skip(1).step_by(2).filter(|_| !in_code);
        let ours = spans.filter(|span| span.starts_with("make ") || span.starts_with("belljar "));
        found.extend(ours.map(|span| (number + 1, span.to_owned())));
    }
    found
}

/// The words of each command of a line, without quotes.
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word, mut quote) =
        (Vec::new(), Vec::new(), String::new(), None);
    for letter in line.chars().chain([';']) {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, ' ' | '|' | ';' | '&') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if letter != ' ' {
                    commands.push(std::mem::take(&mut words));
                }
            }
            _ => word.push(letter),
        }
    }
    commands
}

/// What can be asked: the Makefile, and the program by `--help`.
struct Known {
    makefile: String,
    help: HashMap<Vec<String>, String>,
}

impl Known {
    fn new() -> Result<Self> {
        let makefile = std::fs::read_to_string(root().join("Makefile"))?;
        Ok(Self { makefile, help: HashMap::new() })
    }

    /// What is wrong with a line of one or more commands.
    fn problem(&mut self, line: &str) -> Result<Option<String>> {
        for words in split(line) {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let is_setting = |word: &&&str| word.contains('=') && !word.starts_with('-');
            let words = &words[words.iter().take_while(is_setting).count()..];
            let problem = match words.split_first() {
                Some((&"make", words)) => self.make(words),
                Some((program, words)) if program.rsplit('/').next() == Some("belljar") => {
                    self.belljar(words)?
                }
                _ => None,
            };
            if problem.is_some() {
                return Ok(problem);
            }
        }
        Ok(None)
    }

    fn make(&self, words: &[&str]) -> Option<String> {
        for word in words.iter().filter(|word| !word.starts_with('-')) {
            let is_known = match word.split_once('=') {
                Some((variable, _))
                    if variable.chars().all(|it| it.is_uppercase() || it == '_') =>
                {
                    self.makefile.contains(variable)
                }
                _ => self.makefile.lines().any(|line| line.starts_with(&format!("{word}:"))),
            };
            if !is_known {
                return Some(format!("the Makefile has no `{word}`"));
            }
        }
        None
    }

    fn belljar(&mut self, words: &[&str]) -> Result<Option<String>> {
        let mut command = Vec::new();
        for word in words.iter().take_while(|word| **word != "--") {
            let help = self.help(&command)?;
            let name = word.split(['=', '[', ']', ',']).next().unwrap_or_default();
            if name.chars().all(char::is_uppercase) {
                // A placeholder such as `[OPTIONS]` or `COMMAND`.
                continue;
            }
            if name.starts_with('-') && name.len() > 1 {
                let mut known = help.split(|it: char| it.is_whitespace() || ",=[]<>".contains(it));
                if !known.any(|known| known == name) {
                    return Ok(Some(format!("`belljar {}` has no `{name}`", command.join(" "))));
                }
            } else if let Some((_, listed)) = help.split_once("\nCommands:\n") {
                let mut listed = listed.lines().take_while(|line| line.starts_with("  "));
                if listed.any(|line| line.split_whitespace().next() == Some(name)) {
                    command.push(name.to_owned());
                } else if command.is_empty() {
                    return Ok(Some(format!("`belljar` has no command `{name}`")));
                }
            }
        }
        Ok(None)
    }

    fn help(&mut self, command: &[String]) -> Result<String> {
        if let Some(help) = self.help.get(command) {
            return Ok(help.clone());
        }
        let mut program = Command::new(binary("belljar"));
        program.args(command).arg("--help").env("BELLJAR_SITE", paths::site());
        // The client's commands are Python.
        program.env("PYTHONPATH", root().join("client/src"));
        let output = program.output().context("`cargo build --workspace --bins` first")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "belljar {} --help: {said}", command.join(" "));
        let help = String::from_utf8(output.stdout)?;
        self.help.insert(command.to_vec(), help.clone());
        Ok(help)
    }
}

#[test]
fn commands_in_the_docs_exist() -> Result<()> {
    let mut known = Known::new()?;
    let (mut count, mut wrong) = (0, Vec::new());
    for file in tracked()?.iter().filter(|file| file.path.ends_with(".md")) {
        // What it says was right when it was released.
        if file.path == "CHANGELOG.md" {
            continue;
        }
        let shells = blocks(&file.text).into_iter();
        let shells =
            shells.filter(|it| ["", "sh", "bash", "shell", "console"].contains(&&*it.language));
        let mut found: Vec<_> = shells
            .flat_map(|it| {
                commands(&it.text).into_iter().map(move |(at, line)| (it.line + 1 + at, line))
            })
            .collect();
        found.extend(inline_commands(&file.text));
        for (number, line) in found {
            count += 1;
            if let Some(problem) = known.problem(&line)? {
                wrong.push(format!("{}:{number}: `{line}`: {problem}", file.path));
            }
        }
    }
    ensure!(count > 20, "only {count} commands are found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn python_in_the_docs_compiles() -> Result<()> {
    let python = Python::start()?;
    let (mut count, mut wrong) = (0, Vec::new());
    for file in tracked()?.iter().filter(|file| file.path.ends_with(".md")) {
        for block in blocks(&file.text).iter().filter(|block| block.language == "python") {
            count += 1;
            if let Err(error) = python.compiles(&block.text.join("\n")) {
                wrong.push(format!("{}:{}: {error}", file.path, block.line));
            }
        }
    }
    ensure!(count > 5, "only {count} blocks are found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn blocks_and_commands_are_found() -> Result<()> {
    let text = "```console\n$ make up \\\n   ARGS=x # why\nready\n```\n- list\n  ```python\n  if 1:\n    2\n  ```\nSay `make tea`.";
    let blocks = blocks(text);
    assert_eq!(blocks[1].text, ["if 1:", "  2"]);
    assert_eq!(commands(&blocks[0].text), [(1, "make up    ARGS=x".to_owned())]);
    assert_eq!(inline_commands(text), [(11, "make tea".to_owned())]);
    let mut known = Known::new()?;
    assert_eq!(known.problem("X=1 make check && make test ARGS='-n 5'")?, None);
    assert!(known.problem("make tea")?.is_some_and(|problem| problem.contains("tea")));
    Ok(())
}
