//! Reading what the host hands in. In: the records of the interface. Out: looked-up values with their units as types.
//! Nothing here changes them.

use crate::{
    Amount, Credits,
    types::{Balance, Context, Counter, Customer, Grant, Problem, Usage},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

impl Usage {
    /// The amount of a quantity; zero when the usage does not have it.
    #[must_use]
    pub fn quantity(&self, name: &str) -> Amount {
        self.quantities
            .iter()
            .find(|quantity| quantity.name == name)
            .map_or(Amount::ZERO, |quantity| Amount(quantity.amount))
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }
}

impl Customer {
    /// The value of an attribute; the manifest must need `customer-attributes`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }
}

impl Context {
    /// The balance of a credit type; in `rate` the manifest must need `balances`.
    #[must_use]
    pub fn balance(&self, credit: &str) -> Option<&Balance> {
        self.balances.iter().find(|balance| balance.credit == credit)
    }

    /// The value of the counter that `counters` declared at this place: microcredits for a cost, millionths for a
    /// quantity, before this usage.
    #[must_use]
    pub fn counter(&self, index: usize) -> i64 {
        self.counters.get(index).copied().unwrap_or(0)
    }

    /// The outstanding overage of a credit type.
    #[must_use]
    pub fn overage(&self, credit: &str) -> Credits {
        self.balance(credit).map_or(Credits::ZERO, |balance| Credits(balance.overage))
    }
}

impl Grant {
    /// What is neither spent nor held by a reservation.
    #[must_use]
    pub fn remaining(&self) -> Credits {
        Credits(self.remaining)
    }
}

/// Whose total a counter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// One total for the customer.
    Customer,
    /// One for each entity under the customer.
    Entity,
    /// One for each value of an attribute of the usage.
    Attribute(&'a str),
}

/// When a counter starts again at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// At each reset.
    Period,
    /// At local midnight.
    Day,
    /// At local midnight of the first of a month.
    Month,
    /// Never.
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
            Window::Period => "period",
            Window::Day => "day",
            Window::Month => "month",
            Window::Lifetime => "lifetime",
        };
        Self {
            name: name.to_owned(),
            measure,
            features: Vec::new(),
            scope: "customer".to_owned(),
            window: window.to_owned(),
        }
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

impl Problem {
    /// What is wrong at a JSON pointer into the settings.
    #[must_use]
    pub fn new(pointer: &str, detail: &str) -> Self {
        Self { pointer: pointer.to_owned(), detail: detail.to_owned() }
    }
}
