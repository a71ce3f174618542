//! `tag`.

use std::collections::BTreeMap;

use store::ImageRow;

use super::{ImageError, Images, Reference};

impl Images {
    pub fn tag(&self, source: &str, repository: &str, tag: Option<&str>) -> Result<(), ImageError> {
        let row = self.find(source)?.row;
        let mut target = Reference::parse(repository)?;
        if let Some(tag) = tag.filter(|tag| !tag.is_empty()) {
            target = Reference::parse(&format!("{}:{tag}", target.repository))?;
        }
        if target.digest.is_some() {
            return Err(ImageError::Invalid(
                "refusing to create a tag with a digest reference".to_owned(),
            ));
        }
        self.store.write(|tx| {
            if tx.image(&row.id)?.is_none() {
                return Err(ImageError::NoSuch(source.to_owned()));
            }
            tx.set_tag(&target.repository, target.tag_or_latest(), &row.id)?;
            Ok(())
        })?;
        self.publish(&row.id, "tag", Some(&target));
        Ok(())
    }

    /// An image event; its name is the reference, where there is one. What the image's labels say is told, too, while there
    /// is the image.
    pub(super) fn publish(&self, id: &str, action: &str, name: Option<&Reference>) {
        let row = self.store.read(|tx| tx.image(id)).ok().flatten();
        let labels = row.as_ref().and_then(labels).unwrap_or_default();
        self.publish_labelled(id, action, name, labels);
    }

    pub(super) fn publish_labelled(
        &self,
        id: &str,
        action: &str,
        name: Option<&Reference>,
        mut attributes: BTreeMap<String, String>,
    ) {
        let name = name.map_or_else(
            || id.to_owned(),
            |name| format!("{}:{}", name.repository, name.tag_or_latest()),
        );
        attributes.insert("name".to_owned(), name);
        self.events.publish("image", action, id, attributes);
    }
}

/// What the image's labels say.
pub(super) fn labels(row: &ImageRow) -> Option<BTreeMap<String, String>> {
    let config: serde_json::Value = serde_json::from_slice(&row.config).ok()?;
    serde_json::from_value(config["config"]["Labels"].clone()).ok()
}
