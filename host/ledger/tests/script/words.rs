//! The words of a script's line, and what they mean.

use crate::support::key;
use proviso_ledger::{
    credits::Credits,
    decision::{
        Counter, Fee, Measure, NewGrant, ResetOutcome, Rollover, Scope, SettleMethod, Settlement, Window,
    },
    grant::{Category, CreditType},
    ids::GrantId,
    period::IntervalUnit,
    time::Timestamp,
};
use std::str::FromStr;

/// `verb arg arg option=value`.
pub struct Words<'a> {
    pub verb: &'a str,
    pub args: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    pub fn parse(line: &'a str) -> Self {
        let (mut args, mut options) = (Vec::new(), Vec::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some(option) => options.push(option),
                None => args.push(word),
            }
        }
        Self { verb: args.remove(0), args, options }
    }

    pub fn arg(&self, place: usize) -> &'a str {
        self.args[place]
    }

    pub fn amount(&self, place: usize) -> Credits {
        self.arg(place).parse().unwrap()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.args.contains(&name)
    }

    pub fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub fn number<T: FromStr>(&self, name: &str, otherwise: T) -> T {
        self.option(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    }

    pub fn time(&self, name: &str) -> Option<Timestamp> {
        self.option(name).map(instant)
    }

    pub fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.option(name).into_iter().flat_map(|text| text.split(','))
    }

    pub fn credit(&self) -> CreditType {
        key(self.option("credit").unwrap_or("credits"))
    }
}

const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// `+36h` after the start, or RFC 3339.
pub fn instant(text: &str) -> Timestamp {
    let Some(offset) = text.strip_prefix('+') else { return text.parse().unwrap() };
    let (number, unit) = offset.split_at(offset.len() - 1);
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).unwrap();
    let start: Timestamp = super::START.parse().unwrap();
    start.plus_micros(number.parse::<i64>().unwrap() * seconds * Timestamp::SECOND)
}

/// The shortest text of an instant after the start.
pub fn offset(at: Timestamp) -> String {
    let start: Timestamp = super::START.parse().unwrap();
    let seconds = (at.0 - start.0) / Timestamp::SECOND;
    let (unit, size) = UNITS.iter().find(|(_, size)| seconds % size == 0).unwrap();
    format!("+{}{unit}", seconds / size)
}

pub fn category(text: &str) -> Category {
    Category::from_name(text).unwrap_or(Category::Promotional)
}

pub fn unit(text: &str) -> IntervalUnit {
    serde_json::from_value(text.into()).unwrap()
}

/// `count tokens by entity per day features=chat`.
pub fn counter(words: &Words<'_>) -> Counter {
    let measure = match words.arg(0) {
        "cost" => Measure::Cost,
        quantity => Measure::Quantity(quantity.to_owned()),
    };
    let scope = match words.arg(2) {
        "customer" => Scope::Customer,
        "entity" => Scope::Entity,
        attribute => Scope::Attribute(attribute.to_owned()),
    };
    let window: Window = serde_json::from_value(words.arg(4).into()).unwrap();
    Counter {
        name: "any".to_owned(),
        measure,
        features: words.list("features").map(key).collect(),
        scope,
        window,
    }
}

/// `roll a 10 as=b; expire a; fee 5; issue 100 plan as=c; settle deduct 5`, with the names of the grants it makes.
pub fn outcome(text: &str, id: impl Fn(&str) -> GrantId) -> (ResetOutcome, Vec<String>) {
    let mut outcome = ResetOutcome::default();
    let (mut rolled, mut issued) = (Vec::new(), Vec::new());
    for step in text.split(';').map(str::trim).filter(|step| !step.is_empty() && *step != "nothing") {
        let words = Words::parse(step);
        let name = words.option("as").unwrap_or("new").to_owned();
        match words.verb {
            "roll" => {
                rolled.push(name);
                outcome.roll_over.push(Rollover {
                    grant: id(words.arg(0)),
                    amount: words.amount(1),
                    priority: words.number("priority", 0),
                    expires_at: words.time("expires"),
                });
            }
            "expire" => outcome.expire.push(id(words.arg(0))),
            "fee" => {
                let label = "true-up".to_owned();
                outcome.fees.push(Fee { credit: words.credit(), label, amount: words.amount(0) });
            }
            "issue" => {
                issued.push(name);
                outcome.issue.push(NewGrant {
                    credit: words.credit(),
                    amount: words.amount(0),
                    category: words.args.get(1).map_or(Category::Plan, |text| category(text)),
                    priority: words.number("priority", 0),
                    effective_at: words.time("effective"),
                    expires_at: words.time("expires"),
                    features: words.list("scope").map(key).collect(),
                    cost_basis: None,
                });
            }
            "settle" => {
                let method = match words.arg(0) {
                    "deduct" => SettleMethod::Deduct,
                    "invoice" => SettleMethod::Invoice,
                    "waive" => SettleMethod::Waive,
                    other => panic!("no such method: {other}"),
                };
                outcome.settle.push(Settlement { credit: words.credit(), amount: words.amount(1), method });
            }
            other => panic!("no such step: {other}"),
        }
    }
    rolled.extend(issued);
    (outcome, rolled)
}
