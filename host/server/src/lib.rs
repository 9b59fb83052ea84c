//! The HTTP API: requests become commands and questions to the engine, and each answer is rendered from what the engine
//! recorded. It decides nothing, keeps nothing but counts of requests, and knows no SQL, Wasm, clock or randomness.

mod access;
mod answer;
mod app;
mod document;
mod documented;
mod extract;
mod headers;
mod metrics;
mod middleware;
mod problem;
mod rates;
mod render;
mod routes;
mod serve;
mod wire;

pub use app::ServerOptions;
pub use problem::code_of;
pub use rates::Rates;
pub use serve::{ConnectionLimits, serve};

use app::App;
use axum::Router;
use proviso_engine::Engine;
use std::sync::Arc;

/// All routes, ready to be served.
#[derive(Clone)]
pub struct Routes {
    /// Answers requests.
    pub router: Router,
    /// What they share with the connections.
    app: Arc<App>,
}

/// All routes over an engine.
pub fn router(engine: Arc<Engine>, options: ServerOptions) -> Routes {
    let (routes, document) = routes::all(options.test_clock);
    let app = Arc::new(App::new(engine, options, &document));
    let around = axum::middleware::from_fn_with_state(app.clone(), middleware::around);
    let router = routes
        .fallback(routes::not_found)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(middleware::panicked))
        .layer(around)
        .with_state(app.clone());
    Routes { router, app }
}
