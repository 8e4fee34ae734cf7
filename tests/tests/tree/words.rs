//! Words that the project once used where the field has a usual one, and mannered English.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use crate::{File, tracked};

/// What must not come back, and what is said instead. A word also stands for its plural.
const WORDS: &[(&str, &str)] = &[
    ("at rest", "baseline"),
    ("bake", "snapshot"),
    ("baked", "snapshot"),
    ("baking", "snapshot"),
    ("be it that", "unless, or two sentences"),
    ("behind the wall", "hardened"),
    ("bury", "reap"),
    ("card", "task record"),
    ("close strangers", "close_inherited_fds"),
    ("crew", "worker client"),
    ("desk", "store client"),
    ("fleet", "worker registry"),
    ("for ever", "forever, or a time"),
    ("guardian", "supervisor"),
    ("heed", "handle"),
    ("heeds", "handles"),
    ("in vain", "say what happened"),
    ("jar", "sandbox"),
    ("jarred", "sandboxed"),
    ("keep awake", "low latency"),
    ("last words", "stderr tail"),
    ("lobby", "pending"),
    ("mailbox", "receiver"),
    ("mourner", "waiter"),
    ("obey", "apply"),
    ("obeys", "applies"),
    ("shall", "must, will, or the present tense"),
    ("stranger", "say who it is"),
    ("undertaker", "reaper"),
    ("wakefulness", "CPU latency"),
    ("what it came to", "its result"),
    ("whoever", "say who it is"),
];

/// Types that had names which say nothing to a newcomer.
const TYPES: &[&str] = &[
    "About", "AtRest", "Broken", "Codes", "Coming", "Forgot", "Given", "Heard", "Hub", "Keyed",
    "Keeper", "Offers", "Outer", "Parted", "Raised", "Told", "Want", "Weather", "Wish", "Words",
];

/// Types whose names mean one thing each.
const UNIQUE: &[&str] = &[
    "Failure",
    "Grants",
    "Limits",
    "Link",
    "Mode",
    "Pool",
    "Registration",
    "Reply",
    "Session",
    "Slot",
    "Verdict",
];

/// Where a word is right: files, by the start of their path, and the word; `*` is every word.
const ALLOWED: &[(&str, &str)] = &[
    // Says what was renamed.
    ("CHANGELOG.md", "*"),
    ("Cargo.lock", "*"),
    ("LICENSE", "*"),
    // A library's own files.
    ("gateway/assets/pages/uplot.", "*"),
    // The licence of others.
    ("gateway/assets/pages/uplot.LICENSE", "*"),
    // Modules of the standard library.
    ("sandbox/guest/modules-", "mailbox"),
    // The list itself.
    ("tests/tests/tree/words.rs", "*"),
];

/// The words of a text in lower case, each with its line; parts of identifiers are words of their own. A
/// plural is also found as its singular.
fn words(text: &str) -> Vec<(String, usize)> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut word = String::new();
        let mut before = ' ';
        for letter in line.chars().chain([' ']) {
            let begins = letter.is_uppercase() && !before.is_uppercase();
            if !word.is_empty() && (begins || !letter.is_alphanumeric()) {
                words.push((std::mem::take(&mut word), number + 1));
            }
            if letter.is_alphanumeric() {
                word.extend(letter.to_lowercase());
            }
            before = letter;
        }
    }
    words
}

/// Every place where one of `phrases` begins: the phrase and the line.
fn find<'a>(text: &str, phrases: &[&'a str]) -> Vec<(&'a str, usize)> {
    let is_same =
        |word: &str, wanted: &str| word == wanted || word.strip_suffix('s') == Some(wanted);
    let split: Vec<Vec<&str>> = phrases.iter().map(|phrase| phrase.split(' ').collect()).collect();
    let mut by_first = HashMap::<&str, Vec<usize>>::new();
    for (number, phrase) in split.iter().enumerate() {
        by_first.entry(phrase[0]).or_default().push(number);
    }
    let (words, end) = (words(text), String::new());
    let mut found = Vec::new();
    for (at, (word, line)) in words.iter().enumerate() {
        let singular = word.strip_suffix('s');
        let numbers =
            [Some(&**word), singular].into_iter().flatten().filter_map(|it| by_first.get(it));
        for number in numbers.flatten() {
            let window = words[at..].iter().map(|(word, _)| word);
            let mut pairs = split[*number].iter().zip(window.chain(std::iter::repeat(&end)));
            if pairs.all(|(wanted, word)| is_same(word, wanted)) {
                found.push((phrases[*number], *line));
            }
        }
    }
    found
}

fn is_allowed(file: &File, word: &str) -> bool {
    ALLOWED
        .iter()
        .any(|(path, allowed)| file.path.starts_with(path) && ["*", word].contains(allowed))
}

#[test]
fn words_of_our_own_do_not_come_back() -> Result<()> {
    let instead: HashMap<_, _> = WORDS.iter().copied().collect();
    let phrases: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
    let mut found = Vec::new();
    for file in tracked()?.iter().filter(|it| !it.is_generated() && !it.is_pending()) {
        for (word, line) in find(&file.text, &phrases) {
            if !is_allowed(file, word) {
                found.push(format!("{}:{line}: `{word}`: write `{}`", file.path, instead[word]));
            }
        }
    }
    ensure!(found.is_empty(), "{} words:\n{}", found.len(), found.join("\n"));
    Ok(())
}

/// The public types that each source file of a crate declares, with their files.
fn types(files: &[File]) -> Vec<(&str, &str)> {
    let sources = files.iter().filter(|file| {
        !file.is_pending() && file.path.contains("/src/") && file.path.ends_with(".rs")
    });
    let mut types = Vec::new();
    for file in sources {
        for line in file.text.lines() {
            let line = line.trim_start();
            let Some(line) = line.strip_prefix("pub ").or(line.strip_prefix("pub(crate) ")) else {
                continue;
            };
            let mut words = line.split(|letter: char| !letter.is_alphanumeric());
            if let (Some("struct" | "enum" | "trait" | "type"), Some(name)) =
                (words.next(), words.next())
            {
                types.push((name, &*file.path));
            }
        }
    }
    types
}

#[test]
fn names_of_types_say_what_they_are() -> Result<()> {
    let files = tracked()?;
    let types = types(&files);
    ensure!(types.len() > 50, "only {} types are found", types.len());
    let odd: Vec<_> = types.iter().filter(|(name, _)| TYPES.contains(name)).collect();
    ensure!(odd.is_empty(), "names that say nothing to a newcomer: {odd:#?}");
    Ok(())
}

#[test]
fn a_name_of_a_type_means_one_thing() -> Result<()> {
    let files = tracked()?;
    let types = types(&files);
    let holders = |name: &str| -> Vec<_> {
        types.iter().filter(|(found, _)| *found == name).map(|(_, path)| *path).collect()
    };
    let several: Vec<_> = UNIQUE.iter().map(|name| (name, holders(name))).collect();
    let several: Vec<_> = several.iter().filter(|(_, holders)| holders.len() > 1).collect();
    ensure!(several.is_empty(), "one name for several types: {several:#?}");
    Ok(())
}

#[test]
fn words_are_found_wherever_they_hide() {
    let text = "a jar_worker\nJarWorker and `BELLJAR_JAR`, for\n/// ever; ajar JARS";
    assert_eq!(
        find(text, &["for ever", "jar"]),
        [("jar", 1), ("jar", 2), ("jar", 2), ("for ever", 2), ("jar", 3)]
    );
}
