//! Usage out of CSV files: each row is one, its columns say by their names what they are. All rows are held in memory, some 100 bytes each.

use crate::error::Error;
use proviso_ledger::model::{amounts::Quantity, ids::Key, time::Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

/// What columns of published traces are called here.
const KNOWN: [(&str, &str); 3] =
    [("ContextTokens", "input_tokens"), ("GeneratedTokens", "output_tokens"), ("TIMESTAMP", "time")];

/// What a column holds.
#[derive(Debug, Clone)]
enum Column {
    Time,
    Customer,
    Entity,
    Feature,
    Quantity(String),
    Attribute(String),
}

/// A usage.
#[derive(Debug, Default)]
pub struct Row {
    /// Microseconds after the earliest row.
    pub after: i64,
    /// Whose it is: the number of the customer among those that the file names.
    customer: Option<usize>,
    pub entity: Option<Key>,
    pub feature: Option<Key>,
    /// Sorted by name.
    pub quantities: Vec<(String, Quantity)>,
    /// Sorted by name.
    pub attributes: Vec<(String, String)>,
}

/// The rows of a file, earliest first.
#[derive(Debug)]
pub struct Rows {
    pub rows: Vec<Row>,
    /// Whether the file says when, and which feature.
    pub has_time: bool,
    pub has_feature: bool,
}

impl Rows {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        parse(text.trim_start_matches('\u{feff}'))
            .map_err(|(line, detail)| Error::content(format!("{}:{line}", path.display()))(detail))
    }

    /// How long it takes from the first row to the last, in whole days, rounded up.
    pub fn days(&self) -> i64 {
        self.rows.last().map_or(1, |row| row.after / (86_400 * Timestamp::SECOND) + 1)
    }

    /// The places of the rows of each of so many customers: by the customers that the file names, else in turn.
    pub fn by_customer(&self, customers: u32) -> Vec<Vec<usize>> {
        let customers = usize::try_from(customers).unwrap_or(usize::MAX).max(1);
        let mut of = vec![Vec::new(); customers];
        for (place, row) in self.rows.iter().enumerate() {
            if let Some(mine) = of.get_mut(row.customer.unwrap_or(place) % customers) {
                mine.push(place);
            }
        }
        of
    }
}

fn parse(text: &str) -> Result<Rows, (u64, String)> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let broken = |error: csv::Error| (error.position().map_or(1, csv::Position::line), error.to_string());
    let header = reader.headers().map_err(broken)?.clone();
    let mut columns: Vec<Column> = Vec::new();
    let mut customers: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows: Vec<(Option<Timestamp>, Row)> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        if columns.is_empty() {
            columns = header.iter().zip(&record).map(|(name, value)| column(name, value)).collect();
            let names: BTreeSet<String> = columns.iter().map(|column| format!("{column:?}")).collect();
            if names.len() < columns.len() {
                return Err((1, "two columns have the same name".to_owned()));
            }
        }
        let (mut at, mut row) = (None, Row::default());
        for (column, value) in columns.iter().zip(&record) {
            let wrong = |detail: String| (line, format!("{value:?} {detail}"));
            match column {
                Column::Time => at = Some(time(value).ok_or_else(|| wrong("is no time".to_owned()))?),
                Column::Customer => {
                    let next = customers.len();
                    row.customer = Some(*customers.entry(value.to_owned()).or_insert(next));
                }
                Column::Entity if value.is_empty() => {}
                Column::Entity => {
                    row.entity = Some(value.parse().map_err(|error| wrong(format!("{error}")))?)
                }
                Column::Feature => {
                    row.feature = Some(value.parse().map_err(|error| wrong(format!("{error}")))?)
                }
                Column::Quantity(_) if value.is_empty() => {}
                Column::Quantity(name) => {
                    let amount: Quantity =
                        value.parse().map_err(|error| wrong(format!("for {name}: {error}")))?;
                    if amount.is_negative() || !amount.is_acceptable() {
                        return Err(wrong(format!("for {name} must be at least 0, and below 10^15")));
                    }
                    row.quantities.push((name.clone(), amount));
                }
                Column::Attribute(_) if value.is_empty() => {}
                Column::Attribute(name) => row.attributes.push((name.clone(), value.to_owned())),
            }
        }
        row.quantities.sort_unstable();
        row.attributes.sort_unstable();
        rows.push((at, row));
    }
    let has = |wanted: fn(&Column) -> bool| columns.iter().any(wanted);
    let has_time = has(|column| matches!(column, Column::Time));
    let has_feature = has(|column| matches!(column, Column::Feature));
    if rows.is_empty() {
        return Err((1, "has no rows below its header".to_owned()));
    }
    rows.sort_by_key(|(at, _)| *at);
    let first = rows.first().and_then(|(at, _)| *at);
    let rows = rows.into_iter().map(|(at, row)| {
        let after = at.zip(first).map_or(0, |(at, first)| at.0 - first.0);
        Row { after, ..row }
    });
    Ok(Rows { rows: rows.collect(), has_time, has_feature })
}

/// What a column holds: by its name, and where that says nothing, by its first value.
fn column(name: &str, first: &str) -> Column {
    let name = KNOWN.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
    if let Some(name) = name.strip_prefix("quantities.") {
        return Column::Quantity(name.to_owned());
    }
    if let Some(name) = name.strip_prefix("attributes.") {
        return Column::Attribute(name.to_owned());
    }
    match name {
        "time" | "timestamp" | "occurred_at" => Column::Time,
        "customer" => Column::Customer,
        "entity" | "user" => Column::Entity,
        "feature" => Column::Feature,
        name if first.parse::<Quantity>().is_ok() => Column::Quantity(name.to_owned()),
        name => Column::Attribute(name.to_owned()),
    }
}

/// A time in RFC 3339, or without a zone, which then is UTC.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.replacen(' ', "T", 1);
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

/// Files that were read, each once.
#[derive(Default)]
pub struct Files(BTreeMap<std::path::PathBuf, Arc<Rows>>);

impl Files {
    /// The rows of a file.
    pub fn read(&mut self, path: &Path) -> Result<Arc<Rows>, Error> {
        if let Some(known) = self.0.get(path) {
            return Ok(known.clone());
        }
        let rows = Arc::new(Rows::read(path)?);
        self.0.insert(path.to_owned(), rows.clone());
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_say_what_they_are() {
        let text = "customer,time,feature,model,tokens,attributes.tier,user\n\
                    b,2026-01-02T00:00:00Z,chat,large,12,3,u1\n\
                    a,2026-01-01T00:00:00Z,chat,small,7,4,\n\
                    b,2026-01-03 12:00:00.5,search,,,,u2\n";
        let rows = parse(text).unwrap();
        assert!(rows.has_time && rows.has_feature);
        assert_eq!((rows.rows.len(), rows.days()), (3, 3));
        let [first, _, last] = rows.rows.as_slice() else { panic!() };
        assert_eq!((first.after, first.entity.as_ref()), (0, None));
        assert_eq!(first.attributes, [("model".into(), "small".into()), ("tier".into(), "4".into())]);
        assert_eq!(first.quantities[0].1.to_string(), "7");
        assert!(last.quantities.is_empty() && last.attributes.is_empty());
        assert_eq!(rows.by_customer(2), [vec![1, 2], vec![0]]);
        assert_eq!(rows.by_customer(1), [vec![0, 1, 2]]);
    }

    #[test]
    fn published_traces_are_understood() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,48,10\n2023-11-16 18:17:05,3,8\n";
        let rows = parse(text).unwrap();
        let names: Vec<&str> = rows.rows[0].quantities.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["input_tokens", "output_tokens"]);
        assert_eq!(rows.rows[1].after, 1_020_040);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, named) in [
            ("tokens\n1\nx\n", 3, "\"x\" for tokens"),
            ("tokens\n-1\n", 2, "at least 0"),
            ("time\nnoon\n", 2, "is no time"),
            ("a,b\n1\n", 2, "2 fields"),
            ("a,a\n1,1\n", 1, "same name"),
            ("a\n", 1, "has no rows"),
        ] {
            let (found, detail) = parse(text).unwrap_err();
            assert!(detail.contains(named), "{text}: {detail}");
            assert_eq!(found, line, "{text}: {detail}");
        }
    }
}
