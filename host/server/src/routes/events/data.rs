//! The `data` of an event: quantities, attributes and entity under the API's own names, and OpenTelemetry's names beside them
//! or among the attributes. The API's own names win over OpenTelemetry's; two of those that contradict each other in a
//! quantity are refused. OpenTelemetry counts cached tokens among the input and reasoning among the output: here they are taken
//! off, once, so that no policy bills them twice. An entity only attributes the usage, so an invalid one never stops the charge.

use super::{
    attribution::Attribution,
    otel::{self, Meaning, NAMES, Name, OVERLAPS},
};
use proviso_api::{
    decision::Warning,
    maps::{Amount, Attributes, MAX_ENTRIES, Quantities, Text, is_name},
    problem::FieldError,
    usage::Usage,
};
use proviso_ledger::model::{amounts::Quantity, ids::Key, pairs, time::Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::json;
use std::{borrow::Cow, fmt};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Schema,
        schema::{AdditionalProperties, Type},
    },
};

const UNKNOWN: &str = "unknown field, expected quantities, attributes, entity or an OpenTelemetry name";

/// The data of an event.
#[derive(Debug, Default)]
pub struct Data {
    quantities: Option<Quantities>,
    attributes: Vec<(String, String)>,
    entity: Attribution,
    named: Vec<Named>,
}

/// The value under one of OpenTelemetry's names.
#[derive(Debug)]
struct Named {
    /// Its row among the names.
    row: usize,
    /// The object that it was in, as a JSON pointer into the data.
    within: &'static str,
    value: Value,
}

/// A value, and the part of a usage that it is.
#[derive(Debug)]
pub enum Value {
    /// How much of a quantity.
    Quantity(&'static str, Quantity),
    /// The text of an attribute.
    Attribute(&'static str, String),
    /// The entity.
    Entity(Attribution),
    /// Null, as some exporters write what they don't know.
    Nothing,
}

/// The usage that the data of an event describes, and what of it was not taken as it was sent.
pub struct Read {
    pub usage: Usage,
    pub warnings: Vec<Warning>,
}

impl Data {
    /// The usage that it describes.
    pub fn usage(self, feature: Key, occurred_at: Option<Timestamp>) -> Result<Read, FieldError> {
        let Self { quantities, mut attributes, entity, mut named } = self;
        if quantities.is_none() && !named.iter().any(|one| matches!(one.value, Value::Quantity(..))) {
            let detail = "must be given, empty or not, unless an OpenTelemetry name has a quantity";
            return Err(FieldError::new("/data/quantities", detail));
        }
        let mut quantities = quantities.unwrap_or_default().0;
        let mut measured = Vec::new();
        let mut warnings = Vec::new();
        let mut entity = entity.key("/data/entity", &mut warnings);
        named.sort_by_key(|one| (one.row, one.within));
        for Named { row, within, value } in named {
            match value {
                Value::Quantity(name, amount) => match amount_of(name, &measured) {
                    None => measured.push(Measured { name, amount, row, within }),
                    Some(known) if known == amount || has(name, &quantities) => {}
                    Some(_) => return Err(contradiction(row, within, name)),
                },
                Value::Attribute(name, text) => {
                    if !attributes.iter().any(|(known, _)| known == name) {
                        attributes.push((name.to_owned(), text));
                    }
                }
                Value::Entity(other) if entity.is_none() => {
                    entity = other.key(&pointer(row, within), &mut warnings);
                }
                Value::Entity(_) | Value::Nothing => {}
            }
        }
        tell_apart(&mut measured, &quantities)?;
        for one in measured {
            if !has(one.name, &quantities) {
                quantities.push((one.name.to_owned(), one.amount));
            }
        }
        let quantities = Quantities(sorted("/data/quantities", quantities)?);
        let attributes = Attributes(sorted("/data/attributes", attributes)?);
        Ok(Read { usage: Usage { feature, quantities, attributes, entity, occurred_at }, warnings })
    }
}

/// A quantity under one of OpenTelemetry's names.
struct Measured {
    name: &'static str,
    amount: Quantity,
    row: usize,
    within: &'static str,
}

fn amount_of(name: &str, measured: &[Measured]) -> Option<Quantity> {
    measured.iter().find(|one| one.name == name).map(|one| one.amount)
}

fn has(name: &str, own: &[(String, Quantity)]) -> bool {
    own.iter().any(|(known, _)| known == name)
}

/// Takes the parts off what the conventions count whole. A part that was not measured may be among the event's own quantities.
fn tell_apart(measured: &mut [Measured], own: &[(String, Quantity)]) -> Result<(), FieldError> {
    for (whole, parts) in OVERLAPS {
        let Some(mut rest) = amount_of(whole, measured).filter(|_| !has(whole, own)) else { continue };
        for part in parts {
            let of_own = || own.iter().find(|(name, _)| name == part).map(|(_, amount)| *amount);
            let amount = amount_of(part, measured).or_else(of_own).unwrap_or_default();
            if amount > rest {
                return Err(more_than_whole(part, whole, measured));
            }
            rest = rest.saturating_sub(amount);
        }
        if let Some(whole) = measured.iter_mut().find(|one| one.name == whole) {
            whole.amount = rest;
        }
    }
    Ok(())
}

#[cold]
fn more_than_whole(part: &str, whole: &str, measured: &[Measured]) -> FieldError {
    let name = |row: usize| NAMES.get(row).map_or("", |(name, _)| name);
    let whole = measured.iter().find(|one| one.name == whole).map_or("", |one| name(one.row));
    let pointer = match measured.iter().find(|one| one.name == part) {
        Some(one) => pointer(one.row, one.within),
        None => format!("/data/quantities/{part}"),
    };
    let detail =
        format!("more than {whole} has left, which counts it, too: send in quantities what does not overlap");
    FieldError::new(pointer, detail)
}

fn pointer(row: usize, within: &str) -> String {
    let name = NAMES.get(row).map_or("", |(name, _)| name);
    format!("/data{within}/{name}")
}

#[cold]
fn contradiction(row: usize, within: &str, quantity: &str) -> FieldError {
    let detail = format!("differs from another name's amount of {quantity}");
    FieldError::new(pointer(row, within), detail)
}

fn sorted<T>(pointer: &str, mut map: Vec<(String, T)>) -> Result<Vec<(String, T)>, FieldError> {
    if map.len() > MAX_ENTRIES {
        return Err(FieldError::new(pointer, format!("more than {MAX_ENTRIES} entries")));
    }
    match pairs::sort(&mut map) {
        Ok(()) => Ok(map),
        Err(name) => Err(FieldError::new(pointer, format!("{name:?} is a duplicate key"))),
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut data = Data::default();
                let (mut attributes, mut entity) = (None, None::<Attribution>);
                while let Some(name) = other_name(&mut map, "", &mut data.named)? {
                    let again = match name.as_str() {
                        "quantities" => data.quantities.replace(map.next_value()?).is_some(),
                        "attributes" => attributes.replace(map.next_value::<Bag>()?).is_some(),
                        "entity" => entity.replace(map.next_value()?).is_some(),
                        _ => map.next_value_seed(Refuse(UNKNOWN))?,
                    };
                    if again {
                        return Err(A::Error::custom(format_args!("{name:?} is a duplicate key")));
                    }
                }
                let Bag { own, named } = attributes.unwrap_or_default();
                data.attributes = own;
                data.entity = entity.unwrap_or_default();
                data.named.extend(named);
                Ok(data)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// Attributes with OpenTelemetry's names among them.
#[derive(Default)]
struct Bag {
    own: Vec<(String, String)>,
    named: Vec<Named>,
}

impl<'de> Deserialize<'de> for Bag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Bag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bag, A::Error> {
                let mut bag = Bag::default();
                while let Some(name) = other_name(&mut map, "/attributes", &mut bag.named)? {
                    if bag.own.len() == MAX_ENTRIES {
                        return Err(A::Error::custom(format_args!("more than {MAX_ENTRIES} entries")));
                    }
                    if is_name(&name) {
                        bag.own.push((name, map.next_value::<Text>()?.0));
                    } else {
                        let detail = "a name must be 1 to 128 characters of A-Z a-z 0-9 _ . : -";
                        map.next_value_seed(Refuse(detail))?;
                    }
                }
                Ok(bag)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// Reads up to the next name that is not OpenTelemetry's; its value is to be read next.
fn other_name<'de, A: MapAccess<'de>>(
    map: &mut A,
    within: &'static str,
    named: &mut Vec<Named>,
) -> Result<Option<String>, A::Error> {
    while let Some(name) = map.next_key::<String>()? {
        match otel::name(&name) {
            Name::Known(row, _) if named.iter().any(|one| one.row == row) => {
                map.next_value_seed(Refuse("is a duplicate key"))?;
            }
            Name::Known(row, meaning) => {
                let value = map.next_value_seed(meaning)?;
                named.push(Named { row, within, value });
            }
            Name::Ignored => drop(map.next_value::<IgnoredAny>()?),
            Name::UnknownUsage => {
                map.next_value_seed(Refuse("usage that is not understood: send it in quantities"))?;
            }
            Name::Other => return Ok(Some(name)),
        }
    }
    Ok(None)
}

impl<'de> DeserializeSeed<'de> for Meaning {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = match self {
            Self::Quantity(name) => {
                Option::deserialize(deserializer)?.map(|Amount(amount)| Value::Quantity(name, amount))
            }
            Self::Attribute(name) => {
                Option::deserialize(deserializer)?.map(|Text(text)| Value::Attribute(name, text))
            }
            Self::Entity => Some(Value::Entity(Attribution::deserialize(deserializer)?)),
        };
        Ok(value.unwrap_or(Value::Nothing))
    }
}

/// Refuses a value because of its name; here and not at the name, so that the problem points to it.
struct Refuse(&'static str);

impl<'de> DeserializeSeed<'de> for Refuse {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<bool, D::Error> {
        Err(D::Error::custom(self.0))
    }
}

impl PartialSchema for Data {
    fn schema() -> RefOr<Schema> {
        let map = |of: &str, text: &str| {
            let of = AdditionalProperties::RefOr(Ref::from_schema_name(of).into());
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .additional_properties(Some(of))
                .description(Some(text))
        };
        let own = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("What was used, under the names of a charge, OpenTelemetry's, or both."))
            .property("quantities", map("Quantity", "How much of what; at most 64."))
            .property(
                "attributes",
                map("Attribute", "What else is known of it; OpenTelemetry's names are understood here, too."),
            )
            .property("entity", described("Key", "The user, team or agent under the customer who used it. An invalid one is repaired or left out, with a warning."))
            .examples([json!({
                "gen_ai.request.model": "large",
                "gen_ai.usage.input_tokens": 1200,
                "gen_ai.usage.output_tokens": 300,
                "user.id": "user-7"
            })]);
        let all = NAMES.iter().fold(own, |object, (name, meaning)| {
            let (of, text) = match meaning {
                Meaning::Quantity(quantity) => ("Quantity", format!("The quantity {quantity}.")),
                Meaning::Attribute(attribute) => ("Attribute", format!("The attribute {attribute}.")),
                Meaning::Entity => ("Key", "The entity.".to_owned()),
            };
            object.property(*name, described(of, &text))
        });
        all.into()
    }
}

fn described(schema: &str, text: &str) -> Ref {
    Ref::builder().ref_location_from_schema_name(schema).description(Some(text)).build()
}

impl ToSchema for Data {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EventData")
    }
}
