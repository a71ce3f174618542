//! How the files and blobs of a repository are sealed: AES-256 in counter mode with Poly1305-AES, in version 2 over zstd.
//!
//! Sealed bytes are 16 of nonce, the ciphertext, 16 of authentication. Whatever was changed does not open.

use std::cell::RefCell;

use aes256ctr_poly1305aes::aead::AeadInPlace as _;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag};
use rustic_core::Id;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What sealing adds.
pub(crate) const OVERHEAD: usize = NONCE + TAG;
const NONCE: usize = 16;
const TAG: usize = 16;
/// First byte of a compressed file, which can be no first byte of JSON.
const COMPRESSED: u8 = 2;
/// A file of a repository is never larger; a hostile one ends here.
const LARGEST_FILE: usize = 1 << 30;
/// restic's default, and zstd's.
const LEVEL: i32 = 3;

/// The key of a repository. Who has it needs no password; it can be kept as JSON where nobody else reads.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MasterKey(pub(crate) rustic_core::repofile::MasterKey);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

pub(crate) struct Cipher(Aes256CtrPoly1305Aes);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(…)")
    }
}

impl Cipher {
    /// `None` when the key is no key: one that was kept and is damaged.
    pub(crate) fn new(key: &MasterKey) -> Option<Self> {
        let key = &key.0;
        let parts = [&key.encrypt, &key.mac.k, &key.mac.r];
        if parts.map(Vec::len) != [32, 16, 16] {
            return None;
        }
        let whole: Vec<u8> = parts.into_iter().flatten().copied().collect();
        Some(Self(Aes256CtrPoly1305Aes::new(Key::from_slice(&whole))))
    }

    /// `None` when it was changed, or sealed with another key.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let (text, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let mut plain = text.to_vec();
        self.0
            .decrypt_in_place_detached(
                Nonce::from_slice(nonce),
                &[],
                &mut plain,
                Tag::from_slice(tag),
            )
            .ok()?;
        Some(plain)
    }

    pub(crate) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(&nonce());
        sealed.extend_from_slice(plain);
        let (nonce, text) = sealed.split_at_mut(NONCE);
        let tag = self
            .0
            .encrypt_in_place_detached(Nonce::from_slice(nonce), &[], text)
            .expect("the cipher takes more than a pack can hold");
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// A whole file, which may be compressed.
    pub(crate) fn open_file(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let plain = self.open(sealed)?;
        match plain.first()? {
            b'{' | b'[' => Some(plain),
            &COMPRESSED => decompress(&plain[1..], LARGEST_FILE),
            _ => None,
        }
    }

    pub(crate) fn seal_file(&self, plain: &[u8], version: u32) -> Vec<u8> {
        if version < 2 {
            return self.seal(plain);
        }
        let mut packed = vec![COMPRESSED];
        packed.extend_from_slice(&compress(plain));
        self.seal(&packed)
    }

    /// A blob of a pack. `raw`: its length before compression, 0 for one that is not compressed.
    pub(crate) fn open_blob(&self, sealed: &[u8], raw: u32) -> Option<Vec<u8>> {
        let plain = self.open(sealed)?;
        if raw == 0 {
            return Some(plain);
        }
        let raw = usize::try_from(raw).ok()?;
        decompress_blob(&plain, raw).filter(|plain| plain.len() == raw)
    }

    /// The sealed blob, and its length before compression (0 when it is not compressed).
    pub(crate) fn seal_blob(&self, plain: &[u8], version: u32) -> (Vec<u8>, u32) {
        if version < 2 {
            return (self.seal(plain), 0);
        }
        let packed = compress(plain);
        if packed.len() >= plain.len() {
            return (self.seal(plain), 0);
        }
        let raw = u32::try_from(plain.len()).expect("chunks and trees are shorter than 4 GiB");
        (self.seal(&packed), raw)
    }
}

thread_local! {
    /// Making one takes longer than compressing a small file.
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> =
        RefCell::new(zstd::bulk::Compressor::new(LEVEL).expect("the level is one of zstd's"));
    static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> =
        RefCell::new(zstd::bulk::Decompressor::new().expect("it has no options that could be wrong"));
}

fn compress(plain: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor
            .compress(plain)
            .expect("compressing memory into memory cannot fail")
    })
}

/// `None` when it is no zstd or becomes longer than `most`, which is what it should become.
fn decompress_blob(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.decompress(packed, most).ok())
}

/// `None` when it is no zstd or becomes longer than `most`.
fn decompress(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    let reader = zstd::stream::Decoder::with_buffer(packed).ok()?;
    reader
        .take(most as u64 + 1)
        .read_to_end(&mut plain)
        .ok()
        .filter(|length| *length <= most)?;
    Some(plain)
}

fn nonce() -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    random(&mut nonce);
    nonce
}

/// From the kernel, which has them once it has started.
pub(crate) fn random(bytes: &mut [u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        at += rustix::rand::getrandom(&mut bytes[at..], flags).unwrap_or(0);
    }
}

/// The name of a file or blob with these bytes.
pub(crate) fn id_of(bytes: &[u8]) -> Id {
    Id::new(Sha256::digest(bytes).into())
}
