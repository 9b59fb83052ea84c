//! What each operation may be asked with, as its document says: query parameters that it does not name, and an `If-Match` that it
//! does not compare, are refused for all routes in one place. Both would else look as if they had been heeded.

use crate::problem::Problem;
use axum::{
    extract::MatchedPath,
    http::{Method, header::IF_MATCH, request::Parts},
};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, ParameterIn, PathItem},
};

/// The parameters of all operations, by path.
pub struct Parameters(BTreeMap<String, Vec<(Method, OfOperation)>>);

/// The parameters of an operation.
#[derive(Default)]
struct OfOperation {
    /// The names of its query parameters.
    query: BTreeSet<String>,
    /// Whether it compares `If-Match`.
    is_conditional: bool,
}

impl Parameters {
    /// Those that the document names.
    pub fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter();
        Self(paths.map(|(path, item)| (path.clone(), of_path(item))).collect())
    }

    /// Refuses what the operation of a request does not know.
    pub fn check(&self, parts: &Parts) -> Result<(), Problem> {
        let has_if_match = parts.headers.contains_key(IF_MATCH);
        let query = parts.uri.query().filter(|query| !query.is_empty());
        if query.is_none() && !has_if_match {
            return Ok(());
        }
        let route = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let methods = route.and_then(|route| self.0.get(route)).map(Vec::as_slice).unwrap_or_default();
        // A HEAD is answered like a GET.
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        let none = OfOperation::default();
        let of = methods.iter().find(|(known, _)| known == method).map_or(&none, |(_, of)| of);
        if has_if_match && !of.is_conditional && method != Method::GET {
            return Err(Problem::no_precondition());
        }
        if query.is_none() {
            return Ok(());
        }
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let pairs = pairs.map_err(|rejection| Problem::bad_query(rejection.body_text()))?;
        match pairs.0.iter().find(|(name, _)| !of.query.contains(name)) {
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                let known: Vec<&str> = of.query.iter().map(String::as_str).collect();
                Err(Problem::bad_query(match known.as_slice() {
                    [] => format!("unknown parameter `{name}`: this operation takes none"),
                    known => format!("unknown parameter `{name}`, expected one of {}", known.join(", ")),
                }))
            }
            None => Ok(()),
        }
    }
}

fn of_path(item: &PathItem) -> Vec<(Method, OfOperation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, of(operation.as_ref()?)))).collect()
}

fn of(operation: &Operation) -> OfOperation {
    let mut of = OfOperation::default();
    for parameter in operation.parameters.iter().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        match parameter.parameter_in {
            ParameterIn::Query => {
                of.query.insert(parameter.name.clone());
            }
            ParameterIn::Header => of.is_conditional |= parameter.name.eq_ignore_ascii_case("If-Match"),
            ParameterIn::QueryString | ParameterIn::Path | ParameterIn::Cookie => {}
        }
    }
    of
}
