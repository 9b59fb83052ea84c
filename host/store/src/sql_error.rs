//! Turns errors of sqlx and rusqlite into this crate's.

use crate::error::StoreError;
use sqlx::postgres::PgDatabaseError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let detail = error.to_string();
        match &error {
            sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
                Some(postgres) => of_postgres(postgres),
                None => {
                    let code = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
                    of_sqlite(code, detail)
                }
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::RowNotFound => Self::Corrupt { detail },
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => Self::Refused { detail },
            sqlx::Error::PoolClosed => Self::Closed,
            _ => Self::Unavailable { detail },
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let detail = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => of_sqlite(failure.extended_code, detail),
            // The others are about values and columns of an unexpected type.
            _ => Self::Corrupt { detail },
        }
    }
}

/// By the primary result code, the low byte of an extended one: <https://sqlite.org/rescode.html>.
fn of_sqlite(code: i32, detail: String) -> StoreError {
    const READONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const NOTADB: i32 = 26;
    match code & 0xff {
        READONLY => StoreError::ReadOnly,
        FULL => StoreError::DiskFull,
        CORRUPT | NOTADB | CONSTRAINT | MISMATCH => StoreError::Corrupt { detail },
        _ => StoreError::Unavailable { detail },
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>. Its first two characters are the class.
fn of_postgres(error: &PgDatabaseError) -> StoreError {
    let (code, detail) = (error.code(), format!("{} ({})", error.message(), error.code()));
    match (code.get(..2), code) {
        // The disk; the rest of its class is about connections and memory.
        (_, "53100") => StoreError::DiskFull,
        // Read-only transactions: the server was made a standby, or the session only reads.
        (_, "25006") => StoreError::Standby,
        // Failed authorization, an unknown database, a missing privilege.
        (Some("28" | "3D"), _) | (_, "42501") => StoreError::Refused { detail },
        // Data that does not fit, violated constraints, unknown tables and columns, damaged pages and indexes.
        (Some("22" | "23" | "42"), _) | (_, "XX001" | "XX002") => StoreError::Corrupt { detail },
        _ => StoreError::Unavailable { detail },
    }
}
