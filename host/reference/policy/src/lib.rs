//! The policy of the reference histories as a module, so that an engine can run them: it decides by its settings and by what the host
//! shows it, as `proviso_reference::policy` does where no module is loaded. It ships with nothing.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![allow(clippy::expect_used, missing_docs, reason = "a test fails by panicking")]

extern crate alloc;

pub mod settings;

use proviso_sdk::{FeeMethod, SettlementMethod, prelude::*};
use settings::{Amount, Mode, OverageRule, Reference, Settling, Whose};

const ONE: i128 = 1_000_000_000_000;

fn credits(amount: i128) -> Credits {
    Credits::from_units(amount)
}

fn euros(amount: i128) -> Money {
    Money::new(Decimal::from_units(amount), "EUR".parse().expect("a currency")).expect("an amount of money")
}

/// The numbers of `grant_<entry>` or `grant_<entry>_<index>`.
fn numbers(grant: &str) -> (u64, u32) {
    let mut parts = grant.split('_').skip(1);
    let entry = parts.next().and_then(|entry| entry.parse().ok()).expect("a grant's id");
    (entry, parts.next().map_or(0, |index| index.parse().expect("a grant's id")))
}

impl Policy for Reference {
    const ABOUT: About = About::new("reference", "1.0.0", "Driven by the settings of the reference model.")
        .needs(&[Need::Balances, Need::Grants]);

    fn counters(&self) -> Vec<Counter> {
        self.all_counters()
    }

    fn features(&self) -> Vec<PricedFeature> {
        Vec::new()
    }

    fn settle_overage_from(&self) -> SettleOverageFrom {
        self.settle_from
    }

    fn period_categories(&self) -> Vec<Category> {
        self.period_categories.clone()
    }

    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        let feature = usage.feature.as_str();
        let price = self.price_of(feature).ok_or_else(|| Refusal::invalid("unpriced", ""))?;
        let units = usage.quantity("units").units();
        let mut counters = context.counters.iter();
        let tier = self.tier.as_ref().zip(if self.tier.is_some() { counters.next() } else { None });
        let cap = self.cap.as_ref().zip(if self.cap.is_some() { counters.next() } else { None });
        if let Some((cap, counted)) = cap {
            let named = match cap.whose {
                Whose::Customer => true,
                Whose::Entity => !usage.entities.is_empty(),
                Whose::Model => usage.attribute("model").is_some(),
            };
            let counts = cap.features.is_empty() || cap.features.iter().any(|other| other == feature);
            let asked = usage.purpose != Purpose::Commit || cap.commits;
            let sum = counted.used().units() + counted.held().units() + units;
            if named && counts && asked && sum > cap.limit.0 {
                return Err(Refusal::denied("cap_reached", ""));
            }
        }
        let mut parts = vec![(price.price, units)];
        if let Some((tier, counted)) = tier.filter(|(tier, _)| tier.feature == feature) {
            let before = counted.used().units() + counted.held().units();
            let cheap = (tier.above.0 - before).clamp(0, units);
            parts = vec![(price.price, cheap), (tier.price, units - cheap)];
        }
        let line = |(Amount(price), units): (Amount, i128)| {
            let (unit_cost, quantity) = (Price::from_units(price), Quantity::from_units(units));
            let cost = unit_cost.times(quantity, Rounding::Up).expect("a cost");
            Line { label: feature.to_owned(), quantity, unit_cost, cost }
        };
        let lines: Vec<Line> = parts.into_iter().map(line).collect();
        let cost = Credits::checked_sum(lines.iter().map(|line| line.cost)).expect("a cost");
        let mut draw_order = Vec::new();
        if self.newest_first {
            draw_order.extend(context.grants.iter().map(|grant| grant.id.clone()));
            draw_order.sort_by_key(|grant| core::cmp::Reverse(numbers(grant)));
        }
        Ok(Rating { credit: price.credit.clone(), cost, lines, draw_order })
    }

    fn overage(
        &self,
        usage: &Usage,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
    ) -> OverageOutcome {
        let blocked = || OverageOutcome::Deny(Refusal::denied("blocked", ""));
        match &self.overage {
            OverageRule::Block => blocked(),
            OverageRule::Allow(limit) => OverageOutcome::Allow(credits(limit.0)),
            OverageRule::TopUp(rule) => {
                let blocks = (shortfall.units() + rule.block.0 - 1) / rule.block.0;
                let at = rule.lasts.map(|lasts| context.now.at + lasts);
                OverageOutcome::TopUp(TopUp {
                    amount: credits(blocks * rule.block.0),
                    priority: rule.priority,
                    expires: Expiry { at, with_period: rule.with_period },
                    cost_basis: rule.paid.then(|| euros(10 * ONE)),
                })
            }
            OverageRule::Purchase => {
                OverageOutcome::RequirePurchase(vec![Offer::new("more", "more", Credits::ONE, None)])
            }
            OverageRule::Reduce => {
                let price = self.price_of(&usage.feature).map_or(0, |price| price.price.0);
                let available = rating.cost.units() - shortfall.units();
                let units = if price == 0 { 0 } else { available * ONE / price };
                if usage.purpose == Purpose::Reserve && units > 0 {
                    let (name, amount) = ("units".to_owned(), Quantity::from_units(units));
                    OverageOutcome::Reduce(vec![proviso_sdk::NamedQuantity { name, amount }])
                } else {
                    blocked()
                }
            }
        }
    }

    fn close(&self, closing: &Closing, context: &Context) -> CloseOutcome {
        let mut outcome = CloseOutcome::default();
        let is_scheduled = closing.reason == CloseReason::Scheduled;
        if let Some(rule) = self.rollover.as_ref().filter(|rule| !rule.only_scheduled || is_scheduled) {
            outcome.roll_over = rolled(rule, context);
        }
        if let Some(fee) = &self.fee {
            let at = usize::from(self.tier.is_some()) + usize::from(self.cap.is_some());
            let missing = fee.least.0 - context.cost_counter(at).used().units();
            if missing > 0 {
                outcome.fees.push(Fee {
                    credit: fee.credit.clone(),
                    label: "minimum".to_owned(),
                    amount: credits(missing),
                    method: if fee.drawn { FeeMethod::Drawn } else { FeeMethod::Invoiced },
                });
            }
        }
        outcome.settle = self.settlements(self.settle_close, context);
        outcome
    }

    fn open(&self, opening: &Opening, context: &Context) -> OpenOutcome {
        let start = opening.period.start.at;
        let allowance = match self.mode {
            Mode::Asked => opening.allowance,
            Mode::Carry => Allowance::Carry,
            Mode::Prorate => Allowance::Prorate,
            Mode::Full => Allowance::Full,
        };
        let issue = self.allowances.iter().map(|rule| NewGrant {
            credit: rule.credit.clone(),
            amount: credits(rule.amount.0),
            category: rule.category,
            priority: rule.priority,
            effective_at: rule.starts_in.map(|starts| start + starts),
            expires: Expiry { at: rule.lasts.map(|lasts| start + lasts), with_period: rule.with_period },
            features: rule.features.clone(),
            cost_basis: rule.paid.map(|paid| euros(paid.0)),
            allowance: match rule.category {
                Category::Plan | Category::Trial => allowance,
                _ => Allowance::Full,
            },
        });
        OpenOutcome {
            issue: issue.collect(),
            settle: self.settlements(self.settle_open, context),
            notes: Vec::new(),
        }
    }
}

fn rolled(rule: &settings::RolloverRule, context: &Context) -> Vec<Rollover> {
    let (end, percent) = (context.now.at, i128::from(rule.percent));
    let eligible = context.grants.iter().rev().filter(|grant| {
        grant.expires.with_period == Some(0)
            && grant.expires.at.is_none_or(|at| at > end)
            && grant.effective_at <= end
            && rule.categories.contains(&grant.category)
    });
    // What remains goes before what may come back.
    let mut left = rule.most.map_or(i128::MAX, |most| most.0);
    let mut amounts = Vec::new();
    for grant in eligible {
        let amount = (grant.remaining.units() * percent / 100).min(left);
        left -= amount;
        amounts.push((grant, amount));
    }
    let mut rolled = Vec::new();
    for (grant, amount) in amounts {
        let used = (grant.amount.units() - grant.remaining.units() - grant.held.units()).max(0);
        let limit = (grant.held.units() * percent / 100 + used * percent / 100).min(left);
        left -= limit;
        if amount != 0 || limit != 0 {
            let expires = Expiry { at: grant.expires.at, with_period: Some(rule.periods) };
            let share = Decimal::from_units(ONE * percent / 100);
            let rollover = Rollover::new(&grant.id, credits(amount)).held(share, credits(limit));
            rolled.push(rollover.priority(rule.priority).expires(expires));
        }
    }
    rolled
}

impl Reference {
    fn settlements(&self, how: Settling, context: &Context) -> Vec<Settlement> {
        let method = match how {
            Settling::Keep => return Vec::new(),
            Settling::Invoice | Settling::InvoiceHalf => SettlementMethod::Invoice,
            Settling::Waive => SettlementMethod::Waive,
            Settling::Deduct => SettlementMethod::Deduct,
        };
        if self.settle_from == SettleOverageFrom::Never {
            return Vec::new();
        }
        let of = |balance: &proviso_sdk::Balance| {
            let all = Settlement::all(&balance.credit, method);
            if how != Settling::InvoiceHalf {
                return Some(all);
            }
            let half = balance.overage.units() / 2;
            (half > 0).then(|| all.up_to(credits(half)))
        };
        context.balances.iter().filter_map(of).collect()
    }
}

proviso_sdk::export!(Reference, no_std);
