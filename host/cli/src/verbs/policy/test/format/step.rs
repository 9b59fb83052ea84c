//! The steps of a case, and the one thing that each does.

use super::{
    expect::Expect,
    schema,
    values::{At, Settings, json_fields},
};
use crate::span::Span;
use proviso_api::{
    schema as wire,
    usage::{ActualUsage, Usage},
};
use proviso_ledger::model::{
    amounts::{Credits, Money},
    answers::Allowance,
    grant::Category,
    ids::{Key, Name},
    terms::{Mode, OnFault},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A step: time moves, then something is done, then all that is named in `expect` must hold.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which of the `customers` it is about; defaults to the case's customer.
    pub on: Option<String>,
    /// Moves the clock to a time.
    #[schema(value_type = Option<wire::Time>)]
    pub at: Option<At>,
    /// Moves the clock on, such as by `1d12h`.
    #[schema(value_type = Option<String>)]
    pub advance: Option<Span>,
    /// Charges a usage.
    #[schema(value_type = Option<schema::UsageForm>)]
    pub charge: Option<UsageStep>,
    /// Asks what a charge would do.
    #[schema(value_type = Option<schema::UsageForm>)]
    pub check: Option<UsageStep>,
    /// Sets credits aside.
    #[schema(value_type = Option<schema::ReserveForm>)]
    pub reserve: Option<ReserveStep>,
    /// Moves a reservation's end.
    pub extend: Option<ExtendStep>,
    /// Charges a reservation's actual usage.
    #[schema(value_type = Option<schema::CommitForm>)]
    pub commit: Option<CommitStep>,
    /// Gives the reservation of this name back.
    pub release: Option<String>,
    /// Grants credits.
    pub grant: Option<GrantStep>,
    /// Voids the grant of this name.
    pub void: Option<String>,
    /// Corrects the balance by an amount.
    #[schema(value_type = Option<wire::Credits>)]
    pub adjust: Option<Credits>,
    /// Ends the period now and begins the next.
    pub reset: Option<ResetStep>,
    /// Makes good what a fault left undone of the period of this number.
    pub retry_period: Option<u32>,
    /// Binds terms to the customer, or to a plan.
    pub terms: Option<TermsStep>,
    /// Ends the customer's terms of this name.
    pub end_terms: Option<String>,
    /// Puts the customer on another plan, or on `"none"`.
    #[schema(value_type = Option<schema::PlanForm>)]
    pub plan: Option<PlanStep>,
    /// Moves the time from where periods are counted.
    #[schema(value_type = Option<wire::Time>)]
    pub anchor: Option<At>,
    /// Changes the customer's attributes or zone.
    pub customer: Option<CustomerStep>,
    /// Closes the customer.
    pub close_customer: Option<CloseCustomerStep>,
    /// What must hold afterwards.
    #[serde(default)]
    pub expect: Expect,
}

/// What is done in a step, besides moving time.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Nothing.
    Wait,
    Charge(&'a UsageStep),
    Check(&'a UsageStep),
    Reserve(&'a ReserveStep),
    Extend(&'a ExtendStep),
    Commit(&'a CommitStep),
    Release(&'a str),
    Grant(&'a GrantStep),
    Void(&'a str),
    Adjust(Credits),
    Reset(ResetStep),
    RetryPeriod(u32),
    Terms(&'a TermsStep),
    EndTerms(&'a str),
    Plan(&'a PlanStep),
    Anchor(Timestamp),
    Customer(&'a CustomerStep),
    CloseCustomer,
}

impl Step {
    /// The one thing that is done, or the names of several.
    pub fn action(&self) -> Result<Action<'_>, String> {
        let named = [
            ("charge", self.charge.as_ref().map(Action::Charge)),
            ("check", self.check.as_ref().map(Action::Check)),
            ("reserve", self.reserve.as_ref().map(Action::Reserve)),
            ("extend", self.extend.as_ref().map(Action::Extend)),
            ("commit", self.commit.as_ref().map(Action::Commit)),
            ("release", self.release.as_deref().map(Action::Release)),
            ("grant", self.grant.as_ref().map(Action::Grant)),
            ("void", self.void.as_deref().map(Action::Void)),
            ("adjust", self.adjust.map(Action::Adjust)),
            ("reset", self.reset.map(Action::Reset)),
            ("retry_period", self.retry_period.map(Action::RetryPeriod)),
            ("terms", self.terms.as_ref().map(Action::Terms)),
            ("end_terms", self.end_terms.as_deref().map(Action::EndTerms)),
            ("plan", self.plan.as_ref().map(Action::Plan)),
            ("anchor", self.anchor.map(|at| Action::Anchor(at.0))),
            ("customer", self.customer.as_ref().map(Action::Customer)),
            ("close_customer", self.close_customer.as_ref().map(|_| Action::CloseCustomer)),
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
            Ok(Action::Charge(usage)) => format!("charge {}", usage.0.feature),
            Ok(Action::Check(usage)) => format!("check {}", usage.0.feature),
            Ok(Action::Reserve(step)) => format!("reserve {}", step.usage.feature),
            Ok(Action::Extend(step)) => format!("extend {}", step.reservation),
            Ok(Action::Commit(step)) => format!("commit {}", step.reservation),
            Ok(Action::Release(name)) => format!("release {name}"),
            Ok(Action::Grant(grant)) => format!("grant {}", grant.amount),
            Ok(Action::Void(name)) => format!("void {name}"),
            Ok(Action::Adjust(amount)) => format!("adjust {amount}"),
            Ok(Action::Reset(_)) => "reset".to_owned(),
            Ok(Action::RetryPeriod(number)) => format!("retry period {number}"),
            Ok(Action::Terms(_)) => "terms".to_owned(),
            Ok(Action::EndTerms(name)) => format!("end terms {name}"),
            Ok(Action::Plan(PlanStep { to: Some(plan), .. })) => format!("plan {plan}"),
            Ok(Action::Plan(_)) => "no plan".to_owned(),
            Ok(Action::Anchor(at)) => format!("anchor {at}"),
            Ok(Action::Customer(_)) => "customer".to_owned(),
            Ok(Action::CloseCustomer) => "close customer".to_owned(),
            Err(_) => "unclear".to_owned(),
        }
    }
}

/// A usage: the body of a charge, whose quantities may be left out.
#[derive(Debug, Clone)]
pub struct UsageStep(pub Usage);

impl<'de> Deserialize<'de> for UsageStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        usage(json_fields(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

fn usage(mut fields: Map<String, Value>) -> Result<Usage, serde_json::Error> {
    fields.entry("quantities").or_insert_with(|| Value::Object(Map::new()));
    serde_json::from_value(Value::Object(fields))
}

/// Takes the fields of these names out of others.
fn take<T: serde::de::DeserializeOwned>(
    fields: &mut Map<String, Value>,
    names: &[&str],
) -> Result<T, serde_json::Error> {
    let own = names.iter().filter_map(|name| fields.remove_entry(*name)).collect();
    serde_json::from_value(Value::Object(own))
}

/// A reservation, with a name for later steps: the body of a charge, `as` and `ttl`.
#[derive(Debug, Clone)]
pub struct ReserveStep {
    pub name: String,
    pub usage: Usage,
    pub ttl: Option<Span>,
}

impl<'de> Deserialize<'de> for ReserveStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Own {
            r#as: String,
            ttl: Option<Span>,
        }
        let mut fields = json_fields(deserializer)?;
        let Own { r#as: name, ttl } = take(&mut fields, &["as", "ttl"]).map_err(D::Error::custom)?;
        Ok(Self { name, usage: usage(fields).map_err(D::Error::custom)?, ttl })
    }
}

/// A reservation's new end, counted from now.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendStep {
    pub reservation: String,
    #[schema(value_type = String, example = "1h")]
    pub ttl: Span,
}

/// What a reservation of an earlier step came to: the body of a commit.
#[derive(Debug, Clone)]
pub struct CommitStep {
    pub reservation: String,
    pub actual: ActualUsage,
}

impl<'de> Deserialize<'de> for CommitStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Own {
            reservation: String,
        }
        let mut fields = json_fields(deserializer)?;
        let Own { reservation } = take(&mut fields, &["reservation"]).map_err(D::Error::custom)?;
        fields.entry("quantities").or_insert_with(|| Value::Object(Map::new()));
        let actual = serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)?;
        Ok(Self { reservation, actual })
    }
}

/// A grant, perhaps with a name for later steps and expectations.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantStep {
    pub r#as: Option<String>,
    #[schema(value_type = wire::Credits)]
    pub amount: Credits,
    #[serde(default = "prepaid")]
    #[schema(value_type = schema::CategoryName)]
    pub category: Category,
    #[schema(value_type = Option<wire::Key>)]
    pub credit: Option<Key>,
    #[serde(default)]
    pub priority: i32,
    #[schema(value_type = Option<wire::Time>)]
    pub effective_at: Option<At>,
    #[schema(value_type = Option<wire::Time>)]
    pub expires_at: Option<At>,
    /// The end of the n-th period after the one in which it becomes usable.
    pub expires_with_period: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Vec<wire::Key>)]
    pub features: Vec<Key>,
    #[schema(value_type = Option<wire::Money>)]
    pub cost_basis: Option<Money>,
}

fn prepaid() -> Category {
    Category::Prepaid
}

/// `reset = {}`, or `reset = { anchor = "now" }`.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetStep {
    /// From where periods are counted afterwards, if that changes.
    pub anchor: Option<NewAnchor>,
}

/// The one anchor that a reset can set.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewAnchor {
    Now,
}

/// Terms of the customer's own, or of a plan.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsStep {
    pub r#as: Option<String>,
    /// The plan that they are bound to; defaults to the customer itself.
    #[schema(value_type = Option<wire::Name>)]
    pub plan: Option<Name>,
    /// One of the file's `policies`; defaults to the policy under test.
    pub policy: Option<String>,
    /// Laid over the case's settings.
    #[serde(default)]
    #[schema(value_type = wire::AnyObject)]
    pub settings: Settings,
    /// From when; defaults to now.
    #[schema(value_type = Option<wire::Time>)]
    pub effective_at: Option<At>,
    #[schema(value_type = Option<wire::Time>)]
    pub ends_at: Option<At>,
    /// `shadow`: only recorded beside what decides.
    #[serde(default)]
    #[schema(value_type = schema::ModeName)]
    pub mode: Mode,
    #[serde(default)]
    #[schema(value_type = schema::OnFaultName)]
    pub on_fault: OnFault,
    pub contract: Option<ContractSetup>,
    #[schema(value_type = Option<wire::TimeZone>)]
    pub time_zone: Option<Zone>,
}

/// A contract that terms belong to.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractSetup {
    pub id: String,
    #[schema(value_type = Option<wire::Time>)]
    pub start: Option<At>,
    #[schema(value_type = Option<wire::Time>)]
    pub end: Option<At>,
}

/// `"pro"`, `{ to = "pro", allowance = "prorate" }`, or `"none"`.
#[derive(Debug, Clone)]
pub struct PlanStep {
    /// None takes the plan away.
    pub to: Option<Name>,
    /// How its allowance is reduced by what was given in the cycle.
    pub allowance: Allowance,
}

impl<'de> Deserialize<'de> for PlanStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Change {
            to: Name,
            #[serde(default)]
            allowance: Allowance,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "must be \"none\", a plan such as \"pro\", or { to = \"pro\", allowance = \"carry\" }, with \
                         \"carry\", \"prorate\" or \"full\""
        )]
        enum Form {
            To(Name),
            Change(Change),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::To(plan) => Self {
                to: Some(plan).filter(|plan| plan.as_str() != "none"),
                allowance: Allowance::default(),
            },
            Form::Change(Change { to, allowance }) => Self { to: Some(to), allowance },
        })
    }
}

/// A change of the customer.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerStep {
    #[schema(value_type = Option<wire::TimeZone>)]
    pub time_zone: Option<Zone>,
    pub attributes: Option<BTreeMap<String, String>>,
}

/// `close_customer = {}`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseCustomerStep {}
