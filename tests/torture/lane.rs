//! A lane: volumes that one user plays with, one move after the other, beside other lanes.

use std::collections::VecDeque;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use testkit::{Engine, Output, until_or_late};

use crate::dice::Dice;
use crate::look::{Sight, host, path, run};
use crate::model::{World, difference, text};
use crate::moves::{Move, archive};

/// Moves in a round, unless something is killed before.
const MOVES: u64 = 24;
/// How many lines of what was done a failure shows.
const REMEMBERED: usize = 40;

/// The client that is at work, for whoever kills it.
pub(super) type Client = Arc<Mutex<Option<Child>>>;

/// What all lanes share while a round lasts.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) engine: &'a Engine,
    pub(super) seed: u64,
    pub(super) number: u64,
    /// From now on things are killed: what fails may fail.
    pub(super) over: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: usize,
    world: World,
    /// What may or may not have happened.
    pending: Option<Move>,
    log: VecDeque<String>,
    client: Client,
    /// What containers write is synced before it counts as written.
    durable: bool,
    /// Its volumes may be limited.
    limits: bool,
    pub(super) moves: u64,
    pub(super) refused: u64,
}

impl Lane {
    /// A lane on a filesystem of this kind. What takes images for limits has none.
    pub(super) fn new(number: usize, kind: &str) -> Self {
        Self {
            limits: kind == "btrfs",
            number,
            world: World::default(),
            pending: None,
            log: VecDeque::new(),
            client: Client::default(),
            durable: false,
            moves: 0,
            refused: 0,
        }
    }

    /// A lane whose acknowledged moves survive a power cut.
    pub(super) fn durable(number: usize, kind: &str) -> Self {
        Self {
            durable: true,
            ..Self::new(number, kind)
        }
    }

    /// A lane of which this is known, and whose next move may have begun.
    pub(super) fn doubtful(number: usize, world: World, pending: Option<Move>) -> Self {
        Self {
            world,
            pending,
            ..Self::new(number, "")
        }
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    fn note(&mut self, line: String) {
        self.log.push_back(line);
        if self.log.len() > REMEMBERED {
            self.log.pop_front();
        }
    }

    pub(super) fn history(&self) -> String {
        self.log.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Kills the client that is at work, if one is.
    pub(super) fn kill_client(client: &Client) {
        let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = &mut *client {
            // It may have ended by itself; nobody has waited for it, so the id is still its own.
            drop(child.kill());
        }
    }

    /// Plays until the round is over, with a sign before each move.
    pub(super) fn play(&mut self, round: &Round<'_>, signs: &Sender<()>) {
        for index in 0..MOVES {
            if round.over.load(Ordering::SeqCst) {
                return;
            }
            let mut dice = Dice::new(&[
                round.seed,
                round.number,
                u64::try_from(self.number).expect("few lanes"),
                index,
            ]);
            let serial = format!("r{}l{}m{index}", round.number, self.number);
            let chosen = self.choose(&mut dice, &serial);
            // Nobody listens any more when something has been killed already.
            signs.send(()).ok();
            if !self.carry_out(round, chosen, &serial) {
                return;
            }
        }
    }

    /// What comes next.
    pub(super) fn choose(&self, dice: &mut Dice, serial: &str) -> Move {
        Move::choose(dice, &self.world, self.number, serial, self.limits)
    }

    /// False when it is not known whether the move was made.
    pub(super) fn carry_out(&mut self, round: &Round<'_>, chosen: Move, serial: &str) -> bool {
        let scratch = self.scratch(round.engine);
        if let Move::Copy { files, .. } | Move::Import { files, .. } = &chosen {
            drop(fs::remove_dir_all(&scratch));
            for (file, token) in files {
                let path = scratch.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text(token)).unwrap();
            }
        }
        if matches!(chosen, Move::Import { .. }) {
            fs::create_dir_all(&scratch).unwrap();
            host(&[
                "tar",
                "-C",
                path(&scratch),
                "-cf",
                path(&archive(&scratch)),
                ".",
            ]);
        }
        let words = chosen.words(self.number, &scratch, self.durable);
        let expected = chosen.expect(&self.world, self.number);
        self.moves += 1;
        let output = self.call(round.engine, &words);
        self.note(format!("{serial} {} → {}", output.command, output.code));
        match expected {
            Ok(world) if output.code == 0 => {
                self.world = world;
                self.learn(round.engine, &output);
                return true;
            }
            Err(texts) if texts.iter().any(|text| output.stderr.contains(text)) => {
                self.refused += 1;
                return true;
            }
            Err(texts) if output.code == 0 => panic!(
                "it should have been refused ({texts:?}):\n{output}\n{}",
                self.history()
            ),
            // Another lane is at it.
            _ if output
                .stderr
                .contains("a prune operation is already running") =>
            {
                return true;
            }
            _ => {}
        }
        let excused = round.over.load(Ordering::SeqCst) || is_gone(round.engine);
        assert!(
            excused,
            "nothing was killed, and yet\n{output}\n{}",
            self.history()
        );
        self.note(format!("{serial} is in doubt: {}", output.stderr.trim()));
        self.pending = Some(chosen);
        false
    }

    /// Names and ids that the engine chose.
    fn learn(&mut self, engine: &Engine, output: &Output) {
        let kept = output.stdout.lines().find_map(|line| {
            line.strip_prefix("what it held is kept as ")?
                .split_once('@')
        });
        if let Some((volume, name)) = kept
            && let Some(last) = self
                .world
                .volumes
                .get_mut(volume)
                .and_then(|volume| volume.kept.last_mut())
        {
            name.clone_into(&mut last.0);
        }
        for (name, volume) in &mut self.world.volumes {
            if volume.id.is_empty() {
                let link = engine.root.join("volumes").join(name);
                // Unreadable when the engine was killed and the volume's rename is being undone: the next look learns it.
                if let Ok(target) = fs::read_link(link) {
                    volume.id = target.file_name().unwrap().to_string_lossy().into_owned();
                }
            }
        }
    }

    fn scratch(&self, engine: &Engine) -> PathBuf {
        engine
            .root
            .with_extension("scratch")
            .join(self.number.to_string())
    }

    fn call(&self, engine: &Engine, words: &[String]) -> Output {
        let mut child = testkit::Client::Orlop
            .command(engine, words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        *self.slot() = Some(child);
        let (mut said, mut complained) = (Vec::new(), Vec::new());
        stdout.read_to_end(&mut said).unwrap();
        stderr.read_to_end(&mut complained).unwrap();
        let mut child = self.slot().take().unwrap();
        let status = child.wait().unwrap();
        Output {
            command: words.join(" "),
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&said).into_owned(),
            stderr: String::from_utf8_lossy(&complained).into_owned(),
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the container that was writing when something was killed, and takes away what is left of it.
    pub(super) fn calm_down(&self, engine: &Engine) {
        if !self.pending.as_ref().is_some_and(Move::in_container) {
            return;
        }
        let name = format!("l{}-w", self.number);
        let calm = until_or_late(|| {
            let inspected = run(engine, &format!("inspect --type container {name}"));
            if inspected.code != 0 {
                return Some(());
            }
            let ends = inspected.json()[0]["State"]["Running"] == false;
            // `--rm` may be faster.
            ends.then(|| drop(run(engine, &format!("rm -f -v {name}"))))
        });
        assert!(calm.is_some(), "{name} does not end\n{}", self.history());
    }

    /// Compares what is there with the model, and takes it for the truth if it is one that can be. `stopped`: shims have
    /// been killed.
    pub(super) fn settle(&mut self, sight: &Sight, stopped: bool, context: &str) {
        let found = sight.world(self.number);
        let worlds = match &self.pending {
            None => vec![self.world.clone()],
            Some(pending) => pending.possible(&self.world, &found, self.number),
        };
        let lines = found.lines();
        if !worlds.iter().any(|world| world.lines() == lines) {
            let compared: Vec<String> = worlds
                .iter()
                .map(|world| difference(&world.lines(), &lines))
                .collect();
            panic!(
                "{context}: lane {}, in doubt: {:?}\n{}\n{}",
                self.number,
                self.pending,
                compared.join("\n  or\n"),
                self.history()
            );
        }
        let excused = self.pending.as_ref().and_then(Move::container);
        for (name, holder) in &found.holders {
            let ran = self
                .world
                .holders
                .get(name)
                .is_some_and(|before| before.running);
            let may_differ = excused == Some(name) || (ran && stopped);
            assert!(
                holder.running == ran || may_differ,
                "{context}: container {name} runs: {}, before: {ran}\n{}",
                holder.running,
                self.history()
            );
        }
        self.pending = None;
        self.world = found;
    }

    pub(super) fn client(&self) -> Client {
        Arc::clone(&self.client)
    }
}

/// Whether the engine has died: its socket answers no more.
fn is_gone(engine: &Engine) -> bool {
    let socket = engine.socket();
    until_or_late(|| {
        std::os::unix::net::UnixStream::connect(&socket)
            .is_err()
            .then_some(())
    })
    .is_some()
}
