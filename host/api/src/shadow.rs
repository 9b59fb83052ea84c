//! What a shadow would have changed.

use crate::schema;
use proviso_ledger::model::{
    amounts::Credits,
    ids::{CustomerId, Key, Seq},
    terms::TermsKey,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a report. What its pages say adds up to the whole.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ShadowReport {
    /// The shadow.
    #[schema(value_type = String, example = "plan/pro/terms_3")]
    pub terms: TermsKey,
    /// Entries accepted at this time or later are looked at...
    #[schema(value_type = schema::Time)]
    pub from: Timestamp,
    /// ...and before this time.
    #[schema(value_type = schema::Time)]
    pub to: Timestamp,
    /// Decisions that were compared.
    pub compared: u64,
    /// How many of them differ, in credits or outcome.
    pub differ: u64,
    /// Usage by feature and credit type.
    pub features: Vec<ShadowOfFeature>,
    /// What the ends of periods carried over.
    pub closings: ShadowComparison,
    /// What the beginnings of periods issued, before what was given in the cycle was taken off.
    pub openings: ShadowComparison,
    /// The decisions that differ most, largest first, at most 20.
    pub examples: Vec<ShadowExample>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Usage of one feature in one credit type.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ShadowOfFeature {
    /// The feature.
    #[schema(value_type = schema::Key, example = "chat")]
    pub feature: Key,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub comparison: ShadowComparison,
}

/// Decisions compared with a shadow's. Credits are those of charges and commits, or of periods; reservations and refusals are
/// compared but move nothing by themselves.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ShadowComparison {
    /// How many decisions were compared.
    pub compared: u64,
    /// How many of them differ, in credits or outcome.
    pub differ: u64,
    /// How many the shadow alone refused, or failed at.
    pub refused_by_shadow: u64,
    /// How many were refused, and the shadow alone would have priced.
    pub allowed_by_shadow: u64,
    /// What they came to, where both have a price.
    #[schema(value_type = schema::Credits)]
    pub cost: Credits,
    /// What the shadow made of those.
    #[schema(value_type = schema::Credits)]
    pub shadow_cost: Credits,
    /// By how much the shadow was above, where it was.
    #[schema(value_type = schema::Credits)]
    pub more: Credits,
    /// By how much the shadow was below, where it was.
    #[schema(value_type = schema::Credits)]
    pub less: Credits,
}

/// A decision that differs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ShadowExample {
    /// Whose.
    #[schema(value_type = schema::Key, example = "acme")]
    pub customer: CustomerId,
    /// The entry of the customer's ledger that records both, with what explains them.
    pub entry: Seq,
    /// When it was accepted.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// The entry's type.
    #[schema(example = "charged")]
    pub r#type: String,
    /// The feature that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub feature: Option<Key>,
    /// What it came to; null when it was refused without a price.
    #[schema(value_type = Option<schema::Credits>)]
    pub cost: Option<Credits>,
    /// The code of its refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the shadow made of it; null when it refused or failed.
    #[schema(value_type = Option<schema::Credits>)]
    pub shadow_cost: Option<Credits>,
    /// The code of the shadow's refusal or fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_code: Option<String>,
}
