//! JSON bodies. A valid one is parsed once; an invalid one is parsed again, to say where.

use super::raw::{is_of_type, read_body};
use crate::{app::App, problem::Problem};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::request::Parts,
};
use proviso_api::customer::MAX_NAME_BYTES;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_path_to_error::{Path, Segment};
use std::{fmt::Write as _, sync::Arc};

/// The first byte of a body. Serde would also read a structure from an array of its fields.
const OBJECT: u8 = b'{';

/// What many clients send for no body at all.
const NULL: &[u8] = b"null";

/// A body that is read together with its bytes.
pub trait Body: Sized + Send {
    fn read(request: Request, app: &Arc<App>) -> impl Future<Output = Result<(Self, Bytes), Problem>> + Send;
}

/// A body that is a JSON object.
pub struct Json<T>(pub T);

/// A JSON object that may be missing, or null.
pub struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned + Send> Body for Json<T> {
    async fn read(request: Request, app: &Arc<App>) -> Result<(Self, Bytes), Problem> {
        let (_, bytes) = json_bytes(request, app).await?;
        Ok((Self(object("", &bytes)?), bytes))
    }
}

impl<T: DeserializeOwned + Default + Send> Body for MaybeJson<T> {
    async fn read(request: Request, app: &Arc<App>) -> Result<(Self, Bytes), Problem> {
        let (parts, body) = request.into_parts();
        let fits = is_of_type(&parts.headers, "application/json");
        let bytes = read_body(body, app.options.max_body_bytes, &app.bodies, parts.extensions.get()).await?;
        match (bytes.is_empty(), fits) {
            (true, _) => Ok((Self(T::default()), bytes)),
            (false, true) if bytes.trim_ascii() == NULL => Ok((Self(T::default()), bytes)),
            (false, true) => Ok((Self(object("", &bytes)?), bytes)),
            (false, false) => Err(Problem::wrong_type("application/json")),
        }
    }
}

impl<T: DeserializeOwned + Send> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self::read(request, app).await?.0)
    }
}

impl<T: DeserializeOwned + Default + Send> FromRequest<Arc<App>> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self::read(request, app).await?.0)
    }
}

/// A body of JSON as it was sent, with the request's head.
pub async fn json_bytes(request: Request, app: &App) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, app.options.max_body_bytes, &app.bodies, parts.extensions.get()).await?;
    if is_of_type(&parts.headers, "application/json") {
        Ok((parts, bytes))
    } else {
        Err(Problem::wrong_type("application/json"))
    }
}

/// Checks how many there are of what `items` names.
pub fn few(pointer: &str, count: usize, most: usize, items: &str) -> Result<(), Problem> {
    if count <= most {
        return Ok(());
    }
    Err(Problem::invalid_field(pointer, format!("more than {most} {items}")))
}

/// Checks the length of a text for people.
pub fn short(pointer: &str, text: &str) -> Result<(), Problem> {
    if text.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(Problem::invalid_field(pointer, format!("longer than {MAX_NAME_BYTES} bytes")))
}

/// Reads the object at `place`, a JSON pointer, in the body.
pub fn object<'a, T: Deserialize<'a>>(place: &str, bytes: &'a [u8]) -> Result<T, Problem> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(&OBJECT) => read(place, bytes),
        // A body that is not JSON at all has a problem of its own.
        _ => Err(parse::<IgnoredAny>(bytes)
            .map_or_else(|problem| problem, |_| Problem::invalid_field(place, "must be a JSON object"))),
    }
}

/// Reads a whole body.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    read("", bytes)
}

fn read<'a, T: Deserialize<'a>>(place: &str, bytes: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(place, bytes, &error))
}

#[cold]
fn explain<'a, T: Deserialize<'a>>(place: &str, bytes: &'a [u8], first: &serde_json::Error) -> Problem {
    if !first.is_data() {
        return Problem::malformed(first);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let (path, detail) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => (pointer(error.path()), error.inner().to_string()),
        Ok(_) => (String::new(), first.to_string()),
    };
    // The pointer says where; line and column would only repeat it.
    let detail = detail.rsplit_once(" at line ").map_or(detail.as_str(), |(detail, _)| detail);
    let detail = &in_words_of_json(detail);
    // Serde names a missing field only in its message.
    let missing = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let missing = missing.map(|name| format!("/{name}")).unwrap_or_default();
    Problem::invalid_field(format!("{place}{path}{missing}"), detail)
}

/// What serde expected or met, in JSON's words instead of Rust's.
pub fn in_words_of_json(detail: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("invalid type: map,", "invalid type: object,"),
        ("invalid type: sequence,", "invalid type: array,"),
        (", expected a sequence", ", expected an array"),
        (", expected a map", ", expected an object"),
    ];
    const NUMBERS: [(&str, &str); 7] = [
        ("u8", "a whole number from 0 to 255"),
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("i32", "a whole number from -2147483648 to 2147483647"),
        ("u64", "a whole number of 0 or more"),
        ("usize", "a whole number of 0 or more"),
        ("i64", "a whole number"),
    ];
    let detail = WORDS.iter().fold(detail.to_owned(), |detail, (rust, json)| detail.replace(rust, json));
    let number = |expected: &str| NUMBERS.iter().find(|(rust, _)| *rust == expected).map(|(_, json)| *json);
    match detail.rsplit_once(", expected ") {
        Some((met, expected)) => match number(expected) {
            Some(number) => format!("{met}, expected {number}"),
            None => detail,
        },
        None => detail,
    }
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        // Writing to a string can't fail.
        let _ = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } => write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
    }
    pointer
}
