//! From a request to typed values. In: paths, queries, headers, bodies, all of them untrusted. Out: values that hold
//! what their types say, or a problem that names the field.

mod idempotency;
mod json;
mod pairs;
mod path;
mod query;
mod raw;

pub use idempotency::{Key as IdempotencyHeader, RequiredKey};
pub use json::{Json, MaybeJson, object, parse};
pub use pairs::{Amount, Attributes, MOST as MOST_PAIRS, Quantities, Text, is_name};
pub use path::{ApiKeyId, At, FeatureKey, PlanKey, PolicyKey, VersionNumber, path_text};
pub use query::{Page, Paging, Query, cursor, cut};
pub use raw::{is_of_type, media_type, read_body};
