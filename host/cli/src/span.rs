//! Lengths of time as people write them: `15m`, `1d12h`, `90 seconds`, `PT15M`. A day has 24 hours and a week 7 days.

use jiff::SpanRelativeTo;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{str::FromStr, time::Duration};

/// A length of time, not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// In microseconds, rounded down.
    pub fn micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no length of time such as \"35d\", \"12h\" or \"1h30m\"");
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        let exact = span.to_duration(SpanRelativeTo::days_are_24_hours());
        // Months and years have no fixed length.
        let exact = exact.map_err(|error| format!("{}: {error}", wrong()))?;
        if exact.is_negative() { Err(wrong()) } else { Ok(Self(exact.unsigned_abs())) }
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
    fn days_and_weeks_have_a_fixed_length_and_months_have_none() {
        for (text, seconds) in [
            ("35d", Some(3_024_000)),
            ("5w", Some(3_024_000)),
            ("1h30m", Some(5_400)),
            ("1 day 12 hours", Some(129_600)),
            ("PT15M", Some(900)),
            ("90s", Some(90)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("h", None),
            ("1x", None),
            ("1mo", None),
            ("-1h", None),
            ("1h ago", None),
            ("99999999999999999999d", None),
        ] {
            let span = text.parse::<Span>();
            assert_eq!(span.as_ref().ok().map(|span| span.0.as_secs()), seconds, "{text}: {span:?}");
            assert!(span.err().is_none_or(|error| error.contains(&format!("{text:?}"))), "{text}");
        }
    }
}
