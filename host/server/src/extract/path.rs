//! The variable parts of a path, percent-decoded. A key or name that can't be one is 400; an id that can't be one is 404.

use crate::{app::App, problem::Problem};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use proviso_api::ProblemCode;
use proviso_ledger::model::ids::{
    ChargeId, GrantId, Key, LeaseId, Name, PlanChangeId, ReservationId, TermsId, TopUpId,
};
use std::sync::Arc;

/// Something that a path names.
pub trait Part: Sized + Send {
    /// Its name in the route.
    const NAME: &'static str;
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

/// Defines a caller's key or name as a part of a path.
macro_rules! chosen {
    ($($name:ident($type:ty), $text:literal;)*) => {$(
        pub struct $name(pub $type);

        impl Part for $name {
            const NAME: &'static str = $text;
            fn read(text: &str) -> Result<Self, Problem> {
                text.parse().map(Self).map_err(|error| Problem::bad_path(Self::NAME, error))
            }
        }
    )*};
}

chosen! {
    PlanName(Name), "plan";
    PolicyName(Name), "policy";
    FeatureKey(Key), "feature";
    EntityKey(Key), "entity";
    BudgetKey(Key), "budget";
    CreditKey(Key), "credit";
    AddOnName(Name), "add_on";
    BundleName(Name), "bundle";
    PromotionName(Name), "promotion";
}

/// Defines an id that the host gave as a part of a path. A text that can't be one names nothing.
macro_rules! given {
    ($($type:ty, $text:literal, $code:ident, $what:literal, $read:expr;)*) => {$(
        impl Part for $type {
            const NAME: &'static str = $text;
            fn read(text: &str) -> Result<Self, Problem> {
                let id = text.parse().ok().map($read);
                id.ok_or_else(|| Problem::not_found(ProblemCode::$code, $what, text))
            }
        }
    )*};
}

/// The number of a policy's version.
pub struct VersionNumber(pub u32);

/// The number of a plan's version.
pub struct PlanVersionNumber(pub u32);

/// The number of a customer's period.
pub struct PeriodNumber(pub u32);

impl Part for PeriodNumber {
    const NAME: &'static str = "number";
    fn read(text: &str) -> Result<Self, Problem> {
        text.parse().map(Self).map_err(|_| Problem::bad_path(Self::NAME, "must be the number of a period"))
    }
}

/// The id of an API key.
pub struct KeyId(pub Name);

/// The id of a backtest.
pub struct BacktestId(pub Name);

given! {
    ReservationId, "reservation", ReservationNotFound, "reservation", |id| id;
    LeaseId, "lease", LeaseNotFound, "lease", |id| id;
    TopUpId, "top_up", TopUpNotFound, "top-up", |id| id;
    GrantId, "grant", GrantNotFound, "grant", |id| id;
    ChargeId, "charge", ChargeNotFound, "charge", |id| id;
    PlanChangeId, "change", PlanChangeNotFound, "pending change of plan", |id| id;
    TermsId, "terms", TermsNotFound, "terms", |id| id;
    VersionNumber, "version", VersionNotFound, "version", VersionNumber;
    PlanVersionNumber, "version", PlanVersionNotFound, "version of the plan", PlanVersionNumber;
    KeyId, "api_key", ApiKeyNotFound, "API key", KeyId;
    BacktestId, "backtest", BacktestNotFound, "backtest", BacktestId;
}
