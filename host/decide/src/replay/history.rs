//! Plans and their terms as they were when an entry was decided, out of what they are now. Terms never change but for their end,
//! which is only ever set to a time that has not come yet: so what was in force at an instant is still known, up to what was bound
//! or ended at about that same instant, on this host or on another one whose clock differs. A canary's share only grows, from times that
//! it names.

use crate::catalog::{Plan, Plans, sold_at};
use proviso_ledger::{
    journal::{DecisionRecord, ShadowRecord},
    model::{
        canary::Share,
        ids::Name,
        terms::{Mode, Owner, Terms, TermsKey},
        time::Timestamp,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// How far the clocks of hosts may be apart: 10 seconds, in microseconds. Terms that were bound or ended this close to an entry
/// may, or may not, have been so when it was decided, as the entry says.
const SKEW: i64 = 10 * Timestamp::SECOND;

/// All plans with all terms that they ever had.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The versions of each, in order.
    plans: BTreeMap<Name, Vec<Plan>>,
    terms: BTreeMap<Name, Vec<Arc<Terms>>>,
}

impl History {
    /// Of these plans, each in all of its versions in order, and terms. What plans entitle to is left out: it decided which requests became entries, and those did.
    pub fn new(
        plans: impl IntoIterator<Item = Plan>,
        terms: impl IntoIterator<Item = (Name, Vec<Arc<Terms>>)>,
    ) -> Self {
        let mut versions: BTreeMap<Name, Vec<Plan>> = BTreeMap::new();
        for mut plan in plans {
            plan.entitlements.clear();
            versions.entry(plan.plan.clone()).or_default().push(plan);
        }
        Self { plans: versions, terms: terms.into_iter().collect() }
    }

    /// With other terms in the place of some.
    ///
    /// # Errors
    /// The first of `other`.
    pub fn with<E>(&self, other: impl Fn(&Arc<Terms>) -> Result<Arc<Terms>, E>) -> Result<Self, E> {
        let of_plan = |all: &Vec<Arc<Terms>>| all.iter().map(&other).collect::<Result<Vec<_>, E>>();
        let terms = self.terms.iter().map(|(plan, all)| Ok((plan.clone(), of_plan(all)?)));
        Ok(Self { plans: self.plans.clone(), terms: terms.collect::<Result<_, E>>()? })
    }

    /// The same with what was bound or ended at about `at` as `record` says that it was; none when that is no other.
    pub(super) fn pinned(
        &self,
        plan: Option<&Name>,
        at: Timestamp,
        record: &DecisionRecord,
    ) -> Option<AsSaid<'_>> {
        let decided = record.fault.as_ref().map_or(&record.terms, |fault| &fault.terms);
        let plan = match &decided.owner {
            Owner::Plan(plan) => plan,
            Owner::Customer => plan?,
        };
        let is_near = |time: Timestamp| time.0.abs_diff(at.0) <= SKEW.unsigned_abs();
        let shadowed = |key: &TermsKey| record.shadows.iter().any(|shadow| shadow.terms == *key);
        let all = self.terms.get(plan)?;
        // Beside a canary what it is to replace is asked, although it is no shadow.
        let is_canary = |shadow: &ShadowRecord| {
            all.iter().any(|terms| terms.key == shadow.terms && terms.mode == Mode::Active)
        };
        let was_for_all = !record.shadows.iter().any(is_canary);
        let mut is_other = false;
        let mut said = Vec::new();
        for terms in all {
            let took_part = terms.key == *decided || terms.key == record.terms || shadowed(&terms.key);
            let is_later = terms.mode == Mode::Shadow || terms.key.id > decided.id;
            if !took_part && is_near(terms.effective_at) && is_later {
                is_other = true;
                continue;
            }
            let mut one = (**terms).clone();
            if one.ends_at.is_some_and(is_near) {
                if took_part {
                    one.ends_at = None;
                } else if terms.covers(at) || terms.is_rolled_back(Timestamp(i64::MAX)) {
                    one.ends_at = Some(one.effective_at);
                }
                if let Some(ended) = one.canary.as_mut().and_then(|canary| canary.rolled_back.as_mut()) {
                    ended.at = if took_part { Timestamp(i64::MAX) } else { Timestamp(i64::MIN) };
                }
            }
            if let Some(canary) = &mut one.canary {
                // A share that was raised at about that time held the customer if the canary decided.
                canary.steps.retain_mut(|step| {
                    let is_first = step.from == terms.effective_at;
                    if is_first || !is_near(step.from) {
                        return true;
                    }
                    let is_all = step.share_percent == Share::ALL;
                    step.from = terms.effective_at;
                    took_part && (!is_all || was_for_all)
                });
            }
            is_other |= one != **terms;
            said.push(Arc::new(one));
        }
        is_other.then_some(AsSaid { history: self, plan: plan.clone(), terms: said })
    }
}

impl Plans for History {
    fn plan(&self, plan: &Name) -> Option<&Plan> {
        self.plans.get(plan)?.last()
    }

    fn plan_version(&self, plan: &Name, version: u32) -> Option<&Plan> {
        self.plans.get(plan)?.iter().find(|one| one.version == version)
    }

    fn plan_at(&self, plan: &Name, at: Timestamp) -> Option<&Plan> {
        sold_at(self.plans.get(plan)?.iter(), at)
    }

    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>] {
        self.terms.get(plan).map_or(&[], Vec::as_slice)
    }
}

/// A history with the terms of one plan as an entry says that they were.
pub(super) struct AsSaid<'a> {
    history: &'a History,
    plan: Name,
    terms: Vec<Arc<Terms>>,
}

impl Plans for AsSaid<'_> {
    fn plan(&self, plan: &Name) -> Option<&Plan> {
        self.history.plan(plan)
    }

    fn plan_version(&self, plan: &Name, version: u32) -> Option<&Plan> {
        self.history.plan_version(plan, version)
    }

    fn plan_at(&self, plan: &Name, at: Timestamp) -> Option<&Plan> {
        self.history.plan_at(plan, at)
    }

    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>] {
        if *plan == self.plan { &self.terms } else { self.history.terms_of(plan) }
    }
}
