//! The way in for `fuzz/`: parsers that are private.

use registry::{Document, Fetched, MANIFEST_LIMIT, Platform};

use crate::images::{configuration, described};

/// Reads the bytes as everything that a registry or an image archive describes an image with, and checks what callers
/// count on.
///
/// # Panics
/// When something was let pass that is beyond the limits, or a configuration that is written again is not the same.
pub fn manifest(media_type: &str, bytes: &[u8]) {
    let fetched = Fetched {
        media_type: media_type.to_owned(),
        bytes: bytes.to_vec(),
        digest: registry::digest(bytes),
    };
    match fetched.document("x") {
        Ok(Document::Image(manifest)) => {
            assert!(manifest.layers.len() <= 127, "more layers than can be");
            assert!(manifest.config.size <= MANIFEST_LIMIT, "too long");
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                assert!(i64::try_from(blob.size).is_ok(), "no size of a file");
                assert!(is_sha256(&blob.digest), "{}", blob.digest);
            }
        }
        Ok(Document::Index(index)) => {
            for wanted in ["linux/amd64", "linux/arm/v7", "windows"] {
                let wanted = Platform::parse(wanted, &Platform::default()).expect("it is one");
                if let Ok(chosen) = index.choose(&wanted) {
                    assert!(is_sha256(&chosen.digest), "{}", chosen.digest);
                    assert!(index.manifests.contains(chosen));
                }
            }
        }
        Err(_) => {}
    }
    configuration(bytes);
    described(bytes);
}

fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
    })
}
