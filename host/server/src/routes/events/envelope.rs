//! An event's context attributes and its data, as they stand in a JSON object or in headers and body. Out comes a usage
//! to charge, with an idempotency that does not depend on the mode in which the event came.

use super::{data::Data, headers::header};
use crate::{
    extract::{object, parse},
    problem::{FieldError, Problem},
    routes::{charging::Charging, usages::UsageBody},
    schema,
};
use axum::http::HeaderMap;
use proviso_engine::{Engine, command::Idempotency};
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Key},
    time::Timestamp,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::{fmt::Display, str::FromStr};
use utoipa::ToSchema;

/// The only version that there is of CloudEvents 1.
const SPEC_VERSION: &str = "1.0";

/// A CloudEvent. Other context attributes, such as extensions, are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = CloudEvent, example = json!({
    "specversion": "1.0",
    "id": "7f9c2e",
    "source": "//gateway.example.com/eu-1",
    "type": "chat",
    "subject": "acme",
    "time": "2026-11-23T10:00:00Z",
    "data": { "quantities": { "input_tokens": 1200, "output_tokens": 300 }, "attributes": { "model": "large" } }
}))]
pub struct Envelope<'a> {
    /// `1.0`.
    #[schema(value_type = String, required = true, example = "1.0")]
    specversion: Option<String>,
    /// Unique among the events of the source.
    #[schema(value_type = String, required = true)]
    id: Option<String>,
    /// Where the event happened; with `id` it makes the event unique.
    #[schema(value_type = String, required = true)]
    source: Option<String>,
    /// The feature that was used.
    #[serde(rename = "type")]
    #[schema(value_type = schema::Key, required = true)]
    kind: Option<String>,
    /// Who pays.
    #[schema(value_type = schema::Key, required = true)]
    subject: Option<String>,
    /// When it was used; now, when it is not said.
    #[schema(value_type = Option<schema::Time>)]
    time: Option<String>,
    /// A JSON media type, when it is said.
    #[schema(value_type = Option<String>, example = "application/json")]
    datacontenttype: Option<String>,
    /// What was used.
    #[serde(borrow)]
    #[schema(value_type = Data, required = true)]
    data: Option<&'a RawValue>,
    /// Data that is no JSON.
    #[schema(ignore)]
    data_base64: Option<IgnoredAny>,
}

impl<'a> Envelope<'a> {
    /// An event in binary mode: its type of data is the body's and was checked with it.
    pub fn of_headers(headers: &HeaderMap, body: &'a [u8]) -> Result<Self, Problem> {
        Ok(Self {
            specversion: header(headers, "specversion")?,
            id: header(headers, "id")?,
            source: header(headers, "source")?,
            kind: header(headers, "type")?,
            subject: header(headers, "subject")?,
            time: header(headers, "time")?,
            datacontenttype: None,
            data: if body.is_empty() { None } else { Some(parse(body)?) },
            data_base64: None,
        })
    }

    /// The usage, when the event is one that can be charged. `place` is where the event stands in the request.
    pub fn charging(self, place: &str) -> Result<Charging, Problem> {
        self.read().map_err(|problem| if place.is_empty() { problem } else { problem.within(place) })
    }

    fn read(self) -> Result<Charging, Problem> {
        let version = given("/specversion", self.specversion)?;
        if version != SPEC_VERSION {
            return Err(wrong("/specversion", format_args!("must be \"{SPEC_VERSION}\"")));
        }
        let id = given("/id", self.id)?;
        let source = given("/source", self.source)?;
        let feature: Key = parsed("/type", &given("/type", self.kind)?)?;
        let customer: CustomerId = parsed("/subject", &given("/subject", self.subject)?)?;
        let occurred_at = self.time.map(|time| parsed::<Timestamp>("/time", &time)).transpose()?;
        if self.data_base64.is_some() {
            return Err(wrong("/data_base64", "is not taken: data must be JSON"));
        }
        if self.datacontenttype.is_some_and(|kind| !is_json(&kind)) {
            return Err(wrong("/datacontenttype", "must be a JSON media type such as \"application/json\""));
        }
        let data = self.data.ok_or_else(|| missing("/data"))?;
        let data: Data = object("/data", data.get().as_bytes())?;
        let usage = data.usage(feature, occurred_at).map_err(|error| Problem::invalid(vec![error]))?;
        let idempotency = idempotency(&source, &id, &customer, &usage)?;
        Ok(Charging { customer, idempotency, usage: usage.into(), time_at: "/time" })
    }
}

/// The key tells events apart, the digest tells whether a repeat says the same. Both are taken over what the event means:
/// a relay may write it anew on its way.
fn idempotency(
    source: &str,
    id: &str,
    customer: &CustomerId,
    usage: &UsageBody,
) -> Result<Idempotency, Problem> {
    let key = Engine::request_digest(&[source.as_bytes(), id.as_bytes()]).to_string();
    let key = key.parse().map_err(|error| Problem::internal(format!("the key of an event: {error}")))?;
    Ok((key, digest(customer, usage)?))
}

fn digest(customer: &CustomerId, usage: &UsageBody) -> Result<Digest, Problem> {
    let UsageBody { feature, quantities, attributes, entity, occurred_at } = usage;
    let meaning = (customer, feature, &quantities.0, &attributes.0, entity, occurred_at);
    let meaning = serde_json::to_vec(&meaning);
    let meaning = meaning.map_err(|error| Problem::internal(format!("a usage can't be written: {error}")))?;
    Ok(Engine::request_digest(&[b"event", &meaning]))
}

/// Whether a media type, with parameters or without, is one of JSON.
pub fn is_json(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

fn given(pointer: &str, value: Option<String>) -> Result<String, Problem> {
    match value {
        None => Err(missing(pointer)),
        Some(value) if value.is_empty() => Err(wrong(pointer, "must not be empty")),
        Some(value) => Ok(value),
    }
}

fn parsed<T: FromStr<Err: Display>>(pointer: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| wrong(pointer, error))
}

fn missing(pointer: &str) -> Problem {
    wrong(pointer, "is missing")
}

fn wrong(pointer: &str, detail: impl Display) -> Problem {
    Problem::invalid(vec![FieldError::new(pointer, detail.to_string())])
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_media_types_are_known() {
        for (text, fine) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/json", true),
            ("application/vnd.acme.usage+json", true),
            ("application/xml", false),
            ("application/jsonl", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(text), fine, "{text}");
        }
    }
}
