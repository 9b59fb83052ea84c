//! The format of case files: TOML with every key known and every amount exact. `docs/policy-testing.md` describes it for
//! authors.

mod expect;
pub mod schema;
mod step;
mod table;
mod values;

pub use expect::{Expect, ExpectBalance, Kind};
pub use step::{
    Action, CommitStep, ContractSetup, CustomerStep, GrantStep, PlanStep, Step, TermsStep, UsageStep,
};
pub use table::Table;
pub use values::{At, Ends, IntervalSetup, Late, Settings};

use proviso_api::{
    plan_grant::{PlanGrant, Trial},
    schema as wire,
};
use proviso_ledger::model::{
    entitlement::Entitlement,
    ids::{Key, Name},
    terms::OnFault,
    time::{Timestamp, Zone},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};
use toml::Spanned;
use utoipa::ToSchema;

/// The name of the plan that a customer begins on which names none.
pub const PLAN: &str = "plan";

/// A case file of `proviso policy test`, or the `defaults.toml` of a folder of them, which has no cases.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// When its cases begin; defaults to 2026-01-01T00:00:00Z.
    #[schema(value_type = Option<wire::Time>)]
    start: Option<At>,
    /// A file of settings, JSON or TOML, beside this one; `settings` is laid over it.
    #[schema(value_type = Option<String>)]
    pub settings_file: Option<PathBuf>,
    /// The settings of the plans' terms.
    #[serde(default)]
    #[schema(value_type = wire::AnyObject)]
    pub settings: Settings,
    /// The customer of each case.
    #[serde(default)]
    #[schema(inline)]
    customer: CustomerSetup,
    /// More customers, by the name that a step's `on` gives.
    #[serde(default)]
    customers: BTreeMap<String, CustomerSetup>,
    /// The plans, by name. There is always one called `plan`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, PlanSetup>)]
    plans: BTreeMap<Name, PlanSetup>,
    /// Other policies or versions that terms may name: the folder of a crate, or a module, beside this file.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub policies: BTreeMap<String, PathBuf>,
    /// The most fuel that any decision of its cases may take.
    pub max_fuel: Option<u64>,
    /// What must hold of usages that are generated from those of the cases.
    #[serde(default)]
    pub properties: Properties,
    /// The cases.
    #[serde(default)]
    #[serde(rename = "case")]
    #[schema(value_type = Vec<Case>)]
    pub cases: Vec<Spanned<Case>>,
    /// Tables: one case for each row.
    #[serde(default)]
    #[serde(rename = "table")]
    #[schema(value_type = Vec<Table>)]
    tables: Vec<Spanned<Table>>,
}

/// What must hold of generated usages, beside what always must: no failure, no cost below zero, the same answer when asked twice.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Properties {
    /// How many usages are tried; `--properties` goes before it.
    pub runs: Option<u32>,
    /// Quantities of which more never costs less.
    #[serde(default)]
    pub monotonic: Vec<String>,
    /// From which number they are generated; defaults to 1, and `--seed` goes before it.
    pub seed: Option<u64>,
}

/// A case: one story of a customer, or of a few.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// When it begins.
    #[serde(default)]
    #[schema(value_type = Option<wire::Time>)]
    start: Option<At>,
    /// Laid over the file's settings: tables merge, everything else replaces.
    #[serde(default)]
    #[schema(value_type = wire::AnyObject)]
    settings: Settings,
    /// Laid over the file's customer.
    #[serde(default)]
    #[schema(inline)]
    customer: CustomerSetup,
    /// In place of the file's customers of the same names.
    #[serde(default)]
    customers: BTreeMap<String, CustomerSetup>,
    /// In place of the file's plans of the same names.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, PlanSetup>)]
    plans: BTreeMap<Name, PlanSetup>,
    /// The most fuel that any of its decisions may take; goes before the file's.
    #[serde(default)]
    max_fuel: Option<u64>,
    /// What happens, in order.
    #[schema(value_type = Vec<Step>)]
    pub steps: Vec<Spanned<Step>>,
}

/// The customer of a case.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerSetup {
    /// The plan that it begins on; defaults to `plan`.
    #[schema(value_type = Option<wire::Name>)]
    pub plan: Option<Name>,
    /// How long a period of plans is that name no interval; defaults to a month. `none`: periods never end by themselves.
    #[schema(value_type = Option<schema::IntervalForm>)]
    pub interval: Option<IntervalSetup>,
    /// The customer's zone; defaults to UTC.
    #[schema(value_type = Option<wire::TimeZone>)]
    pub time_zone: Option<Zone>,
    /// From where periods are counted; defaults to the start.
    #[schema(value_type = Option<wire::Time>)]
    pub anchor: Option<At>,
    /// What policies may read of the customer.
    pub attributes: Option<BTreeMap<String, String>>,
}

/// A plan, and how the policy is bound to it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSetup {
    /// One of the file's `policies`; defaults to the policy under test.
    pub policy: Option<String>,
    /// Laid over the case's settings.
    #[serde(default)]
    #[schema(value_type = wire::AnyObject)]
    pub settings: Settings,
    /// How long a period is; defaults to the customer's interval.
    #[schema(value_type = Option<schema::IntervalForm>)]
    pub interval: Option<IntervalSetup>,
    /// What its customers are entitled to.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, proviso_api::entitlement::EntitlementValue>)]
    pub entitlements: BTreeMap<Key, Entitlement>,
    /// What it gives beside what the policy issues.
    #[serde(default)]
    pub grants: Vec<PlanGrant>,
    /// Its trial.
    pub trial: Option<Trial>,
    /// What decides when the policy fails; defaults to `deny`.
    #[serde(default)]
    #[schema(value_type = schema::OnFaultName)]
    pub on_fault: OnFault,
    /// The contract that the plan's terms belong to.
    pub contract: Option<ContractSetup>,
    /// The zone in which the plan's terms are read; defaults to the customer's.
    #[schema(value_type = Option<wire::TimeZone>)]
    pub time_zone: Option<Zone>,
}

/// Where a case begins: the file's setup with the case's laid over it.
#[derive(Debug)]
pub struct Setup {
    /// When; none means the default.
    pub start: Option<Timestamp>,
    /// The settings, before those of a plan.
    pub settings: Settings,
    /// The customer.
    pub customer: CustomerSetup,
    /// More customers by name, each laid over the customer.
    pub customers: BTreeMap<String, CustomerSetup>,
    /// All plans by name, with the one that the customer begins on.
    pub plans: BTreeMap<Name, PlanSetup>,
    /// The most fuel of a decision.
    pub max_fuel: Option<u64>,
}

impl CustomerSetup {
    /// What this sets; for the rest, what the one below it does.
    fn or(&self, below: &Self) -> Self {
        Self {
            plan: self.plan.clone().or_else(|| below.plan.clone()),
            interval: self.interval.or(below.interval),
            time_zone: self.time_zone.clone().or_else(|| below.time_zone.clone()),
            anchor: self.anchor.or(below.anchor),
            attributes: self.attributes.clone().or_else(|| below.attributes.clone()),
        }
    }
}

impl CaseFile {
    /// Where one of its cases begins.
    pub fn setup(&self, case: &Case) -> Setup {
        let mut plans = self.plans.clone();
        plans.extend(case.plans.iter().map(|(name, plan)| (name.clone(), plan.clone())));
        let customer = case.customer.or(&self.customer);
        let customers = self.customers.iter().chain(&case.customers);
        let customers = customers.map(|(name, setup)| (name.clone(), setup.or(&customer))).collect();
        Setup {
            start: case.start.or(self.start).map(|at| at.0),
            settings: self.settings.with(&case.settings),
            customer,
            customers,
            plans,
            max_fuel: case.max_fuel.or(self.max_fuel),
        }
    }

    /// What a file leaves out is as the folder's `defaults.toml` says, and its settings are laid over those of the file that it
    /// names.
    pub fn over(self, defaults: &Self, settings_file: Option<Settings>) -> Self {
        let together = |below: &BTreeMap<Name, PlanSetup>, above: BTreeMap<Name, PlanSetup>| {
            let mut all = below.clone();
            all.extend(above);
            all
        };
        let mut customers = defaults.customers.clone();
        customers.extend(self.customers);
        let monotonic = if self.properties.monotonic.is_empty() {
            defaults.properties.monotonic.clone()
        } else {
            self.properties.monotonic
        };
        let properties = Properties {
            runs: self.properties.runs.or(defaults.properties.runs),
            monotonic,
            seed: self.properties.seed.or(defaults.properties.seed),
        };
        let settings = settings_file.iter().fold(defaults.settings.clone(), |below, file| below.with(file));
        Self {
            start: self.start.or(defaults.start),
            settings: settings.with(&self.settings),
            customer: self.customer.or(&defaults.customer),
            customers,
            plans: together(&defaults.plans, self.plans),
            max_fuel: self.max_fuel.or(defaults.max_fuel),
            properties,
            ..self
        }
    }

    /// What is wrong with a case although each of its values can be read: where, and what.
    fn check(&self, defaults: &Self, case: &Spanned<Case>) -> Result<(), (usize, String)> {
        let of_case = |detail: String| (case.span().start, detail);
        let Case { name, steps, customer, customers, plans, .. } = case.get_ref();
        if steps.is_empty() {
            return Err(of_case(format!("case {name:?} has no steps")));
        }
        let of_files = || [defaults, self].into_iter();
        let all_plans = || of_files().flat_map(|file| &file.plans).chain(plans);
        let known: BTreeSet<&str> = all_plans().map(|(plan, _)| plan.as_str()).collect();
        let is_known = |plan: &Name| plan.as_str() == PLAN || known.contains(plan.as_str());
        let unknown_plan = |plan: &Name| format!("there is no plan {plan}: add [plans.{plan}]");
        let first = customer.or(&self.customer).or(&defaults.customer);
        let others: BTreeMap<&str, &CustomerSetup> = of_files()
            .flat_map(|file| &file.customers)
            .chain(customers)
            .map(|(name, setup)| (name.as_str(), setup))
            .collect();
        let begins_on = others.values().copied().chain([&first]).filter_map(|setup| setup.plan.as_ref());
        if let Some(plan) = begins_on.into_iter().find(|plan| !is_known(plan)) {
            return Err(of_case(format!("customer.plan: {}", unknown_plan(plan))));
        }
        if known.contains("none") {
            return Err(of_case("no plan can be called \"none\"".to_owned()));
        }
        let has_policy = |policy: &str| of_files().any(|file| file.policies.contains_key(policy));
        let unknown_policy = |policy: &str| {
            format!(
                "there is no policy {policy:?}: add policies.{policy} = \"the folder of its crate, or a module\""
            )
        };
        let named = all_plans().filter_map(|(_, plan)| plan.policy.as_deref());
        if let Some(policy) = named.into_iter().find(|policy| !has_policy(policy)) {
            return Err(of_case(unknown_policy(policy)));
        }
        for step in steps {
            let of_step = |detail: String| (step.span().start, detail);
            if let Some(on) = step.get_ref().on.as_deref().filter(|on| !others.contains_key(on)) {
                return Err(of_step(format!("there is no customer {on:?}: add [customers.{on}]")));
            }
            match step.get_ref().action().map_err(of_step)? {
                Action::Plan(PlanStep { to: Some(plan), .. }) if !is_known(plan) => {
                    return Err(of_step(unknown_plan(plan)));
                }
                Action::Terms(terms) => {
                    if let Some(plan) = terms.plan.as_ref().filter(|plan| !is_known(plan)) {
                        return Err(of_step(unknown_plan(plan)));
                    }
                    if let Some(policy) = terms.policy.as_deref().filter(|policy| !has_policy(policy)) {
                        return Err(of_step(unknown_policy(policy)));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is wrong with a file that people write, such as one of cases, and on which line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
    pub detail: String,
}

impl Malformed {
    /// What is wrong at a byte of the text, with the line itself.
    pub fn at(text: &str, offset: usize, detail: &str) -> Self {
        let line = line_at(text, offset);
        let source = text.lines().nth(line - 1).unwrap_or_default().trim();
        Self { line, detail: format!("{}\n  | {source}", detail.trim_end()) }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Reads a case file that stands alone.
pub fn parse(text: &str) -> Result<CaseFile, Malformed> {
    parse_with(text, &CaseFile::default())
}

/// Reads a case file whose folder has these defaults, which are not laid under it yet. Its tables have become cases.
pub fn parse_with(text: &str, defaults: &CaseFile) -> Result<CaseFile, Malformed> {
    let mut file = read(text)?;
    for table in std::mem::take(&mut file.tables) {
        let cases = table.get_ref().cases();
        file.cases.extend(cases.map_err(|(offset, detail)| {
            Malformed::at(text, offset.unwrap_or(table.span().start), &detail)
        })?);
    }
    if file.cases.is_empty() {
        return Err(Malformed::at(
            text,
            0,
            "missing field `case`: there is neither a [[case]] nor a [[table]]",
        ));
    }
    for case in &file.cases {
        file.check(defaults, case).map_err(|(offset, detail)| Malformed::at(text, offset, &detail))?;
    }
    Ok(file)
}

/// Reads the `defaults.toml` of a folder.
pub fn parse_defaults(text: &str) -> Result<CaseFile, Malformed> {
    let file = read(text)?;
    let first = file.cases.iter().map(Spanned::span).chain(file.tables.iter().map(Spanned::span)).next();
    match first {
        Some(span) => {
            let detail =
                "defaults.toml holds what case files have in common; cases stand in files of other names";
            Err(Malformed::at(text, span.start, detail))
        }
        None => Ok(file),
    }
}

fn read(text: &str) -> Result<CaseFile, Malformed> {
    toml::from_str(text)
        .map_err(|error| Malformed::at(text, error.span().map_or(0, |span| span.start), error.message()))
}

/// The line on which a thing begins, counted from 1.
pub fn line<T>(text: &str, of: &Spanned<T>) -> usize {
    line_at(text, of.span().start)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_case_file_is_read() {
        let file = parse(
            r#"
            start = 2026-01-15T10:00:00Z
            [settings]
            daily_cap = "20"
            night = { from = "22:00", percent = 40 }
            since = 2026-01-01T00:00:00Z
            [customer]
            time_zone = "Europe/Berlin"
            interval = { unit = "month", count = 3 }
            [plans.pro]
            settings.night.percent = 10
            interval = "year"
            [[case]]
            name = "one"
            settings.night.percent = 50
            customer.interval = "none"
            steps = [
                { grant = { amount = "10", as = "gift" }, expect = { balance = { available = "10" } } },
                { advance = "1d", charge = { feature = "chat", quantities = { tokens = 5, seconds = "0.5" } },
                  expect = { cost = "1.2", draws = { gift = "1.2" }, expires = { gift = "never" } } },
                { at = "2026-02-01T00:00:00Z", plan = { to = "pro", allowance = "prorate" }, expect = { late = "no" } },
                { plan = "none" },
                { reset = { anchor = "now" } },
            ]
            "#,
        )
        .unwrap();
        let case = file.cases[0].get_ref();
        let titles: Vec<String> = case.steps.iter().map(|step| step.get_ref().title()).collect();
        assert_eq!(titles, ["grant 10", "charge chat", "plan pro", "no plan", "reset"]);
        let setup = file.setup(case);
        let settings = &setup.settings.0;
        assert_eq!(settings["night"], json!({"from": "22:00", "percent": 50}));
        assert_eq!(
            (&settings["daily_cap"], &settings["since"]),
            (&json!("20"), &json!("2026-01-01T00:00:00Z"))
        );
        assert_eq!(setup.customer.time_zone.unwrap().name(), "Europe/Berlin");
        assert_eq!(setup.customer.interval, Some(IntervalSetup(None)));
        assert_eq!(file.customer.interval.unwrap().0.unwrap().count(), 3);
        assert_eq!(setup.start.unwrap().to_string(), "2026-01-15T10:00:00Z");
        let pro = &setup.plans[&"pro".parse().unwrap()];
        assert_eq!(setup.settings.with(&pro.settings).0["night"]["percent"], 10);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (step, line, named) in [
            (
                r#"{ charge = { feature = "chat" }, reset = {} }"#,
                4,
                "a step does one thing, this one does charge and reset",
            ),
            (r#"{ charge = { feature = "chat", tokens = 5 } }"#, 4, "unknown field `tokens`"),
            (r#"{ charge = { quantities = {} } }"#, 4, "missing field `feature`"),
            (r#"{ chargge = {} }"#, 4, "unknown field `chargge`"),
            (r#"{ reset = {}, expect = { cost = 1.5 } }"#, 4, "decimal string"),
            (r#"{ reset = { anchor = "then" } }"#, 4, "unknown variant `then`"),
            (r#"{ at = "yesterday" }"#, 4, "RFC 3339"),
            (r#"{ advance = "soon" }"#, 4, "\"soon\" is no length of time"),
            (r#"{ plan = "pro" }"#, 4, "there is no plan pro: add [plans.pro]"),
            (r#"{ plan = { to = "plan", allowance = "half" } }"#, 4, "\"prorate\""),
            (r#"{ expect = { kind = "rude" } }"#, 4, "unknown variant `rude`"),
            (r#"{ reset = {}, "#, 5, "inline table"),
            ("", 1, "has no steps"),
        ] {
            let text = format!("[[case]]\nname = \"x\"\nsteps = [\n{step}\n]");
            let error = parse(&text).unwrap_err();
            assert!(error.detail.contains(named), "{step}: {error}");
            assert_eq!(error.line, line, "{step}: {error}");
        }
        assert!(parse("").unwrap_err().detail.contains("missing field `case`"));
        let unknown = parse("customer.plan = \"pro\"\n[[case]]\nname = \"x\"\nsteps = [{}]").unwrap_err();
        assert_eq!((unknown.line, unknown.detail.contains("there is no plan pro")), (2, true));
    }
}
