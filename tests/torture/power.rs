//! Power cuts: the same moves on a disk that is seen again as it was at many moments.
//!
//! After a cut what was acknowledged before is there: names, labels, contents by the client, contents that a container synced,
//! snapshots, restores, clones, the trash. What was under way has happened or not, and nothing is left of it.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use testkit::Engine;

use crate::Settings;
use crate::dice::Dice;
use crate::lane::{Lane, Round};
use crate::logged::LoggedDisk;
use crate::look::{equip, run};
use crate::model::World;
use crate::moves::Move;
use crate::settle;

const DISK: u64 = 512 << 20;

/// What was known at a moment: how far the log was, the world, and the move that came next.
struct Moment {
    position: usize,
    world: World,
    next: Option<Move>,
}

/// All of it on one filesystem.
pub(super) fn cuts(kind: &'static str, settings: Settings, tags: &Mutex<Vec<String>>) {
    let mut engine = Engine::new(&format!("power-{kind}"));
    let mut disk = LoggedDisk::mount(kind, &engine.root, DISK);
    tags.lock().unwrap().push(engine.tag());
    engine.resume();
    equip(&engine);
    // An image is not what this is about.
    rustix::fs::sync();
    let mut lane = Lane::durable(0, kind);
    let mut moments = vec![Moment {
        position: disk.position(),
        world: World::default(),
        next: None,
    }];
    while lane.moves < settings.cuts * 2 {
        let mut dice = Dice::new(&[settings.seed, lane.moves]);
        let serial = format!("m{}", lane.moves);
        let chosen = lane.choose(&mut dice, &serial);
        let round = Round {
            engine: &engine,
            seed: settings.seed,
            number: 0,
            over: AtomicBool::new(false),
        };
        lane.carry_out(&round, chosen.clone(), &serial);
        moments.last_mut().expect("there is one").next = Some(chosen);
        moments.push(Moment {
            position: disk.position(),
            world: lane.world().clone(),
            next: None,
        });
    }
    let log = lane.history();
    let containers = run(&engine, "ps -aq").ok().replace('\n', " ");
    if !containers.is_empty() {
        run(&engine, &format!("rm -f {containers}")).ok();
    }
    engine.terminate();
    disk.unmount();
    // The other pool is known by its path.
    std::fs::remove_dir(&engine.root).unwrap();

    let mut dice = Dice::new(&[settings.seed]);
    let first = moments[0].position;
    let last = moments.last().expect("there is one").position;
    let mut positions: Vec<usize> = (0..settings.cuts)
        .map(|number| match number % 2 {
            // Just when something has been acknowledged.
            0 => dice.pick(&moments).expect("there are some").position,
            _ => {
                let span = u64::try_from(last - first).expect("a short log");
                first + usize::try_from(dice.below(span + 1)).expect("a short log")
            }
        })
        .collect();
    positions.sort_unstable();
    let total = positions.len();
    let mut unreadable = 0;
    for position in positions {
        let mut again = Engine::new(&format!("power-{kind}-cut"));
        let mountpoint = again.root.clone();
        let Some(cut) = disk.cut(position, &mut dice, &again.root) else {
            unreadable += 1;
            continue;
        };
        std::os::unix::fs::symlink(&mountpoint, &engine.root).unwrap();
        tags.lock().unwrap().push(again.tag());
        let known = moments
            .iter()
            .rposition(|moment| moment.position <= position)
            .expect("the first one");
        let context = format!(
            "{kind}, seed {}, power cut after request {position}, move {known}\n{log}\n",
            settings.seed
        );
        assert!(
            again.try_resume(None),
            "{context}: the engine does not start: {}",
            again.root.display()
        );
        let moment = &moments[known];
        let mut lane = Lane::doubtful(0, moment.world.clone(), moment.next.clone());
        settle(&again, std::slice::from_mut(&mut lane), true, &context);
        again.terminate();
        drop(again);
        drop(cut);
        // While the disk was mounted there nobody else could.
        std::fs::remove_dir(mountpoint).unwrap();
        std::fs::remove_file(&engine.root).unwrap();
    }
    if unreadable > 0 {
        println!(
            "SKIPPED: {kind}: this kernel cannot mount {unreadable} of {total} states; they say nothing of the engine"
        );
    }
    // More than now and then would be the fault of what rebuilds the disk.
    assert!(
        4 * unreadable <= total,
        "{kind}: {unreadable} of {total} states cannot be mounted"
    );
    println!(
        "{kind}: {total} power cuts in {} moves and {last} requests",
        moments.len() - 1
    );
    drop(std::fs::remove_dir_all(
        engine.root.with_extension("scratch"),
    ));
    std::fs::create_dir(&engine.root).unwrap();
    drop(engine);
    drop(disk);
}
