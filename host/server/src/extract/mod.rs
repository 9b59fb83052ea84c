//! Reads typed values from requests: paths, queries, headers, bodies, all of them untrusted. What is wrong becomes a problem
//! that names the field.

mod idempotency;
mod json;
mod list;
mod parameters;
mod path;
mod precondition;
mod query;
mod raw;

pub use idempotency::{DryRun, Keyed, KeyedUnlessDry, MaybeKeyed, callers};
pub use json::{Json, MaybeJson, few, json_bytes, object, parse, short};
pub use list::{List, answering};
pub use parameters::Parameters;
pub use path::{
    AddOnName, At, BacktestId, BudgetKey, BundleName, CreditKey, EntityKey, FeatureKey, KeyId, PeriodNumber,
    PlanName, PlanVersionNumber, PolicyName, PromotionName, VersionNumber, path_text,
};
pub use precondition::IfMatch;
pub use query::{PAGE_BYTES, Paging, Query, cursor, cut, fitting};
pub use raw::{BodyMemory, Sharer, is_of_type, media_type, read_body};
