//! Lengths of time as people write them: `15m`, `1d12h`. A day is 24 hours.

use serde::{Deserialize, Deserializer, de::Error as _};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Span {
    /// In microseconds.
    pub fn micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no length of time such as \"35d\", \"12h\" or \"1h30m\"");
        let (mut seconds, mut rest) = (0_u64, text);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, unit_and_rest) = rest.split_at(digits);
            let mut characters = unit_and_rest.chars();
            let unit = characters.next().ok_or_else(wrong)?;
            let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let part = number.checked_mul(length).ok_or_else(wrong)?;
            seconds = seconds.checked_add(part).ok_or_else(wrong)?;
            rest = characters.as_str();
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_secs(seconds))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in UNITS {
            let count = left / length;
            left %= length;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed() {
        for (text, seconds, printed) in [
            ("35d", Some(3_024_000), "5w"),
            ("1h30m", Some(5_400), "1h30m"),
            ("90s", Some(90), "1m30s"),
            ("0s", Some(0), "0s"),
            ("", None, ""),
            ("5", None, ""),
            ("h", None, ""),
            ("1x", None, ""),
            ("-1h", None, ""),
            ("99999999999999999999d", None, ""),
        ] {
            let span = text.parse::<Span>();
            assert_eq!(span.as_ref().ok().map(|span| span.0.as_secs()), seconds, "{text}");
            assert!(span.is_err() || span.is_ok_and(|span| span.to_string() == printed), "{text}");
        }
    }
}
