//! Usage totals that the host keeps for a policy, exactly and together with the ledger.

use crate::usage::{Purpose, Usage};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use proviso_amounts::{Credits, Decimal, Quantity};

/// A total that [`crate::Policy::counters`] asks for, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// For people.
    pub name: String,
    /// `cost` or `quantity:<name>`.
    pub measure: String,
    /// Count only these features; empty counts all.
    pub features: Vec<String>,
    /// `customer`, `entity` or `attribute:<name>`.
    pub scope: String,
    /// `period`, `cycle`, `day`, `month`, `hours:<n>` or `lifetime`.
    pub window: String,
}

/// Whose total a counter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// One total for the customer.
    Customer,
    /// One for each entity, with all that is under it.
    Entity,
    /// One for each value of an attribute of the usage.
    Attribute(&'a str),
}

/// Over which time a counter adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The billing period. Each change of plan and each reset on request begins one, so what is sold at another price until a
    /// total is reached counts by [`Window::Cycle`].
    Period,
    /// The cycle, in which a plan's allowance is given once: a change of plan goes on counting in it, a reset on request begins one.
    Cycle,
    /// The local day.
    Day,
    /// The local calendar month.
    Month,
    /// The current clock hour of UTC and the ones before it: so many in all, from 1 to 744.
    Hours(u16),
    /// All time.
    Lifetime,
}

impl Counter {
    /// A total of costs.
    #[must_use]
    pub fn cost(name: &str, window: Window) -> Self {
        Self::new(name, "cost".to_owned(), window)
    }

    /// A total of a quantity.
    #[must_use]
    pub fn quantity(name: &str, quantity: &str, window: Window) -> Self {
        Self::new(name, format!("quantity:{quantity}"), window)
    }

    fn new(name: &str, measure: String, window: Window) -> Self {
        let window = match window {
            Window::Period => "period".to_owned(),
            Window::Cycle => "cycle".to_owned(),
            Window::Day => "day".to_owned(),
            Window::Month => "month".to_owned(),
            Window::Hours(hours) => format!("hours:{hours}"),
            Window::Lifetime => "lifetime".to_owned(),
        };
        let scope = "customer".to_owned();
        Self { name: name.to_owned(), measure, features: Vec::new(), scope, window }
    }

    /// Counts this feature; without any, all are counted.
    #[must_use]
    pub fn feature(mut self, feature: &str) -> Self {
        self.features.push(feature.to_owned());
        self
    }

    /// Keeps one total for each of these; without it, one for the customer.
    #[must_use]
    pub fn for_each(mut self, scope: Scope<'_>) -> Self {
        self.scope = match scope {
            Scope::Customer => "customer".to_owned(),
            Scope::Entity => "entity".to_owned(),
            Scope::Attribute(name) => format!("attribute:{name}"),
        };
        self
    }
}

/// A counter's total before this usage: [`Credits`] for costs, [`Quantity`] for a quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted<T> {
    used: T,
    held: T,
}

impl<T: Copy> Counted<T> {
    /// A total of what was used and what open reservations hold.
    pub const fn new(used: T, held: T) -> Self {
        Self { used, held }
    }

    /// What was used.
    pub const fn used(self) -> T {
        self.used
    }

    /// What open reservations hold.
    pub const fn held(self) -> T {
        self.held
    }
}

macro_rules! counted {
    ($name:ident) => {
        impl Counted<$name> {
            /// Used and held together: what a cap must count, so that requests in flight can't pass it.
            #[must_use]
            pub const fn total(self) -> $name {
                self.used.saturating_add(self.held)
            }

            /// From where prices that depend on a total go on: a charge and a commit are final, so from what was used; a
            /// reservation must hold enough when all others are used, so from the total.
            #[must_use]
            pub fn before(self, usage: &Usage) -> $name {
                if usage.purpose == Purpose::Reserve { self.total() } else { self.used }
            }
        }

        impl From<Counted<Decimal>> for Counted<$name> {
            fn from(counted: Counted<Decimal>) -> Self {
                Self { used: $name::new(counted.used), held: $name::new(counted.held) }
            }
        }
    };
}
counted!(Credits);
counted!(Quantity);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{credits, usage};

    #[test]
    fn declarations_read_as_the_interface_has_them() {
        for (counter, measure, scope, window) in [
            (Counter::cost("c", Window::Period), "cost", "customer", "period"),
            (Counter::cost("c", Window::Cycle), "cost", "customer", "cycle"),
            (Counter::cost("c", Window::Hours(24)).for_each(Scope::Entity), "cost", "entity", "hours:24"),
            (
                Counter::quantity("c", "tokens", Window::Month).for_each(Scope::Attribute("model")),
                "quantity:tokens",
                "attribute:model",
                "month",
            ),
            (Counter::quantity("c", "n", Window::Lifetime), "quantity:n", "customer", "lifetime"),
            (Counter::cost("c", Window::Day).for_each(Scope::Customer), "cost", "customer", "day"),
        ] {
            let read = (counter.measure.as_str(), counter.scope.as_str(), counter.window.as_str());
            assert_eq!(read, (measure, scope, window));
        }
    }

    #[test]
    fn only_reservations_are_priced_behind_what_is_held() {
        let counted = Counted::new(credits("10"), credits("5"));
        for (purpose, before) in [(Purpose::Charge, "10"), (Purpose::Reserve, "15"), (Purpose::Commit, "10")]
        {
            assert_eq!(
                counted.before(&usage("chat").purpose(purpose).build()),
                credits(before),
                "{purpose:?}"
            );
        }
        assert_eq!(
            Counted::new(Credits::LARGEST, Credits::LARGEST).total(),
            Credits::LARGEST.repeated(2).unwrap()
        );
    }
}
