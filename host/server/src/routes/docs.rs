//! The API's document, and a page that shows it. Nothing is loaded from elsewhere.

use crate::{app::App, problem::Problem};
use axum::{
    extract::{Path, State},
    http::{
        HeaderName,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use std::sync::Arc;

const PAGE: &str = include_str!("docs/page.html");
const SCRIPT: &str = include_str!("docs/page.js");
const STYLE: &str = include_str!("docs/page.css");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "Operating",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub async fn openapi(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}

/// The API to read
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    tag = "Operating",
    security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
)]
pub async fn page() -> Response {
    shown("text/html; charset=utf-8", PAGE)
}

/// Parts of the page
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs_file",
    tag = "Operating",
    security(()),
    params(("file" = String, Path, description = "`page.js` or `page.css`")),
    responses((status = 200, description = "The file", body = String, content_type = "text/plain")),
)]
pub async fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    match file.as_str() {
        "page.js" => Ok(shown("text/javascript; charset=utf-8", SCRIPT)),
        "page.css" => Ok(shown("text/css; charset=utf-8", STYLE)),
        _ => Err(Problem::no_route()),
    }
}

fn shown(content_type: &'static str, text: &'static str) -> Response {
    let nosniff = (HeaderName::from_static("x-content-type-options"), "nosniff");
    ([(CONTENT_TYPE, content_type), (CONTENT_SECURITY_POLICY, POLICY), nosniff], text).into_response()
}
