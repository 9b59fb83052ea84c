//! The answer to a command is a rendering of the entry that carries it out. So a repeat, which is answered from the same
//! entry, is answered with the same bytes.

use crate::{
    answers::{Answer, Balance, Draw, Grant, Line, Period, Policy, lines},
    problem::Problem,
    routes::{entitlements::Override, terms::Terms},
    schema,
};
use axum::http::StatusCode;
use proviso_engine::command::Outcome;
use proviso_ledger::{
    journal::{self, DecisionRecord, Entry, Event, Fee, Rated, ResetReason, Settlement},
    model::{
        amounts::Credits,
        answers::SettleMethod,
        ids::{ChargeId, CustomerId, GrantId, Key, ReservationId, TermsId},
        terms::TermsKey,
        time::Timestamp,
        transfer::Book,
        usage::Usage,
    },
};
use serde::Serialize;
use utoipa::ToSchema;

/// A charge that was made, or a reservation's commit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Charge<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "chg_42")]
    id: ChargeId,
    /// Of a commit: the reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Id>)]
    reservation: Option<ReservationId>,
    /// Who pays.
    #[schema(value_type = schema::Key)]
    customer: &'a CustomerId,
    /// What was used.
    #[schema(value_type = schema::Key, example = "chat")]
    feature: &'a Key,
    /// Who under the customer used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    entity: Option<&'a Key>,
    /// When it was used.
    #[schema(value_type = schema::Time)]
    occurred_at: Timestamp,
    /// What it cost.
    #[schema(value_type = schema::Credits)]
    cost: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    /// The explanation of the cost.
    lines: Vec<Line<'a>>,
    /// What was drawn from which grant.
    draws: Vec<Draw>,
    /// What was drawn beyond all grants.
    #[schema(value_type = schema::Credits)]
    overage: Credits,
    /// Of a commit: what of the hold went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    returned: Option<Credits>,
    /// A grant that was issued on the spot.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_up: Option<Grant<'a>>,
    /// The balance afterwards.
    balance: Balance,
    /// Who decided.
    policy: Policy<'a>,
    /// The terms that decided.
    #[schema(value_type = String, example = "plan/pro/terms_3")]
    terms: &'a TermsKey,
    /// The journal's entry.
    entry: u64,
    /// Whether a fault put other terms in the place of those in force.
    degraded: bool,
}

/// Credits that were set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reservation<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "res_42")]
    id: ReservationId,
    /// Who pays.
    #[schema(value_type = schema::Key)]
    customer: &'a CustomerId,
    /// What will be used.
    #[schema(value_type = schema::Key, example = "chat")]
    feature: &'a Key,
    /// Who under the customer will use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    entity: Option<&'a Key>,
    /// When it is used.
    #[schema(value_type = schema::Time)]
    occurred_at: Timestamp,
    /// What is held: the expected cost.
    #[schema(value_type = schema::Credits)]
    reserved: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    /// The explanation of the expected cost.
    lines: Vec<Line<'a>>,
    /// What is held of which grant.
    draws: Vec<Draw>,
    /// What is held beyond all grants.
    #[schema(value_type = schema::Credits)]
    overage: Credits,
    /// When the hold ends by itself.
    #[schema(value_type = schema::Time)]
    expires_at: Timestamp,
    /// A grant that was issued on the spot.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_up: Option<Grant<'a>>,
    /// The balance afterwards.
    balance: Balance,
    /// Who decided, and who will rate the commit.
    policy: Policy<'a>,
    /// The terms that decided.
    #[schema(value_type = String, example = "plan/pro/terms_3")]
    terms: &'a TermsKey,
    /// The journal's entry.
    entry: u64,
    /// Whether a fault put other terms in the place of those in force.
    degraded: bool,
}

/// A reservation that was given back.
#[derive(Debug, Serialize, ToSchema)]
pub struct Released {
    /// The reservation.
    #[schema(value_type = schema::Id, example = "res_42")]
    id: ReservationId,
    /// What it held.
    #[schema(value_type = schema::Credits)]
    returned: Credits,
    /// The balance afterwards.
    balance: Balance,
    /// The journal's entry.
    entry: u64,
}

/// A grant that was given.
#[derive(Debug, Serialize, ToSchema)]
pub struct Granted<'a> {
    #[serde(flatten)]
    grant: Grant<'a>,
    /// The balance afterwards.
    balance: Balance,
    /// The journal's entry.
    entry: u64,
}

/// A grant whose rest was voided.
#[derive(Debug, Serialize, ToSchema)]
pub struct Voided {
    /// The grant.
    #[schema(value_type = schema::Id, example = "grant_12")]
    id: GrantId,
    /// What it had left.
    #[schema(value_type = schema::Credits)]
    voided: Credits,
    /// The balance afterwards.
    balance: Balance,
    /// The journal's entry.
    entry: u64,
}

/// A balance that was corrected.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adjustment<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    /// Above zero: given. Below: taken.
    #[schema(value_type = schema::Credits)]
    amount: Credits,
    /// Why.
    reason: &'a str,
    /// The grant that carries what was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Grant<'a>>,
    /// What was taken from which grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    draws: Vec<Draw>,
    /// The balance afterwards.
    balance: Balance,
    /// The journal's entry.
    entry: u64,
}

/// A period that began.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reset<'a> {
    /// Why.
    #[schema(value_type = String, example = "early")]
    reason: ResetReason,
    /// The period that closed.
    closed: Option<Period>,
    /// The period that began.
    period: Period,
    /// Grants that began.
    grants: Vec<Grant<'a>>,
    /// Grants whose rest expired.
    #[schema(value_type = Vec<schema::Id>)]
    expired: &'a [GrantId],
    /// Grants that carry on credits of older ones.
    rolled_over: Vec<Rolled>,
    /// Costs of the reset.
    fees: Vec<FeeLine<'a>>,
    /// Overage that was taken off.
    settled: Vec<Settled<'a>>,
    /// What the policy says of it, for people.
    notes: &'a [String],
    /// The balance afterwards.
    balance: Balance,
    /// Who decided; null when no terms were in force.
    policy: Option<Policy<'a>>,
    /// The journal's entry.
    entry: u64,
    /// Whether a fault put other terms, or none, in the place of those in force.
    degraded: bool,
}

/// Where the credits of a rollover come from and where they are now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rolled {
    /// The older grant.
    #[schema(value_type = schema::Id)]
    from: GrantId,
    /// The grant that carries its credits on.
    #[schema(value_type = schema::Id)]
    to: GrantId,
}

/// A cost that a reset brought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fee)]
pub struct FeeLine<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key)]
    credit: &'a Key,
    /// For people.
    label: &'a str,
    /// How much.
    #[schema(value_type = schema::Credits)]
    amount: Credits,
}

/// Overage that a reset took off.
#[derive(Debug, Serialize, ToSchema)]
pub struct Settled<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key)]
    credit: &'a Key,
    /// How much.
    #[schema(value_type = schema::Credits)]
    amount: Credits,
    /// `invoice`, `waive` or `deduct`.
    #[schema(value_type = String, example = "invoice")]
    method: SettleMethod,
}

/// Terms that were given an end.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermsEnded {
    /// The terms.
    #[schema(value_type = schema::Id, example = "terms_12")]
    pub id: TermsId,
    /// Their end, exclusive.
    #[schema(value_type = schema::Time)]
    pub ends_at: Timestamp,
}

/// What a charge or a refusal becomes in an answer and in a batch's.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Rendered<'a> {
    Charge(Charge<'a>),
    Reservation(Reservation<'a>),
    Released(Released),
    Granted(Granted<'a>),
    Voided(Voided),
    Adjustment(Adjustment<'a>),
    Reset(Box<Reset<'a>>),
    Terms(Terms<'a>),
    TermsEnded(TermsEnded),
    Override(Override<'a>),
}

/// The answer that an entry is.
pub fn answer(customer: &CustomerId, outcome: &Outcome) -> Result<Answer, Problem> {
    let (status, body) = render(customer, outcome)?;
    Ok(Answer::new(status, &body)?.replayed(outcome.replayed))
}

/// What an entry says to the one who asked for it.
pub fn render<'a>(
    customer: &'a CustomerId,
    outcome: &'a Outcome,
) -> Result<(StatusCode, Rendered<'a>), Problem> {
    use StatusCode as S;
    let entry = &*outcome.entry;
    Ok(match &entry.event {
        Event::Charged(charged) => {
            let part = (&charged.usage, &charged.rated, &charged.decision);
            let top_up = charged.top_up.as_ref().map(|grant| Grant::fresh(grant, entry.at));
            (S::CREATED, Rendered::Charge(charge(customer, entry, part, top_up, None)?))
        }
        Event::Committed(committed) => {
            let part = (&committed.usage, &committed.rated, &committed.decision);
            let top_up = committed.top_up.as_ref().map(|grant| Grant::fresh(grant, entry.at));
            let hold = Some((committed.reservation, committed.returned));
            (S::OK, Rendered::Charge(charge(customer, entry, part, top_up, hold)?))
        }
        Event::Refused(_) => return Err(Problem::refused(&outcome.entry, outcome.replayed)),
        Event::Reserved(reserved) => {
            (S::CREATED, Rendered::Reservation(reservation(customer, entry, reserved)?))
        }
        Event::Released { reservation } => {
            let returned = moved(entry, |from, _| from == Book::Reserved(*reservation));
            let body = Released { id: *reservation, returned, balance: balance(entry)?, entry: entry.seq };
            (S::OK, Rendered::Released(body))
        }
        Event::Granted(grant) => {
            let grant = Grant::fresh(grant, entry.at);
            (S::CREATED, Rendered::Granted(Granted { grant, balance: balance(entry)?, entry: entry.seq }))
        }
        Event::Voided { grant } => {
            let voided = moved(entry, |_, to| to == Book::Voided);
            let body = Voided { id: *grant, voided, balance: balance(entry)?, entry: entry.seq };
            (S::OK, Rendered::Voided(body))
        }
        Event::Adjusted(adjusted) => {
            let body = Adjustment {
                credit: &adjusted.credit,
                amount: adjusted.amount,
                reason: &adjusted.reason,
                grant: adjusted.grant.as_ref().map(|grant| Grant::fresh(grant, entry.at)),
                draws: taken(entry),
                balance: balance(entry)?,
                entry: entry.seq,
            };
            (S::CREATED, Rendered::Adjustment(body))
        }
        Event::Reset(reset) => (S::OK, Rendered::Reset(Box::new(period(entry, reset)?))),
        Event::TermsBound(terms) => (S::CREATED, Rendered::Terms(Terms::new(terms))),
        Event::TermsEnded { id, ends_at } => {
            (S::OK, Rendered::TermsEnded(TermsEnded { id: *id, ends_at: *ends_at }))
        }
        Event::OverrideSet(exception) => (S::OK, Rendered::Override(Override::new(exception))),
        // Their answers have no entry's content: a customer's state, or nothing at all.
        Event::Configured(_)
        | Event::OverrideRemoved { .. }
        | Event::Closed {}
        | Event::ReservationExpired { .. }
        | Event::GrantsExpired { .. } => {
            return Err(Problem::internal(format!("entry {} answers no request", entry.seq)));
        }
    })
}

fn charge<'a>(
    customer: &'a CustomerId,
    entry: &'a Entry,
    (usage, rated, decision): (&'a Usage, &'a Rated, &'a DecisionRecord),
    top_up: Option<Grant<'a>>,
    hold: Option<(ReservationId, Credits)>,
) -> Result<Charge<'a>, Problem> {
    let (reservation, returned) = hold.unzip();
    Ok(Charge {
        id: entry.charge_id(),
        reservation,
        customer,
        feature: &usage.feature,
        entity: usage.entity.as_ref(),
        occurred_at: usage.occurred_at,
        cost: rated.cost,
        credit: &rated.credit,
        lines: lines(&rated.lines),
        draws: entry.draws().into_iter().map(Draw::from).collect(),
        overage: entry.overage(),
        returned,
        top_up,
        balance: balance(entry)?,
        policy: Policy::new(&decision.policy),
        terms: &decision.terms,
        entry: entry.seq,
        degraded: decision.fault.is_some(),
    })
}

fn reservation<'a>(
    customer: &'a CustomerId,
    entry: &'a Entry,
    reserved: &'a journal::Reserved,
) -> Result<Reservation<'a>, Problem> {
    let journal::Reserved { usage, rated, decision, expires_at, top_up } = reserved;
    Ok(Reservation {
        id: ReservationId { entry: entry.seq, index: 0 },
        customer,
        feature: &usage.feature,
        entity: usage.entity.as_ref(),
        occurred_at: usage.occurred_at,
        reserved: rated.cost,
        credit: &rated.credit,
        lines: lines(&rated.lines),
        draws: entry.draws().into_iter().map(Draw::from).collect(),
        overage: entry.overage(),
        expires_at: *expires_at,
        top_up: top_up.as_ref().map(|grant| Grant::fresh(grant, entry.at)),
        balance: balance(entry)?,
        policy: Policy::new(&decision.policy),
        terms: &decision.terms,
        entry: entry.seq,
        degraded: decision.fault.is_some(),
    })
}

fn period<'a>(entry: &'a Entry, reset: &'a journal::Reset) -> Result<Reset<'a>, Problem> {
    let fee = |fee: &'a Fee| FeeLine { credit: &fee.credit, label: &fee.label, amount: fee.amount };
    let settled =
        |one: &'a Settlement| Settled { credit: &one.credit, amount: one.amount, method: one.method };
    Ok(Reset {
        reason: reset.reason,
        closed: reset.closed.as_ref().map(Period::from),
        period: Period::from(&reset.opened),
        grants: reset.grants.iter().map(|grant| Grant::fresh(grant, entry.at)).collect(),
        expired: &reset.expired,
        rolled_over: reset.rolled.iter().map(|one| Rolled { from: one.from, to: one.to }).collect(),
        fees: reset.fees.iter().map(fee).collect(),
        settled: reset.settled.iter().map(settled).collect(),
        notes: &reset.notes,
        balance: balance(entry)?,
        policy: reset.decision.as_ref().map(|decision| Policy::new(&decision.policy)),
        entry: entry.seq,
        degraded: reset.decision.as_ref().is_some_and(|decision| decision.fault.is_some()),
    })
}

fn balance(entry: &Entry) -> Result<Balance, Problem> {
    let after = entry.after.as_ref();
    let after = after.ok_or_else(|| Problem::internal(format!("entry {} records no balance", entry.seq)))?;
    Ok(Balance::new(&after.balance, after.next_reset_at))
}

fn moved(entry: &Entry, counts: impl Fn(Book, Book) -> bool) -> Credits {
    let moved = entry.transfers.iter().filter(|transfer| counts(transfer.from, transfer.to));
    Credits(moved.fold(0, |sum, transfer| sum.saturating_add(transfer.amount.0)))
}

fn taken(entry: &Entry) -> Vec<Draw> {
    let draw = |transfer: &proviso_ledger::model::transfer::Transfer| match (transfer.from, transfer.to) {
        (Book::Grant(grant), Book::Voided) => Some(Draw { grant, amount: transfer.amount }),
        _ => None,
    };
    entry.transfers.iter().filter_map(draw).collect()
}
