//! The variable parts of a path. A caller's own key that can't be one is the caller's mistake; an id that can't be one is
//! simply not there.

use crate::{app::App, problem::Problem};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use proviso_ledger::model::ids::{GrantId, Key, ReservationId, TermsId};
use std::sync::Arc;

/// Something that a path names.
pub trait Part: Sized + Send {
    /// What it is called in the route.
    const NAME: &'static str;
    /// Reads it.
    fn read(text: &str) -> Result<Self, Problem>;
}

/// A part of the path.
pub struct At<T>(pub T);

impl<T: Part> FromRequestParts<Arc<App>> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let text = path_text(parts, app, T::NAME).await?;
        Ok(Self(T::read(&text)?))
    }
}

/// The decoded text of a part of the path.
pub async fn path_text(parts: &mut Parts, app: &Arc<App>, name: &'static str) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, app).await;
    let params = params.map_err(|_| Problem::bad_path(name, "must be percent-encoded UTF-8"))?;
    let found = params.iter().find(|(found, _)| *found == name).map(|(_, text)| text.to_owned());
    found.ok_or_else(|| Problem::internal(format!("the route has no {name}")))
}

/// Defines a caller's key as a part of a path.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident, $text:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name(pub Key);

        impl Part for $name {
            const NAME: &'static str = $text;
            fn read(text: &str) -> Result<Self, Problem> {
                text.parse().map(Self).map_err(|error| Problem::bad_path(Self::NAME, error))
            }
        }
    )*};
}

keys! {
    /// A plan.
    PlanKey, "plan";
    /// A policy.
    PolicyKey, "policy";
    /// A feature.
    FeatureKey, "feature";
}

impl Part for ReservationId {
    const NAME: &'static str = "reservation";
    fn read(text: &str) -> Result<Self, Problem> {
        text.parse().map_err(|_| Problem::not_found("reservation", text))
    }
}

impl Part for GrantId {
    const NAME: &'static str = "grant";
    fn read(text: &str) -> Result<Self, Problem> {
        text.parse().map_err(|_| Problem::not_found("grant", text))
    }
}

impl Part for TermsId {
    const NAME: &'static str = "terms";
    fn read(text: &str) -> Result<Self, Problem> {
        text.parse().map_err(|_| Problem::not_found("terms", text))
    }
}

/// The number of a policy's version.
pub struct VersionNumber(pub u32);

impl Part for VersionNumber {
    const NAME: &'static str = "version";
    fn read(text: &str) -> Result<Self, Problem> {
        text.parse().map(Self).map_err(|_| Problem::not_found("version", text))
    }
}

/// The id of an API key.
pub struct ApiKeyId(pub Key);

impl Part for ApiKeyId {
    const NAME: &'static str = "api_key";
    fn read(text: &str) -> Result<Self, Problem> {
        text.parse().map(Self).map_err(|_| Problem::not_found("api_key", text))
    }
}
