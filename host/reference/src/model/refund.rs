//! What is given back of a charge: overage first, then its grants, the last one drawn first.

use super::{Charge, Model, gave, plain};
use crate::{
    answer::{Answer, Id, Status},
    commands::Part,
    settings::Amount,
};

impl Charge {
    /// The amount, or the units, that are asked back.
    pub fn part(&self, part: Part) -> Amount {
        match part {
            Part::Rest => self.cost - self.refunded,
            Part::Cost(percent) => self.cost * i128::from(percent) / 100,
            Part::Units(percent) => self.units * i128::from(percent) / 100,
        }
    }
}

impl Model {
    pub fn refund(&mut self, id: Id, part: Part, asked: Amount, reissue: bool) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        let charge = self.charges[&id].clone();
        let left = charge.cost - charge.refunded;
        let (amount, units) = match part {
            Part::Rest => (left, charge.units - charge.refunded_units),
            Part::Cost(_) | Part::Units(_) if asked == 0 => return plain("error:rejected"),
            Part::Cost(_) => (asked, 0),
            Part::Units(_) if asked > charge.units - charge.refunded_units => {
                return plain("error:refund_exceeds");
            }
            Part::Units(_) => (charge.cost * asked / charge.units, asked),
        };
        if amount > left || amount == 0 && units == 0 {
            return plain("error:refund_exceeds");
        }
        let mut parts = vec![(None, charge.overage, false)];
        for (grant, drawn) in charge.draws.iter().rev() {
            let of_grant = charge.expired.iter().filter(|(expired, _)| expired == grant);
            let expired = of_grant.map(|(_, part)| part).sum::<Amount>().min(*drawn);
            parts.extend([(Some(*grant), expired, true), (Some(*grant), drawn - expired, false)]);
        }
        let (mut skip, mut rest) = (charge.refunded, amount);
        let (mut owed, mut new) = (0, 0);
        for (from, drawn, had_expired) in parts {
            let skipped = skip.min(drawn);
            skip -= skipped;
            let part = (drawn - skipped).min(rest);
            rest -= part;
            match from {
                _ if part == 0 => {}
                Some(grant) if had_expired => self.expire_again(grant, part, &charge.credit),
                Some(grant) => self.refund_to(grant, part, &charge.credit, reissue, &mut new),
                None => {
                    let (own, waived, paid) = self.refund_of_overage(id.0, part, &charge.credit);
                    owed = own;
                    self.book(&charge.credit).overage -= own;
                    self.book(&charge.credit).voided += waived;
                    self.give_anew(None, paid, &charge.credit, &mut new);
                }
            }
        }
        assert_eq!(rest, 0);
        self.book(&charge.credit).spent -= amount;
        for window in &charge.windows {
            if let Some(total) = self.counters.get_mut(window) {
                total.0 -= total.0.min(if window.0.cost { amount } else { units });
            }
        }
        self.refund_budgets(id, &charge.budgets, &charge.credit, amount, units);
        let charge = self.charges.get_mut(&id).unwrap();
        charge.refunds += 1;
        charge.refunded += amount;
        charge.refunded_units += units;
        self.entries += 1;
        Answer { what: "refunded".to_owned(), cost: Some(amount), overage: owed, ..Answer::default() }
    }

    /// What of a charge's overage is still owed, was waived, and was paid. Once nothing was owed since, what is owed is of others:
    /// then it comes after what was waived of the charge.
    fn refund_of_overage(&mut self, charge: u64, amount: Amount, credit: &str) -> (Amount, Amount, Amount) {
        let outstanding = self.outstanding(credit).max(0);
        let was_settled = self.settled_at.get(credit).is_some_and(|at| *at > charge);
        let mut left = amount - if was_settled { 0 } else { outstanding.min(amount) };
        let mut waived = 0;
        for one in self.waived.entry(credit.to_owned()).or_default() {
            if one.after < charge && charge < one.at {
                let part = left.min(one.left);
                one.left -= part;
                left -= part;
                waived += part;
            }
        }
        let owed = (amount - waived).min(outstanding);
        (owed, waived, amount - waived - owed)
    }

    /// What had expired before late usage drew it expires again.
    fn expire_again(&mut self, id: Id, amount: Amount, credit: &str) {
        self.book(credit).expired += amount;
        let grant = self.grant_mut(id);
        if !grant.forgotten {
            let own = amount.min(grant.spent);
            grant.spent -= own;
            grant.expired += own;
            grant.lost += own;
        }
    }

    fn refund_to(&mut self, id: Id, amount: Amount, credit: &str, reissue: bool, new: &mut u32) {
        let grant = self.grant(id).clone();
        if grant.forgotten && grant.status == Status::Voided {
            self.book(credit).voided += amount;
            return;
        }
        if grant.forgotten {
            let first = self.period.as_ref().map_or(self.periods + 1, |period| period.number);
            let has_ended = grant.expires_at.is_some_and(|end| end <= self.now)
                || grant.with_period.is_some_and(|with| with < first);
            if !has_ended {
                return self.revive(id, amount);
            }
            if reissue {
                return self.give_anew(Some(id), amount, credit, new);
            }
            self.book(credit).expired += amount;
            return;
        }
        let own = amount.min(grant.spent);
        self.give_anew(None, amount - own, credit, new);
        let mut on = grant.rolled_to.map(|to| self.grant(to));
        while let Some(next) = on.filter(|next| next.status == Status::Expired) {
            on = next.rolled_to.map(|to| self.grant(to));
        }
        let is_voided = on.is_some_and(|next| next.status == Status::Voided);
        self.grant_mut(id).spent -= own;
        match grant.status {
            Status::Live => self.grant_mut(id).remaining += own,
            Status::Voided => self.book(credit).voided += own,
            // Where it would be had it not been used.
            Status::Expired => {
                self.reissued = (reissue && !is_voided).then_some(0);
                self.give_back(id, own);
                if let Some(reissued) = self.reissued.take() {
                    self.give_anew(Some(id), reissued, credit, new);
                }
            }
        }
    }

    /// A grant that was used up when a period ended is there again; what it gave stays given.
    fn revive(&mut self, id: Id, amount: Amount) {
        let grant = self.grant(id).clone();
        let given = gave(&grant);
        if let Some(past) = self.past.iter_mut().find(|past| Some(past.number) == grant.allowance_of) {
            *past.gave.entry(grant.credit.clone()).or_default() += given;
        }
        let begins = self.number_at(grant.effective);
        let fresh = self.new_grant(0, &grant.credit, grant.amount, &grant.category, grant.priority);
        *self.grant_mut(id) = super::Grant {
            id,
            effective: grant.effective,
            usable_since: grant.effective,
            expires_at: grant.expires_at,
            with_period: grant.with_period,
            ends_with: grant.with_period.map(|with| (with, with.saturating_sub(begins))),
            features: grant.features,
            paid: grant.paid,
            remaining: amount,
            spent: grant.amount.max(amount) - amount,
            ..fresh
        };
    }

    fn give_anew(&mut self, older: Option<Id>, amount: Amount, credit: &str, new: &mut u32) {
        if amount == 0 {
            return;
        }
        let (priority, features) = older.map_or((0, Vec::new()), |id| {
            let older = self.grant(id);
            (older.priority, older.features.clone())
        });
        let mut grant = self.new_grant(*new, credit, amount, "adjustment", priority);
        grant.features = features;
        self.grants.push(grant);
        *new += 1;
    }
}
