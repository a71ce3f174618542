//! `pull`: from a reference to an image, with no more downloaded than is missing.
//!
//! 1. the manifest, by way of an index to the one for the wanted platform; its bytes have the digest
//! 2. the configuration; its digest is the image's id
//! 3. the layers that nobody has yet, three at a time, unpacked while they come (`receive`)
//! 4. the image with its names, its repository digest and its manifest: one transaction, the commit point
//!
//! Before 4 nothing exists but layers that no image holds, which the next start removes, and what was downloaded of them,
//! which the next pull goes on with.

use std::sync::Arc;

use registry::{
    Access, Cancel, Credentials, Document, Fetched, Manifest, Platform, RegistryError, Repository,
    Session,
};
use store::LayerBlobRow;

use self::layers::Missing;
use super::config::{ImageConfig, chain_id, digest, host_architecture};
use super::layers::Layer;
use super::reference::is_digest;
use super::{ImageError, Images, Reference};
use crate::claims::Claimed;
use crate::progress::Progress;

mod layers;
mod receive;
mod spool;

/// Indexes within indexes.
const DEPTH: usize = 3;

#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    pub reference: String,
    /// A tag or digest that goes before that of the reference. With neither, all tags are pulled.
    pub tag: Option<String>,
    /// `os/architecture/variant`
    pub platform: Option<String>,
    pub credentials: Option<Credentials>,
    /// Ends the pull; nothing of it stays but what was downloaded.
    pub cancel: Arc<Cancel>,
}

impl Images {
    /// # Errors
    /// In Docker's words: [`ImageError::PullDenied`], [`ImageError::NoManifest`], [`ImageError::NoRepository`].
    pub fn pull(&self, request: &PullRequest, progress: &dyn Progress) -> Result<(), ImageError> {
        let pulled = self.pull_from_somewhere(request, progress);
        // Images that were removed meanwhile had to leave their layers: we might have counted on them.
        if let Err(error) = self.sweep_layers() {
            tracing::warn!(%error, "unused layers stay until the next removal");
        }
        if let Err(error) = self.tidy_downloads() {
            tracing::warn!(%error, "old downloads stay");
        }
        pulled
    }

    fn pull_from_somewhere(
        &self,
        request: &PullRequest,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let name = with_tag(
            Reference::parse(&request.reference)?,
            request.tag.as_deref(),
        )?;
        let host = host_platform();
        let wanted = match request.platform.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some(Platform::parse(text, &host).ok_or_else(|| {
                ImageError::Invalid(format!("\"{text}\" is an invalid platform"))
            })?),
            None => None,
        };
        let repository = Repository::parse(&name.repository);
        let mut failed = None;
        for source in self.registries.sources(&repository) {
            let credentials = request.credentials.as_ref();
            let pulled = self
                .registries
                .open(
                    &source,
                    &repository,
                    credentials,
                    &Access::Pull,
                    &request.cancel,
                )
                .map_err(|error| translated(error, &name))
                .and_then(|session| {
                    Pull {
                        images: self,
                        session: &session,
                        wanted: wanted.as_ref(),
                        progress,
                        cancel: &request.cancel,
                    }
                    .all(&name)
                });
            match pulled {
                Err(error) if source.is_mirror && !request.cancel.is_given_up() => {
                    tracing::info!(mirror = source.registry, %error, "a mirror could not help");
                    failed = Some(error);
                }
                result => return result,
            }
        }
        Err(failed.expect("the registry itself is always asked"))
    }
}

struct Pull<'a> {
    images: &'a Images,
    session: &'a Session<'a>,
    wanted: Option<&'a Platform>,
    progress: &'a dyn Progress,
    cancel: &'a Arc<Cancel>,
}

impl Pull<'_> {
    fn all(&self, name: &Reference) -> Result<(), ImageError> {
        if name.tag.is_some() || name.digest.is_some() {
            let newer = self.one(name)?;
            self.tell(&shown(name), newer);
            return Ok(());
        }
        let tags = self
            .session
            .tags()
            .map_err(|error| translated(error, name))?;
        let mut newer = false;
        for tag in tags {
            newer |= self.one(&with_tag(name.clone(), Some(&tag))?)?;
        }
        self.tell(&name.repository, newer);
        Ok(())
    }

    fn tell(&self, name: &str, newer: bool) {
        let sentence = if newer {
            format!("Status: Downloaded newer image for {name}")
        } else {
            format!("Status: Image is up to date for {name}")
        };
        self.progress.status("", &sentence);
    }

    /// Whether the name leads to another image than before.
    fn one(&self, name: &Reference) -> Result<bool, ImageError> {
        let images = self.images;
        self.check_wanted()?;
        let reference = name
            .digest
            .as_deref()
            .unwrap_or_else(|| name.tag_or_latest());
        let shown = shown(name);
        let found = self
            .session
            .manifest(reference, &shown)
            .map_err(|error| translated(error, name))?;
        let path = Repository::parse(&name.repository).path;
        self.progress
            .status(reference, &format!("Pulling from {path}"));
        let _building = images.hold();
        let (fetched, manifest) = self.image_behind(&found, &shown)?;
        let config = self.session.document(&manifest.config)?;
        let document = ImageConfig::parse(&config)?;
        self.check(&document, &manifest, &shown)?;
        let id = digest(&config);
        let before = images.store.read(|tx| match &name.digest {
            Some(digest) => tx.image_by_digest(&name.repository, digest),
            None => tx.tagged_image(&name.repository, name.tag_or_latest()),
        })?;
        sys::fault::step("pull:manifest");
        // Held until the image is there: whoever waits for one of the layers then finds it.
        let (layers, _claims) = self.layers(&manifest, &document)?;
        sys::fault::step("pull:layers");
        self.check_wanted()?;
        let names: Vec<Reference> = name
            .digest
            .is_none()
            .then(|| name.clone())
            .into_iter()
            .collect();
        images.add_image_and(&config, layers, &names, |tx, id| {
            tx.set_digest(&name.repository, &found.digest, id)?;
            tx.set_image_manifest(id, &fetched.media_type, &fetched.bytes)?;
            for (layer, diff_id) in manifest.layers.iter().zip(&document.rootfs.diff_ids) {
                tx.set_layer_blob(
                    diff_id,
                    &LayerBlobRow {
                        repository: name.repository.clone(),
                        digest: layer.digest.clone(),
                        size: layer.size,
                        media_type: layer.media_type.clone(),
                    },
                )?;
            }
            Ok(())
        })?;
        sys::fault::step("pull:image");
        images.forget_downloads(manifest.layers.iter().map(|layer| layer.digest.as_str()));
        images.events.publish(
            "image",
            "pull",
            shown,
            [("name".to_owned(), name.repository.clone())].into(),
        );
        self.progress
            .status("", &format!("Digest: {}", found.digest));
        Ok(before.as_deref() != Some(id.as_str()))
    }

    fn check_wanted(&self) -> Result<(), ImageError> {
        if self.cancel.is_given_up() {
            return Err(RegistryError::Cancelled.into());
        }
        Ok(())
    }

    /// Follows indexes to the manifest for the wanted platform.
    fn image_behind(&self, found: &Fetched, name: &str) -> Result<(Fetched, Manifest), ImageError> {
        let host = host_platform();
        let wanted = self.wanted.unwrap_or(&host);
        let mut fetched = found.clone();
        for _ in 0..DEPTH {
            match fetched.document(name)? {
                Document::Image(manifest) => return Ok((fetched, manifest)),
                Document::Index(index) => {
                    let chosen = index.choose(wanted)?;
                    fetched = self.session.manifest(&chosen.digest, name)?;
                }
            }
        }
        Err(ImageError::Invalid(format!(
            "{name} is an index of indexes of indexes"
        )))
    }

    fn check(
        &self,
        document: &ImageConfig,
        manifest: &Manifest,
        name: &str,
    ) -> Result<(), ImageError> {
        let is = Platform {
            os: document.os.clone(),
            architecture: document.architecture.clone(),
            variant: document.variant.clone(),
        };
        if let Some(wanted) = self.wanted
            && is.distance(wanted).is_none()
        {
            return Err(ImageError::Invalid(format!(
                "image with reference {name} was found but its platform ({is}) does not match the specified platform ({wanted})"
            )));
        }
        if !document.os.is_empty() && document.os != "linux" {
            return Err(ImageError::Invalid(format!(
                "image operating system \"{}\" cannot be used on this platform",
                document.os
            )));
        }
        if document.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::Invalid(format!(
                "{name}: its configuration knows {} layers, its manifest {}",
                document.rootfs.diff_ids.len(),
                manifest.layers.len()
            )));
        }
        Ok(())
    }

    /// All layers of the image, bottom first, and the claims on those that were fetched.
    fn layers(
        &self,
        manifest: &Manifest,
        document: &ImageConfig,
    ) -> Result<(Vec<Layer>, Claimed<String>), ImageError> {
        let mut chains: Vec<String> = Vec::new();
        for diff_id in &document.rootfs.diff_ids {
            chains.push(chain_id(chains.last().map(String::as_str), diff_id));
        }
        let mut layers: Vec<Option<Layer>> = Vec::new();
        for chain in &chains {
            layers.push(self.images.known_layer(chain)?);
        }
        for (descriptor, known) in manifest.layers.iter().zip(&layers) {
            let text = if known.is_some() {
                "Already exists"
            } else {
                "Pulling fs layer"
            };
            self.progress.status(short(&descriptor.digest), text);
        }
        let wanted: Vec<String> = chains
            .iter()
            .zip(&layers)
            .filter(|(_, known)| known.is_none())
            .map(|(chain, _)| chain.clone())
            .collect();
        let claimed = self.images.fetching.claim(wanted);
        let mut missing = Vec::new();
        for (position, chain) in chains.iter().enumerate() {
            if layers[position].is_some() {
                continue;
            }
            let descriptor = &manifest.layers[position];
            // Somebody else may have fetched it while we waited.
            layers[position] = self.images.known_layer(chain)?;
            if layers[position].is_some() {
                self.progress
                    .status(short(&descriptor.digest), "Already exists");
            } else {
                missing.push(Missing {
                    position,
                    descriptor,
                    diff_id: &document.rootfs.diff_ids[position],
                    chain_id: chain,
                });
            }
        }
        for (position, layer) in self.fetch(&missing)? {
            layers[position] = Some(layer);
        }
        let layers = layers
            .into_iter()
            .map(|layer| layer.expect("each one was known or fetched"))
            .collect();
        Ok((layers, claimed))
    }
}

/// The platform of the images that run here.
pub(super) fn host_platform() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: host_architecture().to_owned(),
        variant: String::new(),
    }
}

/// The reference with a tag or digest that was given apart from it.
pub(super) fn with_tag(name: Reference, tag: Option<&str>) -> Result<Reference, ImageError> {
    match tag.filter(|tag| !tag.is_empty()) {
        Some(digest) if is_digest(digest) => Ok(Reference {
            digest: Some(digest.to_owned()),
            tag: None,
            ..name
        }),
        Some(tag) => Reference::parse(&format!("{}:{tag}", name.repository)),
        None => Ok(name),
    }
}

pub(super) fn shown(name: &Reference) -> String {
    match (&name.digest, &name.tag) {
        (Some(digest), _) => format!("{}@{digest}", name.repository),
        (None, Some(tag)) => format!("{}:{tag}", name.repository),
        (None, None) => name.repository.clone(),
    }
}

/// The first twelve digits of a digest.
pub(super) fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Docker's sentences for what a registry refuses.
pub(super) fn translated(error: RegistryError, name: &Reference) -> ImageError {
    match (error.code(), error.is_not_found()) {
        (Some("denied"), _) => ImageError::PullDenied(name.repository.clone(), error),
        (Some("name unknown"), _) => ImageError::NoRepository(name.repository.clone(), error),
        (Some("manifest unknown"), _) => ImageError::NoManifest(shown(name), error),
        (None, true) if !matches!(error, RegistryError::NoPlatform(_)) => {
            ImageError::NoManifest(shown(name), error)
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_apart_from_the_name() {
        let of = |text: &str, tag: Option<&str>| {
            shown(&with_tag(Reference::parse(text).expect("valid"), tag).expect("valid"))
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(of("x", None), "x");
        assert_eq!(of("x", Some("1")), "x:1");
        assert_eq!(of("x:1", None), "x:1");
        assert_eq!(of("h:5000/x", Some(&digest)), format!("h:5000/x@{digest}"));
        assert_eq!(short(&digest), "aaaaaaaaaaaa");
        let name = Reference::parse("x:1").expect("valid");
        assert!(with_tag(name, Some("../y")).is_err());
    }
}
