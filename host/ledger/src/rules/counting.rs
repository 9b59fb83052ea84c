//! Counting: what a usage adds to counters, and the values that a policy is shown.

use crate::{
    journal::Count,
    model::{
        amounts::Credits,
        counter::{Counted, Counter, CounterKey, Scope, WindowId},
        ids::ReservationId,
        time::{Timestamp, Zone},
        usage::Usage,
    },
    state::CustomerState,
};

impl CustomerState {
    /// The values of `counters` in the windows that hold a usage's time, without what the reservation holds that it `commits`.
    #[must_use]
    pub fn counter_values(
        &self,
        counters: &[Counter],
        zone: Option<&Zone>,
        usage: &Usage,
        commits: Option<ReservationId>,
    ) -> Vec<Counted> {
        if counters.is_empty() {
            return Vec::new();
        }
        let at = self.time_of(usage);
        let within = self.within(at);
        let local = zone.cloned().unwrap_or_else(|| self.zone_at(at));
        let value = |counter: &Counter| {
            let subject = counter.subject(usage)?;
            let key = counter.key(zone);
            let held = self.held_window(commits, &key, subject);
            let id = held.unwrap_or_else(|| counter.window.id(at, within, &local));
            let span = counter.window.span(id);
            let own = commits.and_then(|id| self.reservations.get(&id)).into_iter();
            let own = own.flat_map(|reservation| &reservation.counts).filter(|count| {
                count.counter == key && count.subject == subject && span.contains(&count.window_id)
            });
            let mut value = self.counters.value(&key, id, subject);
            value.held = own.fold(value.held, |held, count| held.saturating_sub(count.add));
            Some(value)
        };
        counters.iter().map(|counter| value(counter).unwrap_or_default()).collect()
    }

    /// The window in which a reservation holds, wherever its zone or its period have moved since.
    fn held_window(
        &self,
        reservation: Option<ReservationId>,
        key: &CounterKey,
        subject: &str,
    ) -> Option<WindowId> {
        let counts = &self.reservations.get(&reservation?)?.counts;
        let held = counts.iter().find(|count| count.counter == *key && count.subject == subject);
        held.map(|count| count.window_id)
    }

    /// The customer's own values of `counters` in the windows that hold `at` in the period of that number, and in its cycle: for
    /// the end and the beginning of periods. Those of entities and attributes are zero.
    #[must_use]
    pub fn customer_counter_values(
        &self,
        counters: &[Counter],
        zone: Option<&Zone>,
        period: u32,
        at: Timestamp,
    ) -> Vec<Counted> {
        let local = zone.cloned().unwrap_or_else(|| self.zone_at(at));
        let within = self.within_period(period);
        let value = |counter: &Counter| match counter.scope {
            Scope::Customer => {
                self.counters.value(&counter.key(zone), counter.window.id(at, within, &local), "")
            }
            Scope::Entity | Scope::Attribute(_) => Counted::default(),
        };
        counters.iter().map(value).collect()
    }

    /// What a usage of this cost adds to `counters`, in the windows of the time when it occurred; one that `commits` a
    /// reservation in the windows of that.
    pub(crate) fn counts(
        &self,
        counters: &[(Counter, Option<Zone>)],
        usage: &Usage,
        cost: Credits,
        commits: Option<ReservationId>,
    ) -> Vec<Count> {
        if counters.is_empty() {
            return Vec::new();
        }
        let at = self.time_of(usage);
        let within = self.within(at);
        let mut counts: Vec<Count> = Vec::with_capacity(counters.len());
        for (counter, zone) in counters {
            if !counter.counts(&usage.feature) {
                continue;
            }
            let add = counter.amount(usage, cost.decimal());
            let (Some(subject), false) = (counter.subject(usage), add.is_zero()) else { continue };
            let key = counter.key(zone.as_ref());
            // Terms and shadows that count the same share one total.
            if counts.iter().any(|count| count.counter == key) {
                continue;
            }
            let local = zone.clone().unwrap_or_else(|| self.zone_at(at));
            let held = self.held_window(commits, &key, subject);
            let window_id = held.unwrap_or_else(|| counter.window.id(at, within, &local));
            counts.push(Count { counter: key, subject: subject.to_owned(), window_id, add });
        }
        counts
    }
}
