//! `images`, `image inspect`, `history`: what is there.

use std::collections::BTreeMap;

use super::config::ImageConfig;
use super::{HistoryEntry, ImageDetail, ImageError, ImageListRequest, ImageSummary, Images};

const FILTERS: [&str; 7] = [
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

impl Images {
    /// Newest first.
    pub fn list(&self, request: &ImageListRequest) -> Result<Vec<ImageSummary>, ImageError> {
        let filters = &request.filters;
        if let Some(key) = filters
            .0
            .keys()
            .find(|key| !FILTERS.contains(&key.as_str()))
        {
            return Err(ImageError::Invalid(format!("invalid filter '{key}'")));
        }
        let first = |key: &str| filters.0.get(key).and_then(|values| values.first());
        let dangling = first("dangling")
            .map(|value| match value.as_str() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(ImageError::Invalid(format!(
                    "invalid filter 'dangling={value}'"
                ))),
            })
            .transpose()?;
        let created_of = |key: &str| -> Result<Option<i64>, ImageError> {
            first(key)
                .map(|name| Ok(ImageConfig::parse(&self.find(name)?.row.config)?.created_seconds()))
                .transpose()
        };
        let (before, since) = (created_of("before")?, created_of("since")?);
        let until = filters
            .until()
            .map_err(|error| ImageError::Invalid(error.to_string()))?;
        let (rows, used) = self.store.read(|tx| {
            let mut used: BTreeMap<String, i64> = BTreeMap::new();
            for container in tx.containers()? {
                *used.entry(container.image_id).or_default() += 1;
            }
            Ok::<_, ImageError>((tx.images()?, used))
        })?;
        let shared = self.shared_sizes()?;
        let mut images = Vec::new();
        for row in rows {
            let id = row.id.clone();
            let document = ImageConfig::parse(&row.config)?;
            let created = document.created_seconds();
            let (mut tags, digests) = self.shown_names(&id)?;
            if let Some(patterns) = filters.0.get("reference") {
                tags.retain(|tag| patterns.iter().any(|pattern| matches(pattern, tag)));
                if tags.is_empty() {
                    continue;
                }
            }
            let labels = document.run_config()?.labels;
            let fits = dangling.is_none_or(|dangling| dangling == tags.is_empty())
                && before.is_none_or(|before| created < before)
                && since.is_none_or(|since| created > since)
                && until.is_none_or(|until| created < until.as_second())
                && filters.labels_match(&labels);
            if fits {
                images.push(ImageSummary {
                    parent: String::new(),
                    tags,
                    digests,
                    created,
                    size: row.size,
                    shared_size: shared.get(&id).copied().unwrap_or(0),
                    labels,
                    containers: used.get(&id).copied().unwrap_or(0),
                    id,
                });
            }
        }
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    pub fn inspect(&self, reference: &str) -> Result<ImageDetail, ImageError> {
        let row = self.find(reference)?.row;
        let id = row.id.clone();
        let document = ImageConfig::parse(&row.config)?;
        let (tags, digests) = self.shown_names(&id)?;
        let (_, layers) = self.with_layers(&id)?;
        Ok(ImageDetail {
            tags,
            digests,
            parent: String::new(),
            comment: if document.comment.is_empty() {
                let newest = document.history.last();
                newest.map_or_else(String::new, |step| step.comment.clone())
            } else {
                document.comment.clone()
            },
            author: document.author.clone(),
            created: document.created.clone().unwrap_or_default(),
            architecture: document.architecture.clone(),
            variant: document.variant.clone(),
            os: document.os.clone(),
            config: document.run_config()?,
            size: row.size,
            diff_ids: document.rootfs.diff_ids,
            last_tagged: None,
            layer_dirs: layers
                .iter()
                .rev()
                .map(|layer| self.paths.layer_fs(layer.id))
                .collect(),
            id,
        })
    }

    /// Newest first.
    pub fn history(&self, reference: &str) -> Result<Vec<HistoryEntry>, ImageError> {
        let row = self.find(reference)?.row;
        let id = row.id.clone();
        let document = ImageConfig::parse(&row.config)?;
        let (_, layers) = self.with_layers(&id)?;
        let mut sizes = layers.iter().map(|layer| layer.size);
        let mut entries: Vec<HistoryEntry> = document
            .history
            .iter()
            .map(|step| HistoryEntry {
                id: "<missing>".to_owned(),
                created: step
                    .created
                    .as_deref()
                    .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                    .map_or(0, jiff::Timestamp::as_second),
                created_by: step.created_by.clone(),
                size: if step.empty_layer {
                    0
                } else {
                    sizes.next().unwrap_or(0)
                },
                comment: step.comment.clone(),
                tags: Vec::new(),
            })
            .collect();
        // Not before: sizes are taken in the order of the steps.
        entries.reverse();
        if let Some(newest) = entries.first_mut() {
            newest.tags = self.shown_names(&id)?.0;
            newest.id = id;
        }
        Ok(entries)
    }

    /// `name:tag` and `name@digest`, sorted.
    fn shown_names(&self, id: &str) -> Result<(Vec<String>, Vec<String>), ImageError> {
        let mut tags = Vec::new();
        let mut digests = Vec::new();
        for name in self.store.read(|tx| super::remove::names(tx, id))? {
            match name.digest {
                Some(digest) => digests.push(format!("{}@{digest}", name.repository)),
                None => tags.push(format!("{}:{}", name.repository, name.tag_or_latest())),
            }
        }
        tags.sort();
        digests.sort();
        Ok((tags, digests))
    }

    /// For each image the bytes of its layers that other images have, too.
    fn shared_sizes(&self) -> Result<BTreeMap<String, u64>, ImageError> {
        let stacks = self.store.read(|tx| {
            tx.images()?
                .into_iter()
                .map(|row| {
                    let layers = tx.image_layers(&row.id)?;
                    let sizes = layers
                        .into_iter()
                        .map(|id| Ok((id, tx.layer(id)?.map_or(0, |layer| layer.size))))
                        .collect::<Result<Vec<_>, ImageError>>()?;
                    Ok((row.id, sizes))
                })
                .collect::<Result<Vec<_>, ImageError>>()
        })?;
        let mut holders: BTreeMap<store::LayerId, u32> = BTreeMap::new();
        for (_, layers) in &stacks {
            for (layer, _) in layers {
                *holders.entry(*layer).or_default() += 1;
            }
        }
        Ok(stacks
            .into_iter()
            .map(|(id, layers)| {
                let shared = layers
                    .iter()
                    .filter(|(layer, _)| holders[layer] > 1)
                    .map(|(_, size)| size)
                    .sum();
                (id, shared)
            })
            .collect())
    }
}

/// Docker's reference patterns: `*` within a component, the tag optional.
fn matches(pattern: &str, tag: &str) -> bool {
    let (repository, _) = tag.rsplit_once(':').unwrap_or((tag, ""));
    glob(pattern.as_bytes(), tag.as_bytes()) || glob(pattern.as_bytes(), repository.as_bytes())
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text)
                || text
                    .split_first()
                    .is_some_and(|(&byte, text)| byte != b'/' && glob(pattern, text))
        }
        (Some((b'?', rest)), Some((&byte, text))) => byte != b'/' && glob(rest, text),
        (Some((a, pattern)), Some((b, text))) => a == b && glob(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn reference_patterns() {
        for (pattern, tag, fits) in [
            ("busybox", "busybox:latest", true),
            ("busy*", "busybox:latest", true),
            ("busy*:1.?", "busybox:1.2", true),
            ("*", "team/app:latest", false),
            ("*/*", "team/app:latest", true),
            ("busybox:2", "busybox:1", false),
        ] {
            assert_eq!(matches(pattern, tag), fits, "{pattern} {tag}");
        }
    }
}
