//! The ledger's values in the words of the wire contract. Nothing is computed here.

use proviso_api::{
    balance::Balance,
    balances::{OpenReservation, ReservationRead, ReservationStatus},
    budget::{Budget, BudgetAttribute, BudgetWindow, Level, OverBudget},
    canary::{Canary, CanaryStep, RollbackRule, RolledBack},
    decision::{DecidingPolicy, Draw, Line, Offer, Suggestion},
    grant::{Grant, GrantStatus},
    lease::{Lease, LeaseStatus},
    period::Period,
    policy::{Manifest, Policy, PolicyVersion, SignedBy},
    terms::{Contract, Terms, TermsEnded},
    top_up::PendingTopUp,
};
use proviso_engine::catalog::{self, Catalog};
use proviso_ledger::{
    journal,
    model::{
        amounts::{Credits, Decimal, Quantity},
        answers::{self, Suggestion as LedgerSuggestion},
        budget::{self, Measured, Subject},
        canary,
        grant::Grant as LedgerGrant,
        ids::{Key, LeaseId, ReservationId, TermsId},
        terms::{self, PolicyRef},
        time::Timestamp,
        view::BalanceView,
    },
    state::{self, BudgetState, BudgetTotal, CustomerState, GrantState, HeldFor, ReservationState},
};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

pub fn balance(balance: &journal::Balance, next_reset_at: Option<Timestamp>) -> Balance {
    let journal::Balance { granted, used, reserved, available, restricted, overage, held_overage, .. } =
        *balance;
    let reserved_overage = held_overage;
    Balance { granted, used, reserved, reserved_overage, available, restricted, overage, next_reset_at }
}

/// A balance as a feature sees it.
pub fn balance_view(balance: &BalanceView, next_reset_at: Option<Timestamp>) -> Balance {
    let BalanceView { granted, used, reserved, available, restricted, overage, held_overage, .. } = *balance;
    let reserved_overage = held_overage;
    Balance { granted, used, reserved, reserved_overage, available, restricted, overage, next_reset_at }
}

/// A credit type's balance at `at`.
pub fn balance_at(state: &CustomerState, credit: &Key, at: Timestamp) -> Balance {
    balance(&state.balance(credit, at), state.next_reset_at())
}

pub fn lines(lines: &[journal::Line]) -> Vec<Line<'_>> {
    lines.iter().map(line).collect()
}

fn line(line: &journal::Line) -> Line<'_> {
    let journal::Line { label, quantity, unit_cost, cost } = line;
    Line { label: Cow::Borrowed(label), quantity: *quantity, unit_cost: *unit_cost, cost: *cost }
}

pub fn draw(draw: journal::Draw) -> Draw {
    Draw { grant: draw.grant, amount: draw.amount }
}

pub fn deciding_policy(policy: &PolicyRef) -> DecidingPolicy {
    DecidingPolicy { name: policy.name.clone(), version: policy.version, digest: policy.digest }
}

pub fn offer(offer: &journal::Offer) -> Offer<'_> {
    Offer {
        code: Cow::Borrowed(&offer.code),
        label: Cow::Borrowed(&offer.label),
        credits: offer.credits,
        price: offer.price,
    }
}

pub fn suggestion(suggestion: &LedgerSuggestion) -> Suggestion<'_> {
    Suggestion {
        detail: Cow::Borrowed(&suggestion.detail),
        attributes: texts(&suggestion.attributes),
        quantities: quantities(&suggestion.quantities),
    }
}

pub fn quantities(pairs: &[(String, Quantity)]) -> BTreeMap<Cow<'_, str>, Quantity> {
    pairs.iter().map(|(name, amount)| (name.as_str().into(), *amount)).collect()
}

/// A grant as the entry at `at` made it.
pub fn new_grant(grant: &LedgerGrant, at: Timestamp) -> Grant<'_> {
    let amounts = [grant.amount, Credits::ZERO, Credits::ZERO];
    grant_with(grant, amounts, state::GrantStatus::Live, grant.expires_at, at)
}

/// A grant as it is at `at`.
pub fn grant(state: &GrantState, at: Timestamp) -> Grant<'_> {
    grant_with(&state.grant, [state.remaining, state.held, state.spent], state.status, state.ends_at, at)
}

/// A grant that the state has forgotten, since nothing is left of it: what was spent of it, only the journal's sums tell.
pub fn forgotten_grant<'a>(state: &CustomerState, grant: &'a LedgerGrant, at: Timestamp) -> Grant<'a> {
    let status = if state.voided.contains(&grant.id) {
        state::GrantStatus::Voided
    } else if state.has_ended(grant, at) {
        state::GrantStatus::Expired
    } else {
        state::GrantStatus::Live
    };
    let nothing = [Credits::ZERO; 3];
    Grant { spent: None, ..grant_with(grant, nothing, status, grant.expires_at, at) }
}

fn grant_with(
    grant: &LedgerGrant,
    [remaining, held, spent]: [Credits; 3],
    status: state::GrantStatus,
    ends_at: Option<Timestamp>,
    at: Timestamp,
) -> Grant<'_> {
    Grant {
        id: grant.id,
        credit: grant.credit.clone(),
        category: grant.category,
        amount: grant.amount,
        remaining,
        held,
        spent: Some(spent),
        status: match status {
            state::GrantStatus::Live if grant.effective_at > at => GrantStatus::Scheduled,
            state::GrantStatus::Live => GrantStatus::Live,
            state::GrantStatus::Expired => GrantStatus::Expired,
            state::GrantStatus::Voided => GrantStatus::Voided,
        },
        priority: grant.priority,
        effective_at: grant.effective_at,
        expires_at: ends_at,
        expires_with_period: grant.expires_with_period,
        features: Cow::Borrowed(&grant.features),
        cost_basis: grant.cost_basis,
        metadata: texts(&grant.metadata),
    }
}

pub fn period(period: &journal::Period) -> Period {
    Period { number: period.number, start: period.start, end: period.end }
}

pub fn terms(terms: &terms::Terms) -> Terms<'_> {
    Terms {
        id: terms.key.id,
        key: terms.key.clone(),
        policy: terms.policy.name.clone(),
        version: terms.policy.version,
        digest: terms.policy.digest,
        settings: Cow::Borrowed(&terms.settings),
        effective_at: terms.effective_at,
        ends_at: terms.ends_at,
        mode: terms.mode,
        on_fault: terms.on_fault,
        contract: terms.contract.as_ref().map(|contract| Contract {
            id: Cow::Borrowed(&contract.id),
            start: contract.start,
            end: contract.end,
        }),
        time_zone: terms.time_zone.as_ref().map(|zone| Cow::Borrowed(zone.name())),
        note: terms.note.as_deref().map(Cow::Borrowed),
        canary: terms.canary.as_ref().map(canary),
        created_at: terms.created_at,
        in_force: None,
    }
}

/// What makes terms a canary.
pub fn canary(canary: &canary::Canary) -> Canary<'_> {
    let step = |step: &canary::ShareStep| CanaryStep { share_percent: step.share_percent, from: step.from };
    Canary {
        share_percent: canary.share(),
        steps: canary.steps.iter().map(step).collect(),
        rollback: canary.rollback.as_ref().map(RollbackRule::from),
        rolled_back: canary.rolled_back.as_ref().map(|ended| RolledBack {
            at: ended.at,
            limit: ended.limit,
            reason: Cow::Borrowed(&ended.reason),
            decisions: ended.decisions,
            faults: ended.faults,
        }),
    }
}

/// Terms of one owner, each with whether it is the one that decides at `now`.
pub fn terms_with_status(all: &[Arc<terms::Terms>], now: Timestamp) -> impl Iterator<Item = Terms<'_>> {
    let current: Option<TermsId> = terms::in_force(all, now).map(|terms| terms.key.id);
    all.iter().map(move |one| Terms { in_force: Some(current == Some(one.key.id)), ..terms(one) })
}

pub fn ended_terms(terms: &terms::Terms) -> TermsEnded {
    TermsEnded { id: terms.key.id, ends_at: terms.ends_at.unwrap_or(terms.effective_at) }
}

pub fn policy<'a>(catalog: &Catalog, policy: &'a catalog::Policy) -> Policy<'a> {
    let versions = catalog.versions.get(&policy.policy).map_or(&[][..], Vec::as_slice);
    Policy {
        policy: policy.policy.clone(),
        description: Cow::Borrowed(&policy.description),
        resource_class: policy.class,
        latest_version: versions.iter().rev().find(|version| !version.deleted).map(|version| version.version),
        created_at: policy.created_at,
    }
}

pub fn policy_version(version: &catalog::Version) -> PolicyVersion<'_> {
    let answers::Manifest { name, version: authors, summary, settings_schema, needs } = &version.manifest;
    PolicyVersion {
        policy: version.policy.clone(),
        version: version.version,
        digest: version.digest,
        size_bytes: version.size_bytes,
        manifest: Manifest {
            name: Cow::Borrowed(name),
            version: Cow::Borrowed(authors),
            summary: Cow::Borrowed(summary),
            settings_schema: Cow::Borrowed(settings_schema),
            needs: *needs,
        },
        compile_ms: version.compile_ms,
        signed_by: version.signed_by.as_ref().map(|signed| SignedBy {
            name: Cow::Borrowed(signed.name.as_str()),
            public_key: Cow::Borrowed(&signed.public_key),
            signature: Cow::Borrowed(&signed.signature),
        }),
        deleted: version.deleted,
        created_at: version.created_at,
    }
}

/// Pairs as an object.
pub fn texts(pairs: &[(String, String)]) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    pairs.iter().map(|(name, text)| (name.as_str().into(), text.as_str().into())).collect()
}

/// An open reservation.
/// A reservation that holds.
pub fn reservation_read(reservation: OpenReservation) -> ReservationRead {
    ReservationRead {
        reservation,
        status: ReservationStatus::Open,
        ended_at: None,
        charge: None,
        cost: None,
        overage: None,
        returned: None,
        entry: None,
    }
}

/// A hold as the reservation that it is; none for a lease's.
pub fn open_reservation((id, hold): (&ReservationId, &ReservationState)) -> Option<OpenReservation> {
    let HeldFor::Usage { usage, .. } = &hold.held_for else { return None };
    Some(OpenReservation {
        id: *id,
        feature: usage.feature.clone(),
        entity: usage.entity.clone(),
        credit: hold.credit.clone(),
        reserved: hold.held(),
        expires_at: hold.expires_at,
    })
}

/// A hold as the lease that it is; none for a reservation's.
pub fn open_lease<'a>((id, hold): (&ReservationId, &'a ReservationState)) -> Option<Lease<'a>> {
    let HeldFor::Lease(lease) = &hold.held_for else { return None };
    let remaining = hold.held();
    Some(Lease {
        id: LeaseId::of_hold(*id),
        status: LeaseStatus::Open,
        credit: hold.credit.clone(),
        amount: lease.amount,
        drawn: lease.amount.saturating_sub(remaining),
        remaining,
        features: Cow::Borrowed(&lease.features),
        entity: lease.entity.clone(),
        opened_at: hold.reserved_at,
        expires_at: hold.expires_at,
        returned: None,
    })
}

/// A budget with what counts toward it at `at`.
pub fn budget<'a>(state: &CustomerState, id: &Key, budget: &'a BudgetState, at: Timestamp) -> Budget<'a> {
    let BudgetTotal { used, held, .. } = budget.total(state.budget_window(&budget.budget, at));
    let budget::Budget { subject, features, measured, window, limit, hard, warn_at } = &budget.budget;
    let (level, entity, attribute) = level_of(subject);
    let (quantity, credit) = measure_of(measured);
    Budget {
        budget: id.clone(),
        level,
        entity,
        attribute,
        features: Cow::Borrowed(features),
        window: BudgetWindow(*window),
        quantity,
        credit,
        limit: *limit,
        hard: *hard,
        warn_at: Cow::Borrowed(warn_at),
        used,
        held,
        remaining: limit.saturating_sub(used).saturating_sub(held).max(Decimal::ZERO),
        resets_at: state.budget_resets_at(&budget.budget, at),
    }
}

/// A top-up that awaits its payment.
pub fn pending_top_up(pending: journal::PendingTopUp) -> PendingTopUp {
    let journal::PendingTopUp { id, amount, expires_at } = pending;
    PendingTopUp { id, amount, expires_at }
}

/// The budget that does not allow a usage.
pub fn over_budget(over: &journal::OverBudget) -> OverBudget<'_> {
    let (level, entity, attribute) = level_of(&over.subject);
    OverBudget {
        budget: Some(over.budget.clone()),
        level: Some(level),
        entity,
        attribute,
        window: Some(BudgetWindow(over.window)),
        quantity: measure_of(&over.measured).0,
        limit: Some(over.limit),
        used: Some(over.used),
        held: Some(over.held),
        remaining: Some(over.remaining()),
    }
}

fn level_of(subject: &Subject) -> (Level, Option<Key>, Option<BudgetAttribute>) {
    match subject {
        Subject::Customer => (Level::Customer, None, None),
        Subject::Entity(entity) => (Level::Entity, Some(entity.clone()), None),
        Subject::Attribute { name, value } => {
            let attribute = BudgetAttribute { name: name.clone(), value: value.clone() };
            (Level::Attribute, None, Some(attribute))
        }
    }
}

/// The quantity or the credit type that is limited.
fn measure_of(measured: &Measured) -> (Option<Cow<'_, str>>, Option<Key>) {
    match measured {
        Measured::Credits(credit) => (None, Some(credit.clone())),
        Measured::Quantity(name) => (Some(Cow::Borrowed(name)), None),
    }
}
