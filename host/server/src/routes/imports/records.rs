//! A record in the engine's words. What makes it one and the same record is its customer, its type and its id there, whatever the
//! import is called and whether it came as JSON or as CSV.

use crate::{
    extract::{object, short},
    problem::Problem,
};
use proviso_api::{
    grant::MAX_FEATURES,
    import::{
        BudgetRecord, ClosedRecord, CustomerRecord, EntitlementRecord, EntityRecord, GrantRecord, OVERAGE,
        OverageRecord, PeriodStart, RecordType, UsageRecord,
    },
    maps::is_name,
};
use proviso_engine::{
    BudgetChange, Change, Engine, EntityChange, Expected, OverrideChange,
    command::{Command, CustomerChange, Idempotency, UsageRequest},
    importing::{CustomerImport, Import, Imported, PastUsage},
};
use proviso_ledger::{
    journal::PaidElsewhere,
    model::{
        answers::Allowance,
        entity::MOST_LEVELS,
        grant::{Category, default_credit},
        ids::{CustomerId, IdempotencyKey, Key, hex},
        view::Expiry,
    },
    rules::{
        grants::GrantRequest,
        importing::{ImportOrigin, ImportedGrant},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// A record that can be moved in.
pub struct Ready {
    pub customer: CustomerId,
    pub idempotency: Idempotency,
    pub command: Command,
}

/// Makes a record of the import of this name.
type Prepare = Box<dyn FnOnce(&Key) -> Result<Ready, Problem> + Send>;

/// A line, as far as it could be read. `what` is none where there is nothing to move in.
pub struct Line {
    pub r#type: Option<RecordType>,
    pub customer: Option<String>,
    pub id: Option<String>,
    pub what: Result<Option<Prepare>, Problem>,
}

/// What tells records apart, read whatever else is wrong.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    r#type: Option<serde_json::Value>,
    #[serde(default)]
    customer: Option<serde_json::Value>,
    #[serde(default)]
    id: Option<serde_json::Value>,
}

impl Line {
    /// A line that says nothing, or not what it should.
    pub fn unread(problem: Option<Problem>) -> Self {
        let what = problem.map_or(Ok(None), Err);
        Self { r#type: None, customer: None, id: None, what }
    }

    /// Reads a line; `default` is its type if it names none.
    pub fn read(text: &[u8], default: Option<RecordType>) -> Self {
        let head: Head = match object("", text) {
            Ok(head) => head,
            Err(problem) => return Self::unread(Some(problem)),
        };
        let text_of = |value: &Option<serde_json::Value>| {
            value.as_ref().and_then(|value| value.as_str()).map(str::to_owned)
        };
        let (customer, id) = (text_of(&head.customer), text_of(&head.id));
        let named = head.r#type.map(serde_json::from_value::<RecordType>).transpose();
        let (r#type, what) = match (named, default) {
            (Ok(Some(named)), _) => (Some(named), prepare(named, text)),
            (Ok(None), Some(default)) => (Some(default), with_type(default, text)),
            (Ok(None), None) => (None, Err(Problem::invalid_field("/type", "is missing"))),
            (Err(error), _) => (None, Err(Problem::invalid_field("/type", error.to_string()))),
        };
        Self { r#type, customer, id, what }
    }
}

/// The record with its type in it.
fn with_type(r#type: RecordType, text: &[u8]) -> Result<Option<Prepare>, Problem> {
    let mut record: serde_json::Map<String, serde_json::Value> = object("", text)?;
    record.insert("type".to_owned(), r#type.as_str().into());
    let text = serde_json::to_vec(&record).map_err(|error| Problem::internal(error.to_string()))?;
    prepare(r#type, &text)
}

fn prepare(r#type: RecordType, text: &[u8]) -> Result<Option<Prepare>, Problem> {
    fn ready<R, F>(text: &[u8], make: F) -> Result<Option<Prepare>, Problem>
    where
        R: DeserializeOwned + Serialize + Send + 'static,
        F: FnOnce(R, &Key) -> Result<Ready, Problem> + Send + 'static,
    {
        let record: R = object("", text)?;
        Ok(Some(Box::new(move |import: &Key| make(record, import))))
    }
    match r#type {
        RecordType::Customer => ready(text, customer),
        RecordType::Entity => ready(text, entity),
        RecordType::Budget => ready(text, budget),
        RecordType::Entitlement => ready(text, entitlement),
        RecordType::Grant => ready(text, grant),
        RecordType::Overage => ready(text, overage),
        RecordType::Usage => ready(text, usage),
        RecordType::Closed => ready(text, closed),
        RecordType::End => Ok(None),
    }
}

/// The key of a record, and the digest of what it says.
fn idempotency(r#type: RecordType, id: &str, record: &impl Serialize) -> Result<Idempotency, Problem> {
    let internal = |error: String| Problem::internal(error);
    let digest = Engine::request_digest(&[id.as_bytes()]);
    // An id may be any text, a key may not.
    let name =
        format!("import:{}:{}", r#type.as_str(), hex(digest.0.first_chunk::<16>().unwrap_or(&[0; 16])));
    let key = IdempotencyKey::of_host(&name).map_err(|_| internal(format!("{name} makes no key")))?;
    let body = serde_json::to_vec(record).map_err(|error| internal(error.to_string()))?;
    Ok((key, Engine::request_digest(&[b"import", &body])))
}

/// A credit type, unless it is the one that is meant where none is named: a record that names it is the same as one that does not.
fn other_credit(credit: Option<Key>) -> Option<Key> {
    credit.filter(|credit| *credit != default_credit())
}

fn set<T>(value: Option<T>) -> Change<T> {
    value.map_or(Change::Keep, Change::Set)
}

fn require_few(pointer: &str, items: usize, most: usize) -> Result<(), Problem> {
    if items <= most {
        return Ok(());
    }
    Err(Problem::invalid_field(pointer, format!("has more than {most} items")))
}

fn customer(record: CustomerRecord, _: &Key) -> Result<Ready, Problem> {
    if let Some(name) = &record.name {
        short("/name", name)?;
    }
    let idempotency = idempotency(RecordType::Customer, "", &record)?;
    let change = CustomerChange {
        name: set(record.name),
        plan: set(record.plan),
        time_zone: set(record.time_zone),
        anchor: set(record.anchor),
        attributes: set(Some(record.attributes.0)),
        external_ids: set(Some(record.external_ids.0)),
        allowance: Allowance::Carry,
        expected: Expected::Anything,
    };
    let import = CustomerImport {
        change,
        plan_version: record.plan_version,
        opens_period: record.period == PeriodStart::Open,
        trial_ends_at: record.trial_ends_at,
    };
    Ok(Ready { customer: record.customer, idempotency, command: Command::ImportCustomer(Box::new(import)) })
}

fn entity(record: EntityRecord, _: &Key) -> Result<Ready, Problem> {
    let idempotency = idempotency(RecordType::Entity, record.entity.as_str(), &record)?;
    let change = EntityChange {
        id: record.entity,
        parent: set(record.parent),
        attributes: set(Some(record.attributes.0)),
        expected: Expected::Absent,
    };
    Ok(Ready { customer: record.customer, idempotency, command: Command::SetEntity(Box::new(change)) })
}

fn budget(record: BudgetRecord, _: &Key) -> Result<Ready, Problem> {
    let idempotency = idempotency(RecordType::Budget, record.budget.as_str(), &record)?;
    let wrong = |pointer: &str, detail: &str| Err(Problem::invalid_field(pointer, detail));
    if record.entity.is_some() && record.attribute.is_some() {
        return wrong("/attribute", "a budget is of an entity or of an attribute, not both");
    }
    if record.quantity.is_some() && record.credit.is_some() {
        return wrong("/credit", "a budget limits credits or a quantity, not both");
    }
    if record.attribute.as_ref().is_some_and(|one| !is_name(&one.name)) {
        return wrong("/attribute/name", "must be 1 to 128 characters of A-Z a-z 0-9 _ . : -");
    }
    if record.quantity.as_ref().is_some_and(|name| !is_name(name)) {
        return wrong("/quantity", "must be 1 to 128 characters of A-Z a-z 0-9 _ . : -");
    }
    if record.limit.is_negative() || !record.limit.is_acceptable() {
        return wrong("/limit", "must be 0 or more and below 1000000000000000");
    }
    require_few("/features", record.features.len(), proviso_api::budget::MAX_FEATURES)?;
    let warn_at = record.warn_at.as_deref().unwrap_or_default();
    require_few("/warn_at", warn_at.len(), proviso_api::budget::MAX_WARNINGS)?;
    if warn_at.iter().any(|percent| !(1..=proviso_api::budget::MAX_PERCENT).contains(percent)) {
        return wrong("/warn_at", "must be percentages from 1 to 1000");
    }
    let change = BudgetChange {
        id: record.budget,
        entity: set(record.entity),
        attribute: set(record.attribute.map(|one| (one.name, one.value))),
        features: set(Some(record.features)),
        window: Some(record.window.0),
        limit: Some(record.limit.decimal()),
        quantity: set(record.quantity),
        credit: set(record.credit),
        hard: set(record.hard),
        warn_at: set(record.warn_at),
        expected: Expected::Absent,
    };
    Ok(Ready { customer: record.customer, idempotency, command: Command::SetBudget(Box::new(change)) })
}

fn entitlement(record: EntitlementRecord, _: &Key) -> Result<Ready, Problem> {
    let id = format!("{}\n{}", record.feature, record.starts_at.map_or(0, |at| at.0));
    let idempotency = idempotency(RecordType::Entitlement, &id, &record)?;
    let entitlement = record.entitlement.read("/entitlement");
    let change = OverrideChange {
        feature: record.feature,
        entitlement: Some(entitlement.map_err(|error| Problem::invalid(vec![error]))?),
        starts_at: set(record.starts_at),
        ends_at: record.ends_at.map_or(Change::Clear, Change::Set),
        expected: Expected::Absent,
    };
    Ok(Ready { customer: record.customer, idempotency, command: Command::SetOverride(Box::new(change)) })
}

fn closed(record: ClosedRecord, _: &Key) -> Result<Ready, Problem> {
    let idempotency = idempotency(RecordType::Closed, "", &record)?;
    Ok(Ready { customer: record.customer, idempotency, command: Command::Close(Expected::Anything) })
}

fn moved_in(customer: CustomerId, idempotency: Idempotency, origin: ImportOrigin, what: Imported) -> Ready {
    Ready { customer, idempotency, command: Command::Import(Box::new(Import { origin, what })) }
}

fn grant(record: GrantRecord, import: &Key) -> Result<Ready, Problem> {
    let record = GrantRecord { credit: other_credit(record.credit), ..record };
    let idempotency = idempotency(RecordType::Grant, record.id.as_str(), &record)?;
    require_few("/features", record.features.len(), MAX_FEATURES)?;
    let origin = ImportOrigin { import: import.clone(), external_id: record.id };
    let grant = GrantRequest {
        credit: record.credit.unwrap_or_else(default_credit),
        amount: record.amount,
        category: record.category,
        priority: record.priority,
        effective_at: record.effective_at,
        expires: Expiry { at: record.expires_at.flatten(), with_period: record.expires_with_period },
        features: record.features,
        cost_basis: record.cost_basis,
        metadata: record.metadata.0,
    };
    let imported = ImportedGrant {
        grant,
        never_expires: record.expires_at == Some(None),
        used: record.used,
        voided: record.voided,
        allowance: record.allowance,
    };
    Ok(moved_in(record.customer, idempotency, origin, Imported::Grant(Box::new(imported))))
}

fn overage(record: OverageRecord, import: &Key) -> Result<Ready, Problem> {
    let record = OverageRecord { credit: other_credit(record.credit), ..record };
    let idempotency = idempotency(RecordType::Overage, record.id.as_str(), &record)?;
    let origin = ImportOrigin { import: import.clone(), external_id: record.id };
    let credit = record.credit.unwrap_or_else(default_credit);
    Ok(moved_in(record.customer, idempotency, origin, Imported::Overage(credit, record.amount)))
}

fn usage(record: UsageRecord, import: &Key) -> Result<Ready, Problem> {
    let record = UsageRecord { credit: other_credit(record.credit), ..record };
    let idempotency = idempotency(RecordType::Usage, record.id.as_str(), &record)?;
    require_few("/ancestors", record.ancestors.as_ref().map_or(0, Vec::len), MOST_LEVELS)?;
    let origin = ImportOrigin { import: import.clone(), external_id: record.id };
    let past = PastUsage {
        usage: UsageRequest {
            feature: record.feature,
            quantities: record.quantities.0,
            attributes: record.attributes.0,
            entity: record.entity,
            occurred_at: Some(record.occurred_at),
        },
        ancestors: record.ancestors,
        credit: record.credit.unwrap_or_else(default_credit),
        cost: record.cost,
        paid: paid(&record.paid)?,
        refund: record.refund,
    };
    Ok(moved_in(record.customer, idempotency, origin, Imported::Usage(Box::new(past))))
}

fn paid(
    by_name: &BTreeMap<String, proviso_ledger::model::amounts::Credits>,
) -> Result<Vec<PaidElsewhere>, Problem> {
    let parts = by_name.iter().map(|(name, amount)| {
        let category = Category::from_name(name);
        if category.is_none() && name != OVERAGE {
            let pointer = format!("/paid/{}", name.replace('~', "~0").replace('/', "~1"));
            return Err(Problem::invalid_field(pointer, "is neither a category of grants nor overage"));
        }
        Ok(PaidElsewhere { category, amount: *amount })
    });
    parts.collect()
}
