//! A native call leaves no trace: after any calls that change the interpreter and the process, the next one
//! finds what it finds in a fresh child.

mod support;

use support::{Rig, call, completed, read};

/// Calls that change what others would find, one a line. `!` marks what ends the child, `?` what ends it
/// where the process has no right to put it back.
const VANDALS: &str = include_str!("support/vandals.txt");
/// Looks at all of that.
const PROBE: &str = include_str!("support/probe.py");

fn vandals() -> Vec<(char, &'static str)> {
    let mark = |line: &'static str| match line.split_at_checked(2) {
        Some(("! ", code)) => ('!', code),
        Some(("? ", code)) => ('?', code),
        _ => (' ', line),
    };
    VANDALS.lines().map(mark).collect()
}

async fn vandalise(rig: &mut Rig, code: &str) {
    let outcome = rig.run(call(&format!("def f():\n    {code}"), "((), {})")).await;
    // Without its builtins the runner may not even say what a call returned.
    if !code.contains("builtins") {
        completed(&outcome);
    }
}

async fn probe(rig: &mut Rig) -> String {
    read(&completed(&rig.run(call(PROBE, "((), {})")).await))
}

#[tokio::test]
async fn no_call_finds_what_others_changed() {
    let mut vandals = vandals();
    let seed = std::env::var("BELLJAR_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    fastrand::Rng::with_seed(seed).shuffle(&mut vandals);
    let mut rig = Rig::new(1);
    let fresh = probe(&mut rig).await;
    for some in vandals.chunks(4) {
        for (_, code) in some {
            vandalise(&mut rig, code).await;
        }
        let found = probe(&mut rig).await;
        assert!(
            found == fresh,
            "BELLJAR_TEST_SEED={seed}\n{some:#?}\n{}",
            difference(&fresh, &found)
        );
    }
    rig.is_sound().await;
    rig.end().await;
}

/// The parts of two texts that are not the same, from the first to the last difference.
fn difference(fresh: &str, found: &str) -> String {
    let start = fresh.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let cut = |text: &str| {
        let part = text.as_bytes().iter().skip(start.saturating_sub(200)).take(400).copied();
        String::from_utf8_lossy(&part.collect::<Vec<_>>()).into_owned()
    };
    format!("fresh: {}\nfound: {}", cut(fresh), cut(found))
}

#[tokio::test]
async fn only_what_cannot_be_put_back_ends_the_child() {
    let mut rig = Rig::new(1);
    let pid = "def f():\n    import os\n    return os.getpid()";
    let mut before = read(&completed(&rig.run(call(pid, "((), {})")).await));
    for (mark, code) in vandals() {
        vandalise(&mut rig, code).await;
        let after = read(&completed(&rig.run(call(pid, "((), {})")).await));
        assert!(mark == '?' || (mark == '!') == (after != before), "{mark} {code}");
        before = after;
    }
    rig.end().await;
}

#[tokio::test]
async fn imports_stay_warm() {
    let mut rig = Rig::new(1);
    let import = "def f():\n    import sys\n    known = 'colorsys' in sys.modules\n    import colorsys\n    return known";
    rig.returns(call(import, "((), {})"), "False").await;
    rig.returns(call(import, "((), {})"), "True").await;
    rig.end().await;
}

#[tokio::test]
async fn random_numbers_differ_also_after_a_seed() {
    let mut rig = Rig::new(1);
    let draw = "def f():\n    import random\n    drawn = random.random()\n    random.seed(1)\n    return drawn";
    let first = read(&completed(&rig.run(call(draw, "((), {})")).await));
    let second = read(&completed(&rig.run(call(draw, "((), {})")).await));
    assert_ne!(first, second);
    assert_ne!(second, "0.13436424411240122", "that of the seed");
    rig.end().await;
}
