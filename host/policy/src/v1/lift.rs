//! What a policy returned, on its way to the ledger's types: form is checked here (known words, ranges, lengths, sums),
//! the ledger's invariants are not. wasmtime has bounded the bytes before any of this was allocated.

use super::check::{self, Checked, Invalid, NAME_BYTES, TEXT_BYTES};
use crate::limits::Limits;
use proviso_ledger::{
    credits::{Credits, Price, sum},
    decision::{self, Measure, Needs, Scope, SettleMethod, Window},
    grant::{Category, CostBasis},
    json::JsonText,
};
use wasmtime::component::{ComponentType, Lift};

const LINES: usize = 64;
const OFFERS: usize = 32;
const COUNTERS: usize = 32;
const PROBLEMS: usize = 64;
const NOTES: usize = 64;
/// Items of each list of a reset, and grants in a draw order.
const ITEMS: usize = 256;

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Manifest {
    name: String,
    version: String,
    summary: String,
    #[component(name = "settings-schema")]
    settings_schema: String,
    needs: Vec<String>,
}

impl Manifest {
    pub(crate) fn check(self) -> Checked<decision::Manifest> {
        check::parsed::<proviso_ledger::ids::Key>("name", &self.name)?;
        check::parsed::<semver::Version>("version", &self.version)?;
        let schema: serde_json::Value = serde_json::from_str(&self.settings_schema)
            .map_err(|error| Invalid::new("settings-schema", format!("not JSON: {error}")))?;
        if !schema.is_object() {
            return Err(Invalid::new("settings-schema", "must be a JSON object"));
        }
        let mut needs = Needs::default();
        for need in &self.needs {
            match need.as_str() {
                "balances" => needs.balances = true,
                "grants" => needs.grants = true,
                "customer-attributes" => needs.customer_attributes = true,
                other => return Err(unknown("needs", other)),
            }
        }
        Ok(decision::Manifest {
            name: self.name,
            version: check::text("version", self.version, NAME_BYTES)?,
            summary: check::text("summary", self.summary, TEXT_BYTES)?,
            settings_schema: JsonText::from(&schema),
            needs,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Counter {
    name: String,
    measure: String,
    features: Vec<String>,
    scope: String,
    window: String,
}

impl Counter {
    fn check(self) -> Checked<decision::Counter> {
        let measure = match self.measure.strip_prefix("quantity:") {
            Some(name) => Measure::Quantity(check::name("measure", name.to_owned())?),
            None if self.measure == "cost" => Measure::Cost,
            None => return Err(unknown("measure", &self.measure)),
        };
        let scope = match (self.scope.strip_prefix("attribute:"), self.scope.as_str()) {
            (Some(name), _) => Scope::Attribute(check::name("scope", name.to_owned())?),
            (None, "customer") => Scope::Customer,
            (None, "entity") => Scope::Entity,
            (None, other) => return Err(unknown("scope", other)),
        };
        let window = match self.window.as_str() {
            "period" => Window::Period,
            "day" => Window::Day,
            "month" => Window::Month,
            "lifetime" => Window::Lifetime,
            other => return Err(unknown("window", other)),
        };
        let name = check::name("name", self.name)?;
        Ok(decision::Counter {
            name,
            measure,
            features: check::keys("features", self.features)?,
            scope,
            window,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Prepared {
    form: Vec<u8>,
    counters: Vec<Counter>,
}

impl Prepared {
    pub(crate) fn check(self, limits: &Limits) -> Checked<decision::Prepared> {
        if self.form.len() > limits.form_bytes {
            return Err(Invalid::new("form", format!("larger than {} bytes", limits.form_bytes)));
        }
        let counters = check::list("counters", self.counters, COUNTERS, Counter::check)?;
        Ok(decision::Prepared { form: self.form, counters })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Problem {
    pointer: String,
    detail: String,
}

/// What is wrong with the settings: at least one problem, or the author of the settings is left in the dark.
pub(crate) fn problems(problems: Vec<Problem>) -> Checked<Vec<decision::Problem>> {
    if problems.is_empty() {
        return Err(Invalid::new("problems", "is empty"));
    }
    check::list("problems", problems, PROBLEMS, |problem| {
        if !(problem.pointer.is_empty() || problem.pointer.starts_with('/')) {
            return Err(Invalid::new("pointer", "must be a JSON pointer: empty, or starting with a slash"));
        }
        Ok(decision::Problem {
            pointer: check::text("pointer", problem.pointer, TEXT_BYTES)?,
            detail: check::text("detail", problem.detail, TEXT_BYTES)?,
        })
    })
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Line {
    label: String,
    quantity: i64,
    #[component(name = "unit-cost")]
    unit_cost: i64,
    cost: i64,
}

impl Line {
    fn check(self) -> Checked<decision::Line> {
        if self.unit_cost < 0 {
            return Err(Invalid::new("unit-cost", "is negative"));
        }
        Ok(decision::Line {
            label: check::text("label", self.label, TEXT_BYTES)?,
            quantity: check::quantity("quantity", self.quantity)?,
            unit_cost: Price(self.unit_cost),
            cost: check::credits("cost", self.cost)?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Rating {
    credit: String,
    cost: i64,
    lines: Vec<Line>,
    #[component(name = "draw-order")]
    draw_order: Vec<String>,
}

impl Rating {
    pub(crate) fn check(self) -> Checked<decision::Rating> {
        let cost = check::credits("cost", self.cost)?;
        let lines = check::list("lines", self.lines, LINES, Line::check)?;
        if sum(lines.iter().map(|line| line.cost)) != Some(cost) {
            return Err(Invalid::new("cost", "is not the sum of the lines"));
        }
        Ok(decision::Rating {
            credit: check::parsed("credit", &self.credit)?,
            cost,
            lines,
            draw_order: check::list("draw-order", self.draw_order, ITEMS, |id| check::parsed("", &id))?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Refusal {
    code: String,
    detail: String,
    #[component(name = "retry-at")]
    retry_at: Option<i64>,
}

impl Refusal {
    pub(crate) fn check(self) -> Checked<decision::Refusal> {
        Ok(decision::Refusal {
            code: check::code("code", self.code)?,
            detail: check::text("detail", self.detail, TEXT_BYTES)?,
            retry_at: check::instant("retry-at", self.retry_at)?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Money {
    amount: String,
    currency: String,
}

impl Money {
    fn check(self, field: &str) -> Checked<CostBasis> {
        check::money(field, &self.amount, self.currency)
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Offer {
    code: String,
    label: String,
    credits: i64,
    price: Option<Money>,
}

impl Offer {
    fn check(self) -> Checked<decision::Offer> {
        Ok(decision::Offer {
            code: check::parsed::<proviso_ledger::ids::Key>("code", &self.code).map(|_| self.code)?,
            label: check::text("label", self.label, TEXT_BYTES)?,
            credits: check::credits("credits", self.credits)?,
            price: self.price.map(|price| price.check("price")).transpose()?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct TopUp {
    amount: i64,
    #[component(name = "expires-at")]
    expires_at: Option<i64>,
    #[component(name = "cost-basis")]
    cost_basis: Option<Money>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum OverageOutcome {
    #[component(name = "deny")]
    Deny(Refusal),
    #[component(name = "allow")]
    Allow(i64),
    #[component(name = "require-purchase")]
    RequirePurchase(Vec<Offer>),
    #[component(name = "top-up")]
    TopUp(TopUp),
}

impl OverageOutcome {
    pub(crate) fn check(self) -> Checked<decision::Overage> {
        Ok(match self {
            Self::Deny(refusal) => {
                decision::Overage::Deny(refusal.check().map_err(|error| error.under("deny"))?)
            }
            Self::Allow(limit) => decision::Overage::Allow(check::credits("allow", limit)?),
            Self::RequirePurchase(offers) => decision::Overage::RequirePurchase(check::list(
                "require-purchase",
                offers,
                OFFERS,
                Offer::check,
            )?),
            Self::TopUp(top_up) => decision::Overage::TopUp(decision::TopUp {
                amount: positive("top-up.amount", top_up.amount)?,
                expires_at: check::instant("top-up.expires-at", top_up.expires_at)?,
                cost_basis: top_up.cost_basis.map(|basis| basis.check("top-up.cost-basis")).transpose()?,
            }),
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Rollover {
    grant: String,
    amount: i64,
    priority: i32,
    #[component(name = "expires-at")]
    expires_at: Option<i64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Fee {
    credit: String,
    label: String,
    amount: i64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct NewGrant {
    credit: String,
    amount: i64,
    category: String,
    priority: i32,
    #[component(name = "effective-at")]
    effective_at: Option<i64>,
    #[component(name = "expires-at")]
    expires_at: Option<i64>,
    features: Vec<String>,
    #[component(name = "cost-basis")]
    cost_basis: Option<Money>,
}

impl NewGrant {
    fn check(self) -> Checked<decision::NewGrant> {
        Ok(decision::NewGrant {
            credit: check::parsed("credit", &self.credit)?,
            amount: check::credits("amount", self.amount)?,
            category: Category::from_name(&self.category)
                .ok_or_else(|| unknown("category", &self.category))?,
            priority: self.priority,
            effective_at: check::instant("effective-at", self.effective_at)?,
            expires_at: check::instant("expires-at", self.expires_at)?,
            features: check::keys("features", self.features)?,
            cost_basis: self.cost_basis.map(|basis| basis.check("cost-basis")).transpose()?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Settlement {
    credit: String,
    amount: i64,
    method: String,
}

impl Settlement {
    fn check(self) -> Checked<decision::Settlement> {
        let method = match self.method.as_str() {
            "invoice" => SettleMethod::Invoice,
            "waive" => SettleMethod::Waive,
            "deduct" => SettleMethod::Deduct,
            other => return Err(unknown("method", other)),
        };
        let credit = check::parsed("credit", &self.credit)?;
        Ok(decision::Settlement { credit, amount: check::credits("amount", self.amount)?, method })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ResetOutcome {
    #[component(name = "roll-over")]
    roll_over: Vec<Rollover>,
    expire: Vec<String>,
    fees: Vec<Fee>,
    issue: Vec<NewGrant>,
    settle: Vec<Settlement>,
    notes: Vec<String>,
}

impl ResetOutcome {
    /// Items of amount zero do nothing and are left out: a policy that rolls over the lesser of a cap and nothing
    /// means no harm.
    pub(crate) fn check(self) -> Checked<decision::ResetOutcome> {
        let mut outcome = decision::ResetOutcome {
            roll_over: check::list("roll-over", self.roll_over, ITEMS, |rollover| {
                Ok(decision::Rollover {
                    grant: check::parsed("grant", &rollover.grant)?,
                    amount: check::credits("amount", rollover.amount)?,
                    priority: rollover.priority,
                    expires_at: check::instant("expires-at", rollover.expires_at)?,
                })
            })?,
            expire: check::list("expire", self.expire, ITEMS, |id| check::parsed("", &id))?,
            fees: check::list("fees", self.fees, ITEMS, |fee| {
                Ok(decision::Fee {
                    credit: check::parsed("credit", &fee.credit)?,
                    label: check::text("label", fee.label, TEXT_BYTES)?,
                    amount: check::credits("amount", fee.amount)?,
                })
            })?,
            issue: check::list("issue", self.issue, ITEMS, NewGrant::check)?,
            settle: check::list("settle", self.settle, ITEMS, Settlement::check)?,
            notes: check::list("notes", self.notes, NOTES, |note| check::text("", note, TEXT_BYTES))?,
        };
        outcome.roll_over.retain(|rollover| !rollover.amount.is_zero());
        outcome.fees.retain(|fee| !fee.amount.is_zero());
        outcome.issue.retain(|grant| !grant.amount.is_zero());
        outcome.settle.retain(|settlement| !settlement.amount.is_zero());
        Ok(outcome)
    }
}

fn positive(field: &str, micros: i64) -> Checked<Credits> {
    if micros > 0 { Ok(Credits(micros)) } else { Err(Invalid::new(field, "must be above zero")) }
}

fn unknown(field: &str, word: &str) -> Invalid {
    Invalid::new(field, format!("{} is not a word of this version", check::quoted(word)))
}
