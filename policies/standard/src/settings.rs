//! The settings, as people write them in JSON. What their types alone don't show is checked in [`crate::checks`].

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::fmt;
use proviso_sdk::{
    Allowance, CREDITS, Category, Credits, Money, Percent, Price, Quantity, Rounding, SettleOverageFrom,
    TimeOfDay, Window,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// All settings of the standard policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The credit type that charges draw.
    #[serde(default = "usual_credits")]
    pub credit: String,
    /// How each line's cost is rounded to 12 decimal places. Defaults to up: never less than the exact cost.
    #[serde(default)]
    pub rounding: Rounding,
    /// A usage that costs anything costs at least this.
    #[serde(default)]
    pub minimum_charge: Credits,
    /// The most that one usage costs; without it, any.
    #[serde(default)]
    pub maximum_charge: Option<Credits>,
    /// What a usage costs that no rate matches.
    #[serde(default)]
    pub unrated: Unrated,
    /// What usages cost.
    #[serde(default)]
    pub rates: Vec<Rate>,
    /// By how much prices are multiplied, by attribute. Of those that match, the most specific one wins, as with rates.
    #[serde(default)]
    pub multipliers: Vec<Multiplier>,
    /// What is taken off prices, by time of day and by what was spent. Of those that hold, the largest is taken.
    #[serde(default)]
    pub discounts: Vec<Discount>,
    /// What happens when a cost exceeds what is available.
    #[serde(default)]
    pub overage: OverageSettings,
    /// What the end of a period and the beginning of the next one do; without it, nothing.
    #[serde(default)]
    pub reset: Option<ResetSettings>,
}

/// What only rating needs; the table holds it.
pub(crate) const RATING: [&str; 3] = ["rates", "multipliers", "discounts"];

/// The settings without what only rating needs.
#[derive(Debug, Deserialize)]
pub(crate) struct WithoutRates {
    #[serde(default = "usual_credits")]
    pub(crate) credit: String,
    #[serde(default)]
    pub(crate) overage: OverageSettings,
    #[serde(default)]
    pub(crate) reset: Option<ResetSettings>,
}

fn usual_credits() -> String {
    CREDITS.to_owned()
}

/// What a usage costs that no rate matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unrated {
    /// It is refused with the code `feature_not_rated`.
    #[default]
    Refuse,
    /// Nothing.
    Free,
}

/// One price and what it is for.
///
/// A usage pays at most one rate for each of its quantities, and at most one that has no quantity. Of the rates that
/// match, one that names the feature wins over one that does not; then the one with more conditions (`above` is one); then
/// the one with fewer patterns; then the one whose patterns have more characters; then the one that is `above` more; then
/// the one that stands first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The feature; without it, every feature.
    #[serde(default)]
    pub feature: Option<String>,
    /// The quantity; without it, the usage itself is counted, as one.
    #[serde(default)]
    pub quantity: Option<String>,
    /// Quantities that `quantity` counts, too, and that are priced on their own: they are taken off it first. A usage in
    /// which they are more than the whole is invalid.
    #[serde(default)]
    pub less: Vec<String>,
    /// Attributes that the usage must have.
    #[serde(default)]
    pub when: Conditions,
    /// Only usages with more than so much.
    #[serde(default)]
    pub above: Option<Above>,
    /// What the line says; defaults to the quantity's or the feature's name.
    #[serde(default)]
    pub label: Option<String>,
    /// Units that cost nothing, before `price` begins; only with `per_unit`.
    #[serde(default)]
    pub included: Option<Included>,
    /// The price.
    pub price: PriceModel,
}

/// A usage in which some quantities are more than an amount.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Above {
    /// These together.
    pub quantities: Vec<String>,
    /// Must be more than this.
    pub amount: Quantity,
}

/// By how much all prices of a usage are multiplied.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiplier {
    /// The feature; without it, every feature.
    #[serde(default)]
    pub feature: Option<String>,
    /// Attributes that the usage must have.
    #[serde(default)]
    pub when: Conditions,
    /// What its lines say; defaults to the number.
    #[serde(default)]
    pub label: Option<String>,
    /// The number: half of the price is 0.5.
    pub times: Quantity,
}

/// What is taken off all prices of a usage, when all that it names holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// The feature; without it, every feature.
    #[serde(default)]
    pub feature: Option<String>,
    /// Attributes that the usage must have.
    #[serde(default)]
    pub when: Conditions,
    /// Local hours in which it was used.
    #[serde(default)]
    pub hours: Option<Hours>,
    /// What the customer has spent before.
    #[serde(default)]
    pub spend: Option<Spend>,
    /// What its lines say; defaults to the percentage.
    #[serde(default)]
    pub label: Option<String>,
    /// How much is taken off.
    pub percent: Percent,
}

/// Hours of each local day.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The first minute that counts.
    pub from: TimeOfDay,
    /// The first minute that no longer counts; when it is earlier than `from`, that of the next day.
    pub to: TimeOfDay,
}

/// What the customer has spent before this usage, on the discount's feature.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    /// Over which time.
    pub per: Span,
    /// At least so much.
    pub from: Credits,
}

/// Attributes and the values that they must have, sorted by name; of a name that is given twice, the last. A `*` in a value
/// stands for any text, so that `gpt-4o*` means all values that begin so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Conditions(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Conditions;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Conditions, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    match pairs.binary_search_by(|(known, _)| known.cmp(&name)) {
                        Ok(place) => {
                            if let Some(pair) = pairs.get_mut(place) {
                                pair.1 = value;
                            }
                        }
                        Err(place) => pairs.insert(place, (name, value)),
                    }
                }
                Ok(Conditions(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Units that cost nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Included {
    /// How many.
    pub units: Quantity,
    /// Over which time.
    #[serde(default)]
    pub per: Span,
}

/// How an amount becomes a cost.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceModel {
    /// One price for each usage, whatever its amount.
    Flat(Price),
    /// One price for each unit.
    PerUnit(Price),
    /// One price for each block; a part of a block counts as a whole one.
    PerBlock(Block),
    /// Each unit costs what its own tier says.
    Graduated(Tiers),
    /// All units of a usage cost what the tier says that the total with this usage reaches.
    Volume(Tiers),
}

/// A number of units that are sold together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// How many units.
    pub size: Quantity,
    /// What they cost together.
    pub price: Price,
}

/// Prices that depend on how much was used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    /// Over which time usage is added up.
    #[serde(default)]
    pub per: Span,
    /// In rising order; only the last has no `up_to`.
    pub tiers: Vec<Tier>,
}

/// One tier.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The last unit that belongs to it.
    #[serde(default)]
    pub up_to: Option<Quantity>,
    /// The price of one unit.
    pub per_unit: Price,
}

/// Over which time usage is added up. A total is the customer's, over the rate's feature and quantity; with one
/// condition in `when` it is kept for each value of that attribute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Each usage for itself.
    #[default]
    Usage,
    /// The local day.
    Day,
    /// The local calendar month.
    Month,
    /// The billing period as it is scheduled: a change of plan in the middle goes on counting, a reset on request begins anew.
    Period,
    /// All time.
    Lifetime,
}

impl Span {
    /// The counter's window; none when nothing is added up.
    pub(crate) fn window(self) -> Option<Window> {
        match self {
            Self::Usage => None,
            Self::Day => Some(Window::Day),
            Self::Month => Some(Window::Month),
            Self::Period => Some(Window::Cycle),
            Self::Lifetime => Some(Window::Lifetime),
        }
    }
}

/// What happens when a cost exceeds what is available.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverageSettings {
    /// Which of the ways.
    #[serde(default)]
    pub mode: OverageMode,
    /// With `allow`: the most overage that may be outstanding; without it, any.
    #[serde(default)]
    pub limit: Option<Credits>,
    /// With `require_purchase`: what to buy.
    #[serde(default)]
    pub offers: Vec<OfferSettings>,
    /// With `top_up`: how many credits are issued at a time; as many packs as the cost needs.
    #[serde(default)]
    pub pack: Option<Credits>,
    /// With `top_up`: the most packs for one charge; defaults to 1.
    #[serde(default)]
    pub max_packs: Option<u32>,
    /// With `top_up`: what a pack costs.
    #[serde(default)]
    pub price: Option<Money>,
    /// With `top_up`: after how many days of 24 hours the rest of a pack expires.
    #[serde(default)]
    pub expires_after_days: Option<u32>,
    /// What pays outstanding overage.
    #[serde(default)]
    pub settle_from: SettleOverageFrom,
}

/// The ways to go on, or not, without credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverageMode {
    /// Refused with the code `insufficient_credits`.
    #[default]
    Block,
    /// Allowed up to a limit, or without one.
    Allow,
    /// Refused with offers of what to buy.
    RequirePurchase,
    /// Credits are issued at once.
    TopUp,
}

/// Something to buy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferSettings {
    /// For machines.
    pub code: String,
    /// For people.
    pub label: String,
    /// What it brings.
    pub credits: Credits,
    /// What it costs.
    #[serde(default)]
    pub price: Option<Money>,
}

/// What the end of a period and the beginning of the next one do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetSettings {
    /// Grants that each period opens with.
    #[serde(default)]
    pub allowance: Vec<AllowanceSettings>,
    /// With a change of plan: how much of the allowance is issued when this cycle gave allowances already. Defaults to
    /// what the change asks for.
    #[serde(default)]
    pub allowance_on_change: Option<Allowance>,
    /// Categories whose grants end with their period, unless they have an expiry of their own; defaults to those of the
    /// allowance.
    #[serde(default)]
    pub expire: Option<Vec<Category>>,
    /// What is carried over of the grants that end.
    #[serde(default)]
    pub rollover: Option<RolloverSettings>,
    /// What becomes of outstanding overage.
    #[serde(default)]
    pub overage: Settle,
}

/// A grant that each period opens with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceSettings {
    /// How many credits.
    pub amount: Credits,
    /// Their type.
    #[serde(default = "usual_credits")]
    pub credit: String,
    /// The grant's category.
    #[serde(default)]
    pub category: Category,
    /// A lower number is drawn first.
    #[serde(default)]
    pub priority: i32,
    /// The features that may draw on it; empty means all.
    #[serde(default)]
    pub features: Vec<String>,
    /// What the customer paid for it.
    #[serde(default)]
    pub cost_basis: Option<Money>,
}

/// What is carried over. The parts that are left out don't limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloverSettings {
    /// Of what is left of each grant, this part; rounded down.
    #[serde(default)]
    pub percent: Option<Percent>,
    /// The most that one period's end carries over, for each credit type.
    #[serde(default)]
    pub cap: Option<Credits>,
    /// The most that may be carried over and unspent in all, with what came from earlier periods, for each credit type.
    /// What exceeds it is taken from the oldest.
    #[serde(default)]
    pub max: Option<Credits>,
    /// For how many periods it lives: 1 until the next period's end. Without it, it does not expire.
    #[serde(default)]
    pub expires_after_periods: Option<u32>,
    /// The new grants' priority; defaults to that of the grant they come from.
    #[serde(default)]
    pub priority: Option<i32>,
}

/// What becomes of outstanding overage when a period ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    /// It stays outstanding.
    #[default]
    Keep,
    /// It is billed outside.
    Invoice,
    /// It is forgiven.
    Waive,
    /// It is drawn from the grants that the new period opens with, as far as they reach.
    Deduct,
}

impl Rate {
    /// Over which time the price depends on usage.
    pub(crate) fn span(&self) -> Span {
        match (&self.price, &self.included) {
            (PriceModel::Graduated(tiers) | PriceModel::Volume(tiers), _) => tiers.per,
            (_, Some(included)) => included.per,
            (_, None) => Span::Usage,
        }
    }
}

impl ResetSettings {
    /// The categories whose grants end with their period.
    pub(crate) fn period_categories(&self) -> Vec<Category> {
        if let Some(expire) = &self.expire {
            return expire.clone();
        }
        let mut categories = Vec::new();
        for allowance in &self.allowance {
            if !categories.contains(&allowance.category) {
                categories.push(allowance.category);
            }
        }
        categories
    }

    /// Whether grants of a category end with their period.
    pub(crate) fn ends(&self, category: Category) -> bool {
        match &self.expire {
            Some(expire) => expire.contains(&category),
            None => self.allowance.iter().any(|allowance| allowance.category == category),
        }
    }
}
