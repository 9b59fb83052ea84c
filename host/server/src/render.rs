//! The answer to a command is a rendering of the entry that carries it out, so a repeat, which is answered from the same
//! entry, is answered with the same bytes. What several routes show of an entry is here; the rest is beside its route.

use crate::{answer::Answer, problem::Problem, wire};
use axum::http::StatusCode;
use proviso_api::{
    balance::Balance,
    charge::{AsReserved, Charge},
    decision::{Draw, Late, Warning},
    grant::Grant,
    lease::SettledUnder,
};
use proviso_engine::command::Outcome;
use proviso_ledger::{
    journal::{DecisionRecord, Entry, Event, Rated},
    model::{amounts::Credits, grant::Grant as LedgerGrant, ids::CustomerId, transfer::Book, usage::Usage},
};
use std::borrow::Cow;

/// The answer that an entry is, or the problem that a recorded refusal is.
pub fn answer(
    outcome: &Outcome,
    show: impl FnOnce(&Entry) -> Result<Answer, Problem>,
) -> Result<Answer, Problem> {
    match &outcome.entry.event {
        Event::Refused(_) => Err(Problem::refused(&outcome.entry, outcome.replayed)),
        _ => Ok(show(&outcome.entry)?.replayed(outcome.replayed)),
    }
}

/// The defect that an entry answers a request of another kind.
pub fn mismatch(entry: &Entry) -> Problem {
    Problem::internal(format!("entry {} does not answer this request", entry.seq))
}

/// A charge or a commit, or the problem that its refusal is.
pub fn charge<'a>(
    customer: &CustomerId,
    outcome: &'a Outcome,
    warnings: &[Warning],
) -> Result<(StatusCode, Charge<'a>), Problem> {
    let entry = &*outcome.entry;
    let (status, mut charge) = match &entry.event {
        Event::Charged(charged) => {
            let part = (&charged.usage, &charged.rated, &charged.decision);
            let charge = charge_of(customer, entry, part, charged.top_up.as_ref())?;
            let settled = charged.settled.as_deref();
            let lease = settled.map(|settled| SettledUnder {
                id: settled.lease,
                drawn: settled.drawn(),
                ended: settled.ended,
            });
            let exceeded = settled.map(|settled| settled.exceeded).filter(|exceeded| !exceeded.is_zero());
            (StatusCode::CREATED, Charge { lease, exceeded, ..charge })
        }
        Event::Committed(committed) => {
            let part = (&committed.usage, &committed.rated, &committed.decision);
            let charge = charge_of(customer, entry, part, committed.top_up.as_ref())?;
            let exceeded = Some(committed.exceeded).filter(|exceeded| !exceeded.is_zero());
            let (reservation, returned) = (Some(committed.reservation), Some(committed.returned));
            let as_reserved = committed.as_reserved.as_ref().map(|unrated| AsReserved {
                code: Cow::Borrowed(&unrated.code),
                detail: Cow::Borrowed(&unrated.detail),
                invalid: unrated.invalid,
                reported: unrated
                    .reported
                    .iter()
                    .flat_map(|usage| usage.quantities.iter().cloned())
                    .collect(),
            });
            (StatusCode::OK, Charge { reservation, returned, exceeded, as_reserved, ..charge })
        }
        Event::Refused(_) => return Err(Problem::refused(&outcome.entry, outcome.replayed)),
        _ => return Err(mismatch(entry)),
    };
    charge.warnings = warnings.to_vec();
    Ok((status, charge))
}

fn charge_of<'a>(
    customer: &CustomerId,
    entry: &'a Entry,
    (usage, rated, decision): (&'a Usage, &'a Rated, &'a DecisionRecord),
    top_up: Option<&'a LedgerGrant>,
) -> Result<Charge<'a>, Problem> {
    Ok(Charge {
        id: entry.charge_id(),
        reservation: None,
        lease: None,
        customer: customer.clone(),
        feature: usage.feature.clone(),
        entity: usage.entity.clone(),
        occurred_at: usage.occurred_at,
        late: late(entry),
        cost: rated.cost,
        credit: rated.credit.clone(),
        lines: wire::lines(&rated.lines),
        draws: draws(entry),
        overage: entry.overage(),
        exceeded: None,
        returned: None,
        as_reserved: None,
        top_up: issued(entry, top_up),
        balance: balance(entry)?,
        policy: wire::deciding_policy(&decision.policy),
        terms: decision.terms.clone(),
        entry: entry.seq,
        degraded: decision.fault.is_some(),
        warnings: Vec::new(),
    })
}

pub fn late(entry: &Entry) -> Option<Late> {
    entry.late().map(|period| Late { period })
}

pub fn issued<'a>(entry: &Entry, top_up: Option<&'a LedgerGrant>) -> Option<Grant<'a>> {
    top_up.map(|grant| wire::new_grant(grant, entry.at))
}

pub fn draws(entry: &Entry) -> Vec<Draw> {
    entry.draws().into_iter().map(wire::draw).collect()
}

pub fn balance(entry: &Entry) -> Result<Balance, Problem> {
    let after = entry.after.as_ref();
    let after = after.ok_or_else(|| Problem::internal(format!("entry {} records no balance", entry.seq)))?;
    Ok(wire::balance(&after.balance, after.next_reset_at))
}

pub fn moved(entry: &Entry, counts: impl Fn(Book, Book) -> bool) -> Credits {
    let moved = entry.transfers.iter().filter(|transfer| counts(transfer.from, transfer.to));
    moved.fold(Credits::ZERO, |sum, transfer| sum.saturating_add(transfer.amount))
}
