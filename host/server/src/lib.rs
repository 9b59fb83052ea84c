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
use std::sync::Arc;

/// All routes, ready to be served.
pub fn router(engine: Arc<Engine>, options: ServerOptions) -> Router {
    let (routes, api) = routes::all(options.test_clock);
    let app = Arc::new(App::new(engine, options, api));
    let finisher = axum::middleware::from_fn_with_state(app.clone(), finish::finish);
    routes
        .fallback(routes::not_found)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(finish::panicked))
        .layer(finisher)
        .with_state(app)
}
