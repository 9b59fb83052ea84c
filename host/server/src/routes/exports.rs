//! `GET /v1/exports`: all customers with what they have and what they used, in the form that an import reads. It is streamed, customer
//! by customer, each as of one entry.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Operator, Read},
    app::App,
    documented::problems,
    extract::Query,
    problem::Problem,
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream::try_unfold;
use proviso_api::{
    budget::{BudgetAttribute, BudgetWindow},
    entitlement::EntitlementValue,
    import::{
        BudgetRecord, ClosedRecord, CustomerRecord, EndRecord, EntitlementRecord, EntityRecord, GrantRecord,
        ImportRecord, LeftOut, OverageRecord, PeriodStart, RecordType, UsageRecord,
    },
    maps::{Attributes, ExternalIds, Quantities},
    schema,
};
use proviso_engine::{EngineError, ExportedUsage, export_id};
use proviso_ledger::{
    model::{
        amounts::{Credits, Quantity, Rounding},
        budget::{Budget, Measured, Subject},
        ids::{CustomerId, Digest, Key, Seq, hex},
        time::Timestamp,
    },
    state::{CustomerState, GrantState, GrantStatus},
};
use serde::Deserialize;
use std::{collections::VecDeque, io, sync::Arc};
use tracing::error;
use utoipa::IntoParams;

/// Customers that are listed at a time.
const CUSTOMERS: u32 = 100;
/// Records are sent in pieces of about so many bytes.
const PIECE_BYTES: usize = 64 << 10;
const JSON_LINES: &str = "application/x-ndjson";

problems!(ExportProblems: CALLER OPERATOR LANE, CustomerNotFound);

/// What is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Export {
    /// Only this customer.
    #[param(value_type = Option<schema::Key>)]
    customer: Option<CustomerId>,
    /// Only customers with keys above this, to go on with an export that broke off.
    #[param(value_type = Option<schema::Key>)]
    after: Option<CustomerId>,
    /// Whether usage is in it; defaults to true.
    usage: Option<bool>,
}

/// Move out
///
/// All customers with their entities, budgets, overrides of entitlements, live grants, outstanding overage and usage: one record a
/// line, as `POST /v1/imports` takes them. The last record, of type `end`, says how many there are and what is left out; an export
/// without it broke off.
#[utoipa::path(
    get,
    path = "/v1/exports",
    operation_id = "export_records",
    tag = "Moving",
    params(Export),
    responses(
        (status = 200, description = "One record a line", body = ImportRecord, content_type = "application/x-ndjson"),
        ExportProblems,
    ),
)]
pub async fn export(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(Export { customer, after, usage }): Query<Export>,
) -> Result<Response, Problem> {
    let mut exporter = Exporter {
        app: app.clone(),
        after,
        waiting: VecDeque::new(),
        is_listed: customer.is_some(),
        with_usage: usage.unwrap_or(true),
        at_usage: None,
        end: EndRecord { r#type: RecordType::End, customers: 0, records: 0, left_out: LeftOut::default() },
        is_done: false,
    };
    if let Some(customer) = customer {
        // One that there is not is said before anything is sent.
        app.engine.state(&customer).await?;
        exporter.waiting.push_back(customer);
    }
    let pieces = try_unfold(exporter, |mut exporter| async move {
        match exporter.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, exporter))),
            Err(problem) => {
                error!(error = %problem, "an export broke off");
                Err(io::Error::other("the export broke off"))
            }
        }
    });
    let kind = HeaderValue::from_static(JSON_LINES);
    Ok(([(CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}

/// An export that is under way.
struct Exporter {
    app: Arc<App>,
    /// The last customer that was listed.
    after: Option<CustomerId>,
    waiting: VecDeque<CustomerId>,
    is_listed: bool,
    with_usage: bool,
    /// The customer whose usage comes next, and the last entry that was looked at.
    at_usage: Option<(Arc<CustomerState>, Seq)>,
    end: EndRecord,
    is_done: bool,
}

impl Exporter {
    /// The next piece; none after the end.
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let mut lines = Vec::new();
        while !self.is_done && lines.len() < PIECE_BYTES {
            if let Some((state, after)) = self.at_usage.take() {
                self.usage(&mut lines, state, after).await?;
            } else if let Some(customer) = self.waiting.pop_front() {
                let state = self.app.engine.state(&customer).await?;
                self.customer(&mut lines, &state)?;
                self.at_usage = Some((state, 0));
            } else if self.is_listed {
                self.is_done = true;
                push(&mut lines, &ImportRecord::End(self.end.clone()))?;
            } else {
                let listed = self.app.engine.customers(self.after.as_ref(), CUSTOMERS).await?;
                self.is_listed = listed.len() < CUSTOMERS as usize;
                self.after = listed.last().map(|last| last.customer.clone()).or(self.after.take());
                self.waiting.extend(listed.into_iter().map(|one| one.customer));
            }
        }
        Ok((!lines.is_empty()).then(|| lines.into()))
    }

    fn put(&mut self, lines: &mut Vec<u8>, record: &ImportRecord) -> Result<(), EngineError> {
        self.end.records += 1;
        push(lines, record)
    }

    /// A customer and all that it has, without its usage.
    fn customer(&mut self, lines: &mut Vec<u8>, state: &CustomerState) -> Result<(), EngineError> {
        self.end.customers += 1;
        self.end.left_out.terms += state.terms.len() as u64;
        self.end.left_out.reservations += state.reservations.len() as u64;
        self.end.left_out.plan_changes += u64::from(state.plan_change.is_some());
        self.end.left_out.auto_top_ups += state.auto_top_ups.len() as u64;
        self.end.left_out.add_ons += state.add_ons.len() as u64;
        self.end.left_out.redemptions += state.redeemed.len() as u64;
        let at = self.app.now().max(state.at);
        for record in records_of(state, at)? {
            self.put(lines, &record)?;
        }
        Ok(())
    }

    async fn usage(
        &mut self,
        lines: &mut Vec<u8>,
        state: Arc<CustomerState>,
        after: Seq,
    ) -> Result<(), EngineError> {
        if self.with_usage && after < state.seq {
            let (found, last) = self.app.engine.usage_to_export(&state, after).await?;
            for usage in found {
                self.put(lines, &usage_record(&state, usage)?)?;
            }
            self.at_usage = Some((state, last));
            return Ok(());
        }
        if state.closed {
            let (r#type, customer) = (RecordType::Closed, state.customer.clone());
            self.put(lines, &ImportRecord::Closed(ClosedRecord { r#type, customer }))?;
        }
        Ok(())
    }
}

fn push(lines: &mut Vec<u8>, record: &ImportRecord) -> Result<(), EngineError> {
    serde_json::to_writer(&mut *lines, record).map_err(|error| EngineError::Internal(error.to_string()))?;
    lines.push(b'\n');
    Ok(())
}

/// A customer and what it has, in the order in which an import takes it.
fn records_of(state: &CustomerState, at: Timestamp) -> Result<Vec<ImportRecord>, EngineError> {
    let mut records = vec![ImportRecord::Customer(customer_record(state, at))];
    records.extend(entity_records(state));
    for (id, budget) in state.budgets.iter() {
        records.push(ImportRecord::Budget(budget_record(&state.customer, id, &budget.budget)));
    }
    for one in state.overrides.iter().filter(|one| one.ends_at.is_none_or(|end| at < end)) {
        records.push(ImportRecord::Entitlement(EntitlementRecord {
            r#type: RecordType::Entitlement,
            customer: state.customer.clone(),
            feature: one.feature.clone(),
            entitlement: EntitlementValue::from(&one.entitlement),
            starts_at: Some(one.starts_at),
            ends_at: one.ends_at,
        }));
    }
    let live = state.grants.by_id().filter(|grant| grant.status == GrantStatus::Live);
    for grant in live {
        records.extend(grant_record(state, grant, at)?);
    }
    for balance in state.balances(at).into_iter().filter(|balance| balance.overage.is_positive()) {
        // A credit type's name may be as long as an id.
        let digest = Digest::of(balance.credit.as_str().as_bytes());
        let id = format!("overage-{}", hex(digest.0.first_chunk::<8>().unwrap_or(&[0; 8])));
        records.push(ImportRecord::Overage(OverageRecord {
            r#type: RecordType::Overage,
            customer: state.customer.clone(),
            id: key(export_id(state, &id))?,
            credit: Some(balance.credit),
            amount: balance.overage,
        }));
    }
    Ok(records)
}

fn key(text: String) -> Result<Key, EngineError> {
    text.parse().map_err(|_| EngineError::Internal(format!("{text} is no id")))
}

fn customer_record(state: &CustomerState, at: Timestamp) -> CustomerRecord {
    let profile = state.profile.as_ref();
    // A closed customer has no period that its plan could go on with.
    let open = profile.filter(|_| !state.closed);
    CustomerRecord {
        r#type: RecordType::Customer,
        customer: state.customer.clone(),
        name: profile.map(|profile| profile.name.clone()),
        plan: open.and_then(|profile| profile.plan.clone()),
        plan_version: open.and_then(|profile| profile.plan_version),
        time_zone: profile.map(|profile| profile.time_zone.clone()),
        anchor: profile.map(|profile| profile.anchor),
        attributes: Attributes(profile.map(|profile| profile.attributes.clone()).unwrap_or_default()),
        external_ids: ExternalIds(profile.map(|profile| profile.external_ids.clone()).unwrap_or_default()),
        period: PeriodStart::Resume,
        trial_ends_at: state.trial_ends_at(at),
    }
}

/// Entities, those above others first.
fn entity_records(state: &CustomerState) -> Vec<ImportRecord> {
    let mut by_level: Vec<(usize, ImportRecord)> = Vec::with_capacity(state.entities.len());
    for (id, entity) in state.entities.iter() {
        let record = EntityRecord {
            r#type: RecordType::Entity,
            customer: state.customer.clone(),
            entity: id.clone(),
            parent: entity.parent.clone(),
            attributes: Attributes(entity.attributes.clone()),
        };
        by_level.push((state.entities.ancestors(id).len(), ImportRecord::Entity(record)));
    }
    by_level.sort_by_key(|(level, _)| *level);
    by_level.into_iter().map(|(_, record)| record).collect()
}

fn budget_record(customer: &CustomerId, id: &Key, budget: &Budget) -> BudgetRecord {
    let Budget { subject, features, measured, window, limit, hard, warn_at } = budget.clone();
    let (entity, attribute) = match subject {
        Subject::Customer => (None, None),
        Subject::Entity(entity) => (Some(entity), None),
        Subject::Attribute { name, value } => (None, Some(BudgetAttribute { name, value })),
    };
    let (quantity, credit) = match measured {
        Measured::Credits(credit) => (None, Some(credit)),
        Measured::Quantity(name) => (Some(name), None),
    };
    BudgetRecord {
        r#type: RecordType::Budget,
        customer: customer.clone(),
        budget: id.clone(),
        entity,
        attribute,
        features,
        window: BudgetWindow(window),
        limit: Quantity::new(limit),
        quantity,
        credit,
        hard: Some(hard),
        warn_at: Some(warn_at),
    }
}

/// A live grant. What is held of it counts as not used: reservations stay here. None of one that nothing was ever in.
fn grant_record(
    state: &CustomerState,
    grant: &GrantState,
    at: Timestamp,
) -> Result<Option<ImportRecord>, EngineError> {
    let given = &grant.grant;
    let parts = [grant.remaining, grant.held, grant.spent, grant.voided];
    let amount = parts.into_iter().fold(Credits::ZERO, Credits::saturating_add);
    if !amount.is_positive() {
        return Ok(None);
    }
    // What came to it from other grants, or went on to them, has no part in what was paid.
    let cost_basis = given.cost_basis.map(|basis| {
        basis.share(amount.min(given.amount), given.amount, Rounding::HalfEven).unwrap_or(basis)
    });
    let usable_in = state.period_number_at(given.effective_at.max(at));
    let running = state.period.as_ref().map(|period| period.number);
    Ok(Some(ImportRecord::Grant(Box::new(GrantRecord {
        r#type: RecordType::Grant,
        customer: state.customer.clone(),
        id: key(export_id(state, &given.id.to_string()))?,
        amount,
        used: grant.spent,
        voided: grant.voided,
        credit: Some(given.credit.clone()),
        category: given.category,
        priority: given.priority,
        effective_at: Some(given.effective_at),
        expires_at: Some(given.expires_at),
        expires_with_period: grant.ends_with.map(|with| with.number.saturating_sub(usable_in)),
        features: given.features.clone(),
        cost_basis,
        metadata: Attributes(given.metadata.clone()),
        allowance: Some(running.is_some() && grant.allowance_of == running),
    }))))
}

fn usage_record(state: &CustomerState, usage: ExportedUsage) -> Result<ImportRecord, EngineError> {
    let ExportedUsage { id, usage, at, credit, cost, paid, refund } = usage;
    Ok(ImportRecord::Usage(Box::new(UsageRecord {
        r#type: RecordType::Usage,
        customer: state.customer.clone(),
        id: key(id)?,
        feature: usage.feature,
        quantities: Quantities(usage.quantities),
        attributes: Attributes(usage.attributes),
        entity: usage.entity,
        ancestors: Some(usage.ancestors),
        occurred_at: at,
        credit: Some(credit),
        cost,
        paid: paid.into_iter().map(|(payer, amount)| (payer.to_owned(), amount)).collect(),
        refund,
    })))
}
