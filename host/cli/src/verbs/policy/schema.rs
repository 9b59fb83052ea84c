//! `proviso policy schema`: the JSON Schema of case files.

use super::test::format;
use crate::{error::Error, exit::Verdict, terminal};

/// Prints it.
pub fn run() -> Result<Verdict, Error> {
    let schema = format::schema::of_case_files().map_err(|error| Error::Setting {
        origin: "the schema of case files".to_owned(),
        detail: error.to_string(),
    })?;
    terminal::print(&format!("{schema:#}\n"))?;
    Ok(Verdict::Fine)
}
