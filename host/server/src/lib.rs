//! The HTTP API: requests in, commands and questions to the engine out, and each answer rendered from what the engine
//! recorded. Nothing is decided here, nothing is kept here but counts of requests, and no SQL, Wasm, clock or randomness
//! is known.

mod access;
mod answers;
mod app;
mod extract;
mod finish;
mod metrics;
mod problem;
mod render;
mod routes;
mod schema;
mod serve;

pub use app::ServerOptions;
pub use serve::serve;

use app::App;
use axum::Router;
use proviso_engine::Engine;
use std::sync::{Arc, atomic::AtomicBool};

/// All routes, ready to be served.
#[derive(Clone)]
pub struct Routes {
    /// What answers a request.
    pub router: Router,
    /// Set when a shutdown begins, so that `/readyz` can say it.
    draining: Arc<AtomicBool>,
}

/// All routes over an engine.
pub fn router(engine: Arc<Engine>, options: ServerOptions) -> Routes {
    let (routes, api) = routes::all(options.test_clock);
    let app = Arc::new(App::new(engine, options, api));
    let draining = app.draining.clone();
    let finisher = axum::middleware::from_fn_with_state(app.clone(), finish::finish);
    let router = routes
        .fallback(routes::not_found)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(finish::panicked))
        .layer(finisher)
        .with_state(app);
    Routes { router, draining }
}
