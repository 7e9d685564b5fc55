//! Every schedule keeps every promise, and a broken rule is found.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use qqrelay_simulation::{Mutant, Outcome, Violation, run};

/// Schedules of each run of this test; the binary of this crate runs others and more.
const SCHEDULES: u64 = 20_000;

/// Schedules within which a broken rule must show.
const CAUGHT_WITHIN: u64 = 2_000;

/// What has to have happened somewhere: a run that never comes there says nothing.
const SOMETIMES: [&str; 13] = [
    "answer lost",
    "asleep",
    "crash",
    "cut",
    "dup",
    "gap",
    "held back",
    "late and refused",
    "late and taken",
    "log paused",
    "resume",
    "session ended",
    "stolen",
];

/// Runs seeds on every core until `enough` says so of an outcome.
fn each(seeds: u64, enough: impl Fn(u64, Outcome) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || enough(seed, run(seed, None)) {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn promises_hold_on_every_schedule() {
    let (broken, seen) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::new()));
    each(SCHEDULES, |seed, outcome| {
        let mut seen = seen.lock().expect("nobody panics with it");
        for (what, count) in outcome.seen {
            *seen.entry(what).or_insert(0) += count;
        }
        let mut broken = broken.lock().expect("nobody panics with it");
        if !outcome.violations.is_empty() {
            broken.insert(seed, outcome.violations);
        }
        broken.len() >= 5
    });
    let broken = broken.into_inner().expect("nobody panics with it");
    assert!(broken.is_empty(), "replay with --from SEED --trace: {broken:#?}");
    let seen = seen.into_inner().expect("nobody panics with it");
    let never: Vec<_> = SOMETIMES.iter().filter(|what| !seen.contains_key(*what)).collect();
    assert!(never.is_empty(), "never seen: {never:?}; {seen:?}");
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..200 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

#[test]
fn every_broken_rule_is_found() {
    for mutant in Mutant::ALL {
        let breaks = |seed: &u64| {
            let found = run(*seed, Some(mutant)).violations;
            found.iter().any(|Violation(rule, _)| *rule == mutant.breaks())
        };
        let caught = (0..CAUGHT_WITHIN).find(breaks);
        assert!(caught.is_some(), "{mutant:?} goes unnoticed");
    }
}
