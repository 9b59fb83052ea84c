//! Ed25519 keys that sign checkpoints and policies. The secret part comes from outside and is never shown.

use proviso_ledger::model::ids::hex;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::{fmt, str::FromStr};

/// A key that signs.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    seed: [u8; 32],
    public: PublicKey,
}

/// The public part of a key, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl SigningKey {
    /// The key that 32 random bytes give; None when they give none, which does not happen.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { seed, public })
    }

    /// The public part.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The signature of a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed).ok()?;
        Some(pair.sign(message).as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

impl PublicKey {
    /// Whether this key made the signature of the message.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| format!("{text:?} is no public key of 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_signed_verifies_and_only_what_it_signed() {
        // RFC 8032, 7.1, test 2.
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).unwrap();
        let key = SigningKey::from_seed(bytes).unwrap();
        assert_eq!(key.public().to_string(), public);
        let signature = key.sign(&[0x72]).unwrap();
        assert!(hex(&signature).starts_with("92a009a9f0d4cab8720e820b5f642540"));
        let other = SigningKey::from_seed([7; 32]).unwrap().public();
        for (who, message, fine) in
            [(public.parse().unwrap(), [0x72], true), (key.public(), [0x73], false), (other, [0x72], false)]
        {
            assert_eq!(PublicKey::signed(&who, &message, &signature), fine);
        }
        assert!(!format!("{key:?}").contains("4ccd") && "3d40".parse::<PublicKey>().is_err());
    }
}
