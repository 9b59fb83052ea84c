//! Small checks of what a policy returned: a raw value in, the ledger's type out, or what is wrong and where.

use proviso_ledger::{
    credits::{Credits, Quantity},
    grant::CostBasis,
    ids::Key,
    time::Timestamp,
};
use std::str::FromStr;

/// Short names and codes, in bytes.
pub(super) const NAME_BYTES: usize = 128;
/// Texts for people, in bytes.
pub(super) const TEXT_BYTES: usize = 1024;

/// What is wrong with a result, with the path to it.
#[derive(Debug)]
pub(crate) struct Invalid {
    path: String,
    detail: String,
}

impl Invalid {
    pub(super) fn new(field: &str, detail: impl Into<String>) -> Self {
        Self { path: field.to_owned(), detail: detail.into() }
    }

    pub(super) fn under(mut self, parent: &str) -> Self {
        self.path = format!("{parent}.{}", self.path);
        self
    }

    fn item(mut self, list: &str, index: usize) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{list}[{index}]{dot}{}", self.path);
        self
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.detail)
    }
}

pub(super) type Checked<T> = Result<T, Invalid>;

/// A text of bounded length without control characters, which no database or terminal takes well.
pub(super) fn text(field: &str, text: String, most: usize) -> Checked<String> {
    if text.len() > most {
        return Err(Invalid::new(field, format!("longer than {most} bytes")));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(Invalid::new(field, "has control characters"));
    }
    Ok(text)
}

/// A text that must say something.
pub(super) fn name(field: &str, value: String) -> Checked<String> {
    if value.is_empty() { Err(Invalid::new(field, "is empty")) } else { text(field, value, NAME_BYTES) }
}

/// Anything that has a text form: keys, grant ids.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Checked<T> {
    text.parse().map_err(|error| Invalid::new(field, format!("{}: {error}", quoted(text))))
}

/// A refusal's code: `[a-z][a-z0-9_]{0,63}`.
pub(super) fn code(field: &str, code: String) -> Checked<String> {
    let starts_well = code.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if starts_well && code.len() <= 64 && code.bytes().all(fine) {
        Ok(code)
    } else {
        Err(Invalid::new(field, format!("{}: must be [a-z][a-z0-9_]{{0,63}}", quoted(&code))))
    }
}

pub(super) fn credits(field: &str, micros: i64) -> Checked<Credits> {
    if micros < 0 { Err(Invalid::new(field, "is negative")) } else { Ok(Credits(micros)) }
}

pub(super) fn quantity(field: &str, millionths: i64) -> Checked<Quantity> {
    if millionths < 0 { Err(Invalid::new(field, "is negative")) } else { Ok(Quantity(millionths)) }
}

pub(super) fn instant(field: &str, micros: Option<i64>) -> Checked<Option<Timestamp>> {
    let Some(micros) = micros else { return Ok(None) };
    let checked = Timestamp::checked(micros).map(Some);
    checked
        .ok_or_else(|| Invalid::new(field, format!("{micros} is not an instant of the years 1900 to 9999")))
}

/// A bounded list; what is wrong with an item is reported with its index.
pub(super) fn list<T, U>(
    field: &str,
    items: Vec<T>,
    most: usize,
    f: impl Fn(T) -> Checked<U>,
) -> Checked<Vec<U>> {
    if items.len() > most {
        return Err(Invalid::new(field, format!("has {} items, the limit is {most}", items.len())));
    }
    items.into_iter().enumerate().map(|(index, item)| f(item).map_err(|e| e.item(field, index))).collect()
}

/// Keys that are items of a list.
pub(super) fn keys(field: &str, items: Vec<String>) -> Checked<Vec<Key>> {
    list(field, items, 64, |key| parsed("", &key))
}

/// Real money.
pub(super) fn money(field: &str, amount: &str, currency: String) -> Checked<CostBasis> {
    let amount = parsed::<Credits>("amount", amount)
        .and_then(|amount| credits("amount", amount.0))
        .map_err(|error| error.under(field))?;
    if currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(CostBasis { amount, currency })
    } else {
        let detail = format!("{}: must be an ISO 4217 code such as \"EUR\"", quoted(&currency));
        Err(Invalid::new("currency", detail).under(field))
    }
}

/// A policy's text as a part of a message: short, and with nothing that a terminal would act on.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:.80?}")
}
