//! What a policy is to its author: a type with the settings of one contract and a way to rate.

use crate::{
    boundary::{CloseOutcome, Closing, OpenOutcome, Opening},
    context::{Category, Context},
    counter::Counter,
    overage::OverageOutcome,
    problem::Problem,
    rating::{CREDITS, Rating, Refusal},
    settings::{form, json},
    usage::Usage,
};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use proviso_amounts::Credits;
use serde::{Deserialize, de::DeserializeOwned};

/// What of the context a policy reads when it rates. What is not needed is left out, since it costs time in every decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The balance of each credit type; there for `overage`, `close` and `open` in any case.
    Balances,
    /// The live grants; there for `close` and `open` in any case.
    Grants,
    /// The attributes of the customer.
    CustomerAttributes,
    /// The attributes of the entities that used.
    EntityAttributes,
}

impl Need {
    fn name(self) -> String {
        let name = match self {
            Self::Balances => "balances",
            Self::Grants => "grants",
            Self::CustomerAttributes => "customer-attributes",
            Self::EntityAttributes => "entity-attributes",
        };
        name.to_owned()
    }
}

/// What a policy says of itself, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The policy's name.
    pub name: String,
    /// The author's version, semver.
    pub version: String,
    /// One sentence for people.
    pub summary: String,
    /// JSON Schema of the settings, for people and forms.
    pub settings_schema: String,
    /// What of the context it reads.
    pub needs: Vec<String>,
}

/// What a policy says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    name: &'static str,
    version: &'static str,
    summary: &'static str,
    settings_schema: &'static str,
    needs: &'static [Need],
}

impl About {
    /// A policy's name, its author's version (semver) and one sentence.
    #[must_use]
    pub const fn new(name: &'static str, version: &'static str, summary: &'static str) -> Self {
        Self { name, version, summary, settings_schema: "{}", needs: &[] }
    }

    /// The JSON Schema of the settings, such as `settings_schema!("../settings.schema.json")`.
    #[must_use]
    pub const fn settings_schema(self, settings_schema: &'static str) -> Self {
        Self { settings_schema, ..self }
    }

    /// What of the context `rate` reads.
    #[must_use]
    pub const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    /// As the interface wants it.
    #[must_use]
    pub fn manifest(self) -> Manifest {
        Manifest {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            summary: self.summary.to_owned(),
            settings_schema: self.settings_schema.to_owned(),
            needs: self.needs.iter().map(|need| need.name()).collect(),
        }
    }
}

/// A feature that settings price, and the credit type that it draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedFeature {
    /// None: every feature that no other item names.
    pub feature: Option<String>,
    /// The credit type.
    pub credit: String,
}

impl PricedFeature {
    /// A feature that draws this credit type.
    #[must_use]
    pub fn new(feature: &str, credit: &str) -> Self {
        Self { feature: Some(feature.to_owned()), credit: credit.to_owned() }
    }

    /// Every feature that no other item names.
    #[must_use]
    pub fn others(credit: &str) -> Self {
        Self { feature: None, credit: credit.to_owned() }
    }
}

/// What pays outstanding overage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettleOverageFrom {
    /// A grant that the customer paid for, as soon as it is given.
    #[default]
    Purchases,
    /// What `close` and `open` settle, and nothing else.
    Reset,
    /// Nothing.
    Never,
}

/// Settings that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The settings in the policy's own compact form: handed to every decision, at most 64 KiB.
    pub form: Vec<u8>,
    /// The counters that these settings need; at most 32.
    pub counters: Vec<Counter>,
    /// What these settings price.
    pub features: Vec<PricedFeature>,
    /// What pays outstanding overage.
    pub settle_overage_from: SettleOverageFrom,
    /// Categories whose grants expire with their period, unless they are given with an expiry of their own.
    pub period_categories: Vec<Category>,
}

/// A policy whose settings are a type that serde can read: the value itself is one contract's settings.
///
/// Only [`rate`](Self::rate) must be written. Derive `Deserialize`, and say `#[serde(deny_unknown_fields)]` so that a
/// misspelt setting is refused and not ignored.
pub trait Policy: DeserializeOwned {
    /// What the policy says of itself.
    const ABOUT: About;

    /// What is wrong with settings that have the right types. Defaults to nothing.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// The counters that these settings need. Defaults to none. [`Context::cost_counter`] and
    /// [`Context::quantity_counter`] give their values, by their place in this list.
    fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }

    /// What these settings price, and from which credit type: entitlements look there. Defaults to every feature,
    /// drawing the usual credits.
    fn features(&self) -> Vec<PricedFeature> {
        vec![PricedFeature::others(CREDITS)]
    }

    /// What pays outstanding overage. Defaults to what the customer buys.
    fn settle_overage_from(&self) -> SettleOverageFrom {
        SettleOverageFrom::Purchases
    }

    /// Categories whose grants expire with their period, unless they are given with an expiry of their own. Defaults to
    /// none: what `open` issues says itself when it expires.
    fn period_categories(&self) -> Vec<Category> {
        Vec::new()
    }

    /// What a usage costs.
    ///
    /// # Errors
    /// Why it may not happen.
    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal>;

    /// What happens when the cost exceeds what is available by `shortfall`. Defaults to a denial.
    fn overage(
        &self,
        usage: &Usage,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
    ) -> OverageOutcome {
        let _ = rating;
        OverageOutcome::insufficient(shortfall, usage, context)
    }

    /// What the end of a period does, asked of the terms in force just before it. Defaults to nothing.
    fn close(&self, closing: &Closing, context: &Context) -> CloseOutcome {
        let _ = (closing, context);
        CloseOutcome::default()
    }

    /// What the beginning of a period does, asked of the terms in force from it on. Defaults to nothing.
    fn open(&self, opening: &Opening, context: &Context) -> OpenOutcome {
        let _ = (opening, context);
        OpenOutcome::default()
    }
}

/// A policy that chooses its own compact form. Every [`Policy`] is one; implement it directly only when reading the
/// settings afresh for each decision costs too much.
pub trait Module {
    /// What the policy says of itself.
    fn describe() -> Manifest;

    /// Checks the settings (JSON text) and gives the form that every decision will get.
    ///
    /// # Errors
    /// What is wrong with them.
    fn prepare(settings: &str) -> Result<Prepared, Vec<Problem>>;

    /// See [`Policy::rate`].
    ///
    /// # Errors
    /// Why the usage may not happen.
    fn rate(form: &[u8], usage: &Usage, context: &Context) -> Result<Rating, Refusal>;

    /// See [`Policy::overage`].
    fn overage(
        form: &[u8],
        usage: &Usage,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
    ) -> OverageOutcome;

    /// See [`Policy::close`].
    fn close(form: &[u8], closing: &Closing, context: &Context) -> CloseOutcome;

    /// See [`Policy::open`].
    fn open(form: &[u8], opening: &Opening, context: &Context) -> OpenOutcome;
}

/// Reads settings from JSON text: the value, and the form to read it from again.
///
/// # Errors
/// What is wrong with them, and where.
pub fn read_settings<S: DeserializeOwned>(text: &str) -> Result<(S, Vec<u8>), Problem> {
    let form = json::compact(text)?;
    let settings = form::read(&form)?;
    Ok((settings, form))
}

/// Reads what [`read_settings`] gave as the form.
///
/// # Panics
/// When the form is not one that this module gave: nothing is decided on damaged settings.
#[must_use]
pub fn read_form<S: DeserializeOwned>(form: &[u8]) -> S {
    match form::read(form) {
        Ok(settings) => settings,
        Err(error) => damaged(&error.to_string()),
    }
}

/// What [`read_settings`] gave as the form, without these fields of the settings: for a [`Module`] that keeps them in a form
/// of its own.
///
/// # Panics
/// When the form is not one that this module gave.
#[must_use]
pub fn form_without(form: &[u8], fields: &[&str]) -> Vec<u8> {
    match form::without(form, fields) {
        Ok(form) => form,
        Err(error) => damaged(&error.to_string()),
    }
}

/// Stops the decision, which the host records as a fault.
///
/// # Panics
/// Always: it is for a form that this module did not give.
#[allow(clippy::panic)] // A trap is how a module says that no answer of its own can be right.
#[cold]
pub fn damaged(detail: &str) -> ! {
    panic!("{detail}")
}

impl<P: Policy> Module for P {
    fn describe() -> Manifest {
        P::ABOUT.manifest()
    }

    fn prepare(settings: &str) -> Result<Prepared, Vec<Problem>> {
        let (policy, form) = read_settings::<P>(settings).map_err(|problem| vec![problem])?;
        let problems = policy.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Prepared {
            form,
            counters: policy.counters(),
            features: policy.features(),
            settle_overage_from: policy.settle_overage_from(),
            period_categories: policy.period_categories(),
        })
    }

    fn rate(form: &[u8], usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        Policy::rate(&read_form::<P>(form), usage, context)
    }

    fn overage(
        form: &[u8],
        usage: &Usage,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
    ) -> OverageOutcome {
        Policy::overage(&read_form::<P>(form), usage, rating, shortfall, context)
    }

    fn close(form: &[u8], closing: &Closing, context: &Context) -> CloseOutcome {
        Policy::close(&read_form::<P>(form), closing, context)
    }

    fn open(form: &[u8], opening: &Opening, context: &Context) -> OpenOutcome {
        Policy::open(&read_form::<P>(form), opening, context)
    }
}
