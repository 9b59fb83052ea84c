//! Grants in the model: given, adjusted, and where credits go that come back to them.

use super::{Books, Grant, LATE, Model, plain};
use crate::{
    answer::{Answer, Id, Status},
    commands::GrantSpec,
    settings::{Amount, SettleFrom},
};

impl Model {
    /// What has moved of a credit type. Only what moves opens it, as nobody is shown a balance before that.
    pub fn book(&mut self, credit: &str) -> &mut Books {
        self.books.entry(credit.to_owned()).or_default()
    }

    /// Adds to what was spent and what is owed.
    pub fn add_to_book(&mut self, credit: &str, spent: Amount, overage: Amount) {
        if spent != 0 || overage != 0 {
            let book = self.book(credit);
            book.spent += spent;
            book.overage += overage;
        }
    }

    pub fn new_grant(
        &self,
        index: u32,
        credit: &str,
        amount: Amount,
        category: &str,
        priority: i32,
    ) -> Grant {
        Grant {
            id: (self.entries + 1, index),
            credit: credit.to_owned(),
            amount,
            category: category.to_owned(),
            priority,
            effective: self.now,
            usable_since: self.now,
            expires_at: None,
            with_period: None,
            ends_with: None,
            features: Vec::new(),
            paid: None,
            status: Status::Live,
            ended_at: None,
            remaining: amount,
            held: 0,
            spent: 0,
            expired: 0,
            lost: 0,
            allowance_of: None,
            bridges: false,
            roll: None,
            rolled_to: None,
            next: None,
            incoming: None,
            received: 0,
            passed: 0,
            forgotten: false,
        }
    }

    /// Lets a new grant end with the `n`-th period after the one in which it becomes usable.
    pub fn end_with(&self, grant: &mut Grant, n: Option<u32>) {
        grant.with_period = n.map(|n| self.number_at(grant.effective.max(self.now)) + n);
        grant.ends_with = grant.with_period.zip(n);
    }

    /// What is given under another name.
    pub(super) fn given_as(&mut self, what: &str, spec: &GrantSpec) -> Answer {
        let answer = self.give(spec);
        if answer.what == "granted" { plain(what) } else { answer }
    }

    pub(super) fn give(&mut self, spec: &GrantSpec) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        let now = self.now;
        let effective = spec.effective_in.map_or(now, |delta| now + delta);
        if effective < now - LATE {
            return plain("error:too_early");
        }
        let expires_at = spec.expires_in.map(|delta| now + delta);
        if expires_at.is_some_and(|expires| expires <= effective.max(now)) {
            return plain("error:not_later");
        }
        let terms = self.terms_at(self.plan(), now);
        let by_category =
            terms.as_ref().is_some_and(|terms| terms.period_categories.contains(&spec.category));
        let with_period = match (spec.with_period, expires_at) {
            (None, None) if by_category => Some(0),
            (given, _) => given,
        };
        let mut grant = self.new_grant(0, spec.credit, spec.amount, spec.category, spec.priority);
        grant.effective = effective;
        grant.usable_since = effective;
        grant.expires_at = expires_at;
        self.end_with(&mut grant, with_period);
        grant.features = spec.features.iter().map(|feature| (*feature).to_owned()).collect();
        grant.paid = spec.paid;
        // What was bought pays what is owed; what is for some features only, or not usable yet, does not.
        let bought = matches!(spec.category, "prepaid" | "top_up") || spec.paid.is_some_and(|paid| paid > 0);
        let pays = terms.is_none_or(|terms| terms.settle_from == SettleFrom::Purchases);
        if bought && pays && grant.features.is_empty() && effective <= now {
            let paid = self.outstanding(spec.credit).min(spec.amount);
            grant.remaining -= paid;
            grant.spent += paid;
            self.book(spec.credit).overage -= paid;
        }
        self.book(spec.credit).issued += spec.amount;
        self.grants.push(grant);
        self.entries += 1;
        plain("granted")
    }

    /// A grant that another system gave: what was used there was spent, whenever that was.
    pub(super) fn import_grant(
        &mut self,
        spec: &GrantSpec,
        used: u32,
        voided: u32,
        allowance: Option<bool>,
    ) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        if used + voided > 100 {
            return plain("error:rejected");
        }
        let now = self.now;
        let effective = spec.effective_in.map_or(now, |delta| now + delta);
        let expires_at = spec.expires_in.map(|delta| now + delta);
        if expires_at.is_some_and(|expires| expires <= effective.max(now)) {
            return plain("error:not_later");
        }
        let (used, voided) = (imported_part(spec.amount, used), imported_part(spec.amount, voided));
        let mut grant = self.new_grant(0, spec.credit, spec.amount, spec.category, spec.priority);
        grant.effective = effective;
        grant.usable_since = effective;
        grant.expires_at = expires_at;
        self.end_with(&mut grant, spec.with_period);
        grant.features = spec.features.iter().map(|feature| (*feature).to_owned()).collect();
        grant.paid = spec.paid;
        grant.remaining = spec.amount - used - voided;
        grant.spent = used;
        let book = self.book(spec.credit);
        book.issued += spec.amount;
        book.spent += used;
        book.voided += voided;
        // What the plan gave for the period that runs counts as given in its cycle.
        let ends_with_it =
            self.period.as_ref().is_some_and(|period| grant.with_period == Some(period.number));
        let by_itself = ends_with_it && matches!(spec.category, "plan" | "trial");
        if effective <= now
            && allowance.unwrap_or(by_itself)
            && let Some(period) = &mut self.period
        {
            grant.allowance_of = Some(period.number);
            *period.whole.entry(spec.credit.to_owned()).or_default() += spec.amount;
        }
        self.grants.push(grant);
        self.entries += 1;
        plain("imported")
    }

    pub(super) fn adjust(&mut self, credit: &str, amount: Amount) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        if amount > 0 {
            let grant = self.new_grant(0, credit, amount, "adjustment", 0);
            self.grants.push(grant);
            self.book(credit).issued += amount;
        } else {
            let (draws, missing) = self.plan_draws(credit, None, self.now, -amount, &[], false);
            if missing > 0 {
                return plain("error:adjustment_exceeds_available");
            }
            for (id, part) in draws {
                self.grant_mut(id).remaining -= part;
            }
            self.book(credit).voided += -amount;
        }
        self.entries += 1;
        plain("adjusted")
    }

    /// Puts what a reservation held back where it would be had it not been held.
    pub fn give_back(&mut self, id: Id, amount: Amount) {
        if amount == 0 {
            return;
        }
        let grant = self.grant(id).clone();
        match grant.status {
            Status::Live => self.grant_mut(id).remaining += amount,
            Status::Voided => self.book(&grant.credit).voided += amount,
            Status::Expired => {
                let rest = self.let_follow(id, amount);
                if let Some(reissued) = &mut self.reissued {
                    // It stays given.
                    *reissued += rest;
                    self.grant_mut(id).spent += rest;
                    return;
                }
                let grant = self.grant_mut(id);
                grant.expired += rest;
                grant.lost += rest;
                let credit = grant.credit.clone();
                self.book(&credit).expired += rest;
            }
        }
    }

    /// Takes back what a reservation held of a grant. What had expired before late usage held it expires again.
    pub fn give_back_held(&mut self, id: Id, amount: Amount, had_expired: bool) {
        if !had_expired {
            return self.give_back(id, amount);
        }
        let grant = self.grant_mut(id);
        grant.expired += amount;
        grant.lost += amount;
        let credit = grant.credit.clone();
        self.book(&credit).expired += amount;
    }

    /// Lets what came back to a grant that has ended go on; returns what does not.
    pub fn let_follow(&mut self, id: Id, amount: Amount) -> Amount {
        let grant = self.grant(id).clone();
        let mut rest = amount;
        if let Some(roll) = grant.roll {
            let follows = (amount * roll.share / 100).min(roll.left);
            self.grant_mut(id).roll.as_mut().unwrap().left -= follows;
            self.hand_on(id, roll.to, follows);
            rest -= follows;
        }
        if let Some((next, most)) = grant.next {
            let target = self.grant_mut(next);
            let (skip, limit) = target.incoming.unwrap_or((0, 0));
            let skipped = rest.min(most).min(skip);
            let follows = (rest.min(most) - skipped).min(limit);
            target.incoming = Some((skip - skipped, limit - follows));
            self.grant_mut(id).next = Some((next, most - skipped - follows));
            self.hand_on(id, next, follows);
            rest -= follows;
        }
        rest
    }

    /// What a grant has got back goes on to a younger one.
    fn hand_on(&mut self, from: Id, to: Id, amount: Amount) {
        self.grant_mut(from).passed += amount;
        self.grant_mut(to).received += amount;
        self.give_back(to, amount);
    }
}

/// What a grant gave of its allowance: all but what expired of it or went on to another grant, where it counts.
pub fn gave(grant: &Grant) -> Amount {
    grant.amount + grant.received - grant.lost - grant.passed
}

/// So many percent of an imported grant, rounded down.
pub fn imported_part(amount: Amount, percent: u32) -> Amount {
    amount * Amount::from(percent) / 100
}
