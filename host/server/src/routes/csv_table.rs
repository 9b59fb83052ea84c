//! Reports as CSV: when they are wanted so, and how their cells and answers are written.

use crate::problem::Problem;
use axum::{
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};

const CSV: &str = "text/csv";

/// Whether the answer is wanted as CSV rather than as JSON.
pub fn accepts_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    kinds.any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(CSV));
        // `q=0` says that it is not wanted (RFC 9110, 12.4.2).
        named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// A text as spreadsheets read it as a text. They take one for a formula that begins as formulas do, and entities and attributes are
/// often what a product's own users wrote. An apostrophe goes before those, and before an apostrophe, so that taking one away
/// gives the text again.
pub fn cell(text: &str) -> String {
    let begins = |first: char| "=+-@'\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}".contains(first) || first.is_control();
    if text.starts_with(begins) { format!("'{text}") } else { text.to_owned() }
}

/// The answer with the rows that `write` writes.
pub fn answer(
    write: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> Result<(), csv::Error>,
) -> Result<Response, Problem> {
    let text = written(write).map_err(|error| Problem::internal(error.to_string()))?;
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

fn written(
    write: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> Result<(), csv::Error>,
) -> Result<String, csv::Error> {
    // Heads are written as rows.
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    write(&mut writer)?;
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
