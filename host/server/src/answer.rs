//! An answer that is no problem.

use crate::{
    headers::{IDEMPOTENCY_REPLAYED, TRUE},
    problem::Problem,
};
use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Response},
};
use proviso_engine::Tag;
use serde::Serialize;

/// An answer with a JSON body.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    replayed: bool,
    tag: Option<String>,
}

impl Answer {
    pub fn new(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let mut bytes = Vec::with_capacity(1_024);
        match serde_json::to_writer(&mut bytes, body) {
            Ok(()) => Ok(Self { status, body: bytes, replayed: false, tag: None }),
            Err(error) => Err(Problem::internal(format!("an answer can't be written: {error}"))),
        }
    }

    /// 200 with a JSON body.
    pub fn ok(body: &impl Serialize) -> Result<Self, Problem> {
        Self::new(StatusCode::OK, body)
    }

    /// 201 for something new, else 200.
    pub fn put(created: bool, body: &impl Serialize) -> Result<Self, Problem> {
        Self::new(if created { StatusCode::CREATED } else { StatusCode::OK }, body)
    }

    /// The same answer, marked when it repeats an earlier one.
    pub fn replayed(self, replayed: bool) -> Self {
        Self { replayed, ..self }
    }

    /// The same answer with the tag of what it shows, for `If-Match`.
    pub fn tagged(self, tag: Option<Tag>) -> Self {
        Self { tag: tag.map(|tag| tag.to_string()), ..self }
    }

    /// The same with a tag that its body has, too: hexadecimal digits.
    pub fn tagged_by(self, digest: &str) -> Self {
        Self { tag: Some(digest.to_owned()), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, Body::from(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.replayed {
            headers.insert(IDEMPOTENCY_REPLAYED, TRUE);
        }
        // Hexadecimal digits in quotes are always a header's value.
        if let Some(tag) = self.tag.and_then(|tag| HeaderValue::try_from(format!("\"{tag}\"")).ok()) {
            headers.insert(ETAG, tag);
        }
        response
    }
}
