//! Holds every problem that is answered in a test against the codes that the API document lists for the operation.

use super::{Answer, Server};
use axum::{body::Body, http::Request};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OnceCell;

/// The documented codes of each operation, by status.
pub struct Operations(Vec<Operation>);

struct Operation {
    method: String,
    /// The path's parts; `None` for a parameter.
    parts: Vec<Option<String>>,
    codes: BTreeMap<u16, BTreeSet<String>>,
}

/// Problems of requests that reach no operation.
const OF_NO_OPERATION: [&str; 2] = ["route_not_found", "method_not_allowed"];

impl Operations {
    pub async fn of(server: &Server) -> &'static Self {
        static OPERATIONS: OnceCell<Operations> = OnceCell::const_new();
        OPERATIONS.get_or_init(|| Self::read(server)).await
    }

    async fn read(server: &Server) -> Self {
        let request = Request::builder().uri("/openapi.json").body(Body::empty()).unwrap();
        let document = server.answer(request).await.json();
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let part = |part: &str| (!part.starts_with('{')).then(|| part.to_owned());
                operations.push(Operation {
                    method: method.to_uppercase(),
                    parts: path.split('/').map(part).collect(),
                    codes: codes(operation),
                });
            }
        }
        Self(operations)
    }

    pub fn check(&self, method: &str, path: &str, answer: &Answer) {
        let body: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
        if answer.header("content-type") == Some("application/problem+json") {
            self.check_problem(method, path, &body);
        }
        // Items of a batch are answered as a charge of their own would be.
        for item in body.as_array().into_iter().flatten().filter(|item| item["body"]["code"].is_string()) {
            self.check_problem("POST", "/v1/customers/any/charges", &item["body"]);
        }
    }

    fn check_problem(&self, method: &str, path: &str, problem: &Value) {
        let (code, status) = (problem["code"].as_str().unwrap(), problem["status"].as_u64().unwrap());
        if OF_NO_OPERATION.contains(&code) {
            return;
        }
        let operation =
            self.find(method, path).unwrap_or_else(|| panic!("{method} {path} is not documented"));
        let codes = operation.codes.get(&u16::try_from(status).unwrap());
        let lists = |code: &str| codes.is_some_and(|codes| codes.contains(code));
        // A policy refuses with codes of its own, and the journal records it; 422 where the usage itself is wrong.
        let of_policy = [402, 422].contains(&status) && problem["entry"].is_u64() && lists("policy_denied");
        assert!(lists(code) || of_policy, "{method} {path} does not document {status} {code}: {problem}");
    }

    /// The operation with the most literal parts, as the router chooses.
    fn find(&self, method: &str, path: &str) -> Option<&Operation> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |operation: &&Operation| {
            operation.method == method
                && operation.parts.len() == parts.len()
                && operation
                    .parts
                    .iter()
                    .zip(&parts)
                    .all(|(known, part)| known.as_ref().is_none_or(|known| known == part))
        };
        self.0.iter().filter(fits).max_by_key(|operation| operation.parts.iter().flatten().count())
    }
}

fn codes(operation: &Value) -> BTreeMap<u16, BTreeSet<String>> {
    let mut codes = BTreeMap::new();
    for (status, response) in operation["responses"].as_object().unwrap() {
        let examples = response["content"]["application/problem+json"]["examples"].as_object();
        let listed: BTreeSet<_> =
            examples.into_iter().flat_map(|examples| examples.keys().cloned()).collect();
        codes.insert(status.parse().unwrap(), listed);
    }
    codes
}
