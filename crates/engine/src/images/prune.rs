//! `image prune`: images that no container uses; by default only those without a name. What pulls that were cut off have left goes, too.

use std::time::SystemTime;

use super::{ImageError, ImageListRequest, ImagePruneReport, Images, Removed};
use crate::cancel::Cancel;
use crate::containers::list::Filters;
use crate::progress::Progress;

impl Images {
    /// `filters`: `dangling` (default true), `label`, `label!`, `until`. A cancelled one ends after the image that it is at, and
    /// reports what went.
    pub fn prune(
        &self,
        filters: &Filters,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<ImagePruneReport, ImageError> {
        if let Some(unknown) = filters
            .0
            .keys()
            .find(|key| !matches!(key.as_str(), "dangling" | "label" | "label!" | "until"))
        {
            return Err(ImageError::Invalid(format!("invalid filter '{unknown}'")));
        }
        // Whatever is not understood must not widen what is removed.
        let dangling_only = match filters.0.get("dangling").map(Vec::as_slice) {
            None | Some([]) => true,
            Some([value]) if matches!(value.as_str(), "true" | "1") => true,
            Some([value]) if matches!(value.as_str(), "false" | "0") => false,
            Some(values) => {
                return Err(ImageError::Invalid(format!(
                    "invalid filter 'dangling=[{}]'",
                    values.join(" ")
                )));
            }
        };
        let until = filters
            .until()
            .map_err(|error| ImageError::Invalid(error.to_string()))?;
        let mut report = ImagePruneReport::default();
        for image in self.list(&ImageListRequest {
            all: true,
            ..ImageListRequest::default()
        })? {
            let wanted = (!dangling_only || image.tags.is_empty())
                && image.containers == 0
                && until.is_none_or(|until| image.created < until.as_second())
                && filters.labels_match(&image.labels);
            if !wanted {
                continue;
            }
            if cancel.is_cancelled() {
                break;
            }
            for tag in &image.tags {
                // The image that was listed, or none: a build or a pull may give its name to another one.
                let removed = self.find(tag).and_then(|found| {
                    if found.row.id != image.id {
                        return Err(ImageError::NoSuch(tag.clone()));
                    }
                    self.remove_found(&found, tag, false)
                });
                match removed {
                    Ok((removed, freed)) => {
                        report.deleted.extend(removed);
                        report.reclaimed += freed;
                    }
                    // A container took it meanwhile.
                    Err(ImageError::Conflict(_) | ImageError::NoSuch(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if image.tags.is_empty() {
                match self.delete_untagged(&image.id) {
                    Ok(freed) => {
                        report.reclaimed += freed;
                        report.deleted.push(Removed::Deleted(image.id));
                    }
                    Err(ImageError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            progress.step("images", "Removing", report.reclaimed, 0);
        }
        if !cancel.is_cancelled() && !filters.0.keys().any(|key| key.starts_with("label")) {
            let until = until.map(SystemTime::from);
            self.prune_downloads(until, &mut report)?;
        }
        self.events.publish_prune("image", report.reclaimed);
        Ok(report)
    }
}
