//! What is tried: settings for both sides, and a few steps of one customer, in the format of case files, so that what is found is
//! exactly what a case file says.

use crate::verbs::policy::test::format::{Action, CaseFile, GrantStep};
use proviso_api::usage::Usage;
use proviso_ledger::model::{amounts::Decimal, time::Timestamp};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _};

const SECOND_MICROS: i64 = 1_000_000;

/// When scenarios begin whose case names no start: with a month, and where periods and months do not fall together.
const STARTS: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-01-15T00:00:00Z"];

/// What does not change in a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    pub old_settings: Value,
    pub new_settings: Value,
    pub start: String,
    pub time_zone: Option<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Base {
    /// The given settings; where none are given, those of each case.
    pub fn all(old: Option<&Value>, new: Option<&Value>, files: &[CaseFile]) -> Vec<Self> {
        let mut bases: Vec<Self> = Vec::new();
        for file in files {
            for case in &file.cases {
                let setup = file.setup(case.get_ref());
                let base = Self {
                    old_settings: old.unwrap_or(&setup.settings.0).clone(),
                    new_settings: new.unwrap_or(&setup.settings.0).clone(),
                    start: setup.start.map_or_else(|| STARTS[0].to_owned(), |start| start.to_string()),
                    time_zone: setup.customer.time_zone.map(|zone| zone.name().to_owned()),
                    attributes: setup.customer.attributes.unwrap_or_default(),
                };
                bases.push(base);
            }
        }
        if bases.is_empty() {
            let none = Value::Object(serde_json::Map::new());
            bases.extend(STARTS.map(|start| Self {
                old_settings: old.unwrap_or(&none).clone(),
                new_settings: new.unwrap_or(&none).clone(),
                start: start.to_owned(),
                time_zone: None,
                attributes: BTreeMap::new(),
            }));
        }
        bases
    }

    /// The head of a case file with these settings.
    pub fn head(&self, settings: &Value) -> String {
        let mut text = format!("start = {}\n", self.start);
        // Writing to a String does not fail.
        if self.time_zone.is_some() || !self.attributes.is_empty() {
            text.push_str("\n[customer]\n");
        }
        if let Some(zone) = &self.time_zone {
            let _ = writeln!(text, "time_zone = {}", quoted(zone));
        }
        if !self.attributes.is_empty() {
            let _ = writeln!(text, "attributes = {}", table(&self.attributes));
        }
        text.push_str("\n[settings]\n");
        for (name, value) in settings.as_object().into_iter().flatten() {
            let _ = writeln!(text, "{} = {}", key(name), toml(value));
        }
        text
    }
}

/// Steps of one customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scenario {
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How long after the step before, in seconds.
    pub wait_s: u64,
    pub what: What,
}

/// What is done. Amounts are in units of 10^-12.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Nothing: periods end, grants expire.
    Wait,
    Charge {
        feature: String,
        quantities: BTreeMap<String, i128>,
        attributes: BTreeMap<String, String>,
        entity: Option<String>,
    },
    Grant {
        amount: i128,
        category: String,
    },
}

impl Scenario {
    /// As a case, with lines of expectations for each step where there are some.
    pub fn case(&self, name: &str, expectations: &[Vec<String>]) -> String {
        let mut text = format!("\n[[case]]\nname = {}\nsteps = [\n", quoted(name));
        for (nth, step) in self.steps.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "    {},",
                step.toml(expectations.get(nth).map(Vec::as_slice).unwrap_or_default())
            );
        }
        text.push_str("]\n");
        text
    }
}

impl Step {
    /// As a case file writes it.
    pub fn toml(&self, expectations: &[String]) -> String {
        let mut parts = Vec::new();
        if self.wait_s > 0 {
            parts.push(format!("advance = \"{}\"", span(self.wait_s)));
        }
        match &self.what {
            What::Wait => {}
            What::Charge { feature, quantities, attributes, entity } => {
                let mut fields = vec![format!("feature = {}", quoted(feature))];
                if let Some(entity) = entity {
                    fields.push(format!("entity = {}", quoted(entity)));
                }
                if !quantities.is_empty() {
                    let texts = quantities.iter().map(|(name, amount)| (name.clone(), decimal(*amount)));
                    fields.push(format!("quantities = {}", table(&texts.collect())));
                }
                if !attributes.is_empty() {
                    fields.push(format!("attributes = {}", table(attributes)));
                }
                parts.push(format!("charge = {{ {} }}", fields.join(", ")));
            }
            What::Grant { amount, category } => {
                let amount = quoted(&decimal(*amount));
                parts.push(format!("grant = {{ amount = {amount}, category = {} }}", quoted(category)));
            }
        }
        if !expectations.is_empty() {
            parts.push(format!("expect = {{ {} }}", expectations.join(", ")));
        }
        if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
    }
}

/// An amount in units of 10^-12, as a decimal.
pub fn decimal(units: i128) -> String {
    Decimal::from_units(units).to_string()
}

fn span(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds % 86_400 / 3600, "h"),
        (seconds % 3600 / 60, "m"),
        (seconds % 60, "s"),
    ];
    parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect()
}

/// A text, as TOML writes it; JSON's escapes are among TOML's.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A name of a field: as it is, where TOML takes it so.
pub fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn table(fields: &BTreeMap<String, String>) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value)));
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{} = {}", key(name), toml(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// Whether there is a null anywhere in it.
pub fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// What cases do, as far as scenarios can: usages, grants and time. Each with the number of its base.
pub fn of_cases(bases: &[Base], files: &[CaseFile]) -> Vec<(usize, Scenario)> {
    let cases = files.iter().flat_map(|file| &file.cases);
    cases
        .zip(bases)
        .enumerate()
        .map(|(nth, (case, base))| {
            let start = base.start.parse::<Timestamp>().unwrap_or(Timestamp(0));
            let mut now = start;
            let mut done = start;
            let mut steps = Vec::new();
            for step in &case.get_ref().steps {
                let step = step.get_ref();
                now =
                    step.at.map_or(now, |at| at.0).plus_micros(step.advance.map_or(0, |span| span.micros()));
                let Some(what) = step.action().ok().and_then(what) else { continue };
                let wait_s = u64::try_from((now.0 - done.0) / SECOND_MICROS).unwrap_or(0);
                done = done.plus_micros(i64::try_from(wait_s).unwrap_or(0) * SECOND_MICROS);
                steps.push(Step { wait_s, what });
            }
            (nth, Scenario { steps })
        })
        // Some cases only do what scenarios can't.
        .filter(|(_, scenario)| !scenario.steps.is_empty())
        .collect()
}

fn what(action: Action<'_>) -> Option<What> {
    let charge = |usage: &Usage| What::Charge {
        feature: usage.feature.to_string(),
        quantities: usage.quantities.0.iter().map(|(name, amount)| (name.clone(), amount.units())).collect(),
        attributes: usage.attributes.0.iter().cloned().collect(),
        entity: usage.entity.as_ref().map(ToString::to_string),
    };
    match action {
        Action::Wait => Some(What::Wait),
        Action::Charge(usage) | Action::Check(usage) => Some(charge(&usage.0)),
        Action::Reserve(reserve) => Some(charge(&reserve.usage)),
        Action::Grant(GrantStep { amount, category, .. }) => {
            Some(What::Grant { amount: amount.units(), category: category.as_str().to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::policy::test::format;
    use serde_json::json;

    #[test]
    fn a_scenario_is_a_case() {
        let settings = json!({"a b": [1, "2", {"c": true}], "n": {"x": "\"q\""}});
        let base = Base {
            old_settings: json!({}),
            new_settings: settings.clone(),
            start: "2026-03-01T00:00:00Z".to_owned(),
            time_zone: Some("Europe/Berlin".to_owned()),
            attributes: BTreeMap::from([("tier".to_owned(), "gold".to_owned())]),
        };
        let charge = What::Charge {
            feature: "chat".to_owned(),
            quantities: BTreeMap::from([("input_tokens".to_owned(), 1_500_000_000_000)]),
            attributes: BTreeMap::from([("model".to_owned(), "x".to_owned())]),
            entity: Some("ann".to_owned()),
        };
        let steps = vec![
            Step {
                wait_s: 0,
                what: What::Grant { amount: 10_000_000_000_000, category: "prepaid".to_owned() },
            },
            Step { wait_s: 90_061, what: charge },
            Step { wait_s: 60, what: What::Wait },
        ];
        let scenario = Scenario { steps };
        let text =
            base.head(&base.new_settings) + &scenario.case("x", &[vec![], vec!["cost = \"1\"".to_owned()]]);
        assert!(text.contains("advance = \"1d1h1m1s\", charge = {"), "{text}");
        let file = format::parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        assert_eq!(file.setup(file.cases[0].get_ref()).settings.0, settings);
        let bases = Base::all(None, None, std::slice::from_ref(&file));
        assert_eq!(
            (bases[0].start.as_str(), &bases[0].attributes),
            ("2026-03-01T00:00:00Z", &base.attributes)
        );
        assert_eq!(of_cases(&bases, &[file]), [(0, scenario)]);
    }
}
