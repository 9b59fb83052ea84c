//! Amounts that differ from one time to the next, told by a few of their percentiles. Between two of them all amounts are equally likely,
//! which needs no floating point, so that every machine draws the same.

use crate::random::Random;
use proviso_ledger::model::amounts::Decimal;
use serde::{Deserialize, Deserializer, de::Error};

/// How finely percentiles are told apart.
const PARTS: u64 = 1_000_000;

/// A fixed amount, `{ from, to }`, or percentiles: `{ min, p50, p90, p95, p99, max }`, of which `p50` and `max` are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Parts of [`PARTS`] with the amount that is not exceeded by so many; in order, from zero to all.
    points: Vec<(u64, Decimal)>,
    /// Whether all of them are whole numbers; then what is drawn is one, too.
    is_whole: bool,
}

impl Spread {
    /// An amount that is always the same.
    pub fn fixed(amount: Decimal) -> Self {
        Self::of(vec![(0, amount), (PARTS, amount)])
    }

    fn of(points: Vec<(u64, Decimal)>) -> Self {
        let is_whole = points.iter().all(|(_, amount)| amount.units() % Decimal::ONE.units() == 0);
        Self { points, is_whole }
    }

    /// Draws one. The same numbers are used up whatever comes of it.
    pub fn draw(&self, random: &mut Random) -> Decimal {
        let part = random.below(PARTS);
        let pairs = self.points.iter().zip(self.points.iter().skip(1));
        let found = pairs.into_iter().find(|(_, (until, _))| part < *until);
        let Some(((from, low), (until, high))) = found else { return Decimal::ZERO };
        let (width, place) = (i128::from(until - from), i128::from(part - from));
        // Amounts are below 10^15, so this is below 10^33.
        let above = (high.units() - low.units()) * place / width.max(1);
        let drawn = low.units() + above;
        Decimal::from_units(if self.is_whole { drawn - drawn % Decimal::ONE.units() } else { drawn })
    }
}

/// A whole number, or a decimal as text.
#[derive(Clone, Copy)]
struct Amount(Decimal);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a whole number, or a decimal as text such as \"0.5\"")]
        enum Form {
            Whole(i64),
            Text(String),
        }
        let amount = match Form::deserialize(deserializer)? {
            Form::Whole(whole) => Decimal::from_whole(whole),
            Form::Text(text) => text.parse().map_err(D::Error::custom)?,
        };
        if amount.is_negative() || !amount.is_acceptable() {
            return Err(D::Error::custom("must be at least 0, and below 10^15"));
        }
        Ok(Self(amount))
    }
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Range {
            from: Amount,
            to: Amount,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Percentiles {
            min: Option<Amount>,
            p50: Amount,
            p90: Option<Amount>,
            p95: Option<Amount>,
            p99: Option<Amount>,
            max: Amount,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "must be a whole number, a decimal as text, { from = 1, to = 9 }, or percentiles such as \
                         { p50 = 10, p95 = 80, max = 400 }"
        )]
        enum Form {
            Fixed(Amount),
            Range(Range),
            Percentiles(Percentiles),
        }
        let points = match Form::deserialize(deserializer)? {
            Form::Fixed(amount) => return Ok(Self::fixed(amount.0)),
            Form::Range(Range { from, to }) => vec![(0, from.0), (PARTS, to.0)],
            Form::Percentiles(Percentiles { min, p50, p90, p95, p99, max }) => {
                let named = [
                    (0, Some(min.unwrap_or(Amount(Decimal::ZERO)))),
                    (500_000, Some(p50)),
                    (900_000, p90),
                    (950_000, p95),
                    (990_000, p99),
                    (PARTS, Some(max)),
                ];
                named.into_iter().filter_map(|(part, amount)| Some((part, amount?.0))).collect()
            }
        };
        if !points.is_sorted_by(|(_, one), (_, next)| one <= next) {
            return Err(D::Error::custom("each must be at least as large as the one before it"));
        }
        Ok(Self::of(points))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Spread, String> {
        #[derive(Debug, Deserialize)]
        struct Has {
            x: Spread,
        }
        toml::from_str::<Has>(&format!("x = {text}")).map(|has| has.x).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_drawn_has_the_percentiles_that_were_asked_for() {
        let spread = read("{ min = 2, p50 = 10, p95 = 80, max = 400 }").unwrap();
        let mut random = Random(7);
        let mut drawn: Vec<Decimal> = (0..20_000).map(|_| spread.draw(&mut random)).collect();
        drawn.sort_unstable();
        let near = |part: usize, amount: i64, by: i64| {
            let found = drawn[drawn.len() * part / 100];
            let off = found.saturating_sub(Decimal::from_whole(amount)).checked_abs().unwrap();
            assert!(off <= Decimal::from_whole(by), "p{part}: {found}");
        };
        near(50, 10, 1);
        near(95, 80, 4);
        assert!(drawn[0] >= Decimal::from_whole(2) && drawn[19_999] <= Decimal::from_whole(400));
        assert!(drawn.iter().all(|one| one.units() % Decimal::ONE.units() == 0));
    }

    #[test]
    fn amounts_may_be_fixed_and_parts() {
        let mut random = Random(1);
        assert_eq!(read("7").unwrap().draw(&mut random), Decimal::from_whole(7));
        assert_eq!(read("\"0.25\"").unwrap().draw(&mut random).to_string(), "0.25");
        let one = read("{ from = \"0.5\", to = 1 }").unwrap().draw(&mut random);
        assert!(one >= "0.5".parse().unwrap() && one < Decimal::ONE, "{one}");
        for (text, named) in [
            ("{ p50 = 3, max = 2 }", "at least as large"),
            ("-1", "must be"),
            ("0.5", "must be a whole number"),
            ("{ p50 = 3 }", "such as { p50 = 10"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
