//! No two modules of a crate import each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::tracked;

/// For each module at the top of a crate, those that it names by `crate::`.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// What a source file names by `crate::`, outside of comments and unit tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split_once("#[cfg(test)]\nmod tests").map_or(text, |(code, _)| code);
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_of(group).into_iter().filter_map(first_segment)),
            None => found.extend(first_segment(rest)),
        }
    }
    found
}

/// The parts of `a, b::{c, d}}...`, up to the brace that ends them.
fn group_of(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&text[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn first_segment(path: &str) -> Option<String> {
    let path = path.trim_start();
    let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let name = &path[..end.unwrap_or(path.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

/// The imports of each crate.
fn crates() -> Result<BTreeMap<String, Imports>> {
    let mut crates: BTreeMap<String, Imports> = BTreeMap::new();
    for file in tracked()? {
        let Some((name, rest)) = file.path.split_once("/src/") else { continue };
        // Programs of their own, and tests in a file of their own.
        let is_apart = |rest: &&str| rest.starts_with("bin/") || rest.ends_with("/tests");
        let Some(rest) = rest.strip_suffix(".rs").filter(|rest| !is_apart(rest)) else {
            continue;
        };
        let module = rest.split('/').next().unwrap_or(rest).to_owned();
        // The root names its modules without importing from them.
        if !["lib", "main"].contains(&&*module) {
            let modules = crates.entry(name.to_owned()).or_default();
            modules.entry(module).or_default().extend(imports(&file.text));
        }
    }
    for modules in crates.values_mut() {
        let names: BTreeSet<_> = modules.keys().cloned().collect();
        for (name, imports) in modules {
            imports.retain(|import| import != name && names.contains(import));
        }
    }
    Ok(crates)
}

/// The modules that can be reached from one, itself only through others.
fn reached<'a>(imports: &'a Imports, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut left: Vec<&str> = imports.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(name) = left.pop() {
        if found.insert(name) {
            left.extend(imports.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

/// The imports that are part of a circle.
fn circles(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    for (from, targets) in imports {
        let back = |to: &&String| reached(imports, to).contains(from.as_str());
        found.extend(targets.iter().filter(back).map(|to| format!("{from} -> {to}")));
    }
    found
}

#[test]
fn no_modules_of_a_crate_import_each_other() -> Result<()> {
    let crates = crates()?;
    ensure!(crates.len() >= 10, "only {} crates are found", crates.len());
    let circles = crates.iter().map(|(name, imports)| (name, circles(imports)));
    let circles: Vec<_> = circles.filter(|(_, circles)| !circles.is_empty()).collect();
    ensure!(circles.is_empty(), "modules that import each other: {circles:#?}");
    Ok(())
}

#[test]
fn circles_are_found_through_groups_and_paths() {
    let code = "use crate::{a, b::{c, d}};\n// crate::e\nfn f() { crate::g::h(); bigcrate::i }\n#[cfg(test)]\nmod tests { use crate::j; }";
    assert_eq!(imports(code), ["a", "b", "g"].map(str::to_owned).into());
    let imports = |all: &[(&str, &[&str])]| -> Imports {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        all.iter().map(|(name, names)| ((*name).to_owned(), of(names))).collect()
    };
    let found = circles(&imports(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["a"]), ("d", &[])]));
    assert_eq!(found, ["a -> b", "b -> c", "c -> a"]);
}
