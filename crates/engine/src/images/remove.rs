//! `rmi`: names first; the image goes with its last name, its layers with their last image.

use super::{ImageError, Images, Reference, Removed};

impl Images {
    /// Untags, and deletes the image when that was its last name or an id was given.
    ///
    /// An image that a container uses is never deleted, not even by force: its layers are that container's root.
    pub fn remove(
        &self,
        reference: &str,
        force: bool,
        _prune_parents: bool,
    ) -> Result<Vec<Removed>, ImageError> {
        Ok(self.remove_and_count(reference, force)?.0)
    }

    /// What was removed, and the bytes of layers that became free.
    pub(super) fn remove_and_count(
        &self,
        reference: &str,
        force: bool,
    ) -> Result<(Vec<Removed>, u64), ImageError> {
        let found = self.find(reference)?;
        let id = found.row.id.clone();
        let short = id["sha256:".len()..][..12].to_owned();
        let names = self.names(&id)?;
        let users = self.users(&id)?;
        let mut removed = Vec::new();
        if let Some(name) = &found.by_tag {
            // Digests of a repository go with its last tag.
            let others = |one: &&Reference| {
                one.repository == name.repository
                    && (one.tag != name.tag || one.digest != name.digest)
            };
            let digests: Vec<&Reference> =
                if names.iter().filter(others).any(|one| one.tag.is_some()) {
                    Vec::new()
                } else {
                    names.iter().filter(others).collect()
                };
            let last = names.len() <= 1 + digests.len();
            if last
                && let Some((container, running)) = users.first()
                && (*running || !force)
            {
                let must = if *running {
                    "cannot be forced"
                } else {
                    "must force"
                };
                return Err(ImageError::Conflict(format!(
                    "conflict: unable to remove repository reference \"{reference}\" ({must}) - container {} is using its referenced image {short}",
                    &container[..12]
                )));
            }
            self.untag(name, &mut removed)?;
            for digest in digests {
                self.untag(digest, &mut removed)?;
            }
            if !last || !users.is_empty() {
                return Ok((removed, 0));
            }
        } else {
            let mut repositories: Vec<&str> =
                names.iter().map(|name| name.repository.as_str()).collect();
            repositories.dedup();
            if repositories.len() > 1 && !force {
                return Err(ImageError::Conflict(format!(
                    "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
                )));
            }
            if let Some((container, running)) = users.first() {
                let (must, state) = if *running {
                    ("cannot be forced", "running")
                } else {
                    ("must be forced", "stopped")
                };
                if *running || !force {
                    return Err(ImageError::Conflict(format!(
                        "conflict: unable to delete {short} ({must}) - image is being used by {state} container {}",
                        &container[..12]
                    )));
                }
            }
            for name in &names {
                self.untag(name, &mut removed)?;
            }
            if !users.is_empty() {
                return Ok((removed, 0));
            }
        }
        let freed = self.delete(&id)?;
        removed.push(Removed::Deleted(id));
        Ok((removed, freed))
    }

    fn untag(&self, name: &Reference, removed: &mut Vec<Removed>) -> Result<(), ImageError> {
        let shown = match &name.digest {
            Some(digest) => format!("{}@{digest}", name.repository),
            None => format!("{}:{}", name.repository, name.tag_or_latest()),
        };
        // Somebody else may have untagged it meanwhile: all the same.
        self.store.write(|tx| {
            Ok::<_, ImageError>(match &name.digest {
                Some(digest) => tx.delete_digest(&name.repository, digest)?,
                None => tx.delete_tag(&name.repository, name.tag_or_latest())?,
            })
        })?;
        self.publish(&shown, "untag", Some(name));
        removed.push(Removed::Untagged(shown));
        Ok(())
    }

    /// The image's row goes, then the layers that nobody holds any more. Refused in the same transaction when a container
    /// was made of it meanwhile.
    pub(super) fn delete(&self, id: &str) -> Result<u64, ImageError> {
        self.store.write(|tx| {
            if let Some(row) = tx.containers_of_image(id)?.first() {
                return Err(ImageError::Conflict(format!(
                    "conflict: unable to delete {} (cannot be forced) - image is being used by container {}",
                    &id["sha256:".len()..][..12],
                    &row.id[..12]
                )));
            }
            tx.delete_image(id)?;
            Ok(())
        })?;
        sys::fault::step("image-remove:row");
        let freed = self.sweep_layers()?;
        self.publish(id, "delete", None);
        Ok(freed)
    }

    /// All tags and digests of an image, sorted.
    pub(super) fn names(&self, id: &str) -> Result<Vec<Reference>, ImageError> {
        let (tags, digests) = self
            .store
            .read(|tx| Ok::<_, ImageError>((tx.tags_of(id)?, tx.digests_of(id)?)))?;
        let tagged = tags.into_iter().map(|row| Reference {
            repository: row.repository,
            tag: Some(row.tag),
            digest: None,
        });
        let digested = digests.into_iter().map(|row| Reference {
            repository: row.repository,
            tag: None,
            digest: Some(row.digest),
        });
        Ok(tagged.chain(digested).collect())
    }

    /// Containers made of the image and whether they run, running ones first.
    fn users(&self, id: &str) -> Result<Vec<(String, bool)>, ImageError> {
        let rows = self
            .store
            .read(|tx| Ok::<_, ImageError>(tx.containers_of_image(id)?))?;
        let mut users: Vec<(String, bool)> = rows
            .into_iter()
            .map(|row| {
                let running = matches!(row.status.as_str(), "running" | "paused" | "restarting");
                (row.id, running)
            })
            .collect();
        users.sort_by_key(|&(_, running)| !running);
        Ok(users)
    }
}
