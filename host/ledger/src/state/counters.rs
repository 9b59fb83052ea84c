//! The totals of counters, by what they count and by window, for as long as usage of that window may be reported.

use crate::{
    journal::Count,
    model::{
        amounts::Decimal,
        counter::{Counted, CounterKey, Window, WindowId, week_of},
        time::{Timestamp, Zone},
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// Totals by subject: an entity, an attribute's value, or empty for the customer.
type Subjects = BTreeMap<String, Counted>;

/// All totals of a customer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters(BTreeMap<CounterKey, BTreeMap<WindowId, Subjects>>);

/// Which windows usage may still be counted in.
pub(crate) struct Needed {
    /// When the oldest usage may have occurred.
    pub oldest: Timestamp,
    /// The first period that it may belong to: a customer's periods need not end.
    pub first_period: u32,
    /// The names of cycles that it may belong to; none to forget no cycle.
    pub cycles: Option<BTreeSet<WindowId>>,
}

/// Which part of a total a count changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Used,
    Held,
}

impl Counters {
    /// A total in the window `id`.
    #[must_use]
    pub fn value(&self, key: &CounterKey, id: WindowId, subject: &str) -> Counted {
        let Some(windows) = self.0.get(key) else { return Counted::default() };
        windows.range(key.window.span(id)).filter_map(|(_, subjects)| subjects.get(subject)).fold(
            Counted::default(),
            |sum, one| Counted {
                used: sum.used.saturating_add(one.used),
                held: sum.held.saturating_add(one.held),
            },
        )
    }

    /// What was used in one window that is still kept.
    pub(crate) fn used(&self, count: &Count) -> Decimal {
        let window = self.0.get(&count.counter).and_then(|windows| windows.get(&count.window_id));
        window.and_then(|subjects| subjects.get(&count.subject)).map_or(Decimal::ZERO, |total| total.used)
    }

    /// Adds a count. Where it begins a window, those are forgotten that are not `needed`.
    pub(crate) fn add(&mut self, count: &Count, part: Part, needed: &Needed) -> Result<(), String> {
        let known = self.0.get(&count.counter).is_some_and(|windows| windows.contains_key(&count.window_id));
        self.change(count, part, false)?;
        if !known && let Some(windows) = self.0.get_mut(&count.counter) {
            forget_windows(windows, needed.of(count.counter.window));
        }
        Ok(())
    }

    /// Takes a count back.
    pub(crate) fn take_back(&mut self, count: &Count, part: Part) -> Result<(), String> {
        self.change(count, part, true)
    }

    fn change(&mut self, count: &Count, part: Part, back: bool) -> Result<(), String> {
        let windows = match self.0.get_mut(&count.counter) {
            Some(windows) => windows,
            None => self.0.entry(count.counter.clone()).or_default(),
        };
        let subjects = windows.entry(count.window_id).or_default();
        let total = match subjects.get_mut(&count.subject) {
            Some(total) => total,
            None => subjects.entry(count.subject.clone()).or_default(),
        };
        let amount = match part {
            Part::Used => &mut total.used,
            Part::Held => &mut total.held,
        };
        let sum = if back { amount.checked_sub(count.add) } else { amount.checked_add(count.add) };
        *amount = sum.ok_or_else(|| format!("a counter overflows by {}", count.add))?;
        if *total == Counted::default() {
            subjects.remove(&count.subject);
            if subjects.is_empty() {
                windows.remove(&count.window_id);
            }
            if windows.is_empty() {
                self.0.remove(&count.counter);
            }
        }
        Ok(())
    }

    /// Whether adding these keeps every total in range.
    pub(crate) fn fits(&self, counts: &[Count]) -> bool {
        counts.iter().all(|count| {
            let Counted { used, held } = self.value(&count.counter, count.window_id, &count.subject);
            used.checked_add(held).and_then(|sum| sum.checked_add(count.add)).is_some()
        })
    }

    /// Forgets windows that are not needed.
    pub(crate) fn forget(&mut self, needed: &Needed) {
        self.0.retain(|key, windows| {
            forget_windows(windows, needed.of(key.window));
            !windows.is_empty()
        });
    }

    /// Whether there is a total in the window `id`.
    pub(crate) fn has(&self, key: &CounterKey, id: WindowId, subject: &str) -> bool {
        let subjects = self.0.get(key).and_then(|windows| windows.get(&id));
        subjects.is_some_and(|subjects| subjects.contains_key(subject))
    }

    /// How many totals there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All totals: what is counted, in which window, for whom.
    pub fn iter(&self) -> impl Iterator<Item = (&CounterKey, WindowId, &str, Counted)> {
        self.0.iter().flat_map(|(key, windows)| {
            windows.iter().flat_map(move |(id, subjects)| {
                subjects.iter().map(move |(subject, total)| (key, *id, subject.as_str(), *total))
            })
        })
    }
}

impl Needed {
    /// Whether a window of this kind is needed.
    pub(crate) fn of(&self, window: Window) -> impl Fn(WindowId) -> bool {
        let first = self.first(window);
        let cycles = self.cycles.as_ref().filter(|_| window == Window::Cycle);
        move |id| cycles.map_or(id >= first, |cycles| cycles.contains(&id))
    }

    /// The first window of this kind.
    fn first(&self, window: Window) -> WindowId {
        const DAY: i64 = 86_400 * Timestamp::SECOND;
        let oldest = self.oldest;
        // A day of slack, for zones.
        let day = oldest.0.saturating_sub(DAY).div_euclid(DAY);
        match window {
            Window::Period => i64::from(self.first_period),
            Window::Day => day,
            Window::Week => week_of(day),
            Window::Month => Zone::utc().month(Timestamp(oldest.0.saturating_sub(DAY))),
            Window::Hours(hours) => oldest.0.div_euclid(3600 * Timestamp::SECOND) - i64::from(hours),
            Window::Cycle | Window::Lifetime => WindowId::MIN,
        }
    }
}

fn forget_windows(windows: &mut BTreeMap<WindowId, Subjects>, is_needed: impl Fn(WindowId) -> bool) {
    // Held parts stay: their reservations will take them back.
    windows.retain(|id, subjects| is_needed(*id) || subjects.values().any(|total| !total.held.is_zero()));
}

/// One counter as it is saved: JSON objects have no structured keys.
#[derive(Serialize, Deserialize)]
struct Saved<K, W> {
    counter: K,
    windows: W,
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(counter, windows)| Saved { counter, windows }))
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved: Vec<Saved<CounterKey, BTreeMap<WindowId, Subjects>>> = Vec::deserialize(deserializer)?;
        Ok(Self(saved.into_iter().map(|Saved { counter, windows }| (counter, windows)).collect()))
    }
}
