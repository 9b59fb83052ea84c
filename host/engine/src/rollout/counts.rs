//! What is counted of a canary's decisions, and which limit that passes.

use crate::shadow_report::{Real, ShadowOf};
use proviso_ledger::{
    journal::{DecisionRecord, Entry},
    model::{
        amounts::{Credits, Decimal, Percent, Rounding},
        canary::{PassedLimit, RollbackLimits, RolledBack},
        grant::CreditType,
        terms::TermsKey,
        time::Timestamp,
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Into so many parts the time is cut that limits look back.
const SPANS: i64 = 20;

/// How far decisions are from what the terms that a canary is to replace made of the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What they came to.
    pub cost: Credits,
    /// What the replaced terms made of them.
    pub replaced_cost: Credits,
    /// The sum of the differences, whichever way each goes.
    pub apart: Credits,
}

/// What was counted of a canary's decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Decisions.
    pub decisions: u64,
    /// Those in which its policy failed.
    pub faults: u64,
    /// The others, as far as the replaced terms had an answer: usage by credit type. What one alone refuses costs nothing there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<CreditType, Drift>,
    /// Likewise, what the ends of periods carried over and the beginnings issued.
    #[serde(default)]
    pub periods: Drift,
}

/// A decision of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether its policy failed.
    pub failed: bool,
    /// What it came to, and what the replaced terms made of it; in which credit type, where it is about usage.
    pub compared: Option<(Option<CreditType>, Credits, Credits)>,
}

/// The terms that were to decide an entry.
pub fn decided_by(record: &DecisionRecord) -> &TermsKey {
    record.fault.as_ref().map_or(&record.terms, |fault| &fault.terms)
}

impl Decision {
    /// Of an entry that a canary was to decide. `is_active` tells the terms that it is to replace from shadows.
    pub fn of(entry: &Entry, record: &DecisionRecord, is_active: impl Fn(&TermsKey) -> bool) -> Self {
        if record.fault.is_some() {
            return Self { failed: true, compared: None };
        }
        let replaced = record.shadows.iter().find(|shadow| is_active(&shadow.terms));
        let replaced = replaced.filter(|one| !one.failed);
        let compared = replaced.zip(Real::of(entry)).map(|(replaced, real)| {
            let credit = match real.subject {
                ShadowOf::Usage(_, credit) => Some(credit),
                ShadowOf::Closings | ShadowOf::Openings => None,
            };
            let cost = |cost: Option<Credits>| cost.unwrap_or(Credits::ZERO);
            (credit, cost(real.cost), cost(replaced.cost))
        });
        Self { failed: false, compared }
    }
}

impl Drift {
    fn add(&mut self, other: &Self) {
        self.cost = self.cost.saturating_add(other.cost);
        self.replaced_cost = self.replaced_cost.saturating_add(other.replaced_cost);
        self.apart = self.apart.saturating_add(other.apart);
    }

    fn of(cost: Credits, replaced_cost: Credits) -> Self {
        let apart = cost.saturating_sub(replaced_cost).checked_abs().unwrap_or(Credits::LARGEST);
        Self { cost, replaced_cost, apart }
    }

    /// How far apart, in percent of what the replaced terms made of the decisions; none where that is nothing and this is not.
    #[must_use]
    pub fn percent(&self) -> Option<Percent> {
        if self.apart.is_zero() {
            return Some(Percent::ZERO);
        }
        let (hundred, base) = (Decimal::from_whole(100), self.replaced_cost.decimal());
        let percent = self.apart.decimal().mul_div(hundred, base, Rounding::HalfUp).ok()?;
        percent.round_to_places(2, Rounding::HalfUp).ok().map(Percent::new)
    }

    fn passes(&self, limit: Percent) -> bool {
        self.replaced_cost.percent(limit, Rounding::Down).is_ok_and(|most| self.apart > most)
    }
}

impl Counts {
    /// Adds a decision.
    pub fn take(&mut self, decision: &Decision) {
        self.decisions = self.decisions.saturating_add(1);
        self.faults = self.faults.saturating_add(u64::from(decision.failed));
        let Some((credit, cost, replaced_cost)) = &decision.compared else { return };
        let drift = match credit {
            Some(credit) => self.usage.entry(credit.clone()).or_default(),
            None => &mut self.periods,
        };
        drift.add(&Drift::of(*cost, *replaced_cost));
    }

    fn add(&mut self, other: &Self) {
        self.decisions = self.decisions.saturating_add(other.decisions);
        self.faults = self.faults.saturating_add(other.faults);
        for (credit, drift) in &other.usage {
            self.usage.entry(credit.clone()).or_default().add(drift);
        }
        self.periods.add(&other.periods);
    }

    /// Which limit these pass, as what ends the canary at `at`.
    pub fn passed(&self, limits: &RollbackLimits, at: Timestamp) -> Option<RolledBack> {
        if self.decisions < limits.min_decisions {
            return None;
        }
        let (decisions, faults) = (self.decisions, self.faults);
        let ended = |limit, reason| RolledBack {
            at,
            limit,
            reason,
            decisions,
            faults,
            credit: None,
            cost: None,
            replaced_cost: None,
        };
        if let Some(limit) = limits.max_fault_percent
            && exceeds(faults, decisions, limit)
        {
            let reason = format!("{faults} of {decisions} decisions failed: more than {limit} %");
            return Some(ended(PassedLimit::Faults, reason));
        }
        let limit = limits.max_drift_percent?;
        let usage = self.usage.iter().map(|(credit, drift)| (Some(credit), drift));
        let (credit, drift) = usage.chain([(None, &self.periods)]).find(|(_, drift)| drift.passes(limit))?;
        let Drift { cost, replaced_cost, apart } = *drift;
        let what = credit.map_or_else(|| "credits of periods".to_owned(), ToString::to_string);
        let reason = format!(
            "decisions came to {cost} {what} where the replaced terms make it {replaced_cost}: \
             {apart} apart, more than {limit} %"
        );
        let ended = ended(PassedLimit::Drift, reason);
        let (cost, replaced_cost) = (Some(cost), Some(replaced_cost));
        Some(RolledBack { credit: credit.cloned(), cost, replaced_cost, ..ended })
    }
}

fn exceeds(part: u64, whole: u64, limit: Percent) -> bool {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let most = limit.decimal().repeated(number(whole));
    most.is_ok_and(|most| Decimal::from_whole(number(part.saturating_mul(100))) > most)
}

/// What one opening of the database counted: in all, and by when, as far back as a limit looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// In all.
    pub total: Counts,
    /// By when parts of the time began, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    spans: BTreeMap<i64, Counts>,
}

impl Tally {
    /// Adds a decision of `at`.
    pub fn take(&mut self, decision: &Decision, at: Timestamp, within_seconds: Option<u32>) {
        self.total.take(decision);
        let Some(within) = within_seconds.map(micros) else { return };
        let span = (within / SPANS).max(1);
        let start = at.0.div_euclid(span).saturating_mul(span);
        self.spans.entry(start).or_default().take(decision);
        let oldest = start.saturating_sub(within.saturating_mul(2));
        self.spans.retain(|start, _| *start >= oldest);
    }

    /// Adds what counts at `now` of these to `counts`. A part of the time counts as a whole or not at all.
    pub fn add_to(&self, counts: &mut Counts, now: Timestamp, within_seconds: Option<u32>) {
        match within_seconds.map(micros) {
            None => counts.add(&self.total),
            Some(within) => {
                let from = now.0.saturating_sub(within);
                self.spans.range(from..).for_each(|(_, span)| counts.add(span));
            }
        }
    }
}

fn micros(seconds: u32) -> i64 {
    i64::from(seconds).saturating_mul(Timestamp::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(cost: &str, replaced: &str) -> Decision {
        let credit = Some("credits".parse().unwrap());
        Decision { failed: false, compared: Some((credit, cost.parse().unwrap(), replaced.parse().unwrap())) }
    }

    const FAULT: Decision = Decision { failed: true, compared: None };

    fn limits(faults: Option<&str>, drift: Option<&str>, min_decisions: u64) -> RollbackLimits {
        let percent = |text: &str| text.parse().unwrap();
        RollbackLimits {
            max_fault_percent: faults.map(percent),
            max_drift_percent: drift.map(percent),
            min_decisions,
            within_seconds: None,
        }
    }

    #[test]
    fn a_limit_is_passed_above_it_and_with_enough_decisions() {
        let same = decision("1", "1");
        let many = |one: &Decision, count: usize| vec![one.clone(); count];
        for (decisions, limits, expected) in [
            ([many(&same, 99), many(&FAULT, 1)].concat(), limits(Some("1"), None, 1), None),
            (
                [many(&same, 98), many(&FAULT, 1)].concat(),
                limits(Some("1"), None, 1),
                Some(PassedLimit::Faults),
            ),
            ([many(&same, 98), many(&FAULT, 1)].concat(), limits(Some("1"), None, 100), None),
            (many(&FAULT, 1), limits(Some("0"), None, 1), Some(PassedLimit::Faults)),
            (many(&FAULT, 9), limits(None, Some("0"), 1), None),
            (many(&same, 9), limits(Some("0"), Some("0"), 1), None),
            (many(&decision("1.2", "1"), 9), limits(None, Some("20"), 1), None),
            (many(&decision("1.21", "1"), 9), limits(None, Some("20"), 1), Some(PassedLimit::Drift)),
            (many(&decision("0.5", "1"), 9), limits(None, Some("20"), 1), Some(PassedLimit::Drift)),
            // One too high and one too low are not right together.
            (
                vec![decision("2", "1"), decision("1", "2")],
                limits(None, Some("20"), 1),
                Some(PassedLimit::Drift),
            ),
            // What was free.
            (many(&decision("0.1", "0"), 1), limits(None, Some("1000"), 1), Some(PassedLimit::Drift)),
        ] {
            let mut counts = Counts::default();
            decisions.iter().for_each(|decision| counts.take(decision));
            let passed = counts.passed(&limits, Timestamp(7));
            assert_eq!(passed.as_ref().map(|passed| passed.limit), expected, "{counts:?} {limits:?}");
        }
    }

    #[test]
    fn a_reason_says_what_was_counted() {
        let mut counts = Counts::default();
        counts.take(&decision("10", "1"));
        let passed = counts.passed(&limits(None, Some("20"), 1), Timestamp(7)).unwrap();
        let expected =
            "decisions came to 10 credits where the replaced terms make it 1: 9 apart, more than 20 %";
        assert_eq!(passed.reason, expected);
        assert_eq!(counts.usage.values().next().unwrap().percent(), Some("900".parse().unwrap()));
        counts.take(&FAULT);
        let passed = counts.passed(&limits(Some("5"), None, 1), Timestamp(7)).unwrap();
        assert_eq!(passed.reason, "1 of 2 decisions failed: more than 5 %");
    }

    #[test]
    fn limits_look_back_no_further_than_they_say() {
        let mut tally = Tally::default();
        let at = |seconds: i64| Timestamp(seconds * Timestamp::SECOND);
        tally.take(&FAULT, at(0), Some(60));
        tally.take(&decision("1", "1"), at(50), Some(60));
        let counted = |now, within| {
            let mut counts = Counts::default();
            tally.add_to(&mut counts, at(now), within);
            (counts.decisions, counts.faults)
        };
        assert_eq!(counted(55, Some(60)), (2, 1));
        assert_eq!(counted(70, Some(60)), (1, 0));
        assert_eq!(counted(200, Some(60)), (0, 0));
        assert_eq!(counted(200, None), (2, 1));
        // A day later the old parts are forgotten.
        tally.take(&FAULT, at(86_400), Some(60));
        assert_eq!((tally.spans.len(), tally.total.decisions), (1, 3));
    }
}
