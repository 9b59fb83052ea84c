//! A policy whose settings say what it answers. It knows nothing that a module would not be told.

use proviso_decide::policy::{Answer, Decided, Failure, Policy};
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Money, Percent, Price, Quantity, Rounding},
    answers::{
        Allowance, CloseOutcome, Fee, FeeMethod, Line, Manifest, Needs, NewGrant, Offer, OpenOutcome,
        Overage, Prepared, PricedFeature, Rating, Refusal, RefusalKind, Rollover, SettingsProblem,
        SettleFrom, SettleMethod, Settlement, TopUp,
    },
    counter::{Counter, Measure, Scope, Window},
    grant::{Category, default_credit},
    ids::Key,
    json::JsonText,
    time::{Moment, Timestamp},
    usage::Purpose,
    view::{Closing, Context, Expiry, GrantView, Opening, UsageView},
};
use serde::Deserialize;

/// Fuel of each call: the same always.
pub const FUEL: u64 = 100;

/// What the policy is set to do. Each field has a meaning of its own; all are off by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The price of one `n`; 1 by default.
    pub price: Option<Price>,
    /// Units of `n` in counter 0 that cost nothing.
    pub included: Option<Quantity>,
    /// Units of `n` in counter 0 before the price is ten times as high.
    pub tier: Option<Decimal>,
    /// The hour of the local day from which on a unit costs twice as much.
    pub evening: Option<u8>,
    /// Features that draw another credit type.
    pub credits: Vec<(Key, Key)>,
    pub allowances: Vec<AllowanceSettings>,
    pub rollover: Option<RolloverSettings>,
    pub overage: OverageSettings,
    /// The least that a cycle costs, in credits; what a period lacks of its part is a fee.
    pub commitment: Option<Credits>,
    pub fee: Option<Credits>,
    pub invoice_fees: bool,
    pub settle: Option<SettleMethod>,
    /// Whether what is owed is settled when the next period opens.
    pub settle_at_open: bool,
    pub settle_from: SettleFrom,
    pub counters: Vec<CounterSettings>,
    pub period_categories: Vec<Category>,
    /// Calls that end in a fault.
    pub faults: Vec<String>,
    /// Answers that break a rule of the ledger.
    pub breaks: Vec<String>,
    /// Commits are denied by `rate`.
    pub denies_commits: bool,
    pub draw_first: Vec<Category>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceSettings {
    pub amount: Credits,
    #[serde(default)]
    pub category: Option<Category>,
    /// The period with which it expires, counted from its own; null means never.
    #[serde(default = "own_period")]
    pub with: Option<u32>,
    #[serde(default)]
    pub expires_after_hours: Option<i64>,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub features: Vec<Key>,
    /// In the place of what was asked for.
    #[serde(default)]
    pub allowance: Option<Allowance>,
    #[serde(default)]
    pub cost: Option<Money>,
    #[serde(default)]
    pub credit: Option<Key>,
}

fn own_period() -> Option<u32> {
    Some(0)
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloverSettings {
    pub percent: Percent,
    #[serde(default)]
    pub max: Option<Credits>,
    /// How many periods it lives; null means for ever.
    #[serde(default = "one_period")]
    pub periods: Option<u32>,
    #[serde(default)]
    pub priority: i32,
}

fn one_period() -> Option<u32> {
    Some(1)
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverageSettings {
    #[default]
    Deny,
    Allow(Credits),
    TopUp(Credits),
    Purchase,
    Reduce(Quantity),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterSettings {
    pub measure: Option<String>,
    #[serde(default)]
    pub scope: Option<Scope>,
    pub window: Window,
    /// No usage may bring what is used and held above this.
    #[serde(default)]
    pub cap: Option<Decimal>,
}

impl CounterSettings {
    fn counter(&self, place: usize) -> Counter {
        Counter {
            name: format!("c{place}"),
            measure: match self.measure.as_deref() {
                None => Measure::Cost,
                Some(name) => Measure::Quantity(name.to_owned()),
            },
            features: Vec::new(),
            scope: self.scope.clone().unwrap_or(Scope::Customer),
            window: self.window,
        }
    }
}

/// The policy.
pub struct Scripted {
    manifest: Manifest,
}

impl Scripted {
    pub fn new(name: &str) -> Self {
        let needs =
            Needs { balances: true, grants: true, customer_attributes: true, entity_attributes: false };
        let manifest = Manifest {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            summary: "does what its settings say".to_owned(),
            settings_schema: JsonText::from(&serde_json::json!({})),
            needs,
        };
        Self { manifest }
    }
}

fn settings(form: &[u8]) -> Settings {
    serde_json::from_slice(form).unwrap()
}

fn decided<T>(value: T) -> Answer<T> {
    Ok(Decided { value, fuel: FUEL, log: Vec::new() })
}

impl Settings {
    fn may_fault(&self, call: &str) -> Result<(), Failure> {
        if self.faults.iter().any(|fault| fault == call) {
            let detail = format!("{call} was made to fail");
            return Err(Failure { code: "trap", detail, fuel: FUEL / 2, log: vec!["failing".to_owned()] });
        }
        Ok(())
    }

    fn breaks(&self, what: &str) -> bool {
        self.breaks.iter().any(|broken| broken == what)
    }
}

impl Policy for Scripted {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn prepare(&self, text: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        let settings: Settings = serde_json::from_str(text).unwrap();
        let mut features = vec![PricedFeature { feature: None, credit: default_credit() }];
        features.extend(settings.credits.iter().map(|(feature, credit)| PricedFeature {
            feature: Some(feature.clone()),
            credit: credit.clone(),
        }));
        decided(Ok(Prepared {
            form: text.as_bytes().to_vec(),
            counters: settings.counters.iter().enumerate().map(|(n, one)| one.counter(n)).collect(),
            features,
            settle_overage_from: settings.settle_from,
            period_categories: settings.period_categories,
        }))
    }

    fn rate(&self, view: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        let settings = settings(form);
        settings.may_fault("rate")?;
        if view.purpose == Purpose::Commit && settings.denies_commits {
            return decided(Err(Refusal::denied("no_commits", "commits are denied".to_owned())));
        }
        let n = view.usage.quantity("n");
        if n.is_negative() {
            let refusal = Refusal::denied("negative", format!("{n} is negative"));
            return decided(Err(Refusal { kind: RefusalKind::Invalid, ..refusal }));
        }
        for (place, counter) in settings.counters.iter().enumerate() {
            let Some(cap) = counter.cap else { continue };
            let counted = context.counters[place];
            let add = counter.counter(place).amount(view.usage, n.decimal());
            let sum = counted.used.saturating_add(counted.held).saturating_add(add);
            if sum > cap {
                let detail = format!("{} used and {} held of {cap}", counted.used, counted.held);
                return decided(Err(Refusal::denied("cap_reached", detail)));
            }
        }
        let mut price = settings.price.unwrap_or(Price::ONE);
        if settings.tier.is_some_and(|tier| context.counters[0].used >= tier) {
            price = price.repeated(10).unwrap();
        }
        if settings.evening.is_some_and(|hour| view.occurred_at.hour >= hour) {
            price = price.repeated(2).unwrap();
        }
        let free = settings.included.map_or(Quantity::ZERO, |included| {
            let counted = context.counters[0];
            let before = Quantity::new(counted.used.saturating_add(counted.held));
            included.saturating_sub(before).max(Quantity::ZERO).min(n)
        });
        let paid = n.saturating_sub(free);
        let cost = if settings.breaks("cost") {
            Credits::from_whole(-1)
        } else {
            price.times(paid, Rounding::Up).unwrap()
        };
        let line = |quantity, unit_cost, cost| Line { label: "n".to_owned(), quantity, unit_cost, cost };
        let included = free.is_positive().then(|| line(free, Price::ZERO, Credits::ZERO));
        let priced = (included.is_none() || paid.is_positive()).then(|| line(paid, price, cost));
        let lines = included.into_iter().chain(priced).collect();
        let named = settings.credits.iter().find(|(feature, _)| feature == &view.usage.feature);
        let mut draw_order = Vec::new();
        for category in &settings.draw_first {
            let grants = context.grants.iter().filter(|grant| grant.category == *category);
            draw_order.extend(grants.map(|grant| grant.id));
        }
        if settings.breaks("draw_order") {
            draw_order.push("grant_4000".parse().unwrap());
        }
        let credit = named.map_or_else(default_credit, |(_, credit)| credit.clone());
        decided(Ok(Rating { credit, cost, lines, draw_order }))
    }

    fn overage(
        &self,
        view: &UsageView<'_>,
        _: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Answer<Overage> {
        let settings = settings(form);
        settings.may_fault("overage")?;
        decided(match &settings.overage {
            OverageSettings::Deny => {
                let mut refusal =
                    Refusal::denied("insufficient_credits", format!("{shortfall} credits are missing"));
                refusal.retry_at = context.period.end.map(|end| end.at);
                Overage::Deny(refusal)
            }
            OverageSettings::Allow(limit) => Overage::Allow(*limit),
            OverageSettings::TopUp(pack) => Overage::TopUp(TopUp {
                amount: if settings.breaks("top_up") { Credits::ZERO } else { (*pack).max(shortfall) },
                priority: 0,
                expires: Expiry::default(),
                cost_basis: Some(Money::new(Decimal::ONE, "EUR".parse().unwrap()).unwrap()),
            }),
            OverageSettings::Purchase => Overage::RequirePurchase(vec![Offer {
                code: "pack".to_owned(),
                label: "a pack".to_owned(),
                credits: Credits::from_whole(100),
                price: None,
            }]),
            OverageSettings::Reduce(n) => {
                let n = if settings.breaks("reduce") {
                    view.usage.quantity("n").saturating_add(Quantity::ONE)
                } else {
                    *n
                };
                Overage::Reduce(vec![("n".to_owned(), n)])
            }
        })
    }

    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        let settings = settings(form);
        settings.may_fault("close")?;
        let mut outcome = CloseOutcome::default();
        let carries = closing.reason != "closed";
        if let Some(rollover) = settings.rollover.as_ref().filter(|_| carries) {
            let mut left = rollover.max.unwrap_or(Credits::LARGEST);
            let ends = |grant: &&GrantView| grant.expires.with_period == Some(0);
            let mut rolled = Vec::new();
            for grant in context.grants.iter().filter(ends) {
                // What was carried over before lives its period out, though plan or customer cut that short.
                let percent = match (grant.category, closing.reason) {
                    (Category::Rollover, "scheduled") => Percent::ZERO,
                    (Category::Rollover, _) => Percent::ALL,
                    _ => rollover.percent,
                };
                let part = |amount: Credits| amount.percent(percent, Rounding::Down).unwrap();
                let amount = part(grant.remaining).min(left);
                left = left.saturating_sub(amount);
                let used = grant.amount.saturating_sub(grant.remaining).saturating_sub(grant.held);
                rolled.push((grant, percent, amount, part(grant.held), part(used.max(Credits::ZERO))));
            }
            for (grant, percent, amount, held, used) in rolled {
                let held_limit = held.saturating_add(used).min(left);
                left = left.saturating_sub(held_limit);
                if amount.is_zero() && held_limit.is_zero() {
                    continue;
                }
                outcome.roll_over.push(Rollover {
                    grant: grant.id,
                    amount: if settings.breaks("roll") { grant.amount.repeated(2).unwrap() } else { amount },
                    held_share: percent.decimal().div(Decimal::from_whole(100), Rounding::Down).unwrap(),
                    held_limit,
                    priority: rollover.priority,
                    expires: Expiry {
                        at: grant.expires.at,
                        with_period: rollover.periods.map(|periods| periods - 1),
                    },
                });
            }
        }
        if !outcome.roll_over.is_empty() {
            outcome.notes.push("carried over what was left".to_owned());
        }
        let method = if settings.invoice_fees { FeeMethod::Invoiced } else { FeeMethod::Drawn };
        let used = context.counters.first().map_or(Decimal::ZERO, |counted| counted.used);
        let missing =
            settings.commitment.map(|least| part_run(least, closing, context).above(Credits::new(used)));
        for amount in settings.fee.into_iter().chain(missing).filter(|amount| amount.is_positive()) {
            outcome.fees.push(Fee { credit: default_credit(), label: "fee".to_owned(), amount, method });
        }
        if !settings.settle_at_open {
            outcome.settle.extend(settlement(&settings));
        }
        decided(outcome)
    }

    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        let settings = settings(form);
        settings.may_fault("open")?;
        let mut outcome = OpenOutcome::default();
        let asked = match opening.allowance {
            "full" => Allowance::Full,
            "prorate" => Allowance::Prorate,
            _ => Allowance::Carry,
        };
        for allowance in &settings.allowances {
            let hours = |hours: i64| context.now.at.plus_micros(hours * 3_600 * Timestamp::SECOND);
            outcome.issue.push(NewGrant {
                credit: allowance.credit.clone().unwrap_or_else(default_credit),
                amount: if settings.breaks("issue") { Credits::ZERO } else { allowance.amount },
                category: allowance.category.unwrap_or(Category::Plan),
                priority: allowance.priority,
                effective_at: None,
                expires: Expiry { at: allowance.expires_after_hours.map(hours), with_period: allowance.with },
                features: allowance.features.clone(),
                cost_basis: allowance.cost,
                allowance: allowance.allowance.unwrap_or(asked),
            });
        }
        if settings.settle_at_open {
            outcome.settle.extend(settlement(&settings));
        }
        decided(outcome)
    }
}

fn settlement(settings: &Settings) -> Option<Settlement> {
    settings.settle.map(|method| Settlement { credit: default_credit(), amount: None, method })
}

/// The part of a cycle's amount that belongs to the time for which a period ran.
fn part_run(whole: Credits, closing: &Closing, context: &Context) -> Credits {
    let Some(end) = closing.cycle.end else { return whole };
    let micros = |from: Moment, to: Moment| Decimal::from_whole(to.at.0 - from.at.0);
    let (ran, all) = (micros(closing.period.start, context.now), micros(closing.cycle.start, end));
    whole.mul_div(ran, all, Rounding::Down).unwrap()
}
