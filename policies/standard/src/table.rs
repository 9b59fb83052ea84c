//! The rates as a table that is searched in place: for one usage and one of its quantities, the rate that wins. Nothing is
//! parsed or copied to find it.
//!
//! Layout: rounding, flags, minimum charge, credit type; as the flags say the maximum charge and what [`crate::adjust`] reads;
//! the number of groups and the offset of each; the groups. A group has a feature and a quantity (empty for none) and its
//! rates, the more specific ones first. Groups are sorted by both.

use crate::{
    adjust,
    bytes::{Bytes, put_decimal, put_size, put_text},
    conditions::{self, Rank, meets},
    counters::place,
    settings::{PriceModel, Rate, Settings, Tier, Tiers, Unrated},
    tiers::{TierEntry, TierList},
};
use alloc::{format, string::String, vec::Vec};
use proviso_sdk::{
    Counter, Credits, Decimal, Price, PricedFeature, Problem, Quantity, Rounding, Scope, Usage,
};

/// How the host limits counters and the lines of a rating.
const MOST_COUNTERS: usize = 32;
const MOST_LINES: usize = 256;

/// The end of a tier that has none.
const NO_END: Quantity = Quantity::new(Decimal::MAX);

const FREE: u8 = 1;
const MAXIMUM: u8 = 2;
const ADJUSTED: u8 = 4;

/// With a price's kind: the names of the quantities that are taken off stand behind it.
const LESS: u8 = 128;

/// What a rate that won says.
pub(crate) struct Won<'a> {
    pub(crate) label: &'a str,
    /// What the usage has of the quantities that are taken off.
    pub(crate) less: Quantity,
    pub(crate) model: Model<'a>,
}

/// How an amount becomes a cost, read in place.
pub(crate) enum Model<'a> {
    Flat(Price),
    PerUnit(Price),
    PerBlock { size: Quantity, price: Price },
    Graduated(TierList<'a>),
    Volume(TierList<'a>),
}

/// The table, opened.
pub(crate) struct Table<'a> {
    pub(crate) rounding: Rounding,
    pub(crate) unrated: Unrated,
    pub(crate) minimum_charge: Credits,
    pub(crate) maximum_charge: Option<Credits>,
    pub(crate) credit: &'a str,
    /// Multipliers and discounts, if there are any.
    pub(crate) adjustments: Option<Bytes<'a>>,
    groups: usize,
    offsets: &'a [u8],
    body: &'a [u8],
}

impl<'a> Table<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let rounding = match bytes.u8()? {
            0 => Rounding::Up,
            1 => Rounding::Down,
            2 => Rounding::HalfUp,
            _ => Rounding::HalfEven,
        };
        let flags = bytes.u8()?;
        let unrated = if flags & FREE == 0 { Unrated::Refuse } else { Unrated::Free };
        let minimum_charge = Credits::new(bytes.decimal()?);
        let credit = core::str::from_utf8(bytes.text()?).ok()?;
        let maximum_charge = if flags & MAXIMUM == 0 { None } else { Some(Credits::new(bytes.decimal()?)) };
        let adjustments = if flags & ADJUSTED == 0 { None } else { Some(Bytes(bytes.text()?)) };
        let groups = bytes.size()?;
        let offsets = bytes.take(groups.checked_mul(4)?)?;
        Some(Self {
            rounding,
            unrated,
            minimum_charge,
            maximum_charge,
            credit,
            adjustments,
            groups,
            offsets,
            body: bytes.0,
        })
    }

    /// The rate that wins for this quantity of the usage; the empty name is the usage itself.
    pub(crate) fn winner(&self, usage: &Usage, quantity: &str) -> Option<Won<'a>> {
        self.winner_of(&usage.feature, quantity, usage).or_else(|| self.winner_of("", quantity, usage))
    }

    fn winner_of(&self, feature: &str, quantity: &str, usage: &Usage) -> Option<Won<'a>> {
        let mut rates = self.group(feature.as_bytes(), quantity.as_bytes())?;
        for _ in 0..rates.size()? {
            let mut rate = Bytes(rates.text()?);
            if meets(&mut rate, usage)? {
                return won(rate, usage);
            }
        }
        None
    }

    /// The rates of a group, by binary search.
    fn group(&self, feature: &[u8], quantity: &[u8]) -> Option<Bytes<'a>> {
        let (mut low, mut high) = (0, self.groups);
        while low < high {
            let middle = (low + high) / 2;
            let offset = Bytes(self.offsets.get(middle * 4..)?).size()?;
            let mut group = Bytes(self.body.get(offset..)?);
            match (group.text()?, group.text()?).cmp(&(feature, quantity)) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
                core::cmp::Ordering::Equal => return Some(group),
            }
        }
        None
    }
}

fn won<'a>(mut rate: Bytes<'a>, usage: &Usage) -> Option<Won<'a>> {
    let label = core::str::from_utf8(rate.text()?).ok()?;
    let kind = rate.u8()?;
    let less = if kind & LESS == 0 { Quantity::ZERO } else { conditions::sum(&mut rate, usage)? };
    let model = match kind & !LESS {
        0 => Model::Flat(Price::new(rate.decimal()?)),
        1 => Model::PerUnit(Price::new(rate.decimal()?)),
        2 => Model::PerBlock { size: Quantity::new(rate.decimal()?), price: Price::new(rate.decimal()?) },
        3 => Model::Graduated(TierList::open(rate)?),
        _ => Model::Volume(TierList::open(rate)?),
    };
    Some(Won { label, less, model })
}

/// A feature, a quantity and a rate for them.
type Row<'a> = (&'a str, &'a str, &'a Rate);

fn order<'a>(row: &Row<'a>) -> (&'a str, &'a str, Rank) {
    (row.0, row.1, conditions::rank(&row.2.when, row.2.above.as_ref()))
}

/// What the rates come to.
pub(crate) struct Built {
    pub(crate) table: Vec<u8>,
    /// The totals that tiers need.
    pub(crate) counters: Vec<Counter>,
    /// The features that have a rate. With a rate for every feature, or where what has no rate is free, also the others.
    pub(crate) features: Vec<PricedFeature>,
}

/// Writes the table.
pub(crate) fn build(settings: &Settings, problems: &mut Vec<Problem>) -> Built {
    let mut counters = Vec::new();
    let mut rates: Vec<Row<'_>> = Vec::with_capacity(settings.rates.len());
    for rate in &settings.rates {
        let row = (rate.feature.as_deref().unwrap_or(""), rate.quantity.as_deref().unwrap_or(""), rate);
        // Behind its equals, so that rates that are as specific keep the order of the settings.
        let place = rates.partition_point(|other| order(other) <= order(&row));
        rates.insert(place, row);
    }
    let mut features = Vec::new();
    for of_feature in rates.chunk_by(|a, b| a.0 == b.0) {
        if let Some((feature, ..)) = of_feature.first().filter(|(feature, ..)| !feature.is_empty()) {
            features.push(PricedFeature::new(feature, &settings.credit));
        }
    }
    let others = rates.first().is_some_and(|(feature, ..)| feature.is_empty());
    if others || settings.unrated == Unrated::Free {
        features.push(PricedFeature::others(&settings.credit));
    }

    let (mut offsets, mut body) = (Vec::new(), Vec::new());
    for group in rates.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        put_size(&mut offsets, body.len());
        if let Some((feature, quantity, _)) = group.first() {
            put_text(&mut body, feature);
            put_text(&mut body, quantity);
        }
        put_size(&mut body, group.len());
        for (_, _, rate) in group {
            let bytes = rate_bytes(rate, &mut counters);
            put_size(&mut body, bytes.len());
            body.extend_from_slice(&bytes);
        }
    }
    let adjustments = adjust::write(settings, &mut counters);
    let lines = most_lines(&rates);
    if lines > MOST_LINES {
        let detail = format!(
            "one usage could need {lines} lines, and a rating may have {MOST_LINES}: use fewer tiers"
        );
        problems.push(Problem::new("/rates", &detail));
    }
    if counters.len() > MOST_COUNTERS {
        let detail =
            format!("these settings need {} totals, and a policy may keep {MOST_COUNTERS}", counters.len());
        problems.push(Problem::new("/rates", &detail));
    }

    let mut table = Vec::with_capacity(body.len() + offsets.len() + 64);
    table.push(match settings.rounding {
        Rounding::Up => 0,
        Rounding::Down => 1,
        Rounding::HalfUp => 2,
        Rounding::HalfEven => 3,
    });
    let adjusted = !settings.multipliers.is_empty() || !settings.discounts.is_empty();
    let flags = [
        (settings.unrated == Unrated::Free, FREE),
        (settings.maximum_charge.is_some(), MAXIMUM),
        (adjusted, ADJUSTED),
    ];
    table.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
    put_decimal(&mut table, settings.minimum_charge.decimal());
    put_text(&mut table, &settings.credit);
    if let Some(maximum) = settings.maximum_charge {
        put_decimal(&mut table, maximum.decimal());
    }
    if adjusted {
        put_size(&mut table, adjustments.len());
        table.extend_from_slice(&adjustments);
    }
    put_size(&mut table, offsets.len() / 4);
    table.extend_from_slice(&offsets);
    table.extend_from_slice(&body);
    Built { table, counters, features }
}

fn rate_bytes(rate: &Rate, counters: &mut Vec<Counter>) -> Vec<u8> {
    let mut bytes = Vec::new();
    conditions::write(&mut bytes, &rate.when, rate.above.as_ref());
    let label = label(rate);
    put_text(&mut bytes, &label);
    let mut numbers = |kind: u8, numbers: &[Decimal]| {
        if rate.less.is_empty() {
            bytes.push(kind);
        } else {
            bytes.push(kind | LESS);
            conditions::put_names(&mut bytes, &rate.less);
        }
        for number in numbers {
            put_decimal(&mut bytes, *number);
        }
    };
    match (&rate.price, &rate.included) {
        (PriceModel::Flat(price), _) => numbers(0, &[price.decimal()]),
        (PriceModel::PerUnit(price), None) => numbers(1, &[price.decimal()]),
        (PriceModel::PerUnit(price), Some(included)) => {
            numbers(3, &[]);
            let free = (included.units, Price::ZERO, format!("{label}, included"));
            TierList::write(&mut bytes, counter(rate, counters), &[free, (NO_END, *price, label)]);
        }
        (PriceModel::PerBlock(block), _) => numbers(2, &[block.size.decimal(), block.price.decimal()]),
        (PriceModel::Graduated(tiers), _) => {
            numbers(3, &[]);
            TierList::write(&mut bytes, counter(rate, counters), &tier_rows(tiers, &label));
        }
        (PriceModel::Volume(tiers), _) => {
            numbers(4, &[]);
            TierList::write(&mut bytes, counter(rate, counters), &tier_rows(tiers, &label));
        }
    }
    bytes
}

/// Neighbours with the same price are one tier.
fn tier_rows(tiers: &Tiers, label: &str) -> Vec<TierEntry> {
    let row = |(index, tier): (usize, &Tier)| {
        (tier.up_to.unwrap_or(NO_END), tier.per_unit, format!("{label}, tier {}", index + 1))
    };
    let mut rows: Vec<TierEntry> = tiers.tiers.iter().enumerate().map(row).collect();
    rows.dedup_by(|next, row| {
        let same = next.1 == row.1;
        if same {
            row.0 = next.0;
        }
        same
    });
    rows
}

/// The most lines that one usage may need: with every quantity that has a rate, in as many tiers as it may touch, and a
/// line for the minimum charge.
fn most_lines(rates: &[Row<'_>]) -> usize {
    let of_rate = |(_, _, rate): &Row<'_>| match (&rate.price, &rate.included) {
        (PriceModel::Graduated(tiers), _) => tier_rows(tiers, "").len(),
        (_, Some(_)) => 2,
        _ => 1,
    };
    // For each quantity of a feature, the longest rate. The rates for every feature come first, and are shared.
    let (mut shared, mut most) = (Vec::new(), 0);
    for of_feature in rates.chunk_by(|a, b| a.0 == b.0) {
        let mut lines: Vec<(&str, usize)> = shared.clone();
        for row in of_feature {
            match lines.iter_mut().find(|(quantity, _)| *quantity == row.1) {
                Some((_, longest)) => *longest = of_rate(row).max(*longest),
                None => lines.push((row.1, of_rate(row))),
            }
        }
        most = most.max(lines.iter().map(|(_, longest)| longest).sum::<usize>() + 1);
        if of_feature.first().is_some_and(|(feature, ..)| feature.is_empty()) {
            shared = lines;
        }
    }
    most
}

/// What a line says: `input tokens` for `input_tokens`.
pub(crate) fn label(rate: &Rate) -> String {
    let name = [&rate.label, &rate.quantity, &rate.feature].into_iter().find_map(Option::as_deref);
    let name = name.unwrap_or("request");
    let label = if rate.label.is_some() { name.into() } else { name.replace('_', " ") };
    match &rate.price {
        PriceModel::PerBlock(block) => format!("{label}, blocks of {}", block.size),
        _ => label,
    }
}

/// The place of the counter that a rate depends on.
fn counter(rate: &Rate, counters: &mut Vec<Counter>) -> Option<usize> {
    let window = rate.span().window()?;
    let quantity = rate.quantity.as_deref()?;
    let scope = rate.when.0.first().map_or(Scope::Customer, |(name, _)| Scope::Attribute(name));
    let feature = rate.feature.as_deref();
    let mut counter = Counter::quantity("", quantity, window).for_each(scope);
    if let Some(feature) = feature {
        counter = counter.feature(feature);
    }
    counter.name = format!("{}.{quantity}.{}.{}", feature.unwrap_or("all"), counter.scope, counter.window);
    Some(place(counter, counters))
}
