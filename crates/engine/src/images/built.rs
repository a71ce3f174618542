//! The image side of a build: layers that steps fill in place, and the image that is made of them.
//!
//! A layer of a build is the upper directory of the step that makes it: nothing is copied. [`Images::seal`] then packs it,
//! for its digest and for the stream that layers keep; that may go on beside the steps that follow. Only
//! [`Images::publish_built`] makes layers visible: until then recovery removes them.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use jiff::Timestamp;
use store::LayerId;

use super::config::{History, ImageConfig, RootFs, digest, host_architecture, without_nulls};
use super::layers::{Layer, create_file};
use super::{ImageError, Images, Reference};
use crate::containers::Config;

/// As for layers that are loaded.
const ZSTD_LEVEL: i32 = 1;

/// What a build begins from.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) id: String,
    pub(crate) config: Config,
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: String,
    pub(crate) blocks: Vec<Block>,
    history: Vec<History>,
}

/// One layer of a stack that is being built.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Known(Known),
    Fresh(Arc<Sealing>),
}

/// A published layer.
#[derive(Debug, Clone)]
pub(crate) struct Known(Layer);

/// A layer that this build made, once it is packed.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub(crate) id: LayerId,
    sealed: Mutex<Option<Sealed>>,
    changed: Condvar,
}

/// Diff id and size, or why there are none.
type Sealed = Result<(String, u64), Arc<ImageError>>;

/// One line of an image's history that a build adds.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) created_by: String,
    /// It added a layer.
    pub(crate) layer: bool,
    /// The key of the step, if it may be found by it; see [`Base::step`].
    pub(crate) step: String,
}

/// What the finished image is to be.
#[derive(Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) base: &'a Base,
    pub(crate) config: &'a Config,
    pub(crate) author: &'a str,
    pub(crate) blocks: &'a [Block],
    pub(crate) lines: &'a [Line],
    /// Images that it may turn out to be.
    pub(crate) sources: &'a [Base],
    pub(crate) names: &'a [Reference],
}

impl Block {
    pub(crate) fn id(&self) -> LayerId {
        match self {
            Self::Known(known) => known.0.id,
            Self::Fresh(sealing) => sealing.id,
        }
    }

    fn diff_id(&self) -> Result<String, Arc<ImageError>> {
        match self {
            Self::Known(known) => Ok(known.0.diff_id.clone()),
            Self::Fresh(sealing) => sealing.wait().map(|(diff_id, _)| diff_id),
        }
    }
}

impl Base {
    /// Nothing at all.
    pub(crate) fn scratch() -> Self {
        Self {
            id: String::new(),
            config: Config::default(),
            os: "linux".to_owned(),
            architecture: host_architecture().to_owned(),
            variant: String::new(),
            blocks: Vec::new(),
            history: Vec::new(),
        }
    }

    /// What the step with this key gave when the image was built upon the same layers: a layer, or nothing. `None`: it was no
    /// such step.
    pub(crate) fn step(&self, key: &str, below: &[Block]) -> Option<Option<Block>> {
        let mut layers = 0;
        for line in &self.history {
            if line.step == key {
                let same = self.blocks.get(..layers)?.iter().map(Block::id);
                let same = same.eq(below.iter().map(Block::id));
                let made = if line.empty_layer {
                    None
                } else {
                    Some(self.blocks.get(layers)?.clone())
                };
                return same.then_some(made);
            }
            layers += usize::from(!line.empty_layer);
        }
        None
    }
}

/// A document without times, whoever wrote it, as one short text.
fn shape(document: &ImageConfig) -> String {
    let value = serde_json::to_value(document).expect("a configuration serialises");
    digest(without_nulls(value).to_string().as_bytes())
}

impl Sealing {
    pub(crate) fn new(id: LayerId) -> Self {
        Self {
            id,
            sealed: Mutex::new(None),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn done(&self, result: Result<(String, u64), ImageError>) {
        *self.sealed.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(result.map_err(Arc::new));
        self.changed.notify_all();
    }

    fn wait(&self) -> Sealed {
        let sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = self
            .changed
            .wait_while(sealed, |sealed| sealed.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        sealed.clone().expect("waited for")
    }
}

/// The id of a stack: waits until all of it is packed. Empty for nothing.
pub(crate) fn chain(blocks: &[Block]) -> Result<String, Arc<ImageError>> {
    let mut chain: Option<String> = None;
    for block in blocks {
        chain = Some(match block {
            Block::Known(known) => known.0.chain_id.clone(),
            fresh @ Block::Fresh(_) => super::config::chain_id(chain.as_deref(), &fresh.diff_id()?),
        });
    }
    Ok(chain.unwrap_or_default())
}

impl Images {
    pub(crate) fn base(&self, reference: &str) -> Result<Base, ImageError> {
        let row = self.find(reference)?.row;
        let document = ImageConfig::parse(&row.config)?;
        let (_, layers) = self.with_layers(&row.id)?;
        Ok(Base {
            id: row.id,
            config: document.run_config()?,
            os: document.os,
            architecture: document.architecture,
            variant: document.variant,
            blocks: layers
                .into_iter()
                .map(|layer| Block::Known(Known(layer)))
                .collect(),
            history: document.history,
        })
    }

    /// A layer in any image or cache record.
    pub(crate) fn published(&self, id: LayerId) -> Result<Option<Block>, ImageError> {
        let row = self.store.read(|tx| tx.layer(id))?;
        Ok(row
            .filter(|row| row.state == store::LayerState::Ready)
            .map(|row| Block::Known(Known(Layer::known(row)))))
    }

    /// A new layer with its empty directories, for the overlay of one step.
    pub(crate) fn open_layer(&self) -> Result<LayerId, ImageError> {
        let id = self.begin_layer()?;
        let made = self.layer_directory(id).and_then(|_| {
            sys::durable::create_dir_unsynced(&self.paths.layer_work(id), 0o700).map_err(|source| {
                ImageError::Io {
                    action: "cannot make a layer directory".to_owned(),
                    source,
                }
            })
        });
        match made {
            Ok(()) => Ok(id),
            Err(error) => {
                self.drop_layer(id)?;
                Err(error)
            }
        }
    }

    /// A layer that came to nothing.
    pub(crate) fn discard_layer(&self, id: LayerId) -> Result<(), ImageError> {
        self.drop_layer(id)
    }

    /// Directories of a stack, topmost first, as overlay mounts want them.
    pub(crate) fn stack(&self, blocks: &[Block]) -> Vec<PathBuf> {
        blocks
            .iter()
            .rev()
            .map(|block| self.lower(block.id()))
            .collect()
    }

    /// Packs a layer that nobody writes to any more; its diff id and its size.
    pub(crate) fn seal(&self, id: LayerId) -> Result<(String, u64), ImageError> {
        let failed = |source: io::Error| ImageError::Io {
            action: "cannot keep a layer".to_owned(),
            source,
        };
        sys::dir::remove_tree(&self.paths.layer_work(id)).map_err(failed)?;
        let root = sys::dir::open(&self.paths.layer_fs(id)).map_err(failed)?;
        let kept = create_file(&self.paths.layer(id).join("tar.zst")).map_err(failed)?;
        let kept = archive::zstd_writer(kept, ZSTD_LEVEL).map_err(failed)?;
        let mut stream = archive::DigestWriter::new(kept);
        let options = archive::PackOptions {
            whiteouts: archive::PackWhiteouts::ToAufs,
            ..archive::PackOptions::default()
        };
        let packed = archive::pack(root.as_fd(), &mut stream, &options)
            .map_err(|error| failed(io::Error::other(error)))?;
        let (digest, kept) = stream.finish();
        kept.finish()
            .and_then(|mut file| file.flush())
            .map_err(failed)?;
        sys::fault::step("build:sealed");
        Ok((digest, packed.contents))
    }

    /// Makes the layers of some stacks visible, as far as they could be packed. `known` remembers what was done: stacks
    /// share layers.
    pub(crate) fn publish_built(
        &self,
        blocks: &[Block],
        known: &mut HashMap<LayerId, Known>,
    ) -> Result<Vec<Block>, ImageError> {
        let mut layers: Vec<Layer> = Vec::new();
        for block in blocks {
            let below = layers.last().map(|layer| layer.chain_id.as_str());
            layers.push(match block {
                Block::Known(layer) => layer.0.clone(),
                Block::Fresh(sealing) => match (known.get(&sealing.id), sealing.wait()) {
                    (Some(layer), _) => layer.0.clone(),
                    (None, Ok((diff_id, size))) => {
                        let chain = super::config::chain_id(below, &diff_id);
                        Layer::made(sealing.id, chain, diff_id, size)
                    }
                    (None, Err(_)) => break,
                },
            });
        }
        let before: Vec<LayerId> = layers.iter().map(|layer| layer.id).collect();
        self.publish_layers(&mut layers)?;
        let published: Vec<Known> = layers.into_iter().map(Known).collect();
        known.extend(before.into_iter().zip(published.iter().cloned()));
        Ok(published.into_iter().map(Block::Known).collect())
    }

    /// The image of a stack that is published. One that differs in nothing but times from one that is there is that one.
    pub(crate) fn finish_built(&self, finished: &Finished<'_>) -> Result<String, ImageError> {
        let Base {
            os,
            architecture,
            variant,
            history,
            ..
        } = finished.base;
        let mut document = ImageConfig {
            architecture: architecture.clone(),
            variant: variant.clone(),
            os: os.clone(),
            created: None,
            author: finished.author.to_owned(),
            comment: String::new(),
            config: Some(
                serde_json::to_value(finished.config).expect("a configuration serialises"),
            ),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: finished
                    .blocks
                    .iter()
                    .map(|block| block.diff_id().expect("published layers are packed"))
                    .collect(),
            },
            history: history.clone(),
        };
        document
            .history
            .extend(finished.lines.iter().map(|line| History {
                created_by: line.created_by.clone(),
                comment: "orlop build".to_owned(),
                empty_layer: !line.layer,
                step: line.step.clone(),
                ..History::default()
            }));
        let bytes = |document: &ImageConfig| {
            serde_json::to_vec(document).expect("a configuration serialises")
        };
        let shape = shape(&document);
        let known = self.store.read(|tx| tx.build_result(&shape))?;
        let known = match known {
            Some(id) => Some(id),
            None => self.same_shape(finished.sources, &shape, history.len())?,
        };
        let same = match known {
            Some(id) => self.row(&id)?,
            None => None,
        };
        // It may be removed at any moment before it has its names.
        let same = match same {
            Some(row) => self.store.write(|tx| {
                if tx.image(&row.id)?.is_none() {
                    return Ok(None);
                }
                for name in finished.names {
                    tx.set_tag(&name.repository, name.tag_or_latest(), &row.id)?;
                }
                Ok::<_, ImageError>(Some(row.id))
            })?,
            None => None,
        };
        let id = match same {
            Some(id) => id,
            None => {
                let now = Timestamp::now().to_string();
                let mut times = self.times(finished.blocks)?.into_iter();
                // Layers of the base have their place in its own history.
                let older = finished.base.blocks.len();
                for _ in 0..older {
                    times.next();
                }
                for line in &mut document.history[history.len()..] {
                    let time = if line.empty_layer { None } else { times.next() };
                    line.created = Some(time.unwrap_or_else(|| now.clone()));
                }
                document.created = Some(now);
                let layers = finished
                    .blocks
                    .iter()
                    .filter_map(|block| match block {
                        Block::Known(known) => Some(known.0.clone()),
                        Block::Fresh(_) => None,
                    })
                    .collect();
                self.add_image_and(&bytes(&document), layers, finished.names, |tx, id| {
                    Ok(tx.set_build_result(&shape, id)?)
                })?
            }
        };
        for name in finished.names {
            self.publish(&id, "tag", Some(name));
        }
        Ok(id)
    }

    /// The image of these that differs in nothing but the times of what it has beyond the first `older` lines of its history.
    fn same_shape(
        &self,
        images: &[Base],
        shape: &str,
        older: usize,
    ) -> Result<Option<String>, ImageError> {
        for image in images {
            let Some(row) = self.row(&image.id)? else {
                continue;
            };
            let mut document = ImageConfig::parse(&row.config)?;
            document.created = None;
            for line in document.history.iter_mut().skip(older) {
                line.created = None;
            }
            if self::shape(&document) == shape {
                return Ok(Some(row.id));
            }
        }
        Ok(None)
    }

    /// When each layer was made.
    fn times(&self, blocks: &[Block]) -> Result<Vec<String>, ImageError> {
        let ids = blocks.iter().map(Block::id);
        self.store.read(|tx| {
            ids.map(|id| {
                let row = tx.layer(id)?;
                Ok(row.map(|row| row.created_at).unwrap_or_default())
            })
            .collect()
        })
    }

    /// Layers that nobody holds any more go; the bytes that became free.
    pub(crate) fn sweep(&self) -> Result<u64, ImageError> {
        self.sweep_layers()
    }

    /// A file from the web, as `ADD` asks for it.
    pub(crate) fn download(
        &self,
        url: &str,
        cancel: &Arc<registry::Cancel>,
    ) -> Result<registry::Download, ImageError> {
        Ok(self.registries.download(url, cancel)?)
    }
}
