//! What is sold beside plans: packs of credits that are bought in one call, and credits for a code.

use crate::{
    balance::Balance,
    grant::Grant,
    patch::{Given, Patch},
    plan_grant::{Expires, ExpiresSchema},
    schema,
};
use proviso_ledger::model::{
    amounts::{Credits, Money},
    grant::Category,
    ids::{CustomerId, Key, Name},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// The most of one bundle that are bought at once.
pub const MAX_QUANTITY: u32 = 1_000;
/// The most plans that a promotion names.
pub const MAX_PLANS: usize = 64;

/// What to change of a bundle: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "1,000 credits", "amount": "1000", "price": { "amount": "9.9", "currency": "EUR" }, "expires": { "after": "P1Y" }
}))]
pub struct BundleInput {
    /// For people; defaults to the key.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// How many credits one gives, above zero. Required for a new bundle.
    #[serde(default)]
    #[schema(value_type = schema::Credits, example = "1000")]
    pub amount: Given<Credits>,
    /// The credit type; defaults to `credits`.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>, example = "credits")]
    pub credit: Patch<Key>,
    /// What one costs: times the quantity, it is the cost basis of what is bought.
    #[serde(default)]
    #[schema(value_type = Option<schema::Money>)]
    pub price: Patch<Money>,
    /// `prepaid` or `top_up`; defaults to `prepaid`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "prepaid")]
    pub category: Patch<Category>,
    /// A lower number is drawn first; defaults to 0.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    pub priority: Patch<i32>,
    /// The features that may draw on the credits, at most 64; empty means all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Key>>)]
    pub features: Patch<Vec<Key>>,
    /// When what is left expires; defaults to never, or to what the terms say of the category.
    #[serde(default)]
    #[schema(value_type = Option<ExpiresSchema>)]
    pub expires: Patch<Expires>,
    /// Whether it may be bought; defaults to true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub for_sale: Patch<bool>,
}

/// A pack of credits that is bought in one call.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Bundle<'a> {
    /// Its key.
    #[schema(value_type = schema::Name, example = "pack-1000")]
    pub bundle: Name,
    /// For people.
    pub name: Cow<'a, str>,
    /// How many credits one gives.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// What one costs.
    #[schema(value_type = Option<schema::Money>)]
    pub price: Option<Money>,
    /// `prepaid` or `top_up`.
    #[schema(value_type = String, example = "prepaid")]
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// The features that may draw on the credits; empty means all.
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Cow<'a, [Key]>,
    /// When what is left expires.
    #[schema(value_type = ExpiresSchema)]
    pub expires: Expires,
    /// Whether it may be bought.
    pub for_sale: bool,
    /// When it was first put.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

/// What to change of a promotion: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "amount": "200", "expires": { "after": "P30D" }, "ends_at": "2027-04-01T00:00:00Z", "max_redemptions": 500
}))]
pub struct PromotionInput {
    /// For people; defaults to the code.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// How many credits it gives, above zero, of category `promotional`. Required for a new promotion.
    #[serde(default)]
    #[schema(value_type = schema::Credits, example = "200")]
    pub amount: Given<Credits>,
    /// The credit type; defaults to `credits`.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>, example = "credits")]
    pub credit: Patch<Key>,
    /// A lower number is drawn first; defaults to 0.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    pub priority: Patch<i32>,
    /// The features that may draw on the credits, at most 64; empty means all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Key>>)]
    pub features: Patch<Vec<Key>>,
    /// When what is left expires; defaults to never, or to what the terms say of the category.
    #[serde(default)]
    #[schema(value_type = Option<ExpiresSchema>)]
    pub expires: Patch<Expires>,
    /// From when it may be redeemed; defaults to at once.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub starts_at: Patch<Timestamp>,
    /// Until when, exclusive; defaults to for ever.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Patch<Timestamp>,
    /// How often it may be redeemed by all customers together; defaults to any number.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub max_redemptions: Patch<u64>,
    /// The plans whose customers may redeem it, at most 64, which must exist; empty means all customers.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Name>>)]
    pub plans: Patch<Vec<Name>>,
}

/// Credits for those who know a code: once for each customer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Promotion<'a> {
    /// The code.
    #[schema(value_type = schema::Name, example = "SPRING-27")]
    pub promotion: Name,
    /// For people.
    pub name: Cow<'a, str>,
    /// How many credits it gives.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// A lower number is drawn first.
    pub priority: i32,
    /// The features that may draw on the credits; empty means all.
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Cow<'a, [Key]>,
    /// When what is left expires.
    #[schema(value_type = ExpiresSchema)]
    pub expires: Expires,
    /// From when it may be redeemed.
    #[schema(value_type = Option<schema::Time>)]
    pub starts_at: Option<Timestamp>,
    /// Until when, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
    /// How often it may be redeemed by all customers together.
    pub max_redemptions: Option<u64>,
    /// How many of them are taken.
    pub redemptions: u64,
    /// The plans whose customers may redeem it; empty means all customers.
    #[schema(value_type = Vec<schema::Name>)]
    pub plans: Cow<'a, [Name]>,
    /// When it was first put.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
}

/// One of a promotion's redemptions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Redemption {
    /// Its place among those of the promotion, from 1.
    pub number: u64,
    /// Who redeemed it.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
}

/// What is bought.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "bundle": "pack-1000", "quantity": 2, "payment": "pi_3NqX" }))]
pub struct PurchaseInput {
    /// The bundle.
    #[schema(value_type = schema::Name, example = "pack-1000")]
    pub bundle: Name,
    /// How many of it, 1 to 1000; defaults to 1.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    pub quantity: Option<u32>,
    /// The payment's id, for people and other systems: up to 512 bytes.
    #[serde(default)]
    pub payment: Option<String>,
    /// What was paid, where that is not the bundle's price times the quantity.
    #[serde(default)]
    #[schema(value_type = Option<schema::Money>)]
    pub cost_basis: Option<Money>,
}

/// What was bought.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Purchase<'a> {
    /// The bundle.
    #[schema(value_type = schema::Name, example = "pack-1000")]
    pub bundle: Name,
    /// How many of it.
    pub quantity: u32,
    /// The payment's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Cow<'a, str>>,
    /// The credits that were given.
    pub grant: Grant<'a>,
    /// How many of them paid outstanding overage at once.
    #[schema(value_type = schema::Credits)]
    pub settled: Credits,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// What is redeemed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "promotion": "SPRING-27" }))]
pub struct RedemptionInput {
    /// The code; upper and lower case differ.
    #[schema(value_type = schema::Name, example = "SPRING-27")]
    pub promotion: Name,
}

/// What was redeemed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Redeemed<'a> {
    /// The code.
    #[schema(value_type = schema::Name, example = "SPRING-27")]
    pub promotion: Name,
    /// Its place among those of the promotion, from 1.
    pub number: u64,
    /// The credits that were given.
    pub grant: Grant<'a>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}
