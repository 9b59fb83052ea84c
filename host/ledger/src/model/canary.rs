//! A canary: terms of a plan that decide for a share of its customers only, and the limits at which the host ends them.

use super::{
    amounts::{Credits, Decimal, Percent},
    grant::CreditType,
    ids::{CustomerId, Digest},
    terms::TermsKey,
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The places among which a plan's customers are spread: one for each hundredth of a percent.
const PLACES: u16 = 10_000;

/// A share of a plan's customers: from 0.01 to 100 percent, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// All customers.
    pub const ALL: Self = Self(PLACES);

    /// None for a percentage that is no share, or that is finer than a hundredth.
    #[must_use]
    pub fn new(percent: Percent) -> Option<Self> {
        const STEP: i128 = Decimal::SCALE / 100;
        let units = percent.units();
        let places = u16::try_from(units.checked_div(STEP)?).ok()?;
        (units % STEP == 0 && (1..=PLACES).contains(&places)).then_some(Self(places))
    }

    /// In percent.
    #[must_use]
    pub fn percent(self) -> Percent {
        Percent::from_units(i128::from(self.0).saturating_mul(Decimal::SCALE / 100))
    }

    /// Whether a customer belongs to this share of the customers under these terms. A larger share holds all that a smaller one
    /// does: a customer's place is the first 8 bytes of SHA-256 over `proviso canary 1`, the terms' key and the customer's key,
    /// each on a line of its own (no end of line after the last), as a big-endian number, modulo 10,000; the share holds the places
    /// below 100 times its percentage.
    #[must_use]
    pub fn holds(self, terms: &TermsKey, customer: &CustomerId) -> bool {
        self == Self::ALL || place(terms, customer) < self.0
    }
}

fn place(terms: &TermsKey, customer: &CustomerId) -> u16 {
    let Digest(hash) = Digest::of(format!("proviso canary 1\n{terms}\n{customer}").as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    u16::try_from(number % u64::from(PLACES)).unwrap_or(0)
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.percent().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = Percent::deserialize(deserializer)?;
        Self::new(percent).ok_or_else(|| {
            D::Error::custom("must be from 0.01 to 100 percent, with at most 2 decimal places")
        })
    }
}

/// A share from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStep {
    /// The share.
    pub share_percent: Share,
    /// From when.
    pub from: Timestamp,
}

/// What makes terms a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The shares it had, oldest first, each larger than the one before; never empty.
    pub steps: Vec<ShareStep>,
    /// When the host ends it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackLimits>,
    /// Why the host has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
}

/// A canary as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryDraft {
    /// Its first share.
    pub share: Share,
    /// When the host ends it by itself.
    pub rollback: Option<RollbackLimits>,
}

/// Limits of which each ends a canary when it is passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackLimits {
    /// The most decisions that may fail, in percent of its decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fault_percent: Option<Percent>,
    /// The most that its decisions may differ in credits from what the terms that it replaces would have made of them, in percent of
    /// the latter. What is above and what is below add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_drift_percent: Option<Percent>,
    /// Decisions without which no limit counts as passed.
    pub min_decisions: u64,
    /// Only decisions of the last so many seconds are looked at; none looks at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<u32>,
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedLimit {
    /// `max_fault_percent`.
    Faults,
    /// `max_drift_percent`.
    Drift,
}

/// Why a canary was ended by the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// When.
    pub at: Timestamp,
    /// Which limit was passed.
    pub limit: PassedLimit,
    /// For people.
    pub reason: String,
    /// The decisions that were looked at.
    pub decisions: u64,
    /// How many of them failed.
    pub faults: u64,
    /// Of a drift: in which credit type; none where it is of what periods carried over or issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<CreditType>,
    /// Of a drift: what the decisions came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Credits>,
    /// Of a drift: what the terms that it replaced made of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_cost: Option<Credits>,
}

impl Canary {
    /// Of a draft, from when its terms take effect.
    #[must_use]
    pub fn begin(draft: CanaryDraft, from: Timestamp) -> Self {
        let CanaryDraft { share, rollback } = draft;
        Self { steps: vec![ShareStep { share_percent: share, from }], rollback, rolled_back: None }
    }

    /// The share at `at`; before it begins, the first.
    #[must_use]
    pub fn share_at(&self, at: Timestamp) -> Share {
        let begun = self.steps.iter().rev().find(|step| step.from <= at);
        begun.or(self.steps.first()).map_or(Share::ALL, |step| step.share_percent)
    }

    /// The last share.
    #[must_use]
    pub fn share(&self) -> Share {
        self.steps.last().map_or(Share::ALL, |step| step.share_percent)
    }

    /// Whether it became the terms of all customers.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.rolled_back.is_none() && self.share() == Share::ALL
    }

    /// Whether the host had ended it by `at`.
    #[must_use]
    pub fn is_rolled_back(&self, at: Timestamp) -> bool {
        self.rolled_back.as_ref().is_some_and(|ended| ended.at <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: &str) -> Option<Share> {
        Share::new(percent.parse().unwrap())
    }

    #[test]
    fn shares_are_hundredths_of_a_percent() {
        for (percent, expected) in [
            ("0.01", Some(1)),
            ("5", Some(500)),
            ("12.5", Some(1_250)),
            ("100", Some(10_000)),
            ("0", None),
            ("0.001", None),
            ("100.01", None),
            ("-5", None),
            ("100000000000000", None),
        ] {
            assert_eq!(share(percent).map(|share| share.0), expected, "{percent}");
        }
        assert_eq!(serde_json::to_string(&share("12.5")).unwrap(), "\"12.5\"");
    }

    #[test]
    fn a_place_is_what_the_documentation_says() {
        // printf 'proviso canary 1\nplan/pro/terms_2\nacme' | sha256sum
        let terms: TermsKey = "plan/pro/terms_2".parse().unwrap();
        let acme: CustomerId = "acme".parse().unwrap();
        assert_eq!(place(&terms, &acme), ACME);
        let at = |places: u16| Share(places).holds(&terms, &acme);
        assert!(!at(ACME) && at(ACME + 1));
    }

    const ACME: u16 = 4_804;

    #[test]
    fn a_larger_share_only_adds_customers_and_each_holds_about_its_part() {
        let terms: TermsKey = "plan/pro/terms_2".parse().unwrap();
        let customers: Vec<CustomerId> = (0..10_000).map(|n| format!("c{n}").parse().unwrap()).collect();
        let mut before = 0;
        for percent in ["1", "5", "25", "50", "100"] {
            let share = share(percent).unwrap();
            let held: Vec<_> = customers.iter().filter(|customer| share.holds(&terms, customer)).collect();
            let expected = usize::from(share.0);
            assert!(held.len().abs_diff(expected) <= 150, "{percent}: {}", held.len());
            assert!(held.len() >= before);
            before = held.len();
        }
        let (small, large) = (share("5").unwrap(), share("25").unwrap());
        assert!(customers.iter().all(|one| !small.holds(&terms, one) || large.holds(&terms, one)));
        // Other terms spread the same customers otherwise.
        let other: TermsKey = "plan/pro/terms_3".parse().unwrap();
        assert!(customers.iter().any(|one| small.holds(&terms, one) != small.holds(&other, one)));
    }
}
