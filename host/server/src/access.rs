//! Authentication: who a request's API key stands for, and whether it may do what the route needs. A key without the route's
//! scope, narrowed to another customer or to other policies, or not allowed to create credits, is refused here.

use crate::{
    app::App,
    extract::{At, PolicyName, Sharer, path_text},
    problem::Problem,
};
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

/// What a route asks of a key.
pub trait Asks: Send {
    /// The scopes of which one opens it, as the engine knows them.
    const SCOPES: &'static [catalog::Scope];
    /// Whether it decides what a customer gets: a key that is narrowed to that customer must say that it may.
    const GRANTS: bool = false;
}

/// Defines the scopes as types.
macro_rules! scopes {
    ($($name:ident),+) => {$(
        pub struct $name;
        impl Asks for $name {
            const SCOPES: &'static [catalog::Scope] = &[catalog::Scope::$name];
        }
    )+};
}
scopes!(Usage, Read, Manage, Policies, Admin);

/// Manages what a customer gets: credits, terms, entitlements.
pub struct Grantor;

impl Asks for Grantor {
    const SCOPES: &'static [catalog::Scope] = Manage::SCOPES;
    const GRANTS: bool = true;
}

/// Reads what is said of policies, but not their code.
pub struct ReadPolicies;

impl Asks for ReadPolicies {
    const SCOPES: &'static [catalog::Scope] = &[catalog::Scope::Read, catalog::Scope::Policies];
}

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
        if !S::SCOPES.iter().any(|scope| key.allows(*scope)) {
            return Err(Problem::no_scope(S::SCOPES.iter().copied().map(scope)));
        }
        app.parameters.check(parts)?;
        if key.customer.is_some() || key.policy_prefix.is_some() {
            parts.extensions.insert(Sharer(key.id.clone()));
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
    key: Arc<ApiKey>,
    scope: PhantomData<S>,
}

impl<S> Customer<S> {
    /// The id of the API key.
    pub fn by(&self) -> &Name {
        &self.key.id
    }

    /// Who asks.
    pub fn caller(&self) -> Caller<S> {
        Caller { key: self.key.clone(), scope: PhantomData }
    }

    /// Whether the key may decide what the customer gets.
    pub fn may_grant(&self) -> bool {
        self.key.may_grant()
    }

    /// Refuses a policy that the key is narrowed away from.
    pub fn may_bind(&self, policy: &Name) -> Result<(), Problem> {
        within_prefix(&self.key, policy)
    }

    /// Who asks, under which key.
    pub fn origin(&self, idempotency: Option<Idempotency>) -> Origin {
        Origin { idempotency, by: Some(self.by().clone()) }
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
        if !caller.sees(&id) {
            // As if it did not exist: a narrowed key must not learn of other customers.
            return Err(Problem::customer_not_found(&id));
        }
        app.limit_customer(&id)?;
        if S::GRANTS && !caller.key.may_grant() {
            return Err(Problem::key_may_not_grant());
        }
        Ok(Self { id, key: caller.key, scope: PhantomData })
    }
}

/// Someone whose key has scope `S` and is not narrowed to a customer: plans and keys belong to none.
pub struct Operator<S> {
    key: Arc<ApiKey>,
    scope: PhantomData<S>,
}

impl<S> Operator<S> {
    /// The id of the API key.
    pub fn by(&self) -> Name {
        self.key.id.clone()
    }

    /// Refuses a policy that the key is narrowed away from.
    pub fn may_bind(&self, policy: &Name) -> Result<(), Problem> {
        within_prefix(&self.key, policy)
    }
}

impl<S: Asks> Operator<S> {
    /// Refuses a key without a further scope, which a part of the request needs.
    pub fn may(&self, needed: catalog::Scope) -> Result<(), Problem> {
        if self.key.allows(needed) { Ok(()) } else { Err(Problem::no_scope([scope(needed)].into_iter())) }
    }

    /// Refuses a key that is narrowed to some policies.
    pub fn may_bind_all(&self) -> Result<(), Problem> {
        match &self.key.policy_prefix {
            Some(prefix) => Err(Problem::other_policies(prefix)),
            None => Ok(()),
        }
    }

    /// Refuses a key that does not operate the host: what a policy may use costs everybody.
    pub fn may_set_class(&self) -> Result<(), Problem> {
        may_set_class(&self.key)
    }
}

impl<S: Asks> FromRequestParts<Arc<App>> for Operator<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::<S>::from_request_parts(parts, app).await?;
        match caller.only_customer() {
            None => Ok(Self { key: caller.key, scope: PhantomData }),
            Some(_) => Err(Problem::narrowed_key()),
        }
    }
}

/// Someone whose key has scope `S`, for policies: either all of them, or those of the prefix that the key is narrowed to.
pub struct Publisher<S> {
    key: Arc<ApiKey>,
    scope: PhantomData<S>,
}

impl<S> Publisher<S> {
    /// Whether the key is not narrowed away from this policy.
    pub fn sees(&self, policy: &Name) -> bool {
        self.key.sees_policy(policy)
    }
}

impl<S: Asks> FromRequestParts<Arc<App>> for Publisher<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::<S>::from_request_parts(parts, app).await?;
        // A customer has no policies, but its key may have a prefix.
        if caller.only_customer().is_some() && caller.key.policy_prefix.is_none() {
            return Err(Problem::narrowed_key());
        }
        Ok(Self { key: caller.key, scope: PhantomData })
    }
}

/// The policy of the path, for a [`Publisher`] that is not narrowed away from it.
pub struct Policy<S> {
    /// The policy's name; whether there is one is for the route to say.
    pub name: Name,
    /// The id of the API key.
    pub by: Name,
    key: Arc<ApiKey>,
    scope: PhantomData<S>,
}

impl<S> Policy<S> {
    /// Refuses a key that does not operate the host: what a policy may use costs everybody.
    pub fn may_set_class(&self) -> Result<(), Problem> {
        may_set_class(&self.key)
    }
}

impl<S: Asks> FromRequestParts<Arc<App>> for Policy<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let publisher = Publisher::<S>::from_request_parts(parts, app).await?;
        let At(PolicyName(name)) = At::from_request_parts(parts, app).await?;
        within_prefix(&publisher.key, &name)?;
        Ok(Self { name, by: publisher.key.id.clone(), key: publisher.key, scope: PhantomData })
    }
}

fn may_set_class(key: &ApiKey) -> Result<(), Problem> {
    if key.is_admin() { Ok(()) } else { Err(Problem::no_scope([Scope::Admin].into_iter())) }
}

/// Says the same whether or not there is such a policy.
fn within_prefix(key: &ApiKey, policy: &Name) -> Result<(), Problem> {
    match &key.policy_prefix {
        Some(prefix) if !key.sees_policy(policy) => Err(Problem::other_policies(prefix)),
        _ => Ok(()),
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
