//! The pieces that answers are made of, as they go over the wire. Each borrows from what the engine handed out: nothing
//! is computed here.

use crate::{problem::Problem, schema};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use proviso_ledger::{
    decision,
    journal::{self, Period as LedgerPeriod},
    model::{
        amounts::{Credits, Money, Price, Quantity},
        grant::{Category, Grant as LedgerGrant},
        ids::{Digest, GrantId, Key},
        terms::PolicyRef,
        time::Timestamp,
    },
    state::{GrantState, GrantStatus},
};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An answer that is no problem.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    replayed: bool,
}

impl Answer {
    /// An answer with a JSON body.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let mut bytes = Vec::with_capacity(1_024);
        match serde_json::to_writer(&mut bytes, body) {
            Ok(()) => Ok(Self { status, body: bytes, replayed: false }),
            Err(error) => Err(Problem::internal(format!("an answer can't be written: {error}"))),
        }
    }

    /// 200 with a JSON body.
    pub fn ok(body: &impl Serialize) -> Result<Self, Problem> {
        Self::new(StatusCode::OK, body)
    }

    /// 201 for something new, else 200.
    pub fn put(created: bool, body: &impl Serialize) -> Result<Self, Problem> {
        Self::new(if created { StatusCode::CREATED } else { StatusCode::OK }, body)
    }

    /// The same answer, marked when it repeats an earlier one.
    pub fn replayed(self, replayed: bool) -> Self {
        Self { replayed, ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, Body::from(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.replayed {
            headers.insert(crate::finish::REPLAYED, crate::finish::TRUE);
        }
        response
    }
}

/// One credit type's balance.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Balance {
    /// The amounts of all live grants.
    #[schema(value_type = schema::Credits)]
    granted: Credits,
    /// What was spent of them.
    #[schema(value_type = schema::Credits)]
    used: Credits,
    /// What open reservations hold.
    #[schema(value_type = schema::Credits)]
    reserved: Credits,
    /// What a charge may draw now without overage.
    #[schema(value_type = schema::Credits)]
    available: Credits,
    /// Spent beyond all grants and not yet settled.
    #[schema(value_type = schema::Credits)]
    overage: Credits,
    /// When the period ends; null when it never does by itself.
    #[schema(value_type = Option<schema::Time>)]
    next_reset_at: Option<Timestamp>,
}

impl Balance {
    pub fn new(balance: &decision::Balance, next_reset_at: Option<Timestamp>) -> Self {
        let decision::Balance { granted, used, reserved, available, overage, .. } = *balance;
        Self { granted, used, reserved, available, overage, next_reset_at }
    }
}

/// A line that explains a part of a cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line<'a> {
    /// For people.
    label: &'a str,
    /// How much.
    #[schema(value_type = schema::Amount)]
    quantity: Quantity,
    /// The price of one whole unit.
    #[schema(value_type = schema::Price)]
    unit_cost: Price,
    /// What it comes to.
    #[schema(value_type = schema::Credits)]
    cost: Credits,
}

impl<'a> Line<'a> {
    fn new(line: &'a decision::Line) -> Self {
        let decision::Line { label, quantity, unit_cost, cost } = line;
        Self { label, quantity: *quantity, unit_cost: *unit_cost, cost: *cost }
    }
}

/// The lines of a cost.
pub fn lines(lines: &[decision::Line]) -> Vec<Line<'_>> {
    lines.iter().map(Line::new).collect()
}

/// Credits drawn from one grant.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Draw {
    /// The grant.
    #[schema(value_type = schema::Id)]
    pub grant: GrantId,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
}

impl From<journal::Draw> for Draw {
    fn from(draw: journal::Draw) -> Self {
        Self { grant: draw.grant, amount: draw.amount }
    }
}

/// The policy that decided.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DecidingPolicy)]
pub struct Policy<'a> {
    /// The policy.
    #[schema(value_type = schema::Key)]
    name: &'a Key,
    /// Its version.
    version: u32,
    /// SHA-256 of its module.
    #[schema(value_type = schema::Digest)]
    digest: Digest,
}

impl<'a> Policy<'a> {
    pub fn new(policy: &'a PolicyRef) -> Self {
        Self { name: &policy.name, version: policy.version, digest: policy.digest }
    }
}

/// Real money.
#[derive(Debug, Serialize, ToSchema)]
pub struct Money<'a> {
    /// A decimal string.
    #[schema(value_type = schema::Credits, example = "99.9")]
    amount: Credits,
    /// ISO 4217.
    #[schema(example = "EUR")]
    currency: &'a str,
}

impl<'a> Money<'a> {
    fn new(basis: &'a CostBasis) -> Self {
        Self { amount: basis.amount, currency: &basis.currency }
    }
}

/// Something that the customer may buy to go on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Offer<'a> {
    /// For machines.
    code: &'a str,
    /// For people.
    label: &'a str,
    /// What it brings.
    #[schema(value_type = schema::Credits)]
    credits: Credits,
    /// What it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Money<'a>>,
}

impl<'a> Offer<'a> {
    pub fn new(offer: &'a decision::Offer) -> Self {
        let price = offer.price.as_ref().map(Money::new);
        Self { code: &offer.code, label: &offer.label, credits: offer.credits, price }
    }
}

/// Whether a grant may be drawn.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GrantStatus)]
pub enum Status {
    /// It will be, from `effective_at` on.
    Scheduled,
    /// It may.
    Live,
    /// Its time ran out.
    Expired,
    /// It was voided.
    Voided,
}

/// A grant and where its credits are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant<'a> {
    /// Its id.
    #[schema(value_type = schema::Id)]
    id: GrantId,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    /// Why it exists.
    #[schema(value_type = String, example = "prepaid")]
    category: Category,
    /// How many credits were granted.
    #[schema(value_type = schema::Credits)]
    amount: Credits,
    /// Neither spent nor held.
    #[schema(value_type = schema::Credits)]
    remaining: Credits,
    /// Held by reservations.
    #[schema(value_type = schema::Credits)]
    held: Credits,
    /// Spent.
    #[schema(value_type = schema::Credits)]
    spent: Credits,
    /// Whether it may be drawn.
    status: Status,
    /// A lower number is drawn first.
    priority: i32,
    /// When it becomes usable.
    #[schema(value_type = schema::Time)]
    effective_at: Timestamp,
    /// When its rest expires.
    #[schema(value_type = Option<schema::Time>)]
    expires_at: Option<Timestamp>,
    /// The features that may draw on it; empty means all.
    #[schema(value_type = Vec<schema::Key>)]
    features: &'a [Key],
    /// What the customer paid for it.
    cost_basis: Option<Money<'a>>,
    /// The caller's own data.
    metadata: BTreeMap<&'a str, &'a str>,
}

impl<'a> Grant<'a> {
    /// A grant as an entry made it.
    pub fn fresh(grant: &'a LedgerGrant, at: Timestamp) -> Self {
        Self::with(grant, [grant.amount, Credits::ZERO, Credits::ZERO], GrantStatus::Live, at)
    }

    /// A grant as it is at `at`.
    pub fn of(state: &'a GrantState, at: Timestamp) -> Self {
        Self::with(&state.grant, [state.remaining, state.held, state.spent], state.status, at)
    }

    fn with(grant: &'a LedgerGrant, credits: [Credits; 3], status: GrantStatus, at: Timestamp) -> Self {
        let [remaining, held, spent] = credits;
        Self {
            id: grant.id,
            credit: &grant.credit,
            category: grant.category,
            amount: grant.amount,
            remaining,
            held,
            spent,
            status: match status {
                GrantStatus::Live if grant.effective_at > at => Status::Scheduled,
                GrantStatus::Live => Status::Live,
                GrantStatus::Expired => Status::Expired,
                GrantStatus::Voided => Status::Voided,
            },
            priority: grant.priority,
            effective_at: grant.effective_at,
            expires_at: grant.expires_at,
            features: &grant.features,
            cost_basis: grant.cost_basis.as_ref().map(Money::new),
            metadata: texts(&grant.metadata),
        }
    }

    /// Its id.
    pub fn id(&self) -> GrantId {
        self.id
    }
}

/// One billing period.
#[derive(Debug, Serialize, ToSchema)]
pub struct Period {
    /// 1 for the first.
    number: u32,
    /// Its start.
    #[schema(value_type = schema::Time)]
    start: Timestamp,
    /// Its end, exclusive; null when it never ends by itself.
    #[schema(value_type = Option<schema::Time>)]
    end: Option<Timestamp>,
}

impl From<&LedgerPeriod> for Period {
    fn from(period: &LedgerPeriod) -> Self {
        Self { number: period.number, start: period.start, end: period.end }
    }
}

/// Pairs as an object.
pub fn texts(pairs: &[(String, String)]) -> BTreeMap<&str, &str> {
    pairs.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}
