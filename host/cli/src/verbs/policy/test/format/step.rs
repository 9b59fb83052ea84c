//! The steps of a case, and the one thing that each does.

use super::{
    expect::Expect,
    values::{At, Settings},
};
use crate::span::Span;
use proviso_ledger::model::{
    amounts::{Credits, Money, Quantity},
    answers::Allowance,
    grant::Category,
    ids::{Key, Name},
    terms::OnFault,
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

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
    /// Moves a reservation's end.
    pub extend: Option<ExtendStep>,
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
    /// Ends the period now and begins the next.
    pub reset: Option<ResetStep>,
    /// Makes good what a fault left undone of the period of this number.
    pub retry_period: Option<u32>,
    /// Binds terms with other settings to the customer.
    pub terms: Option<TermsStep>,
    /// Ends the customer's terms of this name.
    pub end_terms: Option<String>,
    /// Puts the customer on another plan, or on none.
    pub plan: Option<PlanStep>,
    /// Moves the time from where periods are counted.
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
            Ok(Action::Charge(usage)) => format!("charge {}", usage.feature),
            Ok(Action::Check(usage)) => format!("check {}", usage.feature),
            Ok(Action::Reserve(step)) => format!("reserve {}", step.feature),
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

/// A reservation's new end, counted from now.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendStep {
    pub reservation: String,
    pub ttl: Span,
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
    pub expires_with_period: Option<u32>,
    #[serde(default)]
    pub features: Vec<Key>,
    pub cost_basis: Option<Money>,
}

fn prepaid() -> Category {
    Category::Prepaid
}

/// `reset = {}`, or `reset = { anchor = "now" }`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetStep {
    /// From where periods are counted afterwards, if that changes.
    pub anchor: Option<NewAnchor>,
}

/// The one anchor that a reset can set.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewAnchor {
    Now,
}

/// Terms of the customer's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermsStep {
    pub r#as: Option<String>,
    /// Laid over the case's settings.
    #[serde(default)]
    pub settings: Settings,
    pub effective_at: Option<At>,
    pub ends_at: Option<At>,
    #[serde(default)]
    pub on_fault: OnFault,
    pub contract: Option<ContractSetup>,
    pub time_zone: Option<Zone>,
}

/// A contract that terms belong to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractSetup {
    pub id: String,
    pub start: Option<At>,
    pub end: Option<At>,
}

/// `"pro"`, `{ to = "pro", allowance = "prorate" }`, or `"none"`.
#[derive(Debug)]
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerStep {
    pub time_zone: Option<Zone>,
    pub attributes: Option<BTreeMap<String, String>>,
}

/// `close_customer = {}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseCustomerStep {}
