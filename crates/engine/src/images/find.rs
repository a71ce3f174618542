//! From what a user typed (reference, id, id prefix) to an image.

use std::path::PathBuf;

use store::ImageRow;

use super::config::ImageConfig;
use super::layers::Layer;
use super::reference::is_digest;
use super::{ImageError, ImageForRun, Images, Reference};

/// An image and the name by which it was found.
pub(super) struct Found {
    pub(super) row: ImageRow,
    /// Set when a tag, not an id, led here.
    pub(super) by_tag: Option<Reference>,
}

impl Images {
    /// Tags first, then full ids, then unique prefixes of ids, as Docker does.
    pub(super) fn find(&self, text: &str) -> Result<Found, ImageError> {
        let no_such = || ImageError::NoSuch(shown(text));
        if is_digest(text) {
            let row = self.row(text)?.ok_or_else(no_such)?;
            return Ok(Found { row, by_tag: None });
        }
        let parsed = Reference::parse(text);
        if let Ok(reference) = &parsed {
            let id = self.store.read(|tx| {
                Ok::<_, ImageError>(match &reference.digest {
                    Some(digest) => tx.image_by_digest(&reference.repository, digest)?,
                    None => tx.tagged_image(&reference.repository, reference.tag_or_latest())?,
                })
            })?;
            if let Some(id) = id {
                let row = self.row(&id)?.ok_or_else(no_such)?;
                let by_tag = Reference {
                    tag: reference
                        .digest
                        .is_none()
                        .then(|| reference.tag_or_latest().to_owned()),
                    ..reference.clone()
                };
                return Ok(Found {
                    row,
                    by_tag: Some(by_tag),
                });
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let ids = self
                .store
                .read(|tx| Ok::<_, ImageError>(tx.image_ids_by_prefix(hex)?))?;
            match ids.as_slice() {
                [] => {}
                [id] => {
                    let row = self.row(id)?.ok_or_else(no_such)?;
                    return Ok(Found { row, by_tag: None });
                }
                _ => {
                    return Err(ImageError::Invalid(format!(
                        "multiple IDs found with provided prefix: {text}"
                    )));
                }
            }
        }
        parsed?;
        Err(no_such())
    }

    pub(super) fn row(&self, id: &str) -> Result<Option<ImageRow>, ImageError> {
        self.store.read(|tx| Ok(tx.image(id)?))
    }

    /// An image and its layers, bottom first.
    pub(super) fn with_layers(&self, id: &str) -> Result<(ImageRow, Vec<Layer>), ImageError> {
        let row = self
            .row(id)?
            .ok_or_else(|| ImageError::NoSuch(id.to_owned()))?;
        let layers = self.store.read(|tx| {
            tx.image_layers(id)?
                .into_iter()
                .map(|layer| {
                    tx.layer(layer)?
                        .map(Layer::known)
                        .ok_or_else(|| ImageError::NoSuch(id.to_owned()))
                })
                .collect::<Result<Vec<_>, ImageError>>()
        })?;
        Ok((row, layers))
    }

    /// By reference, id, or unique id prefix.
    pub fn for_run(&self, reference: &str) -> Result<ImageForRun, ImageError> {
        let row = self.find(reference)?.row;
        let document = ImageConfig::parse(&row.config)?;
        Ok(ImageForRun {
            lowers: self.lowers(&row.id)?,
            id: row.id,
            config: document.run_config()?,
            os: document.os,
            architecture: document.architecture,
        })
    }

    /// Directories of the layers of an image id, topmost first, relative to the layers directory.
    pub fn lowers(&self, id: &str) -> Result<Vec<PathBuf>, ImageError> {
        let (_, layers) = self.with_layers(id)?;
        Ok(layers
            .iter()
            .rev()
            .map(|layer| self.lower(layer.id))
            .collect())
    }
}

/// References without a tag are shown with the tag that was looked for.
fn shown(text: &str) -> String {
    match Reference::parse(text) {
        Ok(reference) if reference.tag.is_none() && reference.digest.is_none() => {
            format!("{text}:latest")
        }
        _ => text.to_owned(),
    }
}
