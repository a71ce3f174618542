//! `rmi`: names first; the image goes with its last name, its layers with their last image.
//!
//! What goes is read and removed in one transaction: who tags or uses the image meanwhile keeps it.

use store::Tx;

use super::find::Found;
use super::tag::labels;
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
        self.remove_found(&self.find(reference)?, reference, force)
    }

    /// As [`Images::remove_and_count`], of what `reference` has led to.
    pub(super) fn remove_found(
        &self,
        found: &Found,
        reference: &str,
        force: bool,
    ) -> Result<(Vec<Removed>, u64), ImageError> {
        let id = &found.row.id;
        let labels = labels(&found.row).unwrap_or_default();
        // What goes is decided where it goes: a name that the image is given meanwhile keeps it.
        let gone = self.store.write(|tx| {
            let gone = match &found.by_tag {
                Some(name) => by_name(tx, id, name, reference, force),
                None => by_id(tx, id, force),
            }?;
            for name in &gone.names {
                match &name.digest {
                    Some(digest) => tx.delete_digest(&name.repository, digest)?,
                    None => tx.delete_tag(&name.repository, name.tag_or_latest())?,
                };
            }
            if gone.image {
                tx.delete_image(id)?;
            }
            Ok::<_, ImageError>(gone)
        })?;
        let mut removed = Vec::new();
        for name in &gone.names {
            self.publish_labelled(id, "untag", Some(name), labels.clone());
            removed.push(Removed::Untagged(match &name.digest {
                Some(digest) => format!("{}@{digest}", name.repository),
                None => format!("{}:{}", name.repository, name.tag_or_latest()),
            }));
        }
        if !gone.image {
            return Ok((removed, 0));
        }
        let freed = self.deleted(id)?;
        removed.push(Removed::Deleted(id.clone()));
        Ok((removed, freed))
    }

    /// An image that has no tag goes. Refused when it was given one, or a container was made of it, meanwhile.
    pub(super) fn delete_untagged(&self, id: &str) -> Result<u64, ImageError> {
        self.store.write(|tx| {
            let short = short(id);
            if let Some(row) = tx.containers_of_image(id)?.first() {
                return Err(ImageError::Conflict(format!(
                    "conflict: unable to delete {short} (cannot be forced) - image is being used by container {}",
                    &row.id[..12]
                )));
            }
            if let Some(tag) = tx.tags_of(id)?.first() {
                return Err(ImageError::Conflict(format!(
                    "conflict: unable to delete {short} (must be forced) - image is referenced as {}:{}",
                    tag.repository, tag.tag
                )));
            }
            tx.delete_image(id)?;
            Ok(())
        })?;
        self.deleted(id)
    }

    /// What follows the end of an image's row: the layers that nobody holds any more go.
    fn deleted(&self, id: &str) -> Result<u64, ImageError> {
        sys::fault::step("image-remove:row");
        let freed = self.sweep_layers()?;
        self.publish(id, "delete", None);
        Ok(freed)
    }
}

/// What a removal takes.
struct Gone {
    names: Vec<Reference>,
    image: bool,
}

/// A name, and the image when that was its last one and nobody uses it.
fn by_name(
    tx: &Tx<'_>,
    id: &str,
    name: &Reference,
    reference: &str,
    force: bool,
) -> Result<Gone, ImageError> {
    let users = users(tx, id)?;
    let names = names(tx, id)?;
    let (same, others): (Vec<Reference>, Vec<Reference>) = names
        .into_iter()
        .partition(|one| one.repository == name.repository);
    let is_it = |one: &Reference| match &name.digest {
        Some(_) => one.digest == name.digest,
        None => one.digest.is_none() && one.tag_or_latest() == name.tag_or_latest(),
    };
    // The name was given to another image, or taken away, since it was looked up.
    if !same.iter().any(is_it) {
        return Err(ImageError::NoSuch(reference.to_owned()));
    }
    let mut gone: Vec<Reference> = vec![name.clone()];
    // Digests of a repository go with its last tag.
    let siblings = same
        .into_iter()
        .filter(|one| one.tag != name.tag || one.digest != name.digest);
    let (tags, digests): (Vec<Reference>, Vec<Reference>) =
        siblings.partition(|one| one.tag.is_some());
    let last = others.is_empty() && tags.is_empty();
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
            "conflict: unable to remove repository reference \"{reference}\" ({must}) - container {} is using its referenced image {}",
            &container[..12],
            short(id)
        )));
    }
    if tags.is_empty() {
        gone.extend(digests);
    }
    Ok(Gone {
        names: gone,
        image: last && users.is_empty(),
    })
}

/// All names of an image, and the image unless somebody uses it.
fn by_id(tx: &Tx<'_>, id: &str, force: bool) -> Result<Gone, ImageError> {
    let names = names(tx, id)?;
    let mut repositories: Vec<&str> = names.iter().map(|name| name.repository.as_str()).collect();
    repositories.dedup();
    if repositories.len() > 1 && !force {
        return Err(ImageError::Conflict(format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            short(id)
        )));
    }
    let users = users(tx, id)?;
    if let Some((container, running)) = users.first()
        && (*running || !force)
    {
        let (must, state) = if *running {
            ("cannot be forced", "running")
        } else {
            ("must be forced", "stopped")
        };
        return Err(ImageError::Conflict(format!(
            "conflict: unable to delete {} ({must}) - image is being used by {state} container {}",
            short(id),
            &container[..12]
        )));
    }
    Ok(Gone {
        names,
        image: users.is_empty(),
    })
}

fn short(id: &str) -> &str {
    &id["sha256:".len()..][..12]
}

/// All tags and digests of an image, each sorted.
pub(super) fn names(tx: &Tx<'_>, id: &str) -> Result<Vec<Reference>, ImageError> {
    let tagged = tx.tags_of(id)?.into_iter().map(|row| Reference {
        repository: row.repository,
        tag: Some(row.tag),
        digest: None,
    });
    let digested = tx.digests_of(id)?.into_iter().map(|row| Reference {
        repository: row.repository,
        tag: None,
        digest: Some(row.digest),
    });
    Ok(tagged.chain(digested).collect())
}

/// Containers made of the image and whether they run, running ones first.
fn users(tx: &Tx<'_>, id: &str) -> Result<Vec<(String, bool)>, ImageError> {
    let mut users: Vec<(String, bool)> = tx
        .containers_of_image(id)?
        .into_iter()
        .map(|row| {
            let running = matches!(row.status.as_str(), "running" | "paused" | "restarting");
            (row.id, running)
        })
        .collect();
    users.sort_by_key(|&(_, running)| !running);
    Ok(users)
}
