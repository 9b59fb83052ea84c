//! Double entry: every movement takes an amount from one book of a customer and puts it into another.

use super::{
    grant::CreditType,
    ids::{GrantId, NameError, ReservationId},
};
use proviso_amounts::Credits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{fmt, str::FromStr};

/// A book of one customer. Each credit type has its own `issued`, `spent`, `expired`, `voided` and `overage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Book {
    /// Where credits come from.
    Issued,
    /// What a grant has left.
    Grant(GrantId),
    /// What a reservation holds.
    Reserved(ReservationId),
    /// Where charged credits go.
    Spent,
    /// Where expired credits go.
    Expired,
    /// Where voided credits go.
    Voided,
    /// What was drawn beyond all grants: this book is below zero by the outstanding overage.
    Overage,
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issued => f.write_str("issued"),
            Self::Grant(id) => write!(f, "grant/{id}"),
            Self::Reserved(id) => write!(f, "reserved/{id}"),
            Self::Spent => f.write_str("spent"),
            Self::Expired => f.write_str("expired"),
            Self::Voided => f.write_str("voided"),
            Self::Overage => f.write_str("overage"),
        }
    }
}

impl FromStr for Book {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some(("grant", id)) => Ok(Self::Grant(id.parse()?)),
            Some(("reserved", id)) => Ok(Self::Reserved(id.parse()?)),
            Some(_) => Err(NameError::Id),
            None => match text {
                "issued" => Ok(Self::Issued),
                "spent" => Ok(Self::Spent),
                "expired" => Ok(Self::Expired),
                "voided" => Ok(Self::Voided),
                "overage" => Ok(Self::Overage),
                _ => Err(NameError::Id),
            },
        }
    }
}

impl Serialize for Book {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Book {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// One movement of credits. Balanced by construction: what leaves one book arrives in the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The credit type that moves.
    pub credit: CreditType,
    /// The book that gives.
    pub from: Book,
    /// The book that takes.
    pub to: Book,
    /// How much; above zero.
    pub amount: Credits,
}

impl Transfer {
    /// A movement.
    #[must_use]
    pub fn new(credit: &CreditType, from: Book, to: Book, amount: Credits) -> Self {
        Self { credit: credit.clone(), from, to, amount }
    }
}
