//! The last step of import, load and commit: configuration, layers and names become one visible image.

use jiff::Timestamp;
use store::{ImageRow, WriteTx};

use super::config::{check_depth, digest};
use super::layers::Layer;
use super::{ImageError, Images, Reference};

impl Images {
    /// Publishes `layers` (bottom first) and the image made of them; names move to it. Returns the image's id.
    ///
    /// One transaction makes image and names visible together; before it nothing but unused layers exists.
    pub(super) fn add_image(
        &self,
        config: &[u8],
        layers: Vec<Layer>,
        names: &[Reference],
    ) -> Result<String, ImageError> {
        self.add_image_and(config, layers, names, |_, _| Ok(()))
    }

    /// As [`Images::add_image`]; what `and` records of the image becomes visible with it.
    pub(super) fn add_image_and(
        &self,
        config: &[u8],
        mut layers: Vec<Layer>,
        names: &[Reference],
        and: impl FnOnce(&WriteTx<'_>, &str) -> Result<(), ImageError>,
    ) -> Result<String, ImageError> {
        check_depth(layers.len())?;
        self.publish_layers(&mut layers)?;
        sys::fault::step("image:layers");
        let id = digest(config);
        let row = ImageRow {
            id: id.clone(),
            config: config.to_vec(),
            size: layers.iter().map(|layer| layer.size).sum(),
            created_at: Timestamp::now().to_string(),
        };
        self.store.write(|tx| {
            tx.insert_image(
                &row,
                &layers.iter().map(|layer| layer.id).collect::<Vec<_>>(),
            )?;
            for name in names {
                tx.set_tag(&name.repository, name.tag_or_latest(), &row.id)?;
            }
            and(tx, &row.id)
        })?;
        Ok(id)
    }
}
