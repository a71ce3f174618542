//! What a volume that leaves says of itself: in front of the files of an export, and to the engine that it travels to. A new
//! volume is made like it.
//!
//! Passports come from anywhere: of what one says only that is applied which concerns the new volume alone. Options that
//! name something on the host, a device, another driver or a pool, are told and left to whoever imports; passwords among
//! the options are never written.

use std::collections::BTreeMap;

use archive::Annotations;
use serde::{Deserialize, Serialize};
use store::VolumeRow;

use crate::create::ANONYMOUS_LABEL;
use crate::description::Description;
use crate::driver::DEFAULT;
use crate::{CreateVolume, VolumeError, Volumes};

/// Key of the record, under our name as PAX wants it.
const KEY: &[u8] = b"ORLOP.volume";
/// Raised when a reader of an older version would misunderstand.
const FORMAT: u32 = 1;

/// Opaque to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passport {
    format: u32,
    name: String,
    driver: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inodes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soft_bytes: Option<u64>,
}

impl Passport {
    /// The passport among an archive's annotations; `None` when there is none that this version understands.
    pub(crate) fn among(annotations: &Annotations) -> Option<Self> {
        let (_, text) = annotations.iter().find(|(key, _)| key == KEY)?;
        let passport: Self = serde_json::from_slice(text).ok()?;
        passport.is_understood().then_some(passport)
    }

    /// What a description says.
    pub(crate) fn described(description: Description) -> Self {
        Self {
            format: FORMAT,
            name: description.name,
            driver: description.driver,
            options: description.options.unwrap_or_default(),
            labels: description.labels.unwrap_or_default(),
            created_at: description.created_at,
            bytes: description.bytes,
            inodes: description.inodes,
            soft_bytes: description.soft_bytes,
        }
    }

    pub(crate) fn is_understood(&self) -> bool {
        self.format == FORMAT
    }

    /// What the volume was called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was labelled with.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// RFC 3339, if it is what it shall be.
    pub(crate) fn created_at(&self) -> &str {
        &self.created_at
    }

    pub(crate) fn annotations(&self) -> Annotations {
        let text = serde_json::to_vec(self).expect("maps have string keys");
        vec![(KEY.to_vec(), text)]
    }

    /// How a volume is made like it, and a sentence for each thing in which it will not be.
    pub(crate) fn request(self, name: &str) -> (CreateVolume, Vec<String>) {
        let mut said = Vec::new();
        let mut options = BTreeMap::new();
        if self.driver != DEFAULT {
            said.push(format!(
                "the volume was of driver {}; the new one is made by the {DEFAULT} driver",
                self.driver
            ));
        } else if self.options.contains_key("device") {
            said.push(
                "the volume was mounted from elsewhere; the new one holds its files itself"
                    .to_owned(),
            );
        }
        let limits = [
            ("size", self.bytes),
            ("inodes", self.inodes),
            ("soft-size", self.soft_bytes),
        ];
        for (key, value) in limits {
            if let Some(value) = value {
                options.insert(key.to_owned(), value.to_string());
            }
        }
        let mut labels = self.labels;
        labels.remove(ANONYMOUS_LABEL);
        let request = CreateVolume {
            name: Some(name.to_owned()),
            options,
            labels,
            ..CreateVolume::default()
        };
        (request, said)
    }
}

impl Volumes {
    pub(crate) fn passport(&self, row: &VolumeRow) -> Result<Passport, VolumeError> {
        let storage = self.store.read(|tx| tx.volume_storage(&row.id))?;
        let mut options = row.options.clone().unwrap_or_default();
        if let Some(mount) = options.get_mut("o") {
            *mount = without_passwords(mount);
        }
        Ok(Passport {
            format: FORMAT,
            name: row.name.clone(),
            driver: row.driver.clone(),
            options,
            labels: row.labels.clone().unwrap_or_default(),
            created_at: row.created_at.clone(),
            bytes: storage.bytes,
            inodes: storage.inodes,
            soft_bytes: storage.soft_bytes,
        })
    }
}

/// Options of a mount without those that are secret.
fn without_passwords(options: &str) -> String {
    let public: Vec<&str> = options
        .split(',')
        .filter(|option| {
            let key = option.split('=').next().unwrap_or_default();
            !(key.contains("pass") || key.contains("secret"))
        })
        .collect();
    public.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passport(driver: &str, options: &[(&str, &str)]) -> Passport {
        let pair = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Passport {
            format: FORMAT,
            name: "data".to_owned(),
            driver: driver.to_owned(),
            options: options.iter().map(pair).collect(),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            bytes: Some(1 << 20),
            inodes: None,
            soft_bytes: None,
        }
    }

    #[test]
    fn comes_back_from_its_annotations() {
        let given = passport("local", &[("size", "1m")]);
        assert_eq!(Passport::among(&given.annotations()), Some(given));
        for other in [
            &b"{}"[..],
            b"no JSON",
            br#"{"format":2,"name":"x","driver":"local","created_at":""}"#,
        ] {
            assert_eq!(
                Passport::among(&vec![(KEY.to_vec(), other.to_vec())]),
                None,
                "{}",
                other.escape_ascii()
            );
        }
    }

    #[test]
    fn nothing_of_the_host_is_applied() {
        for (driver, options, sentences) in [
            ("local", &[("size", "1m"), ("pool", "fast")][..], 0),
            (
                "local",
                &[("type", "none"), ("o", "bind"), ("device", "/etc")],
                1,
            ),
            ("rclone", &[("remote", "x:")], 1),
        ] {
            let (request, said) = passport(driver, options).request("new");
            assert_eq!(request.driver, None);
            let expected: BTreeMap<_, _> = [("size".to_owned(), "1048576".to_owned())].into();
            assert_eq!(request.options, expected);
            assert_eq!(request.labels["team"], "a");
            assert_eq!(said.len(), sentences, "{said:?}");
        }
    }

    #[test]
    fn passwords_stay() {
        assert_eq!(
            without_passwords("addr=1.2.3.4,username=u,password=p,ro"),
            "addr=1.2.3.4,username=u,ro"
        );
    }
}
