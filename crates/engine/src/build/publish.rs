//! What was made becomes layers and records that the next build finds, and the image with its names.

use std::collections::HashMap;

use jiff::Timestamp;
use store::BuildRecordRow;

use super::stage::{Done, Made};
use super::{Build, BuildError, cache};
use crate::images::Reference;
use crate::images::built::{Block, Finished, chain};

impl Build<'_> {
    /// Step 4; the layers of each stage, in the order of the stages that ended.
    pub(super) fn publish(&self) -> Result<Vec<Vec<Block>>, BuildError> {
        let ledgers = std::mem::take(&mut self.notes().ledgers);
        let images = &self.builder.images;
        let mut known = HashMap::new();
        let mut stacks = Vec::new();
        for ledger in &ledgers {
            stacks.push(images.publish_built(&ledger.blocks, &mut known)?);
        }
        for block in ledgers.iter().flat_map(|ledger| &ledger.blocks) {
            if let Block::Fresh(sealing) = block
                && !known.contains_key(&sealing.id)
            {
                images.discard_layer(sealing.id)?;
            }
        }
        sys::fault::step("build:published");
        let now = Timestamp::now().to_string();
        let mut rows = Vec::new();
        for (ledger, stack) in ledgers.iter().zip(&stacks) {
            for record in &ledger.records {
                let needed = record.below + usize::from(record.made != Made::Nothing);
                // The layer, or one below it, could not be packed.
                if stack.len() < needed {
                    continue;
                }
                let below = chain(&stack[..record.below])?;
                rows.push(BuildRecordRow {
                    key: cache::key(&below, &record.body),
                    layer: (record.made != Made::Nothing).then(|| stack[record.below].id()),
                    alias: record.alias,
                    step: record.step.key(&below),
                    description: record.description.clone(),
                    notes: record.notes.clone(),
                    created_at: now.clone(),
                    used_at: now.clone(),
                    uses: 1,
                });
            }
        }
        let used = std::mem::take(&mut self.notes().used);
        self.builder.store.write(|tx| {
            for row in &rows {
                tx.set_build_record(row)?;
            }
            for key in &used {
                tx.touch_build_record(key, &now)?;
            }
            Ok::<_, BuildError>(())
        })?;
        sys::fault::step("build:recorded");
        Ok(stacks)
    }

    /// Step 5.
    pub(super) fn finish(
        &self,
        done: &Done,
        blocks: &[Block],
        names: &[Reference],
    ) -> Result<String, BuildError> {
        self.check()?;
        let lines = done.lines(blocks)?;
        let id = self.builder.images.finish_built(&Finished {
            base: &done.base,
            config: &done.config,
            author: &done.author,
            blocks,
            lines: &lines,
            sources: &self.sources,
            names,
        })?;
        let short = &id["sha256:".len()..][..12];
        let text = format!(" ---> {short}\n{}", self.warnings());
        if !self.request.quiet {
            self.desk.last(&text);
            self.out.image(&id);
        }
        if self.request.quiet {
            self.out.text(&format!("{id}\n"));
            return Ok(id);
        }
        // Each in a message of its own: clients find the id by matching whole messages.
        self.desk.last(&format!("Successfully built {short}\n"));
        for name in names {
            self.desk.last(&format!(
                "Successfully tagged {}:{}\n",
                name.repository,
                name.tag_or_latest()
            ));
        }
        Ok(id)
    }
}
