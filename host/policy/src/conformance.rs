//! Tries a module before anything depends on it: it must answer the same when asked twice, and take bad settings
//! without a fault.

use crate::{fault::Rejection, module::Module};
use proviso_decide::policy::{Decided, Failure, Policy};
use proviso_ledger::model::answers::Manifest;

/// Settings that every policy will meet sooner or later.
const SETTINGS: [&str; 5] = ["{}", "not json", "", "null", "[[[[[[[[\"\\u0000\"]]]]]]]]"];

pub(crate) fn check(module: &Module) -> Result<(), Rejection> {
    let (first, second) = (describe(module)?, describe(module)?);
    if first != second {
        let detail =
            format!("answers differently when asked twice ({} and {} fuel)", first.fuel, second.fuel);
        return Err(Rejection::one("not_deterministic", "describe", detail));
    }
    for settings in SETTINGS {
        let place = format!("prepare({settings:?})");
        let first = module.prepare(settings).map_err(in_call(&place))?;
        if module.prepare(settings).map_err(in_call(&place))? != first {
            return Err(Rejection::one("not_deterministic", place, "answers differently when asked twice"));
        }
    }
    Ok(())
}

fn describe(module: &Module) -> Result<Decided<Manifest>, Rejection> {
    module.describe().map_err(Failure::from).map_err(in_call("describe"))
}

fn in_call(place: &str) -> impl Fn(Failure) -> Rejection {
    let place = place.to_owned();
    move |failure| Rejection::one(failure.code, place.clone(), failure.detail)
}
