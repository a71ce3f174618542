//! `push`: what a repository lacks of an image, then the manifest that names it.
//!
//! 1. each layer as a blob (`blobs`): one that is there, one taken over from another repository, or one that is sent
//! 2. the configuration
//! 3. the manifest: the one with which the image came when all its blobs are those, else one of our own
//! 4. its digest is recorded as the image's in this repository
//!
//! Nothing here changes on our side before 4 but what is known of blobs.

use std::io::Cursor;
use std::sync::Arc;

use registry::{Access, Begun, Cancel, Credentials, Document, Fetched, Repository, Session, types};
use serde_json::{Value, json};
use store::ImageRow;

use self::blobs::Blob;
use super::config::digest;
use super::layers::Layer;
use super::pull::{shown, with_tag};
use super::{ImageError, Images, Reference};
use crate::progress::Progress;

mod blobs;

#[derive(Debug, Clone, Default)]
pub struct PushRequest {
    pub reference: String,
    /// With neither this nor a tag in the reference all tags are pushed.
    pub tag: Option<String>,
    pub credentials: Option<Credentials>,
    /// Ends the push; what the registry has by then it keeps.
    pub cancel: Arc<Cancel>,
}

impl Images {
    /// # Errors
    /// [`ImageError::NoSuch`] for what does not exist here, [`ImageError::Registry`] for what the registry says.
    pub fn push(&self, request: &PushRequest, progress: &dyn Progress) -> Result<(), ImageError> {
        let name = with_tag(
            Reference::parse(&request.reference)?,
            request.tag.as_deref(),
        )?;
        if name.digest.is_some() {
            return Err(ImageError::Invalid(
                "cannot push a digest reference".to_owned(),
            ));
        }
        let repository = Repository::parse(&name.repository);
        progress.status(
            "",
            &format!(
                "The push refers to repository [{}/{}]",
                repository.host, repository.path
            ),
        );
        let tags: Vec<(String, String)> = self
            .store
            .read(|tx| tx.tags())?
            .into_iter()
            .filter(|row| row.repository == name.repository)
            .filter(|row| name.tag.as_ref().is_none_or(|tag| *tag == row.tag))
            .map(|row| (row.tag, row.image_id))
            .collect();
        if tags.is_empty() {
            let other_tags = self
                .store
                .read(|tx| tx.tags())?
                .iter()
                .any(|row| row.repository == name.repository);
            return Err(ImageError::Missing(if other_tags {
                format!("tag does not exist: {}", shown(&name))
            } else {
                format!(
                    "An image does not exist locally with the tag: {}",
                    name.repository
                )
            }));
        }
        let cancel = request.cancel.child();
        for (tag, image) in tags {
            let (row, layers) = self.with_layers(&image)?;
            let access = Access::Push {
                from: self.neighbours(&repository, &layers)?,
            };
            let endpoint = self.registries.registry(&repository.host);
            let session = self.registries.open(
                &endpoint,
                &repository,
                request.credentials.as_ref(),
                &access,
                &cancel,
            )?;
            Push {
                images: self,
                session: &session,
                repository: &repository,
                name: &name.repository,
                cancel: &cancel,
                progress,
            }
            .one(&tag, &row, &layers)?;
        }
        Ok(())
    }

    /// Paths of other repositories of the same registry that have some of the layers.
    fn neighbours(
        &self,
        repository: &Repository,
        layers: &[Layer],
    ) -> Result<Vec<String>, ImageError> {
        let mut found = Vec::new();
        for layer in layers {
            for row in self.store.read(|tx| tx.layer_blobs(&layer.diff_id))? {
                let other = Repository::parse(&row.repository);
                if !row.repository.is_empty()
                    && other.host == repository.host
                    && other.path != repository.path
                    && !found.contains(&other.path)
                {
                    found.push(other.path);
                }
            }
        }
        Ok(found)
    }
}

struct Push<'a> {
    images: &'a Images,
    session: &'a Session<'a>,
    repository: &'a Repository,
    /// The repository as users see it.
    name: &'a str,
    /// That of the session.
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Push<'_> {
    fn one(&self, tag: &str, row: &ImageRow, layers: &[Layer]) -> Result<(), ImageError> {
        let blobs = self.layers(layers)?;
        self.config(&row.id, &row.config)?;
        let (media_type, manifest) = self.manifest(row, &blobs)?;
        self.session.put_manifest(tag, &media_type, &manifest)?;
        let manifest_digest = digest(&manifest);
        self.images.store.write(|tx| {
            tx.set_digest(self.name, &manifest_digest, &row.id)?;
            Ok::<_, ImageError>(())
        })?;
        let name = Reference {
            repository: self.name.to_owned(),
            tag: Some(tag.to_owned()),
            digest: None,
        };
        self.images.events.publish(
            "image",
            "push",
            shown(&name),
            [("name".to_owned(), self.name.to_owned())].into(),
        );
        self.progress.status(
            "",
            &format!("{tag}: digest: {manifest_digest} size: {}", manifest.len()),
        );
        self.progress
            .result(&json!({ "Tag": tag, "Digest": manifest_digest, "Size": manifest.len() }));
        Ok(())
    }

    fn config(&self, id: &str, bytes: &[u8]) -> Result<(), ImageError> {
        if self.session.blob_size(id)?.is_some() {
            return Ok(());
        }
        if let Begun::Upload(place) = self.session.begin_upload(id, None)? {
            self.session
                .upload(&place, id, bytes.len() as u64, &mut || {
                    Ok(Box::new(Cursor::new(bytes.to_vec())))
                })?;
        }
        Ok(())
    }

    /// Media type and bytes.
    fn manifest(&self, row: &ImageRow, blobs: &[Blob]) -> Result<(String, Vec<u8>), ImageError> {
        if let Some((media_type, bytes)) =
            self.images.store.read(|tx| tx.image_manifest(&row.id))?
        {
            let fetched = Fetched {
                media_type: media_type.clone(),
                digest: digest(&bytes),
                bytes,
            };
            if let Ok(Document::Image(manifest)) = fetched.document(self.name) {
                let same = manifest.config.digest == row.id
                    && manifest.layers.len() == blobs.len()
                    && manifest
                        .layers
                        .iter()
                        .zip(blobs)
                        .all(|(theirs, ours)| theirs.digest == ours.digest);
                if same {
                    return Ok((media_type, fetched.bytes));
                }
            }
        }
        Ok(compose(&row.id, row.config.len(), blobs))
    }
}

/// Docker's form, which old clients read too; OCI's where a layer is compressed with zstd, which Docker's does not know.
fn compose(id: &str, size: usize, blobs: &[Blob]) -> (String, Vec<u8>) {
    let oci = blobs.iter().any(|blob| blob.media_type.ends_with("zstd"));
    let (manifest, config) = if oci {
        (types::OCI_MANIFEST, types::OCI_CONFIG)
    } else {
        (types::DOCKER_MANIFEST, types::DOCKER_CONFIG)
    };
    let layers: Vec<Value> = blobs
        .iter()
        .map(|blob| {
            let kind = blob.media_type.as_str();
            let media_type = match (oci, kind.ends_with("zstd"), kind.ends_with("gzip")) {
                (true, true, _) => types::OCI_LAYER_ZSTD,
                (true, _, true) => types::OCI_LAYER_GZIP,
                (true, ..) => types::OCI_LAYER,
                (false, _, true) => types::DOCKER_LAYER_GZIP,
                (false, ..) => types::DOCKER_LAYER,
            };
            json!({ "mediaType": media_type, "size": blob.size, "digest": blob.digest })
        })
        .collect();
    let value = json!({
        "schemaVersion": 2,
        "mediaType": manifest,
        "config": { "mediaType": config, "size": size, "digest": id },
        "layers": layers,
    });
    // Indented by three blanks as Docker does, for people look at it.
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(&value, &mut serializer).expect("a manifest serialises");
    (manifest.to_owned(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_the_layers() {
        let blob = |media_type: &str| Blob {
            digest: "sha256:b".to_owned(),
            size: 3,
            media_type: media_type.to_owned(),
        };
        let of = |blobs: &[Blob]| {
            let (media_type, bytes) = compose("sha256:c", 2, blobs);
            let value: Value = serde_json::from_slice(&bytes).expect("JSON");
            let layers: Vec<String> = value["layers"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|layer| layer["mediaType"].as_str().expect("text").to_owned())
                .collect();
            (media_type, layers)
        };
        assert_eq!(
            of(&[blob(types::OCI_LAYER_GZIP), blob(types::OCI_LAYER)]),
            (
                types::DOCKER_MANIFEST.to_owned(),
                vec![
                    types::DOCKER_LAYER_GZIP.to_owned(),
                    types::DOCKER_LAYER.to_owned()
                ]
            )
        );
        assert_eq!(
            of(&[blob(types::DOCKER_LAYER_GZIP), blob(types::OCI_LAYER_ZSTD)]),
            (
                types::OCI_MANIFEST.to_owned(),
                vec![
                    types::OCI_LAYER_GZIP.to_owned(),
                    types::OCI_LAYER_ZSTD.to_owned()
                ]
            )
        );
    }
}
