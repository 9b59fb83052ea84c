//! Usage in the model: its price, what it draws, what it holds, and where it counts.

use super::{LATE, Model, Reservation, plain};
use crate::{
    answer::{Answer, CounterAt, Id, Status},
    calendar,
    commands::UsageSpec,
    settings::{Amount, ONE, OverageRule, SECOND, Settings, SettleFrom, Whose},
};
use std::{collections::BTreeMap, rc::Rc};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Purpose {
    Charge,
    Reserve,
    Commit(Id),
    /// What was done, with no reservation of its own.
    Done,
}

/// What funds a cost.
#[derive(Debug, Clone, Default)]
pub struct Funding {
    pub draws: Vec<(Id, Amount)>,
    pub overage: Amount,
    pub exceeded: Amount,
    /// What is drawn from a grant issued on the spot, and its amount.
    pub top_up: Option<(Amount, Amount)>,
}

enum Overage {
    Refuse(&'static str),
    Allow(Amount),
    TopUp(Amount),
    Reduce(Amount),
}

impl Model {
    /// The period that holds an instant, and whether it has ended. Of an instant between two, the later; before the first, the
    /// first.
    pub fn period_at(&self, at: i64) -> Option<(u32, bool)> {
        if let Some(period) = self.period.as_ref().filter(|period| period.start <= at) {
            return Some((period.number, false));
        }
        let past = self.past.iter().find(|past| past.end.is_some_and(|end| at < end));
        match past {
            Some(past) => Some((past.number, true)),
            None => self.period.as_ref().map(|period| (period.number, false)),
        }
    }

    /// The period and the cycle in whose windows usage of an instant counts: where none ran since, those of the last.
    pub fn within(&self, at: i64) -> (u32, i64) {
        let number = self.period_at(at).map_or(self.periods, |(number, _)| number);
        let of_number = self.past.iter().chain(&self.period).find(|period| period.number == number);
        (number, of_number.map_or(0, |period| period.counts_from))
    }

    fn plan_at(&self, at: i64) -> Option<&'static str> {
        self.plan_history.iter().rev().find(|(from, _)| *from <= at).and_then(|(_, plan)| *plan)
    }

    /// When the usage counts as having occurred, or why it is refused.
    pub fn time_of(&self, spec: &UsageSpec) -> Result<i64, Answer> {
        let at = spec.ago.map_or(self.now, |ago| self.now - ago);
        if at > self.now + 300 * SECOND {
            return Err(plain("error:occurred_in_future"));
        }
        if at < self.now - LATE {
            return Err(plain("error:occurred_too_old"));
        }
        // Before the customer existed counts as the first instant.
        Ok(at.max(self.created))
    }

    /// The terms of the time of a usage, else those of now.
    pub fn terms_for(&self, at: i64) -> Option<Rc<Settings>> {
        let then = at.min(self.now);
        self.terms_at(self.plan_at(then), then).or_else(|| self.terms_at(self.plan(), self.now))
    }

    /// What may be drawn at `now` by a usage of `at`, and in which order: grants that were live then, with what expired of
    /// them; then those of now.
    fn drawable(&self, credit: &str, feature: Option<&str>, at: i64, barred: &[Id]) -> Vec<(Id, Amount)> {
        // What is reported ahead of the clock draws what may be drawn now.
        let at = at.min(self.now);
        let fits = |grant: &super::Grant| {
            grant.credit == credit
                && !grant.forgotten
                && !barred.contains(&grant.id)
                && (grant.features.is_empty()
                    || feature.is_some_and(|feature| grant.features.iter().any(|one| one == feature)))
        };
        let was_live = |grant: &super::Grant| {
            grant.usable_since <= at
                && grant.status != Status::Voided
                && grant.ended_at.is_none_or(|end| at < end)
        };
        let then = self.in_order(|grant| fits(grant) && was_live(grant));
        let since = self.in_order(|grant| {
            fits(grant)
                && !was_live(grant)
                && at < self.now
                && grant.status == Status::Live
                && grant.effective <= self.now
        });
        // All that expired in one cycle is drawn up to what its largest allowance has not given.
        let mut taken: BTreeMap<String, Amount> = BTreeMap::new();
        let mut left = |id: Id| {
            let grant = self.grant(id);
            if grant.status == Status::Live {
                return grant.remaining;
            }
            let Some((cycle, most)) = self.not_given(grant) else { return grant.expired };
            let taken = taken.entry(cycle).or_default();
            let part = grant.expired.min(most - *taken);
            *taken += part;
            part
        };
        then.into_iter().chain(since).map(|id| (id, left(id))).filter(|(_, left)| *left > 0).collect()
    }

    /// The draws of a cost and what they leave.
    pub fn plan_draws(
        &self,
        credit: &str,
        feature: Option<&str>,
        at: i64,
        cost: Amount,
        barred: &[Id],
        newest_first: bool,
    ) -> (Vec<(Id, Amount)>, Amount) {
        let mut drawable = self.drawable(credit, feature, at, barred);
        if newest_first {
            drawable.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        }
        let mut left = cost;
        let mut draws = Vec::new();
        for (id, most) in drawable {
            let part = most.min(left);
            if part > 0 {
                draws.push((id, part));
                left -= part;
            }
        }
        (draws, left)
    }

    /// The windows of a usage in the counters of these settings.
    pub fn windows(&self, settings: &Settings, spec: &UsageSpec, at: i64) -> Vec<CounterAt> {
        let within = self.within(at);
        let mut windows: Vec<CounterAt> = Vec::new();
        for counter in settings.all_counters() {
            let subject = match counter.whose {
                Whose::Customer => Some(""),
                Whose::Entity => spec.entity,
                Whose::Model => spec.model,
            };
            let (true, Some(subject)) = (counter.counts(spec.feature), subject) else { continue };
            let window = calendar::window(counter.window, at, within, &self.zone_at(at));
            let at = (counter, window, subject.to_owned());
            if !windows.contains(&at) {
                windows.push(at);
            }
        }
        windows
    }

    /// What a counter shows in a window: used and held.
    fn counted(&self, (spec, window, subject): &CounterAt) -> Amount {
        let first = match spec.window {
            crate::settings::Window::Hours(hours) => window - i64::from(hours) + 1,
            _ => *window,
        };
        (first..=*window)
            .filter_map(|window| self.counters.get(&(spec.clone(), window, subject.clone())))
            .map(|(used, held)| used + held)
            .sum()
    }

    /// The price of a usage and its credit type, or the code of the refusal and whether it is invalid.
    fn rate(
        &self,
        settings: &Settings,
        spec: &UsageSpec,
        units: Amount,
        windows: &[CounterAt],
        purpose: Purpose,
    ) -> Result<(Amount, &'static str), (&'static str, bool)> {
        let Some(price) = settings.price_of(spec.feature) else { return Err(("unpriced", true)) };
        // Before this usage is counted: without what its own reservation holds.
        let own = |at: &CounterAt| match purpose {
            Purpose::Commit(id) => {
                let counts = &self.reservations[&id].counts;
                counts.iter().filter(|(other, _)| same_window(at, other)).map(|(_, held)| *held).sum()
            }
            _ => 0,
        };
        if let Some(cap) = &settings.cap
            && (!matches!(purpose, Purpose::Commit(_) | Purpose::Done) || cap.commits)
        {
            let at = windows.iter().find(|(counter, _, _)| {
                !counter.cost
                    && counter.whose == cap.whose
                    && counter.window == cap.window
                    && counter.features == cap.features
            });
            if let Some(at) = at
                && self.counted(at) - own(at) + units > cap.limit
            {
                return Err(("cap_reached", false));
            }
        }
        let times = |price: Amount, units: Amount| (price * units + ONE - 1) / ONE;
        let mut cost = times(price.price, units);
        if let Some(tier) = settings.tier.as_ref().filter(|tier| tier.feature == spec.feature) {
            let at = windows
                .iter()
                .find(|(counter, _, _)| {
                    !counter.cost
                        && counter.whose == Whose::Customer
                        && counter.window == tier.window
                        && counter.features == [tier.feature]
                })
                .unwrap();
            let cheap = (tier.above - (self.counted(at) - own(at))).clamp(0, units);
            cost = times(price.price, cheap) + times(tier.price, units - cheap);
        }
        Ok((cost, price.credit))
    }

    fn beyond(
        &self,
        settings: &Settings,
        feature: &str,
        purpose: Purpose,
        cost: Amount,
        shortfall: Amount,
    ) -> Overage {
        match settings.overage {
            OverageRule::Block => Overage::Refuse("blocked"),
            OverageRule::Allow(limit) => Overage::Allow(limit),
            OverageRule::TopUp { block, .. } => Overage::TopUp((shortfall + block - 1) / block * block),
            OverageRule::Purchase => Overage::Refuse("purchase_required"),
            OverageRule::Reduce => {
                let price = settings.price_of(feature).map_or(0, |price| price.price);
                let units = (cost - shortfall) * ONE / price;
                if purpose == Purpose::Reserve && units > 0 {
                    Overage::Reduce(units)
                } else {
                    Overage::Refuse("blocked")
                }
            }
        }
    }

    fn top_up(&mut self, settings: &Settings, credit: &str, drawn: Amount, amount: Amount, held: bool) -> Id {
        let OverageRule::TopUp { priority, lasts, with_period, paid, .. } = settings.overage else {
            unreachable!("a top-up without its rule")
        };
        let rest = amount - drawn;
        let settles = if settings.settle_from == SettleFrom::Purchases {
            rest.min(self.outstanding(credit))
        } else {
            0
        };
        let mut grant = self.new_grant(0, credit, amount, "top_up", priority);
        grant.expires_at = lasts.map(|lasts| self.now + lasts);
        self.end_with(&mut grant, with_period);
        grant.paid = paid.then_some(10 * ONE);
        grant.remaining = rest - settles;
        grant.spent = settles;
        if held {
            grant.held = drawn;
        } else {
            grant.spent += drawn;
        }
        let id = grant.id;
        self.grants.push(grant);
        let book = self.book(credit);
        book.issued += amount;
        book.overage -= settles;
        id
    }

    /// The draws that come from grants that have expired.
    pub fn expired_of(&self, funding: &Funding) -> Vec<(Id, Amount)> {
        let draws = funding.draws.iter().copied();
        draws.filter(|(id, _)| self.grant(*id).status == Status::Expired).collect()
    }

    /// Moves what funds a cost out of its grants, to be spent or held. Returns the draws with the top-up's.
    pub fn carry_out(
        &mut self,
        settings: &Settings,
        credit: &str,
        funding: &Funding,
        held: bool,
    ) -> Vec<(Id, Amount)> {
        let mut draws = funding.draws.clone();
        for (id, part) in &funding.draws {
            let grant = self.grant_mut(*id);
            let was_expired = grant.status == Status::Expired;
            if was_expired {
                grant.expired -= part;
                grant.lost -= part;
            } else {
                grant.remaining -= part;
            }
            if held {
                grant.held += part;
            } else {
                grant.spent += part;
            }
            if was_expired {
                self.book(credit).expired -= part;
            }
        }
        if let Some((drawn, amount)) = funding.top_up {
            draws.push((self.top_up(settings, credit, drawn, amount, held), drawn));
        }
        self.add_to_book(credit, 0, funding.overage);
        draws
    }

    pub fn refuse(
        &mut self,
        code: &str,
        late: Option<u32>,
        cost: Option<Amount>,
        available: Option<Amount>,
    ) -> Answer {
        self.entries += 1;
        Answer { what: format!("refused:{code}"), cost, late, available, ..Answer::default() }
    }

    pub fn late(&self, at: i64) -> Option<u32> {
        self.period_at(at).filter(|(_, ended)| *ended).map(|(number, _)| number)
    }

    /// Decides a new usage: what funds it, or the answer that refuses it.
    fn decide(
        &mut self,
        settings: &Settings,
        spec: &UsageSpec,
        units: Amount,
        at: i64,
        purpose: Purpose,
    ) -> Result<(Amount, Amount, &'static str, Funding), Answer> {
        let late = self.late(at);
        let windows = self.windows(settings, spec, at);
        let (cost, credit) = match self.rate(settings, spec, units, &windows, purpose) {
            Ok(rated) => rated,
            Err((code, _)) => return Err(self.refuse(code, late, None, None)),
        };
        let feature = Some(spec.feature);
        let (draws, shortfall) = self.plan_draws(credit, feature, at, cost, &[], settings.newest_first);
        let available: Amount = self.drawable(credit, feature, at, &[]).iter().map(|(_, left)| left).sum();
        let above = self.above(spec.entity);
        let counts = self.budget_counts(spec, &above, (credit, cost, units), at, None);
        let mut funding = Funding { draws, ..Funding::default() };
        if shortfall == 0 && self.is_over_budget(&counts) {
            return Err(self.refuse("budget_exceeded", late, Some(cost), Some(available)));
        }
        if shortfall > 0 {
            let drawn = self.books.get(credit).map_or(0, |books| books.overage);
            let code = match self.beyond(settings, spec.feature, purpose, cost, shortfall) {
                Overage::Allow(limit) if drawn + shortfall <= limit => {
                    funding.overage = shortfall;
                    None
                }
                Overage::Allow(_) => Some("insufficient_credits"),
                Overage::TopUp(amount) => {
                    funding.top_up = Some((shortfall, amount));
                    None
                }
                Overage::Reduce(less) => return self.decide(settings, spec, less, at, purpose),
                Overage::Refuse(code) => Some(code),
            };
            if self.is_over_budget(&counts) {
                return Err(self.refuse("budget_exceeded", late, Some(cost), Some(available)));
            }
            if let Some(code) = code {
                let available = cost - shortfall;
                if late.is_none() {
                    self.ask_for(credit, cost, available);
                }
                return Err(self.refuse(code, late, Some(cost), Some(available)));
            }
        }
        Ok((units, cost, credit, funding))
    }

    pub fn charge(&mut self, spec: &UsageSpec) -> Answer {
        let at = match self.time_of(spec) {
            Ok(at) => at,
            Err(error) => return error,
        };
        if self.closed {
            return plain("error:closed");
        }
        let Some(settings) = self.terms_for(at) else { return plain("error:no_terms_in_force") };
        let late = self.late(at);
        let (_, cost, credit, funding) = match self.decide(&settings, spec, spec.units, at, Purpose::Charge) {
            Ok(decided) => decided,
            Err(answer) => return answer,
        };
        for (counter, window, subject) in self.windows(&settings, spec, at) {
            let add = if counter.cost { cost } else { spec.units };
            self.counters.entry((counter, window, subject)).or_default().0 += add;
        }
        let above = self.above(spec.entity);
        let budgets = self.budget_counts(spec, &above, (credit, cost, spec.units), at, None);
        self.use_budgets(&budgets);
        let expired = self.expired_of(&funding);
        let draws = self.carry_out(&settings, credit, &funding, false);
        self.add_to_book(credit, cost, 0);
        self.entries += 1;
        let charge = super::Charge {
            at,
            credit: credit.to_owned(),
            cost,
            units: spec.units,
            draws: draws.clone(),
            expired,
            overage: funding.overage,
            windows: self.windows(&settings, spec, at),
            budgets,
            refunds: 0,
            refunded: 0,
            refunded_units: 0,
        };
        self.charges.insert((self.entries, 0), charge);
        Answer {
            what: "charged".to_owned(),
            cost: Some(cost),
            overage: funding.overage,
            draws: draws.into_iter().collect(),
            top_up: funding.top_up.map(|(_, amount)| amount),
            late,
            ..Answer::default()
        }
    }

    pub fn reserve(&mut self, spec: &UsageSpec, ttl: u32) -> Answer {
        let at = match self.time_of(spec) {
            Ok(at) => at,
            Err(error) => return error,
        };
        if self.closed {
            return plain("error:closed");
        }
        let Some(settings) = self.terms_for(at) else { return plain("error:no_terms_in_force") };
        let late = self.late(at);
        let (units, cost, credit, funding) =
            match self.decide(&settings, spec, spec.units, at, Purpose::Reserve) {
                Ok(decided) => decided,
                Err(answer) => return answer,
            };
        let mut counts = Vec::new();
        for window in self.windows(&settings, spec, at) {
            let add = if window.0.cost { cost } else { units };
            self.counters.entry(window.clone()).or_default().1 += add;
            counts.push((window, add));
        }
        let above = self.above(spec.entity);
        let budgets = self.budget_counts(spec, &above, (credit, cost, units), at, None);
        self.hold_budgets(&budgets);
        let expired = self.expired_of(&funding);
        let holds = self.carry_out(&settings, credit, &funding, true);
        self.entries += 1;
        let reservation = Reservation {
            spec: spec.clone(),
            units,
            at,
            credit: credit.to_owned(),
            settings: Some(settings),
            lease: None,
            holds: holds.clone(),
            expired,
            overage: funding.overage,
            counts,
            above,
            budgets,
            since: self.now,
            expires_at: self.now + i64::from(ttl) * SECOND,
        };
        self.reservations.insert((self.entries, 0), reservation);
        Answer {
            what: if units == spec.units { "reserved" } else { "reduced" }.to_owned(),
            cost: Some(cost),
            overage: funding.overage,
            draws: holds.into_iter().collect(),
            top_up: funding.top_up.map(|(_, amount)| amount),
            late,
            ..Answer::default()
        }
    }

    /// Bills what was used: the hold first, then what is available, the rest as overage.
    pub fn commit(&mut self, id: Id, units: Amount) -> Answer {
        let reservation = self.reservations[&id].clone();
        let Reservation { spec, at, credit, .. } = &reservation;
        let settings = reservation.settings.as_ref().unwrap();
        let late = self.late(*at);
        let windows: Vec<CounterAt> = reservation.counts.iter().map(|(window, _)| window.clone()).collect();
        let held: Amount = reservation.holds.iter().map(|hold| hold.1).sum::<Amount>() + reservation.overage;
        let cost = match self.rate(settings, spec, units, &windows, Purpose::Commit(id)) {
            Ok((cost, _)) => cost,
            // What was done is billed, whatever the terms say of it.
            Err(_) => held,
        };
        let above = (cost - held).max(0);
        let feature = Some(spec.feature);
        let (draws, shortfall) = self.plan_draws(credit, feature, *at, above, &[], settings.newest_first);
        let mut funding = Funding { draws, ..Funding::default() };
        if shortfall > 0 {
            self.fund_done(settings, spec.feature, credit, cost, shortfall, &mut funding);
        }
        // Out of the hold, in the order in which it was drawn, what is held beyond all grants last.
        let mut left = cost.min(held);
        let mut taken: Vec<(Id, Amount)> = Vec::new();
        let mut back: Vec<(Id, Amount)> = Vec::new();
        for (grant, hold) in &reservation.holds {
            let part = left.min(*hold);
            left -= part;
            if part > 0 {
                taken.push((*grant, part));
            }
            back.push((*grant, hold - part));
        }
        let overage_back = reservation.overage - left;
        let rated = (credit.as_str(), cost, units);
        let held_budgets = Some((id.0, reservation.budgets.as_slice()));
        let budgets = self.budget_counts(spec, &reservation.above, rated, *at, held_budgets);
        self.reservations.remove(&id);
        self.free_budgets(id, &reservation.budgets);
        self.use_budgets(&budgets);
        for (window, held) in &reservation.counts {
            self.counters.get_mut(window).unwrap().1 -= held;
            let add = if window.0.cost { cost } else { units };
            self.counters.get_mut(window).unwrap().0 += add;
        }
        for (grant, part) in &taken {
            let grant = self.grant_mut(*grant);
            grant.held -= part;
            grant.spent += part;
        }
        let mut returned = overage_back;
        for (grant, part) in back {
            self.grant_mut(grant).held -= part;
            self.give_back_held(grant, part, reservation.had_expired(grant));
            returned += part;
        }
        self.add_to_book(credit, 0, -overage_back);
        let mut expired = reservation.expired.clone();
        expired.extend(self.expired_of(&funding));
        let drawn = self.carry_out(settings, credit, &funding, false);
        self.add_to_book(credit, cost, 0);
        self.entries += 1;
        let mut answer = Answer {
            what: "committed".to_owned(),
            cost: Some(cost),
            overage: funding.overage,
            exceeded: funding.exceeded,
            returned,
            top_up: funding.top_up.map(|(_, amount)| amount),
            late,
            ..Answer::default()
        };
        let mut draws: Vec<(Id, Amount)> = Vec::new();
        for (grant, part) in taken.into_iter().chain(drawn) {
            *answer.draws.entry(grant).or_default() += part;
            match draws.iter_mut().find(|draw| draw.0 == grant) {
                Some(draw) => draw.1 += part,
                None => draws.push((grant, part)),
            }
        }
        let charge = super::Charge {
            at: *at,
            credit: credit.clone(),
            cost,
            units,
            draws,
            expired,
            overage: left + funding.overage,
            windows,
            budgets,
            refunds: 0,
            refunded: 0,
            refunded_units: 0,
        };
        self.charges.insert((self.entries, 0), charge);
        if self.closed {
            self.settle_after_closing();
        }
        answer
    }

    /// Funds what is missing for usage that was done: as the terms allow, else as overage that exceeds them.
    pub fn fund_done(
        &self,
        settings: &Settings,
        feature: &str,
        credit: &str,
        cost: Amount,
        shortfall: Amount,
        funding: &mut Funding,
    ) {
        let drawn = self.books.get(credit).map_or(0, |books| books.overage);
        match self.beyond(settings, feature, Purpose::Done, cost, shortfall) {
            Overage::TopUp(amount) => funding.top_up = Some((shortfall, amount)),
            Overage::Allow(limit) => {
                funding.overage = shortfall;
                funding.exceeded = (drawn + shortfall - limit).clamp(0, shortfall);
            }
            Overage::Refuse(_) | Overage::Reduce(_) => {
                funding.overage = shortfall;
                funding.exceeded = shortfall;
            }
        }
    }

    /// The price of usage that was done without a reservation of its own.
    pub fn rate_done(
        &self,
        settings: &Settings,
        spec: &UsageSpec,
        windows: &[CounterAt],
    ) -> Result<(Amount, &'static str), &'static str> {
        self.rate(settings, spec, spec.units, windows, Purpose::Done).map_err(|(code, _)| code)
    }

    /// Gives a reservation back.
    pub fn end_reservation(&mut self, id: Id) {
        let reservation = self.reservations.remove(&id).unwrap();
        for (window, held) in &reservation.counts {
            self.counters.get_mut(window).unwrap().1 -= held;
        }
        self.free_budgets(id, &reservation.budgets);
        for (grant, part) in &reservation.holds {
            self.grant_mut(*grant).held -= part;
            self.give_back_held(*grant, *part, reservation.had_expired(*grant));
        }
        self.add_to_book(&reservation.credit, 0, -reservation.overage);
        self.entries += 1;
    }
}

impl Reservation {
    fn had_expired(&self, grant: Id) -> bool {
        self.expired.iter().any(|(expired, _)| *expired == grant)
    }
}

/// Whether a held count lies in the window that is shown, rolling hours included.
fn same_window(shown: &CounterAt, held: &CounterAt) -> bool {
    let hours = match shown.0.window {
        crate::settings::Window::Hours(hours) => i64::from(hours),
        _ => 1,
    };
    shown.0 == held.0 && shown.2 == held.2 && (0..hours).contains(&(shown.1 - held.1))
}
