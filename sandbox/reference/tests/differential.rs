//! The sandbox's WASI functions answer as those of `wasmtime-wasi`, but for the rows of the table.

use belljar_wasi_reference::check::{Met, compare, run, told};
use belljar_wasi_reference::differences::ALL;
use belljar_wasi_reference::directed::directed;
use belljar_wasi_reference::side::Both;

/// Sequences of `cargo test`; `wasi-differential --minutes N` does others, and many more.
const SEQUENCES: u64 = 400;
const SEED: u64 = 0;

#[test]
fn what_public_suites_check_is_answered_alike() {
    let both = Both::new();
    let mut wrong = Vec::new();
    for (about, steps) in directed() {
        // Each step by itself may be wrong: the ones after it are looked at without it.
        let mut steps = steps;
        while let Err(mismatch) = compare(&both, &steps, &mut Met::new()) {
            let step = steps[mismatch.at].clone();
            wrong.push(format!("{about}: {}", told(0, &[step], &mismatch)));
            steps.remove(mismatch.at);
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn random_sequences_are_answered_alike() {
    let both = Both::new();
    let report = run(&both, SEED, 1, |report| report.sequences == SEQUENCES);
    assert!(report.mismatches.is_empty(), "{}", report.mismatches.join("\n"));
    let mut met = report.met;
    for (_, steps) in directed() {
        let _ = compare(&both, &steps, &mut met);
    }
    for row in ALL {
        assert!(met.contains_key(row.what), "no step met `{}`: is it still so?", row.what);
    }
}

#[test]
fn the_reference_names_every_difference() {
    let page = include_str!("../../../docs/reference/sandbox.md");
    for row in ALL {
        assert!(page.contains(&format!("\n| {} |", row.what)), "no row for `{}`", row.what);
    }
}
