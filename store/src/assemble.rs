//! Puts scripts together. What a script defines costs it time in every run, whether it is called or not, and more when Lua collects
//! its garbage: a script gets only the shared functions that it uses, and values in place of the names of keys and constants. What only
//! functions use that are marked as [`SELDOM`] called is defined within these, when they are called.

use std::collections::HashMap;

use crate::keys::Keys;
use crate::layout;

/// The shared functions and constants; each uses only what stands before it.
const PARTS: [&str; 11] = [
    include_str!("scripts/shared.lua"),
    include_str!("scripts/tenant.lua"),
    include_str!("scripts/turns.lua"),
    include_str!("scripts/take.lua"),
    include_str!("scripts/usage.lua"),
    include_str!("scripts/settle.lua"),
    include_str!("scripts/session_calls.lua"),
    include_str!("scripts/finalize.lua"),
    include_str!("scripts/deduplicate.lua"),
    include_str!("scripts/direct_dispatch.lua"),
    include_str!("scripts/accept.lua"),
];

/// The line behind the first one of a function that most runs of a script do not call.
const SELDOM: &str = "-- Seldom called.";

/// The whole code of a script.
pub(crate) fn assemble(body: &str, keys: &Keys) -> String {
    let definitions: Vec<_> = PARTS.iter().flat_map(|part| definitions(part)).collect();
    let mut values: HashMap<&str, String> = layout::values().into();
    values.extend(keys.values().map(|(name, text)| (name, format!("'{text}'"))));
    let mut functions = Vec::new();
    for definition in &definitions {
        match *definition {
            Definition::Function { name, text } => functions.push((name, text)),
            Definition::Constant { name, value } => {
                values.insert(name, value.to_owned());
            }
        }
    }
    let code = without_comments(&with_functions(body, &functions));
    words(&code).map(|word| values.get(word).map_or(word, String::as_str)).collect()
}

/// A script with those of `functions` in front of it that it uses.
fn with_functions(body: &str, functions: &[(&str, &str)]) -> String {
    let often = used_by(body, functions, |text| !is_seldom(text));
    let mut code = String::new();
    for (name, text) in &often {
        if !is_seldom(text) {
            code.push_str(text);
            continue;
        }
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        code.push_str(first);
        code.push('\n');
        let within = used_by(text, functions, |_| true);
        let within = within.iter().filter(|one| one.0 != *name && !often.contains(one));
        within.for_each(|(_, text)| code.push_str(text));
        code.push_str(rest);
    }
    code + body
}

/// Those of `functions` that `code` uses, by itself or by one that it uses and whose text `is_asked` too.
fn used_by<'a>(
    code: &str,
    functions: &[(&'a str, &'a str)],
    is_asked: impl Fn(&str) -> bool,
) -> Vec<(&'a str, &'a str)> {
    let mut asked = without_comments(code);
    let mut used = Vec::new();
    for &(name, text) in functions.iter().rev() {
        if words(&asked).any(|word| word == name) {
            used.push((name, text));
            if is_asked(text) {
                asked.push_str(&without_comments(text));
            }
        }
    }
    used.reverse();
    used
}

fn is_seldom(function: &str) -> bool {
    function.lines().nth(1).is_some_and(|line| line.trim() == SELDOM)
}

enum Definition<'a> {
    /// `local function NAME ... end`, or a table that is made once.
    Function { name: &'a str, text: &'a str },
    /// `local NAME = VALUE`.
    Constant { name: &'a str, value: &'a str },
}

/// What a part defines: each definition begins at the start of a line, and a function ends with a line `end`.
fn definitions(part: &str) -> Vec<Definition<'_>> {
    let mut found = Vec::new();
    let mut rest = part;
    while let Some(begin) = rest.find("\nlocal ") {
        rest = &rest[begin + 1..];
        let line = rest.lines().next().unwrap_or_default();
        let (length, definition) = if let Some(function) = line.strip_prefix("local function ") {
            let name = function.split('(').next().unwrap_or_default();
            let end = rest.find("\nend\n").map_or(rest.len(), |end| end + "\nend\n".len());
            (end, Definition::Function { name, text: &rest[..end] })
        } else {
            let (name, value) = line["local ".len()..].split_once(" = ").unwrap_or_default();
            let value = value.split("--").next().unwrap_or_default().trim_end();
            let text = &rest[..line.len() + 1];
            let is_table = value.starts_with('{');
            let table = Definition::Function { name, text };
            (text.len(), if is_table { table } else { Definition::Constant { name, value } })
        };
        found.push(definition);
        // What follows begins a line.
        rest = &rest[length - 1..];
    }
    found
}

/// A code without comments, empty lines and what its lines are indented by.
fn without_comments(lua: &str) -> String {
    let code = lua.lines().map(|line| line.split("--").next().unwrap_or_default().trim());
    code.filter(|line| !line.is_empty()).fold(String::new(), |code, line| code + line + "\n")
}

/// The words of a code and, between them, what stands there.
fn words(code: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = code;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gets_what_it_uses_and_values_in_place_of_names() {
        let keys = Keys::new("one", 3).expect("a prefix");
        let code = assemble("-- count(1)\nreturn records_of(ARGV) .. COUNTS .. FLAG_AT", &keys);
        let names: Vec<_> =
            code.lines().filter(|line| line.starts_with("local function ")).collect();
        assert_eq!(
            names,
            ["local function read_all(command, key, items)", "local function records_of(ids)"]
        );
        assert!(code.contains("#items, 4000 do"), "constants have their values: {code}");
        assert!(code.ends_with("return records_of(ARGV) .. '{one}:counts' .. 18\n"), "{code}");
        assert!(!code.contains("--"), "{code}");
    }

    #[test]
    fn what_only_seldom_functions_use_is_defined_within_them() {
        let part = "-- A part.\nlocal function one()\nend\n-- Two.\nlocal function two()\nend\nlocal function three()\n  \
                    -- Seldom called.\n  one() two()\nend\nlocal function four()\nend\n";
        let functions: Vec<_> = definitions(part)
            .into_iter()
            .map(|definition| match definition {
                Definition::Function { name, text } => (name, text),
                Definition::Constant { name, .. } => panic!("{name} is no function"),
            })
            .collect();
        let code = |body: &str| without_comments(&with_functions(body, &functions));
        let (one, two) = ("local function one()\nend\n", "local function two()\nend\n");
        let begin = "local function three()\n";
        let rest = "one() two()\nend\n";
        assert_eq!(code("three()"), format!("{begin}{one}{two}{rest}three()\n"));
        assert_eq!(code("one() three()"), format!("{one}{begin}{two}{rest}one() three()\n"));
        assert_eq!(code("two()"), format!("{two}two()\n"));
    }
}
