//! The rates of models: US dollars for a million tokens become credits for one. Each quantity that tokens are told apart into gets
//! a rate, so that none is free because the book does not name it: what has no price of its own costs what the whole does.
//! A cost that can't be said in rates is left out, and named: it is never guessed.

use super::book::{Model, Object, at};
use proviso_ledger::model::amounts::{Decimal, OutOfRange, Percent, Price, Rounding};
use serde_json::{Value, json, value::RawValue};

/// A quantity, the field of a cost that it is priced by, and the one that stands in; without one it may be left out.
const QUANTITIES: [(&str, &str, Option<&str>); 7] = [
    ("input_tokens", "input", Some("input")),
    ("cache_read_input_tokens", "cache_read", Some("input")),
    ("cache_creation_input_tokens", "cache_write", Some("input")),
    ("input_audio_tokens", "input_audio", None),
    ("output_tokens", "output", Some("output")),
    ("reasoning_output_tokens", "reasoning", Some("output")),
    ("output_audio_tokens", "output_audio", None),
];

/// What of a request counts towards its length.
const INPUT: [&str; 4] =
    ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "input_audio_tokens"];

const TIERS: &str = "tiers";
const OVER_200K: &str = "context_over_200k";

/// How a price of the book becomes one of the settings.
pub struct Conversion<'a> {
    pub feature: Option<&'a str>,
    /// What the usage's attribute `provider` must be.
    pub provider: Option<&'a str>,
    pub markup: Percent,
    pub credits_per_usd: Decimal,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Rates {
    /// As settings have them.
    pub list: Vec<Value>,
    /// How many models have rates.
    pub models: usize,
    /// What whoever asked should know.
    pub notes: Vec<String>,
    rounded: u64,
}

/// The prices of one length of requests, by quantity, in credits.
type Card = Vec<(&'static str, Price)>;

/// Why a model has no rates.
enum Failed {
    /// The file is not as it should be.
    Wrong(String),
    /// Its cost can't be said in rates; where, and what of it.
    NotUnderstood(String),
}

impl From<String> for Failed {
    fn from(detail: String) -> Self {
        Self::Wrong(detail)
    }
}

impl Rates {
    /// Adds the models of a provider.
    pub fn add(
        &mut self,
        provider: &str,
        models: impl Iterator<Item = (String, Model)>,
        conversion: &Conversion<'_>,
    ) -> Result<(), String> {
        let mut free = 0_u64;
        for (id, model) in models {
            let Some(cost) = model.cost()? else {
                free += 1;
                continue;
            };
            match self.cards(&cost, &format!("{}/cost", model.place), conversion) {
                Ok(cards) => {
                    self.models += 1;
                    for (above, card) in cards {
                        for (quantity, price) in card {
                            self.list.push(conversion.rate(&id, quantity, above, price));
                        }
                    }
                }
                Err(Failed::Wrong(detail)) => return Err(detail),
                Err(Failed::NotUnderstood(what)) => {
                    self.notes.push(format!("{what} is not understood, so this model has no rates"));
                }
            }
        }
        if free > 0 {
            let (models, have) = if free == 1 { ("model", "has") } else { ("models", "have") };
            self.notes
                .push(format!("{free} {models} of {provider} {have} no price in the book, and no rates"));
        }
        Ok(())
    }

    /// The usual prices, and those of requests that are longer than so many tokens.
    fn cards(
        &mut self,
        cost: &Object,
        place: &str,
        conversion: &Conversion<'_>,
    ) -> Result<Vec<(Option<u64>, Card)>, Failed> {
        let mut cards = vec![(None, self.card(cost, &[TIERS, OVER_200K], place, conversion)?)];
        // A cost that has both says the same twice.
        if let Some(tiers) = cost.get(TIERS) {
            let place = format!("{place}/{TIERS}");
            for (index, tier) in at::<Vec<Object>>(tiers, &place)?.iter().enumerate() {
                let place = format!("{place}/{index}");
                let size = context_size(tier, &place)?;
                cards.push((Some(size), self.card(tier, &["tier"], &place, conversion)?));
            }
        } else if let Some(long) = cost.get(OVER_200K) {
            let place = format!("{place}/{OVER_200K}");
            cards.push((Some(200_000), self.card(&at(long, &place)?, &[], &place, conversion)?));
        }
        Ok(cards)
    }

    fn card(
        &mut self,
        cost: &Object,
        others: &[&str],
        place: &str,
        conversion: &Conversion<'_>,
    ) -> Result<Card, Failed> {
        let known =
            |name: &str| others.contains(&name) || QUANTITIES.iter().any(|(_, field, _)| *field == name);
        if let Some(name) = cost.keys().find(|name| !known(name)) {
            return Err(Failed::NotUnderstood(format!("{place}/{name}")));
        }
        let mut card = Card::new();
        for (quantity, field, instead) in QUANTITIES {
            let given = |field: &str| cost.get(field).filter(|value| value.get() != "null");
            let (field, value) = match (given(field), instead) {
                (Some(value), _) => (field, value),
                (None, None) => continue,
                (None, Some(instead)) => {
                    let value = given(instead).ok_or_else(|| format!("{place}/{instead}: is missing"))?;
                    (instead, value)
                }
            };
            let wrong = |detail: &str| format!("{place}/{field}: {detail}");
            let usd = decimal(value).map_err(wrong)?;
            let (price, rounded) = conversion.price(usd).map_err(|OutOfRange| wrong("is too large"))?;
            self.rounded += u64::from(rounded);
            card.push((quantity, price));
        }
        Ok(card)
    }

    /// Says it when prices had more places than settings hold.
    pub fn tell_what_was_rounded(&mut self) {
        if self.rounded > 0 {
            self.notes.push(format!("prices rounded up to 12 places: {}", self.rounded));
        }
    }
}

fn object<const N: usize>(fields: [Option<(&str, Value)>; N]) -> Value {
    fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// How many tokens a request must have more than, for a tier to hold.
fn context_size(tier: &Object, place: &str) -> Result<u64, Failed> {
    #[derive(serde::Deserialize)]
    struct Tier {
        r#type: String,
        size: u64,
    }
    let place = format!("{place}/tier");
    let tier: Tier = at(tier.get("tier").ok_or_else(|| format!("{place}: is missing"))?, &place)?;
    if tier.r#type == "context" { Ok(tier.size) } else { Err(Failed::NotUnderstood(place)) }
}

impl Conversion<'_> {
    fn rate(&self, model: &str, quantity: &str, above: Option<u64>, price: Price) -> Value {
        let provider = self.provider.map(|provider| ("provider", json!(provider)));
        let above = above.map(|amount| ("above", json!({ "quantities": INPUT, "amount": amount })));
        let feature = self.feature.map(|feature| ("feature", json!(feature)));
        let when = object([Some(("model", json!(model))), provider]);
        let price = json!({ "per_unit": price.to_string() });
        let quantity = json!(quantity);
        object([feature, Some(("quantity", quantity)), Some(("when", when)), above, Some(("price", price))])
    }

    /// Credits for a token, of US dollars for a million; and whether that was rounded.
    fn price(&self, usd: Decimal) -> Result<(Price, bool), OutOfRange> {
        const MILLION: Decimal = Decimal::from_whole(1_000_000);
        let paid = Percent::ALL.plus(self.markup)?.decimal();
        let hundred = Percent::ALL.decimal();
        let step = |rounding| {
            let marked_up = usd.mul_div(paid, hundred, rounding)?;
            marked_up.mul_div(self.credits_per_usd, MILLION, rounding)
        };
        let (price, exact) = (step(Rounding::Up)?, step(Rounding::Down)?);
        Ok((Price::new(price).accepted()?, price != exact))
    }
}

/// A number, or a text that is one. JSON's numbers may have an exponent, and those that a program wrote may have more places than
/// anyone meant (0.30000000000000004): the nearest with 12 is taken, which for a token is far below what can be paid.
fn decimal(value: &RawValue) -> Result<Decimal, &'static str> {
    parse(value.get().trim_matches('"'))
        .filter(|number| !number.is_negative())
        .ok_or("must be a price that is not negative")
}

fn parse(text: &str) -> Option<Decimal> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let number: Decimal = match digits.split_once('.').and_then(|(_, places)| places.get(12..)) {
        Some(rest) if !rest.is_empty() => {
            let kept: Decimal = digits.strip_suffix(rest)?.parse().ok()?;
            let up = rest.starts_with(['5', '6', '7', '8', '9']);
            let fine = rest.bytes().all(|byte| byte.is_ascii_digit());
            kept.checked_add(Decimal::from_units(up.into())).filter(|_| fine)?
        }
        _ => digits.parse().ok()?,
    };
    let power = 10_i64.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 {
        number.div(Decimal::from_whole(power), Rounding::HalfUp).ok()
    } else {
        number.repeated(power).ok()
    }
}
