//! Checks of single values that a policy returned. Each gives the ledger's type, or says what is wrong and where.

use proviso_ledger::model::{
    amounts::{Credits, Currency, Decimal, Money, Price, Quantity},
    ids::Key,
    time::Timestamp,
};
use std::str::FromStr;

/// Short names and codes, in bytes.
pub(super) const NAME_BYTES: usize = 128;
/// Texts for people, in bytes.
pub(super) const TEXT_BYTES: usize = 1024;

/// What an answer may say for people in all, in bytes: it is written with each entry and shown with each answer.
pub(super) const EXPLANATION_BYTES: usize = 8 << 10;
/// Stands where a text was cut.
const CUT: char = '…';

/// What is wrong with a result, with the path to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    path: String,
    detail: String,
}

impl Invalid {
    pub(super) fn new(field: &str, detail: impl Into<String>) -> Self {
        Self { path: field.to_owned(), detail: detail.into() }
    }

    pub(super) fn under(mut self, parent: &str) -> Self {
        self.path = if self.path.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.path) };
        self
    }

    fn item(self, list: &str, index: usize) -> Self {
        self.under(&format!("{list}[{index}]"))
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

/// Cuts the longer ones of an answer's texts for people, if they are too much together, to an equal share for each.
pub(super) fn shorten<'a>(texts: impl Iterator<Item = &'a mut String>) {
    let texts: Vec<_> = texts.collect();
    if texts.iter().map(|text| text.len()).sum::<usize>() <= EXPLANATION_BYTES {
        return;
    }
    let share = EXPLANATION_BYTES.checked_div(texts.len()).unwrap_or(EXPLANATION_BYTES).max(CUT.len_utf8());
    for text in texts {
        if text.len() > share {
            text.truncate(text.floor_char_boundary(share - CUT.len_utf8()));
            text.push(CUT);
        }
    }
}

/// A text that must not be empty.
pub(super) fn name(field: &str, value: String) -> Checked<String> {
    if value.is_empty() { Err(Invalid::new(field, "is empty")) } else { text(field, value, NAME_BYTES) }
}

/// Anything that has a text form: keys, grant ids.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Checked<T> {
    text.parse().map_err(|error| Invalid::new(field, format!("{}: {error}", quoted(text))))
}

/// A code for machines: `[a-z][a-z0-9_]{0,63}`.
pub(super) fn code(field: &str, code: String) -> Checked<String> {
    let starts_well = code.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if starts_well && code.len() <= 64 && code.bytes().all(fine) {
        Ok(code)
    } else {
        Err(Invalid::new(field, format!("{}: must be [a-z][a-z0-9_]{{0,63}}", quoted(&code))))
    }
}

/// One of the words that the interface lists for a string that may grow.
pub(super) fn word<T>(field: &str, word: &str, meaning: impl FnOnce(&str) -> Option<T>) -> Checked<T> {
    meaning(word)
        .ok_or_else(|| Invalid::new(field, format!("{} is not a word of this version", quoted(word))))
}

/// A number that is not negative: a limit or a total, which may exceed what a single amount may be.
pub(super) fn total(field: &str, whole: i64, part: i64) -> Checked<Decimal> {
    let decimal = Decimal::from_parts(whole, part).map_err(|_| {
        let detail = "`whole` and `part` must have the same sign, and `part` fewer than 13 digits";
        Invalid::new(field, format!("{whole} and {part}: {detail}"))
    })?;
    if decimal.is_negative() {
        Err(Invalid::new(field, format!("{decimal} is negative")))
    } else {
        Ok(decimal)
    }
}

/// A single amount that is not negative.
fn amount(field: &str, whole: i64, part: i64) -> Checked<Decimal> {
    let decimal = total(field, whole, part)?;
    if decimal.is_acceptable() {
        Ok(decimal)
    } else {
        Err(Invalid::new(field, format!("{decimal} is not below 1000000000000000")))
    }
}

pub(super) fn credits(field: &str, (whole, part): (i64, i64)) -> Checked<Credits> {
    amount(field, whole, part).map(Credits::new)
}

pub(super) fn positive(field: &str, parts: (i64, i64)) -> Checked<Credits> {
    let amount = credits(field, parts)?;
    if amount.is_zero() { Err(Invalid::new(field, "must be above zero")) } else { Ok(amount) }
}

pub(super) fn quantity(field: &str, (whole, part): (i64, i64)) -> Checked<Quantity> {
    amount(field, whole, part).map(Quantity::new)
}

pub(super) fn price(field: &str, (whole, part): (i64, i64)) -> Checked<Price> {
    amount(field, whole, part).map(Price::new)
}

/// A part of a whole: 0 to 1.
pub(super) fn share(field: &str, (whole, part): (i64, i64)) -> Checked<Decimal> {
    let share = total(field, whole, part)?;
    if share > Decimal::ONE { Err(Invalid::new(field, format!("{share} is above 1"))) } else { Ok(share) }
}

pub(super) fn money(field: &str, (whole, part): (i64, i64), currency: &str) -> Checked<Money> {
    let amount = amount("amount", whole, part).map_err(|error| error.under(field))?;
    let currency: Currency = parsed("currency", currency).map_err(|error| error.under(field))?;
    Money::new(amount, currency).map_err(|error| Invalid::new(field, error.to_string()))
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
pub(super) fn keys(field: &str, items: Vec<String>, most: usize) -> Checked<Vec<Key>> {
    list(field, items, most, |key| parsed("", &key))
}

/// A policy's text as a part of a message: short, and with nothing that a terminal would act on.
fn quoted(text: &str) -> String {
    format!("{text:.80?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: how often a text of which length, and how long each is afterwards.
    #[test]
    fn texts_are_cut_where_they_are_too_much_together() {
        for (count, length, after) in [
            (1, 1_024, 1_024),
            (8, 1_024, 1_024),
            (9, 1_024, 910),
            (256, 32, 32),
            (256, 33, 32),
            (256, 1_024, 32),
            (10_000, 1, 1),
            (10_000, 1_024, 3),
        ] {
            let mut texts = vec!["l".repeat(length); count];
            shorten(texts.iter_mut());
            let cut =
                if after == length { "l".repeat(length) } else { format!("{}…", "l".repeat(after - 3)) };
            assert!(texts.iter().all(|text| *text == cut), "{count} of {length}: {}", texts[0]);
        }
        let mut texts = vec!["ü".repeat(512); 9];
        texts.push("short".to_owned());
        shorten(texts.iter_mut());
        assert_eq!((texts[0].len(), texts[9].as_str()), (819, "short"));
        assert!(texts[0].ends_with("ü…"));
    }
}
