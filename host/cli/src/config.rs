//! Configuration by flags, environment and a TOML file. All three set the same things; flags win over the
//! environment, the environment over the file. Nothing else of the binary reads the environment.

use crate::{database::Database, error::Error, secrets::Secret, span::Span};
use clap::{Args, CommandFactory, Parser, ValueEnum};
use proviso_ledger::state::LATE_WINDOW;
use proviso_server::Rates;
use serde::Deserialize;
use std::{
    error::Error as _,
    fs,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// Stands before the names of all variables.
const PREFIX: &str = "PROVISO_";
/// The file that is read when it lies in the working directory.
const FILE: &str = "proviso.toml";
/// The database in the data directory.
const DATABASE_FILE: &str = "proviso.db";
/// The secret key that signs checkpoints, in the data directory.
const CHECKPOINT_KEY_FILE: &str = "checkpoint.key";
/// The time between two checkpoints, unless it is set.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(3_600);

/// What one source sets.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[group(skip)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7070]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where to listen for /healthz, /readyz and /metrics alone, which are not on the other address then
    #[arg(long, value_name = "HOST:PORT")]
    pub ops_listen: Option<String>,
    /// The database: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE [default: sqlite://DATA_DIR/proviso.db]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<Database>,
    /// Connections to a database server that may be open at once [default: 10]
    #[arg(long, value_name = "COUNT")]
    pub database_connections: Option<NonZeroU32>,
    /// Where the database, the compiled policies and the keys lie [default: ./proviso-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// An API key with the scope admin, which ends the one that was set before; without it, one is made at the first start
    /// and printed once
    #[arg(long, value_name = "KEY")]
    pub admin_key: Option<Secret>,
    /// How logs are written [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or directives such as info,proviso_engine=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Lanes that decide side by side; a customer's requests all go through one [default: one for every two cores]
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
    /// Policy modules that are kept loaded, of about 0.45 MB each; any other one is loaded again in a millisecond or two
    /// [default: 800]
    #[arg(long, value_name = "COUNT")]
    pub loaded_policies: Option<NonZeroUsize>,
    /// Connections of clients that may be open at once [default: 8192, or what the limit of open files has place for]
    #[arg(long, value_name = "COUNT")]
    pub connections: Option<NonZeroUsize>,
    /// Connections that may be open at once from one address (of IPv6: from one /64) [default: half of all]
    #[arg(long, value_name = "COUNT")]
    pub connections_per_address: Option<NonZeroUsize>,
    /// Requests a second that one API key may make at this host [default: any number]
    #[arg(long, value_name = "COUNT")]
    pub key_rate: Option<NonZeroU32>,
    /// Requests a second that may be made for one customer at this host [default: any number]
    #[arg(long, value_name = "COUNT")]
    pub customer_rate: Option<NonZeroU32>,
    /// How late usage may be reported, such as 12h or 7d; at most 35d [default: 35d]
    #[arg(long, value_name = "SPAN")]
    pub late_window: Option<LateWindow>,
    /// The time between two signed checkpoints, which `verify` compares journals and the catalog with; 0s writes none
    /// [default: 1h]
    #[arg(long, value_name = "SPAN")]
    pub checkpoint_every: Option<Span>,
    /// Take no policy module that is not signed by one of the keys in this file: a name and a public key a line, as
    /// `proviso policy key` prints them [default: any module]
    #[arg(long, value_name = "FILE")]
    pub policy_signing_keys: Option<PathBuf>,
    /// Serve POST /v1/test_clock, which moves this host's time forward: for tests only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new(), value_name = "BOOL", hide_possible_values = true)]
    pub test_clock: Option<bool>,
}

/// How late usage may be reported: at most as long as the ledger keeps what it needs to place it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Span")]
pub struct LateWindow(Duration);

impl TryFrom<Span> for LateWindow {
    type Error = String;

    fn try_from(span: Span) -> Result<Self, String> {
        if span.micros() > LATE_WINDOW {
            return Err("is too long: usage may be reported at most 35d late".to_owned());
        }
        Ok(Self(span.0))
    }
}

impl FromStr for LateWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<Span>()?.try_into().map_err(|detail| format!("{text:?} {detail}"))
    }
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

/// How many connections may be open, as far as it is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// In all.
    pub total: Option<NonZeroUsize>,
    /// From one address.
    pub per_address: Option<NonZeroUsize>,
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

/// All settings, settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to listen.
    pub listen: String,
    /// Where to listen for operators, if that is somewhere else.
    pub ops_listen: Option<String>,
    /// The database.
    pub database: Database,
    /// Connections to it, if it is on a server.
    pub database_connections: Option<NonZeroU32>,
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
    /// Policy modules kept loaded, where the machine allows so many.
    pub loaded_policies: usize,
    /// Connections of clients, where the machine allows so many.
    pub connections: Connections,
    /// How many requests are taken.
    pub rates: Rates,
    /// How late usage may be reported.
    pub late_window: Duration,
    /// The time between two checkpoints; zero writes none.
    pub checkpoint_every: Duration,
    /// The keys by one of which a module must be signed.
    pub policy_signing_keys: Option<PathBuf>,
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

    /// Where the key lies that signs checkpoints.
    pub fn checkpoint_key(&self) -> PathBuf {
        self.data_dir.join(CHECKPOINT_KEY_FILE)
    }
}

impl Place {
    /// The settings of this process, as far as a verb that only looks needs them.
    pub fn settle(self) -> Result<Settings, Error> {
        let Self { config, database_url, data_dir } = self;
        Settings::of_process(config, Layer { database_url, data_dir, ..Layer::default() })
    }
}

/// A lane for every two cores: HTTP, hashes and commits take as much of them as decisions do, and fewer lanes make larger
/// commits.
fn lanes_of_this_machine() -> Option<NonZeroUsize> {
    let cores = std::thread::available_parallelism().ok()?;
    NonZeroUsize::new(cores.get().div_ceil(2))
}

impl From<Layer> for Settings {
    fn from(layer: Layer) -> Self {
        let data_dir = layer.data_dir.unwrap_or_else(|| "proviso-data".into());
        let in_data_dir = || Database::file(data_dir.join(DATABASE_FILE));
        let database = layer.database_url.unwrap_or_else(in_data_dir);
        let default = proviso_engine::Options::default();
        Self {
            listen: layer.listen.unwrap_or_else(|| "127.0.0.1:7070".to_owned()),
            ops_listen: layer.ops_listen,
            database,
            database_connections: layer.database_connections,
            data_dir,
            admin_key: layer.admin_key,
            log: Log {
                format: layer.log_format.unwrap_or_default(),
                level: layer.log_level.unwrap_or_else(|| "info".to_owned()),
            },
            lanes: layer.lanes.or_else(lanes_of_this_machine).unwrap_or(default.lanes),
            queue: layer.queue.map_or(default.queue, NonZeroUsize::get),
            largest_batch: layer.largest_batch.unwrap_or(default.largest_batch),
            cached_customers: layer.cached_customers.map_or(default.cached_customers, NonZeroUsize::get),
            loaded_policies: layer
                .loaded_policies
                .map_or(proviso_policy::Limits::default().loaded_modules, NonZeroUsize::get),
            connections: Connections { total: layer.connections, per_address: layer.connections_per_address },
            rates: Rates { of_key: layer.key_rate, of_customer: layer.customer_rate },
            late_window: layer.late_window.map_or(default.late_window, |window| window.0),
            checkpoint_every: layer.checkpoint_every.map_or(CHECKPOINT_EVERY, |span| span.0),
            policy_signing_keys: layer.policy_signing_keys,
            test_clock: layer.test_clock.unwrap_or(false),
        }
    }
}

impl Layer {
    /// What this layer sets; for the rest, what the one below it does.
    fn or(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            ops_listen: self.ops_listen.or(below.ops_listen),
            database_url: self.database_url.or(below.database_url),
            database_connections: self.database_connections.or(below.database_connections),
            data_dir: self.data_dir.or(below.data_dir),
            admin_key: self.admin_key.or(below.admin_key),
            log_format: self.log_format.or(below.log_format),
            log_level: self.log_level.or(below.log_level),
            lanes: self.lanes.or(below.lanes),
            queue: self.queue.or(below.queue),
            largest_batch: self.largest_batch.or(below.largest_batch),
            cached_customers: self.cached_customers.or(below.cached_customers),
            loaded_policies: self.loaded_policies.or(below.loaded_policies),
            connections: self.connections.or(below.connections),
            connections_per_address: self.connections_per_address.or(below.connections_per_address),
            key_rate: self.key_rate.or(below.key_rate),
            customer_rate: self.customer_rate.or(below.customer_rate),
            late_window: self.late_window.or(below.late_window),
            checkpoint_every: self.checkpoint_every.or(below.checkpoint_every),
            policy_signing_keys: self.policy_signing_keys.or(below.policy_signing_keys),
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
        for (flags, seconds) in
            [(&[][..], 3_600), (&["--checkpoint-every=5m"], 300), (&["--checkpoint-every=0s"], 0)]
        {
            assert_eq!(settle(flags, &[], "").unwrap().checkpoint_every, Duration::from_secs(seconds));
        }
        let settings = settle(&[], &environment, file).unwrap();
        assert_eq!((settings.log.format, settings.test_clock), (LogFormat::Json, true));
        assert_eq!(settings.late_window, Duration::from_secs(43_200));
        let longest = settle(&["--late-window=35d"], &[], "").unwrap();
        assert_eq!(i64::try_from(longest.late_window.as_micros()), Ok(LATE_WINDOW));
        assert!(!settle(&["--test-clock=false"], &[], file).unwrap().test_clock);
        assert!(settle(&["--test-clock"], &[], "").unwrap().test_clock);
        assert!(settle(&[], &[("PROVISO_TEST_CLOCK", "1")], "").unwrap().test_clock);
    }

    #[test]
    fn the_database_lies_in_the_data_directory_unless_named() {
        for (flags, shown) in [
            (&[][..], Some("sqlite://proviso-data/proviso.db")),
            (&["--data-dir=/d"], Some("sqlite:///d/proviso.db")),
            (&["--data-dir=/d", "--database-url=sqlite:///a/b.db"], Some("sqlite:///a/b.db")),
            (&["--database-url=postgres://u:secret@h:6/d"], Some("postgres://h:6/d")),
            (&["--database-url=sqlite://"], None),
        ] {
            let settings = settle(flags, &[], "");
            let found = settings.ok().map(|settings| settings.database.to_string());
            assert_eq!(found.as_deref(), shown, "{flags:?}");
        }
        let settings = settle(&["--database-url=postgres://u:secret@h/d"], &[], "").unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (environment, file, named) in [
            (&[("PROVISO_LANES", "0")][..], "", "PROVISO_LANES: "),
            (&[("PROVISO_LATE_WINDOW", "soon")], "", "PROVISO_LATE_WINDOW: \"soon\""),
            (&[("PROVISO_LATE_WINDOW", "36d")], "", "PROVISO_LATE_WINDOW: \"36d\" is too long"),
            (&[("PROVISO_LATE_WINDOW", "840h1s")], "", "at most 35d"),
            (&[("PROVISO_TEST_CLOCK", "perhaps")], "", "PROVISO_TEST_CLOCK: "),
            (&[("PROVISO_LOG_FORMAT", "xml")], "", "PROVISO_LOG_FORMAT: \"xml\" is not possible"),
            (
                &[("PROVISO_DATABASE_URL", "mysql://h/d")],
                "",
                "PROVISO_DATABASE_URL: not a database address: must begin with",
            ),
            (&[], "lissten = \"x\"", "unknown field `lissten`"),
            (&[("PROVISO_CONNECTIONS", "0")], "", "PROVISO_CONNECTIONS: "),
            (&[], "key_rate = 0", "key_rate"),
            (&[], "late_window = 5", "late_window"),
            (&[], "late_window = \"6w\"", "at most 35d"),
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
