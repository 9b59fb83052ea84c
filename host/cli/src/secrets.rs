//! Randomness, and what is made of it: API keys, and the key that authenticates compiled code on disk.
#![allow(clippy::disallowed_methods, reason = "this is the one place that draws randomness")]

use crate::error::Error;
use proviso_ledger::model::ids::hex;
use serde::Deserialize;
use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    str::FromStr,
};

/// Text that must not show up in logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What an Authorization header can carry.
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be 1 to 255 visible ASCII characters without spaces".to_owned())
        }
    }
}

impl TryFrom<String> for Secret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A new secret for an API key: 192 random bits.
pub fn new_api_key() -> String {
    format!("pvk_{}", hex(random::<24>()))
}

/// Tells this process from others in the names of requests: 48 random bits.
pub fn new_instance() -> String {
    hex(random::<6>())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // A key that can be guessed is worse than no host.
        tracing::error!(%error, "the system gives no randomness");
        std::process::abort();
    }
    bytes
}

/// The 32 bytes in a file that only its owner may read; made when there is none.
pub fn key_file(path: &Path) -> Result<[u8; 32], Error> {
    match existing_key_file(path)? {
        Some(key) => Ok(key),
        None => new_key_file(path).map_err(Error::file(path)),
    }
}

/// The same; none when there is no file.
pub fn existing_key_file(path: &Path) -> Result<Option<[u8; 32]>, Error> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map(Some).map_err(|_| Error::Content {
            path: path.to_owned(),
            detail: "is no key of 32 bytes; delete it to have a new one made".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path)(error)),
    }
}

fn new_key_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    // Under another name first: a crash must not leave half a key.
    let draft = path.with_extension("draft");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = key_file(&path).unwrap();
        assert_eq!(key_file(&path).unwrap(), key);
        assert_ne!(key, [0; 32]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(key_file(&path).unwrap_err().to_string().contains("delete it"));
    }

    #[test]
    fn secrets_are_header_safe_and_do_not_show() {
        assert!("pvk_abc".parse::<Secret>().is_ok());
        for bad in ["", "a b", "é", "a\n"] {
            assert!(bad.parse::<Secret>().is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", "hush".parse::<Secret>().unwrap()), "(secret)");
        assert_ne!(new_api_key(), new_api_key());
        assert!(new_api_key().parse::<Secret>().is_ok());
    }
}
