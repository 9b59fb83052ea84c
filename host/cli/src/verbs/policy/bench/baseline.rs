//! Figures of a run, as a file that is kept beside a policy and compared with later.

use super::Made;
use crate::error::Error;
use proviso_ledger::model::ids::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// The fuel of a run. It depends on the module, on its cases and on the version of the runtime, and on nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The module's SHA-256.
    pub policy: Digest,
    /// By kind of call.
    pub calls: BTreeMap<String, Figures>,
    /// By file and case: the fuel of all its calls.
    pub cases: BTreeMap<String, u64>,
}

/// The fuel of some calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// How many there were.
    pub calls: u64,
    /// Half of them took no more.
    pub p50: u64,
    /// 99 % of them took no more.
    pub p99: u64,
    /// None took more.
    pub max: u64,
}

/// Fuel that has grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// A kind of call, or a case.
    pub what: String,
    /// As the baseline has it.
    pub before: u64,
    /// As it is.
    pub now: u64,
}

impl Baseline {
    /// Of calls, and of how many had been made when each case began.
    pub fn new(policy: Digest, made: &[Made], begun: &[(String, usize)]) -> Self {
        let mut by_call: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for Made { call, fuel, .. } in made {
            by_call.entry((*call).to_owned()).or_default().push(*fuel);
        }
        let figures = |mut fuel: Vec<u64>| Figures {
            calls: u64::try_from(fuel.len()).unwrap_or(u64::MAX),
            p50: quantile(&mut fuel, 50),
            p99: quantile(&mut fuel, 99),
            max: quantile(&mut fuel, 100),
        };
        let ends = begun.iter().skip(1).map(|(_, from)| *from).chain([made.len()]);
        let mut cases = BTreeMap::new();
        for ((name, from), to) in begun.iter().zip(ends) {
            let fuel: u64 = made.get(*from..to).unwrap_or_default().iter().map(|made| made.fuel).sum();
            // Two cases of one name count together.
            *cases.entry(name.clone()).or_default() += fuel;
        }
        Self { policy, calls: by_call.into_iter().map(|(call, fuel)| (call, figures(fuel))).collect(), cases }
    }

    /// Reads one that was kept.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        serde_json::from_str(&text).map_err(Error::content(path))
    }

    /// As it is kept; with what has grown, if it was compared.
    pub fn json(&self, growth: Option<&[Growth]>) -> Result<Value, Error> {
        let mut value = serde_json::to_value(self).map_err(Error::content("the figures"))?;
        if let (Some(growth), Some(object)) = (growth, value.as_object_mut()) {
            object.insert("grown".to_owned(), json!(growth));
        }
        Ok(value)
    }

    /// What takes more fuel than in `kept`, by more than so many percent. What only one of both has is not compared.
    pub fn growth(&self, kept: &Self, tolerance_percent: u64) -> Vec<Growth> {
        let figures = self.calls.iter().filter_map(|(call, now)| {
            let before = kept.calls.get(call)?;
            Some(
                [("p50", before.p50, now.p50), ("p99", before.p99, now.p99), ("max", before.max, now.max)]
                    .map(|(figure, before, now)| Growth { what: format!("{call} ({figure})"), before, now }),
            )
        });
        let cases = self.cases.iter().filter_map(|(case, now)| {
            Some(Growth { what: format!("case {case:?}"), before: *kept.cases.get(case)?, now: *now })
        });
        figures.flatten().chain(cases).filter(|growth| growth.is_more_than(tolerance_percent)).collect()
    }
}

impl Growth {
    fn is_more_than(&self, percent: u64) -> bool {
        u128::from(self.now) * 100 > u128::from(self.before) * (100 + u128::from(percent))
    }
}

/// The smallest value that at least so many percent are not above.
pub fn quantile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        for (percent, value) in [(50, 50), (99, 99), (100, 100)] {
            assert_eq!(quantile(&mut hundred, percent), value);
        }
        assert_eq!((quantile(&mut [7], 50), quantile(&mut [7], 99), quantile(&mut [], 50)), (7, 7, 0));
    }

    #[test]
    fn growth_is_what_exceeds_the_tolerance() {
        let run = |fuel: [u64; 3]| {
            let made = fuel.map(|fuel| Made { call: "rate", fuel, time_ns: 0 });
            Baseline::new(Digest::of(b""), &made, &[("a".to_owned(), 0), ("b".to_owned(), 2)])
        };
        let before = run([100, 100, 200]);
        assert_eq!(before.calls["rate"], Figures { calls: 3, p50: 100, p99: 200, max: 200 });
        assert_eq!(before.cases, BTreeMap::from([("a".to_owned(), 200), ("b".to_owned(), 200)]));
        assert_eq!(run([100, 100, 210]).growth(&before, 5), []);
        let grown = run([100, 100, 211]).growth(&before, 5);
        let named: Vec<&str> = grown.iter().map(|growth| growth.what.as_str()).collect();
        assert_eq!(named, ["rate (p99)", "rate (max)", "case \"b\""]);
        assert_eq!(run([100, 100, 201]).growth(&before, 0).len(), 3);
        assert_eq!(run([1, 1, 1]).growth(&before, 0), []);
    }
}
