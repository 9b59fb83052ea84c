//! The API's document, and a page that shows it. Nothing is loaded from elsewhere.

use crate::{app::App, documented::problems, problem::Problem};
use axum::{
    extract::{Path, State},
    http::{
        HeaderName,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use proviso_api::schema::AnyObject;
use rust_embed::RustEmbed;
use std::sync::Arc;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

problems!(FileProblems: , RouteNotFound);

/// The files of the page.
#[derive(RustEmbed)]
#[folder = "src/routes/docs"]
struct Files;

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "Operating",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = inline(AnyObject))),
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
    responses((status = 200, description = "A page", body = String, content_type = "text/html"), FileProblems),
)]
pub async fn page() -> Result<Response, Problem> {
    embedded("page.html")
}

/// Parts of the page
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs_file",
    tag = "Operating",
    security(()),
    params(("file" = String, Path, description = "`page.js` or `page.css`")),
    responses((status = 200, description = "The file", body = String, content_type = "text/plain"), FileProblems),
)]
pub async fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    embedded(&file)
}

fn embedded(file: &str) -> Result<Response, Problem> {
    let content_type = match file.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => return Err(Problem::no_route()),
    };
    let content = Files::get(file).ok_or_else(Problem::no_route)?;
    let nosniff = (HeaderName::from_static("x-content-type-options"), "nosniff");
    let headers = [(CONTENT_TYPE, content_type), (CONTENT_SECURITY_POLICY, POLICY), nosniff];
    Ok((headers, content.data).into_response())
}
