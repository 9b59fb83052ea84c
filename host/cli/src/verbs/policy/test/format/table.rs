//! Tables of inputs and results: each row is a case of one step.

use super::{Case, Step, values::At};
use proviso_api::schema as wire;
use serde::Deserialize;
use toml::{Spanned, Value};
use utoipa::ToSchema;

/// What stands in a row for a column that the row leaves out.
const LEFT_OUT: &str = "-";

/// A table: each row is a case of its own, which plays `before`, then `step` with the row's values in it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What it shows; its cases are called by it and the row's values.
    pub name: String,
    /// When its cases begin.
    #[schema(value_type = Option<wire::Time>)]
    start: Option<At>,
    /// Laid over the file's settings.
    #[serde(default)]
    #[schema(value_type = wire::AnyObject)]
    settings: super::Settings,
    /// Laid over the file's customer.
    #[serde(default)]
    #[schema(inline)]
    customer: super::CustomerSetup,
    /// Steps that each row begins with.
    #[serde(default)]
    #[schema(value_type = Vec<Step>)]
    before: Vec<Spanned<Step>>,
    /// Where in the step each value of a row stands, such as `check.quantities.tokens` and `expect.cost`.
    columns: Vec<String>,
    /// What is the same in all rows.
    #[serde(default)]
    #[schema(value_type = Step)]
    step: toml::Table,
    /// The rows, with as many values as there are columns; `"-"` leaves a column out.
    #[schema(value_type = Vec<Vec<super::schema::Cell>>)]
    pub rows: Vec<Spanned<Vec<Value>>>,
}

impl Table {
    /// The cases of its rows, or what is wrong and where: of a row, its offset.
    pub fn cases(&self) -> Result<Vec<Spanned<Case>>, (Option<usize>, String)> {
        let name = &self.name;
        if self.rows.is_empty() {
            return Err((None, format!("table {name:?} has no rows")));
        }
        self.rows
            .iter()
            .map(|row| self.case(row).map_err(|detail| (Some(row.span().start), detail)))
            .collect()
    }

    fn case(&self, row: &Spanned<Vec<Value>>) -> Result<Spanned<Case>, String> {
        let values = row.get_ref();
        let (columns, found) = (self.columns.len(), values.len());
        if columns != found {
            return Err(format!("the row has {found} values, and there are {columns} columns"));
        }
        let mut step = self.step.clone();
        let mut shown = Vec::new();
        for (column, value) in self.columns.iter().zip(values) {
            if value.as_str() != Some(LEFT_OUT) {
                put(&mut step, column, value)?;
            }
            if !column.starts_with("expect.") {
                shown.push(in_words(value));
            }
        }
        let step = Step::deserialize(Value::Table(step)).map_err(|error| error.message().to_owned())?;
        let mut steps = self.before.clone();
        steps.push(Spanned::new(row.span(), step));
        let case = Case {
            name: format!("{}: {}", self.name, shown.join(", ")),
            start: self.start,
            settings: self.settings.clone(),
            customer: self.customer.clone(),
            steps,
            ..Case::default()
        };
        Ok(Spanned::new(row.span(), case))
    }
}

/// Sets a value at a path of names with points between them.
fn put(table: &mut toml::Table, path: &str, value: &Value) -> Result<(), String> {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value.clone());
            Ok(())
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(toml::Table::new()));
            let inner =
                inner.as_table_mut().ok_or_else(|| format!("column {path:?}: {first} is no table"))?;
            put(inner, rest, value)
        }
    }
}

/// A value in the name of a case.
fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(" "),
        Value::Table(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", in_words(value)))
            .collect::<Vec<_>>()
            .join(" "),
    }
}
