//! Reads typed values from requests: paths, queries, headers, bodies, all of them untrusted. What is wrong becomes a problem
//! that names the field.

mod idempotency;
mod json;
mod parameters;
mod path;
mod precondition;
mod query;
mod raw;

pub use idempotency::{DryRun, Keyed, KeyedUnlessDry, MaybeKeyed};
pub use json::{Json, MaybeJson, object, parse, short};
pub use parameters::Parameters;
pub use path::{
    At, BacktestId, BudgetKey, CreditKey, EntityKey, FeatureKey, KeyId, PeriodNumber, PlanName,
    PlanVersionNumber, PolicyName, VersionNumber, path_text,
};
pub use precondition::IfMatch;
pub use query::{PAGE_BYTES, Paging, Query, cursor, cut, fitting};
pub use raw::{BodyMemory, is_of_type, media_type, read_body};
