//! Changes of several steps that span the database and the filesystem, and survive a crash at each of them.
//!
//! An operation is a value: what it needs to know is recorded as JSON before anything happens. It runs like this:
//!
//! 1. one transaction records the operation and what [`Operation::begin`] adds to it (a row `creating`, a name taken);
//! 2. for each step of [`Operation::STEPS`], in order: [`Operation::run`] works on the filesystem, outside of any
//!    transaction; then one transaction records the step and what [`Operation::record`] adds to it;
//! 3. the transaction of the last step also closes the operation.
//!
//! [`Operation::COMMIT`] names the step whose transaction is the commit point. A failure before it undoes the steps in
//! reverse ([`Operation::undo`], then [`Operation::abandon`] in the closing transaction): nothing happened. A failure
//! after it leaves the operation open, and recovery goes forward: it will have happened. A crash is treated as a
//! failure, by [`recover`], at the step that was under way.
//!
//! Some filesystems make at once, and durable, what a commit step is about ([`Operation::is_evident`]). Its record then waits for no
//! disk: recovery believes the work instead.
//!
//! Therefore `run` and `undo` are idempotent, and cope with a step that was done in part.
//!
//! [`sys::fault`] knows the points `<kind>:begin`, then for each step `<kind>:<step>` (before its work) and
//! `<kind>:<step>:done` (after it, before it is recorded), then `<kind>:end`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::db::{Store, WriteTx};
use crate::error::StoreError;
use crate::ids::OpId;
use crate::tables::ops::OpRow;

pub(crate) mod under_way;

/// A change of several steps. The value is what the journal stores.
pub trait Operation: Serialize + DeserializeOwned {
    /// Name of the kind of operation, on disk for as long as one is open.
    const KIND: &'static str;
    /// The steps in order with their names, which are on disk as well.
    const STEPS: &'static [(&'static str, Self::Step)];
    /// Once this step is recorded the operation will be completed; `None`: once it has begun.
    const COMMIT: Option<Self::Step>;

    /// Beginning it need not wait for the disk: what a power cut can leave of the first step without the record is found
    /// and taken away without it, too; or that step calls [`Store::wait`] before it makes anything.
    const BEGINS_SOON: bool = false;

    type Step: Copy + PartialEq + 'static;
    /// What the steps work with.
    type Context<'a>;
    type Error: std::error::Error + From<StoreError> + 'static;

    /// What it works on, for people.
    fn object(&self) -> &str;

    /// Recorded together with the operation; an error means that it never began.
    ///
    /// # Errors
    /// Whatever forbids the operation.
    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), Self::Error>;

    /// The work of one step on the filesystem. Idempotent.
    ///
    /// # Errors
    /// Whatever stopped it.
    fn run(
        &self,
        step: Self::Step,
        op: &OpId,
        context: &Self::Context<'_>,
    ) -> Result<(), Self::Error>;

    /// Whether the work of the commit step is complete and on disk, by what is found there alone. Asked after that step, whose
    /// record then waits for no disk; and by recovery, which goes forward if so.
    ///
    /// # Errors
    /// Whatever keeps it from being seen.
    fn is_evident(&self, _context: &Self::Context<'_>) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// Recorded together with the completion of `step`.
    ///
    /// # Errors
    /// Whatever stopped it; the step then counts as not done.
    fn record(&self, step: Self::Step, tx: &WriteTx<'_>) -> Result<(), Self::Error>;

    /// Takes back the work of `step`, which may have been done, in part, or not at all. Idempotent. Never called once
    /// the commit point is recorded.
    ///
    /// # Errors
    /// Whatever stopped it; the operation then stays open for the next recovery.
    fn undo(
        &self,
        step: Self::Step,
        op: &OpId,
        context: &Self::Context<'_>,
    ) -> Result<(), Self::Error>;

    /// Takes back what [`Operation::begin`] recorded.
    ///
    /// # Errors
    /// Whatever stopped it.
    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), Self::Error>;
}

/// What became of an operation that a crash had left open.
#[derive(Debug)]
pub enum Recovered<E> {
    /// It had not reached its commit point: nothing happened.
    Undone { object: String },
    /// It had: now it is complete.
    Completed { object: String },
    /// It could be neither undone nor completed, and stays open.
    Stuck { object: String, op: OpId, error: E },
}

/// Runs an operation to its end, or to nothing.
///
/// # Errors
/// What a step returned. An operation that failed after its commit point, or could not be undone, stays open: the
/// next recovery completes it.
pub fn execute<O: Operation>(
    store: &Store,
    operation: &O,
    context: &O::Context<'_>,
) -> Result<(), O::Error> {
    let op = OpId::random();
    let _under_way = store.under_way.say(&op);
    let params = serde_json::to_string(operation).expect("operations are plain data");
    let begin = |tx: &WriteTx<'_>| {
        operation.begin(tx)?;
        tx.insert_op(&op, O::KIND, operation.object(), &params)
            .map_err(O::Error::from)
    };
    if O::BEGINS_SOON && O::COMMIT.is_some() {
        store.write_soon(begin)?;
    } else {
        store.write(begin)?;
    }
    let begun = point::<O>("begin").map_err(|error| Failure { step: 0, error });
    let Err(failure) = begun.and_then(|()| forward(store, operation, &op, context, 0)) else {
        return Ok(());
    };
    if !committed::<O>(failure.step)
        && let Err(undo) = backward(store, operation, &op, context, failure.step)
    {
        tracing::error!(%op, kind = O::KIND, object = operation.object(), error = &undo as &dyn std::error::Error,
            "the operation could not be undone and stays open");
    }
    Err(failure.error)
}

/// Operations that an error has stopped half-way: the next recovery takes them up.
///
/// # Errors
/// [`StoreError`].
pub fn unfinished(store: &Store) -> Result<Vec<OpRow>, StoreError> {
    let idle = |row: &OpRow| !store.under_way.has(&row.id);
    let mut found = store.read(|tx| tx.ops())?;
    found.retain(idle);
    if !found.is_empty() {
        // One that ended between the two looks is in no second list.
        let still: Vec<OpId> = store
            .read(|tx| tx.ops())?
            .into_iter()
            .map(|row| row.id)
            .collect();
        found.retain(|row| still.contains(&row.id));
    }
    Ok(found)
}

/// Undoes or completes every open operation of one kind, oldest first.
///
/// # Errors
/// [`StoreError`] when the journal itself cannot be read: such an operation is never skipped. What stops a single
/// operation is reported as [`Recovered::Stuck`].
pub fn recover<O: Operation>(
    store: &Store,
    context: &O::Context<'_>,
) -> Result<Vec<Recovered<O::Error>>, StoreError> {
    let mut outcomes = Vec::new();
    for row in store.read(|tx| tx.ops_of_kind(O::KIND))? {
        let operation: O =
            serde_json::from_str(&row.params).map_err(|_| StoreError::Unreadable {
                table: "ops",
                id: row.id.to_string(),
                column: "params",
            })?;
        let next = if row.step.is_empty() {
            0
        } else {
            1 + O::STEPS
                .iter()
                .position(|(name, _)| *name == row.step)
                .ok_or_else(|| StoreError::UnknownStep {
                    op: row.id.to_string(),
                    kind: row.kind.clone(),
                    step: row.step.clone(),
                })?
        };
        let object = row.object;
        outcomes.push(match settle(store, &operation, &row.id, context, next) {
            Ok(true) => Recovered::Completed { object },
            Ok(false) => Recovered::Undone { object },
            Err(error) => Recovered::Stuck {
                object,
                op: row.id,
                error,
            },
        });
    }
    Ok(outcomes)
}

/// Completes an open operation, or undoes it; which of the two.
fn settle<O: Operation>(
    store: &Store,
    operation: &O,
    op: &OpId,
    context: &O::Context<'_>,
    mut next: usize,
) -> Result<bool, O::Error> {
    let commits =
        |index: usize| matches!(O::STEPS.get(index), Some((_, step)) if O::COMMIT == Some(*step));
    if commits(next) && operation.is_evident(context)? {
        store.write(|tx| note(tx, operation, op, next))?;
        next += 1;
    }
    if committed::<O>(next) {
        forward(store, operation, op, context, next).map_err(|failure| failure.error)?;
        return Ok(true);
    }
    backward(store, operation, op, context, next)?;
    Ok(false)
}

struct Failure<E> {
    /// Index of the step that was under way.
    step: usize,
    error: E,
}

/// Whether the commit point is recorded when `next` is the first step that is not.
fn committed<O: Operation>(next: usize) -> bool {
    O::COMMIT.is_none_or(|commit| O::STEPS[..next].iter().any(|(_, step)| *step == commit))
}

fn forward<O: Operation>(
    store: &Store,
    operation: &O,
    op: &OpId,
    context: &O::Context<'_>,
    from: usize,
) -> Result<(), Failure<O::Error>> {
    for (index, (name, step)) in O::STEPS.iter().enumerate().skip(from) {
        point::<O>(name)
            .and_then(|()| operation.run(*step, op, context))
            .and_then(|()| point::<O>(&format!("{name}:done")))
            .and_then(|()| Ok(O::COMMIT == Some(*step) && operation.is_evident(context)?))
            .and_then(|evident| {
                let note = |tx: &WriteTx<'_>| note(tx, operation, op, index);
                if evident {
                    store.write_soon(note)
                } else {
                    store.write(note)
                }
            })
            .map_err(|error| Failure { step: index, error })?;
    }
    sys::fault::step(&format!("{}:end", O::KIND));
    Ok(())
}

/// Records that a step is complete, and with the last one that the operation is.
fn note<O: Operation>(
    tx: &WriteTx<'_>,
    operation: &O,
    op: &OpId,
    index: usize,
) -> Result<(), O::Error> {
    let (name, step) = O::STEPS[index];
    operation.record(step, tx)?;
    let noted = if index + 1 == O::STEPS.len() {
        tx.delete_op(op)
    } else {
        tx.advance_op(op, name)
    };
    noted.map_err(O::Error::from)
}

fn backward<O: Operation>(
    store: &Store,
    operation: &O,
    op: &OpId,
    context: &O::Context<'_>,
    from: usize,
) -> Result<(), O::Error> {
    let reached = O::STEPS.len().min(from + 1);
    for (_, step) in O::STEPS[..reached].iter().rev() {
        operation.undo(*step, op, context)?;
    }
    store.write(|tx| {
        operation.abandon(tx)?;
        tx.delete_op(op).map_err(O::Error::from)
    })
}

/// A place where tests fail or kill.
fn point<O: Operation>(step: &str) -> Result<(), O::Error> {
    sys::fault::try_step(&format!("{}:{step}", O::KIND)).map_err(|source| {
        StoreError::Step {
            step: format!("{}:{step}", O::KIND),
            source,
        }
        .into()
    })
}

/// Names of all points of an operation, in order: what a test that fails or kills at each of them goes through.
pub fn points<O: Operation>() -> Vec<String> {
    let steps = O::STEPS.iter().flat_map(|(name, _)| {
        [
            format!("{}:{name}", O::KIND),
            format!("{}:{name}:done", O::KIND),
        ]
    });
    std::iter::once(format!("{}:begin", O::KIND))
        .chain(steps)
        .chain(std::iter::once(format!("{}:end", O::KIND)))
        .collect()
}

#[cfg(test)]
mod tests;
