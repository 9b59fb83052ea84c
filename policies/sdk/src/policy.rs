//! What a policy is to its author. In: the calls of the interface. Out: the same calls with typed settings. Nothing
//! here decides anything: a policy that says nothing of overage denies, and one that says nothing of resets does nothing.

use crate::{
    Credits, form, json,
    types::{
        Context, Counter, Manifest, OverageOutcome, Period, Prepared, Problem, Rating, Refusal, ResetOutcome,
        Usage,
    },
};
use alloc::{borrow::ToOwned, string::ToString, vec, vec::Vec};
use serde::de::DeserializeOwned;

/// What a policy says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    name: &'static str,
    version: &'static str,
    summary: &'static str,
    settings_schema: &'static str,
    needs: &'static [&'static str],
}

impl About {
    /// A policy's name, its author's version (semver) and one sentence.
    #[must_use]
    pub const fn new(name: &'static str, version: &'static str, summary: &'static str) -> Self {
        Self { name, version, summary, settings_schema: "{}", needs: &[] }
    }

    /// The JSON Schema of the settings, such as `include_str!("settings.schema.json")`.
    #[must_use]
    pub const fn settings_schema(self, settings_schema: &'static str) -> Self {
        Self { settings_schema, ..self }
    }

    /// What of the context the policy reads: `balances`, `grants`, `customer-attributes`. What is not needed costs
    /// nothing, so name only what `rate` reads; balances are there for `overage` and `reset` in any case, and grants
    /// for `reset`.
    #[must_use]
    pub const fn needs(self, needs: &'static [&'static str]) -> Self {
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
            needs: self.needs.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A policy whose settings are a type that serde can read: the value itself is one contract's settings.
///
/// Only [`rate`](Self::rate) must be written. Derive `Deserialize`, and say `#[serde(deny_unknown_fields)]` so that a
/// misspelt setting is refused and not ignored.
pub trait Policy: DeserializeOwned {
    /// What the policy says of itself.
    const ABOUT: About;

    /// What is wrong with settings that have the right types; nothing, unless the policy says so.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// The counters these settings need; `context.counters` holds their values in the same order.
    fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }

    /// What a usage costs.
    ///
    /// # Errors
    /// Why it may not happen.
    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal>;

    /// What happens when the cost exceeds what is available by `shortfall`: denied, unless the policy says otherwise.
    fn overage(
        &self,
        usage: &Usage,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
    ) -> OverageOutcome {
        let _ = (usage, rating);
        OverageOutcome::insufficient(shortfall, context)
    }

    /// What a period's end does: nothing, unless the policy says otherwise. `closing` is none when the customer's
    /// first period opens.
    fn reset(&self, closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome {
        let _ = (closing, next, context);
        ResetOutcome::default()
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

    /// See [`Policy::reset`].
    fn reset(form: &[u8], closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome;
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
        if problems.is_empty() { Ok(Prepared { form, counters: policy.counters() }) } else { Err(problems) }
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

    fn reset(form: &[u8], closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome {
        Policy::reset(&read_form::<P>(form), closing, next, context)
    }
}

/// The way from the component's exports to the policy.
impl<M: Module> crate::bindings::Guest for M {
    fn describe() -> Manifest {
        M::describe()
    }

    fn prepare(settings: alloc::string::String) -> Result<Prepared, Vec<Problem>> {
        M::prepare(&settings)
    }

    fn rate(usage: Usage, context: Context, form: Vec<u8>) -> Result<Rating, Refusal> {
        M::rate(&form, &usage, &context)
    }

    fn overage(
        usage: Usage,
        rating: Rating,
        shortfall: i64,
        context: Context,
        form: Vec<u8>,
    ) -> OverageOutcome {
        M::overage(&form, &usage, &rating, Credits(shortfall), &context)
    }

    fn reset(closing: Option<Period>, next: Period, context: Context, form: Vec<u8>) -> ResetOutcome {
        M::reset(&form, closing.as_ref(), &next, &context)
    }
}
