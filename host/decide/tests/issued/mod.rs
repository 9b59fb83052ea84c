//! Follows credits from where they were issued to where they expire, by transfers alone.

use proviso_ledger::{
    journal::{Cycle, CyclePart, Entry, Event, OpenReason, PeriodOpened},
    model::{amounts::Credits, answers::SettleMethod, ids::GrantId, time::Timestamp, transfer::Book},
};
use std::collections::BTreeMap;

/// What a cycle's allowances come to, all told.
#[derive(Default)]
struct OfCycle {
    /// What was issued and has not expired.
    net: i128,
    /// The largest allowance that a period of the cycle brought.
    largest: i128,
}

struct Opening {
    start: Timestamp,
    /// Its allowances.
    whole: i128,
    /// How long they are for, at the least; none where its cycle never ends.
    length: Option<i64>,
}

impl Opening {
    /// What comes of its allowances in the time of a cycle, if that is all spent on its plan: by the longer of the two cycles.
    fn in_time_of(&self, cycle: &Cycle) -> i128 {
        let Some(length) = self.length else { return 0 };
        let part = |one: CyclePart| {
            self.whole * i128::from(one.until.0 - one.from.0) / i128::from(one.length.max(length))
        };
        cycle.parts().map(part).sum()
    }
}

#[derive(Default)]
pub struct Issued {
    cycles: Vec<(Cycle, OfCycle)>,
    /// How many of them are older than the last reset on request, which begins anew.
    closed: usize,
    /// The cycle whose allowance a grant is, or carries on.
    of: BTreeMap<GrantId, usize>,
    /// The allowances of the last period that began.
    whole: i128,
    /// The periods that began since the last reset on request.
    openings: Vec<Opening>,
}

impl Issued {
    /// Takes an entry in, and checks that what it issues may be issued. It matters whether a period begins with allowances in
    /// proportion.
    pub fn take(&mut self, entry: &Entry, in_proportion: bool) {
        if let Event::PeriodOpened(opened) = &entry.event {
            self.open(opened, in_proportion);
        }
        let mut settled = Credits::ZERO;
        for transfer in &entry.transfers {
            match (transfer.from, transfer.to) {
                (Book::Issued, Book::Grant(id)) => {
                    let may = match &entry.event {
                        Event::Granted(grant) => grant.id == id && grant.amount == transfer.amount,
                        Event::Adjusted(adjusted) => {
                            adjusted.grant.as_ref().is_some_and(|grant| grant.amount == transfer.amount)
                        }
                        Event::Charged(charged) => {
                            charged.top_up.as_ref().is_some_and(|grant| grant.id == id)
                        }
                        Event::Reserved(reserved) => {
                            reserved.top_up.as_ref().is_some_and(|grant| grant.id == id)
                        }
                        Event::Committed(committed) => {
                            committed.top_up.as_ref().is_some_and(|grant| grant.id == id)
                        }
                        Event::PeriodOpened(opened) => opened.grants.iter().any(|grant| grant.id == id),
                        _ => false,
                    };
                    assert!(may, "{transfer:?} of {entry:?}");
                    self.add(id, transfer.amount.units());
                }
                (Book::Issued, Book::Overage) => settled = settled.saturating_add(transfer.amount),
                (Book::Issued, _) => panic!("{transfer:?} of {entry:?}"),
                (Book::Grant(id), Book::Expired) => self.add(id, -transfer.amount.units()),
                (Book::Expired, Book::Grant(id)) => self.add(id, transfer.amount.units()),
                (Book::Grant(from), Book::Grant(to)) => {
                    if let Some(cycle) = self.of.get(&from).copied() {
                        self.of.entry(to).or_insert(cycle);
                    }
                    // What comes back may go on to an allowance of another cycle.
                    self.add(from, -transfer.amount.units());
                    self.add(to, transfer.amount.units());
                }
                _ => {}
            }
        }
        if let Event::Refunded(refunded) = &entry.event {
            // What had expired before late usage drew it expires again.
            for draw in &refunded.expired_again {
                self.add(draw.grant, -draw.amount.units());
            }
        }
        if let Event::PeriodClosed(closed) = &entry.event {
            for rolled in &closed.rolled {
                if let Some(cycle) = self.of.get(&rolled.from) {
                    self.of.insert(rolled.to, *cycle);
                }
            }
        }
        check_settled(entry, settled);
        for (cycle, OfCycle { net, largest }) in &self.cycles {
            let units = |units: &i128| Credits::from_units(*units);
            assert!(
                net <= largest,
                "the cycle {}..{:?} gives {} of {} after entry {}",
                cycle.start,
                cycle.end,
                units(net),
                units(largest),
                entry.seq
            );
        }
    }

    fn open(&mut self, opened: &PeriodOpened, in_proportion: bool) {
        let whole: i128 = opened.whole.iter().map(|given| given.amount.units()).sum();
        // One that is made good adds to what the plan itself gave.
        self.whole = if opened.retried { self.whole + whole } else { whole };
        if opened.reason == OpenReason::Early && !opened.retried {
            self.closed = self.cycles.len();
            self.openings.clear();
        }
        let known = self.cycles.iter().rposition(|(cycle, _)| {
            cycle.start == opened.cycle.start && cycle.interval == opened.cycle.interval
        });
        let place = match known.filter(|place| *place >= self.closed) {
            Some(place) => place,
            None => {
                self.cycles.push((opened.cycle.clone(), OfCycle::default()));
                self.cycles.len() - 1
            }
        };
        let length = opened.cycle.parts().map(|one| one.length).min();
        self.openings.push(Opening { start: opened.period.start, whole: self.whole, length });
        let (known, cycle) = &mut self.cycles[place];
        // A boundary may have extended it since.
        known.clone_from(&opened.cycle);
        let all = match opened.cycle.parts.as_slice() {
            [] => self.whole,
            parts => parts
                .iter()
                .map(|one| self.whole * i128::from(one.until.0 - one.from.0) / i128::from(one.length))
                .sum(),
        };
        cycle.largest = cycle.largest.max(all);
        // In proportion, each period counts by its time, whatever its plan's interval: at best, all the time goes by on the best plan.
        if in_proportion {
            let others = self.openings.iter().filter(|other| other.start >= opened.cycle.start);
            cycle.largest =
                others.map(|other| other.in_time_of(&opened.cycle)).fold(cycle.largest, i128::max);
        }
        for grant in opened.grants.iter().filter(|grant| !opened.extras.contains(&grant.id)) {
            self.of.insert(grant.id, place);
        }
    }

    fn add(&mut self, id: GrantId, amount: i128) {
        if let Some(place) = self.of.get(&id) {
            self.cycles[*place].1.net += amount;
        }
    }
}

/// What is taken off overage without credits was invoiced or waived.
fn check_settled(entry: &Entry, settled: Credits) {
    let (list, fees) = match &entry.event {
        Event::PeriodClosed(closed) => (closed.settled.as_slice(), closed.fees.as_slice()),
        Event::PeriodOpened(opened) => (opened.settled.as_slice(), [].as_slice()),
        Event::OverageSettled(settled) => (settled.settled.as_slice(), [].as_slice()),
        _ => (&[] as &[_], &[] as &[_]),
    };
    let of_settlements = list.iter().filter(|one| one.method != SettleMethod::Deduct).map(|one| one.amount);
    let invoiced =
        fees.iter().filter(|fee| fee.method == proviso_ledger::model::answers::FeeMethod::Invoiced);
    let sum = Credits::checked_sum(of_settlements.chain(invoiced.map(|fee| fee.amount))).unwrap();
    assert_eq!(settled, sum, "{entry:?}");
}
