//! Plays one customer: grants, usage and purchases as commands on a state in memory, decided as on a server, and all that is written counted.

use super::{
    costs::Costs,
    stream::{Customer, Source, Time, months_after},
    tally::{self, Cell, RunOut, Tally},
    workload::{Buys, SegmentGrant},
};
use crate::{
    error::Error,
    verbs::policy::test::{Subject, format::PLAN, play::Catalog},
};
use proviso_decide::{
    Decider, Journal, Stop,
    command::{Change, Command, CustomerChange, Reply, Request, UsageRequest},
    policy::Lookup,
};
use proviso_ledger::{
    journal::{Entry, Event, Refused},
    model::{
        amounts::{Credits, Currency, Decimal, Money, Rounding},
        answers::{FeeMethod, SettleMethod},
        grant::{Category, CreditType, Grant, default_credit},
        ids::{Digest, GrantId},
        time::{Timestamp, Zone},
        transfer::Book,
        view::Expiry,
    },
    rules::grants::GrantRequest,
    state::{CustomerState, LATE_WINDOW, Origin},
};
use std::collections::{BTreeMap, HashMap};

/// What all customers share.
pub struct World {
    pub subject: Subject,
    pub plans: Catalog,
    pub sources: Vec<Source>,
    pub costs: Costs,
    pub currency: Currency,
    /// What a credit is invoiced at.
    pub credit_price: Decimal,
    pub time: Time,
    /// Where each calendar month (UTC) after the first begins.
    pub boundaries: Vec<Timestamp>,
}

impl World {
    /// The number of the month of a time, from 0; that of the last for what the end brings.
    pub fn month(&self, at: Timestamp) -> usize {
        self.boundaries.partition_point(|begins| *begins <= at)
    }
}

/// A customer in the making.
struct Player<'a> {
    world: &'a World,
    source: &'a Source,
    segment: usize,
    state: CustomerState,
    joined: Timestamp,
    months: Vec<Cell>,
    /// The credit type of each grant.
    grants: HashMap<GrantId, CreditType>,
    first_run_out: Option<Timestamp>,
    /// Grants to come, with the time of the next and how many there were.
    due: Vec<(Timestamp, u16, &'a SegmentGrant)>,
    /// Purchases in the month of this number.
    bought: (usize, u32),
    /// The most that is owed in each month.
    peaks: Vec<Credits>,
    had_usage: Vec<bool>,
    ran_out: Vec<Option<u8>>,
    declined: BTreeMap<String, u64>,
}

/// Plays a customer of a segment and adds what came of it.
pub fn play(world: &World, segment: usize, number: u32, tally: &mut Tally) -> Result<(), Error> {
    let Some(source) = world.sources.get(segment) else { return Ok(()) };
    let name = format!("{}-{}", source.segment.name, u64::from(number) + 1);
    let key = name.parse().map_err(|error| {
        Error::Instrument(format!(
            "segment {:?}: its name can't be part of a customer's: {error}",
            source.segment.name
        ))
    })?;
    let customer = Customer::new(source, number, world.time);
    let joined = customer.joined;
    if joined >= world.time.end {
        return Ok(());
    }
    let months = world.boundaries.len() + 1;
    let mut player = Player {
        world,
        source,
        segment,
        state: CustomerState::new(key),
        joined,
        months: vec![Cell::default(); months],
        grants: HashMap::new(),
        first_run_out: None,
        due: source.segment.grants.iter().map(|grant| (joined, 0, grant)).collect(),
        bought: (0, 0),
        peaks: vec![Credits::ZERO; months],
        had_usage: vec![false; months],
        ran_out: vec![None; months],
        declined: BTreeMap::new(),
    };
    player.configure(joined)?;
    customer.each(|at, usage| player.usage(at, usage))?;
    player.finish(tally, name)
}

impl Player<'_> {
    fn configure(&mut self, at: Timestamp) -> Result<(), Error> {
        let segment = &self.source.segment;
        let plan = segment.plan.clone().map_or_else(|| PLAN.parse(), Ok);
        let plan = plan.map_err(|error| Error::Instrument(format!("{error}")))?;
        let change = CustomerChange {
            plan: Change::Set(plan),
            time_zone: segment.time_zone.clone().map_or(Change::Keep, Change::Set),
            attributes: Change::Set(segment.attributes.clone().into_iter().collect()),
            ..CustomerChange::default()
        };
        self.decide(at, Command::Configure(Box::new(change)))?;
        Ok(())
    }

    fn usage(&mut self, at: Timestamp, usage: UsageRequest) -> Result<(), Error> {
        self.give_what_is_due(at)?;
        let month = self.world.month(at);
        if let Some(had) = self.had_usage.get_mut(month) {
            *had = true;
        }
        self.cell(month, |cell| cell.usages += 1);
        let command = Command::Charge(Box::new(usage));
        // What is bought and tried again is one usage, and was not refused.
        if let Some(refused) = self.decide(at, command.clone())?
            && self.buy(at, month)?
        {
            self.cell(month, |cell| cell.take_back(&refused));
            self.decide(at, command)?;
        }
        Ok(())
    }

    fn give_what_is_due(&mut self, now: Timestamp) -> Result<(), Error> {
        while let Some(place) = self.due.iter().position(|(at, ..)| *at <= now) {
            let Some((at, times, grant)) = self.due.get(place).copied() else { break };
            let next = grant.every_months.and_then(|every| {
                let months = every.checked_mul(times + 1)?;
                Some((months_after(self.joined, months)?, times + 1, grant))
            });
            match (next, self.due.get_mut(place)) {
                (Some(next), Some(due)) => *due = next,
                _ => drop(self.due.swap_remove(place)),
            }
            let expires_at = grant
                .expires_after_days
                .map(|days| at.plus_micros(i64::from(days) * 86_400 * Timestamp::SECOND));
            let credit = grant.credit.clone().unwrap_or_else(default_credit);
            self.give(at, credit, grant.amount, grant.category, grant.price, expires_at)?;
        }
        Ok(())
    }

    fn give(
        &mut self,
        at: Timestamp,
        credit: CreditType,
        amount: Credits,
        category: Category,
        price: Decimal,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        let request = GrantRequest {
            credit,
            amount,
            category,
            priority: 0,
            effective_at: None,
            expires: Expiry { at: expires_at, with_period: None },
            features: Vec::new(),
            cost_basis: Money::new(price, self.world.currency).ok().filter(|money| !money.is_zero()),
            metadata: Vec::new(),
        };
        self.decide(at, Command::Grant(Box::new(request)))?;
        Ok(())
    }

    /// Buys credits for a usage that was refused for want of them, if the segment does so.
    fn buy(&mut self, at: Timestamp, month: usize) -> Result<bool, Error> {
        let Some(Buys { amount, price, at_most }) = self.source.segment.buys.clone() else {
            return Ok(false);
        };
        if self.bought.0 != month {
            self.bought = (month, 0);
        }
        if self.bought.1 >= at_most {
            return Ok(false);
        }
        self.bought.1 += 1;
        self.give(at, default_credit(), amount, Category::TopUp, price, None)?;
        Ok(true)
    }

    /// Decides a command and counts what was written. Returns the refusal of a usage for want of credits.
    fn decide(&mut self, now: Timestamp, command: Command) -> Result<Option<Box<Refused>>, Error> {
        let world = self.world;
        let policies = |digest: &Digest| match world.subject.all().find(|loaded| loaded.digest == *digest) {
            Some(loaded) => Lookup::Ready(loaded.policy.clone()),
            None => Lookup::Unavailable("not a policy of this workload".to_owned()),
        };
        let decider = Decider {
            plans: &world.plans,
            policies: &policies,
            now,
            late_window: LATE_WINDOW,
            most_due: usize::MAX,
        };
        let mut journal = Journal::default();
        let request = Request { customer: self.state.customer.clone(), command, origin: Origin::default() };
        let reply = decider.decide(&mut self.state, &request, &mut journal);
        for written in &journal.written {
            self.count(&written.entry);
        }
        match reply {
            Ok(Reply::Entry(outcome)) => Ok(match &outcome.entry.event {
                Event::Refused(refused) if is_short(refused) => Some(refused.clone()),
                _ => None,
            }),
            Ok(_) => Ok(None),
            Err(Stop::Error(error)) => {
                tally::count(&mut self.declined, &error.to_string(), 1);
                Ok(None)
            }
            Err(Stop::Defect(error)) => Err(Error::Instrument(format!("a defect of proviso: {error}"))),
            Err(Stop::Need(_) | Stop::Unfinished) => {
                Err(Error::Instrument("a defect of proviso: a decision was not finished".to_owned()))
            }
        }
    }

    fn cell(&mut self, month: usize, change: impl FnOnce(&mut Cell)) {
        if let Some(cell) = self.months.get_mut(month) {
            change(cell);
        }
    }

    fn count(&mut self, entry: &Entry) {
        let is_opening = matches!(entry.event, Event::PeriodOpened(_));
        if is_opening && entry.at >= self.world.time.end {
            return;
        }
        // What ends a period belongs to it.
        let is_closing = matches!(entry.event, Event::PeriodClosed(_) | Event::GrantsExpired { .. });
        let month = self.world.month(if is_closing { entry.at.plus_micros(-1) } else { entry.at });
        for grant in entry.grants() {
            self.grants.insert(grant.id, grant.credit.clone());
        }
        self.count_transfers(entry, month);
        let price = self.world.credit_price;
        let value =
            |credits: Credits| price.mul(credits.decimal(), Rounding::HalfEven).unwrap_or(Decimal::LARGEST);
        let paid = |grants: &mut dyn Iterator<Item = &Grant>| {
            let bases = grants.filter_map(|grant| grant.cost_basis);
            bases.fold(Decimal::ZERO, |sum, basis| sum.saturating_add(basis.amount()))
        };
        match &entry.event {
            Event::Charged(charged) => {
                let usage = &charged.usage;
                let cost = self.world.costs.of(usage.feature.as_str(), &usage.quantities, &usage.attributes);
                let (overage, topped_up) = (entry.overage(), paid(&mut charged.top_up.iter()));
                self.cell(month, |cell| {
                    cell.charged += 1;
                    cell.degraded += u64::from(charged.decision.is_degraded());
                    cell.till.cost = cell.till.cost.saturating_add(cost);
                    cell.till.purchases = cell.till.purchases.saturating_add(topped_up);
                    let flow = cell.flow(&charged.rated.credit);
                    flow.spent = flow.spent.saturating_add(charged.rated.cost);
                    flow.overage = flow.overage.saturating_add(overage);
                });
                if !overage.is_zero() {
                    self.ran_out(entry.at, month);
                }
            }
            Event::Refused(refused) => {
                self.cell(month, |cell| cell.refuse(refused));
                if is_short(refused) {
                    self.ran_out(entry.at, month);
                }
            }
            Event::Granted(grant) => {
                let paid = paid(&mut std::iter::once(grant));
                self.cell(month, |cell| cell.till.purchases = cell.till.purchases.saturating_add(paid));
            }
            Event::PeriodOpened(opened) => {
                let paid = paid(&mut opened.grants.iter());
                let fee = match self.source.segment.fee {
                    Some(fee) if !opened.retried => fee,
                    Some(_) => Decimal::ZERO,
                    None => paid,
                };
                self.cell(month, |cell| cell.till.fees = cell.till.fees.saturating_add(fee));
            }
            Event::PeriodClosed(closed) => {
                let fees =
                    closed.fees.iter().filter(|fee| fee.method == FeeMethod::Invoiced).map(|fee| fee.amount);
                let settled = closed.settled.iter().filter(|one| one.method == SettleMethod::Invoice);
                let invoiced =
                    fees.chain(settled.map(|one| one.amount)).fold(Credits::ZERO, Credits::saturating_add);
                self.cell(month, |cell| {
                    cell.till.invoiced = cell.till.invoiced.saturating_add(value(invoiced))
                });
                for grant in &closed.grants {
                    self.cell(month, |cell| {
                        let flow = cell.flow(&grant.credit);
                        flow.rolled_over = flow.rolled_over.saturating_add(grant.amount);
                    });
                }
            }
            _ => {}
        }
        if let Some(after) = &entry.after
            && let Some(peak) = self.peaks.get_mut(month)
        {
            *peak = (*peak).max(after.balance.overage);
        }
    }

    fn count_transfers(&mut self, entry: &Entry, month: usize) {
        for transfer in &entry.transfers {
            let (grant, is_issued) = match (transfer.from, transfer.to) {
                (Book::Issued, Book::Grant(grant)) => (grant, true),
                (Book::Grant(grant), Book::Expired) => (grant, false),
                _ => continue,
            };
            let Some(credit) = self.grants.get(&grant).cloned() else { continue };
            self.cell(month, |cell| {
                let flow = cell.flow(&credit);
                let sum = if is_issued { &mut flow.issued } else { &mut flow.expired };
                *sum = sum.saturating_add(transfer.amount);
            });
        }
    }

    fn ran_out(&mut self, at: Timestamp, month: usize) {
        self.first_run_out.get_or_insert(at);
        if let Some(known) = self.ran_out.get_mut(month) {
            known.get_or_insert_with(|| Zone::utc().moment(at).day);
        }
    }

    fn finish(mut self, tally: &mut Tally, name: String) -> Result<(), Error> {
        let end = self.world.time.end;
        self.give_what_is_due(end.plus_micros(-1))?;
        self.decide(end, Command::Read)?;
        let (peaks, ran_out) = (std::mem::take(&mut self.peaks), std::mem::take(&mut self.ran_out));
        let had_usage = std::mem::take(&mut self.had_usage);
        for (cell, ((peak, ran_out), had)) in
            self.months.iter_mut().zip(peaks.into_iter().zip(ran_out).zip(had_usage))
        {
            cell.customers = u64::from(had);
            cell.ran_out.extend(ran_out);
            cell.buffers.extend(Some(peak).filter(|peak| peak.is_positive()));
        }
        let owed = self.state.accounts.iter().map(|(credit, account)| (credit.clone(), account.overage));
        let owed: BTreeMap<CreditType, Credits> = owed.filter(|(_, owed)| !owed.is_zero()).collect();
        tally.take(self.segment, &self.months, owed);
        if let Some(at) = self.first_run_out {
            tally.run_out(RunOut { at, segment: self.segment, customer: name });
        }
        tally.decline(&self.declined);
        Ok(())
    }
}

/// Whether more credits would have helped.
fn is_short(refused: &Refused) -> bool {
    !refused.invalid && matches!(refused.code.as_str(), "insufficient_credits" | "purchase_required")
}
