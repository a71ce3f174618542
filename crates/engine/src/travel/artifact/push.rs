//! `push`: a volume into a registry.
//!
//! 1. a snapshot is made, on the rung of the ladder that was asked for; it goes afterwards, or after a day by itself
//! 2. each layer is made once for its digest, and once more for the registry if that lacks it
//! 3. the configuration, then the manifest under its tag, unless the one that is there says the same
//!
//! Nothing changes here; what a push that ended early has sent stays in the registry for the next one.

use std::io::{self, Cursor, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use jiff::Timestamp;
use registry::{Access, Begun, Cancel, Credentials, Session, types};
use serde_json::{Value, json};
use volumes::Luggage;

use super::plan::Plan;
use super::{ARTIFACT_TYPE, CONFIG_TYPE, LABEL};
use crate::engine::Engine;
use crate::images::{ImageError, Reference};
use crate::progress::Progress;
use crate::snapshot::Around;
use crate::travel::TravelError;
use crate::travel::send::split;

const CREATED: &str = "org.opencontainers.image.created";
/// Of zstd; a change of it makes other layers of the same files.
const LEVEL: i32 = 3;

#[derive(Debug, Clone, Default)]
pub struct PushVolume {
    /// A volume as it is now, or `VOLUME@SNAPSHOT`.
    pub volume: String,
    pub reference: String,
    pub around: Around,
    pub credentials: Option<Credentials>,
    /// Ends the push.
    pub cancel: Arc<Cancel>,
}

impl Engine {
    /// # Errors
    /// [`TravelError`].
    pub fn push_volume(
        &self,
        request: &PushVolume,
        progress: &dyn Progress,
    ) -> Result<(), TravelError> {
        let name = Reference::parse(&request.reference)?;
        if name.digest.is_some() {
            return Err(ImageError::Invalid("cannot push a digest reference".to_owned()).into());
        }
        let (volume, snapshot) = split(&request.volume)?;
        let luggage = self.volumes.luggage(volume, snapshot)?;
        if let Some(snapshot) = snapshot {
            return self.push_snapshot(request, &name, volume, snapshot, &luggage, progress);
        }
        progress.status(volume, "Snapshotting");
        let around = request.around.clone();
        let stopped = || request.cancel.is_given_up();
        let (made, _) = self.snapshotted(volume, "push", around, progress, &stopped)?;
        self.push_snapshot(request, &name, volume, made.name(), &luggage, progress)
    }

    fn push_snapshot(
        &self,
        request: &PushVolume,
        name: &Reference,
        volume: &str,
        snapshot: &str,
        luggage: &Luggage,
        progress: &dyn Progress,
    ) -> Result<(), TravelError> {
        let session = self.session(
            name,
            request.credentials.as_ref(),
            &Access::Push { from: Vec::new() },
            &request.cancel,
        )?;
        let tree = self.volumes.readable_snapshot(volume, snapshot)?;
        let read = |source| TravelError::Io {
            action: "read the snapshot",
            source,
        };
        let root = Arc::new(sys::dir::open(&tree).map_err(read)?);
        let plan = Arc::new(Plan::of(root.as_fd()).map_err(read)?);
        let mut layers = Vec::new();
        for layer in 0..plan.layers() {
            let part = Part {
                root: Arc::clone(&root),
                plan: Arc::clone(&plan),
                layer,
            };
            layers.push(part.push(&session, &request.cancel, progress)?);
        }
        let config = serde_json::to_vec(luggage).expect("maps have string keys");
        let config_digest = registry::digest(&config);
        put(&session, &config_digest, config.len() as u64, &mut || {
            Ok(Box::new(Cursor::new(config.clone())))
        })?;
        let mut annotations = json!({
            "org.opencontainers.image.title": luggage.passport.name(),
            CREATED: Timestamp::now().to_string(),
        });
        for (key, value) in luggage.passport.labels() {
            annotations[format!("{LABEL}{key}")] = json!(value);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types::OCI_MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len() },
            "layers": layers,
            "annotations": annotations,
        });
        let tag = name.tag.as_deref().unwrap_or("latest");
        let manifest = match known(&session, tag, &manifest) {
            Some(known) => known,
            None => {
                let manifest = serde_json::to_vec(&manifest).expect("maps have string keys");
                session
                    .put_manifest(tag, types::OCI_MANIFEST, &manifest)
                    .map_err(ImageError::from)?;
                manifest
            }
        };
        let digest = registry::digest(&manifest);
        progress.status(
            "",
            &format!("{tag}: digest: {digest} size: {}", manifest.len()),
        );
        progress.result(&json!({ "Tag": tag, "Digest": digest, "Size": manifest.len() }));
        let attributes = [("reference".to_owned(), request.reference.clone())].into();
        self.events
            .publish("volume", "push", volume.to_owned(), attributes);
        Ok(())
    }
}

/// The manifest that is there under the tag, if it says the same but for its time: whoever has noted its digest finds it again.
fn known(session: &Session<'_>, tag: &str, manifest: &Value) -> Option<Vec<u8>> {
    // Why there is none does not matter: what is put says what is wrong.
    let there = session.manifest(tag, tag).ok()?.bytes;
    let mut timeless = serde_json::from_slice::<Value>(&there).ok()?;
    let annotations = timeless.get_mut("annotations")?.as_object_mut()?;
    *annotations.get_mut(CREATED)? = manifest["annotations"][CREATED].clone();
    (timeless == *manifest).then_some(there)
}

/// One layer in the making.
#[derive(Clone)]
struct Part {
    root: Arc<OwnedFd>,
    plan: Arc<Plan>,
    layer: usize,
}

impl Part {
    /// Writes the layer; the same files give the same bytes.
    fn write(&self, out: impl Write) -> io::Result<()> {
        let mut compressed = archive::zstd_writer(out, LEVEL)?;
        let choose = |path: &std::path::Path| self.plan.choice(self.layer, path);
        let options = archive::PackOptions {
            root_entry: true,
            choose: Some(&choose),
            ..archive::PackOptions::default()
        };
        archive::pack(self.root.as_fd(), &mut compressed, &options).map_err(io::Error::other)?;
        compressed.finish()?.flush()
    }

    /// Its descriptor; it is in the registry then.
    fn push(
        &self,
        session: &Session<'_>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Value, TravelError> {
        if cancel.is_given_up() {
            return Err(ImageError::from(registry::RegistryError::Cancelled).into());
        }
        let pack = |source| TravelError::Io {
            action: "pack a layer",
            source,
        };
        let mut digested = archive::DigestWriter::new(io::sink());
        self.write(&mut digested).map_err(pack)?;
        let size = digested.length();
        let (digest, _) = digested.finish();
        let id: String = digest.chars().skip("sha256:".len()).take(12).collect();
        let part = self.clone();
        let sent = put(session, &digest, size, &mut || {
            progress.status(&id, "Pushing");
            part.clone().reader()
        })?;
        progress.status(
            &id,
            if sent {
                "Pushed"
            } else {
                "Layer already exists"
            },
        );
        Ok(json!({ "mediaType": types::OCI_LAYER_ZSTD, "digest": digest, "size": size }))
    }

    /// The layer as it is made, by a thread that ends when nobody reads it any more.
    fn reader(self) -> io::Result<Box<dyn Read + Send>> {
        let (reader, writer) = io::pipe()?;
        std::thread::Builder::new()
            .name("layer".to_owned())
            .spawn(move || {
                // A layer that ends early has not the size that was announced.
                if let Err(error) = self.write(writer) {
                    tracing::debug!(%error, "a layer was not made to its end");
                }
            })?;
        Ok(Box::new(reader))
    }
}

/// Sees to it that the repository has a blob; whether it had to be sent.
fn put(
    session: &Session<'_>,
    digest: &str,
    size: u64,
    open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
) -> Result<bool, TravelError> {
    let there = session.blob_size(digest).map_err(ImageError::from)?;
    if there.is_some() {
        return Ok(false);
    }
    if let Begun::Upload(place) = session
        .begin_upload(digest, None)
        .map_err(ImageError::from)?
    {
        session
            .upload(&place, digest, size, open)
            .map_err(ImageError::from)?;
    }
    Ok(true)
}
