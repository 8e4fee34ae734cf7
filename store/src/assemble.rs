//! Puts scripts together. What a script defines costs it time in every run, whether it is used or not: a script gets only
//! the shared functions that it uses, and values in place of the names of keys and constants.

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

/// The whole code of a script.
pub(crate) fn assemble(body: &str, keys: &Keys) -> String {
    let parts = PARTS.map(without_comments);
    let definitions: Vec<_> = parts.iter().flat_map(|part| definitions(part)).collect();
    let mut values: HashMap<&str, String> = layout::values().into();
    values.extend(keys.values().map(|(name, text)| (name, format!("'{text}'"))));
    let mut code = without_comments(body);
    for definition in definitions.iter().rev() {
        match *definition {
            Definition::Function { name, text } if words(&code).any(|word| word == name) => {
                code.insert_str(0, text);
            }
            Definition::Function { .. } => {}
            Definition::Constant { name, value } => {
                values.insert(name, value.to_owned());
            }
        }
    }
    let unindented = code.lines().fold(String::new(), |code, line| code + line.trim_start() + "\n");
    words(&unindented).map(|word| values.get(word).map_or(word, String::as_str)).collect()
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
    while let Some(begin) = rest.find("local ") {
        rest = &rest[begin..];
        let line = rest.lines().next().unwrap_or_default();
        let (length, definition) = if let Some(function) = line.strip_prefix("local function ") {
            let name = function.split('(').next().unwrap_or_default();
            let end = rest.find("\nend\n").map_or(rest.len(), |end| end + "\nend\n".len());
            (end, Definition::Function { name, text: &rest[..end] })
        } else {
            let (name, value) = line["local ".len()..].split_once(" = ").unwrap_or_default();
            let text = &rest[..line.len() + 1];
            let is_table = value.starts_with('{');
            let table = Definition::Function { name, text };
            (text.len(), if is_table { table } else { Definition::Constant { name, value } })
        };
        found.push(definition);
        rest = &rest[length..];
    }
    found
}

fn without_comments(lua: &str) -> String {
    let code = lua.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
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
}
