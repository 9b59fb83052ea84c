//! The search: random scenarios, first those of the cases and small changes of them, until two sides differ or the time is over; then
//! ever smaller ones that still differ.

use super::{
    facts::{self, Difference, Played},
    scenario::{Base, Scenario, Step, What},
    words::{LARGEST, ONE, Words},
};
use crate::{
    clock::Stopwatch,
    random::Random,
    verbs::policy::test::{Subject, format},
};
use std::collections::{BTreeMap, BTreeSet};

/// Scenarios that are read at once: settings are read once for all of them.
const BATCH: usize = 32;
/// Steps of a scenario, at most, besides a grant.
const STEPS: u64 = 4;
/// How often a range between two amounts is made narrower, for one quantity of one scenario.
const NARROWED: u32 = 16;
const DAY_S: u64 = 86_400;

/// The two policies.
pub struct Sides {
    pub old: Subject,
    pub new: Subject,
}

/// A search.
pub struct Search<'a> {
    sides: &'a Sides,
    bases: &'a [Base],
    words: &'a Words,
    random: Random,
    watch: Stopwatch,
    budget_us: u64,
    tried: u64,
}

impl<'a> Search<'a> {
    pub fn new(sides: &'a Sides, bases: &'a [Base], words: &'a Words, seed: u64, budget_us: u64) -> Self {
        Self { sides, bases, words, random: Random(seed), watch: Stopwatch::start(), budget_us, tried: 0 }
    }

    /// Scenarios that were played.
    pub fn tried(&self) -> u64 {
        self.tried
    }

    /// The smallest scenario that was found that both sides decide differently.
    pub fn run(
        &mut self,
        seeds: &[(usize, Scenario)],
    ) -> Result<Option<(&'a Base, Scenario, Difference)>, String> {
        let mut given: BTreeMap<usize, Vec<Scenario>> = BTreeMap::new();
        for (base, scenario) in seeds {
            given.entry(*base).or_default().push(scenario.clone());
        }
        for (base, scenarios) in given {
            if let Some(base) = self.bases.get(base)
                && let Some((scenario, _)) = self.first(base, scenarios)?
            {
                return self.smallest(base, scenario).map(Some);
            }
        }
        let mut nth = 0;
        while self.watch.micros() < self.budget_us {
            let index = nth % self.bases.len().max(1);
            nth += 1;
            let Some(base) = self.bases.get(index) else { break };
            let of_base: Vec<&Scenario> =
                seeds.iter().filter(|(of, _)| *of == index).map(|(_, seed)| seed).collect();
            let batch: Vec<Scenario> = (0..BATCH).map(|_| self.random_scenario(&of_base)).collect();
            let begin = self.random.pick(&batch).cloned();
            if let Some((scenario, _)) = self.first(base, batch)? {
                return self.smallest(base, scenario).map(Some);
            }
            // One such look plays up to three times as many scenarios as a batch has.
            if let Some(begin) = begin.filter(|_| self.random.one_in(4))
                && let Some(scenario) = self.at_bounds(base, &begin)?
            {
                return self.smallest(base, scenario).map(Some);
            }
        }
        Ok(None)
    }

    /// Varies one quantity of a scenario, from nothing to the most, and looks for the amounts at which the old policy takes another
    /// course: those are bounds of its terms, and a bound that has moved shows right there, however much else adds up to it.
    fn at_bounds(&mut self, base: &Base, scenario: &Scenario) -> Result<Option<Scenario>, String> {
        let quantities: Vec<(usize, String)> = scenario
            .steps
            .iter()
            .enumerate()
            .filter_map(|(nth, step)| match &step.what {
                What::Charge { quantities, .. } => {
                    Some(quantities.keys().map(move |name| (nth, name.clone())))
                }
                _ => None,
            })
            .flatten()
            .collect();
        let Some((step, name)) = self.random.pick(&quantities).cloned() else { return Ok(None) };
        let with = |amount: i128| {
            let mut other = scenario.clone();
            if let Some(What::Charge { quantities, .. }) =
                other.steps.get_mut(step).map(|step| &mut step.what)
            {
                quantities.insert(name.clone(), amount);
            }
            other
        };
        let tens = (0..12).map(|zeros| ONE * 10_i128.pow(zeros));
        let mut open = vec![[0].into_iter().chain(tens).collect::<Vec<i128>>()];
        let mut narrowed = 0;
        while let Some(amounts) = open.pop() {
            let scenarios = amounts.iter().map(|amount| with(*amount)).collect();
            let mut courses = Vec::new();
            for (scenario, played) in self.play(base, scenarios)? {
                if played.as_ref().is_some_and(|played| played.difference.is_some()) {
                    return Ok(Some(scenario));
                }
                courses.push(played.map(|played| played.course));
            }
            for (at, course) in amounts.windows(2).zip(courses.windows(2)) {
                let ([low, high], [below, above]) = (at, course) else { continue };
                // Few bounds matter at once, and the time is better spent on other scenarios.
                if below != above && high - low > ONE && narrowed < NARROWED {
                    narrowed += 1;
                    let quarter = ((high - low) / 4 / ONE * ONE).max(ONE);
                    let inner = (1..4).map(|nth| low + nth * quarter).filter(|amount| amount < high);
                    open.push([*low].into_iter().chain(inner).chain([*high]).collect());
                }
            }
        }
        Ok(None)
    }

    /// The first of some scenarios that differs.
    fn first(
        &mut self,
        base: &Base,
        scenarios: Vec<Scenario>,
    ) -> Result<Option<(Scenario, Difference)>, String> {
        let played = self.play(base, scenarios)?;
        Ok(played.into_iter().find_map(|(scenario, played)| Some((scenario, played?.difference?))))
    }

    /// Plays scenarios on both sides, up to the first that differs.
    fn play(
        &mut self,
        base: &Base,
        scenarios: Vec<Scenario>,
    ) -> Result<Vec<(Scenario, Option<Played>)>, String> {
        let cases: String = scenarios.iter().map(|scenario| scenario.case("x", &[])).collect();
        let read = |settings| {
            let text = base.head(settings) + &cases;
            format::parse(&text)
                .map_err(|error| format!("a defect of proviso: a scenario can't be read: {error}\n{text}"))
        };
        let (old, new) = (read(&base.old_settings)?, read(&base.new_settings)?);
        let mut seen = Vec::new();
        for ((scenario, old_case), new_case) in scenarios.into_iter().zip(&old.cases).zip(&new.cases) {
            self.tried += 1;
            let sides = ((&self.sides.old, &old, old_case), (&self.sides.new, &new, new_case));
            let played = facts::play_both(sides.0, sides.1)?;
            let differs = played.as_ref().is_some_and(|played| played.difference.is_some());
            seen.push((scenario, played));
            if differs {
                break;
            }
        }
        Ok(seen)
    }

    /// Makes a scenario that differs smaller, as long as something smaller differs, too.
    fn smallest(
        &mut self,
        base: &'a Base,
        scenario: Scenario,
    ) -> Result<(&'a Base, Scenario, Difference), String> {
        let Some((mut best, mut difference)) = self.first(base, vec![scenario])? else {
            return Err("a defect of proviso: a scenario that differed no longer does".to_owned());
        };
        let deadline_us = self.watch.micros() + self.budget_us / 3;
        loop {
            best.steps.truncate(difference.step + 1);
            let mut smaller = None;
            for candidate in smaller_ones(&best) {
                if self.watch.micros() > deadline_us {
                    break;
                }
                smaller = self.first(base, vec![candidate])?;
                if smaller.is_some() {
                    break;
                }
            }
            match smaller {
                Some(smaller) => (best, difference) = smaller,
                None => return Ok((base, best, difference)),
            }
        }
    }

    fn random_scenario(&mut self, seeds: &[&Scenario]) -> Scenario {
        if self.random.one_in(2)
            && let Some(seed) = self.random.pick(seeds)
        {
            return self.changed(seed);
        }
        let mut steps = Vec::new();
        // Most terms show their prices only to customers with credits.
        if self.random.one_in(2) {
            let amount = if self.random.one_in(2) { 1_000_000_000 * ONE } else { self.amount() };
            steps.push(Step { wait_s: 0, what: What::Grant { amount, category: "prepaid".to_owned() } });
        }
        for _ in 0..=self.random.below(STEPS - 1) {
            let (wait_s, mut what) = (self.wait(), self.what());
            // Totals matter only to those who use the same again.
            if let Some(Step { what: before @ What::Charge { .. }, .. }) = steps.last()
                && self.random.one_in(2)
            {
                what = before.clone();
                let amount = self.amount();
                if let What::Charge { quantities, .. } = &mut what
                    && self.random.one_in(2)
                {
                    quantities.values_mut().for_each(|value| *value = amount);
                }
            }
            steps.push(Step { wait_s, what });
        }
        Scenario { steps }
    }

    /// A scenario of a case, with something else in it.
    fn changed(&mut self, seed: &Scenario) -> Scenario {
        let mut scenario = seed.clone();
        for _ in 0..=self.random.below(3) {
            let at = self.random.below(u64::try_from(scenario.steps.len()).unwrap_or(0) + 1);
            let at = usize::try_from(at).unwrap_or(0);
            let other = Step { wait_s: self.wait(), what: self.what() };
            let amount = self.amount();
            let Some(step) = scenario.steps.get_mut(at) else {
                scenario.steps.push(other);
                continue;
            };
            match &mut step.what {
                What::Charge { quantities, .. } if !self.random.one_in(3) => {
                    for value in quantities.values_mut() {
                        *value = amount;
                    }
                }
                _ => *step = other,
            }
        }
        scenario
    }

    fn what(&mut self) -> What {
        match self.random.below(8) {
            0 => What::Wait,
            1 => What::Grant { amount: self.amount(), category: "prepaid".to_owned() },
            _ => {
                let words = self.words;
                // Half of the time what settings that differ are about.
                let near = Some(&words.near).filter(|_| self.random.one_in(2));
                let features = near.map(|near| &near.features).filter(|features| !features.is_empty());
                let feature =
                    self.random.pick(features.unwrap_or(&words.features)).cloned().unwrap_or_default();
                // Most often those that the feature is priced by, else any.
                let own = words.priced.get(&feature).filter(|_| !self.random.one_in(4));
                let near_names = near.map(|near| &near.quantities).filter(|names| !names.is_empty());
                let names = near_names.or(own).unwrap_or(&words.quantities);
                let mut quantities = BTreeMap::new();
                for name in names {
                    if names.len() == 1 || self.random.one_in(2) {
                        let amount = self.amount();
                        quantities.insert(name.clone(), amount);
                    }
                }
                let mut attributes = BTreeMap::new();
                let known = near.map(|near| &near.attributes).filter(|attributes| !attributes.is_empty());
                for (name, values) in known.unwrap_or(&words.attributes) {
                    if self.random.one_in(2) {
                        let value = self.random.pick(values).cloned().unwrap_or_else(|| "x".to_owned());
                        attributes.insert(name.clone(), value);
                    }
                }
                let entity = self.random.one_in(3).then(|| "ann".to_owned());
                What::Charge { feature, quantities, attributes, entity }
            }
        }
    }

    /// An amount that is named, one beside it, what one divided by another gives, or any.
    fn amount(&mut self) -> i128 {
        let words = self.words;
        let pool = if self.random.one_in(4) && !words.constants.is_empty() {
            &words.constants
        } else if self.random.one_in(2) && !words.near.amounts.is_empty() {
            &words.near.amounts
        } else {
            &words.amounts
        };
        let named = self.random.pick(pool).copied().unwrap_or(ONE);
        let amount = match self.random.below(8) {
            0 | 1 => named,
            2 => named + if self.random.one_in(2) { ONE } else { -ONE },
            3 => named + if self.random.one_in(2) { 1 } else { ONE / 2 },
            4 | 5 => {
                // So many units that their cost reaches an amount, if the other is a price.
                let price = self.random.pick(&words.amounts).copied().unwrap_or(ONE).max(1);
                let number = (named / price).saturating_mul(ONE);
                number + i128::from(self.random.below(3)) * ONE - ONE
            }
            6 => named.saturating_mul(2),
            _ => {
                let digit = i128::from(1 + self.random.below(9));
                let zeros = u32::try_from(self.random.below(11)).unwrap_or(0);
                digit * (ONE / 1000) * 10_i128.pow(zeros)
            }
        };
        amount.clamp(0, LARGEST)
    }

    /// None most often; to a time of day that is named or just beside it; days; into the next period.
    fn wait(&mut self) -> u64 {
        match self.random.below(10) {
            0..=3 => 0,
            4 | 5 => {
                let near = &self.words.near.times_of_day;
                let times =
                    if near.is_empty() || self.random.one_in(2) { &self.words.times_of_day } else { near };
                let minute = self.random.pick(times).copied().unwrap_or(720);
                // Scenarios begin at midnight unless a case says otherwise; a minute less or more is tried as well.
                (u64::from(minute) * 60 + self.random.below(3) * 60).saturating_sub(60)
            }
            6 => self.random.below(24) * 3600,
            7 | 8 => (1 + self.random.below(30)) * DAY_S,
            _ => (1 + self.random.below(4)) * 31 * DAY_S,
        }
    }
}

/// Scenarios that are smaller in one way, the boldest first. Each is smaller than the one given, so this comes to an end.
fn smaller_ones(scenario: &Scenario) -> Vec<Scenario> {
    let mut smaller = Vec::new();
    for (nth, step) in scenario.steps.iter().enumerate() {
        let mut without = scenario.clone();
        let removed = without.steps.remove(nth);
        if let Some(next) = without.steps.get_mut(nth) {
            let mut at_once = scenario.clone();
            at_once.steps.remove(nth);
            smaller.push(at_once);
            next.wait_s += removed.wait_s;
        }
        if !without.steps.is_empty() {
            smaller.push(without);
        }
        let mut with = |what: What, wait_s: u64| {
            let mut other = scenario.clone();
            if let Some(step) = other.steps.get_mut(nth) {
                *step = Step { wait_s, what };
            }
            smaller.push(other);
        };
        for wait_s in shorter(step.wait_s) {
            with(step.what.clone(), wait_s);
        }
        if step.what != What::Wait {
            with(What::Wait, step.wait_s);
        }
        match &step.what {
            What::Wait => {}
            What::Grant { amount, category } => {
                for amount in less(*amount) {
                    with(What::Grant { amount, category: category.clone() }, step.wait_s);
                }
            }
            What::Charge { feature, quantities, attributes, entity } => {
                let charge = |quantities: &BTreeMap<String, i128>,
                              attributes: &BTreeMap<String, String>,
                              entity: &Option<String>| {
                    What::Charge {
                        feature: feature.clone(),
                        quantities: quantities.clone(),
                        attributes: attributes.clone(),
                        entity: entity.clone(),
                    }
                };
                if entity.is_some() {
                    with(charge(quantities, attributes, &None), step.wait_s);
                }
                for name in attributes.keys() {
                    let mut fewer = attributes.clone();
                    fewer.remove(name);
                    with(charge(quantities, &fewer, entity), step.wait_s);
                }
                for (name, amount) in quantities {
                    let mut other = quantities.clone();
                    other.remove(name);
                    with(charge(&other, attributes, entity), step.wait_s);
                    for amount in less(*amount) {
                        let mut other = quantities.clone();
                        other.insert(name.clone(), amount);
                        with(charge(&other, attributes, entity), step.wait_s);
                    }
                }
            }
        }
    }
    smaller
}

/// Shorter waits: none, then with fewer of their smallest parts.
fn shorter(wait_s: u64) -> Vec<u64> {
    let rounded = [DAY_S, 3600, 60].map(|unit| wait_s / unit * unit);
    let fewer = [DAY_S, 3600, 60].map(|unit| wait_s.saturating_sub(unit));
    let mut shorter: Vec<u64> =
        [0, wait_s / 2].into_iter().chain(rounded).chain(fewer).filter(|other| *other < wait_s).collect();
    shorter.dedup();
    shorter
}

/// Simpler amounts: smaller whole ones; in place of one with decimal places, also the next whole one and those with fewer places.
fn less(amount: i128) -> Vec<i128> {
    let whole = amount / ONE * ONE;
    let mut less = vec![0, ONE, whole, amount / 2 / ONE * ONE];
    let mut step = LARGEST;
    if whole == amount {
        while step >= ONE {
            less.push(amount - step);
            step /= 10;
        }
    } else {
        less.push(whole + ONE);
        step = ONE / 10;
        while step >= 1 {
            less.push(amount / step * step);
            less.push(amount - step);
            step /= 10;
        }
    }
    let mut seen = BTreeSet::new();
    less.retain(|other| is_simpler(*other, amount) && seen.insert(*other));
    less
}

/// Fewer decimal places, or as many and less.
fn is_simpler(other: i128, amount: i128) -> bool {
    other >= 0 && (places(other), other) < (places(amount), amount)
}

fn places(amount: i128) -> u32 {
    (0..12).find(|places| amount % (ONE / 10_i128.pow(*places)) == 0).unwrap_or(12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_smaller_ends_somewhere() {
        for amount in [1, ONE - 1, ONE, ONE + 1, 12_345 * ONE / 10, LARGEST] {
            assert!(less(amount).iter().all(|other| is_simpler(*other, amount)), "{amount}");
            assert!(less(amount).contains(&0));
        }
        assert_eq!((less(0), less(ONE)), (vec![], vec![0]));
        assert!(less(ONE / 4).contains(&ONE), "a whole one is simpler than a quarter");
        assert!(!less(5 * ONE).contains(&(ONE / 2)));
        assert!(shorter(0).is_empty());
        assert!(shorter(90_061).contains(&86_400));
    }
}
