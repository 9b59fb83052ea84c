//! `proviso policy schema`: the JSON Schema of case files.

use super::test::format;
use crate::{error::Error, exit::Verdict, terminal};
use serde_json::Value;

/// Prints it.
pub fn run() -> Result<Verdict, Error> {
    terminal::print(&format!("{:#}\n", value()?))?;
    Ok(Verdict::Fine)
}

/// The schema.
pub fn value() -> Result<Value, Error> {
    let failed = |error: serde_json::Error| Error::Setting {
        origin: "the schema of case files".to_owned(),
        detail: error.to_string(),
    };
    format::schema::of_case_files().map_err(failed)
}
