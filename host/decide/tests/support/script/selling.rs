//! What is sold beside plans.

use super::{Script, Words, key};
use proviso_decide::{
    add_ons::AddOnChange,
    change::Change,
    command::Command,
    precondition::Expected,
    selling::{AddOn, Bundle, Credited, Promotion, Purchase, Redemption},
};
use proviso_ledger::model::{
    add_on::SoldAddOn,
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

/// `detach seats void`.
pub fn detach(words: &Words<'_>) -> Command {
    let (add_on, expected) = (key(words.args[0]), Expected::Anything);
    Command::EndAddOn { add_on, void: words.flag("void"), expected }
}

impl Script {
    /// `addon seats month {"grants": […], "entitlements": {…}}`, the next version where there is one; `most=5`, `withdrawn`.
    pub(super) fn put_add_on(&mut self, words: &Words<'_>) -> String {
        let mut json: serde_json::Value = serde_json::from_str(words.settings).unwrap();
        super::super::catalog::fill_grants(&mut json);
        let name = words.args[0].to_owned();
        let add_on = key(&name);
        let known = self.world.catalog.add_ons.get(&add_on).map_or(0, |one: &AddOn| one.sold.version);
        json["version"] = (known + 1).into();
        let mut sold: SoldAddOn = serde_json::from_value(json).unwrap();
        sold.interval = super::interval(words);
        let max_quantity = words.option("most").map(|most| most.parse().unwrap());
        let (for_sale, created_at) = (!words.flag("withdrawn"), self.world.now);
        let put = AddOn { add_on, name: name.clone(), sold, max_quantity, for_sale, created_at };
        self.world.catalog.add_ons.insert(key(&name), put);
        "put".to_owned()
    }

    /// `attach seats 3 from=+1d to=+2d version=2`, `to=never`.
    pub(super) fn attach(&self, words: &Words<'_>) -> Command {
        let time = |name: &str| {
            words.option(name).map_or(Change::Keep, |text| match text {
                "never" => Change::Clear,
                text => Change::Set(self.instant(text)),
            })
        };
        let quantity = words.args.get(1).and_then(|text| text.parse().ok());
        Command::SetAddOn(Box::new(AddOnChange {
            add_on: key(words.args[0]),
            quantity: quantity.map_or(Change::Keep, Change::Set),
            version: words.option("version").map(|version| version.parse().unwrap()),
            starts_at: time("from"),
            ends_at: time("to"),
            expected: Expected::Anything,
        }))
    }

    /// Which the customer has or will have, how many, and when each gives again.
    pub(super) fn add_ons(&self) -> String {
        let at = self.world.now.max(self.world.state.at);
        let standing = self.world.state.add_ons.iter().filter(|(_, one)| !one.attachment.is_over(at));
        let told = standing.map(|(add_on, one)| {
            let next = one.next_at.map(|next| format!(" next {next}")).unwrap_or_default();
            let of = &one.attachment;
            format!("{} {add_on} v{}{next}", of.quantity, of.sold.version)
        });
        let told = told.collect::<Vec<_>>();
        if told.is_empty() { "none".to_owned() } else { told.join(", ") }
    }

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
            self.world
                .catalog
                .bundles
                .insert(key(&name), Bundle { bundle, name, credits, price, for_sale, created_at });
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
