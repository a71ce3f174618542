//! Random changes, some cut short by failing durable calls, some followed by a restart, against a model in memory.

use std::collections::{BTreeMap, BTreeSet};

use sys::fault::fail_nth;

use crate::scratch::{Scratch, named, write_files};

/// A small generator with a fixed seed: a failure repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    /// Contents of the file `f` in each volume.
    volumes: BTreeMap<String, Option<u64>>,
    leases: BTreeSet<(String, String)>,
}

#[test]
fn random_changes_and_failures_agree_with_a_model() {
    for seed in 1..=6_u64 {
        run(&mut Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)), seed);
    }
}

fn run(dice: &mut Dice, seed: u64) {
    let scratch = Scratch::new();
    let mut opened = scratch.open();
    let mut model = Model::default();
    for round in 0..120 {
        let name = format!("v{}", dice.below(5));
        let holder = format!("h{}", dice.below(3));
        let action = dice.below(6);
        let fault = (dice.below(3) == 0).then(|| fail_nth(1 + dice.below(12), 5));
        let mut changed = model.clone();
        let outcome = match action {
            0 | 1 => {
                changed.volumes.entry(name.clone()).or_default();
                opened.volumes.create(named(&name)).map(drop)
            }
            2 => {
                if !model.leases.iter().any(|(volume, _)| *volume == name) {
                    changed.volumes.remove(&name);
                }
                opened.volumes.remove(&name, false)
            }
            3 => {
                if model.volumes.contains_key(&name) {
                    changed.leases.insert((name.clone(), holder.clone()));
                }
                opened.volumes.lease(&name, &holder, "/x", false)
            }
            4 => {
                changed.leases.retain(|(_, held)| *held != holder);
                opened.volumes.release(&holder).map(drop)
            }
            _ => {
                if let Some(content) = changed.volumes.get_mut(&name) {
                    *content = Some(round);
                    write_files(
                        &opened.paths.mountpoint(&name),
                        &[("f", &round.to_string())],
                    );
                }
                Ok(())
            }
        };
        let failed = fault.as_ref().is_some_and(sys::fault::Armed::fired);
        drop(fault);
        if failed || dice.below(8) == 0 {
            drop(opened);
            opened = scratch.open();
        }
        let seen = observe(&opened);
        let at = format!("seed {seed}, round {round}, action {action} on {name}: {outcome:?}");
        if failed {
            assert!(
                seen == model || seen == changed,
                "{at}\n{seen:#?}\n{model:#?}"
            );
        } else {
            assert_eq!(seen, changed, "{at}");
        }
        opened.assert_sound(&at);
        model = seen;
    }
}

fn observe(opened: &crate::scratch::Opened) -> Model {
    let mut model = Model::default();
    for volume in opened.volumes.list().unwrap() {
        let content = std::fs::read_to_string(volume.mountpoint.join("f")).ok();
        for holder in opened.volumes.holders(&volume.name).unwrap() {
            model.leases.insert((volume.name.clone(), holder));
        }
        model
            .volumes
            .insert(volume.name, content.map(|text| text.parse().unwrap()));
    }
    model
}
