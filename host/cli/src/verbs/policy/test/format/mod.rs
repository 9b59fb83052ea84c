//! The format of case files: TOML with every key known and every amount exact. `docs/policy-testing.md` describes it for
//! authors.

mod expect;
mod step;
mod values;

pub use expect::{Expect, ExpectBalance, Kind};
pub use step::{
    Action, CommitStep, ContractSetup, CustomerStep, GrantStep, PlanStep, Step, TermsStep, UsageStep,
};
pub use values::{At, Ends, IntervalSetup, Late, Settings};

use proviso_api::plan_grant::{PlanGrant, Trial};
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
};
use toml::Spanned;

/// The name of the plan that a customer begins on which names none.
pub const PLAN: &str = "plan";

/// A case file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// When its cases begin.
    #[serde(default)]
    start: Option<At>,
    /// The settings of the plans' terms.
    #[serde(default)]
    settings: Settings,
    /// The customer of each case.
    #[serde(default)]
    customer: CustomerSetup,
    /// The plans, by name. There is always one called `plan`.
    #[serde(default)]
    plans: BTreeMap<Name, PlanSetup>,
    /// The cases.
    #[serde(rename = "case")]
    pub cases: Vec<Spanned<Case>>,
}

/// A case: one customer's story.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// When it begins.
    #[serde(default)]
    start: Option<At>,
    /// Laid over the file's settings: tables merge, everything else replaces.
    #[serde(default)]
    settings: Settings,
    /// Laid over the file's customer.
    #[serde(default)]
    customer: CustomerSetup,
    /// In place of the file's plans of the same names.
    #[serde(default)]
    plans: BTreeMap<Name, PlanSetup>,
    /// What happens, in order.
    pub steps: Vec<Spanned<Step>>,
}

/// The customer of a case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomerSetup {
    /// The plan that it begins on; defaults to `plan`.
    pub plan: Option<Name>,
    /// How long a period of plans is that name no interval; defaults to a month. `none`: periods never end by themselves.
    pub interval: Option<IntervalSetup>,
    /// The customer's zone; defaults to UTC.
    pub time_zone: Option<Zone>,
    /// From where periods are counted; defaults to the start.
    pub anchor: Option<At>,
    /// What policies may read of the customer.
    pub attributes: Option<BTreeMap<String, String>>,
}

/// A plan, and how the policy is bound to it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSetup {
    /// Laid over the case's settings.
    pub settings: Settings,
    /// How long a period is; defaults to the customer's interval.
    pub interval: Option<IntervalSetup>,
    /// What its customers are entitled to.
    pub entitlements: BTreeMap<Key, Entitlement>,
    /// What it gives beside what the policy issues.
    pub grants: Vec<PlanGrant>,
    /// Its trial.
    pub trial: Option<Trial>,
    /// What decides when the policy fails.
    pub on_fault: OnFault,
    /// The contract that the plan's terms belong to.
    pub contract: Option<ContractSetup>,
    /// The zone in which the plan's terms are read; defaults to the customer's.
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
    /// All plans by name, with the one that the customer begins on.
    pub plans: BTreeMap<Name, PlanSetup>,
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
        Setup {
            start: case.start.or(self.start).map(|at| at.0),
            settings: self.settings.with(&case.settings),
            customer: case.customer.or(&self.customer),
            plans,
        }
    }

    /// What is wrong with a case although each of its values can be read: where, and what.
    fn check(&self, case: &Spanned<Case>) -> Result<(), (usize, String)> {
        let of_case = |detail: String| (case.span().start, detail);
        let Case { name, steps, customer, plans, .. } = case.get_ref();
        if steps.is_empty() {
            return Err(of_case(format!("case {name:?} has no steps")));
        }
        let known: BTreeSet<&str> = self.plans.keys().chain(plans.keys()).map(Name::as_str).collect();
        let is_known = |plan: &Name| plan.as_str() == PLAN || known.contains(plan.as_str());
        if let Some(plan) =
            customer.plan.as_ref().or(self.customer.plan.as_ref()).filter(|plan| !is_known(plan))
        {
            return Err(of_case(format!("customer.plan: there is no plan {plan}: add [plans.{plan}]")));
        }
        if known.contains("none") {
            return Err(of_case("no plan can be called \"none\"".to_owned()));
        }
        for step in steps {
            let of_step = |detail: String| (step.span().start, detail);
            if let Action::Plan(PlanStep { to: Some(plan), .. }) = step.get_ref().action().map_err(of_step)?
                && !is_known(plan)
            {
                return Err(of_step(format!("there is no plan {plan}: add [plans.{plan}]")));
            }
        }
        Ok(())
    }
}

/// What is wrong with a case file, and on which line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
    pub detail: String,
}

impl Malformed {
    fn at(text: &str, offset: usize, detail: &str) -> Self {
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

/// Reads a case file.
pub fn parse(text: &str) -> Result<CaseFile, Malformed> {
    let file: CaseFile = toml::from_str(text)
        .map_err(|error| Malformed::at(text, error.span().map_or(0, |span| span.start), error.message()))?;
    for case in &file.cases {
        file.check(case).map_err(|(offset, detail)| Malformed::at(text, offset, &detail))?;
    }
    Ok(file)
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
