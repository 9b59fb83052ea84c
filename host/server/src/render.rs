//! The answer to a command is a rendering of the entry that carries it out. So a repeat, which is answered from the same
//! entry, is answered with the same bytes.

use crate::{answer::Answer, problem::Problem, wire};
use axum::http::StatusCode;
use proviso_api::{
    balance::Balance,
    charge::{Charge, Extended, Refund, RefundedOf, Released, Reservation},
    decision::{Draw, Late, Warning},
    entitlement::{EntitlementValue, Override},
    grant::{Adjustment, Grant, Granted, Voided},
    period::{Cycle, PeriodEnd, PeriodStart, Settled},
    plan_change::{Expired, Fee, PlanChange, PlanChangeClose, PlanChangeStatus, When},
    terms::TermsEnded,
};
use proviso_engine::command::Outcome;
use proviso_ledger::{
    journal::{self, DecisionRecord, Entry, Event, PlanChangeTime, Rated},
    model::{
        amounts::Credits,
        entitlement::Override as LedgerOverride,
        grant::Grant as LedgerGrant,
        ids::{CustomerId, PlanChangeId, RefundId, ReservationId},
        transfer::{Book, Transfer},
        usage::Usage,
    },
};
use std::borrow::Cow;

/// The answer that an entry is.
pub fn answer(customer: &CustomerId, outcome: &Outcome) -> Result<Answer, Problem> {
    use StatusCode as S;
    let entry = &*outcome.entry;
    let answer = match &entry.event {
        Event::Charged(_) | Event::Committed(_) | Event::Refused(_) => {
            let (status, charge) = charge(customer, outcome, &[])?;
            Answer::new(status, &charge)
        }
        Event::Reserved(reserved) => Answer::new(S::CREATED, &reservation(customer, entry, reserved)?),
        Event::Released { reservation } => {
            let returned = moved(entry, |from, _| from == Book::Reserved(*reservation));
            Answer::ok(&Released { id: *reservation, returned, balance: balance(entry)?, entry: entry.seq })
        }
        Event::Refunded(refunded) => Answer::new(S::CREATED, &refund(customer, entry, refunded)?),
        Event::Granted(grant) => {
            let grant = wire::new_grant(grant, entry.at);
            Answer::new(S::CREATED, &Granted { grant, balance: balance(entry)?, entry: entry.seq })
        }
        Event::Voided { grant } => {
            let voided = moved(entry, |_, to| to == Book::Voided);
            Answer::ok(&Voided { id: *grant, voided, balance: balance(entry)?, entry: entry.seq })
        }
        Event::Adjusted(adjusted) => Answer::new(
            S::CREATED,
            &Adjustment {
                credit: adjusted.credit.clone(),
                amount: adjusted.amount,
                reason: Cow::Borrowed(&adjusted.reason),
                grant: adjusted.grant.as_ref().map(|grant| wire::new_grant(grant, entry.at)),
                draws: taken(entry),
                balance: balance(entry)?,
                entry: entry.seq,
            },
        ),
        Event::PeriodOpened(opened) => Answer::ok(&period_start(entry, opened)?),
        Event::PeriodClosed(closed) => Answer::ok(&period_end(entry, closed)?),
        Event::PlanChangeScheduled(scheduled) => {
            let id = PlanChangeId { entry: entry.seq, index: 0 };
            Answer::new(S::CREATED, &pending_plan_change(id, scheduled))
        }
        Event::ReservationExtended { reservation, expires_at } => Answer::ok(&Extended {
            id: *reservation,
            expires_at: *expires_at,
            balance: balance(entry)?,
            entry: entry.seq,
        }),
        Event::TermsBound(terms) => Answer::new(S::CREATED, &wire::terms(terms)),
        Event::TermsEnded { id, ends_at } => Answer::ok(&TermsEnded { id: *id, ends_at: *ends_at }),
        Event::OverrideSet(exception) => Answer::ok(&override_of(exception)),
        // Their answers show a customer's state, or have no body.
        Event::Configured(_)
        | Event::OverrideRemoved { .. }
        | Event::EntityChanged(_)
        | Event::EntityRemoved { .. }
        | Event::BudgetChanged(_)
        | Event::BudgetRemoved { .. }
        | Event::PlanChangeCancelled { .. }
        | Event::Closed {}
        | Event::ReservationExpired { .. }
        | Event::OverageSettled(_)
        | Event::GrantsExpired { .. } => {
            Err(Problem::internal(format!("entry {} answers no request", entry.seq)))
        }
    };
    Ok(answer?.replayed(outcome.replayed))
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
            (StatusCode::CREATED, charge)
        }
        Event::Committed(committed) => {
            let part = (&committed.usage, &committed.rated, &committed.decision);
            let charge = charge_of(customer, entry, part, committed.top_up.as_ref())?;
            let exceeded = Some(committed.exceeded).filter(|exceeded| !exceeded.is_zero());
            let (reservation, returned) = (Some(committed.reservation), Some(committed.returned));
            (StatusCode::OK, Charge { reservation, returned, exceeded, ..charge })
        }
        Event::Refused(_) => return Err(Problem::refused(&outcome.entry, outcome.replayed)),
        _ => return Err(Problem::internal(format!("entry {} is no charge", entry.seq))),
    };
    charge.warnings = warnings.to_vec();
    Ok((status, charge))
}

pub fn override_of(exception: &LedgerOverride) -> Override {
    let EntitlementValue { r#type, value } = EntitlementValue::from(&exception.entitlement);
    let LedgerOverride { feature, starts_at, ends_at, .. } = exception;
    Override { feature: feature.clone(), r#type, value, starts_at: *starts_at, ends_at: *ends_at }
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
        top_up: issued(entry, top_up),
        balance: balance(entry)?,
        policy: wire::deciding_policy(&decision.policy),
        terms: decision.terms.clone(),
        entry: entry.seq,
        degraded: decision.fault.is_some(),
        warnings: Vec::new(),
    })
}

fn reservation<'a>(
    customer: &CustomerId,
    entry: &'a Entry,
    reserved: &'a journal::Reserved,
) -> Result<Reservation<'a>, Problem> {
    let journal::Reserved { usage, rated, decision, expires_at, top_up, reduced_from, .. } = reserved;
    Ok(Reservation {
        id: ReservationId { entry: entry.seq, index: 0 },
        customer: customer.clone(),
        feature: usage.feature.clone(),
        entity: usage.entity.clone(),
        occurred_at: usage.occurred_at,
        late: late(entry),
        reduced_to: reduced_from.as_ref().map(|_| wire::quantities(&usage.quantities)),
        reserved: rated.cost,
        credit: rated.credit.clone(),
        lines: wire::lines(&rated.lines),
        draws: draws(entry),
        overage: entry.overage(),
        expires_at: *expires_at,
        top_up: issued(entry, top_up.as_ref()),
        balance: balance(entry)?,
        policy: wire::deciding_policy(&decision.policy),
        terms: decision.terms.clone(),
        entry: entry.seq,
        degraded: decision.fault.is_some(),
    })
}

fn refund<'a>(
    customer: &CustomerId,
    entry: &'a Entry,
    refunded: &'a journal::Refunded,
) -> Result<Refund<'a>, Problem> {
    let grant_of = |book: Book| match book {
        Book::Grant(grant) => Some(grant),
        _ => None,
    };
    let mut returned: Vec<Draw> = Vec::new();
    for transfer in &entry.transfers {
        // What goes on from a grant that has ended is only where it ends.
        let goes_on = entry.transfers.iter().any(|other| other.from == transfer.to);
        let Some(grant) = grant_of(transfer.to).filter(|_| !goes_on) else { continue };
        match returned.iter_mut().find(|draw| draw.grant == grant) {
            Some(draw) => draw.amount = draw.amount.saturating_add(transfer.amount),
            None => returned.push(Draw { grant, amount: transfer.amount }),
        }
    }
    let made = refunded.grants.iter().filter(|grant| grant.id.entry == entry.seq);
    Ok(Refund {
        id: RefundId { entry: entry.seq, index: 0 },
        charge: refunded.charge,
        customer: customer.clone(),
        feature: refunded.usage.feature.clone(),
        amount: refunded.amount,
        credit: refunded.credit.clone(),
        quantities: wire::quantities(&refunded.usage.quantities),
        reason: Cow::Borrowed(&refunded.reason),
        returned,
        overage: moved(entry, |_, to| to == Book::Overage),
        expired: moved(entry, |_, to| to == Book::Expired),
        voided: moved(entry, |_, to| to == Book::Voided),
        grants: made.map(|grant| wire::new_grant(grant, entry.at)).collect(),
        refunded: refunded_of(Some(refunded)),
        balance: balance(entry)?,
        entry: entry.seq,
    })
}

/// What was refunded of a charge, as its last refund says.
pub fn refunded_of(last: Option<&journal::Refunded>) -> RefundedOf {
    last.map_or_else(RefundedOf::default, |last| RefundedOf {
        amount: last.total,
        quantities: last.total_quantities.0.iter().cloned().collect(),
        refunds: last.number,
    })
}

/// A change of plan that is put off.
pub fn pending_plan_change(
    id: PlanChangeId,
    scheduled: &journal::PlanChangeScheduled,
) -> PlanChange<'static> {
    PlanChange {
        id: Some(id),
        status: PlanChangeStatus::Pending,
        plan: scheduled.plan.clone(),
        when: match scheduled.when {
            PlanChangeTime::PeriodEnd => When::PeriodEnd,
            PlanChangeTime::At(at) => When::At(at),
        },
        effective_at: scheduled.effective_at,
        allowance: scheduled.allowance,
        closed: None,
        opened: None,
    }
}

/// The end of a period that a change of plan brings.
pub fn plan_change_close(entry: &Entry) -> Result<Option<PlanChangeClose<'_>>, Problem> {
    let Event::PeriodClosed(closed) = &entry.event else { return Ok(None) };
    let expired = entry.transfers.iter().filter_map(|transfer| match (transfer.from, transfer.to) {
        (Book::Grant(grant), Book::Expired) => {
            Some(Expired { grant, credit: transfer.credit.clone(), amount: transfer.amount })
        }
        _ => None,
    });
    Ok(Some(PlanChangeClose {
        reason: closed.reason,
        period: wire::period(&closed.period),
        rolled_over: closed.grants.iter().map(|grant| wire::new_grant(grant, entry.at)).collect(),
        expired: expired.collect(),
        fees: closed.fees.iter().map(fee).collect(),
        settled: closed.settled.iter().map(settled).collect(),
        notes: Cow::Borrowed(&closed.notes),
        balance: balance(entry)?,
        degraded: closed.decision.as_ref().is_some_and(DecisionRecord::is_degraded),
    }))
}

/// The beginning of a period that a change of plan brings.
pub fn plan_change_open(entry: &Entry) -> Result<Option<PeriodStart<'_>>, Problem> {
    match &entry.event {
        Event::PeriodOpened(opened) => period_start(entry, opened).map(Some),
        _ => Ok(None),
    }
}

fn fee(fee: &journal::Fee) -> Fee<'_> {
    let journal::Fee { credit, label, amount, method } = fee;
    Fee { credit: credit.clone(), amount: *amount, method: *method, label: Cow::Borrowed(label) }
}

fn period_start<'a>(entry: &'a Entry, opened: &'a journal::PeriodOpened) -> Result<PeriodStart<'a>, Problem> {
    Ok(PeriodStart {
        reason: opened.reason,
        period: wire::period(&opened.period),
        cycle: Cycle { start: opened.cycle.start, end: opened.cycle.end },
        grants: opened.grants.iter().map(|grant| wire::new_grant(grant, entry.at)).collect(),
        settled: opened.settled.iter().map(settled).collect(),
        notes: Cow::Borrowed(&opened.notes),
        balance: balance(entry)?,
        policy: opened.decision.as_ref().map(|decision| wire::deciding_policy(&decision.policy)),
        entry: entry.seq,
        degraded: opened.decision.as_ref().is_some_and(DecisionRecord::is_degraded),
    })
}

fn period_end<'a>(entry: &'a Entry, closed: &'a journal::PeriodClosed) -> Result<PeriodEnd<'a>, Problem> {
    Ok(PeriodEnd {
        reason: closed.reason,
        period: wire::period(&closed.period),
        grants: closed.grants.iter().map(|grant| wire::new_grant(grant, entry.at)).collect(),
        settled: closed.settled.iter().map(settled).collect(),
        notes: Cow::Borrowed(&closed.notes),
        balance: balance(entry)?,
        entry: entry.seq,
    })
}

fn settled(one: &journal::Settlement) -> Settled {
    Settled { credit: one.credit.clone(), amount: one.amount, method: one.method }
}

fn late(entry: &Entry) -> Option<Late> {
    entry.late().map(|period| Late { period })
}

fn issued<'a>(entry: &Entry, top_up: Option<&'a LedgerGrant>) -> Option<Grant<'a>> {
    top_up.map(|grant| wire::new_grant(grant, entry.at))
}

fn draws(entry: &Entry) -> Vec<Draw> {
    entry.draws().into_iter().map(wire::draw).collect()
}

fn balance(entry: &Entry) -> Result<Balance, Problem> {
    let after = entry.after.as_ref();
    let after = after.ok_or_else(|| Problem::internal(format!("entry {} records no balance", entry.seq)))?;
    Ok(wire::balance(&after.balance, after.next_reset_at))
}

fn moved(entry: &Entry, counts: impl Fn(Book, Book) -> bool) -> Credits {
    let moved = entry.transfers.iter().filter(|transfer| counts(transfer.from, transfer.to));
    moved.fold(Credits::ZERO, |sum, transfer| sum.saturating_add(transfer.amount))
}

fn taken(entry: &Entry) -> Vec<Draw> {
    let draw = |transfer: &Transfer| match (transfer.from, transfer.to) {
        (Book::Grant(grant), Book::Voided) => Some(Draw { grant, amount: transfer.amount }),
        _ => None,
    };
    entry.transfers.iter().filter_map(draw).collect()
}
