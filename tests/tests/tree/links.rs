//! Every relative link in the docs leads to a file that is there, and to a heading in it.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};
use belljar_testkit::root;

use crate::{File, tracked};

/// The lines of Markdown outside of code blocks, with their numbers, and without code in backticks.
fn prose(text: &str) -> Vec<(usize, String)> {
    let (mut lines, mut in_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push((number + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("``")));
        }
    }
    lines
}

/// The targets of a line's links and images: `](target)`, `[name]: target`, `href="target"`, `src="target"`.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (before, end) in [("](", [')', ' ']), ("href=\"", ['"', '"']), ("src=\"", ['"', '"'])] {
        let starts = line.match_indices(before).map(|(at, _)| &line[at + before.len()..]);
        found.extend(starts.filter_map(|rest| Some(&rest[..rest.find(end)?])));
    }
    if let Some((_, target)) = line.split_once("]: ").filter(|_| line.starts_with('[')) {
        found.extend(target.split_whitespace().next());
    }
    found
}

/// The anchors of a Markdown text: one for each heading as GitHub makes them, and those given by `id`.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = HashMap::<String, usize>::new();
    let mut anchors = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let ids = line.match_indices("id=\"").map(|(at, _)| &line[at + 4..]);
        anchors.extend(ids.filter_map(|rest| Some(rest[..rest.find('"')?].to_owned())));
        let title = line.trim_start_matches('#');
        if in_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept =
            title.trim().chars().filter(|it| it.is_alphanumeric() || [' ', '-', '_'].contains(it));
        let slug: String = kept.flat_map(char::to_lowercase).collect::<String>().replace(' ', "-");
        let count = seen.entry(slug.clone()).or_default();
        anchors.push(if *count == 0 { slug.clone() } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

/// The path from the root to `target` as seen from the directory of `file`.
fn resolve(file: &str, target: &str) -> PathBuf {
    let mut path = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// Why a link leads nowhere, if it does.
fn problem(file: &File, target: &str, texts: &HashMap<&str, &str>) -> Option<&'static str> {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    if is_elsewhere || target.is_empty() {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let found = if path.is_empty() { PathBuf::from(&file.path) } else { resolve(&file.path, path) };
    if !root().join(&found).exists() {
        return Some("there is no such file");
    }
    let text = found.to_str().and_then(|found| texts.get(found));
    let is_there = |text: &&str| anchors(text).iter().any(|it| it == anchor);
    (!anchor.is_empty() && !text.is_some_and(is_there)).then_some("there is no such heading")
}

#[test]
fn every_relative_link_leads_somewhere() -> Result<()> {
    let files = tracked()?;
    let texts: HashMap<_, _> = files.iter().map(|file| (&*file.path, &*file.text)).collect();
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in prose(&file.text) {
            for target in targets(&line) {
                count += 1;
                if let Some(problem) = problem(file, target, &texts) {
                    wrong.push(format!("{}:{number}: `{target}`: {problem}", file.path));
                }
            }
        }
    }
    ensure!(count > 10, "only {count} links are found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn links_and_headings_are_found() {
    let text = "# A `b` c-d!\n[x](a.md#y) ![z](b.png \"t\")\n`[no](code)`\n```\n[no](block)\n# no\n```\n[r]: c.md\n## A b c-d";
    let prose = prose(text);
    let found: Vec<_> = prose.iter().flat_map(|(_, line)| targets(line)).collect();
    assert_eq!(found, ["a.md#y", "b.png", "c.md"]);
    assert_eq!(anchors(text), ["a-b-c-d", "a-b-c-d-1"]);
    assert_eq!(resolve("docs/how-to/a.md", "../../README.md"), Path::new("README.md"));
}
