//! `pull`: a volume out of a registry.
//!
//! 1. the manifest, which must be one of a volume, and the configuration
//! 2. a place for the volume; what an earlier pull has left there goes
//! 3. each layer is unpacked while it comes; its size and digest must be right
//! 4. it is published
//!
//! After a failure nothing is left.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use registry::{Access, Cancel, Credentials, Descriptor, MAX_LAYERS, Session};
use serde::Deserialize;
use volumes::{Arrival, ArriveVolume, Luggage};

use super::CONFIG_TYPE;
use crate::engine::Engine;
use crate::images::{ImageError, Reference};
use crate::progress::Progress;
use crate::travel::TravelError;

#[derive(Debug, Clone, Default)]
pub struct PullVolume {
    pub reference: String,
    /// `None`: as the volume was called.
    pub name: Option<String>,
    /// `None`: the default pool.
    pub pool: Option<String>,
    /// Limits stay behind.
    pub without_limits: bool,
    pub credentials: Option<Credentials>,
    /// Ends the pull.
    pub cancel: Arc<Cancel>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

impl Engine {
    /// Pulls a volume; its name.
    ///
    /// # Errors
    /// [`TravelError`].
    pub fn pull_volume(
        &self,
        request: &PullVolume,
        progress: &dyn Progress,
    ) -> Result<String, TravelError> {
        let name = Reference::parse(&request.reference)?;
        let session = self.session(
            &name,
            request.credentials.as_ref(),
            &Access::Pull,
            &request.cancel,
        )?;
        let wanted = name.digest.as_deref().or(name.tag.as_deref());
        let fetched = session
            .manifest(wanted.unwrap_or("latest"), &request.reference)
            .map_err(ImageError::from)?;
        let manifest: Manifest = serde_json::from_slice(&fetched.bytes)
            .map_err(|_| TravelError::NoVolume(request.reference.clone()))?;
        let config = manifest
            .config
            .filter(|config| config.media_type == CONFIG_TYPE)
            .ok_or_else(|| TravelError::NoVolume(request.reference.clone()))?;
        let sound = |descriptor: &Descriptor| {
            let digits = descriptor.digest.strip_prefix("sha256:");
            digits.is_some_and(|digits| {
                digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
        };
        if manifest.layers.len() > MAX_LAYERS
            || !sound(&config)
            || !manifest.layers.iter().all(sound)
        {
            return Err(TravelError::NoVolume(request.reference.clone()));
        }
        let config = session.document(&config).map_err(ImageError::from)?;
        let mut luggage: Luggage = serde_json::from_slice(&config).map_err(TravelError::Luggage)?;
        luggage.origin.clone_from(&fetched.digest);
        luggage.moving = false;
        let arrival = self.volumes.begin_arrival(&ArriveVolume {
            luggage,
            name: request.name.clone(),
            pool: request.pool.clone(),
            without_limits: request.without_limits,
        })?;
        for note in arrival.notes() {
            progress.status("", &format!("{}: {note}", arrival.name()));
        }
        let filled = fill(&arrival, &session, &manifest.layers, request, progress)
            .and_then(|()| Ok(self.volumes.publish_arrival(&arrival)?));
        let name = arrival.name().to_owned();
        drop(arrival);
        if let Err(error) = filled {
            if let Err(error) = self.volumes.give_up_arrival(&name) {
                tracing::warn!(volume = name, %error, "what has arrived of a volume stays");
            }
            return Err(error);
        }
        let attributes = [("reference".to_owned(), request.reference.clone())].into();
        self.events
            .publish("volume", "pull", name.clone(), attributes);
        Ok(name)
    }
}

fn fill(
    arrival: &Arrival<'_>,
    session: &Session<'_>,
    layers: &[Descriptor],
    request: &PullVolume,
    progress: &dyn Progress,
) -> Result<(), TravelError> {
    let place = |source| TravelError::Io {
        action: "write to the place for the volume",
        source,
    };
    let root = sys::dir::open(arrival.content()).map_err(place)?;
    sys::dir::remove_contents(root.as_fd()).map_err(place)?;
    for layer in layers {
        unpack(root.as_fd(), session, layer, &request.cancel, progress)?;
    }
    Ok(())
}

/// Unpacks a layer while it comes. What it has made by the time its digest turns out to be wrong goes with the place.
fn unpack(
    root: BorrowedFd<'_>,
    session: &Session<'_>,
    layer: &Descriptor,
    cancel: &Arc<Cancel>,
    progress: &dyn Progress,
) -> Result<(), TravelError> {
    let id: String = layer
        .digest
        .chars()
        .skip("sha256:".len())
        .take(12)
        .collect();
    let pipe = |source| TravelError::Io {
        action: "make a pipe",
        source,
    };
    let (mut reader, mut writer) = io::pipe().map_err(pipe)?;
    std::thread::scope(|scope| {
        let unpacking = scope.spawn(move || -> Result<(), TravelError> {
            let plain = archive::decompress(&mut reader).map_err(TravelError::Compression)?;
            archive::unpack(plain, root, &archive::UnpackOptions::default())
                .map(drop)
                .map_err(TravelError::Unpack)
        });
        let mut done = 0_u64;
        let fetched = session.download(
            &layer.digest,
            layer.size,
            cancel,
            &mut io::empty(),
            &mut |part| {
                done += part.len() as u64;
                progress.step(&id, "Downloading", done, layer.size);
                writer.write_all(part)
            },
        );
        drop(writer);
        let unpacked = unpacking.join().expect("unpacking does not panic");
        // Who stopped reading says why.
        match (fetched, unpacked) {
            (Err(registry::RegistryError::Local { .. }), Err(error)) => Err(error),
            (Err(error), _) => Err(ImageError::from(error).into()),
            (Ok(()), unpacked) => unpacked,
        }
    })?;
    progress.status(&id, "Pull complete");
    Ok(())
}
