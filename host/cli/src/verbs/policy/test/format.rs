//! The format of case files. In: TOML text. Out: cases with every key known and every amount exact, or what is wrong and
//! where. `docs/policy-testing.md` describes it for authors.

use crate::span::Span;
use proviso_ledger::model::{
    amounts::{Credits, Money, Quantity},
    grant::Category,
    ids::Key,
    period::{Interval, IntervalUnit},
    terms::OnFault,
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use std::collections::BTreeMap;
use toml::Spanned;

/// A case file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// When its cases begin, unless they say otherwise.
    #[serde(default)]
    pub start: Option<At>,
    /// The settings of the plan's terms.
    #[serde(default = "no_settings")]
    pub settings: Value,
    /// The customer of each case.
    #[serde(default)]
    pub customer: CustomerSetup,
    /// The cases.
    #[serde(rename = "case")]
    pub cases: Vec<Spanned<Case>>,
}

fn no_settings() -> Value {
    Value::Object(serde_json::Map::new())
}

/// A case: one customer's story.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// When it begins.
    #[serde(default)]
    pub start: Option<At>,
    /// Laid over the file's settings: tables merge, everything else replaces.
    #[serde(default)]
    pub settings: Option<Value>,
    /// Laid over the file's customer.
    #[serde(default)]
    pub customer: CustomerSetup,
    /// What happens, in order.
    pub steps: Vec<Spanned<Step>>,
}

/// The customer of a case, and its plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomerSetup {
    /// How long a period is; a month unless given. `none`: periods never end by themselves.
    pub interval: Option<IntervalSetup>,
    /// The customer's zone; UTC unless given.
    pub time_zone: Option<Zone>,
    /// From where periods are counted; the start unless given.
    pub anchor: Option<At>,
    /// What policies may read of the customer.
    pub attributes: Option<BTreeMap<String, String>>,
}

impl CustomerSetup {
    /// What this sets; for the rest, what the one below it does.
    pub fn or(&self, below: &Self) -> Self {
        Self {
            interval: self.interval.or(below.interval),
            time_zone: self.time_zone.clone().or_else(|| below.time_zone.clone()),
            anchor: self.anchor.or(below.anchor),
            attributes: self.attributes.clone().or_else(|| below.attributes.clone()),
        }
    }
}

/// `"month"`, `{ unit = "month", count = 3 }` or `"none"`.
#[derive(Debug, Clone, Copy)]
pub struct IntervalSetup(pub Option<Interval>);

impl<'de> Deserialize<'de> for IntervalSetup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Never {
            None,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "must be \"none\", a unit such as \"month\", or { unit = \"month\", count = 3 }"
        )]
        enum Form {
            Never(Never),
            One(IntervalUnit),
            Several(Interval),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Never(Never::None) => None,
            Form::One(unit) => Some(Interval { unit, count: 1 }),
            Form::Several(interval) => Some(interval),
        }))
    }
}

/// A time, as TOML writes it or as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub Timestamp);

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a time such as 2026-01-15T10:00:00Z")]
        enum Form {
            Text(String),
            Native(toml::value::Datetime),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Native(time) => time.to_string(),
        };
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A step: time moves, then something is done, then all that is named in `expect` must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Moves the clock to a time.
    pub at: Option<At>,
    /// Moves the clock on.
    pub advance: Option<Span>,
    /// Charges a usage.
    pub charge: Option<UsageStep>,
    /// Asks what a charge would do.
    pub check: Option<UsageStep>,
    /// Sets credits aside.
    pub reserve: Option<ReserveStep>,
    /// Charges a reservation's actual usage.
    pub commit: Option<CommitStep>,
    /// Gives the reservation of this name back.
    pub release: Option<String>,
    /// Grants credits.
    pub grant: Option<GrantStep>,
    /// Voids the grant of this name.
    pub void: Option<String>,
    /// Corrects the balance by an amount.
    pub adjust: Option<Credits>,
    /// Closes the period now.
    pub reset: Option<ResetStep>,
    /// Binds terms with other settings to the customer.
    pub terms: Option<TermsStep>,
    /// Ends the customer's terms of this name.
    pub end_terms: Option<String>,
    /// Changes the customer's attributes or zone.
    pub customer: Option<CustomerStep>,
    /// What must hold afterwards.
    #[serde(default)]
    pub expect: Expect,
}

/// What is done in a step.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Nothing but time.
    Wait,
    /// See the fields of [`Step`].
    Charge(&'a UsageStep),
    /// See above.
    Check(&'a UsageStep),
    /// See above.
    Reserve(&'a ReserveStep),
    /// See above.
    Commit(&'a CommitStep),
    /// See above.
    Release(&'a str),
    /// See above.
    Grant(&'a GrantStep),
    /// See above.
    Void(&'a str),
    /// See above.
    Adjust(Credits),
    /// See above.
    Reset,
    /// See above.
    Terms(&'a TermsStep),
    /// See above.
    EndTerms(&'a str),
    /// See above.
    Customer(&'a CustomerStep),
}

impl Step {
    /// The one thing that is done, or the names of several.
    pub fn action(&self) -> Result<Action<'_>, String> {
        let named = [
            ("charge", self.charge.as_ref().map(Action::Charge)),
            ("check", self.check.as_ref().map(Action::Check)),
            ("reserve", self.reserve.as_ref().map(Action::Reserve)),
            ("commit", self.commit.as_ref().map(Action::Commit)),
            ("release", self.release.as_deref().map(Action::Release)),
            ("grant", self.grant.as_ref().map(Action::Grant)),
            ("void", self.void.as_deref().map(Action::Void)),
            ("adjust", self.adjust.map(Action::Adjust)),
            ("reset", self.reset.as_ref().map(|_| Action::Reset)),
            ("terms", self.terms.as_ref().map(Action::Terms)),
            ("end_terms", self.end_terms.as_deref().map(Action::EndTerms)),
            ("customer", self.customer.as_ref().map(Action::Customer)),
        ];
        let done: Vec<(&str, Action<'_>)> =
            named.into_iter().filter_map(|(name, action)| Some((name, action?))).collect();
        match done.as_slice() {
            [] => Ok(Action::Wait),
            [(_, action)] => Ok(*action),
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                Err(format!("a step does one thing, this one does {}", names.join(" and ")))
            }
        }
    }

    /// The step in a few words.
    pub fn title(&self) -> String {
        match self.action() {
            Ok(Action::Wait) => "time".to_owned(),
            Ok(Action::Charge(usage)) => format!("charge {}", usage.feature),
            Ok(Action::Check(usage)) => format!("check {}", usage.feature),
            Ok(Action::Reserve(step)) => format!("reserve {}", step.feature),
            Ok(Action::Commit(step)) => format!("commit {}", step.reservation),
            Ok(Action::Release(name)) => format!("release {name}"),
            Ok(Action::Grant(grant)) => format!("grant {}", grant.amount),
            Ok(Action::Void(name)) => format!("void {name}"),
            Ok(Action::Adjust(amount)) => format!("adjust {amount}"),
            Ok(Action::Reset) => "reset".to_owned(),
            Ok(Action::Terms(_)) => "terms".to_owned(),
            Ok(Action::EndTerms(name)) => format!("end terms {name}"),
            Ok(Action::Customer(_)) => "customer".to_owned(),
            Err(_) => "unclear".to_owned(),
        }
    }
}

/// A usage: the body of a charge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageStep {
    pub feature: Key,
    #[serde(default)]
    pub quantities: BTreeMap<String, Quantity>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    pub entity: Option<Key>,
    pub occurred_at: Option<At>,
}

/// A reservation, with a name for later steps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveStep {
    pub r#as: String,
    pub feature: Key,
    #[serde(default)]
    pub quantities: BTreeMap<String, Quantity>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    pub entity: Option<Key>,
    pub occurred_at: Option<At>,
    pub ttl: Option<Span>,
}

impl ReserveStep {
    /// The usage that is expected.
    pub fn usage(&self) -> UsageStep {
        UsageStep {
            feature: self.feature.clone(),
            quantities: self.quantities.clone(),
            attributes: self.attributes.clone(),
            entity: self.entity.clone(),
            occurred_at: self.occurred_at,
        }
    }
}

/// What a reservation came to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitStep {
    pub reservation: String,
    #[serde(default)]
    pub quantities: BTreeMap<String, Quantity>,
    pub attributes: Option<BTreeMap<String, String>>,
}

/// A grant, perhaps with a name for later steps and expectations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantStep {
    pub r#as: Option<String>,
    pub amount: Credits,
    #[serde(default = "prepaid")]
    pub category: Category,
    pub credit: Option<Key>,
    #[serde(default)]
    pub priority: i32,
    pub effective_at: Option<At>,
    pub expires_at: Option<At>,
    #[serde(default)]
    pub features: Vec<Key>,
    pub cost_basis: Option<CostBasis>,
}

fn prepaid() -> Category {
    Category::Prepaid
}

/// `reset = {}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetStep {}

/// Terms of the customer's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermsStep {
    pub r#as: Option<String>,
    /// Laid over the case's settings.
    #[serde(default = "no_settings")]
    pub settings: Value,
    pub effective_at: Option<At>,
    pub ends_at: Option<At>,
    #[serde(default)]
    pub on_fault: OnFault,
}

/// A change of the customer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerStep {
    pub time_zone: Option<Zone>,
    pub attributes: Option<BTreeMap<String, String>>,
}

/// What must hold after a step; what is not named is not looked at, but for `code`, `error` and `problems`: a step that
/// names none of them must not be refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    pub cost: Option<Credits>,
    pub code: Option<String>,
    pub retry_at: Option<At>,
    pub offers: Option<Vec<String>>,
    pub error: Option<String>,
    pub problems: Option<Vec<String>>,
    pub lines: Option<Vec<String>>,
    pub draws: Option<BTreeMap<String, Credits>>,
    pub overage: Option<Credits>,
    pub returned: Option<Credits>,
    pub balance: Option<ExpectBalance>,
    pub remaining: Option<BTreeMap<String, Credits>>,
    pub expires: Option<BTreeMap<String, Ends>>,
    pub entries: Option<Vec<String>>,
    pub fees: Option<BTreeMap<String, Credits>>,
    pub settled: Option<BTreeMap<String, Credits>>,
    pub notes: Option<Vec<String>>,
    pub fuel: Option<u64>,
    pub fuel_at_most: Option<u64>,
    pub log: Option<Vec<String>>,
    pub degraded: Option<bool>,
}

/// Fields of a balance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectBalance {
    pub credit: Option<Key>,
    pub granted: Option<Credits>,
    pub used: Option<Credits>,
    pub reserved: Option<Credits>,
    pub available: Option<Credits>,
    pub overage: Option<Credits>,
    pub next_reset_at: Option<Ends>,
}

/// A time, or `"never"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends(pub Option<Timestamp>);

impl<'de> Deserialize<'de> for Ends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Never {
            Never,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be \"never\" or a time such as 2026-01-15T10:00:00Z")]
        enum Form {
            Never(Never),
            At(At),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Never(Never::Never) => None,
            Form::At(at) => Some(at.0),
        }))
    }
}

/// Reads a case file.
pub fn parse(text: &str) -> Result<CaseFile, String> {
    let file: CaseFile = toml::from_str(text).map_err(|error| error.to_string())?;
    for step in file.cases.iter().flat_map(|case| &case.get_ref().steps) {
        step.get_ref().action().map_err(|error| format!("line {}: {error}", line(text, step)))?;
    }
    Ok(file)
}

/// The line on which a thing begins, counted from 1.
pub fn line<T>(text: &str, of: &Spanned<T>) -> usize {
    text.get(..of.span().start).unwrap_or_default().matches('\n').count() + 1
}

/// JSON laid over JSON: objects merge, everything else replaces.
pub fn overlay(below: &Value, above: &Value) -> Value {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            let mut merged = below.clone();
            for (name, value) in above {
                let value = merged.get(name).map_or_else(|| value.clone(), |below| overlay(below, value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        _ => above.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_file_is_read() {
        let file = parse(
            r#"
            start = 2026-01-15T10:00:00Z
            [settings]
            daily_cap = "20"
            night = { from = "22:00", percent = 40 }
            [customer]
            time_zone = "Europe/Berlin"
            interval = { unit = "month", count = 3 }
            [[case]]
            name = "one"
            settings.night.percent = 50
            customer.interval = "none"
            steps = [
                { grant = { amount = "10", as = "gift" }, expect = { balance = { available = "10" } } },
                { advance = "1d", charge = { feature = "chat", quantities = { tokens = 5, seconds = "0.5" } },
                  expect = { cost = "1.2", draws = { gift = "1.2" }, expires = { gift = "never" } } },
                { at = "2026-02-01T00:00:00Z" },
            ]
            "#,
        )
        .unwrap();
        let case = file.cases[0].get_ref();
        assert_eq!((case.steps.len(), case.steps[1].get_ref().title()), (3, "charge chat".to_owned()));
        let settings = overlay(&file.settings, case.settings.as_ref().unwrap());
        assert_eq!(settings["night"], serde_json::json!({"from": "22:00", "percent": 50}));
        assert_eq!(settings["daily_cap"], "20");
        let customer = case.customer.or(&file.customer);
        assert_eq!(customer.time_zone.unwrap().name(), "Europe/Berlin");
        assert!(customer.interval.unwrap().0.is_none());
        assert_eq!(file.customer.interval.unwrap().0.unwrap().count, 3);
        assert_eq!(file.start.unwrap().0.to_string(), "2026-01-15T10:00:00Z");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (step, named) in [
            (
                r#"{ charge = { feature = "chat" }, reset = {} }"#,
                "line 3: a step does one thing, this one does charge and reset",
            ),
            (r#"{ charge = { feature = "chat", tokens = 5 } }"#, "unknown field `tokens`"),
            (r#"{ charge = { quantities = {} } }"#, "missing field `feature`"),
            (r#"{ chargge = {} }"#, "unknown field `chargge`"),
            (r#"{ reset = {}, expect = { cost = 1.5 } }"#, "decimal string"),
            (r#"{ at = "yesterday" }"#, "RFC 3339"),
            (r#"{ advance = "soon" }"#, "\"soon\" is no length of time"),
        ] {
            let error = parse(&format!("[[case]]\nname = \"x\"\nsteps = [{step}]")).unwrap_err();
            assert!(error.contains(named), "{step}: {error}");
        }
        assert!(parse("").unwrap_err().contains("missing field `case`"));
    }
}
