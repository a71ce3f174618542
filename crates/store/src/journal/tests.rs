//! A toy operation is failed at every point, in every direction, twice.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::*;
use crate::db::tests::Scratch;

/// Makes files `a` and `b`, then a setting `made` that counts as the result. The commit point lies between the files.
#[derive(Debug, Serialize, Deserialize)]
struct Toy {
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    A,
    B,
}

impl Toy {
    fn file(&self, step: Step, directory: &Path) -> PathBuf {
        directory.join(format!("{}-{step:?}", self.name))
    }
}

impl Operation for Toy {
    const KIND: &'static str = "toy";
    const STEPS: &'static [(&'static str, Step)] = &[("a", Step::A), ("b", Step::B)];
    const COMMIT: Option<Step> = Some(Step::A);
    type Step = Step;
    type Context<'a> = PathBuf;
    type Error = StoreError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        tx.set_meta(&self.name, "begun")
    }

    fn run(&self, step: Step, _op: &OpId, directory: &PathBuf) -> Result<(), StoreError> {
        let path = self.file(step, directory);
        sys::durable::write_atomic(&path, b"x", 0o600).map_err(|source| StoreError::Io {
            action: "write",
            path,
            source,
        })
    }

    fn is_evident(&self, directory: &PathBuf) -> Result<bool, StoreError> {
        Ok(directory.join("believed").exists() && self.file(Step::A, directory).exists())
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        match step {
            Step::A => tx.set_meta(&self.name, "committed"),
            Step::B => tx.set_meta(&self.name, "made"),
        }
    }

    fn undo(&self, step: Step, _op: &OpId, directory: &PathBuf) -> Result<(), StoreError> {
        let path = self.file(step, directory);
        sys::durable::remove_file(&path)
            .map(drop)
            .map_err(|source| StoreError::Io {
                action: "remove",
                path,
                source,
            })
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        tx.set_meta(&self.name, "abandoned")
    }
}

fn state(store: &Store, scratch: &Scratch) -> (String, bool, bool, usize) {
    let toy = Toy {
        name: "toy".to_owned(),
    };
    let meta = store
        .read(|tx| tx.meta("toy"))
        .expect("reads")
        .unwrap_or_default();
    let ops = store.read(|tx| tx.ops()).expect("reads").len();
    let there = |step| toy.file(step, &scratch.0).exists();
    (meta, there(Step::A), there(Step::B), ops)
}

const NOTHING: (&str, bool, bool, usize) = ("abandoned", false, false, 0);
const EVERYTHING: (&str, bool, bool, usize) = ("made", true, true, 0);

fn assert_state(state: &(String, bool, bool, usize), wanted: (&str, bool, bool, usize), at: &str) {
    assert_eq!(
        (state.0.as_str(), state.1, state.2, state.3),
        wanted,
        "{at}"
    );
}

#[test]
fn failing_at_each_point_leaves_all_or_nothing() {
    for point in points::<Toy>() {
        let scratch = Scratch::new();
        let store = scratch.store();
        let toy = Toy {
            name: "toy".to_owned(),
        };
        let armed = sys::fault::at_step(&point, sys::fault::Action::Fail(5));
        let outcome = execute(&store, &toy, &scratch.0);
        drop(armed);
        if point == "toy:end" {
            outcome.expect("there is nothing left to fail");
            continue;
        }
        assert!(outcome.is_err(), "{point}");
        let committed = matches!(point.as_str(), "toy:b" | "toy:b:done");
        let left = unfinished(&store).expect("reads");
        assert_eq!(left.len(), usize::from(committed), "{point}");
        if !committed {
            assert_state(&state(&store, &scratch), NOTHING, &point);
        }
        // Recovery is the same whether it happens once or twice.
        for _ in 0..2 {
            recover::<Toy>(&store, &scratch.0).expect("recovers");
            let wanted = if committed { EVERYTHING } else { NOTHING };
            assert_state(&state(&store, &scratch), wanted, &point);
        }
    }
}

#[test]
fn what_is_under_way_is_not_unfinished() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let op = OpId::random();
    store
        .write(|tx| tx.insert_op(&op, "toy", "toy", "{}"))
        .expect("recorded");
    let working = store.under_way.say(&op);
    assert!(unfinished(&store).expect("reads").is_empty());
    drop(working);
    assert_eq!(unfinished(&store).expect("reads").len(), 1);
}

#[test]
fn work_that_is_evident_needs_no_record() {
    for (made, believed, wanted) in [
        (true, true, EVERYTHING),
        (true, false, NOTHING),
        (false, true, NOTHING),
    ] {
        let scratch = Scratch::new();
        let store = scratch.store();
        let toy = Toy {
            name: "toy".to_owned(),
        };
        // As a power cut leaves it: what was begun is recorded, and nothing after it.
        store
            .write(|tx| {
                toy.begin(tx)?;
                tx.insert_op(&OpId::random(), "toy", "x", "{\"name\":\"toy\"}")
            })
            .expect("written");
        for (there, file) in [
            (made, toy.file(Step::A, &scratch.0)),
            (believed, scratch.0.join("believed")),
        ] {
            if there {
                std::fs::write(file, b"x").expect("made");
            }
        }
        for _ in 0..2 {
            recover::<Toy>(&store, &scratch.0).expect("recovers");
            let at = format!("made {made}, believed {believed}");
            assert_state(&state(&store, &scratch), wanted, &at);
        }
    }
}

#[test]
fn an_undo_that_fails_is_repeated_by_recovery() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let toy = Toy {
        name: "toy".to_owned(),
    };
    // A directory in the way makes both the work and its undo fail.
    std::fs::create_dir(toy.file(Step::A, &scratch.0)).expect("in the way");
    assert!(execute(&store, &toy, &scratch.0).is_err());
    let outcomes = recover::<Toy>(&store, &scratch.0).expect("recovers");
    assert!(
        matches!(outcomes.as_slice(), [Recovered::Stuck { .. }]),
        "{outcomes:?}"
    );
    std::fs::remove_dir(toy.file(Step::A, &scratch.0)).expect("out of the way");
    let outcomes = recover::<Toy>(&store, &scratch.0).expect("recovers");
    assert!(
        matches!(outcomes.as_slice(), [Recovered::Undone { .. }]),
        "{outcomes:?}"
    );
    assert_state(&state(&store, &scratch), NOTHING, "at the end");
}

#[test]
fn an_unknown_step_stops_recovery() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let op = OpId::random();
    store
        .write(|tx| {
            tx.insert_op(&op, "toy", "x", "{\"name\":\"x\"}")?;
            tx.advance_op(&op, "z")
        })
        .expect("written");
    assert!(matches!(
        recover::<Toy>(&store, &scratch.0),
        Err(StoreError::UnknownStep { .. })
    ));
}
