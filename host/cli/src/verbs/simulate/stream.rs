//! The usage of one customer, in order, as its segment and the seed say. What is drawn does not depend on what policies answer, so that two
//! policies are tried on the same usage; and each customer has numbers of its own, so that it does not matter which thread asks.

use super::{
    rows::{Row, Rows},
    workload::{Burst, Hours, Segment, Use},
};
use crate::random::Random;
use proviso_decide::command::UsageRequest;
use proviso_ledger::model::{
    amounts::{Decimal, Percent, Quantity},
    ids::Key,
    period::{Interval, IntervalUnit},
    time::{Timestamp, Zone},
};
use std::sync::Arc;

/// Parts of which shares and factors are counted.
const PARTS: i128 = 1_000_000;
/// The most usages of a customer on one day.
pub const MOST_A_DAY: i128 = 10_000_000;
/// The largest factor that growth comes to.
const MOST_GROWTH: i128 = 1_000_000;
const HOUR: i64 = 3_600 * Timestamp::SECOND;

/// A segment with what its files hold.
pub struct Source {
    pub segment: Segment,
    /// What usages may be, each with its rows.
    pub uses: Vec<(Use, Option<Arc<Rows>>)>,
    /// Usage out of a file, and the places of each customer's rows in it.
    pub trace: Option<(Arc<Rows>, Vec<Vec<usize>>)>,
    /// How many customers there are in all.
    pub customers: u32,
}

/// When the simulation begins and ends.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    pub start: Timestamp,
    pub end: Timestamp,
    pub seed: u64,
}

/// One customer of a segment.
pub struct Customer<'a> {
    source: &'a Source,
    time: Time,
    number: u32,
    random: Random,
    zone: Zone,
    /// When it comes.
    pub joined: Timestamp,
    /// Its usages on a working day, in 10^-12.
    rate: i128,
}

impl<'a> Customer<'a> {
    /// The customer of that number, from 0.
    pub fn new(source: &'a Source, number: u32, time: Time) -> Self {
        let segment = &source.segment;
        // FNV-1a, so that another segment has other customers.
        let named = segment.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The numbers after near seeds overlap; those after numbers that were drawn do not.
        let own = Random(time.seed ^ named ^ (u64::from(number) << 32)).below(u64::MAX);
        let mut random = Random(own);
        let joined = joined(segment, number, time, &mut random);
        let rate = segment.usages_per_day.as_ref().map_or(0, |spread| spread.draw(&mut random).units());
        let rate = rate.min(MOST_A_DAY * Decimal::ONE.units());
        let zone = segment.time_zone.clone().unwrap_or_else(Zone::utc);
        Self { source, time, number, random, zone, joined, rate }
    }

    /// Hands out its usages, earliest first.
    pub fn each<E>(mut self, take: impl FnMut(Timestamp, UsageRequest) -> Result<(), E>) -> Result<(), E> {
        match &self.source.trace {
            Some((rows, places)) => {
                let mine = usize::try_from(self.number).ok().and_then(|number| places.get(number));
                self.replay(rows, mine.map_or(&[], Vec::as_slice), take)
            }
            None => self.draw(take),
        }
    }

    fn replay<E>(
        &mut self,
        rows: &Rows,
        places: &[usize],
        mut take: impl FnMut(Timestamp, UsageRequest) -> Result<(), E>,
    ) -> Result<(), E> {
        let repeats = self.source.segment.trace.as_ref().is_some_and(|trace| trace.repeat);
        let days = rows.days() * 24 * HOUR;
        let mut begins = self.time.start;
        while begins < self.time.end && !places.is_empty() {
            for row in places.iter().filter_map(|place| rows.rows.get(*place)) {
                let at = begins.plus_micros(row.after);
                if at >= self.time.end {
                    return Ok(());
                }
                let usage = self.usage(Some(row));
                take(at, usage)?;
            }
            if !repeats {
                break;
            }
            begins = begins.plus_micros(days);
        }
        Ok(())
    }

    fn draw<E>(&mut self, mut take: impl FnMut(Timestamp, UsageRequest) -> Result<(), E>) -> Result<(), E> {
        let segment = &self.source.segment;
        let growth = Growth::new(segment.growth_percent);
        let first_month = self.zone.month(self.time.start);
        let (first, last) = (self.zone.day(self.joined), self.zone.day(self.time.end.plus_micros(-1)));
        let mut times: Vec<Timestamp> = Vec::new();
        for day in first..=last {
            let begins = self.zone.start_of_day(day);
            let month = self.zone.month(begins).saturating_sub(first_month);
            let is_weekend = matches!(day.rem_euclid(7), 2 | 3);
            let weekend = if is_weekend { parts(segment.weekend_percent) } else { PARTS };
            let spread = parts(segment.variation_percent);
            let varied =
                PARTS - spread + i128::from(self.random.below(u64::try_from(2 * spread + 1).unwrap_or(1)));
            let usual =
                self.rate.saturating_mul(growth.after(month)) / PARTS * weekend / PARTS * varied / PARTS;
            times.clear();
            let hours = segment.hours.unwrap_or(Hours { from: 0, to: 24 });
            let count = self.whole(usual);
            self.at_times(
                begins.plus_micros(i64::from(hours.from) * HOUR),
                hours.to - hours.from,
                count,
                &mut times,
            );
            if let Some(burst) = &segment.burst {
                self.burst(burst, begins, hours, usual, &mut times);
            }
            times.sort_unstable();
            for at in &times {
                let usage = self.usage(None);
                if *at >= self.joined && *at < self.time.end {
                    take(*at, usage)?;
                }
            }
        }
        Ok(())
    }

    fn burst(
        &mut self,
        burst: &Burst,
        begins: Timestamp,
        hours: Hours,
        usual: i128,
        times: &mut Vec<Timestamp>,
    ) {
        let comes = i128::from(self.random.below(1_000_000)) < parts(burst.chance_percent);
        let (factor, moved) = (burst.times.draw(&mut self.random), self.random.below(1 << 32));
        if !comes {
            return;
        }
        let factor =
            factor.units().clamp(0, 1_000_000 * Decimal::ONE.units()) / (Decimal::ONE.units() / PARTS);
        let count = self.whole(usual.min(MOST_A_DAY * Decimal::ONE.units()).saturating_mul(factor) / PARTS);
        let later = u64::from(hours.to - hours.from).saturating_sub(u64::from(burst.hours)) + 1;
        let from = i64::from(hours.from) + i64::try_from(moved % later).unwrap_or(0);
        self.at_times(begins.plus_micros(from * HOUR), burst.hours, count, times);
    }

    /// A whole number of usages for an expected one in 10^-12: what is left over comes as often as it says.
    fn whole(&mut self, expected: i128) -> i128 {
        let one = Decimal::ONE.units();
        let expected = expected.clamp(0, MOST_A_DAY * one);
        let more = i128::from(self.random.below(1_000_000)) < expected % one / (one / PARTS);
        expected / one + i128::from(more)
    }

    fn at_times(&mut self, from: Timestamp, hours: u8, count: i128, times: &mut Vec<Timestamp>) {
        let length = u64::try_from(i64::from(hours) * HOUR).unwrap_or(1);
        for _ in 0..count {
            times.push(from.plus_micros(i64::try_from(self.random.below(length)).unwrap_or(0)));
        }
    }

    /// A usage, perhaps with what a row says of it.
    fn usage(&mut self, row: Option<&Row>) -> UsageRequest {
        let source = self.source;
        let shares: u64 = source.uses.iter().map(|(one, _)| u64::from(one.share)).sum();
        let mut nth = self.random.below(shares);
        let chosen = source.uses.iter().find(|(one, _)| {
            let is_it = nth < u64::from(one.share);
            nth = nth.saturating_sub(u64::from(one.share));
            is_it
        });
        let (mut quantities, mut attributes) = (Vec::new(), Vec::new());
        let (mut feature, mut entity) = (None, None);
        if let Some((one, rows)) = chosen {
            feature = Some(one.feature.clone());
            for (name, spread) in &one.quantities {
                quantities.push((name.clone(), Quantity::new(spread.draw(&mut self.random))));
            }
            attributes.extend(one.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
            let drawn = rows.as_ref().and_then(|rows| self.random.pick(&rows.rows));
            if let Some(row) = drawn {
                lay_over(&mut quantities, &row.quantities);
                lay_over(&mut attributes, &row.attributes);
            }
        }
        let users = u64::from(source.segment.users);
        if users > 0 {
            let user = self.random.below(users) + 1;
            entity = format!("user-{user}").parse().ok();
        }
        if let Some(row) = row {
            lay_over(&mut quantities, &row.quantities);
            lay_over(&mut attributes, &row.attributes);
            feature = row.feature.clone().or(feature);
            entity = row.entity.clone().or(entity);
        }
        // A trace without features has a usage to say which; that is checked when the files are read.
        let feature = feature.unwrap_or_else(fallback_feature);
        UsageRequest { feature, quantities, attributes, entity, occurred_at: None }
    }
}

fn fallback_feature() -> Key {
    proviso_ledger::model::grant::default_credit()
}

/// Puts values in the place of those of the same name, and others beside them, sorted by name.
fn lay_over<T: Clone>(below: &mut Vec<(String, T)>, above: &[(String, T)]) {
    for (name, value) in above {
        match below.binary_search_by(|(known, _)| known.cmp(name)) {
            Ok(place) => {
                if let Some(known) = below.get_mut(place) {
                    known.1 = value.clone();
                }
            }
            Err(place) => below.insert(place, (name.clone(), value.clone())),
        }
    }
}

/// When a customer comes: those that are there at the beginning then, the others at any time in their month.
fn joined(segment: &Segment, number: u32, time: Time, random: &mut Random) -> Timestamp {
    let Some(new) = number.checked_sub(segment.customers) else { return time.start };
    let nth = u16::try_from(new / segment.new_per_month.max(1)).unwrap_or(u16::MAX);
    let begins = months_after(time.start, nth).unwrap_or(time.end);
    let ends = months_after(begins, 1).unwrap_or(time.end);
    let within = u64::try_from(ends.0 - begins.0).unwrap_or(1);
    begins.plus_micros(i64::try_from(random.below(within)).unwrap_or(0))
}

/// So many months later, in UTC.
pub fn months_after(at: Timestamp, months: u16) -> Option<Timestamp> {
    if months == 0 {
        return Some(at);
    }
    Interval::new(IntervalUnit::Month, months).ok()?.after(at, &Zone::utc())
}

/// Of [`PARTS`].
fn parts(percent: Percent) -> i128 {
    percent.units() / (Percent::ALL.units() / PARTS)
}

/// What usage has grown to by each month.
struct Growth(Vec<i128>);

impl Growth {
    fn new(percent: Percent) -> Self {
        let (mut factor, mut all) = (PARTS, Vec::new());
        for _ in 0..=usize::from(super::workload::MOST_MONTHS) {
            all.push(factor);
            factor = (factor * (PARTS + parts(percent)) / PARTS).min(MOST_GROWTH * PARTS);
        }
        Self(all)
    }

    fn after(&self, months: i64) -> i128 {
        let month = usize::try_from(months).unwrap_or(0);
        self.0.get(month).or(self.0.last()).copied().unwrap_or(PARTS)
    }
}
