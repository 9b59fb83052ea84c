//! Configuration: flags, environment and a TOML file in, settings out. All three set the same things; flags win over the
//! environment, the environment over the file. Nothing else of the binary reads the environment.

use crate::{error::Error, secrets::Secret, span::Span};
use clap::{Args, CommandFactory, Parser, ValueEnum};
use serde::Deserialize;
use std::{
    error::Error as _,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// Stands before the names of all variables.
const PREFIX: &str = "PROVISO_";
/// The file that is read when it lies in the working directory.
const FILE: &str = "proviso.toml";
/// The database in the data directory.
const DATABASE: &str = "proviso.db";

/// What one source sets.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[group(skip)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7070]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// The database [default: sqlite://DATA_DIR/proviso.db]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<Database>,
    /// Where the database, the compiled policies and their key lie [default: ./proviso-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// An API key with the scope admin that always works; without it, one is made at the first start and printed once
    #[arg(long, value_name = "KEY")]
    pub admin_key: Option<Secret>,
    /// How logs are written [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or directives such as info,proviso_engine=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Lanes that decide side by side; a customer's requests all go through one [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    pub lanes: Option<NonZeroUsize>,
    /// Requests that may wait in one lane before more are turned away [default: 4096]
    #[arg(long, value_name = "COUNT")]
    pub queue: Option<NonZeroUsize>,
    /// The most requests of a lane that wait for one transaction: benchmarks set it to 1 [default: 512]
    #[arg(long, value_name = "COUNT", hide = true)]
    pub largest_batch: Option<NonZeroUsize>,
    /// Customers whose state is kept in memory [default: 100000]
    #[arg(long, value_name = "COUNT")]
    pub cached_customers: Option<NonZeroUsize>,
    /// How late usage may be reported, such as 35d or 12h [default: 35d]
    #[arg(long, value_name = "SPAN")]
    pub late_window: Option<Span>,
    /// Serve POST /v1/test_clock, which moves this host's time forward: for tests only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new(), value_name = "BOOL", hide_possible_values = true)]
    pub test_clock: Option<bool>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging, as settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How.
    pub format: LogFormat,
    /// What.
    pub level: String,
}

/// Where the data lies: what verbs that only look need to know.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Place {
    /// Settings in TOML [default: ./proviso.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database [default: sqlite://DATA_DIR/proviso.db]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<Database>,
    /// Where the database lies [default: ./proviso-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// A database that this version can use: a SQLite file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Database(pub PathBuf);

impl FromStr for Database {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "sqlite" if path.is_empty() || path.contains('?') || path == ":memory:" => Err(format!(
                "{url:?} names no file: write sqlite://relative/file.db or sqlite:///absolute/file.db"
            )),
            "sqlite" => Ok(Self(path.into())),
            "postgres" | "postgresql" => {
                Err("PostgreSQL is not in this version yet: use sqlite://…, or leave it out".to_owned())
            }
            _ => Err("must begin with sqlite:// (or be left out)".to_owned()),
        }
    }
}

impl TryFrom<String> for Database {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        url.parse()
    }
}

/// All settings, settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to listen.
    pub listen: String,
    /// The database file.
    pub database: PathBuf,
    /// Where all other files lie.
    pub data_dir: PathBuf,
    /// The admin key that was given.
    pub admin_key: Option<Secret>,
    /// Logging.
    pub log: Log,
    /// Lanes.
    pub lanes: NonZeroUsize,
    /// Requests that may wait in one lane.
    pub queue: usize,
    /// The most requests of a lane that wait for one transaction.
    pub largest_batch: NonZeroUsize,
    /// Customers kept in memory.
    pub cached_customers: usize,
    /// How late usage may be reported.
    pub late_window: Duration,
    /// Whether the clock can be moved.
    pub test_clock: bool,
}

impl Settings {
    /// The settings of this process: these flags, its environment, and the file that either names.
    pub fn of_process(config: Option<PathBuf>, flags: Layer) -> Result<Self, Error> {
        let environment = Layer::from_environment(&variable)?;
        let named = config.or_else(|| variable(&variable_name("config")).map(PathBuf::from));
        let file = match named {
            Some(path) => Layer::from_file(&path)?,
            None if Path::new(FILE).exists() => Layer::from_file(Path::new(FILE))?,
            None => Layer::default(),
        };
        Ok(Self::from(flags.or(environment).or(file)))
    }
}

impl Place {
    /// The settings of this process, as far as a verb that only looks needs them.
    pub fn settle(self) -> Result<Settings, Error> {
        let Self { config, database_url, data_dir } = self;
        Settings::of_process(config, Layer { database_url, data_dir, ..Layer::default() })
    }
}

impl From<Layer> for Settings {
    fn from(layer: Layer) -> Self {
        let data_dir = layer.data_dir.unwrap_or_else(|| "proviso-data".into());
        let database = layer.database_url.map_or_else(|| data_dir.join(DATABASE), |database| database.0);
        let default = proviso_engine::Options::default();
        Self {
            listen: layer.listen.unwrap_or_else(|| "127.0.0.1:7070".to_owned()),
            database,
            data_dir,
            admin_key: layer.admin_key,
            log: Log {
                format: layer.log_format.unwrap_or_default(),
                level: layer.log_level.unwrap_or_else(|| "info".to_owned()),
            },
            lanes: layer.lanes.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(default.lanes),
            queue: layer.queue.map_or(default.queue, NonZeroUsize::get),
            largest_batch: layer.largest_batch.unwrap_or(default.largest_batch),
            cached_customers: layer.cached_customers.map_or(default.cached_customers, NonZeroUsize::get),
            late_window: layer.late_window.map_or(default.late_window, |span| span.0),
            test_clock: layer.test_clock.unwrap_or(false),
        }
    }
}

impl Layer {
    /// What this layer sets; for the rest, what the one below it does.
    fn or(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            database_url: self.database_url.or(below.database_url),
            data_dir: self.data_dir.or(below.data_dir),
            admin_key: self.admin_key.or(below.admin_key),
            log_format: self.log_format.or(below.log_format),
            log_level: self.log_level.or(below.log_level),
            lanes: self.lanes.or(below.lanes),
            queue: self.queue.or(below.queue),
            largest_batch: self.largest_batch.or(below.largest_batch),
            cached_customers: self.cached_customers.or(below.cached_customers),
            late_window: self.late_window.or(below.late_window),
            test_clock: self.test_clock.or(below.test_clock),
        }
    }

    fn from_file(path: &Path) -> Result<Self, Error> {
        Self::from_toml(&fs::read_to_string(path).map_err(Error::file(path))?).map_err(Error::content(path))
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("not the settings of a host\n{error}"))
    }

    /// Each flag has a variable: `--data-dir` is `PROVISO_DATA_DIR`. An empty one sets nothing.
    fn from_environment(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut layer = Self::default();
        for name in Alone::command().get_arguments().filter_map(clap::Arg::get_long) {
            let variable = variable_name(name);
            let Some(value) = get(&variable).filter(|value| !value.is_empty()) else { continue };
            let alone = Alone::try_parse_from([format!("--{name}={value}")]).map_err(|error| {
                let detail =
                    error.source().map_or_else(|| format!("{value:?} is not possible"), ToString::to_string);
                Error::Setting { origin: variable, detail }
            })?;
            layer = layer.or(alone.layer);
        }
        Ok(layer)
    }
}

/// A layer by itself, to read variables as flags are read.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Alone {
    #[command(flatten)]
    layer: Layer,
}

fn variable_name(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

/// Says in the help of each flag which variable sets the same.
pub fn with_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| match (arg.get_long(), arg.get_help()) {
        (Some(name), Some(help)) if name != "help" => {
            let help = format!("{help} [env: {}]", variable_name(name));
            arg.help(help)
        }
        _ => arg,
    })
}

/// A variable of the environment; none when it is not text.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(flags: &[&str], environment: &[(&str, &str)], file: &str) -> Result<Settings, String> {
        let flags = Alone::try_parse_from(flags).map_err(|error| error.to_string())?.layer;
        let get = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let environment = Layer::from_environment(&get).map_err(|error| error.to_string())?;
        Ok(flags.or(environment).or(Layer::from_toml(file)?).into())
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = "listen = \"file:1\"\nlanes = 7\nlate_window = \"12h\"\ntest_clock = true";
        let environment =
            [("PROVISO_LISTEN", "env:2"), ("PROVISO_QUEUE", "9"), ("PROVISO_LOG_FORMAT", "json")];
        for (flags, environment, file, listen, lanes, queue) in [
            (&[][..], &[][..], "lanes = 2", "127.0.0.1:7070", 2, 4_096),
            (&[], &[], file, "file:1", 7, 4_096),
            (&[], &environment, file, "env:2", 7, 9),
            (&["--listen", "flag:3", "--lanes=1"], &environment, file, "flag:3", 1, 9),
            (&[], &[("PROVISO_LISTEN", "")], file, "file:1", 7, 4_096),
        ] {
            let settings = settle(flags, environment, file).unwrap();
            assert_eq!(
                (&*settings.listen, settings.lanes.get(), settings.queue),
                (listen, lanes, queue),
                "{flags:?}"
            );
        }
        let settings = settle(&[], &environment, file).unwrap();
        assert_eq!((settings.log.format, settings.test_clock), (LogFormat::Json, true));
        assert_eq!(settings.late_window, Duration::from_secs(43_200));
        assert!(!settle(&["--test-clock=false"], &[], file).unwrap().test_clock);
        assert!(settle(&["--test-clock"], &[], "").unwrap().test_clock);
        assert!(settle(&[], &[("PROVISO_TEST_CLOCK", "1")], "").unwrap().test_clock);
    }

    #[test]
    fn the_database_lies_in_the_data_directory_unless_named() {
        for (flags, path) in [
            (&[][..], Some("proviso-data/proviso.db")),
            (&["--data-dir=/d"], Some("/d/proviso.db")),
            (&["--data-dir=/d", "--database-url=sqlite:///a/b.db"], Some("/a/b.db")),
            (&["--database-url=sqlite://b.db"], Some("b.db")),
            (&["--database-url=sqlite:b.db"], Some("b.db")),
            (&["--database-url=sqlite://"], None),
            (&["--database-url=sqlite::memory:"], None),
            (&["--database-url=b.db"], None),
            (&["--database-url=mysql://host/db"], None),
        ] {
            let settings = settle(flags, &[], "");
            assert_eq!(settings.ok().map(|settings| settings.database), path.map(PathBuf::from), "{flags:?}");
        }
        let error = settle(&["--database-url=postgres://host/db"], &[], "").unwrap_err();
        assert!(error.contains("not in this version yet"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (environment, file, named) in [
            (&[("PROVISO_LANES", "0")][..], "", "PROVISO_LANES: "),
            (&[("PROVISO_LATE_WINDOW", "soon")], "", "PROVISO_LATE_WINDOW: \"soon\""),
            (&[("PROVISO_TEST_CLOCK", "perhaps")], "", "PROVISO_TEST_CLOCK: "),
            (&[("PROVISO_LOG_FORMAT", "xml")], "", "PROVISO_LOG_FORMAT: \"xml\" is not possible"),
            (&[("PROVISO_DATABASE_URL", "postgres://h/d")], "", "PROVISO_DATABASE_URL: PostgreSQL is not"),
            (&[], "lissten = \"x\"", "unknown field `lissten`"),
            (&[], "late_window = 5", "late_window"),
        ] {
            let error = settle(&[], environment, file).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn help_names_the_variables() {
        let help = with_variables(Alone::command()).render_help().to_string();
        assert!(help.contains("[env: PROVISO_DATABASE_URL]"), "{help}");
    }
}
