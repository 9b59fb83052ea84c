//! Entities and budgets in the model: who stands above whom, what counts where, and what is refused.

use super::{Model, plain};
use crate::{
    answer::{Answer, Id},
    calendar,
    commands::{BudgetSpec, UsageSpec, Who},
    settings::{Amount, Window},
};
use std::collections::BTreeMap;

/// The most levels of a tree.
const LEVELS: usize = 6;

#[derive(Debug, Clone)]
pub struct Budget {
    pub spec: BudgetSpec,
    /// The entry since which it counts.
    pub since: u64,
    /// Used and held, by window.
    pub windows: BTreeMap<i64, (Amount, Amount)>,
}

/// What a usage adds: to which budget, in which window, how much.
pub type BudgetCount = (&'static str, i64, Amount);

impl Budget {
    fn sum(&self, window: i64) -> Amount {
        let first = match self.spec.window {
            Window::Hours(hours) => window - i64::from(hours) + 1,
            _ => window,
        };
        self.windows.range(first..=window).map(|(_, (used, held))| used + held).sum()
    }
}

impl Model {
    /// Who stands above an entity, its parent first.
    pub fn above(&self, entity: Option<&'static str>) -> Vec<&'static str> {
        let mut above = Vec::new();
        let mut at = entity;
        while let Some(parent) = at.and_then(|at| self.entities.get(at).copied().flatten()) {
            above.push(parent);
            at = Some(parent);
        }
        above
    }

    pub fn set_entity(&mut self, entity: &'static str, parent: Option<&'static str>) -> Answer {
        if self.entities.get(entity) == Some(&parent) {
            return plain("read");
        }
        if self.closed {
            return plain("error:closed");
        }
        if let Some(parent) = parent {
            let above = self.above(Some(parent));
            if !self.entities.contains_key(parent) || parent == entity || above.contains(&entity) {
                return plain("error:rejected");
            }
            let depth = |one: &&'static str| {
                let above = self.above(Some(one));
                above.iter().position(|above| *above == entity).map_or(0, |place| place + 1)
            };
            let below = self.entities.keys().map(depth).max().unwrap_or(0);
            if above.len() + 2 + below > LEVELS {
                return plain("error:rejected");
            }
        }
        self.entities.insert(entity, parent);
        self.entries += 1;
        plain("other")
    }

    pub fn set_budget(&mut self, id: &'static str, spec: &BudgetSpec) -> Answer {
        let before = self.budgets.get(id);
        if before.is_some_and(|before| before.spec == *spec) {
            return plain("read");
        }
        if self.closed {
            return plain("error:closed");
        }
        self.entries += 1;
        let same = |before: &&Budget| {
            let BudgetSpec { who, features, units, credit, window, .. } = &before.spec;
            *who == spec.who
                && *features == spec.features
                && *units == spec.units
                && (*units || *credit == spec.credit)
                && *window == spec.window
        };
        let (since, windows) = before
            .filter(same)
            .map_or_else(|| (self.entries, BTreeMap::new()), |before| (before.since, before.windows.clone()));
        self.budgets.insert(id, Budget { spec: spec.clone(), since, windows });
        plain("other")
    }

    pub fn remove_budget(&mut self, id: &'static str) -> Answer {
        if self.budgets.remove(id).is_none() {
            return plain("error:rejected");
        }
        self.entries += 1;
        plain("other")
    }

    /// What a usage of a time adds to the budgets that count it: the entity's first, then those above it, the model's, the
    /// customer's; a commit in the windows in which its reservation holds.
    pub fn budget_counts(
        &self,
        spec: &UsageSpec,
        above: &[&'static str],
        (credit, cost, units): (&str, Amount, Amount),
        at: i64,
        held: Option<(u64, &[BudgetCount])>,
    ) -> Vec<BudgetCount> {
        let chain = spec.entity.into_iter().chain(above.iter().copied()).map(Who::Entity);
        let whose = chain.chain(spec.model.map(Who::Model)).chain([Who::Customer]);
        let within = self.within(at);
        let mut counts = Vec::new();
        for who in whose {
            for (id, budget) in self.budgets.iter().filter(|(_, budget)| budget.spec.who == who) {
                let BudgetSpec { features, window, .. } = &budget.spec;
                if !features.is_empty() && !features.contains(&spec.feature) {
                    continue;
                }
                let add = part(&budget.spec, credit, cost, units);
                let own = held.filter(|(entry, _)| budget.since < *entry);
                let own = own.and_then(|(_, counts)| counts.iter().find(|(other, ..)| other == id));
                let window = own.map_or_else(
                    || calendar::window(*window, at, within, &self.zone_at(at)),
                    |(_, window, _)| *window,
                );
                if add > 0 {
                    counts.push((*id, window, add));
                }
            }
        }
        counts
    }

    /// Whether a hard budget would be exceeded.
    pub fn is_over_budget(&self, counts: &[BudgetCount]) -> bool {
        counts.iter().any(|(id, window, add)| {
            let budget = &self.budgets[id];
            budget.spec.hard && budget.sum(*window) + add > budget.spec.limit
        })
    }

    pub fn use_budgets(&mut self, counts: &[BudgetCount]) {
        for (id, window, add) in counts {
            self.budgets.get_mut(id).unwrap().windows.entry(*window).or_default().0 += add;
        }
    }

    pub fn hold_budgets(&mut self, counts: &[BudgetCount]) {
        for (id, window, add) in counts {
            self.budgets.get_mut(id).unwrap().windows.entry(*window).or_default().1 += add;
        }
    }

    /// What a reservation holds is no longer held, in budgets that have counted since it was made.
    pub fn free_budgets(&mut self, reservation: Id, counts: &[BudgetCount]) {
        for (id, window, add) in counts {
            if let Some(budget) = self.budgets.get_mut(id).filter(|budget| budget.since < reservation.0) {
                budget.windows.get_mut(window).unwrap().1 -= add;
            }
        }
    }

    pub fn refund_budgets(
        &mut self,
        charge: Id,
        counts: &[BudgetCount],
        credit: &str,
        amount: Amount,
        units: Amount,
    ) {
        for (id, window, _) in counts {
            if let Some(budget) = self.budgets.get_mut(id).filter(|budget| budget.since < charge.0) {
                let back = part(&budget.spec, credit, amount, units);
                if let Some(total) = budget.windows.get_mut(window) {
                    total.0 -= back.min(total.0);
                }
            }
        }
    }
}

fn part(spec: &BudgetSpec, credit: &str, cost: Amount, units: Amount) -> Amount {
    match spec.units {
        true => units,
        false if spec.credit == credit => cost,
        false => 0,
    }
}
