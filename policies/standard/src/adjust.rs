//! Multipliers and discounts: what becomes of all prices of a usage. Written behind the rates' head, and read only where there
//! are any.

use crate::{
    bytes::{Bytes, put_decimal, put_size, put_text},
    conditions,
    settings::{Discount, Multiplier, Settings},
};
use alloc::{format, string::String, vec::Vec};
use proviso_sdk::{
    Context, Counter, Credits, Decimal, Line, OutOfRange, Percent, Price, Rounding, TimeOfDay, Usage,
};

const HOURS: u8 = 1;
const SPEND: u8 = 2;

/// What is done to the prices of one usage.
#[derive(Debug, Default)]
pub(crate) struct Adjustment {
    /// What its lines say of it, with a comma before it.
    label: String,
    times: Option<Decimal>,
    paid: Option<Percent>,
}

impl Adjustment {
    /// A line by it. The cost is rounded by each step, and not the price of a unit, which would be rounded for each of them.
    #[inline(never)]
    pub(crate) fn line(&self, mut line: Line, rounding: Rounding) -> Result<Line, OutOfRange> {
        line.label.push_str(&self.label);
        line.cost = self.credits(line.cost, rounding)?.accepted()?;
        let price = self.credits(Credits::new(line.unit_cost.decimal()), rounding)?;
        line.unit_cost = Price::of_one(price.accepted()?);
        Ok(line)
    }

    fn credits(&self, credits: Credits, rounding: Rounding) -> Result<Credits, OutOfRange> {
        let credits = match self.times {
            Some(times) => credits.mul_div(times, Decimal::ONE, rounding)?,
            None => credits,
        };
        self.paid.map_or(Ok(credits), |paid| credits.percent(paid, rounding))
    }
}

/// Writes what the settings say, and declares the totals that it needs.
pub(crate) fn write(settings: &Settings, counters: &mut Vec<Counter>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let multipliers =
        sorted(&settings.multipliers, |one| (one.feature.is_none(), conditions::rank(&one.when, None)));
    put_size(&mut bytes, multipliers.len());
    for multiplier in multipliers {
        put_block(&mut bytes, |bytes| {
            put_text(bytes, multiplier.feature.as_deref().unwrap_or(""));
            conditions::write(bytes, &multiplier.when, None);
            put_decimal(bytes, multiplier.times.decimal());
            put_text(bytes, &multiplier.label());
        });
    }
    let discounts = sorted(&settings.discounts, |one| core::cmp::Reverse(one.percent));
    put_size(&mut bytes, discounts.len());
    for discount in discounts {
        put_block(&mut bytes, |bytes| {
            put_text(bytes, discount.feature.as_deref().unwrap_or(""));
            conditions::write(bytes, &discount.when, None);
            let flag = |has: bool, flag: u8| if has { flag } else { 0 };
            bytes.push(flag(discount.hours.is_some(), HOURS) | flag(discount.spend.is_some(), SPEND));
            if let Some(hours) = &discount.hours {
                put_size(bytes, hours.from.minutes().into());
                put_size(bytes, hours.to.minutes().into());
            }
            if let Some(spend) = &discount.spend {
                put_size(bytes, discount.counter(counters).unwrap_or(usize::MAX));
                put_decimal(bytes, spend.from.decimal());
            }
            put_decimal(bytes, Percent::ALL.saturating_sub(discount.percent).decimal());
            put_text(bytes, &discount.label());
        });
    }
    bytes
}

/// Equals stay in the order of the settings. By insertion: a module with the library's sort is larger.
fn sorted<T, K: Ord>(list: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut sorted: Vec<&T> = Vec::with_capacity(list.len());
    for item in list {
        let place = sorted.partition_point(|other| key(other) <= key(item));
        sorted.insert(place, item);
    }
    sorted
}

/// With its length before it, so that what does not match is stepped over.
fn put_block(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut block = Vec::new();
    write(&mut block);
    put_size(bytes, block.len());
    bytes.extend_from_slice(&block);
}

impl Multiplier {
    pub(crate) fn label(&self) -> String {
        self.label.clone().unwrap_or_else(|| format!("x {}", self.times))
    }
}

impl Discount {
    pub(crate) fn label(&self) -> String {
        self.label.clone().unwrap_or_else(|| format!("{}% off", self.percent))
    }

    /// The place of the total of what was spent.
    fn counter(&self, counters: &mut Vec<Counter>) -> Option<usize> {
        let window = self.spend.as_ref()?.per.window()?;
        let mut counter = Counter::cost("", window);
        if let Some(feature) = &self.feature {
            counter = counter.feature(feature);
        }
        counter.name = format!("{}.cost.{}", self.feature.as_deref().unwrap_or("all"), counter.window);
        Some(crate::counters::place(counter, counters))
    }
}

/// What is done to the prices of this usage; none when nothing is.
#[inline(never)]
pub(crate) fn find(mut bytes: Bytes<'_>, usage: &Usage, context: &Context) -> Option<Adjustment> {
    let (mut found, mut any) = (Adjustment::default(), false);
    let mut multiplied = false;
    for _ in 0..bytes.size()? {
        let mut block = Bytes(bytes.text()?);
        if !multiplied && of_feature(&mut block, usage)? && conditions::meets(&mut block, usage)? {
            (multiplied, any) = (true, true);
            found.times = Some(block.decimal()?);
            found.say(block)?;
        }
    }
    for _ in 0..bytes.size()? {
        let mut block = Bytes(bytes.text()?);
        let matches = of_feature(&mut block, usage)? && conditions::meets(&mut block, usage)?;
        if matches && is_now(&mut block, usage, context)? {
            any = true;
            found.paid = Some(Percent::new(block.decimal()?));
            found.say(block)?;
            break;
        }
    }
    any.then_some(found)
}

impl Adjustment {
    fn say(&mut self, mut label: Bytes<'_>) -> Option<()> {
        self.label.push_str(", ");
        self.label.push_str(core::str::from_utf8(label.text()?).ok()?);
        Some(())
    }
}

fn of_feature(block: &mut Bytes<'_>, usage: &Usage) -> Option<bool> {
    let feature = block.text()?;
    Some(feature.is_empty() || feature == usage.feature.as_bytes())
}

/// Whether its hours and its spend hold.
fn is_now(block: &mut Bytes<'_>, usage: &Usage, context: &Context) -> Option<bool> {
    let flags = block.u8()?;
    let mut holds = true;
    if flags & HOURS != 0 {
        let mut time = || TimeOfDay::from_minutes(u16::try_from(block.size()?).ok()?);
        let (from, to) = (time()?, time()?);
        holds = usage.occurred_at.is_between(from, to);
    }
    if flags & SPEND != 0 {
        let (counter, from) = (block.size()?, Credits::new(block.decimal()?));
        // What others hold may yet be given back: counted in, a reservation could hold less than its commit costs.
        holds = holds && context.cost_counter(counter).used() >= from;
    }
    Some(holds)
}
