//! Counters: usage totals that policies declare and the ledger keeps, exactly and in the same entry as the usage.

use crate::{
    credits::Credits,
    decision::{Counter, Measure, Scope, Usage, Window},
    state::CustomerState,
    time::Timestamp,
};
use jiff::Unit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an entry adds to a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted: see [`id`].
    pub counter: String,
    /// Whose total: an entity, an attribute's value, or empty for the customer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The start of the window that it is counted in.
    pub window: Timestamp,
    /// Microcredits or millionths of a unit.
    pub add: i64,
}

/// A counter's totals in its current window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The start of the window.
    pub window: Timestamp,
    /// Totals by subject.
    pub by_subject: BTreeMap<String, i64>,
}

/// Names what a counter counts. Counters of different terms that count the same share one total; names are quoted, so
/// that no two counters that count different things do.
#[must_use]
pub fn id(counter: &Counter) -> String {
    let measure = match &counter.measure {
        Measure::Cost => "cost".to_owned(),
        Measure::Quantity(name) => format!("quantity:{name:?}"),
    };
    let scope = match &counter.scope {
        Scope::Customer => "customer".to_owned(),
        Scope::Entity => "entity".to_owned(),
        Scope::Attribute(name) => format!("attribute:{name:?}"),
    };
    let window = match counter.window {
        Window::Period => "period",
        Window::Day => "day",
        Window::Month => "month",
        Window::Lifetime => "lifetime",
    };
    let mut features: Vec<&str> = counter.features.iter().map(crate::ids::Key::as_str).collect();
    features.sort_unstable();
    format!("{measure}|{}|{scope}|{window}", features.join(","))
}

/// Whose total a usage belongs to; none when the usage names no such subject.
fn subject<'a>(counter: &Counter, usage: &'a Usage) -> Option<&'a str> {
    match &counter.scope {
        Scope::Customer => Some(""),
        Scope::Entity => usage.entity.as_ref().map(crate::ids::Key::as_str),
        Scope::Attribute(name) => usage.attribute(name),
    }
}

impl CustomerState {
    /// The values of `counters` for a usage (for a reset, without one, subjects other than the customer are zero).
    #[must_use]
    pub fn counter_values(&self, counters: &[Counter], usage: Option<&Usage>, at: Timestamp) -> Vec<i64> {
        counters
            .iter()
            .map(|counter| {
                let subject = match usage {
                    Some(usage) => subject(counter, usage),
                    None => matches!(counter.scope, Scope::Customer).then_some(""),
                };
                let totals = self.counters.get(&id(counter));
                match (subject, totals) {
                    (Some(subject), Some(totals))
                        if totals.window == self.window_start(counter.window, at) =>
                    {
                        totals.by_subject.get(subject).copied().unwrap_or(0)
                    }
                    _ => 0,
                }
            })
            .collect()
    }

    /// What a usage of this cost adds to `counters`.
    pub(crate) fn counts(
        &self,
        counters: &[Counter],
        usage: &Usage,
        cost: Credits,
        at: Timestamp,
    ) -> Vec<Count> {
        let mut counts: Vec<Count> = Vec::new();
        for counter in counters {
            if !counter.features.is_empty() && !counter.features.contains(&usage.feature) {
                continue;
            }
            let add = match &counter.measure {
                Measure::Cost => cost.0,
                Measure::Quantity(name) => usage.quantity(name).0,
            };
            let (Some(subject), true) = (subject(counter, usage), add != 0) else { continue };
            let counter_id = id(counter);
            if counts.iter().any(|count| count.counter == counter_id) {
                continue;
            }
            let window = self.window_start(counter.window, at);
            counts.push(Count { counter: counter_id, subject: subject.to_owned(), window, add });
        }
        counts
    }

    /// Takes a count in. Only the current window of a counter is kept.
    pub(crate) fn count(&mut self, count: &Count) -> Result<(), String> {
        let totals = self.counters.entry(count.counter.clone()).or_default();
        if totals.window != count.window {
            *totals = Totals { window: count.window, by_subject: BTreeMap::new() };
        }
        let total = totals.by_subject.entry(count.subject.clone()).or_insert(0);
        *total =
            total.checked_add(count.add).ok_or_else(|| format!("counter {} overflows", count.counter))?;
        Ok(())
    }

    /// Starts the totals of periods again. Their windows alone don't tell two periods apart that began at one instant.
    pub(crate) fn forget_period_totals(&mut self) {
        self.counters.retain(|id, _| !id.ends_with("|period"));
    }

    /// Whether taking these counts in keeps every total within 64 bits.
    pub(crate) fn counts_fit(&self, counts: &[Count]) -> bool {
        counts.iter().all(|count| {
            self.counters
                .get(&count.counter)
                .filter(|totals| totals.window == count.window)
                .and_then(|totals| totals.by_subject.get(&count.subject))
                .is_none_or(|total| total.checked_add(count.add).is_some())
        })
    }

    fn window_start(&self, window: Window, at: Timestamp) -> Timestamp {
        let zone = self.zone();
        match window {
            Window::Period => self.period.as_ref().map_or(Timestamp(0), |period| period.start),
            Window::Day => crate::period::window_start(&zone, at, Unit::Day),
            Window::Month => crate::period::window_start(&zone, at, Unit::Month),
            Window::Lifetime => Timestamp(0),
        }
    }
}
