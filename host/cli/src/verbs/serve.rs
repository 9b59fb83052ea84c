//! `proviso serve`: runs a host until it is told to end. One line on stdout says where it listens;
//! all else goes to stderr.

use super::{checkpoint, compile_worker};
use crate::{
    clock::{self, Stopwatch},
    config::{Layer, Settings},
    error::Error,
    exit::Verdict,
    machine::Machine,
    secrets, telemetry, terminal,
};
use clap::Args;
use proviso_engine::{CheckpointOptions, Clock, Engine, Options, PolicyKey};
use proviso_policy::{CacheDir, Limits, Runtime};
use proviso_server::{ConnectionLimits, Drained, ServerOptions};
use proviso_store::Access;
use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{info, warn};

/// A stack that everything but policies is fine with.
const USUAL_STACK_BYTES: usize = 2 << 20;
/// What the host's own frames need below a policy's.
const STACK_BYTES_BELOW: usize = 256 << 10;
/// An admin key that is shorter can be guessed.
const SHORT_KEY: usize = 16;

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// Settings in TOML [default: ./proviso.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: Layer,
}

/// Serves.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = Settings::of_process(flags.config, flags.layer)?;
    telemetry::start(&settings.log)?;
    let limits = Limits { loaded_modules: settings.loaded_policies, ..Limits::default() };
    let machine = Machine::prepare();
    let (limits, mut warnings) = machine.fit(limits);
    let database_files = settings.database_connections.map_or(0, NonZeroU32::get);
    let (connections, warning) =
        machine.fit_connections(settings.connections, limits.loaded_modules, database_files);
    warnings.extend(warning);
    for warning in warnings {
        warn!("{warning}");
    }
    let stack_bytes = USUAL_STACK_BYTES.max(limits.stack_bytes + STACK_BYTES_BELOW);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(stack_bytes)
        .build()
        .map_err(Error::system("starting threads"))?
        .block_on(serve(settings, limits, connections))?;
    Ok(Verdict::Fine)
}

async fn serve(settings: Settings, limits: Limits, connections: ConnectionLimits) -> Result<(), Error> {
    // Listened for first, so that a signal during the start is not lost.
    let signals = Signals::listen().map_err(Error::system("listening for signals"))?;
    let engine = start(&settings, limits).await?;
    if settings.test_clock {
        warn!(
            "TEST CLOCK: anyone with an admin key can move this host's time forward. Never use this in production"
        );
    }
    let stopwatch = Stopwatch::start();
    let options = ServerOptions {
        test_clock: settings.test_clock,
        separate_operations: settings.ops_listen.is_some(),
        max_body_bytes: ServerOptions::MAX_BODY_BYTES,
        connections,
        rates: settings.rates,
        new_secret: Arc::new(secrets::new_api_key),
        stopwatch: Arc::new(move || stopwatch.micros()),
        instance: secrets::new_instance(),
    };
    let router = proviso_server::router(engine.clone(), options);
    let listening = format!("listening on {}", settings.listen);
    let listener = TcpListener::bind(&settings.listen).await.map_err(Error::system(listening))?;
    let address = listener.local_addr().map_err(Error::system("the address that was bound"))?;
    let operations = match (&settings.ops_listen, router.operations.clone()) {
        (Some(listen), Some(router)) => {
            let listening = format!("listening on {listen}");
            let listener = TcpListener::bind(listen).await.map_err(Error::system(listening))?;
            let address = listener.local_addr().map_err(Error::system("the address that was bound"))?;
            info!(%address, "operators are listened to");
            Some(tokio::spawn(proviso_server::serve_operations(listener, router)))
        }
        _ => None,
    };
    terminal::print(&format!("listening on http://{address}\n"))?;
    info!(%address, database = %settings.database, lanes = settings.lanes, "ready");
    let drained = proviso_server::serve(listener, router, signals.shutdown()).await;
    let drained = drained.map_err(Error::system("serving"))?;
    engine.close().await;
    if let Some(operations) = operations {
        operations.abort();
    }
    match drained {
        Drained::Answered => {
            info!("ended: every request that was accepted is answered, and what was answered is durable")
        }
        Drained::Cut => warn!(
            "ended: some requests took too long and were not answered; what was answered is durable, and a repeat with the \
             same key tells what became of the others"
        ),
    }
    Ok(())
}

/// Opens the data and starts the engine on it, with a key that can manage it.
async fn start(settings: &Settings, limits: Limits) -> Result<Arc<Engine>, Error> {
    let data_dir = &settings.data_dir;
    fs::create_dir_all(data_dir).map_err(Error::file(data_dir))?;
    let key = secrets::key_file(&data_dir.join("compiled.key"))?;
    let cache = CacheDir { path: data_dir.join("compiled"), key };
    let runtime = Runtime::new(limits, Some(cache), compile_worker::compiler()?)?;
    let store = settings.database.open(Access::ReadWrite, settings.database_connections).await?;
    let signing =
        checkpoint::signing_key(&settings.checkpoint_key(), secrets::key_file(&settings.checkpoint_key())?)?;
    info!(public_key = %signing.public(), "checkpoints are signed; `proviso verify --checkpoint-key` takes this");
    let checkpoints = CheckpointOptions { every: settings.checkpoint_every, key: signing };
    let options = Options {
        checkpoints: Some(checkpoints).filter(|options| !options.every.is_zero()),
        lanes: settings.lanes,
        queue: settings.queue,
        largest_batch: settings.largest_batch,
        cached_customers: settings.cached_customers,
        late_window: settings.late_window,
        policy_keys: settings.policy_signing_keys.as_deref().map(policy_keys).transpose()?,
        slow_workers: settings.lanes.get(),
        ..Options::default()
    };
    let engine = Engine::start(store, Arc::new(runtime), Clock::new(clock::now), options).await?;
    ensure_admin(&engine, settings).await?;
    Ok(engine)
}

/// The keys by one of which modules must be signed.
fn policy_keys(path: &Path) -> Result<Vec<PolicyKey>, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    proviso_engine::policy_keys(&text).map_err(Error::content(path))
}

/// Puts the key in force that was given, in the place of the one before. Where none was given and none is there, makes one and shows it this once.
async fn ensure_admin(engine: &Engine, settings: &Settings) -> Result<(), Error> {
    let now = engine.clock().now();
    if let Some(key) = &settings.admin_key {
        if key.reveal().len() < SHORT_KEY {
            warn!("the admin key is shorter than {SHORT_KEY} characters: it can be guessed");
        }
        let key = engine.set_admin_key(key.reveal(), "configured admin key").await?;
        if !key.is_live(now) || !key.is_admin() {
            warn!(
                "the admin key that was given can't manage this host: it was replaced or revoked, or has other scopes; give a new one"
            );
        }
    } else if !engine.catalog().api_keys.values().any(|key| key.is_live(now) && key.is_admin()) {
        let key = secrets::new_api_key();
        engine.set_admin_key(&key, "first admin key").await?;
        // Not a log record: those are kept and shipped.
        terminal::note(&format!("admin key, shown only this once: {key}"));
    }
    Ok(())
}

/// What asks a host to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Done with the first signal. A second Ctrl-C ends the process at once; a second SIGTERM does not, since whoever
    /// supervises a terminal's processes often sends one after the terminal's own SIGINT.
    async fn shutdown(mut self) {
        let signal = self.next().await;
        info!(signal, "ending");
        tokio::spawn(async move {
            if self.interrupt.recv().await.is_some() {
                warn!("ending at once; what was answered is durable");
                std::process::exit(crate::exit::FAILED.into());
            }
        });
    }
}
