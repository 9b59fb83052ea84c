//! The file of a price book. Everything in it is looked at only when it is asked for, and its numbers stay text: a number that
//! went through a float would no longer be what the provider wrote.

use proviso_ledger::model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// An object whose values were not read yet.
pub type Object = BTreeMap<String, Box<RawValue>>;

/// A date, which is its first instant in UTC, or an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Timestamp);

impl FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let parsed = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
        parsed
            .map(Self)
            .map_err(|_| "must be a date such as 2026-03-01 or a time such as 2026-03-01T00:00:00Z")
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.strip_suffix("T00:00:00Z").unwrap_or(&text))
    }
}

/// What a file says, earliest edition first.
#[derive(Debug)]
pub struct Book(Vec<Edition>);

/// Providers, and from when on what is said of them holds.
#[derive(Debug)]
struct Edition {
    /// None: always, in a file without dates.
    from: Option<Instant>,
    /// The way to its providers.
    way: Vec<String>,
    providers: Object,
}

impl Book {
    /// Reads the outermost objects.
    pub fn read(text: &str) -> Result<Self, String> {
        let whole: Object = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let from = |key: &str| key.parse::<Instant>();
        if !whole.keys().any(|key| from(key).is_ok()) {
            return Ok(Self(vec![Edition { from: None, way: Vec::new(), providers: whole }]));
        }
        let mut editions = Vec::with_capacity(whole.len());
        for (key, value) in whole {
            let place = pointer(&[&key]);
            let from = from(&key)
                .map_err(|_| format!("{place}: must be a date, as the other names beside it are"))?;
            editions.push(Edition { from: Some(from), providers: at(&value, &place)?, way: vec![key] });
        }
        editions.sort_by_key(|edition| edition.from);
        Ok(Self(editions))
    }

    /// The first time after this one from which something else holds.
    pub fn next_after(&self, at: Instant) -> Option<Instant> {
        self.0.iter().filter_map(|edition| edition.from).find(|from| *from > at)
    }

    /// The models of a provider at a time: of the editions that hold, the latest that names a model says what it costs, and null
    /// takes it away.
    pub fn models(&self, provider: &str, at: Instant) -> Result<BTreeMap<String, Model>, String> {
        let mut models = BTreeMap::new();
        let (mut holds, mut known) = (false, false);
        for edition in self.0.iter().take_while(|edition| edition.from.is_none_or(|from| from <= at)) {
            holds = true;
            let Some(value) = edition.providers.get(provider) else { continue };
            known = true;
            let mut way: Vec<&str> = edition.way.iter().map(String::as_str).collect();
            way.push(provider);
            let fields: Object = self::at(value, &pointer(&way))?;
            way.push("models");
            let place = pointer(&way);
            let value = fields.get("models").ok_or_else(|| format!("{place}: is missing"))?;
            for (id, value) in self::at::<Object>(value, &place)? {
                if value.get() == "null" {
                    models.remove(&id);
                } else {
                    let place = format!("{place}{}", pointer(&[&id]));
                    models.insert(id, Model { place, value });
                }
            }
        }
        match (known, self.next_after(at)) {
            (true, _) => Ok(models),
            (false, Some(first)) if !holds => Err(format!("has no prices before {first}")),
            (false, _) => Err(format!("has no provider {provider:?} at {at}")),
        }
    }
}

/// A model, and where the file has it.
#[derive(Debug)]
pub struct Model {
    /// A JSON pointer.
    pub place: String,
    value: Box<RawValue>,
}

impl Model {
    /// What its cost says, if it has any.
    pub fn cost(&self) -> Result<Option<Object>, String> {
        let fields: Object = at(&self.value, &self.place)?;
        let cost = fields.get("cost").filter(|cost| cost.get() != "null");
        cost.map(|cost| at(cost, &format!("{}/cost", self.place))).transpose()
    }
}

/// Reads a value; an error begins with its place.
pub fn at<T: DeserializeOwned>(value: &RawValue, place: &str) -> Result<T, String> {
    serde_json::from_str(value.get()).map_err(|error| {
        // It counts lines from this value on, which nobody can follow.
        let text = error.to_string();
        format!("{place}: {}", text.split(" at line ").next().unwrap_or(&text))
    })
}

/// A JSON pointer.
pub fn pointer(way: &[&str]) -> String {
    way.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}
