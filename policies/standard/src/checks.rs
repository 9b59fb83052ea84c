//! What is wrong with settings that have the right types, each at its JSON pointer.

use crate::{
    settings::{
        Above, Conditions, Discount, Multiplier, OverageMode, OverageSettings, PriceModel, Rate,
        ResetSettings, Settings, Span, Tiers,
    },
    table,
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use proviso_sdk::{Category, Credits, Percent, Price, Problem, Quantity};

/// How many attributes and quantities a usage may have.
const MOST_NAMES: usize = 64;

/// Collects problems, each at the place that is being looked at.
#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
    pointer: String,
}

// Settings are checked once: what is called from everywhere is kept out of line, so that the module stays small.
impl Check {
    /// Looks at a field.
    fn within(&mut self, field: &str, look: impl FnOnce(&mut Self)) {
        let before = self.enter(field);
        look(self);
        self.pointer.truncate(before);
    }

    /// Looks at every item of a list in a field.
    fn each<T>(&mut self, field: &str, items: &[T], mut look: impl FnMut(&mut Self, &T)) {
        let before = self.enter(field);
        for (index, item) in items.iter().enumerate() {
            let list = self.enter(&index.to_string());
            look(self, item);
            self.pointer.truncate(list);
        }
        self.pointer.truncate(before);
    }

    #[inline(never)]
    fn enter(&mut self, step: &str) -> usize {
        let before = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(step);
        before
    }

    #[inline(never)]
    fn that(&mut self, fine: bool, detail: &str) {
        if !fine {
            self.problems.push(Problem::new(&self.pointer, detail));
        }
    }

    #[inline(never)]
    fn at(&mut self, field: &str, fine: bool, detail: &str) {
        self.within(field, |check| check.that(fine, detail));
    }

    #[inline(never)]
    fn credit_type(&mut self, field: &str, text: &str) {
        let fine = (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
        self.at(field, fine, "must be 1 to 128 letters, digits, or any of _ . : -");
    }

    /// Features carry the caller's own keys.
    #[inline(never)]
    fn feature(&mut self, field: &str, text: &str) {
        let fine = (1..=256).contains(&text.len()) && !text.contains(char::is_control) && text.trim() == text;
        self.at(field, fine, "must be 1 to 256 bytes without control characters and surrounding spaces");
    }

    /// What the host accepts in one movement.
    #[inline(never)]
    fn credits(&mut self, field: &str, credits: Credits) {
        let fine = credits.is_positive() && credits.is_acceptable();
        self.at(field, fine, "must be above 0 and below 1000000000000000");
    }

    /// What lines say: with all that is added to it, it fits what the host takes.
    #[inline(never)]
    fn label(&mut self, text: &str) {
        let fine = text.len() <= 300 && !text.contains(char::is_control);
        self.at("label", fine, "must be at most 300 bytes without control characters");
    }

    #[inline(never)]
    fn conditions(&mut self, when: &Conditions) {
        self.at("when", when.0.len() <= MOST_NAMES, "a usage has at most 64 attributes");
    }

    /// Names of quantities, each once.
    #[inline(never)]
    fn quantities(&mut self, field: &str, names: &[String]) {
        self.each(field, names, |check, name| {
            check.that(!name.is_empty(), "must not be empty");
            let first = names.iter().find(|other| *other == name);
            check.that(first.is_some_and(|first| core::ptr::eq(first, name)), "is given twice");
        });
        self.at(field, names.len() <= MOST_NAMES, "a usage has at most 64 quantities");
    }

    #[inline(never)]
    fn price(&mut self, field: &str, price: Price) {
        let fine = !price.is_negative() && price.is_acceptable();
        self.at(field, fine, "must not be negative, and below 1000000000000000");
    }
}

impl Settings {
    /// What is wrong with settings that have the right types.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut check = Check::default();
        check.credit_type("credit", &self.credit);
        let minimum = self.minimum_charge;
        let fine = !minimum.is_negative() && minimum.is_acceptable();
        check.at("minimum_charge", fine, "must not be negative, and below 1000000000000000");
        let maximum = self.maximum_charge;
        let fine = maximum.is_none_or(|maximum| maximum.is_positive() && maximum.is_acceptable());
        check.at("maximum_charge", fine, "must be above 0 and below 1000000000000000");
        let fine = maximum.is_none_or(|maximum| minimum <= maximum);
        check.at("maximum_charge", fine, "must not be below minimum_charge");
        check.each("rates", &self.rates, |check, rate| {
            rate.check(check);
            let same = |other: &&Rate| {
                (&other.feature, &other.quantity) == (&rate.feature, &rate.quantity)
                    && (&other.when, &other.above) == (&rate.when, &rate.above)
            };
            let first = self.rates.iter().find(same).is_some_and(|first| core::ptr::eq(first, rate));
            check.that(first, "an earlier rate has the same feature, quantity and conditions");
        });
        check.each("multipliers", &self.multipliers, |check, multiplier| {
            multiplier.check(check);
            let same = |other: &&Multiplier| {
                (&other.feature, &other.when) == (&multiplier.feature, &multiplier.when)
            };
            let first =
                self.multipliers.iter().find(same).is_some_and(|first| core::ptr::eq(first, multiplier));
            check.that(first, "an earlier multiplier has the same feature and conditions");
        });
        check.each("discounts", &self.discounts, |check, discount| discount.check(check));
        check.within("overage", |check| self.overage.check(check));
        if let Some(reset) = &self.reset {
            check.within("reset", |check| reset.check(check));
        }
        check.problems
    }
}

impl Rate {
    fn check(&self, check: &mut Check) {
        if let Some(feature) = &self.feature {
            check.feature("feature", feature);
        }
        check.at("quantity", self.quantity.as_deref() != Some(""), "must not be empty");
        check.within("price", |check| {
            let flat = matches!(self.price, PriceModel::Flat(_));
            check.that(flat || self.quantity.is_some(), "only a flat price goes without a quantity");
            match &self.price {
                PriceModel::Flat(price) => check.price("flat", *price),
                PriceModel::PerUnit(price) => check.price("per_unit", *price),
                PriceModel::PerBlock(block) => check.within("per_block", |check| {
                    check.at("size", block.size.is_positive(), "must be above 0");
                    check.price("price", block.price);
                }),
                PriceModel::Graduated(tiers) => check.within("graduated", |check| tiers.check(check)),
                PriceModel::Volume(tiers) => check.within("volume", |check| tiers.check(check)),
            }
        });
        if let Some(included) = &self.included {
            check.within("included", |check| {
                check.at("units", included.units.is_positive(), "must be above 0");
                let fits = matches!(self.price, PriceModel::PerUnit(_));
                check.that(fits, "goes with per_unit only; give tiers a first tier with the price 0");
            });
        }
        check.label(&table::label(self));
        check.conditions(&self.when);
        let over_time = self.span() != Span::Usage;
        let kept = !over_time || self.when.0.len() <= 1;
        check.at("when", kept, "a total over time can be kept for one attribute, not for several");
        check.quantities("less", &self.less);
        let parts = self.less.is_empty() || self.quantity.is_some();
        check.at("less", parts, "goes with a quantity only");
        let apart = self.quantity.as_ref().is_none_or(|quantity| !self.less.contains(quantity));
        check.at("less", apart, "must not hold the quantity itself");
        let whole = self.less.is_empty() || !over_time;
        check.at("less", whole, "a total over time counts the whole quantity, so nothing can be taken off");
        if let Some(above) = &self.above {
            check.within("above", |check| above.check(check));
            check.at("above", !over_time, "a total over time counts all usages, not only these");
        }
    }
}

impl Above {
    fn check(&self, check: &mut Check) {
        check.at("quantities", !self.quantities.is_empty(), "must hold at least one quantity");
        check.quantities("quantities", &self.quantities);
        check.at("amount", !self.amount.is_negative(), "must not be negative");
    }
}

impl Multiplier {
    fn check(&self, check: &mut Check) {
        if let Some(feature) = &self.feature {
            check.feature("feature", feature);
        }
        check.conditions(&self.when);
        check.label(&self.label());
        let fine = !self.times.is_negative() && self.times <= Quantity::from_whole(1_000_000);
        check.at("times", fine, "must be 0 to 1000000");
    }
}

impl Discount {
    fn check(&self, check: &mut Check) {
        if let Some(feature) = &self.feature {
            check.feature("feature", feature);
        }
        check.conditions(&self.when);
        check.label(&self.label());
        let fine = self.percent.is_positive() && self.percent <= Percent::ALL;
        check.at("percent", fine, "must be above 0 and at most 100");
        if let Some(hours) = &self.hours {
            check.within("hours", |check| {
                check.at("to", hours.from != hours.to, "must differ from \"from\"");
            });
        }
        if let Some(spend) = &self.spend {
            check.within("spend", |check| {
                check.at("per", spend.per != Span::Usage, "must be day, month, period or lifetime");
                check.credits("from", spend.from);
            });
        }
    }
}

impl Tiers {
    fn check(&self, check: &mut Check) {
        let count = self.tiers.len();
        check.at("tiers", (1..=32).contains(&count), "must hold 1 to 32 tiers");
        let (mut below, mut left) = (Quantity::ZERO, count);
        check.each("tiers", &self.tiers, |check, tier| {
            left -= 1;
            check.price("per_unit", tier.per_unit);
            match tier.up_to {
                Some(up_to) => {
                    check.at("up_to", up_to > below, "must be above the tier before");
                    check.at("up_to", left > 0, "the last tier has no end");
                    below = up_to;
                }
                None => check.that(left == 0, "field \"up_to\" is missing"),
            }
        });
    }
}

impl OverageSettings {
    fn check(&self, check: &mut Check) {
        use OverageMode::{Allow, RequirePurchase, TopUp};
        for (field, given, mode, detail) in [
            ("limit", self.limit.is_some(), Allow, "goes with the mode allow only"),
            ("offers", !self.offers.is_empty(), RequirePurchase, "goes with the mode require_purchase only"),
            ("pack", self.pack.is_some(), TopUp, "goes with the mode top_up only"),
            ("max_packs", self.max_packs.is_some(), TopUp, "goes with the mode top_up only"),
            ("price", self.price.is_some(), TopUp, "goes with the mode top_up only"),
            (
                "expires_after_days",
                self.expires_after_days.is_some(),
                TopUp,
                "goes with the mode top_up only",
            ),
        ] {
            check.at(field, !given || self.mode == mode, detail);
        }
        check.at("limit", self.limit.is_none_or(|limit| !limit.is_negative()), "must not be negative");
        let offers = self.mode != RequirePurchase || !self.offers.is_empty();
        check.at("offers", offers, "must hold at least one offer");
        check.each("offers", &self.offers, |check, offer| {
            check.credits("credits", offer.credits);
        });
        match self.pack {
            Some(pack) => check.credits("pack", pack),
            None => check.that(self.mode != TopUp, "field \"pack\" is missing"),
        }
        check.at("max_packs", self.max_packs != Some(0), "must be above 0");
        check.at("expires_after_days", self.expires_after_days != Some(0), "must be above 0");
    }
}

impl ResetSettings {
    fn check(&self, check: &mut Check) {
        check.each("allowance", &self.allowance, |check, allowance| {
            check.credits("amount", allowance.amount);
            check.credit_type("credit", &allowance.credit);
            check.within("features", |check| {
                for (index, feature) in allowance.features.iter().enumerate() {
                    check.feature(&index.to_string(), feature);
                }
            });
        });
        check.each("expire", self.expire.as_deref().unwrap_or_default(), |check, category| {
            let rolls = self.rollover.is_some() && *category == Category::Rollover;
            check.that(!rolls, "give the rollover expires_after_periods instead");
        });
        let Some(rollover) = &self.rollover else { return };
        check.within("rollover", |check| {
            let percent =
                rollover.percent.is_none_or(|percent| percent.is_positive() && percent <= Percent::ALL);
            check.at("percent", percent, "must be above 0 and at most 100");
            check.at("cap", rollover.cap.is_none_or(Credits::is_positive), "must be above 0");
            check.at("max", rollover.max.is_none_or(Credits::is_positive), "must be above 0");
            check.at("expires_after_periods", rollover.expires_after_periods != Some(0), "must be above 0");
        });
    }
}
