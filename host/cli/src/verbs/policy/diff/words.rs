//! What there is to try: the names, amounts and times of day that settings, prepared settings, cases and the modules themselves
//! mention. A difference most often lies at one of these amounts, or just beside it.

use super::scenario::{Scenario, What};
use proviso_ledger::model::{
    amounts::Decimal,
    answers::Prepared,
    counter::{Measure, Scope},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{DataSectionReader, FunctionBody, Operator, Parser, Payload};

/// One, in units of 10^-12.
pub const ONE: i128 = 1_000_000_000_000;

/// Amounts beyond are refused before a policy sees them.
pub const LARGEST: i128 = 1_000_000_000_000 * ONE;

/// The shortest text in a module's data that is taken for a name, and the longest.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=24;

/// Names and numbers.
#[derive(Debug, Default)]
pub struct Words {
    pub features: Vec<String>,
    pub quantities: Vec<String>,
    /// Which quantities a feature is priced by, where settings say that in one place.
    pub priced: BTreeMap<String, Vec<String>>,
    /// Names of attributes, and their values.
    pub attributes: Vec<(String, Vec<String>)>,
    /// In units of 10^-12, without zero.
    pub amounts: Vec<i128>,
    /// Amounts that only the modules' code mentions.
    pub constants: Vec<i128>,
    /// What stands where both settings differ, and beside it.
    pub near: Near,
    /// Minutes since midnight.
    pub times_of_day: Vec<u32>,
    found: Found,
    found_near: Found,
}

/// The names and numbers of the parts of settings that differ: what they are about most likely shows the difference.
#[derive(Debug, Default)]
pub struct Near {
    pub features: Vec<String>,
    pub quantities: Vec<String>,
    /// Names of attributes, and their values.
    pub attributes: Vec<(String, Vec<String>)>,
    /// In units of 10^-12, without zero.
    pub amounts: Vec<i128>,
    /// Minutes since midnight.
    pub times_of_day: Vec<u32>,
}

#[derive(Debug, Default)]
struct Found {
    features: BTreeSet<String>,
    quantities: BTreeSet<String>,
    priced: BTreeSet<(String, String)>,
    attributes: BTreeMap<String, BTreeSet<String>>,
    amounts: BTreeSet<i128>,
    constants: BTreeSet<i128>,
    times: BTreeSet<u32>,
    /// Texts of which it is not known what they name.
    texts: BTreeSet<String>,
}

impl Words {
    /// Of both settings, whatever policy they are for: by the names that policies use, and by the form of values.
    pub fn add_settings(&mut self, old: &Value, new: &Value) {
        self.found.value("", old);
        self.found.value("", new);
        self.found_near.differing("", old, new);
    }

    /// Of what a policy says that it prices and counts.
    pub fn add_prepared(&mut self, prepared: &Prepared) {
        let found = &mut self.found;
        found
            .features
            .extend(prepared.features.iter().filter_map(|priced| Some(priced.feature.as_ref()?.to_string())));
        for counter in &prepared.counters {
            found.features.extend(counter.features.iter().map(ToString::to_string));
            if let Measure::Quantity(name) = &counter.measure {
                found.quantities.insert(name.clone());
            }
            if let Scope::Attribute(name) = &counter.scope {
                found.attributes.entry(name.clone()).or_default();
            }
        }
    }

    /// Of a scenario of a case.
    pub fn add_scenario(&mut self, scenario: &Scenario) {
        for step in &scenario.steps {
            match &step.what {
                What::Wait => {}
                What::Grant { amount, .. } => {
                    self.found.amounts.insert(*amount);
                }
                What::Charge { feature, quantities, attributes, .. } => {
                    self.found.features.insert(feature.clone());
                    for (name, amount) in quantities {
                        self.found.quantities.insert(name.clone());
                        self.found.amounts.insert(*amount);
                    }
                    for (name, value) in attributes {
                        self.found.attributes.entry(name.clone()).or_default().insert(value.clone());
                    }
                }
            }
        }
    }

    /// Of what one of two modules says and the other does not: constants of the code and texts of the data.
    pub fn add_modules(&mut self, old: &[u8], new: &[u8]) {
        if old == new {
            return;
        }
        let (old, new) = (Said::of(old), Said::of(new));
        for constant in old.constants.symmetric_difference(&new.constants) {
            // As a whole number, and as units of 10^-12.
            for amount in [i128::from(*constant) * ONE, i128::from(*constant)] {
                if (1..=LARGEST).contains(&amount) {
                    self.found.constants.insert(amount);
                }
            }
        }
        self.found.texts.extend(old.texts.symmetric_difference(&new.texts).cloned());
    }

    /// Ends the collection.
    pub fn finish(&mut self) {
        let Found { mut features, mut quantities, priced, mut attributes, amounts, constants, times, texts } =
            std::mem::take(&mut self.found);
        let near = std::mem::take(&mut self.found_near);
        self.near = Near {
            features: keys(near.features),
            quantities: keys(near.quantities),
            attributes: listed(near.attributes),
            amounts: in_bounds(near.amounts),
            times_of_day: near.times.into_iter().collect(),
        };
        for (feature, quantity) in priced {
            self.priced.entry(feature).or_default().push(quantity);
        }
        for values in attributes.values_mut() {
            values.extend(texts.iter().take(32).cloned());
        }
        if features.is_empty() {
            features.extend(texts.iter().cloned());
            features.insert("chat".to_owned());
        }
        if quantities.is_empty() {
            quantities.extend(texts.iter().cloned());
            quantities.insert("tokens".to_owned());
        }
        // A feature that nothing names shows what becomes of the rest.
        features.insert("another".to_owned());
        self.features = keys(features);
        self.quantities = keys(quantities);
        self.attributes = listed(attributes);
        self.amounts = in_bounds(amounts);
        self.constants = constants.into_iter().collect();
        self.times_of_day = times.into_iter().collect();
    }
}

fn keys(names: BTreeSet<String>) -> Vec<String> {
    names.into_iter().filter(|name| is_key(name)).collect()
}

fn listed(attributes: BTreeMap<String, BTreeSet<String>>) -> Vec<(String, Vec<String>)> {
    attributes.into_iter().map(|(name, values)| (name, values.into_iter().collect())).collect()
}

fn in_bounds(amounts: BTreeSet<i128>) -> Vec<i128> {
    amounts.into_iter().filter(|amount| (1..=LARGEST).contains(amount)).collect()
}

/// A name of a map that holds conditions on attributes.
fn is_condition(key: &str) -> bool {
    matches!(key, "when" | "attributes" | "conditions")
}

fn is_key(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

impl Found {
    /// What differs between two values, and what the objects say of themselves in which that lies.
    fn differing(&mut self, key: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (old, new) {
            (Value::Object(before), Value::Object(after)) if !is_condition(key) => {
                let whose = |value: &Value| match value {
                    Value::Object(_) => false,
                    Value::Array(items) => !items.iter().any(|item| item.is_object() || item.is_array()),
                    _ => true,
                };
                for (name, value) in before.iter().chain(after) {
                    if is_condition(name) || whose(value) {
                        self.value(name, value);
                    }
                }
                for (name, value) in before {
                    self.differing(name, value, after.get(name).unwrap_or(&Value::Null));
                }
                for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                    self.differing(name, &Value::Null, value);
                }
            }
            (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
                for (before, after) in before.iter().zip(after) {
                    self.differing(key, before, after);
                }
            }
            _ => {
                self.value(key, old);
                self.value(key, new);
            }
        }
    }

    fn value(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(fields) if is_condition(key) => {
                for (name, value) in fields {
                    let values = self.attributes.entry(name.clone()).or_default();
                    if let Some(pattern) = value.as_str() {
                        // What a pattern stands for, as short and as something longer.
                        values.insert(pattern.replace('*', ""));
                        values.insert(pattern.replace('*', "-x"));
                    }
                }
            }
            Value::Object(fields) => {
                let named = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
                self.priced.extend(named("feature").zip(named("quantity")));
                for (name, value) in fields {
                    // A map by feature, say, names it in its keys.
                    if is_key(name) && (value.is_object() || value.is_string() || value.is_number()) {
                        self.texts.insert(name.clone());
                    }
                    self.value(name, value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.value(key, item)),
            Value::Number(number) => self.amount(&number.to_string()),
            Value::String(text) => self.text(key, text),
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        match key {
            "feature" | "features" => {
                self.features.insert(text.to_owned());
            }
            "quantity" | "quantities" | "less" => {
                self.quantities.insert(text.to_owned());
            }
            _ if self.time(text) => {}
            _ if text.parse::<Decimal>().is_ok() => self.amount(text),
            _ => {
                self.texts.insert(text.to_owned());
            }
        }
    }

    fn amount(&mut self, text: &str) {
        if let Ok(amount) = text.parse::<Decimal>() {
            self.amounts.insert(amount.units());
        }
    }

    /// `22:30`.
    fn time(&mut self, text: &str) -> bool {
        let Some((hours, minutes)) = text.split_once(':') else { return false };
        match (hours.parse::<u32>(), minutes.parse::<u32>()) {
            (Ok(hours @ 0..24), Ok(minutes @ 0..60)) => {
                self.times.insert(hours * 60 + minutes);
                true
            }
            _ => false,
        }
    }
}

/// What a module says.
#[derive(Default)]
struct Said {
    constants: BTreeSet<i64>,
    texts: BTreeSet<String>,
}

impl Said {
    /// The module has passed inspection: what can't be read of it all the same is not looked at.
    fn of(component: &[u8]) -> Self {
        let mut said = Self::default();
        for payload in Parser::new(0).parse_all(component) {
            match payload {
                Ok(Payload::CodeSectionEntry(body)) => said.code(&body),
                Ok(Payload::DataSection(section)) => said.data(section),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        said
    }

    fn code(&mut self, body: &FunctionBody<'_>) {
        let Ok(operators) = body.get_operators_reader() else { return };
        for operator in operators {
            match operator {
                Ok(Operator::I32Const { value }) => self.constants.insert(i64::from(value)),
                Ok(Operator::I64Const { value }) => self.constants.insert(value),
                Ok(_) => continue,
                Err(_) => break,
            };
        }
    }

    fn data(&mut self, section: DataSectionReader<'_>) {
        for data in section.into_iter().flatten() {
            let runs = data.data.split(|byte| !byte.is_ascii_graphic());
            for run in runs.filter(|run| NAME_BYTES.contains(&run.len())) {
                self.texts.insert(String::from_utf8_lossy(run).into_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_name_what_to_try() {
        let mut words = Words::default();
        let settings = json!({
            "rates": [{"feature": "chat", "quantity": "tokens", "less": ["cached"], "when": {"model": "gpt-*"},
                "price": {"graduated": {"tiers": [{"up_to": 1000, "per_unit": "0.02"}]}}}],
            "discounts": [{"hours": {"from": "22:00", "to": "06:30"}, "percent": 40}],
            "overage": {"mode": "allow", "limit": "50"},
        });
        let mut other = settings.clone();
        other["overage"]["limit"] = json!("51");
        words.add_settings(&settings, &other);
        words.finish();
        assert_eq!(words.features, ["another", "chat"]);
        assert_eq!(words.quantities, ["cached", "tokens"]);
        assert_eq!(words.priced["chat"], ["tokens"]);
        let (name, values) = &words.attributes[0];
        assert_eq!(name, "model");
        assert!(values.contains(&"gpt-".to_owned()) && values.contains(&"gpt--x".to_owned()), "{values:?}");
        assert_eq!(words.amounts, [ONE / 50, 40 * ONE, 50 * ONE, 51 * ONE, 1000 * ONE]);
        assert_eq!(words.near.amounts, [50 * ONE, 51 * ONE]);
        assert!(words.near.features.is_empty());

        let mut other = settings.clone();
        other["rates"][0]["price"]["graduated"]["tiers"][0]["up_to"] = json!(1001);
        let mut words = Words::default();
        words.add_settings(&settings, &other);
        words.finish();
        let near = &words.near;
        assert_eq!(
            (near.features[0].as_str(), &near.quantities[..]),
            ("chat", &["cached", "tokens"].map(str::to_owned)[..])
        );
        assert_eq!(near.attributes, [("model".to_owned(), vec!["gpt-".to_owned(), "gpt--x".to_owned()])]);
        assert_eq!(near.amounts, [ONE / 50, 1000 * ONE, 1001 * ONE]);
        assert_eq!(words.times_of_day, [390, 1320]);
    }
}
