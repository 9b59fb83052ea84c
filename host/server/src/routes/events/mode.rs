//! In which of the three modes of CloudEvents' HTTP binding a request delivers events.

use super::{
    data::Data,
    envelope::{Envelope, is_json},
};
use crate::extract::media_type;
use axum::http::HeaderMap;
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder},
    },
};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
/// The prefix of every event format, of those that are not taken as well.
const ANY_FORMAT: &str = "application/cloudevents";
/// How the headers of an event in binary mode begin.
const HEADER: &str = "ce-";
/// The first byte of a batch.
const ARRAY: u8 = b'[';

/// How an event, or several, are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One event, as a JSON object.
    Structured,
    /// An array of them.
    Batched,
    /// One event, in headers and body.
    Binary,
}

impl Mode {
    /// The mode of a request. Plain JSON beside `ce-` headers is binary, as the binding says. Without any it could not be an event in
    /// that mode, so it is read for what it is, an event or a batch: many senders call every JSON so.
    pub fn of(headers: &HeaderMap, bytes: &[u8]) -> Option<Self> {
        let media_type = media_type(headers)?.to_ascii_lowercase();
        match media_type.as_str() {
            STRUCTURED => Some(Self::Structured),
            BATCHED => Some(Self::Batched),
            other if !is_json(other) || other.starts_with(ANY_FORMAT) => None,
            _ if headers.keys().any(|name| name.as_str().starts_with(HEADER)) => Some(Self::Binary),
            _ => match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(&ARRAY) => Some(Self::Batched),
                _ => Some(Self::Structured),
            },
        }
    }
}

/// A body of plain JSON: an event, a batch of them, or beside `ce-` headers the data of one.
pub enum JsonBody {}

impl PartialSchema for JsonBody {
    fn schema() -> RefOr<Schema> {
        let event = || Ref::from_schema_name(Envelope::name());
        let any = AnyOfBuilder::new()
            .item(event())
            .item(ArrayBuilder::new().items(event()))
            .item(Ref::from_schema_name(Data::name()))
            .build();
        Schema::AnyOf(any).into()
    }
}

impl ToSchema for JsonBody {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EventOrData")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Data::name().into_owned(), Data::schema()));
        Data::schemas(schemas);
    }
}
