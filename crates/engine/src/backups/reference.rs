//! `REPOSITORY[:VOLUME][@WHICH]`, and the backups that are meant.
//!
//! REPOSITORY is a name or the location of a repository that has one; nothing before the colon means the default one. WHICH
//! is `latest`, a time (the newest backup that is not younger), or the beginning of an id.

use backup::{Backup, Repository};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use store::RepositoryRow;

use super::repositories::{of, place_of, unknown};
use super::{BackupError, Backups, hex};

/// Above all volumes in a repository.
pub(super) const VOLUMES: &str = "/volumes/";

/// What users write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    pub(super) repository: RepositoryRow,
    pub(super) volume: Option<String>,
    pub(super) which: Option<Which>,
}

/// One of several backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    Latest,
    /// The newest that is not younger.
    At(Timestamp),
    /// The beginning of its id.
    Id(String),
}

/// The path of a volume in a repository.
pub(super) fn path_of(volume: &str) -> String {
    format!("{VOLUMES}{volume}")
}

/// The volume that a backup holds, if it is one of a volume.
pub(super) fn volume_of(backup: &Backup) -> Option<&str> {
    match backup.paths.as_slice() {
        [path] => path
            .strip_prefix(VOLUMES)
            .filter(|name| !name.is_empty() && !name.contains('/')),
        _ => None,
    }
}

impl Backups {
    /// Reads what users write.
    ///
    /// # Errors
    /// [`BackupError::NoSuchRepository`], [`BackupError::NoRepository`], [`BackupError::Reference`].
    pub(super) fn reference(&self, text: &str) -> Result<Reference, BackupError> {
        let rows = self.store.read(|tx| tx.repositories())?;
        // The longest that fits: a location may begin like another one.
        let fitting = rows
            .iter()
            .flat_map(|row| [(row, row.name.as_str()), (row, row.location.as_str())])
            .filter_map(|(row, known)| Some((row, known, text.strip_prefix(known)?)))
            .filter(|(_, _, rest)| rest.is_empty() || rest.starts_with(':'))
            .max_by_key(|(_, known, _)| known.len())
            .map(|(row, _, rest)| (row, rest))
            .or_else(|| at_location(&rows, text));
        let (repository, rest) = match fitting {
            Some((row, rest)) => (row.clone(), rest),
            None if text.is_empty() || text.starts_with(':') => (self.default_repository()?, text),
            None => return Err(unknown(text)),
        };
        let (volume, which) = split(rest.strip_prefix(':').unwrap_or(rest));
        let which = which
            .map(|which| parse_which(which).ok_or_else(|| BackupError::Reference(text.to_owned())))
            .transpose()?;
        Ok(Reference {
            repository,
            volume: (!volume.is_empty()).then(|| volume.to_owned()),
            which,
        })
    }

    /// The one backup that is meant, the newest if nothing else is said.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`], [`BackupError::Ambiguous`], [`BackupError::Reference`] when neither a volume nor an id
    /// is named.
    pub(super) fn one(
        &self,
        text: &str,
        reference: &Reference,
        opened: &Repository,
    ) -> Result<Backup, BackupError> {
        if reference.volume.is_none() && !matches!(reference.which, Some(Which::Id(_))) {
            return Err(BackupError::Reference(text.to_owned()));
        }
        let (mut fitting, damaged) = Self::readable(reference, opened)?;
        let repository = &reference.repository.name;
        match (&reference.which, damaged.first()) {
            (Some(Which::Id(id)), _) if fitting.len() + damaged.len() > 1 => {
                return Err(BackupError::Ambiguous {
                    repository: repository.clone(),
                    id: id.clone(),
                });
            }
            (Some(Which::Id(_)), Some(id)) => {
                return Err(BackupError::Record {
                    repository: repository.clone(),
                    id: hex(*id),
                });
            }
            // One of them may be the newest.
            (_, Some(id)) => {
                return Err(BackupError::Records {
                    repository: repository.clone(),
                    id: hex(*id),
                });
            }
            (_, None) => {}
        }
        fitting.pop().ok_or_else(|| BackupError::NoBackup {
            repository: repository.clone(),
            what: text
                .strip_prefix(repository.as_str())
                .unwrap_or(text)
                .trim_start_matches(':')
                .to_owned(),
        })
    }

    /// All backups that fit, oldest first; those that came later than a time do not.
    ///
    /// # Errors
    /// [`BackupError::Records`]: one that cannot be read may fit.
    pub(super) fn fitting(
        &self,
        reference: &Reference,
        opened: &Repository,
    ) -> Result<Vec<Backup>, BackupError> {
        let (fitting, damaged) = Self::readable(reference, opened)?;
        match damaged.first() {
            Some(id) => Err(BackupError::Records {
                repository: reference.repository.name.clone(),
                id: hex(*id),
            }),
            None => Ok(fitting),
        }
    }

    /// All that fit and can be read, oldest first, and those that may fit and cannot be read.
    pub(super) fn readable(
        reference: &Reference,
        opened: &Repository,
    ) -> Result<(Vec<Backup>, Vec<backup::Id>), BackupError> {
        let all = opened.readable_backups();
        let (mut all, mut damaged) = all.map_err(of(&reference.repository))?;
        let is_called = |id: backup::Id| match &reference.which {
            Some(Which::Id(text)) => hex(id).starts_with(text.as_str()),
            _ => true,
        };
        damaged.retain(|id| is_called(*id));
        all.retain(|backup| {
            let of_volume = reference
                .volume
                .as_deref()
                .is_none_or(|volume| volume_of(backup) == Some(volume));
            let in_time = match &reference.which {
                Some(Which::At(time)) => backup.time <= *time,
                _ => true,
            };
            of_volume && in_time && is_called(backup.id)
        });
        Ok((all, damaged))
    }
}

/// The repository at the location that the text begins with, however that is written, and what comes behind it.
fn at_location<'r, 't>(
    rows: &'r [RepositoryRow],
    text: &'t str,
) -> Option<(&'r RepositoryRow, &'t str)> {
    let end = text.rfind(':').filter(|at| !text[*at..].contains('/'));
    [Some(text.len()), end]
        .into_iter()
        .flatten()
        .find_map(|end| {
            let (location, rest) = text.split_at(end);
            let place = place_of(location)?;
            let row = rows
                .iter()
                .find(|row| place_of(&row.location).as_ref() == Some(&place))?;
            Some((row, rest))
        })
}

/// Volume and the rest behind the first `@`.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((volume, which)) => (volume, Some(which)),
        None => (text, None),
    }
}

fn parse_which(text: &str) -> Option<Which> {
    if matches!(text, "" | "latest") {
        return Some(Which::Latest);
    }
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(Which::Id(text.to_ascii_lowercase()));
    }
    parse_time(text).map(Which::At)
}

/// A time with its zone, one in UTC, or a day of UTC, up to its end.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let in_utc = |time: DateTime| Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
    if let Ok(day) = text.parse::<Date>()
        && !text.contains([':', 'T', ' '])
    {
        return in_utc(day.at(23, 59, 59, 999_999_999));
    }
    in_utc(text.parse::<DateTime>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids() {
        let at = |text: &str| Which::At(text.parse().unwrap());
        for (text, wanted) in [
            ("latest", Some(Which::Latest)),
            ("", Some(Which::Latest)),
            ("1A2b3c", Some(Which::Id("1a2b3c".to_owned()))),
            ("2026", Some(Which::Id("2026".to_owned()))),
            ("2026-11-21", Some(at("2026-11-21T23:59:59.999999999Z"))),
            ("2026-11-21T10:49", Some(at("2026-11-21T10:49:00Z"))),
            ("2026-11-21T10:49:07Z", Some(at("2026-11-21T10:49:07Z"))),
            (
                "2026-11-21T10:49:07+02:00",
                Some(at("2026-11-21T08:49:07Z")),
            ),
            ("yesterday", None),
            ("2026-13-01", None),
        ] {
            assert_eq!(parse_which(text), wanted, "{text}");
        }
        assert_eq!(
            split("db@2026-11-21T10:49"),
            ("db", Some("2026-11-21T10:49"))
        );
        assert_eq!(split("@1a2b"), ("", Some("1a2b")));
    }
}
