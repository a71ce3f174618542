//! `import`: a root filesystem as a tar becomes an image of one layer.

use std::io::Read;

use jiff::Timestamp;

use super::config::{History, ImageConfig, RootFs, host_architecture};
use super::{ImageError, Images, ImportRequest, Reference, apply_changes};
use crate::containers::Config;
use crate::progress::{CountingReader, Progress};

impl Images {
    /// Returns the image's id.
    pub fn import(
        &self,
        tar: &mut (dyn Read + Send),
        request: &ImportRequest,
        progress: &dyn Progress,
    ) -> Result<String, ImageError> {
        let name = match request
            .repository
            .as_deref()
            .filter(|repository| !repository.is_empty())
        {
            Some(repository) => {
                let mut reference = Reference::parse(repository)?;
                if reference.digest.is_some() {
                    return Err(ImageError::Invalid(
                        "cannot import digest reference".to_owned(),
                    ));
                }
                if let Some(tag) = request.tag.as_deref().filter(|tag| !tag.is_empty()) {
                    reference = Reference::parse(&format!("{}:{tag}", reference.repository))?;
                }
                Some(reference)
            }
            None => None,
        };
        let mut config = Config::default();
        apply_changes(&mut config, &request.changes)?;
        let (os, architecture) = match request.platform.as_deref().filter(|text| !text.is_empty()) {
            Some(platform) => {
                let (os, rest) = platform
                    .split_once('/')
                    .unwrap_or((platform, host_architecture()));
                (
                    os.to_owned(),
                    rest.split('/').next().unwrap_or(rest).to_owned(),
                )
            }
            None => ("linux".to_owned(), host_architecture().to_owned()),
        };
        let _building = self.hold();
        let counted = CountingReader::new(tar, "", "Importing", progress);
        let mut plain =
            archive::decompress(counted).map_err(|error| ImageError::Invalid(error.to_string()))?;
        let layer = self.add_layer(None, &mut plain, None)?;
        drop(plain);
        let created = Timestamp::now().to_string();
        let comment = if request.message.is_empty() {
            // Docker's sentence.
            "Imported from -".to_owned()
        } else {
            request.message.clone()
        };
        let document = ImageConfig {
            architecture,
            os,
            created: Some(created.clone()),
            comment: comment.clone(),
            config: Some(serde_json::to_value(&config).expect("a configuration serialises")),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![layer.diff_id.clone()],
            },
            history: vec![History {
                created: Some(created),
                comment,
                ..History::default()
            }],
            ..ImageConfig::default()
        };
        let bytes = serde_json::to_vec(&document).expect("a configuration serialises");
        let names: Vec<Reference> = name.into_iter().collect();
        let id = self.add_image(&bytes, vec![layer], &names)?;
        self.publish(&id, "import", names.first());
        progress.line(&id);
        Ok(id)
    }
}
