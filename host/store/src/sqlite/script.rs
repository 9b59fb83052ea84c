//! Builds the few large statements that a transaction consists of.
//!
//! sqlx hands each `execute` to the connection's own thread, which costs more than a row does. So a whole transaction,
//! `BEGIN` to `COMMIT`, is one text with one list of arguments. Rows come as `VALUES` of a few fixed lengths, filled up
//! with rows of nulls that the statement passes over, so that few different texts exist and all stay prepared.

use crate::{StoreError, columns::broken};
use sqlx::{
    Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type,
    sqlite::{SqliteArguments, SqliteQueryResult},
};

/// How many rows a `VALUES` can have.
const LENGTHS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
const LONGEST: usize = 1024;

/// Statements with their arguments, run as one.
#[derive(Debug, Default)]
pub struct Script {
    sql: String,
    arguments: SqliteArguments,
    /// The first argument that could not be encoded; reported when the script runs.
    refused: Option<StoreError>,
}

/// Takes one row's arguments.
pub struct Row<'a>(&'a mut Script);

impl Row<'_> {
    pub fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(self, value: T) -> Self {
        self.0.bind(value);
        self
    }
}

impl Script {
    /// Starts a transaction that writes.
    pub fn begin() -> Self {
        Self { sql: "BEGIN IMMEDIATE".to_owned(), ..Self::default() }
    }

    /// Adds one statement without rows.
    pub fn statement(&mut self, sql: &str) -> Row<'_> {
        self.sql.push(';');
        self.sql.push_str(sql);
        Row(self)
    }

    fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) {
        if let Err(error) = self.arguments.add(value) {
            self.refused = Some(broken(error));
        }
    }

    /// Adds `{before} (VALUES (?, …), …) {after}` as often as the rows need. The columns are `column1`, `column2`, …;
    /// `after` must pass over rows whose `column1` is null.
    pub fn rows<R>(
        &mut self,
        (before, after): (&str, &str),
        columns: usize,
        rows: Vec<R>,
        mut bind: impl FnMut(R, Row<'_>),
    ) {
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        while left > 0 {
            let taken = left.min(LONGEST);
            let length = LENGTHS.into_iter().find(|length| *length >= taken).unwrap_or(LONGEST);
            self.sql.push(';');
            self.sql.push_str(before);
            self.sql.push_str(" (VALUES ");
            for row in 0..length {
                self.sql.push_str(if row == 0 { "(?" } else { ",(?" });
                (1..columns).for_each(|_| self.sql.push_str(",?"));
                self.sql.push(')');
            }
            self.sql.push_str(") ");
            self.sql.push_str(after);
            rows.by_ref().take(taken).for_each(|row| bind(row, Row(self)));
            (0..(length - taken) * columns).for_each(|_| self.bind(None::<i64>));
            left -= taken;
        }
    }

    /// Ends the transaction and runs it all. After an error the connection may still be in the transaction.
    pub async fn commit(
        mut self,
        connection: &mut SqliteConnection,
    ) -> Result<SqliteQueryResult, StoreError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        self.sql.push_str(";COMMIT");
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments);
        Ok(query.execute(connection).await?)
    }
}
