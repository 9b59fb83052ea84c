//! What a policy returned, turned into the ledger's types. Form is checked here (known words, ranges, lengths, sums), what the
//! customer's state allows is not. wasmtime has bounded the bytes before any of this was allocated.
//!
//! No list is bounded lower than what the ledger or the settings let a policy name. Texts for people are cut where they are too
//! much together, and suggestions left out: neither is worth a fault.

use super::check::{self, Checked, Invalid, NAME_BYTES, TEXT_BYTES};
use crate::limits::Limits;
use proviso_ledger::model::{
    amounts::{Credits, Money as LedgerMoney},
    answers::{self, Allowance, FeeMethod, Needs, RefusalKind, SettleFrom, SettleMethod},
    counter::{self, Measure, Scope, Window},
    grant::Category,
    ids::Name,
    json::{self, JsonText},
    view,
};
use wasmtime::component::{ComponentType, Lift};

/// Lines of a rating: some quantities, each by tiers.
const LINES: usize = 256;
/// The most live grants of a customer, each of which an answer may name. There are no more credit types than grants.
const GRANTS: usize = 10_000;
/// Features that settings price, and that one counter counts.
const FEATURES: usize = 1_000;
/// Features that one grant is scoped to.
const GRANT_FEATURES: usize = 64;
const COUNTERS: usize = 32;
/// As many as there are categories.
const PERIOD_CATEGORIES: usize = 8;
const FEES: usize = 256;
const NOTES: usize = 64;
const OFFERS: usize = 64;
const SUGGESTIONS: usize = 64;
/// Attributes or quantities of one suggestion or reduction.
const CHANGES: usize = 64;
const PROBLEMS: usize = 64;

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Decimal {
    whole: i64,
    part: i64,
}

impl From<Decimal> for (i64, i64) {
    fn from(Decimal { whole, part }: Decimal) -> Self {
        (whole, part)
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Money {
    amount: Decimal,
    currency: String,
}

fn money(field: &str, money: Option<Money>) -> Checked<Option<LedgerMoney>> {
    money.map(|money| check::money(field, money.amount.into(), &money.currency)).transpose()
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Expiry {
    at: Option<i64>,
    #[component(name = "with-period")]
    with_period: Option<u32>,
}

impl Expiry {
    fn check(self, field: &str) -> Checked<view::Expiry> {
        let at = check::instant("at", self.at).map_err(|error| error.under(field))?;
        Ok(view::Expiry { at, with_period: self.with_period })
    }
}

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
    pub(crate) fn check(self) -> Checked<answers::Manifest> {
        check::parsed::<Name>("name", &self.name)?;
        check::parsed::<semver::Version>("version", &self.version)?;
        let schema: serde_json::Value = serde_json::from_str(&self.settings_schema)
            .map_err(|error| Invalid::new("settings-schema", format!("not JSON: {error}")))?;
        if !schema.is_object() {
            return Err(Invalid::new("settings-schema", "must be a JSON object"));
        }
        if json::depth(&schema) > json::MAX_DEPTH {
            let detail = format!("more than {} arrays and objects in one another", json::MAX_DEPTH);
            return Err(Invalid::new("settings-schema", detail));
        }
        let mut needs = Needs::default();
        for need in &self.needs {
            let flag = check::word("needs", need, |need| match need {
                "balances" => Some(&mut needs.balances),
                "grants" => Some(&mut needs.grants),
                "customer-attributes" => Some(&mut needs.customer_attributes),
                "entity-attributes" => Some(&mut needs.entity_attributes),
                _ => None,
            })?;
            *flag = true;
        }
        Ok(answers::Manifest {
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
    fn check(self) -> Checked<counter::Counter> {
        let measure = match self.measure.strip_prefix("quantity:") {
            Some(name) => Measure::Quantity(check::name("measure", name.to_owned())?),
            None => check::word("measure", &self.measure, |word| (word == "cost").then_some(Measure::Cost))?,
        };
        let scope = match self.scope.strip_prefix("attribute:") {
            Some(name) => Scope::Attribute(check::name("scope", name.to_owned())?),
            None => check::word("scope", &self.scope, |word| match word {
                "customer" => Some(Scope::Customer),
                "entity" => Some(Scope::Entity),
                _ => None,
            })?,
        };
        let window = check::word("window", &self.window, |word| match word {
            "period" => Some(Window::Period),
            "cycle" => Some(Window::Cycle),
            "day" => Some(Window::Day),
            "month" => Some(Window::Month),
            "lifetime" => Some(Window::Lifetime),
            _ => hours(word.strip_prefix("hours:")?).map(Window::Hours),
        })?;
        Ok(counter::Counter {
            name: check::name("name", self.name)?,
            measure,
            features: check::keys("features", self.features, FEATURES)?,
            scope,
            window,
        })
    }
}

/// 1 to 744, in its only spelling.
fn hours(text: &str) -> Option<u16> {
    let hours: u16 = text.parse().ok()?;
    ((1..=744).contains(&hours) && hours.to_string() == text).then_some(hours)
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct PricedFeature {
    feature: Option<String>,
    credit: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Prepared {
    form: Vec<u8>,
    counters: Vec<Counter>,
    features: Vec<PricedFeature>,
    #[component(name = "settle-overage-from")]
    settle_overage_from: String,
    #[component(name = "period-categories")]
    period_categories: Vec<String>,
}

impl Prepared {
    pub(crate) fn check(self, limits: &Limits) -> Checked<answers::Prepared> {
        if self.form.len() > limits.form_bytes {
            return Err(Invalid::new("form", format!("larger than {} bytes", limits.form_bytes)));
        }
        Ok(answers::Prepared {
            form: self.form,
            counters: check::list("counters", self.counters, COUNTERS, Counter::check)?,
            features: check::list("features", self.features, FEATURES, |priced| {
                Ok(answers::PricedFeature {
                    feature: priced.feature.map(|key| check::parsed("feature", &key)).transpose()?,
                    credit: check::parsed("credit", &priced.credit)?,
                })
            })?,
            settle_overage_from: check::word("settle-overage-from", &self.settle_overage_from, |word| {
                match word {
                    "purchases" => Some(SettleFrom::Purchases),
                    "reset" => Some(SettleFrom::Reset),
                    "never" => Some(SettleFrom::Never),
                    _ => None,
                }
            })?,
            period_categories: check::list(
                "period-categories",
                self.period_categories,
                PERIOD_CATEGORIES,
                |name| check::word("", &name, Category::from_name),
            )?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Problem {
    pointer: String,
    detail: String,
}

/// What is wrong with the settings: at least one problem, so that their author learns what to mend.
pub(crate) fn problems(problems: Vec<Problem>) -> Checked<Vec<answers::SettingsProblem>> {
    if problems.is_empty() {
        return Err(Invalid::new("problems", "is empty"));
    }
    check::list("problems", problems, PROBLEMS, |problem| {
        if !(problem.pointer.is_empty() || problem.pointer.starts_with('/')) {
            return Err(Invalid::new("pointer", "must be a JSON pointer: empty, or starting with a slash"));
        }
        Ok(answers::SettingsProblem {
            pointer: check::text("pointer", problem.pointer, TEXT_BYTES)?,
            detail: check::text("detail", problem.detail, TEXT_BYTES)?,
        })
    })
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Line {
    label: String,
    quantity: Decimal,
    #[component(name = "unit-cost")]
    unit_cost: Decimal,
    cost: Decimal,
}

impl Line {
    fn check(self) -> Checked<answers::Line> {
        Ok(answers::Line {
            label: check::text("label", self.label, TEXT_BYTES)?,
            quantity: check::quantity("quantity", self.quantity.into())?,
            unit_cost: check::price("unit-cost", self.unit_cost.into())?,
            cost: check::credits("cost", self.cost.into())?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Rating {
    credit: String,
    cost: Decimal,
    lines: Vec<Line>,
    #[component(name = "draw-order")]
    draw_order: Vec<String>,
}

impl Rating {
    pub(crate) fn check(self) -> Checked<answers::Rating> {
        let cost = check::credits("cost", self.cost.into())?;
        let mut lines = check::list("lines", self.lines, LINES, Line::check)?;
        check::shorten(lines.iter_mut().map(|line| &mut line.label));
        if Credits::checked_sum(lines.iter().map(|line| line.cost)) != Some(cost) {
            return Err(Invalid::new("cost", "is not the sum of the lines"));
        }
        Ok(answers::Rating {
            credit: check::parsed("credit", &self.credit)?,
            cost,
            lines,
            draw_order: check::list("draw-order", self.draw_order, GRANTS, |id| check::parsed("", &id))?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Attribute {
    name: String,
    value: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Quantity {
    name: String,
    amount: Decimal,
}

fn quantities(
    field: &str,
    quantities: Vec<Quantity>,
) -> Checked<Vec<(String, proviso_ledger::model::amounts::Quantity)>> {
    let mut quantities = check::list(field, quantities, CHANGES, |quantity| {
        let amount = check::quantity("amount", quantity.amount.into())?;
        Ok((check::name("name", quantity.name)?, amount))
    })?;
    in_order(field, &mut quantities)?;
    Ok(quantities)
}

/// Sorts pairs by name, as a usage has them.
fn in_order<T>(field: &str, pairs: &mut [(String, T)]) -> Checked<()> {
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let twice = pairs.array_windows().find(|[(a, _), (b, _)]| a == b);
    twice.map_or(Ok(()), |[(name, _), _]| Err(Invalid::new(field, format!("names {name:?} twice"))))
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Suggestion {
    detail: String,
    attributes: Vec<Attribute>,
    quantities: Vec<Quantity>,
}

impl Suggestion {
    fn check(self) -> Checked<answers::Suggestion> {
        let mut attributes = check::list("attributes", self.attributes, CHANGES, |attribute| {
            let value = check::text("value", attribute.value, TEXT_BYTES)?;
            Ok((check::name("name", attribute.name)?, value))
        })?;
        in_order("attributes", &mut attributes)?;
        Ok(answers::Suggestion {
            detail: check::text("detail", self.detail, TEXT_BYTES)?,
            attributes,
            quantities: quantities("quantities", self.quantities)?,
        })
    }
}

/// Leaves out what comes after as many suggestions as an answer may have, by the size of what can't be cut.
fn leave_out(suggestions: &mut Vec<answers::Suggestion>) {
    let mut bytes = 0_usize;
    suggestions.retain(|suggestion| {
        bytes += suggestion.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        bytes += suggestion.quantities.iter().map(|(name, _)| name.len()).sum::<usize>();
        bytes <= check::EXPLANATION_BYTES
    });
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Refusal {
    kind: String,
    code: String,
    detail: String,
    #[component(name = "retry-at")]
    retry_at: Option<i64>,
    suggestions: Vec<Suggestion>,
}

impl Refusal {
    pub(crate) fn check(self) -> Checked<answers::Refusal> {
        let mut suggestions = check::list("suggestions", self.suggestions, SUGGESTIONS, Suggestion::check)?;
        leave_out(&mut suggestions);
        let mut detail = check::text("detail", self.detail, TEXT_BYTES)?;
        check::shorten(suggestions.iter_mut().map(|one| &mut one.detail).chain([&mut detail]));
        Ok(answers::Refusal {
            kind: check::word("kind", &self.kind, |word| match word {
                "denied" => Some(RefusalKind::Denied),
                "invalid" => Some(RefusalKind::Invalid),
                _ => None,
            })?,
            code: check::code("code", self.code)?,
            by_policy: true,
            detail,
            retry_at: check::instant("retry-at", self.retry_at)?,
            suggestions,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Offer {
    code: String,
    label: String,
    credits: Decimal,
    price: Option<Money>,
}

impl Offer {
    fn check(self) -> Checked<answers::Offer> {
        Ok(answers::Offer {
            code: check::parsed::<Name>("code", &self.code).map(|_| self.code)?,
            label: check::text("label", self.label, TEXT_BYTES)?,
            credits: check::credits("credits", self.credits.into())?,
            price: money("price", self.price)?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct TopUp {
    amount: Decimal,
    priority: i32,
    expires: Expiry,
    #[component(name = "cost-basis")]
    cost_basis: Option<Money>,
}

impl TopUp {
    fn check(self) -> Checked<answers::TopUp> {
        Ok(answers::TopUp {
            amount: check::positive("amount", self.amount.into())?,
            priority: self.priority,
            expires: self.expires.check("expires")?,
            cost_basis: money("cost-basis", self.cost_basis)?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum OverageOutcome {
    #[component(name = "deny")]
    Deny(Refusal),
    #[component(name = "allow")]
    Allow(Decimal),
    #[component(name = "require-purchase")]
    RequirePurchase(Vec<Offer>),
    #[component(name = "top-up")]
    TopUp(TopUp),
    #[component(name = "reduce")]
    Reduce(Vec<Quantity>),
}

impl OverageOutcome {
    pub(crate) fn check(self) -> Checked<answers::Overage> {
        Ok(match self {
            Self::Deny(refusal) => {
                answers::Overage::Deny(refusal.check().map_err(|error| error.under("deny"))?)
            }
            Self::Allow(limit) => {
                answers::Overage::Allow(check::total("allow", limit.whole, limit.part).map(Credits::new)?)
            }
            Self::RequirePurchase(offers) => {
                let mut offers = check::list("require-purchase", offers, OFFERS, Offer::check)?;
                check::shorten(offers.iter_mut().map(|offer| &mut offer.label));
                answers::Overage::RequirePurchase(offers)
            }
            Self::TopUp(top_up) => {
                answers::Overage::TopUp(top_up.check().map_err(|error| error.under("top-up"))?)
            }
            Self::Reduce(changes) => answers::Overage::Reduce(quantities("reduce", changes)?),
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Rollover {
    grant: String,
    amount: Decimal,
    #[component(name = "held-share")]
    held_share: Decimal,
    #[component(name = "held-limit")]
    held_limit: Decimal,
    priority: i32,
    expires: Expiry,
}

impl Rollover {
    fn check(self) -> Checked<answers::Rollover> {
        Ok(answers::Rollover {
            grant: check::parsed("grant", &self.grant)?,
            amount: check::credits("amount", self.amount.into())?,
            held_share: check::share("held-share", self.held_share.into())?,
            held_limit: check::credits("held-limit", self.held_limit.into())?,
            priority: self.priority,
            expires: self.expires.check("expires")?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Fee {
    credit: String,
    label: String,
    amount: Decimal,
    method: String,
}

impl Fee {
    fn check(self) -> Checked<answers::Fee> {
        Ok(answers::Fee {
            credit: check::parsed("credit", &self.credit)?,
            label: check::text("label", self.label, TEXT_BYTES)?,
            amount: check::credits("amount", self.amount.into())?,
            method: check::word("method", &self.method, |word| match word {
                "drawn" => Some(FeeMethod::Drawn),
                "invoiced" => Some(FeeMethod::Invoiced),
                _ => None,
            })?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Settlement {
    credit: String,
    amount: Option<Decimal>,
    method: String,
}

impl Settlement {
    fn check(self) -> Checked<answers::Settlement> {
        let amount = self.amount.map(|amount| check::credits("amount", amount.into())).transpose()?;
        Ok(answers::Settlement {
            credit: check::parsed("credit", &self.credit)?,
            amount,
            method: check::word("method", &self.method, |word| match word {
                "invoice" => Some(SettleMethod::Invoice),
                "waive" => Some(SettleMethod::Waive),
                "deduct" => Some(SettleMethod::Deduct),
                _ => None,
            })?,
        })
    }
}

fn settlements(settlements: Vec<Settlement>) -> Checked<Vec<answers::Settlement>> {
    let mut settlements = check::list("settle", settlements, GRANTS, Settlement::check)?;
    settlements.retain(|settlement| settlement.amount.is_none_or(Credits::is_positive));
    Ok(settlements)
}

fn notes(notes: Vec<String>) -> Checked<Vec<String>> {
    check::list("notes", notes, NOTES, |note| check::text("", note, TEXT_BYTES))
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct CloseOutcome {
    #[component(name = "roll-over")]
    roll_over: Vec<Rollover>,
    expire: Vec<String>,
    fees: Vec<Fee>,
    settle: Vec<Settlement>,
    notes: Vec<String>,
}

impl CloseOutcome {
    /// Items of amount zero do nothing and are left out: a policy may roll over the lesser of a cap and nothing.
    pub(crate) fn check(self) -> Checked<answers::CloseOutcome> {
        let mut outcome = answers::CloseOutcome {
            roll_over: check::list("roll-over", self.roll_over, GRANTS, Rollover::check)?,
            expire: check::list("expire", self.expire, GRANTS, |id| check::parsed("", &id))?,
            fees: check::list("fees", self.fees, FEES, Fee::check)?,
            settle: settlements(self.settle)?,
            notes: notes(self.notes)?,
        };
        outcome.roll_over.retain(|rollover| {
            let follows = rollover.held_share.is_positive() && rollover.held_limit.is_positive();
            rollover.amount.is_positive() || follows
        });
        outcome.fees.retain(|fee| fee.amount.is_positive());
        let labels = outcome.fees.iter_mut().map(|fee| &mut fee.label);
        check::shorten(labels.chain(&mut outcome.notes));
        Ok(outcome)
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct NewGrant {
    credit: String,
    amount: Decimal,
    category: String,
    priority: i32,
    #[component(name = "effective-at")]
    effective_at: Option<i64>,
    expires: Expiry,
    features: Vec<String>,
    #[component(name = "cost-basis")]
    cost_basis: Option<Money>,
    allowance: String,
}

impl NewGrant {
    fn check(self) -> Checked<answers::NewGrant> {
        Ok(answers::NewGrant {
            credit: check::parsed("credit", &self.credit)?,
            amount: check::credits("amount", self.amount.into())?,
            category: check::word("category", &self.category, Category::from_name)?,
            priority: self.priority,
            effective_at: check::instant("effective-at", self.effective_at)?,
            expires: self.expires.check("expires")?,
            features: check::keys("features", self.features, GRANT_FEATURES)?,
            cost_basis: money("cost-basis", self.cost_basis)?,
            allowance: check::word("allowance", &self.allowance, |word| match word {
                "carry" => Some(Allowance::Carry),
                "prorate" => Some(Allowance::Prorate),
                "full" => Some(Allowance::Full),
                _ => None,
            })?,
        })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct OpenOutcome {
    issue: Vec<NewGrant>,
    settle: Vec<Settlement>,
    notes: Vec<String>,
}

impl OpenOutcome {
    /// Items of amount zero do nothing and are left out.
    pub(crate) fn check(self) -> Checked<answers::OpenOutcome> {
        let mut issue = check::list("issue", self.issue, GRANTS, NewGrant::check)?;
        issue.retain(|grant| grant.amount.is_positive());
        let mut notes = notes(self.notes)?;
        check::shorten(notes.iter_mut());
        Ok(answers::OpenOutcome { issue, settle: settlements(self.settle)?, notes })
    }
}
