//! Signatures of modules: Ed25519 over the SHA-256 of a module's bytes. A host to which keys are named takes no module without a
//! signature by one of them.

use crate::{
    checkpoint::{PublicKey, SigningKey},
    error::EngineError,
};
use proviso_ledger::model::ids::{Digest, Name, hex};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The kind of signature that there is.
const KIND: &str = "ed25519=";

/// A module's signature, written `ed25519=` and 128 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleSignature(pub [u8; 64]);

impl ModuleSignature {
    /// By this key.
    #[must_use]
    pub fn by(key: &SigningKey, module: &Digest) -> Option<Self> {
        key.sign(message(module).as_bytes())?.try_into().ok().map(Self)
    }
}

/// What is signed: not the digest alone, so that nothing else that the key signs can be taken for it.
fn message(module: &Digest) -> String {
    format!("proviso policy 1\n{module}")
}

impl fmt::Display for ModuleSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", hex(self.0))
    }
}

impl FromStr for ModuleSignature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 64];
        let digits = text.trim().strip_prefix(KIND);
        let read = digits.and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok());
        read.map(|()| Self(bytes)).ok_or_else(|| format!("must be {KIND} and 128 hexadecimal digits"))
    }
}

/// A key whose signatures are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyKey {
    /// Whose it is.
    pub name: Name,
    /// Its public part.
    pub key: PublicKey,
}

/// The keys whose signatures are taken, out of a text with one a line: a name and 64 hexadecimal digits. Empty lines and what follows
/// `#` are passed over.
///
/// # Errors
/// A line that is none, with its number; a name or a key twice; no key at all.
pub fn policy_keys(text: &str) -> Result<Vec<PolicyKey>, String> {
    let mut keys: Vec<PolicyKey> = Vec::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = |detail: String| format!("line {number}: {detail}");
        match words.as_slice() {
            [] => {}
            [name, key] => {
                let name: Name = name.parse().map_err(|error| wrong(format!("{name}: {error}")))?;
                let key: PublicKey = key.parse().map_err(wrong)?;
                if keys.iter().any(|other| other.name == name || other.key == key) {
                    return Err(wrong(format!("{name}, or its key, is there already")));
                }
                keys.push(PolicyKey { name, key });
            }
            _ => return Err(wrong("must be a name and a public key of 64 hexadecimal digits".to_owned())),
        }
    }
    if keys.is_empty() { Err("has no key".to_owned()) } else { Ok(keys) }
}

/// Who signed a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBy {
    /// As the host's keys name it.
    pub name: Name,
    /// The public key, as 64 hexadecimal digits.
    pub public_key: String,
    /// The signature, as it was sent.
    pub signature: String,
}

/// Who of `keys` signed a module; none where no keys are named to the host, and it can't tell.
pub(crate) fn verify(
    keys: Option<&[PolicyKey]>,
    module: &Digest,
    signature: Option<&ModuleSignature>,
) -> Result<Option<SignedBy>, EngineError> {
    let Some(keys) = keys else { return Ok(None) };
    let signature = signature.ok_or(EngineError::SignatureRequired)?;
    let message = message(module);
    let signer = keys.iter().find(|one| one.key.signed(message.as_bytes(), &signature.0));
    let PolicyKey { name, key } = signer.ok_or(EngineError::SignatureInvalid)?;
    Ok(Some(SignedBy { name: name.clone(), public_key: key.to_string(), signature: signature.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed([seed; 32]).unwrap()
    }

    #[test]
    fn only_a_named_key_signs_and_only_that_module() {
        let (module, other) = (Digest::of(b"module"), Digest::of(b"other"));
        let keys = [PolicyKey { name: "ann".parse().unwrap(), key: key(1).public() }];
        let by = |seed, module| ModuleSignature::by(&key(seed), module).unwrap();
        let signed = verify(Some(&keys), &module, Some(&by(1, &module))).unwrap().unwrap();
        assert_eq!((signed.name.as_str(), signed.public_key), ("ann", key(1).public().to_string()));
        for wrong in [by(2, &module), by(1, &other), ModuleSignature([0; 64])] {
            assert!(matches!(verify(Some(&keys), &module, Some(&wrong)), Err(EngineError::SignatureInvalid)));
        }
        assert!(matches!(verify(Some(&keys), &module, None), Err(EngineError::SignatureRequired)));
        assert_eq!(verify(None, &module, Some(&by(2, &module))).unwrap(), None);
        // A checkpoint's statement that happened to be the digest would sign something else.
        let bare: [u8; 64] = key(1).sign(module.to_string().as_bytes()).unwrap().try_into().unwrap();
        assert!(verify(Some(&keys), &module, Some(&ModuleSignature(bare))).is_err());
    }

    #[test]
    fn signatures_are_written_and_read() {
        let signature = ModuleSignature::by(&key(1), &Digest::of(b"module")).unwrap();
        assert_eq!(signature.to_string().parse(), Ok(signature));
        for wrong in ["", "ed25519=", "ed25519=00", "rsa=00", &signature.to_string()[8..]] {
            assert!(wrong.parse::<ModuleSignature>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_read_a_line_each() {
        let (ann, bob) = (key(1).public(), key(2).public());
        let keys = policy_keys(&format!("# who may ship\nann {ann}\n\n bob  {bob} # since May\n")).unwrap();
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!((names, keys[1].key), (vec!["ann", "bob"], bob));
        for (text, expected) in [
            (String::new(), "has no key"),
            (format!("ann {ann}\nann {bob}"), "line 2: ann, or its key, is there already"),
            (format!("ann {ann}\nbob {ann}"), "line 2: bob, or its key, is there already"),
            ("ann".to_owned(), "line 1: must be a name and a public key of 64 hexadecimal digits"),
            ("ann 12".to_owned(), "line 1: \"12\" is no public key of 64 hexadecimal digits"),
        ] {
            assert_eq!(policy_keys(&text), Err(expected.to_owned()));
        }
    }
}
