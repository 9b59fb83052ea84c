//! Who may do what: a request's API key in, the customer or the operator that it stands for out. A key without the
//! route's scope, or narrowed to another customer, gets no further than this.

use crate::{app::App, extract::path_text, problem::Problem};
use axum::{
    extract::FromRequestParts,
    http::{header::AUTHORIZATION, request::Parts},
};
use proviso_engine::catalog::{ApiKey, Scope};
use proviso_ledger::model::ids::CustomerId;
use std::{marker::PhantomData, sync::Arc};

/// A scope that a route asks for.
pub trait Asks: Send {
    /// The scope.
    const SCOPE: Scope;
}

/// Check, charge, reserve.
pub struct Usage;
/// Read.
pub struct Read;
/// Customers, plans, grants, terms.
pub struct Manage;
/// Policies.
pub struct Policies;
/// API keys and the test clock.
pub struct Admin;

impl Asks for Usage {
    const SCOPE: Scope = Scope::Usage;
}
impl Asks for Read {
    const SCOPE: Scope = Scope::Read;
}
impl Asks for Manage {
    const SCOPE: Scope = Scope::Manage;
}
impl Asks for Policies {
    const SCOPE: Scope = Scope::Policies;
}
impl Asks for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// Someone whose key has scope `S`, for any customer the key is not narrowed away from.
pub struct Caller<S> {
    key: Arc<ApiKey>,
    scope: PhantomData<S>,
}

impl<S> Caller<S> {
    /// The only customer the caller may see, if its key is narrowed to one.
    pub fn only_customer(&self) -> Option<&CustomerId> {
        self.key.customer.as_ref()
    }

    /// Whether the caller may see this customer.
    pub fn sees(&self, customer: &CustomerId) -> bool {
        self.only_customer().is_none_or(|only| only == customer)
    }
}

impl<S: Asks> FromRequestParts<Arc<App>> for Caller<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(Problem::no_key)?;
        let secret = header.to_str().ok().and_then(bearer).ok_or_else(Problem::no_key)?;
        let key = app.engine.authenticate(secret).await?.ok_or_else(Problem::bad_key)?;
        if !key.allows(S::SCOPE) {
            return Err(Problem::no_scope(S::SCOPE));
        }
        Ok(Self { key, scope: PhantomData })
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim()).filter(|secret| !secret.is_empty())
}

/// The customer of the path, for someone whose key has scope `S` and may see that customer.
pub struct Customer<S> {
    /// The customer.
    pub id: CustomerId,
    scope: PhantomData<S>,
}

impl<S: Asks> FromRequestParts<Arc<App>> for Customer<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::<S>::from_request_parts(parts, app).await?;
        let text = path_text(parts, app, "customer").await?;
        let id: CustomerId = text.parse().map_err(|error| Problem::bad_path("customer", error))?;
        if caller.sees(&id) {
            Ok(Self { id, scope: PhantomData })
        } else {
            // As if it were not there: a narrowed key must not learn who else is.
            Err(Problem::customer_not_found(&id))
        }
    }
}

/// Someone whose key has scope `S` and is narrowed to no customer: plans, policies and keys are nobody's own.
pub struct Operator<S>(PhantomData<S>);

impl<S: Asks> FromRequestParts<Arc<App>> for Operator<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::<S>::from_request_parts(parts, app).await?;
        match caller.only_customer() {
            None => Ok(Self(PhantomData)),
            Some(_) => Err(Problem::narrowed_key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn bearer_tokens_are_read() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer  ", None),
            ("", None),
        ] {
            assert_eq!(bearer(header), token, "{header:?}");
        }
    }
}
