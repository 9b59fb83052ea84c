//! The ledger's values in the words of the wire contract. Nothing is computed here.

use proviso_api::{
    balance::Balance,
    balances::OpenReservation,
    decision::{DecidingPolicy, Draw, Line, Offer, Suggestion},
    grant::{Grant, GrantStatus},
    period::Period,
    policy::{Manifest, Policy, PolicyVersion},
    terms::{Contract, Terms, TermsEnded},
};
use proviso_engine::catalog::{self, Catalog};
use proviso_ledger::{
    journal,
    model::{
        amounts::{Credits, Quantity},
        answers::{self, Suggestion as LedgerSuggestion},
        grant::Grant as LedgerGrant,
        ids::{Key, ReservationId, TermsId},
        terms::{self, PolicyRef},
        time::Timestamp,
        view::BalanceView,
    },
    state::{self, CustomerState, GrantState, ReservationState},
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
        spent,
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
        created_at: terms.created_at,
        in_force: None,
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
        deleted: version.deleted,
        created_at: version.created_at,
    }
}

/// Pairs as an object.
pub fn texts(pairs: &[(String, String)]) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    pairs.iter().map(|(name, text)| (name.as_str().into(), text.as_str().into())).collect()
}

/// An open reservation.
pub fn open_reservation((id, reservation): (&ReservationId, &ReservationState)) -> OpenReservation {
    OpenReservation {
        id: *id,
        feature: reservation.usage.feature.clone(),
        entity: reservation.usage.entity.clone(),
        credit: reservation.credit.clone(),
        reserved: reservation.held(),
        expires_at: reservation.expires_at,
    }
}
