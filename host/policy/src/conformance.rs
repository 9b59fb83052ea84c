//! Tries a module before anything depends on it: it must answer the same when asked twice, and take bad settings
//! without falling over. A module in, what it did wrong out.

use crate::{
    fault::{Fault, Rejection},
    module::Module,
};

/// Settings that every policy will meet sooner or later.
const SETTINGS: [&str; 5] = ["{}", "not json", "", "null", "[[[[[[[[\"\\u0000\"]]]]]]]]"];

pub(crate) fn check(module: &Module) -> Result<(), Rejection> {
    let (first, second) =
        (module.describe().map_err(in_call("describe"))?, module.describe().map_err(in_call("describe"))?);
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

fn in_call(place: &str) -> impl Fn(Fault) -> Rejection {
    let place = place.to_owned();
    move |fault| Rejection::one(fault.code(), place.clone(), fault.to_string())
}
