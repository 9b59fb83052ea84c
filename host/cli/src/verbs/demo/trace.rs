//! Requests made of the CSV files of a trace. The trace knows no customer, user or model, so they are derived from the
//! request's number by the rule that [`Trace::request`] states.

use super::cast::CUSTOMERS;
use crate::error::Error;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The first 2,000 rows of each file; their licence and source stand in the README beside them.
const BUILT_IN: [(&str, &str); 2] = [
    ("conv", include_str!("../../../demo/azure-llm-2023/conv.csv")),
    ("code", include_str!("../../../demo/azure-llm-2023/code.csv")),
];
const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
/// Users under each customer.
const USERS: u64 = 25;
/// One request in so many goes to the large model.
const LARGE: u64 = 4;

/// One row: a request to an LLM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    timestamp: String,
    feature: usize,
    input_tokens: u32,
    output_tokens: u32,
}

/// Rows of all files in the order in which they happened.
#[derive(Debug)]
pub struct Trace {
    features: Vec<String>,
    rows: Vec<Row>,
}

/// A request, derived.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number, from 0.
    pub number: u64,
    /// The place of its customer among [`CUSTOMERS`].
    pub customer: usize,
    /// The user under the customer.
    pub user: u64,
    /// The feature: the file's name.
    pub feature: &'a str,
    /// The model.
    pub model: &'static str,
    /// As in the trace.
    pub input_tokens: u32,
    /// As in the trace.
    pub output_tokens: u32,
}

impl Trace {
    /// Reads files, or the rows that are built in when there are none.
    pub fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut trace = Self { features: Vec::new(), rows: Vec::new() };
        if files.is_empty() {
            for (name, text) in BUILT_IN {
                trace.add(name, text).map_err(Error::content(name))?;
            }
        }
        for path in files {
            let text = fs::read_to_string(path).map_err(Error::file(path))?;
            trace.add(&feature(path), &text).map_err(Error::content(path))?;
        }
        // Their text sorts as their time does.
        trace.rows.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
        Ok(trace)
    }

    fn add(&mut self, feature: &str, text: &str) -> Result<(), String> {
        let mut lines = text.lines();
        if lines.next().map(|line| line.trim_start_matches('\u{feff}')) != Some(HEADER) {
            return Err(format!("does not begin with {HEADER}"));
        }
        let place = self.features.len();
        self.features.push(feature.to_owned());
        let before = self.rows.len();
        for (number, line) in (2..).zip(lines).filter(|(_, line)| !line.is_empty()) {
            let row = row(line, place).ok_or_else(|| format!("line {number} is no row of the trace"))?;
            self.rows.push(row);
        }
        if self.rows.len() == before { Err("has no rows".to_owned()) } else { Ok(()) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }

    /// Request `n`: row `n mod rows`, of customer `n mod 8`; with `k = n div 8`, of user `k mod 25`, for the large model
    /// when `k mod 4` is 0, else for the small one. None only when there are no rows.
    pub fn request(&self, n: u64) -> Option<Request<'_>> {
        let row = self.rows.get(usize::try_from(n.checked_rem(self.rows())?).ok()?)?;
        let customers = CUSTOMERS.len() as u64;
        let k = n / customers;
        Some(Request {
            number: n,
            customer: usize::try_from(n % customers).ok()?,
            user: k % USERS,
            feature: self.features.get(row.feature)?,
            model: if k.is_multiple_of(LARGE) { "large" } else { "small" },
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
        })
    }
}

/// The feature that a file stands for: its name, in the characters that keys have.
fn feature(path: &Path) -> String {
    let name = path.file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().map(|c| if fine(c) { c } else { '_' }).take(128).collect()
}

fn row(line: &str, feature: usize) -> Option<Row> {
    let mut fields = line.trim_end().split(',');
    let row = Row {
        timestamp: fields.next()?.to_owned(),
        feature,
        input_tokens: fields.next()?.parse().ok()?,
        output_tokens: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rows_are_all_there_and_in_order() {
        let trace = Trace::read(&[]).unwrap();
        assert_eq!(trace.rows(), 4_000);
        assert!(trace.rows.is_sorted_by(|a, b| a.timestamp <= b.timestamp));
        let first = trace.request(0).unwrap();
        assert_eq!((first.feature, first.input_tokens, first.output_tokens), ("conv", 374, 44));
    }

    #[test]
    fn customer_user_and_model_come_from_the_number() {
        let trace = Trace::read(&[]).unwrap();
        for (n, customer, user, model) in [
            (0, 0, 0, "large"),
            (7, 7, 0, "large"),
            (8, 0, 1, "small"),
            (39, 7, 4, "large"),
            (4_001, 1, 0, "large"),
        ] {
            let request = trace.request(n).unwrap();
            assert_eq!((request.customer, request.user, request.model), (customer, user, model), "{n}");
        }
        let (a, b) = (trace.request(3).unwrap(), trace.request(4_003).unwrap());
        assert_eq!((a.input_tokens, a.feature), (b.input_tokens, b.feature));
    }

    #[test]
    fn other_files_are_refused_with_the_line() {
        let mut trace = Trace { features: Vec::new(), rows: Vec::new() };
        assert!(trace.add("x", "a,b\n1,2").unwrap_err().starts_with("does not begin"));
        assert_eq!(
            trace.add("x", &format!("{HEADER}\n2023,1,2\n2023,one,2")),
            Err("line 3 is no row of the trace".to_owned())
        );
        assert_eq!(trace.add("x", HEADER), Err("has no rows".to_owned()));
    }
}
