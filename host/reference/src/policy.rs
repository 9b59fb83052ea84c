//! The policy of the reference histories, as hosts ask it: it decides by its settings and by what the host shows it.

use crate::settings::{
    Amount, CounterSpec, Mode, ONE, OverageRule, Settings, SettleFrom, Settling, Whose, Window,
};
use proviso_decide::policy::{Answer, Decided, Policy};
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Money, Price, Quantity, Rounding},
    answers::{
        Allowance, CloseOutcome, Fee, FeeMethod, Line, Manifest, Needs, NewGrant, Offer, OpenOutcome,
        Overage, Prepared, Rating, Refusal, RefusalKind, Rollover, SettingsProblem, SettleMethod, Settlement,
        TopUp,
    },
    counter::{self, Counter},
    grant::Category,
    json::JsonText,
    time::Timestamp,
    usage::Purpose,
    view::{Closing, Context, Expiry, Opening, UsageView},
};
use std::sync::{Arc, Mutex};

/// All settings of a history; a form is an index into them.
pub type Table = Arc<Mutex<Vec<Settings>>>;

pub struct TablePolicy {
    pub table: Table,
    pub manifest: Manifest,
}

pub fn credits(amount: Amount) -> Credits {
    Credits::from_units(amount)
}

pub fn euros(amount: Amount) -> Money {
    Money::new(Decimal::from_units(amount), "EUR".parse().unwrap()).unwrap()
}

pub fn category(name: &str) -> Category {
    Category::from_name(name).unwrap()
}

impl TablePolicy {
    pub fn new(table: Table) -> Self {
        let manifest = Manifest {
            name: "reference".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Driven by a table of settings.".to_owned(),
            settings_schema: JsonText::from(&serde_json::json!({})),
            needs: Needs {
                balances: true,
                grants: true,
                customer_attributes: false,
                entity_attributes: false,
            },
        };
        Self { table, manifest }
    }

    fn settings(&self, form: &[u8]) -> Settings {
        let index = u32::from_le_bytes(form.try_into().unwrap());
        self.table.lock().unwrap()[index as usize].clone()
    }

    /// Puts settings into the table and says what `prepare` would.
    pub fn add(table: &Table, settings: &Settings) -> Prepared {
        let mut table = table.lock().unwrap();
        let form = u32::try_from(table.len()).unwrap().to_le_bytes().to_vec();
        table.push(settings.clone());
        Prepared {
            form,
            counters: settings
                .all_counters()
                .iter()
                .enumerate()
                .map(|(n, spec)| counter_of(n, spec))
                .collect(),
            features: Vec::new(),
            settle_overage_from: match settings.settle_from {
                SettleFrom::Purchases => proviso_ledger::model::answers::SettleFrom::Purchases,
                SettleFrom::Reset => proviso_ledger::model::answers::SettleFrom::Reset,
                SettleFrom::Never => proviso_ledger::model::answers::SettleFrom::Never,
            },
            period_categories: settings.period_categories.iter().map(|name| category(name)).collect(),
        }
    }
}

fn counter_of(n: usize, spec: &CounterSpec) -> Counter {
    Counter {
        name: format!("c{n}"),
        measure: if spec.cost {
            counter::Measure::Cost
        } else {
            counter::Measure::Quantity("units".to_owned())
        },
        features: spec.features.iter().map(|feature| feature.parse().unwrap()).collect(),
        scope: match spec.whose {
            Whose::Customer => counter::Scope::Customer,
            Whose::Entity => counter::Scope::Entity,
            Whose::Model => counter::Scope::Attribute("model".to_owned()),
        },
        window: match spec.window {
            Window::Period => counter::Window::Period,
            Window::Cycle => counter::Window::Cycle,
            Window::Day => counter::Window::Day,
            Window::Week => unreachable!("of budgets only"),
            Window::Month => counter::Window::Month,
            Window::Hours(hours) => counter::Window::Hours(hours),
            Window::Lifetime => counter::Window::Lifetime,
        },
    }
}

fn decided<T>(value: T) -> Answer<T> {
    Ok(Decided { value, fuel: 1, log: Vec::new() })
}

fn invalid(code: &str) -> Refusal {
    Refusal { kind: RefusalKind::Invalid, ..Refusal::denied(code, String::new()) }
}

fn times(price: Amount, units: Quantity) -> Credits {
    Price::from_units(price).times(units, Rounding::Up).unwrap()
}

impl Policy for TablePolicy {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn prepare(&self, _: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        decided(Err(Vec::new()))
    }

    fn rate(&self, usage: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        let settings = self.settings(form);
        let feature = usage.usage.feature.as_str();
        let Some(price) = settings.price_of(feature) else { return decided(Err(invalid("unpriced"))) };
        let units = usage.usage.quantity("units");
        let mut counters = context.counters.iter();
        let tier = settings.tier.as_ref().map(|tier| (tier, counters.next().unwrap()));
        let cap = settings.cap.as_ref().map(|cap| (cap, counters.next().unwrap()));
        if let Some((cap, counted)) = cap {
            let named = match cap.whose {
                Whose::Customer => true,
                Whose::Entity => !usage.entities.is_empty(),
                Whose::Model => usage.usage.attribute("model").is_some(),
            };
            let counts = cap.features.is_empty() || cap.features.contains(&feature);
            let asked = usage.purpose != Purpose::Commit || cap.commits;
            let sum = counted.used.units() + counted.held.units() + units.units();
            if named && counts && asked && sum > cap.limit {
                return decided(Err(Refusal::denied("cap_reached", String::new())));
            }
        }
        let mut parts = vec![(price.price, units)];
        if let Some((tier, counted)) = tier.filter(|(tier, _)| tier.feature == feature) {
            let before = counted.used.units() + counted.held.units();
            let cheap = (tier.above - before).clamp(0, units.units());
            parts = vec![
                (price.price, Quantity::from_units(cheap)),
                (tier.price, Quantity::from_units(units.units() - cheap)),
            ];
        }
        let lines: Vec<Line> = parts
            .into_iter()
            .map(|(price, units)| Line {
                label: feature.to_owned(),
                quantity: units,
                unit_cost: Price::from_units(price),
                cost: times(price, units),
            })
            .collect();
        let cost = Credits::checked_sum(lines.iter().map(|line| line.cost)).unwrap();
        let credit: proviso_ledger::model::grant::CreditType = price.credit.parse().unwrap();
        let draw_order = if settings.newest_first {
            let mut ids: Vec<_> = context.grants.iter().map(|grant| grant.id).collect();
            ids.sort();
            ids.reverse();
            ids
        } else {
            Vec::new()
        };
        decided(Ok(Rating { credit, cost, lines, draw_order }))
    }

    fn overage(
        &self,
        usage: &UsageView<'_>,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Answer<Overage> {
        let settings = self.settings(form);
        let blocked = || Overage::Deny(Refusal::denied("blocked", String::new()));
        decided(match settings.overage {
            OverageRule::Block => blocked(),
            OverageRule::Allow(limit) => Overage::Allow(credits(limit)),
            OverageRule::TopUp { block, priority, lasts, with_period, paid } => {
                let blocks = (shortfall.units() + block - 1) / block;
                Overage::TopUp(TopUp {
                    amount: credits(blocks * block),
                    priority,
                    expires: Expiry { at: lasts.map(|lasts| context.now.at.plus_micros(lasts)), with_period },
                    cost_basis: paid.then(|| euros(10 * ONE)),
                })
            }
            OverageRule::Purchase => Overage::RequirePurchase(vec![Offer {
                code: "more".to_owned(),
                label: "more".to_owned(),
                credits: Credits::ONE,
                price: None,
            }]),
            OverageRule::Reduce => {
                let price = settings.price_of(usage.usage.feature.as_str()).map_or(0, |price| price.price);
                let available = rating.cost.units() - shortfall.units();
                let own = context.balances.iter().find(|balance| balance.credit == rating.credit);
                assert_eq!(own.map_or(0, |own| own.available.units()).min(rating.cost.units()), available);
                let units = if price == 0 { 0 } else { available * ONE / price };
                if usage.purpose == Purpose::Reserve && units > 0 {
                    Overage::Reduce(vec![("units".to_owned(), Quantity::from_units(units))])
                } else {
                    blocked()
                }
            }
        })
    }

    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        let settings = self.settings(form);
        let end = context.now.at;
        let mut outcome = CloseOutcome::default();
        let rule =
            settings.rollover.as_ref().filter(|rule| !rule.only_scheduled || closing.reason == "scheduled");
        if let Some(rule) = rule {
            let eligible: Vec<_> = context
                .grants
                .iter()
                .rev()
                .filter(|grant| {
                    grant.expires.with_period == Some(0)
                        && grant.expires.at.is_none_or(|at| at > end)
                        && grant.effective_at <= end
                        && rule.categories.contains(&grant.category.as_str())
                })
                .collect();
            let mut left = rule.most.unwrap_or(Amount::MAX);
            let mut amounts = Vec::new();
            for grant in &eligible {
                let amount = (grant.remaining.units() * rule.percent / 100).min(left);
                left -= amount;
                amounts.push(amount);
            }
            for (grant, amount) in eligible.iter().zip(amounts) {
                let used = (grant.amount.units() - grant.remaining.units() - grant.held.units()).max(0);
                let part = grant.held.units() * rule.percent / 100 + used * rule.percent / 100;
                let limit = part.min(left);
                left -= limit;
                if amount == 0 && limit == 0 {
                    continue;
                }
                outcome.roll_over.push(Rollover {
                    grant: grant.id,
                    amount: credits(amount),
                    held_share: Decimal::from_units(ONE * rule.percent / 100),
                    held_limit: credits(limit),
                    priority: rule.priority,
                    expires: Expiry { at: grant.expires.at, with_period: Some(rule.periods) },
                });
            }
        }
        if let Some(fee) = &settings.fee {
            let at = usize::from(settings.tier.is_some()) + usize::from(settings.cap.is_some());
            let missing = fee.least - context.counters[at].used.units();
            if missing > 0 {
                outcome.fees.push(Fee {
                    credit: fee.credit.parse().unwrap(),
                    label: "minimum".to_owned(),
                    amount: credits(missing),
                    method: if fee.drawn { FeeMethod::Drawn } else { FeeMethod::Invoiced },
                });
            }
        }
        outcome.settle = settlements(settings.settle_close, settings.settle_from, context);
        decided(outcome)
    }

    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        let settings = self.settings(form);
        let start = opening.period.start.at;
        let allowance = match settings.mode {
            Mode::Asked => match opening.allowance {
                "prorate" => Allowance::Prorate,
                "full" => Allowance::Full,
                _ => Allowance::Carry,
            },
            Mode::Carry => Allowance::Carry,
            Mode::Prorate => Allowance::Prorate,
            Mode::Full => Allowance::Full,
        };
        let issue = settings.allowances.iter().map(|rule| NewGrant {
            credit: rule.credit.parse().unwrap(),
            amount: credits(rule.amount),
            category: category(rule.category),
            priority: rule.priority,
            effective_at: rule.starts_in.map(|starts| start.plus_micros(starts)),
            expires: Expiry {
                at: rule.lasts.map(|lasts| start.plus_micros(lasts)),
                with_period: rule.with_period,
            },
            features: rule.features.iter().map(|feature| feature.parse().unwrap()).collect(),
            cost_basis: rule.paid.map(euros),
            allowance: if matches!(rule.category, "plan" | "trial") { allowance } else { Allowance::Full },
        });
        decided(OpenOutcome {
            issue: issue.collect(),
            settle: settlements(settings.settle_open, settings.settle_from, context),
            notes: Vec::new(),
        })
    }
}

fn settlements(how: Settling, from: SettleFrom, context: &Context) -> Vec<Settlement> {
    let method = match how {
        Settling::Keep => return Vec::new(),
        Settling::Invoice | Settling::InvoiceHalf => SettleMethod::Invoice,
        Settling::Waive => SettleMethod::Waive,
        Settling::Deduct => SettleMethod::Deduct,
    };
    if from == SettleFrom::Never {
        return Vec::new();
    }
    let of = |balance: &proviso_ledger::model::view::BalanceView| {
        let amount = match how {
            Settling::InvoiceHalf => Some(balance.overage.units() / 2).filter(|half| *half > 0).map(credits),
            _ => None,
        };
        let wanted = how != Settling::InvoiceHalf || amount.is_some();
        wanted.then(|| Settlement { credit: balance.credit.clone(), amount, method })
    };
    context.balances.iter().filter_map(of).collect()
}

pub fn instant(at: i64) -> Timestamp {
    Timestamp(at)
}
