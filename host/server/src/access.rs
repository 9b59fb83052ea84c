//! Authentication: who a request's API key stands for, and whether it may do what the route needs. A key without the route's
//! scope, or narrowed to another customer, is refused here.

use crate::{app::App, extract::path_text, problem::Problem};
use axum::{
    extract::FromRequestParts,
    http::{header::AUTHORIZATION, request::Parts},
};
use proviso_api::access::Scope;
use proviso_engine::catalog::{self, ApiKey};
use proviso_engine::command::{Command, Idempotency, Request};
use proviso_ledger::{
    model::ids::{CustomerId, Name},
    state::Origin,
};
use std::{marker::PhantomData, sync::Arc};

/// A scope that a route asks for.
pub trait Asks: Send {
    /// The scope, as the engine knows it.
    const SCOPE: catalog::Scope;
}

/// Defines the scopes as types.
macro_rules! scopes {
    ($($name:ident),+) => {$(
        pub struct $name;
        impl Asks for $name {
            const SCOPE: catalog::Scope = catalog::Scope::$name;
        }
    )+};
}
scopes!(Usage, Read, Manage, Policies, Admin);

/// A scope in the words of the wire contract.
pub fn scope(scope: catalog::Scope) -> Scope {
    match scope {
        catalog::Scope::Usage => Scope::Usage,
        catalog::Scope::Read => Scope::Read,
        catalog::Scope::Manage => Scope::Manage,
        catalog::Scope::Policies => Scope::Policies,
        catalog::Scope::Admin => Scope::Admin,
    }
}

/// Someone whose key has scope `S`, for any customer the key is not narrowed away from.
pub struct Caller<S> {
    pub key: Arc<ApiKey>,
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
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(Problem::no_api_key)?;
        let secret = header.to_str().ok().and_then(bearer).ok_or_else(Problem::no_api_key)?;
        let key = app.engine.authenticate(secret).await?.ok_or_else(Problem::bad_api_key)?;
        app.limit_key(&key)?;
        if !key.allows(S::SCOPE) {
            return Err(Problem::no_scope(scope(S::SCOPE)));
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
    /// The id of the API key.
    by: Name,
    scope: PhantomData<S>,
}

impl<S> Customer<S> {
    /// The id of the API key.
    pub fn by(&self) -> &Name {
        &self.by
    }

    /// Who asks, under which key.
    pub fn origin(&self, idempotency: Option<Idempotency>) -> Origin {
        Origin { idempotency, by: Some(self.by.clone()) }
    }

    /// A request for the customer.
    pub fn request(&self, command: Command, idempotency: Option<Idempotency>) -> Request {
        Request { customer: self.id.clone(), command, origin: self.origin(idempotency) }
    }
}

impl<S: Asks> FromRequestParts<Arc<App>> for Customer<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::<S>::from_request_parts(parts, app).await?;
        let text = path_text(parts, app, "customer").await?;
        let id: CustomerId = text.parse().map_err(|error| Problem::bad_path("customer", error))?;
        if caller.sees(&id) {
            app.limit_customer(&id)?;
            Ok(Self { id, by: caller.key.id.clone(), scope: PhantomData })
        } else {
            // As if it did not exist: a narrowed key must not learn of other customers.
            Err(Problem::customer_not_found(&id))
        }
    }
}

/// Someone whose key has scope `S` and is not narrowed to a customer: plans, policies and keys belong to none.
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
