//! The format of workload files: who uses how much of what, when, and what that costs the provider. TOML with every key known and every
//! amount exact; `docs/simulate.md` describes it.

use super::spread::Spread;
use crate::verbs::policy::test::format::{At, IntervalSetup, Malformed, PlanSetup, Settings};
use proviso_ledger::model::{
    amounts::{Credits, Currency, Decimal, Percent},
    grant::Category,
    ids::{Key, Name},
    time::Zone,
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};
use toml::Spanned;

/// The most months of a simulation.
pub const MOST_MONTHS: u16 = 120;
/// The most customers of a segment.
pub const MOST_CUSTOMERS: u32 = 1_000_000;

/// A workload file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// When it begins; defaults to 2026-01-01T00:00:00Z.
    pub start: Option<At>,
    /// How many months it lasts.
    #[serde(default = "a_year")]
    pub months: u16,
    /// From which number all chance comes; `--seed` goes before it.
    #[serde(default = "first")]
    pub seed: u64,
    /// The policy: the folder of its crate, or a module, beside this file; `--policy` goes before it.
    pub policy: Option<PathBuf>,
    /// Other policies that plans may name, beside this file.
    #[serde(default)]
    pub policies: BTreeMap<String, PathBuf>,
    /// A file of settings, JSON or TOML, beside this one; `settings` is laid over it.
    pub settings_file: Option<PathBuf>,
    /// The settings of the plans' terms.
    #[serde(default)]
    pub settings: Settings,
    /// The plans, by name, as in case files. There is always one called `plan`.
    #[serde(default)]
    pub plans: BTreeMap<Name, PlanSetup>,
    /// How long a period is of plans that name no interval; defaults to a month.
    pub interval: Option<IntervalSetup>,
    /// The currency of all money in this file; defaults to USD.
    pub currency: Option<Currency>,
    /// What a credit is sold for where it is invoiced.
    pub credit_price: Option<Decimal>,
    /// What the provider is paid.
    #[serde(default, rename = "cost")]
    pub costs: Vec<Spanned<Cost>>,
    /// The customers.
    #[serde(default, rename = "segment")]
    pub segments: Vec<Spanned<Segment>>,
}

fn a_year() -> u16 {
    12
}

fn first() -> u64 {
    1
}

/// What a usage costs the provider: of each quantity, the first one that fits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The feature; defaults to every feature.
    pub feature: Option<String>,
    /// Attributes that the usage must have; `*` in a value stands for any text.
    #[serde(default)]
    pub when: BTreeMap<String, String>,
    /// The quantity; without it, the usage itself is counted, as one.
    pub quantity: Option<String>,
    /// For each unit.
    pub per_unit: Option<Decimal>,
    /// For a million units.
    pub per_million: Option<Decimal>,
}

/// Customers that are alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// For people.
    pub name: String,
    /// The plan that they are on; defaults to `plan`.
    pub plan: Option<Name>,
    /// How many there are at the beginning.
    pub customers: u32,
    /// How many more come in each month.
    #[serde(default)]
    pub new_per_month: u32,
    /// Their zone; defaults to UTC.
    pub time_zone: Option<Zone>,
    /// What policies may read of them.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// What each pays for a period; defaults to the cost basis of what the period opens with.
    pub fee: Option<Decimal>,
    /// How many usages each has on a working day: each customer draws its own number.
    pub usages_per_day: Option<Spread>,
    /// By how much a customer's usage grows from month to month.
    #[serde(default)]
    pub growth_percent: Percent,
    /// By how much a day's usage may be above or below.
    #[serde(default)]
    pub variation_percent: Percent,
    /// What Saturdays and Sundays have of a working day's usage.
    #[serde(default = "all")]
    pub weekend_percent: Percent,
    /// The local hours in which there is usage; defaults to all.
    pub hours: Option<Hours>,
    /// Days with much more.
    pub burst: Option<Burst>,
    /// How many users there are under each customer, to whom usage is attributed; zero for none.
    #[serde(default)]
    pub users: u32,
    /// Credits that they are given or buy beside what the policy issues.
    #[serde(default)]
    pub grants: Vec<SegmentGrant>,
    /// What they buy when credits have run out.
    pub buys: Option<Buys>,
    /// Usage out of a file in the place of drawn one.
    pub trace: Option<TraceOf>,
    /// What a usage may be.
    #[serde(default, rename = "usage")]
    pub uses: Vec<Use>,
}

fn all() -> Percent {
    Percent::ALL
}

/// Local hours of a day: from the first, before the second.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    pub from: u8,
    pub to: u8,
}

/// A day with much more usage, on top of what it has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// How likely a day is to have one.
    pub chance_percent: Percent,
    /// How many times a usual day's usage it is.
    pub times: Spread,
    /// Within how many hours.
    #[serde(default = "three")]
    pub hours: u8,
}

fn three() -> u8 {
    3
}

/// Credits that each customer gets beside its plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentGrant {
    pub amount: Credits,
    #[serde(default = "prepaid")]
    pub category: Category,
    pub credit: Option<Key>,
    /// What the customer pays for it.
    #[serde(default)]
    pub price: Decimal,
    /// How many months lie between two; without it, there is one when the customer comes.
    pub every_months: Option<u16>,
    pub expires_after_days: Option<u32>,
}

fn prepaid() -> Category {
    Category::Prepaid
}

/// What a customer buys when a usage is refused for want of credits; then it tries again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buys {
    pub amount: Credits,
    #[serde(default)]
    pub price: Decimal,
    /// At most so many in a month.
    #[serde(default = "once")]
    pub at_most: u32,
}

fn once() -> u32 {
    1
}

/// Usage out of a CSV file beside this one: each row is one, at its own time after the first row's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceOf {
    pub file: PathBuf,
    /// Whether it begins again, a whole number of days later, until the simulation ends.
    #[serde(default)]
    pub repeat: bool,
}

/// What a usage may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The feature.
    pub feature: Key,
    /// How often, next to the others.
    #[serde(default = "once")]
    pub share: u32,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Its quantities.
    #[serde(default)]
    pub quantities: BTreeMap<String, Spread>,
    /// A CSV file beside this one, one of whose rows, drawn by chance, gives more quantities and attributes.
    pub rows: Option<PathBuf>,
}

/// Reads a workload, with at least one segment where it `needs_segments`.
pub fn parse(text: &str, needs_segments: bool) -> Result<Workload, Malformed> {
    let workload: Workload = toml::from_str(text)
        .map_err(|error| Malformed::at(text, error.span().map_or(0, |span| span.start), error.message()))?;
    let at = |offset: usize, detail: String| Malformed::at(text, offset, &detail);
    if !(1..=MOST_MONTHS).contains(&workload.months) {
        return Err(at(0, format!("months: must be 1 to {MOST_MONTHS}")));
    }
    if needs_segments && workload.segments.is_empty() {
        return Err(at(0, "missing field `segment`: add a [[segment]] of customers".to_owned()));
    }
    for cost in &workload.costs {
        cost.get_ref().check().map_err(|detail| at(cost.span().start, detail))?;
    }
    let mut names: Vec<&str> = Vec::new();
    for segment in &workload.segments {
        let one = segment.get_ref();
        one.check(&workload.plans).map_err(|detail| at(segment.span().start, detail))?;
        if names.contains(&one.name.as_str()) {
            return Err(at(segment.span().start, format!("there are two segments {:?}", one.name)));
        }
        names.push(&one.name);
    }
    Ok(workload)
}

impl Cost {
    fn check(&self) -> Result<(), String> {
        match (self.per_unit, self.per_million) {
            (Some(price), None) | (None, Some(price)) if !price.is_negative() => Ok(()),
            (None, None) => Err("a cost needs per_unit or per_million".to_owned()),
            (Some(_), Some(_)) => Err("a cost has per_unit or per_million, not both".to_owned()),
            _ => Err("a cost is not below zero".to_owned()),
        }
    }
}

impl Segment {
    fn check(&self, plans: &BTreeMap<Name, PlanSetup>) -> Result<(), String> {
        let Self { name, customers, new_per_month, .. } = self;
        let wrong = |detail: &str| Err(format!("segment {name:?}: {detail}"));
        if *customers > MOST_CUSTOMERS || *new_per_month > MOST_CUSTOMERS {
            return wrong(&format!("customers and new_per_month are at most {MOST_CUSTOMERS}"));
        }
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.as_str() != "plan")
            && !plans.contains_key(plan)
        {
            return wrong(&format!("there is no plan {plan}: add [plans.{plan}]"));
        }
        match (&self.trace, &self.usages_per_day) {
            (None, None) => return wrong("it needs usages_per_day, or a trace"),
            (Some(_), Some(_)) => return wrong("usages_per_day and trace exclude each other"),
            (None, Some(_)) if self.uses.iter().all(|one| one.share == 0) => {
                return wrong("it needs a [[segment.usage]] whose share is above zero");
            }
            _ => {}
        }
        if self.hours.is_some_and(|hours| hours.from >= hours.to || hours.to > 24) {
            return wrong("hours: from must be before to, and to at most 24");
        }
        if self.burst.as_ref().is_some_and(|burst| !(1..=24).contains(&burst.hours)) {
            return wrong("burst.hours: must be 1 to 24");
        }
        let percents = [
            ("variation_percent", self.variation_percent, 100),
            ("weekend_percent", self.weekend_percent, 1_000),
            (
                "burst.chance_percent",
                self.burst.as_ref().map_or(Percent::ZERO, |one| one.chance_percent),
                100,
            ),
        ];
        for (field, percent, most) in percents {
            if percent.is_negative() || percent > Percent::from_whole(most) {
                return wrong(&format!("{field}: must be 0 to {most}"));
            }
        }
        if self.growth_percent < Percent::from_whole(-100) || self.growth_percent > Percent::from_whole(1_000)
        {
            return wrong("growth_percent: must be -100 to 1000");
        }
        if self.grants.iter().any(|grant| grant.every_months == Some(0)) {
            return wrong("grants: every_months must be at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let unused = "[[segment]]\nname = \"a\"\ncustomers = 1\nusages_per_day = 1\n";
        let segment = &format!("{unused}usage = [{{ feature = \"chat\" }}]\n");
        for (text, line, named) in [
            ("months = 0\n".to_owned(), 1, "must be 1 to 120"),
            ("month = 1\n".to_owned(), 1, "unknown field `month`"),
            ("months = 1\n".to_owned(), 1, "add a [[segment]]"),
            (unused.to_owned(), 1, "needs a [[segment.usage]]"),
            (
                "\n[[segment]]\nname = \"a\"\ncustomers = 1\n".to_owned(),
                2,
                "needs usages_per_day, or a trace",
            ),
            (format!("seed = 1\n{segment}plan = \"pro\"\n"), 2, "add [plans.pro]"),
            (format!("{segment}hours = {{ from = 9, to = 9 }}\n"), 1, "from must be before to"),
            (format!("{segment}weekend_percent = -1\n"), 1, "weekend_percent"),
            ("[[cost]]\nquantity = \"x\"\n".to_owned() + segment, 1, "needs per_unit or per_million"),
            (format!("{segment}usages_per_day = 1\n"), 6, "duplicate key"),
            (segment.replace("= 1\nusages", "= 1\nburst = { times = \"x\" }\nusages"), 4, "must be"),
        ] {
            let error = parse(&text, true).unwrap_err();
            assert!(error.detail.contains(named), "{text}: {error:?}");
            assert_eq!(error.line, line, "{text}: {error:?}");
        }
    }
}
