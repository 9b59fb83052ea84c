//! Makes sessions, set up as every statement here expects them.
//!
//! A server that does not answer yet is tried again for a while; one that refuses is not. No error shows a password.

use super::heads::ServerStart;
use crate::error::StoreError;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, Row,
    postgres::{PgConnectOptions, PgSeverity},
};
use std::{fmt, time::Duration};
use tokio::time::{sleep, timeout};

/// The oldest release that this crate is tested for, as PostgreSQL counts them.
const OLDEST: u32 = 14_00_00;
/// Between two attempts to connect; doubled after each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Failed attempts that are not logged.
const QUIET_ATTEMPTS: u32 = 3;

/// How a PostgreSQL database is used. The defaults suit a server.
#[derive(Clone)]
pub struct PostgresOptions {
    server: PgConnectOptions,
    /// Connections that may be open at once.
    pub max_connections: u32,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long to wait for a free connection, or for a server that does not answer.
    pub acquire_timeout: Duration,
    /// How long to wait for the server when the store is opened.
    pub start_timeout: Duration,
}

impl PostgresOptions {
    /// The defaults for the database at `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, where parameters such as
    /// `?sslmode=` may follow. Parts that are missing default to the variables `PGHOST`, `PGUSER`, `PGPASSWORD` and so on.
    ///
    /// # Errors
    /// [`StoreError::Address`] when it is not such an address.
    pub fn new(address: &str) -> Result<Self, StoreError> {
        let invalid = |detail: String| StoreError::Address { detail };
        if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
            return Err(invalid("must begin with postgres://".to_owned()));
        }
        let server = address.parse::<PgConnectOptions>().map_err(|error| match error {
            sqlx::Error::Configuration(reason) => invalid(reason.to_string()),
            _ => invalid("write postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned()),
        })?;
        Ok(Self {
            server: server.application_name("proviso").disable_statement_logging(),
            max_connections: 10,
            statement_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(30),
        })
    }
}

/// Without user and password.
impl fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.server.get_database().unwrap_or_default();
        write!(f, "postgres://{}:{}/{database}", self.server.get_host(), self.server.get_port())
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("server", &format_args!("{self}"))
            .field("max_connections", &self.max_connections)
            .field("statement_timeout", &self.statement_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("start_timeout", &self.start_timeout)
            .finish()
    }
}

/// Makes sessions.
#[derive(Debug, Clone)]
pub struct Server {
    pub options: PostgresOptions,
    writes: bool,
    session: String,
}

impl Server {
    pub fn new(options: PostgresOptions, writes: bool) -> Self {
        let session = session(&options, writes);
        Self { options, writes, session }
    }

    /// A session, and when its server was started. Tries again until `patience` has passed.
    pub async fn connect(&self, patience: Duration) -> Result<(PgConnection, ServerStart), StoreError> {
        let mut last = StoreError::Unavailable { detail: format!("no answer from {}", self.options) };
        let attempts = async {
            let mut pause = FIRST_PAUSE;
            for attempt in 1.. {
                match self.try_connect().await {
                    Err(error @ StoreError::Unavailable { .. }) => last = error,
                    done => return Some(done),
                }
                if attempt == QUIET_ATTEMPTS {
                    tracing::warn!(server = %self.options, error = %last, ?patience, "trying again to connect");
                }
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            None
        };
        match timeout(patience, attempts).await {
            Ok(Some(done)) => done,
            Ok(None) | Err(_) => Err(last),
        }
    }

    async fn try_connect(&self) -> Result<(PgConnection, ServerStart), StoreError> {
        let mut connection = self.options.server.connect().await?;
        let version = connection.server_version_num().unwrap_or(0);
        if version < OLDEST {
            let detail =
                format!("it is PostgreSQL {}, and 14 is the oldest that is supported", version / 10_000);
            return Err(StoreError::Unsupported { detail });
        }
        let row = sqlx::raw_sql(AssertSqlSafe(self.session.clone())).fetch_one(&mut connection).await?;
        let encoding: String = row.try_get("encoding")?;
        if encoding != "UTF8" {
            let detail = format!("the database's encoding is {encoding}; create it with ENCODING 'UTF8'");
            return Err(StoreError::Unsupported { detail });
        }
        if self.writes && row.try_get::<bool, _>("only_reads")? {
            return Err(StoreError::Standby);
        }
        let start = ServerStart(row.try_get("server_start")?);
        Ok((connection, start))
    }
}

/// Whether a session can be used after an error: a statement that the server refuses leaves it intact.
pub fn survives(error: &sqlx::Error) -> bool {
    use sqlx::Error::{ColumnDecode, Database, Decode, Encode, RowNotFound};
    match error {
        Database(error) => {
            let error = error.downcast_ref::<sqlx::postgres::PgDatabaseError>();
            // A server that became a standby: a new session reports it.
            !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) && error.code() != "25006"
        }
        ColumnDecode { .. } | Decode(_) | Encode(_) | RowNotFound => true,
        _ => false,
    }
}

/// One statement that sets a session up and describes its server.
fn session(options: &PostgresOptions, writes: bool) -> String {
    let statement_ms = options.statement_timeout.as_millis();
    let lock_ms = (options.statement_timeout / 2).as_millis();
    let settings = [
        ("statement_timeout", format!("'{statement_ms}'")),
        ("lock_timeout", format!("'{lock_ms}'")),
        ("idle_in_transaction_session_timeout", format!("'{statement_ms}'")),
        // An answer means durable, whatever the server's default is; waiting for standbys includes that.
        (
            "synchronous_commit",
            "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END"
                .to_owned(),
        ),
        ("default_transaction_isolation", "'read committed'".to_owned()),
        ("default_transaction_read_only", if writes { "'off'" } else { "'on'" }.to_owned()),
        // Every statement of a hot path looks rows up by their keys. It is planned once for each session, perhaps while
        // the tables are empty, and must not scan them when they have grown.
        ("plan_cache_mode", "'force_generic_plan'".to_owned()),
        ("enable_seqscan", "'off'".to_owned()),
        ("enable_hashjoin", "'off'".to_owned()),
        ("enable_mergejoin", "'off'".to_owned()),
        ("jit", "'off'".to_owned()),
        ("client_min_messages", "'warning'".to_owned()),
    ];
    let settings = settings.map(|(name, value)| format!("set_config('{name}', {value}, false)")).join(", ");
    format!(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS only_reads, \
         current_setting('server_encoding') AS encoding, \
         (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS server_start, {settings}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_password() {
        let options = PostgresOptions::new("postgres://user:secret@db.example:6432/proviso").unwrap();
        assert_eq!(options.to_string(), "postgres://db.example:6432/proviso");
        let server = Server::new(options, true);
        assert!(!format!("{server:?}").contains("secret"));
        for wrong in [
            "postgres://user:secret@host:port/db",
            "postgres://user:secret@[::/db",
            "mysql://user:secret@h/d",
        ] {
            let error = PostgresOptions::new(wrong).unwrap_err();
            assert!(matches!(error, StoreError::Address { .. }), "{error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
