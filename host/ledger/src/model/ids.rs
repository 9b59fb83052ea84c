//! Keys and names that callers choose, ids that the journal gives, digests of content.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{fmt, str::FromStr, sync::Arc};

/// Lower-case hexadecimal digits of bytes.
pub use ::hex::encode as hex;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a [`Key`].
    #[error("must be 1 to 256 bytes without control characters and surrounding spaces")]
    Key,
    /// Not a [`Name`].
    #[error("must be 1 to 128 characters of A-Z a-z 0-9 _ . : -")]
    Name,
    /// Not an id of the expected kind.
    #[error("not an id of this kind")]
    Id,
    /// Not `sha256:` and 64 hexadecimal digits.
    #[error("must be \"sha256:\" and 64 hexadecimal digits")]
    Digest,
    /// An idempotency key outside 1 to 255 visible ASCII characters.
    #[error("must be 1 to 255 visible ASCII characters")]
    IdempotencyKey,
}

/// Text as JSON for a type with `Display` and `FromStr`.
macro_rules! text_serde {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

/// Defines a text that is checked where it is made. Cheap to clone.
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $error:expr, $valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        text_serde!($name);
    };
}

checked_text! {
    /// The caller's own key of a customer, entity, feature or credit type: 1 to 256 bytes without control characters and
    /// surrounding white space. Compares by its bytes.
    Key, NameError::Key, |text| {
        (1..=Key::MAX_BYTES).contains(&text.len()) && text.trim() == text && !text.contains(char::is_control)
    }
}

checked_text! {
    /// The name of a plan, a policy or an API key: `[A-Za-z0-9_.:-]{1,128}`.
    Name, NameError::Name, |text| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
        (1..=128).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// A key that the code itself names.
    pub(crate) fn known(text: &'static str) -> Self {
        Self(text.into())
    }
}

/// A customer's key.
pub type CustomerId = Key;

/// An idempotency key: 1 to 255 visible ASCII characters, unique for one customer. Callers give theirs, but none that begins with
/// [`HOSTS`](Self::HOSTS): those are made by hosts, for what can be done once whoever asks, and nobody must be able to use one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// What the keys that hosts make begin with.
    pub const HOSTS: &'static str = "proviso:";

    /// The key that hosts give to what `name` names.
    ///
    /// # Errors
    /// A name that is too long, or has other than visible ASCII characters.
    pub fn of_host(name: &str) -> Result<Self, NameError> {
        format!("{}{name}", Self::HOSTS).parse()
    }

    /// Whether hosts alone may use it.
    #[must_use]
    pub fn is_of_host(&self) -> bool {
        self.0.starts_with(Self::HOSTS)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            Ok(Self(text.into()))
        } else {
            Err(NameError::IdempotencyKey)
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
text_serde!(IdempotencyKey);

/// The number of an entry in one customer's journal: 1, 2, 3, with no gaps.
pub type Seq = u64;

/// Defines an id that says where in the customer's journal its thing began: prefix, entry number and place in it.
macro_rules! journal_id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The entry that made it.
            pub entry: Seq,
            /// Its place among those that the entry made, from 0.
            pub index: u32,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.entry)?;
                if self.index > 0 { write!(f, "_{}", self.index) } else { Ok(()) }
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let numbers = text.strip_prefix(concat!($prefix, "_")).ok_or(NameError::Id)?;
                let (entry, index) = numbers.split_once('_').unwrap_or((numbers, "0"));
                let id = Self {
                    entry: entry.parse().map_err(|_| NameError::Id)?,
                    index: index.parse().map_err(|_| NameError::Id)?,
                };
                // One spelling for each id: no leading zeros, signs or a needless index.
                if id.to_string() == text { Ok(id) } else { Err(NameError::Id) }
            }
        }
        text_serde!($name);
    };
}

journal_id! {
    /// A grant of one customer, such as `grant_12`.
    GrantId, "grant"
}
journal_id! {
    /// A reservation of one customer, such as `res_12`.
    ReservationId, "res"
}
journal_id! {
    /// A lease of one customer, such as `lease_12`. What it holds is in the book of the reservation with the same number.
    LeaseId, "lease"
}

impl LeaseId {
    /// The hold that carries its credits.
    #[must_use]
    pub const fn hold(self) -> ReservationId {
        ReservationId { entry: self.entry, index: self.index }
    }

    /// The lease whose credits this hold carries, if it is one's.
    #[must_use]
    pub const fn of_hold(hold: ReservationId) -> Self {
        Self { entry: hold.entry, index: hold.index }
    }
}
journal_id! {
    /// Terms of one customer (`terms_12`); a plan's terms count from the plan's own sequence.
    TermsId, "terms"
}
journal_id! {
    /// A change of plan that one customer awaits, such as `change_12`.
    PlanChangeId, "change"
}
journal_id! {
    /// A charge of one customer, such as `chg_12`.
    ChargeId, "chg"
}
journal_id! {
    /// A top-up of one customer, such as `topup_12`.
    TopUpId, "topup"
}
journal_id! {
    /// A refund of one customer, such as `refund_12`.
    RefundId, "refund"
}

/// A SHA-256 of content: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On the stack: one is written for each charge that is answered.
        let mut digits = [0; 64];
        ::hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str("sha256:")?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.strip_prefix("sha256:").ok_or(NameError::Digest)?;
        let mut bytes = [0; 32];
        ::hex::decode_to_slice(digits, &mut bytes).map_err(|_| NameError::Digest)?;
        Ok(Self(bytes))
    }
}
text_serde!(Digest);

/// A digest in its shortest text, as the journal keeps it: 43 characters of base64.
pub(crate) mod short_digest {
    use super::Digest;
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser::Error as _};

    pub(crate) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 43];
        STANDARD_NO_PAD.encode_slice(digest.0, &mut text).map_err(S::Error::custom)?;
        serializer.serialize_str(str::from_utf8(&text).map_err(S::Error::custom)?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text.as_bytes()).map_err(D::Error::custom)?;
        bytes.try_into().map(Digest).map_err(|_| D::Error::custom("a digest has 32 bytes"))
    }

    pub(crate) mod option {
        use super::Digest;
        use serde::{Deserialize, Deserializer, Serializer};

        #[allow(clippy::ref_option)] // serde's signature.
        pub(crate) fn serialize<S: Serializer>(
            digest: &Option<Digest>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match digest {
                Some(digest) => super::serialize(digest, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Digest>, D::Error> {
            #[derive(Deserialize)]
            struct Short(#[serde(with = "super")] Digest);
            Ok(Option::<Short>::deserialize(deserializer)?.map(|short| short.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        for (text, fine) in [
            ("grant_1", true),
            ("grant_12_3", true),
            ("grant_1_0", false),
            ("grant_01", false),
            ("grant_+1", false),
            ("grant_", false),
            ("res_1", false),
        ] {
            assert_eq!(
                text.parse::<GrantId>().map(|id| id.to_string()).ok(),
                fine.then(|| text.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn keys_and_digests_are_checked() {
        let longest = "é".repeat(128);
        for key in ["a.b:c-d_E9", "ann@example.com", "auth0|5f7c", "openai/gpt-4o", "Zoë", "100 %", &longest]
        {
            assert_eq!(key.parse::<Key>().unwrap().as_str(), key);
        }
        for bad in ["", " a", "a\u{a0}", "a\nb", "\u{0}", "\u{85}", &format!("{longest}x")] {
            assert_eq!(bad.parse::<Key>(), Err(NameError::Key), "{bad:?}");
        }
        assert!("a.b:c-d_E9".parse::<Name>().is_ok());
        for bad in ["", "a b", "a/b", "é", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Name), "{bad}");
        }
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().starts_with("sha256:ba7816bf"));
        for digits in ["+f".repeat(32), "0f".repeat(31), "0f".repeat(33), "é".repeat(32)] {
            assert_eq!(format!("sha256:{digits}").parse::<Digest>(), Err(NameError::Digest), "{digits}");
        }
    }
}
