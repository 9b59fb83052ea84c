//! An event's context attributes and its data, in a JSON object or in headers and body, and the usage to charge that they
//! describe. Its idempotency does not depend on the mode in which the event came.

use super::{
    data::{Data, Read},
    headers::header,
};
use crate::{
    extract::{object, parse},
    problem::Problem,
    routes::submission::{self, Submission},
};
use axum::http::HeaderMap;
use proviso_api::{decision::Warning, schema};
use proviso_engine::{Engine, command::Idempotency};
use proviso_ledger::model::{
    ids::{CustomerId, IdempotencyKey, Key},
    time::Timestamp,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::{fmt::Display, str::FromStr};
use utoipa::ToSchema;

/// The only version of CloudEvents 1.
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
    /// The customer who pays.
    #[schema(value_type = schema::Key, required = true)]
    subject: Option<String>,
    /// When it was used; defaults to now.
    #[schema(value_type = Option<schema::Time>)]
    time: Option<String>,
    /// A JSON media type.
    #[schema(value_type = Option<String>, example = "application/json")]
    datacontenttype: Option<String>,
    /// What was used.
    #[serde(borrow)]
    #[schema(value_type = Data, required = true)]
    data: Option<&'a RawValue>,
    /// Data that is not JSON.
    #[schema(ignore)]
    data_base64: Option<IgnoredAny>,
}

impl<'a> Envelope<'a> {
    /// An event in binary mode; the type of its data is the body's, which was checked before.
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

    /// The usage that the event describes; `place` is the JSON pointer to the event in the request.
    pub fn submission(self, place: &str) -> Result<Submission, Problem> {
        self.read(place).map_err(|problem| problem.within(place))
    }

    fn read(self, place: &str) -> Result<Submission, Problem> {
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
            return Err(wrong("/data_base64", "is not supported: data must be JSON"));
        }
        if self.datacontenttype.is_some_and(|kind| !is_json(&kind)) {
            return Err(wrong("/datacontenttype", "must be a JSON media type such as \"application/json\""));
        }
        let data = self.data.ok_or_else(|| missing("/data"))?;
        let data: Data = object("/data", data.get().as_bytes())?;
        let read = data.usage(feature, occurred_at).map_err(|error| Problem::invalid(vec![error]))?;
        let idempotency = idempotency(&source, &id, &customer, &read)?;
        let warning = |one: Warning| Warning { pointer: format!("{place}{}", one.pointer), ..one };
        let warnings = read.warnings.into_iter().map(warning).collect();
        Ok(Submission::new(customer, idempotency, read.usage).read_from("/time", warnings))
    }
}

/// The key tells events apart, the digest whether a repeat has the same content. Both are taken over the meaning of the
/// event: a relay may write it anew on its way.
fn idempotency(source: &str, id: &str, customer: &CustomerId, read: &Read) -> Result<Idempotency, Problem> {
    let name = format!("event:{}", Engine::request_digest(&[source.as_bytes(), id.as_bytes()]));
    let key = IdempotencyKey::of_host(&name)
        .map_err(|error| Problem::internal(format!("the key of an event: {error}")))?;
    // An answer repeats its warnings, so they belong to the request.
    let warnings: Vec<&str> = read.warnings.iter().map(|warning| warning.detail.as_str()).collect();
    Ok((key, submission::digest(b"event", customer, &read.usage, &warnings)?))
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
    Problem::invalid_field(pointer, detail.to_string())
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
