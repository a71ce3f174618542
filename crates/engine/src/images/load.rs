//! `load`: docker-archive (old and new layout) or OCI layout, compressed in any format that is known.
//!
//! The archive is unpacked into staging first: what names its layers may come last in it. Every digest is checked; an
//! image whose parts do not fit is not added, and nothing of it stays.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};

use registry::{Descriptor, Document, Fetched};
use rustix::fs::OFlags;
use serde::Deserialize;

use super::config::{ImageConfig, chain_id, digest};
use super::layers::Layer;
use super::pull::host_platform;
use super::{ImageError, Images, Reference, Room};
use crate::progress::{CountingReader, Progress};

/// Larger manifests and configurations are refused unread.
const MAX_DOCUMENT: u64 = 16 << 20;

/// An entry of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The entries of a docker-archive's manifest.json.
fn archive_entries(bytes: &[u8]) -> serde_json::Result<Vec<ArchiveEntry>> {
    serde_json::from_slice(bytes)
}

/// One image of an archive: where its parts are, and its names.
struct Planned {
    config: String,
    layers: Vec<String>,
    names: Vec<String>,
    /// Digests that the parts must have (OCI layout).
    checked: Option<(String, Vec<String>)>,
}

/// The unpacked archive; removed when dropped.
struct Staged<'a> {
    images: &'a Images,
    op: store::OpId,
    directory: OwnedFd,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let path = self.images.paths.staging(&self.op);
        if let Err(error) = sys::dir::remove_tree(&path) {
            // The next start removes it.
            tracing::warn!(path = %path.display(), %error, "staging directory stays");
        }
    }
}

impl Images {
    /// Returns the sentences that docker prints (`Loaded image: name:tag`).
    pub fn load(
        &self,
        tar: &mut (dyn Read + Send),
        progress: &dyn Progress,
    ) -> Result<Vec<String>, ImageError> {
        let _building = self.hold();
        let staged = self.stage(tar, progress)?;
        let planned = staged.plan()?;
        if planned.is_empty() {
            return Err(ImageError::Invalid("the archive holds no image".to_owned()));
        }
        let mut sentences = Vec::new();
        for image in planned {
            let names = image
                .names
                .iter()
                .map(|name| Reference::parse(name))
                .collect::<Result<Vec<_>, _>>()?;
            let id = self.load_one(&staged, &image, &names, progress)?;
            self.publish(&id, "load", names.first());
            if names.is_empty() {
                sentences.push(format!("Loaded image ID: {id}"));
            }
            for name in &names {
                sentences.push(format!(
                    "Loaded image: {}:{}",
                    name.repository,
                    name.tag_or_latest()
                ));
            }
        }
        for sentence in &sentences {
            progress.line(sentence);
        }
        Ok(sentences)
    }

    fn stage(
        &self,
        tar: &mut (dyn Read + Send),
        progress: &dyn Progress,
    ) -> Result<Staged<'_>, ImageError> {
        let op = store::OpId::random();
        let path = self.paths.staging(&op);
        let failed = |source: io::Error| ImageError::Io {
            action: "cannot unpack the archive".to_owned(),
            source,
        };
        sys::durable::create_dir(&path, 0o700).map_err(failed)?;
        let staged = Staged {
            images: self,
            op,
            directory: sys::dir::open(&path).map_err(failed)?,
        };
        let counted = CountingReader::new(tar, "", "Reading archive", progress);
        let mut plain =
            archive::decompress(counted).map_err(|error| ImageError::Invalid(error.to_string()))?;
        let room = Room::on_disk(staged.directory.as_fd(), "the image archive")?;
        let options = archive::UnpackOptions {
            limits: room.limits(),
            devices: archive::Devices::Refuse,
            owner: archive::Owner::Fixed(0, 0),
            ..archive::UnpackOptions::default()
        };
        archive::unpack(&mut plain, staged.directory.as_fd(), &options)
            .map_err(|error| room.refused("the image archive", &error))?;
        Ok(staged)
    }

    fn load_one(
        &self,
        staged: &Staged<'_>,
        image: &Planned,
        names: &[Reference],
        progress: &dyn Progress,
    ) -> Result<String, ImageError> {
        let bytes = staged.bytes(&image.config)?;
        if let Some((expected, _)) = &image.checked
            && digest(&bytes) != *expected
        {
            return Err(ImageError::Invalid(format!(
                "configuration does not match its digest {expected}"
            )));
        }
        let document = ImageConfig::parse(&bytes)?;
        if document.rootfs.diff_ids.len() != image.layers.len() {
            return Err(ImageError::Invalid(format!(
                "invalid manifest, layers length mismatch: expected {}, got {}",
                image.layers.len(),
                document.rootfs.diff_ids.len()
            )));
        }
        let mut layers: Vec<Layer> = Vec::new();
        let result = self.load_layers(staged, image, &document, &mut layers, progress);
        if let Err(error) = result {
            self.abandon_layers(&layers)?;
            return Err(error);
        }
        self.add_image(&bytes, layers, names)
    }

    fn load_layers(
        &self,
        staged: &Staged<'_>,
        image: &Planned,
        document: &ImageConfig,
        layers: &mut Vec<Layer>,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        for (position, (file, diff_id)) in image
            .layers
            .iter()
            .zip(&document.rootfs.diff_ids)
            .enumerate()
        {
            let chain = chain_id(layers.last().map(|layer| layer.chain_id.as_str()), diff_id);
            let layer = match self.known_layer(&chain)? {
                Some(layer) => layer,
                None => {
                    let short = &diff_id["sha256:".len()..][..12];
                    let blob = staged.open(file)?;
                    if let Some((_, digests)) = &image.checked {
                        staged.verify(file, &digests[position])?;
                    }
                    let counted = CountingReader::new(blob, short, "Loading layer", progress);
                    let mut plain = archive::decompress(counted)
                        .map_err(|error| ImageError::Invalid(error.to_string()))?;
                    self.add_layer(layers.last(), &mut plain, Some(diff_id))?
                }
            };
            layers.push(layer);
        }
        Ok(())
    }
}

impl Staged<'_> {
    /// Opens a file of the archive; links in it cannot lead out.
    fn open(&self, path: &str) -> Result<File, ImageError> {
        let file = sys::dir::open_in_root(
            self.directory.as_fd(),
            path.as_ref(),
            OFlags::RDONLY | OFlags::CLOEXEC,
        )
        .map_err(|source| ImageError::Io {
            action: format!("the archive lacks {path}"),
            source,
        })?;
        Ok(File::from(file))
    }

    fn has(&self, path: &str) -> bool {
        self.open(path).is_ok()
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        self.open(path)?
            .take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| ImageError::Io {
                action: format!("cannot read {path} of the archive"),
                source,
            })?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(ImageError::Invalid(format!(
                "{path} of the archive is too large"
            )));
        }
        Ok(bytes)
    }

    /// A manifest or an index of an OCI layout. Its bytes have the digest, except for the one that has none.
    fn document(&self, descriptor: Option<&Descriptor>) -> Result<Document, ImageError> {
        let path = match descriptor {
            Some(descriptor) => blob_path(&descriptor.digest)?,
            None => "index.json".to_owned(),
        };
        let bytes = self.bytes(&path)?;
        let found = digest(&bytes);
        if descriptor.is_some_and(|descriptor| descriptor.digest != found) {
            return Err(ImageError::Invalid(format!(
                "{path} does not match its digest"
            )));
        }
        let fetched = Fetched {
            media_type: descriptor
                .map(|descriptor| descriptor.media_type.clone())
                .unwrap_or_default(),
            bytes,
            digest: found,
        };
        Ok(fetched.document(&format!("{path} of the archive"))?)
    }

    fn verify(&self, path: &str, expected: &str) -> Result<(), ImageError> {
        let mut stream = archive::DigestReader::new(self.open(path)?);
        io::copy(&mut stream, &mut io::sink()).map_err(|source| ImageError::Io {
            action: format!("cannot read {path} of the archive"),
            source,
        })?;
        if stream.finish().0 != expected {
            return Err(ImageError::Invalid(format!(
                "{path} does not match its digest"
            )));
        }
        Ok(())
    }

    fn plan(&self) -> Result<Vec<Planned>, ImageError> {
        if self.has("manifest.json") {
            let entries = archive_entries(&self.bytes("manifest.json")?).map_err(|error| {
                ImageError::Invalid(format!(
                    "manifest.json of the archive cannot be read: {error}"
                ))
            })?;
            return Ok(entries
                .into_iter()
                .map(|entry| Planned {
                    config: entry.config,
                    layers: entry.layers,
                    names: entry.repo_tags.unwrap_or_default(),
                    checked: None,
                })
                .collect());
        }
        if !self.has("index.json") {
            return Err(ImageError::Invalid(
                "the archive is neither a docker archive (manifest.json) nor an OCI layout (index.json)".to_owned(),
            ));
        }
        match self.document(None)? {
            Document::Index(index) => index
                .manifests
                .iter()
                .map(|descriptor| self.plan_oci(descriptor))
                .collect(),
            Document::Image(_) => Err(ImageError::Invalid(
                "index.json of the archive is no index".to_owned(),
            )),
        }
    }

    fn plan_oci(&self, descriptor: &Descriptor) -> Result<Planned, ImageError> {
        let names: Vec<String> = [
            "io.containerd.image.name",
            "org.opencontainers.image.ref.name",
        ]
        .iter()
        .filter_map(|key| descriptor.annotations.get(*key))
        // A bare tag names no image.
        .find(|name| name.contains([':', '/']))
        .cloned()
        .into_iter()
        .collect();
        let mut document = self.document(Some(descriptor))?;
        if let Document::Index(index) = &document {
            document = self.document(Some(index.choose(&host_platform())?))?;
        }
        let Document::Image(manifest) = document else {
            return Err(ImageError::Invalid(
                "the archive holds an index of indexes".to_owned(),
            ));
        };
        Ok(Planned {
            config: blob_path(&manifest.config.digest)?,
            layers: manifest
                .layers
                .iter()
                .map(|layer| blob_path(&layer.digest))
                .collect::<Result<_, _>>()?,
            names,
            checked: Some((
                manifest.config.digest,
                manifest
                    .layers
                    .into_iter()
                    .map(|layer| layer.digest)
                    .collect(),
            )),
        })
    }
}

fn blob_path(digest: &str) -> Result<String, ImageError> {
    if super::reference::is_digest(digest) {
        return Ok(digest
            .replacen(':', "/", 1)
            .replacen("sha256", "blobs/sha256", 1));
    }
    Err(ImageError::Invalid(format!(
        "unsupported digest \"{digest}\""
    )))
}

/// What `fuzz/` sees of this file.
#[cfg(feature = "fuzzing")]
pub(crate) fn described(bytes: &[u8]) {
    drop(archive_entries(bytes));
}
