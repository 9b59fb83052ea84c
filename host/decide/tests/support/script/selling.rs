//! What is sold beside plans.

use super::{Script, Words, key};
use proviso_decide::{
    command::Command,
    selling::{Bundle, Credited, Promotion, Purchase, Redemption},
};
use proviso_ledger::model::{
    grant::Category,
    period::{Interval, IntervalUnit},
    plan_grant::PlanExpiry,
};

/// `buy pack 2 payment=pi_1 paid=9.90`.
pub fn purchase(words: &Words<'_>) -> Command {
    Command::Purchase(Box::new(Purchase {
        bundle: key(words.args[0]),
        quantity: words.args.get(1).map_or(1, |quantity| quantity.parse().unwrap()),
        payment: words.option("payment").map(str::to_owned),
        cost_basis: words.option("paid").map(super::top_ups::euros),
    }))
}

/// `redeem SPRING 7`: the seventh.
pub fn redemption(words: &Words<'_>) -> Command {
    let number = words.args.get(1).map_or(1, |number| number.parse().unwrap());
    Command::Redeem(Box::new(Redemption { promotion: key(words.args[0]), number }))
}

impl Script {
    /// `bundle pack 100 price=9.90 days=30 scope=chat withdrawn`, `promotion SPRING 20 from=+1d to=+2d plan=pro`; both take
    /// `credit=` and `priority=`.
    pub(super) fn put_product(&mut self, words: &Words<'_>) -> String {
        let is_bundle = words.verb == "bundle";
        let days = |days: &str| Interval::new(IntervalUnit::Day, days.parse().unwrap()).unwrap();
        let credits = Credited {
            amount: words.args[1].parse().unwrap(),
            credit: key(words.option("credit").unwrap_or("credits")),
            category: if is_bundle { Category::Prepaid } else { Category::Promotional },
            priority: words.option("priority").map_or(0, |text| text.parse().unwrap()),
            features: words.option("scope").iter().flat_map(|text| text.split(',')).map(key).collect(),
            expires: words.option("days").map_or(PlanExpiry::Never, |text| PlanExpiry::After(days(text))),
        };
        let (name, created_at) = (words.args[0].to_owned(), self.world.now);
        let time = |name: &str| words.option(name).map(|text| self.instant(text));
        let (starts_at, ends_at) = (time("from"), time("to"));
        if is_bundle {
            let price = words.option("price").map(super::top_ups::euros);
            let for_sale = !words.flag("withdrawn");
            let bundle = key(&name);
            self.world.catalog.bundles.insert(
                key(&name),
                Bundle { bundle, name, credits, price, for_sale, created_at },
            );
        } else {
            let promotion = key(&name);
            let plans = words.option("plan").map(key).into_iter().collect();
            self.world.catalog.promotions.insert(
                key(&name),
                Promotion {
                    promotion,
                    name,
                    credits,
                    starts_at,
                    ends_at,
                    max_redemptions: None,
                    plans,
                    created_at,
                },
            );
        }
        "put".to_owned()
    }
}
