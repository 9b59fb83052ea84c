//! Versions of plans in the model: customers stay on the one that they were sold until they are moved.

use super::{Model, Pending, Profile, plain};
use crate::{
    answer::Answer,
    settings::{Mode, OwnGrants},
};

impl Model {
    /// The number of a plan's newest version.
    pub fn newest(&self, plan: Option<&'static str>) -> usize {
        plan.map_or(0, |plan| self.own[plan].len())
    }

    /// The version that is sold now, of several that there are by the time at which this is found.
    pub fn sold_now(&self, plan: &'static str) -> usize {
        let later = self.own[plan].iter().filter(|(from, _)| *from > self.now).count();
        (self.own[plan].len() - later).max(1)
    }

    /// What a version of a plan gives.
    pub fn gives(&self, plan: &'static str, version: usize) -> &OwnGrants {
        &self.own[plan][version - 1].1
    }

    /// The catalog may change while a customer is left alone.
    pub fn sell(&mut self, plan: &'static str, own: OwnGrants) -> Answer {
        self.own.get_mut(plan).unwrap().push((self.now, own));
        plain("sold")
    }

    pub fn try_or_migrate(
        &mut self,
        plan: &'static str,
        pick: u64,
        period_end: bool,
        allowance: Mode,
        dry_run: bool,
    ) -> Answer {
        let to = 1 + (pick % self.own[plan].len() as u64) as usize;
        if !dry_run {
            return self.migrate(plan, to, period_end, allowance);
        }
        let answer = self.clone().migrate(plan, to, period_end, allowance);
        let moves = matches!(answer.what.as_str(), "moved" | "move_pending");
        plain(if moves { "preview" } else { &answer.what })
    }

    fn migrate(&mut self, plan: &'static str, to: usize, period_end: bool, allowance: Mode) -> Answer {
        let profile = self.profile.clone().unwrap();
        if self.closed || profile.plan != Some(plan) || profile.version == to {
            return plain("not_concerned");
        }
        if !period_end {
            let moved = Profile { version: to, ..profile.clone() };
            self.configure(Some(profile), moved, allowance);
            return plain("moved");
        }
        match &self.pending {
            Some(Pending { plan: Some(same), version, at: None, allowance: asked, .. })
                if (*same, *version, *asked) == (plan, to, allowance) =>
            {
                return plain("move_pending");
            }
            Some(pending) if pending.plan != Some(plan) => return plain("error:plan_change_pending"),
            _ => {}
        }
        if self.period.as_ref().is_none_or(|period| period.end.is_none()) {
            return plain("error:no_period_end");
        }
        self.entries += 1;
        self.pending = Some(Pending { plan: Some(plan), version: to, at: None, allowance, id: self.entries });
        plain("move_pending")
    }
}
