//! The JSON files that `policy run` takes. What they leave out has the value that a customer without any history would show.

use proviso_api::usage::Usage as Body;
use proviso_ledger::{
    journal::{CloseReason, OpenReason},
    model::{
        amounts::{Credits, Decimal, Money},
        answers::Allowance,
        counter::{Counted, Counter},
        grant::{Category, CreditType, default_credit},
        ids::{GrantId, Key, Name},
        time::{Timestamp, Zone},
        usage::{Purpose, Usage},
        view::{
            BalanceView, Closing, Context, ContractView, CycleView, EntityView, Expiry, GrantView, Opening,
            PeriodView, UsageView,
        },
    },
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A usage: the body of a charge, and what the host would know of it.
pub struct UsageFile {
    body: Body,
    known: KnownFile,
}

/// What the host would know of a usage.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KnownFile {
    /// The entity, then its parent and so on; without it, the entity alone.
    entities: Vec<EntityFile>,
    purpose: PurposeName,
    /// The period that it occurred in; defaults to that of the context.
    period: Option<PeriodFile>,
    late: bool,
}

/// The fields of [`KnownFile`]; all others are the body's.
const KNOWN: [&str; 4] = ["entities", "purpose", "period", "late"];

impl<'de> Deserialize<'de> for UsageFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let known = KNOWN.iter().filter_map(|name| fields.remove_entry(*name)).collect();
        let known = part(known)?;
        fields.entry("quantities").or_insert_with(|| Value::Object(Map::new()));
        Ok(Self { body: part(fields)?, known })
    }
}

/// Reads some of the fields. They have left their lines behind, so a mistake is told by the field's name.
fn part<T: DeserializeOwned, E: serde::de::Error>(fields: Map<String, Value>) -> Result<T, E> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let place = error.path().to_string();
        // The path of the fields as a whole.
        if place == "." {
            E::custom(error.inner())
        } else {
            E::custom(format_args!("{place}: {}", error.inner()))
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityFile {
    id: Key,
    #[serde(default, with = "proviso_ledger::model::pairs")]
    attributes: Vec<(String, String)>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PurposeName {
    #[default]
    Charge,
    Reserve,
    Commit,
}

/// A usage as it is shown to a policy.
pub struct Reported {
    usage: Usage,
    entities: Vec<EntityView>,
    purpose: Purpose,
    period: Option<PeriodFile>,
    late: bool,
}

impl UsageFile {
    /// The usage, which occurred `now` unless it names another time.
    pub fn reported(self, now: Timestamp) -> Result<Reported, String> {
        let Self { body, known } = self;
        let mut entities: Vec<EntityView> = known
            .entities
            .into_iter()
            .map(|entity| EntityView { id: entity.id, attributes: entity.attributes })
            .collect();
        match (&body.entity, entities.first()) {
            (Some(entity), Some(first)) if first.id != *entity => {
                return Err(format!("entities: must begin with the entity {entity}"));
            }
            (Some(entity), None) => entities.push(EntityView { id: entity.clone(), attributes: Vec::new() }),
            _ => {}
        }
        Ok(Reported {
            usage: Usage {
                feature: body.feature,
                quantities: body.quantities.0,
                attributes: body.attributes.0,
                entity: entities.first().map(|entity| entity.id.clone()),
                ancestors: entities.iter().skip(1).map(|entity| entity.id.clone()).collect(),
                occurred_at: body.occurred_at.unwrap_or(now),
            },
            entities,
            purpose: match known.purpose {
                PurposeName::Charge => Purpose::Charge,
                PurposeName::Reserve => Purpose::Reserve,
                PurposeName::Commit => Purpose::Commit,
            },
            period: known.period,
            late: known.late,
        })
    }
}

impl Reported {
    /// What the policy sees of it.
    pub fn view(&self, shown: &Shown) -> UsageView<'_> {
        UsageView {
            usage: &self.usage,
            entities: self.entities.clone(),
            occurred_at: shown.zone.moment(self.usage.occurred_at),
            purpose: self.purpose,
            period: self.period.map_or(shown.context.period, |period| period.view(&shown.zone)),
            late: self.late,
        }
    }
}

/// What a policy is shown beside a usage.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextFile {
    now: Option<Timestamp>,
    /// Of the terms, in which all times are read.
    time_zone: Zone,
    customer: Option<Key>,
    plan: Option<Name>,
    #[serde(with = "proviso_ledger::model::pairs")]
    attributes: Vec<(String, String)>,
    period: Option<PeriodFile>,
    terms_effective_at: Option<Timestamp>,
    contract: Option<ContractFile>,
    balances: BTreeMap<CreditType, BalanceFile>,
    grants: Vec<GrantFile>,
    counters: BTreeMap<String, CounterFile>,
    closing: ClosingFile,
    opening: OpeningFile,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodFile {
    number: u32,
    start: Timestamp,
    end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    id: String,
    start: Timestamp,
    end: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BalanceFile {
    granted: Credits,
    used: Credits,
    reserved: Credits,
    available: Credits,
    restricted: Credits,
    overage: Credits,
    held_overage: Credits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    id: GrantId,
    #[serde(default = "default_credit")]
    credit: CreditType,
    category: Category,
    #[serde(default)]
    priority: i32,
    amount: Credits,
    remaining: Credits,
    #[serde(default)]
    held: Credits,
    effective_at: Timestamp,
    expires_at: Option<Timestamp>,
    expires_with_period: Option<u32>,
    #[serde(default)]
    features: Vec<Key>,
    cost_basis: Option<Money>,
}

/// A counter's total: what was used, or that and what is held.
#[derive(Clone, Copy, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a decimal string such as \"12.5\", or {\"used\": \"12.5\", \"held\": \"3\"}"
)]
enum CounterFile {
    Used(Decimal),
    Counted(CountedFile),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CountedFile {
    used: Decimal,
    held: Decimal,
}

/// Why the period ends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosingFile {
    #[serde(default = "ran_out")]
    reason: CloseReason,
    cycle: Option<CycleFile>,
}

fn ran_out() -> CloseReason {
    CloseReason::Scheduled
}

/// In which plan allowances are given once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CycleFile {
    start: Timestamp,
    end: Option<Timestamp>,
}

/// Why the period begins, and what the cycle has brought so far.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpeningFile {
    #[serde(default = "scheduled")]
    reason: OpenReason,
    cycle: Option<CycleFile>,
    #[serde(default)]
    allowance: Allowance,
    #[serde(default)]
    given: BTreeMap<CreditType, Credits>,
}

impl Default for ClosingFile {
    fn default() -> Self {
        Self { reason: ran_out(), cycle: None }
    }
}

fn scheduled() -> OpenReason {
    OpenReason::Scheduled
}

impl Default for OpeningFile {
    fn default() -> Self {
        Self { reason: scheduled(), cycle: None, allowance: Allowance::default(), given: BTreeMap::new() }
    }
}

/// All that a policy is shown beside a usage.
pub struct Shown {
    /// What each call is given.
    pub context: Context,
    zone: Zone,
    closing: ClosingFile,
    opening: OpeningFile,
}

impl ContextFile {
    /// What it says, for settings that need these counters. It is `now` unless it names another time.
    pub fn shown(self, now: Timestamp, counters: &[Counter]) -> Result<Shown, String> {
        let counters = values(counters, &self.counters)?;
        let zone = self.time_zone;
        let now = self.now.unwrap_or(now);
        let period = self.period.unwrap_or(PeriodFile { number: 1, start: now, end: None });
        let customer = self.customer.map_or_else(|| "customer".parse(), Ok);
        let context = Context {
            customer: customer.map_err(|error| format!("customer: {error}"))?,
            plan: self.plan,
            attributes: self.attributes,
            now: zone.moment(now),
            period: period.view(&zone),
            terms_effective_at: zone.moment(self.terms_effective_at.unwrap_or(period.start)),
            contract: self.contract.map(|contract| ContractView {
                id: contract.id,
                start: zone.moment(contract.start),
                end: contract.end.map(|end| zone.moment(end)),
            }),
            time_zone: zone.name().to_owned(),
            balances: self.balances.into_iter().map(|(credit, balance)| balance.view(credit)).collect(),
            grants: self.grants.into_iter().map(GrantFile::view).collect(),
            counters,
        };
        Ok(Shown { context, zone, closing: self.closing, opening: self.opening })
    }
}

impl Shown {
    /// The end of the context's period, now.
    pub fn closing(&self) -> Closing {
        let ClosingFile { reason, cycle } = &self.closing;
        Closing { period: self.context.period, cycle: self.cycle(cycle.as_ref()), reason: reason.as_str() }
    }

    /// The cycle of the context's period, which is one of its own unless the file names another.
    fn cycle(&self, file: Option<&CycleFile>) -> CycleView {
        let period = self.context.period;
        file.map_or(CycleView { start: period.start, end: period.end }, |cycle| CycleView {
            start: self.zone.moment(cycle.start),
            end: cycle.end.map(|end| self.zone.moment(end)),
        })
    }

    /// The beginning of the context's period.
    pub fn opening(&self) -> Opening {
        let OpeningFile { reason, cycle, allowance, given } = &self.opening;
        Opening {
            period: self.context.period,
            reason: reason.as_str(),
            cycle: self.cycle(cycle.as_ref()),
            allowance: allowance.as_str(),
            given: given.iter().map(|(credit, amount)| (credit.clone(), *amount)).collect(),
        }
    }
}

impl PeriodFile {
    fn view(self, zone: &Zone) -> PeriodView {
        PeriodView {
            number: self.number,
            start: zone.moment(self.start),
            end: self.end.map(|end| zone.moment(end)),
        }
    }
}

impl BalanceFile {
    fn view(self, credit: CreditType) -> BalanceView {
        let Self { granted, used, reserved, available, restricted, overage, held_overage } = self;
        BalanceView { credit, granted, used, reserved, available, restricted, overage, held_overage }
    }
}

impl GrantFile {
    fn view(self) -> GrantView {
        GrantView {
            id: self.id,
            credit: self.credit,
            category: self.category,
            priority: self.priority,
            amount: self.amount,
            remaining: self.remaining,
            held: self.held,
            effective_at: self.effective_at,
            expires: Expiry { at: self.expires_at, with_period: self.expires_with_period },
            features: self.features,
            cost_basis: self.cost_basis,
        }
    }
}

/// The values of the counters that the settings need, in their order; those that are not given are zero.
fn values(needed: &[Counter], given: &BTreeMap<String, CounterFile>) -> Result<Vec<Counted>, String> {
    if let Some(name) = given.keys().find(|name| needed.iter().all(|counter| counter.name != **name)) {
        let known: Vec<&str> = needed.iter().map(|counter| counter.name.as_str()).collect();
        return Err(format!("counters: these settings have no counter {name:?}; they have {known:?}"));
    }
    let value = |counter: &Counter| match given.get(&counter.name) {
        None => Counted::default(),
        Some(CounterFile::Used(used)) => Counted { used: *used, held: Decimal::ZERO },
        Some(CounterFile::Counted(CountedFile { used, held })) => Counted { used: *used, held: *held },
    };
    Ok(needed.iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_ledger::model::counter::{Measure, Scope, Window};
    use serde_json::json;

    fn counter(name: &str) -> Counter {
        Counter {
            name: name.to_owned(),
            measure: Measure::Cost,
            features: Vec::new(),
            scope: Scope::Customer,
            window: Window::Day,
        }
    }

    fn shown(context: Value) -> Result<Shown, String> {
        let file: ContextFile = serde_json::from_value(context).map_err(|error| error.to_string())?;
        file.shown("2026-01-20T00:00:00Z".parse().unwrap(), &[counter("today"), counter("other")])
    }

    #[test]
    fn what_a_context_leaves_out_is_that_of_a_new_customer() {
        let shown =
            shown(json!({"period": {"number": 2, "start": "2026-01-01T00:00:00Z", "end": null}})).unwrap();
        let Context { period, terms_effective_at, now, counters, balances, .. } = &shown.context;
        assert_eq!((terms_effective_at, now.day, counters.len(), balances.len()), (&period.start, 20, 2, 0));
        assert_eq!((shown.closing().reason, shown.closing().period.end), ("scheduled", None));
        assert_eq!((shown.opening().cycle.start, shown.opening().allowance), (period.start, "carry"));
        let usage: UsageFile = serde_json::from_value(json!({"feature": "chat", "entity": "ann"})).unwrap();
        let usage = usage.reported(now.at).unwrap();
        let view = usage.view(&shown);
        assert_eq!((view.purpose.as_str(), view.late, view.period.number), ("charge", false, 2));
        assert_eq!((view.occurred_at, view.entities[0].id.as_str()), (*now, "ann"));
    }

    #[test]
    fn all_fields_are_taken_over() {
        let shown = shown(json!({
            "time_zone": "Europe/Berlin",
            "contract": {"id": "c", "start": "2025-01-01T00:00:00Z"},
            "balances": {"credits": {"available": "1", "restricted": "2", "held_overage": "3"}},
            "grants": [{
                "id": "grant_1", "category": "plan", "amount": "5", "remaining": "3", "held": "1",
                "effective_at": "2026-01-01T00:00:00Z", "expires_with_period": 1,
                "cost_basis": {"amount": "9.99", "currency": "EUR"},
            }],
            "counters": {"today": "4", "other": {"used": "5", "held": "6"}},
            "closing": {"reason": "plan_changed", "cycle": {"start": "2026-01-01T00:00:00Z", "end": null}},
            "opening": {"reason": "early", "allowance": "full", "given": {"credits": "7"}},
        }))
        .unwrap();
        let Context { contract, balances, grants, counters, now, .. } = &shown.context;
        assert_eq!((contract.as_ref().unwrap().start.hour, now.hour), (1, 1));
        let balance = &balances[0];
        let amounts = [balance.available, balance.restricted, balance.held_overage, grants[0].held];
        assert_eq!(amounts.map(|amount| amount.to_string()), ["1", "2", "3", "1"]);
        assert_eq!(grants[0].expires.with_period, Some(1));
        assert_eq!(grants[0].cost_basis.unwrap().to_string(), "9.99 EUR");
        let counters = counters.iter().map(|counted| format!("{}+{}", counted.used, counted.held));
        assert_eq!(counters.collect::<Vec<_>>(), ["4+0", "5+6"]);
        assert_eq!((shown.closing().reason, shown.opening().reason), ("plan_changed", "early"));
        assert_eq!((shown.closing().cycle.start.month, shown.closing().cycle.end), (1, None));
        assert_eq!((shown.opening().allowance, shown.opening().given.len()), ("full", 1));
    }

    #[test]
    fn mistakes_are_named() {
        for (context, named) in [
            (
                json!({"counters": {"yesterday": "4"}}),
                "no counter \"yesterday\"; they have [\"today\", \"other\"]",
            ),
            (json!({"counters": {"today": 4}}), "must be a decimal string"),
            (json!({"closing": {"reason": "bored"}}), "unknown variant `bored`"),
            (json!({"balance": {}}), "unknown field `balance`"),
            (json!({"grants": [{"id": "g"}]}), "not an id of this kind"),
        ] {
            let error = shown(context).err().unwrap();
            assert!(error.contains(named), "{error}");
        }
        let usage: UsageFile =
            serde_json::from_value(json!({"feature": "chat", "entity": "ann", "entities": [{"id": "bob"}]}))
                .unwrap();
        let error = usage.reported(Timestamp(0)).err().unwrap();
        assert_eq!(error, "entities: must begin with the entity ann");
    }
}
