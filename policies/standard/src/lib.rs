//! The policy that most plans use. In: settings with rates, what happens beyond the last credit, and what a reset does.
//! Out: costs with lines that add up to them, overage outcomes and resets. No plan's numbers are written here.
//!
//! Rates are matched by feature, quantity and attributes; the most specific one wins (see [`settings::Rate`]). The
//! prepared form is a table sorted by feature and quantity, so that a decision looks at the few rates that it may need
//! and at nothing else.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod bytes;
mod checks;
mod overage;
mod rating;
mod reset;
pub mod settings;
mod table;
mod tiers;

use alloc::vec::Vec;
use proviso_sdk::{
    About, Credits, Module, damaged, read_form, read_settings,
    types::{
        Context, Manifest, OverageOutcome, Period, Prepared, Problem, Rating, Refusal, ResetOutcome, Usage,
    },
};
use settings::{Ending, Settings};
use table::Table;

const ABOUT: About = About::new(
    "standard",
    "1.0.0",
    "Rates, allowances, rollover and overage for most plans, all by settings.",
)
.settings_schema(include_str!("../settings.schema.json"));

/// The policy.
#[derive(Debug)]
pub struct Standard;

/// The form is the length of the rate table in four bytes, the table, and the settings as the sdk reads them.
fn split(form: &[u8]) -> (Table<'_>, &[u8]) {
    let parts = || {
        let (length, rest) = form.split_first_chunk()?;
        let (table, settings) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        Some((Table::open(table)?, settings))
    };
    parts().unwrap_or_else(|| damaged("the prepared rates are damaged"))
}

impl Module for Standard {
    fn describe() -> Manifest {
        ABOUT.manifest()
    }

    fn prepare(text: &str) -> Result<Prepared, Vec<Problem>> {
        let (settings, rest) = read_settings::<Settings>(text).map_err(|problem| Vec::from([problem]))?;
        let mut problems = settings.problems();
        let (table, counters) = table::build(&settings, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
        Ok(Prepared { form: [&length.to_le_bytes(), &*table, &*rest].concat(), counters })
    }

    fn rate(form: &[u8], usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        rating::rate(&split(form).0, usage, context)
    }

    fn overage(form: &[u8], _: &Usage, _: &Rating, shortfall: Credits, context: &Context) -> OverageOutcome {
        read_form::<Ending>(split(form).1).overage(shortfall, context)
    }

    fn reset(form: &[u8], closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome {
        read_form::<Ending>(split(form).1).reset(closing, next, context)
    }
}

proviso_sdk::export!(Standard, no_std);
