//! The words of a script's line, and what they mean.

use crate::support::key;
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Money},
    answers::{
        Allowance, CloseOutcome, Fee, FeeMethod, NewGrant, OpenOutcome, Rollover, SettleMethod, Settlement,
    },
    counter::{Counter, Measure, Scope, Window},
    grant::{Category, CreditType},
    ids::GrantId,
    period::IntervalUnit,
    time::Timestamp,
    view::Expiry,
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

    /// `expires=+3d with=0`: at an instant, with the n-th period, or both.
    pub fn expiry(&self) -> Expiry {
        Expiry {
            at: self.time("expires"),
            with_period: self.option("with").map(|text| text.parse().unwrap()),
        }
    }

    pub fn money(&self) -> Option<Money> {
        self.option("paid").map(|text| Money::new(text.parse().unwrap(), "EUR".parse().unwrap()).unwrap())
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
    Category::from_name(text).unwrap_or_else(|| panic!("no such category: {text}"))
}

pub fn unit(text: &str) -> IntervalUnit {
    serde_json::from_value(text.into()).unwrap()
}

/// `count tokens by entity per day features=chat`; `per 24h` is 24 rolling hours.
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
    let window = match words.arg(4).strip_suffix('h').map(str::parse) {
        Some(Ok(hours)) => Window::Hours(hours),
        _ => serde_json::from_value(words.arg(4).into()).unwrap(),
    };
    Counter {
        name: "any".to_owned(),
        measure,
        features: words.list("features").map(key).collect(),
        scope,
        window,
    }
}

fn steps(text: &str) -> impl Iterator<Item = Words<'_>> {
    text.split(';').map(str::trim).filter(|step| !step.is_empty() && *step != "nothing").map(Words::parse)
}

/// `roll a 10 as=b; expire a; fee 5; settle deduct 5`, with the names of the grants it makes.
pub fn closing(text: &str, id: impl Fn(&str) -> GrantId) -> (CloseOutcome, Vec<String>) {
    let (mut outcome, mut names) = (CloseOutcome::default(), Vec::new());
    for words in steps(text) {
        match words.verb {
            "roll" => {
                names.push(words.option("as").unwrap_or("new").to_owned());
                outcome.roll_over.push(Rollover {
                    grant: id(words.arg(0)),
                    amount: words.amount(1),
                    held_share: words.number("share", Decimal::ZERO),
                    held_limit: words.number("held", Credits::ZERO),
                    priority: words.number("priority", 0),
                    expires: words.expiry(),
                });
            }
            "expire" => outcome.expire.push(id(words.arg(0))),
            "fee" => outcome.fees.push(Fee {
                credit: words.credit(),
                label: "true-up".to_owned(),
                amount: words.amount(0),
                method: if words.flag("invoiced") { FeeMethod::Invoiced } else { FeeMethod::Drawn },
            }),
            "settle" => outcome.settle.push(settlement(&words)),
            other => panic!("no such step: {other}"),
        }
    }
    (outcome, names)
}

/// `issue 100 plan as=c carry; settle deduct 5`, with the names of the grants it makes.
pub fn opening(text: &str) -> (OpenOutcome, Vec<String>) {
    let (mut outcome, mut names) = (OpenOutcome::default(), Vec::new());
    for words in steps(text) {
        match words.verb {
            "issue" => {
                names.push(words.option("as").unwrap_or("new").to_owned());
                outcome.issue.push(NewGrant {
                    credit: words.credit(),
                    amount: words.amount(0),
                    category: words.args.get(1).map_or(Category::Plan, |text| category(text)),
                    priority: words.number("priority", 0),
                    effective_at: words.time("effective"),
                    expires: words.expiry(),
                    features: words.list("scope").map(key).collect(),
                    cost_basis: words.money(),
                    allowance: match words.option("allowance") {
                        Some("full") => Allowance::Full,
                        Some("prorate") => Allowance::Prorate,
                        _ => Allowance::Carry,
                    },
                });
            }
            "settle" => outcome.settle.push(settlement(&words)),
            other => panic!("no such step: {other}"),
        }
    }
    (outcome, names)
}

fn settlement(words: &Words<'_>) -> Settlement {
    let method = match words.arg(0) {
        "deduct" => SettleMethod::Deduct,
        "invoice" => SettleMethod::Invoice,
        "waive" => SettleMethod::Waive,
        other => panic!("no such method: {other}"),
    };
    let amount = words.args.get(1).map(|text| text.parse().unwrap());
    Settlement { credit: words.credit(), amount, method }
}
