//! What a usage must have for a rate, a multiplier or a discount: written once, tested in place, and which of those that match
//! goes first.

use crate::{
    bytes::{Bytes, put_decimal, put_size, put_text},
    settings::{Above, Conditions},
};
use alloc::{string::String, vec::Vec};
use core::cmp::Reverse;
use proviso_sdk::{Attribute, Quantity, Usage};

/// Stands for any text in the value of a condition.
pub(crate) const ANY: char = '*';

/// Sorts what is more specific to the front: more conditions, fewer patterns, patterns with more characters, above more.
pub(crate) type Rank = (Reverse<usize>, usize, Reverse<usize>, Reverse<Option<Quantity>>);

/// How specific conditions are.
pub(crate) fn rank(when: &Conditions, above: Option<&Above>) -> Rank {
    let patterns = || when.0.iter().filter(|(_, value)| value.contains(ANY));
    let characters = patterns().map(|(_, value)| value.chars().filter(|one| *one != ANY).count()).sum();
    let conditions = when.0.len() + usize::from(above.is_some());
    (Reverse(conditions), patterns().count(), Reverse(characters), Reverse(above.map(|above| above.amount)))
}

/// Layout: the number of exact values and each with its name; the number of other conditions and each with its kind.
pub(crate) fn write(bytes: &mut Vec<u8>, when: &Conditions, above: Option<&Above>) {
    let (patterns, exact): (Vec<_>, Vec<_>) = when.0.iter().partition(|(_, value)| value.contains(ANY));
    put_count(bytes, exact.len());
    for (name, value) in exact {
        put_text(bytes, name);
        put_text(bytes, value);
    }
    put_count(bytes, patterns.len() + usize::from(above.is_some()));
    for (name, pattern) in patterns {
        bytes.push(PATTERN);
        put_text(bytes, name);
        put_text(bytes, pattern);
    }
    if let Some(above) = above {
        bytes.push(ABOVE);
        put_decimal(bytes, above.amount.decimal());
        put_names(bytes, &above.quantities);
    }
}

const PATTERN: u8 = 0;
const ABOVE: u8 = 1;

/// Whether the usage has all of them; what comes behind them in `bytes` is next only when it has.
#[inline]
pub(crate) fn meets(bytes: &mut Bytes<'_>, usage: &Usage) -> Option<bool> {
    for _ in 0..bytes.u8()? {
        let (name, value) = (bytes.text()?, bytes.text()?);
        // The value first: most often it is what differs.
        let has =
            |attribute: &Attribute| attribute.value.as_bytes() == value && attribute.name.as_bytes() == name;
        if !usage.attributes.iter().any(has) {
            return Some(false);
        }
    }
    match bytes.u8()? {
        0 => Some(true),
        others => meet_others(others, bytes, usage),
    }
}

// Out of line, so that the common case stays short.
#[inline(never)]
fn meet_others(others: u8, bytes: &mut Bytes<'_>, usage: &Usage) -> Option<bool> {
    for _ in 0..others {
        if !meets_other(bytes, usage)? {
            return Some(false);
        }
    }
    Some(true)
}

fn meets_other(bytes: &mut Bytes<'_>, usage: &Usage) -> Option<bool> {
    if bytes.u8()? == PATTERN {
        let (name, pattern) = (bytes.text()?, bytes.text()?);
        let fits = |attribute: &Attribute| {
            attribute.name.as_bytes() == name && matches(pattern, attribute.value.as_bytes())
        };
        return Some(usage.attributes.iter().any(fits));
    }
    let amount = Quantity::new(bytes.decimal()?);
    Some(sum(bytes, usage)? > amount)
}

pub(crate) fn put_names(bytes: &mut Vec<u8>, names: &[String]) {
    put_size(bytes, names.len());
    for name in names {
        put_text(bytes, name);
    }
}

/// What the usage has of the quantities whose names are next. No sum of accepted amounts is too large.
pub(crate) fn sum(bytes: &mut Bytes<'_>, usage: &Usage) -> Option<Quantity> {
    let mut sum = Quantity::ZERO;
    for _ in 0..bytes.size()? {
        let name = bytes.text()?;
        if let Some(quantity) = usage.quantities.iter().find(|quantity| quantity.name.as_bytes() == name) {
            sum = sum.saturating_add(quantity.amount);
        }
    }
    Some(sum)
}

/// Whether a text is as a pattern says. In time of the product of both lengths at most; what a `*` stands for is as short
/// as possible, and only the last one is ever widened, which is enough.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when the rest does not fit: behind the last `*`, with one more byte for it.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', after)), _) => {
                pattern = after;
                retry = Some((after, text));
            }
            (Some((want, after)), Some((have, rest))) if want == have => (pattern, text) = (after, rest),
            (None, None) => return true,
            _ => {
                let Some((after, [_, rest @ ..])) = retry else { return false };
                (pattern, text) = (after, rest);
                retry = Some((after, rest));
            }
        }
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    // Settings with more are refused.
    bytes.push(u8::try_from(count).unwrap_or(u8::MAX));
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("gpt-4o*", "gpt-4o", true),
            ("gpt-4o*", "gpt-4o-mini-2024-07-18", true),
            ("gpt-4o*", "gpt-4", false),
            ("gpt-4o*", "openai/gpt-4o", false),
            ("*gpt-4o*", "openai/gpt-4o-mini", true),
            ("*-mini", "gpt-4o-mini", true),
            ("*-mini", "mini-minimal", false),
            ("*-mini", "a-mini-mini", true),
            ("claude-*-sonnet*", "claude-3-5-sonnet", true),
            ("claude-*-sonnet*", "claude-sonnet", false),
            ("*", "", true),
            ("**", "x", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*é", "caf\u{e9}", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
