//! `save`: one archive that is both an OCI layout and a docker-archive; layers that images share are in it once.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};

use serde_json::{Value, json};

use super::config::digest;
use super::layers::Layer;
use super::{ImageError, Images};

impl Images {
    pub fn save(
        &self,
        references: &[String],
        out: &mut (dyn Write + Send),
    ) -> Result<(), ImageError> {
        let failed = |source: io::Error| ImageError::Io {
            action: "cannot write the archive".to_owned(),
            source,
        };
        // All names are looked up before the first byte is written: afterwards an error cannot be told any more. Layers stay until
        // the end, whatever is removed meanwhile.
        let _held = self.hold();
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for reference in references {
            let found = self.find(reference)?;
            let names = wanted.entry(found.row.id.to_string()).or_default();
            if let Some(name) = found.by_tag {
                names.push(format!("{}:{}", name.repository, name.tag_or_latest()));
            }
        }
        let images = wanted
            .iter()
            .map(|(id, names)| Ok((id, names, self.with_layers(id)?)))
            .collect::<Result<Vec<_>, ImageError>>()?;
        let mut archive = archive::FileWriter::new(out);
        let mut written: BTreeMap<String, u64> = BTreeMap::new();
        let mut entries: Vec<Value> = Vec::new();
        let mut manifests: Vec<Value> = Vec::new();
        for &(id, names, (ref row, ref layers)) in &images {
            let mut layer_descriptors = Vec::new();
            for layer in layers {
                let size = match written.get(&layer.diff_id) {
                    Some(size) => *size,
                    None => self.save_layer(&mut archive, layer).map_err(failed)?,
                };
                written.insert(layer.diff_id.clone(), size);
                layer_descriptors.push(json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": layer.diff_id,
                    "size": size,
                }));
            }
            archive.file(&blob(id), &row.config).map_err(failed)?;
            let manifest = serde_json::to_vec(&json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": id,
                    "size": row.config.len(),
                },
                "layers": layer_descriptors,
            }))
            .expect("a manifest serialises");
            let manifest_digest = digest(&manifest);
            archive
                .file(&blob(&manifest_digest), &manifest)
                .map_err(failed)?;
            let descriptor = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest_digest,
                "size": manifest.len(),
            });
            for name in names {
                let mut named = descriptor.clone();
                let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
                named["annotations"] = json!({
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": tag,
                });
                manifests.push(named);
            }
            if names.is_empty() {
                manifests.push(descriptor);
            }
            entries.push(json!({
                "Config": blob(id),
                "RepoTags": names,
                "Layers": layers.iter().map(|layer| blob(&layer.diff_id)).collect::<Vec<_>>(),
            }));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        let layout = json!({ "imageLayoutVersion": "1.0.0" });
        for (name, value) in [
            ("index.json", index),
            ("manifest.json", Value::Array(entries)),
            ("oci-layout", layout),
        ] {
            archive
                .file(
                    name,
                    &serde_json::to_vec(&value).expect("documents serialise"),
                )
                .map_err(failed)?;
        }
        archive.finish().map_err(failed)?;
        for (id, names) in &wanted {
            self.events.publish(
                "image",
                "save",
                id.clone(),
                names
                    .first()
                    .map(|name| ("name".to_owned(), name.clone()))
                    .into_iter()
                    .collect(),
            );
        }
        Ok(())
    }

    /// A tar entry needs its size first, which the compressed copy does not tell: one pass to count, one to write.
    fn save_layer(&self, archive: &mut archive::FileWriter<'_>, layer: &Layer) -> io::Result<u64> {
        let open = || self.layer_tar(layer.id).map_err(io::Error::other);
        let size = io::copy(&mut open()?, &mut io::sink())?;
        archive.stream(&blob(&layer.diff_id), size, &mut open()?.take(size))?;
        Ok(size)
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}
