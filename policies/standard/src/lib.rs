//! The policy that most plans use: rates, what happens when credits run out, and what a period's end and beginning do, all
//! by settings.
//!
//! Rates are matched by feature, quantity and attributes; the most specific one wins (see [`settings::Rate`]). The
//! prepared form is a table sorted by feature and quantity, so that a decision looks at the few rates that it may need
//! and at nothing else.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod adjust;
mod boundary;
mod bytes;
mod checks;
mod conditions;
mod counters;
mod overage;
mod rating;
pub mod settings;
mod table;
mod tiers;

use alloc::{format, vec::Vec};
use proviso_sdk::{
    About, CloseOutcome, Closing, Context, Credits, Manifest, Module, OpenOutcome, Opening, OverageOutcome,
    Prepared, Problem, Rating, Refusal, Usage, damaged, form_without, read_form, read_settings,
};
use settings::{RATING, Settings, WithoutRates};
use table::{Built, Table};

const ABOUT: About = About::new(
    "standard",
    "1.0.0",
    "Rates, allowances, rollover and overage for most plans, all by settings.",
)
.settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"));

/// The policy.
#[derive(Debug)]
pub struct Standard;

/// More rates than any form holds are not looked at, since that would take more fuel than there is.
const MOST_RATES: usize = 1_000;

/// How the host limits the form.
const MOST_BYTES: usize = 64 << 10;

/// The form is the length of the rate table in four bytes, the table, and the other settings as the sdk reads them.
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
        if settings.rates.len() > MOST_RATES {
            return Err(too_many_rates(&format!("at most {MOST_RATES} can be given")));
        }
        let mut problems = settings.problems();
        let Built { table, counters, features } = table::build(&settings, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let rest = form_without(&rest, &RATING);
        let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let form = [&length.to_le_bytes(), &*table, &*rest].concat();
        if form.len() > MOST_BYTES {
            let detail = format!("they take {} bytes with all settings, of {MOST_BYTES}", form.len());
            return Err(too_many_rates(&detail));
        }
        Ok(Prepared {
            form,
            counters,
            features,
            settle_overage_from: settings.overage.settle_from,
            period_categories: settings.reset.map(|reset| reset.period_categories()).unwrap_or_default(),
        })
    }

    fn rate(form: &[u8], usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        rating::rate(&split(form).0, usage, context)
    }

    fn overage(
        form: &[u8],
        usage: &Usage,
        _: &Rating,
        shortfall: Credits,
        context: &Context,
    ) -> OverageOutcome {
        without_rates(form).overage(usage, shortfall, context)
    }

    fn close(form: &[u8], closing: &Closing, context: &Context) -> CloseOutcome {
        without_rates(form).close(closing, context)
    }

    fn open(form: &[u8], opening: &Opening, context: &Context) -> OpenOutcome {
        without_rates(form).open(opening, context)
    }
}

fn too_many_rates(detail: &str) -> Vec<Problem> {
    Vec::from([Problem::new("/rates", &format!("{detail}: use fewer rates"))])
}

fn without_rates(form: &[u8]) -> WithoutRates {
    read_form(split(form).1)
}

proviso_sdk::export!(Standard, no_std);
