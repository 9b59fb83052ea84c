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
mod wire_backtest;

pub use app::ServerOptions;
pub use problem::code_of;
pub use rates::Rates;
pub use serve::{ConnectionLimits, Drained, serve, serve_operations};
pub use wire_backtest::backtest_report;

use app::App;
use axum::Router;
use proviso_engine::Engine;
use std::sync::Arc;

/// All routes, ready to be served.
#[derive(Clone)]
pub struct Routes {
    /// Answers requests.
    pub router: Router,
    /// Health, readiness and metrics, where they have an address of their own.
    pub operations: Option<Router>,
    /// What they share with the connections.
    app: Arc<App>,
}

/// All routes over an engine.
pub fn router(engine: Arc<Engine>, options: ServerOptions) -> Routes {
    let is_separate = options.separate_operations;
    let (routes, document) = routes::all(options.test_clock, !is_separate);
    let app = Arc::new(App::new(engine, options, &document));
    let around = axum::middleware::from_fn_with_state(app.clone(), middleware::around);
    let whole = |routes: Router<Arc<App>>| {
        routes
            .fallback(routes::not_found)
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(middleware::panicked))
            .layer(around.clone())
            .with_state(app.clone())
    };
    let operations = is_separate.then(|| whole(routes::operations().split_for_parts().0));
    Routes { router: whole(routes), operations, app: app.clone() }
}
