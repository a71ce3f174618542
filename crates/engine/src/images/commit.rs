//! The image side of `commit`: one more layer on top of a container's image.

use std::io::Write;

use jiff::Timestamp;

use super::config::{History, ImageConfig, host_architecture};
use super::layers::Layer;
use super::{ImageError, Images, Reference};
use crate::containers::Config;

/// What `commit` adds to an image.
#[derive(Debug)]
pub struct CommitLayer<'a> {
    /// Id of the image below.
    pub parent: &'a str,
    /// Complete configuration of the new image.
    pub config: &'a Config,
    pub author: &'a str,
    pub comment: &'a str,
    pub created_by: &'a str,
    pub name: Option<Reference>,
}

impl Images {
    /// `write_layer` writes the layer's tar stream. Returns the new image's id.
    pub fn commit_layer(
        &self,
        commit: &CommitLayer<'_>,
        write_layer: &mut (dyn FnMut(&mut (dyn Write + Send)) -> std::io::Result<()> + Send),
    ) -> Result<String, ImageError> {
        let _building = self.hold();
        let (row, layers) = self.with_layers(commit.parent)?;
        let mut document = ImageConfig::parse(&row.config)?;
        let failed = |source| ImageError::Io {
            action: "cannot write the new layer".to_owned(),
            source,
        };
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        let below = layers.last().cloned();
        let layer = std::thread::scope(|scope| -> Result<Layer, ImageError> {
            let packed = scope.spawn(move || write_layer(&mut std::fs::File::from(writer)));
            let added = self.add_layer(below.as_ref(), &mut std::fs::File::from(reader), None);
            let packed = packed.join().expect("packing does not panic");
            let layer = added?;
            match packed {
                Ok(()) => Ok(layer),
                Err(error) => {
                    self.drop_layer(layer.id)?;
                    Err(failed(error))
                }
            }
        })?;
        let created = Timestamp::now().to_string();
        document.created = Some(created.clone());
        if document.architecture.is_empty() {
            host_architecture().clone_into(&mut document.architecture);
        }
        commit.author.clone_into(&mut document.author);
        commit.comment.clone_into(&mut document.comment);
        document.config =
            Some(serde_json::to_value(commit.config).expect("a configuration serialises"));
        document.rootfs.diff_ids.push(layer.diff_id.clone());
        document.history.push(History {
            created: Some(created),
            created_by: commit.created_by.to_owned(),
            author: commit.author.to_owned(),
            comment: commit.comment.to_owned(),
            empty_layer: false,
            step: String::new(),
        });
        let bytes = serde_json::to_vec(&document).expect("a configuration serialises");
        let mut layers = layers;
        layers.push(layer);
        let names: Vec<Reference> = commit.name.iter().cloned().collect();
        let id = self.add_image(&bytes, layers, &names)?;
        self.publish(&id, "create", names.first());
        Ok(id)
    }
}
