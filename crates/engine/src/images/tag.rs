//! `tag`.

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
            Ok::<_, ImageError>(tx.set_tag(&target.repository, target.tag_or_latest(), &row.id)?)
        })?;
        self.publish(&row.id, "tag", Some(&target));
        Ok(())
    }

    /// An image event; its name is the reference, where there is one.
    pub(super) fn publish(&self, id: &str, action: &str, name: Option<&Reference>) {
        let name = name.map_or_else(
            || id.to_owned(),
            |name| format!("{}:{}", name.repository, name.tag_or_latest()),
        );
        self.events
            .publish("image", action, id, [("name".to_owned(), name)].into());
    }
}
