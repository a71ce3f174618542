//! A random life of volumes on each filesystem, with `kill -9` of engine, shims and clients at any time, held against a
//! model.
//!
//! Several lanes, each with volumes of its own, make moves side by side: create in either pool, with limits on btrfs, resize, write (by a container, by the
//! client), import over data, reseed, chown, snapshot, schedules, restore, undo, clone from pool to pool, rename, label, protect,
//! remove, undelete, prune, containers that hold volumes. A
//! round ends when something is killed. Then the engine starts again, and
//! * what was acknowledged is there: names, labels, protection, limits (by the records and by what the kernel bounds), the content of every file, snapshot and volume in the trash;
//! * what was under way has happened completely or not at all;
//! * nothing is left that nobody owns: directories, mounts, cgroups, interfaces, leases, open operations.
//!
//! [`power`] does the same with power cuts.
//!
//! `ORLOP_TORTURE_OPERATIONS` says how many moves (default 2000), `ORLOP_TORTURE_CUTS` how many power cuts (default 16),
//! `ORLOP_TORTURE_SEED` repeats the throws of an earlier run;
//! the moments at which things die are not the same ones again, the moves and the kind of each death are.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::exit,
    reason = "a test program"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Disk, Engine, Host, steps, until_or_late};

use dice::Dice;
use lane::{Client, Lane, Round};
use look::{Sight, equip, run};

mod dice;
mod lane;
mod logged;
mod look;
mod model;
mod moves;
mod power;

const LANES: usize = 3;
const DISK: u64 = 2 << 30;

/// What ends a round.
#[derive(Debug, Clone)]
enum Death {
    /// The engine, after so many moves and a moment.
    Engine,
    /// The engine kills itself at this step.
    Step(String),
    /// One of the shims, then the engine ends by a signal that it hears.
    Shim,
    /// The clients, then the same.
    Clients,
    /// The clients and the engine.
    ClientsAndEngine,
    /// All of them.
    Everything,
    /// Nothing but a signal to end.
    Nothing,
}

impl Death {
    fn choose(dice: &mut Dice, steps: &[String]) -> Self {
        match dice.below(12) {
            0..=2 => Self::Engine,
            3..=6 => Self::Step(dice.pick(steps).expect("there are steps").clone()),
            7 => Self::Shim,
            8 => Self::Clients,
            9 => Self::ClientsAndEngine,
            10 => Self::Everything,
            _ => Self::Nothing,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Step(_) => "engine at a step",
            Self::Shim => "shim",
            Self::Clients => "clients",
            Self::ClientsAndEngine => "clients and engine",
            Self::Everything => "everything",
            Self::Nothing => "nothing",
        }
    }

    fn kills_shims(&self) -> bool {
        matches!(self, Self::Shim | Self::Everything)
    }
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    seed: u64,
    moves: u64,
    cuts: u64,
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// The whole life on one filesystem.
fn life(kind: &str, settings: Settings, tags: &Mutex<Vec<String>>) {
    let mut engine = Engine::new(&format!("torture-{kind}"));
    let disk = Disk::mount(kind, &engine.root, DISK);
    tags.lock().unwrap().push(engine.tag());
    engine.resume();
    equip(&engine);
    let steps: Vec<String> = steps()
        .into_iter()
        .filter(|step| {
            ["volume", "snapshot", "container"]
                .iter()
                .any(|kind| step.starts_with(kind))
        })
        .collect();
    let mut lanes: Vec<Lane> = (0..LANES).map(|number| Lane::new(number, kind)).collect();
    let mut deaths: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut round = 0;
    while lanes.iter().map(|lane| lane.moves).sum::<u64>() < settings.moves {
        round += 1;
        let mut dice = Dice::new(&[settings.seed, round]);
        let death = Death::choose(&mut dice, &steps);
        let context = format!("{kind}, seed {}, round {round}, {death:?}", settings.seed);
        if let Death::Step(step) = &death {
            engine.terminate();
            if !engine.try_resume(Some(step)) {
                engine.resume();
            }
        }
        play(&engine, &mut lanes, &death, &mut dice, settings.seed, round);
        match &death {
            Death::Shim | Death::Clients | Death::Nothing => engine.terminate(),
            _ if engine.has_ended() => {}
            _ => engine.kill(),
        }
        *deaths.entry(death.word()).or_default() += 1;
        // Now and then it dies again while it recovers.
        if dice.one_in(4) {
            let step = dice.pick(&steps).expect("there are steps").clone();
            if engine.try_resume(Some(&step)) {
                engine.kill();
            }
        }
        engine.resume();
        settle(&engine, &mut lanes, death.kills_shims(), &context);
    }
    let moves: u64 = lanes.iter().map(|lane| lane.moves).sum();
    let refused: u64 = lanes.iter().map(|lane| lane.refused).sum();
    println!(
        "{kind}: {moves} moves, {refused} of them refused, {round} rounds, which ended {deaths:?}"
    );
    let restarts = std::fs::read_to_string(engine.log()).unwrap();
    let complaint = restarts.lines().find(|line| {
        line.contains(" ERROR ") || line.contains("panicked") || line.contains("stuck")
    });
    assert_eq!(complaint, None, "{kind}, seed {}", settings.seed);
    nothing_stays(&engine);
    engine.terminate();
    drop(std::fs::remove_dir_all(
        engine.root.with_extension("scratch"),
    ));
    drop(engine);
    drop(disk);
}

/// All lanes make moves until something dies.
fn play(
    engine: &Engine,
    lanes: &mut [Lane],
    death: &Death,
    dice: &mut Dice,
    seed: u64,
    number: u64,
) {
    let round = Round {
        engine,
        seed,
        number,
        over: AtomicBool::new(false),
    };
    let patience = match death {
        // Dies by itself, or when all moves are made.
        Death::Step(_) | Death::Nothing => u64::MAX,
        _ => dice.below(60) + 1,
    };
    let moment = Duration::from_micros(dice.below(60_000));
    let (signs, begun) = channel();
    let clients: Vec<Client> = lanes.iter().map(Lane::client).collect();
    std::thread::scope(|scope| {
        for lane in &mut *lanes {
            let (signs, round) = (signs.clone(), &round);
            scope.spawn(move || lane.play(round, &signs));
        }
        drop(signs);
        let mut seen = 0;
        while seen < patience && begun.recv().is_ok() {
            seen += 1;
        }
        // Somewhere in the middle of moves: any moment will do, so nothing is waited for.
        let deadline = Instant::now() + moment;
        while let Some(left) = deadline.checked_duration_since(Instant::now())
            && begun.recv_timeout(left).is_ok()
        {}
        round.over.store(true, Ordering::SeqCst);
        kill(engine, &clients, death, dice);
    });
}

fn kill(engine: &Engine, clients: &[Client], death: &Death, dice: &mut Dice) {
    // Each of them may have ended by itself.
    let shims = engine.shims();
    match death {
        Death::Shim => {
            if let Some(shim) = dice.pick(&shims) {
                kill_process(*shim, Signal::KILL).ok();
            }
        }
        Death::Everything => {
            for shim in shims {
                kill_process(shim, Signal::KILL).ok();
            }
        }
        _ => {}
    }
    if matches!(
        death,
        Death::Clients | Death::ClientsAndEngine | Death::Everything
    ) {
        for client in clients {
            Lane::kill_client(client);
        }
    }
    if matches!(
        death,
        Death::Engine | Death::ClientsAndEngine | Death::Everything
    ) {
        let engine = i32::try_from(engine.pid()).ok().and_then(Pid::from_raw);
        kill_process(engine.unwrap(), Signal::KILL).ok();
    }
}

fn settle(engine: &Engine, lanes: &mut [Lane], stopped: bool, context: &str) {
    for lane in &*lanes {
        lane.calm_down(engine);
    }
    // What ended while the engine was away is cleaned up in the background.
    let mut last = Sight::take(engine);
    until_or_late(|| {
        last = Sight::take(engine);
        last.leaks.is_empty().then_some(())
    });
    assert!(
        last.leaks.is_empty(),
        "{context}: nobody owns\n{}",
        last.leaks.join("\n")
    );
    for lane in lanes {
        lane.settle(&last, stopped, context);
    }
}

/// Gives everything up and looks whether that is all.
fn nothing_stays(engine: &Engine) {
    let list = |line: &str| run(engine, line).ok().replace('\n', " ");
    let containers = list("ps -aq");
    if !containers.is_empty() {
        run(engine, &format!("rm -f -v {containers}")).ok();
    }
    let volumes = list("volume ls -q");
    if !volumes.is_empty() {
        run(engine, &format!("volume unprotect {volumes}")).ok();
        run(engine, &format!("volume rm --now {volumes}")).ok();
    }
    run(engine, "volume trash empty -f").ok();
    let sight = Sight::take(engine);
    assert!(sight.leaks.is_empty(), "{:#?}", sight.leaks);
    let elsewhere = format!("{}/volumes", moves::OTHER_POOL);
    for directory in ["data", "volumes", "containers", &elsewhere] {
        let left = std::fs::read_dir(engine.root.join(directory))
            .unwrap()
            .count();
        assert_eq!(left, 0, "{directory} of an engine without volumes");
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(3);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let settings = Settings {
        seed: number("ORLOP_TORTURE_SEED").unwrap_or_else(|| u64::from(now.subsec_nanos())),
        moves: number("ORLOP_TORTURE_OPERATIONS").unwrap_or(2000),
        cuts: number("ORLOP_TORTURE_CUTS").unwrap_or(16),
    };
    let root = rustix::process::geteuid().is_root();
    let host = (root && !arguments.list).then(Host::enter);
    let tags: Arc<Mutex<Vec<String>>> = Arc::default();
    // Without root nothing of this can run: the trials are counted as ignored.
    let kinds = ["ext4", "xfs", "btrfs"];
    let possible = logged::is_possible();
    if root && !possible {
        println!("SKIPPED: no power cuts without qemu-storage-daemon and /dev/fuse");
    }
    let kills = kinds.map(|kind| {
        let tags = Arc::clone(&tags);
        Trial::test(format!("torture::{kind}"), move || {
            life(kind, settings, &tags);
            Ok(())
        })
        .with_ignored_flag(!root)
    });
    let cuts = kinds.map(|kind| {
        let tags = Arc::clone(&tags);
        Trial::test(format!("power_cuts::{kind}"), move || {
            power::cuts(kind, settings, &tags);
            Ok(())
        })
        .with_ignored_flag(!root || !possible)
    });
    let trials: Vec<Trial> = kills.into_iter().chain(cuts).collect();
    if host.is_some() {
        println!("ORLOP_TORTURE_SEED={} repeats this run", settings.seed);
    }
    let conclusion = testkit::libtest_mimic::run(&arguments, trials);
    let Some(host) = host else {
        conclusion.exit();
    };
    if conclusion.has_failed() {
        std::process::exit(101);
    }
    let last = Trial::test("nothing_is_left_on_the_host", move || {
        let left = Mutex::new(Vec::new());
        let clean = until_or_late(|| {
            let tags = tags.lock().unwrap();
            let found: Vec<String> = tags.iter().flat_map(|tag| host.leftovers(tag)).collect();
            let none = found.is_empty();
            *left.lock().unwrap() = found;
            none.then_some(())
        });
        assert!(clean.is_some(), "left behind: {:#?}", left.lock().unwrap());
        Ok(())
    });
    testkit::libtest_mimic::run(&arguments, vec![last]).exit();
}
