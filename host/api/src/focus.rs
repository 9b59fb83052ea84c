//! Charges as rows of the FinOps Open Cost and Usage Specification (FOCUS), version 1.2. What each column says here is in
//! `docs/reports.md`.

use crate::schema;
use proviso_ledger::model::{amounts::Decimal, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of FOCUS that the rows are of.
pub const FOCUS_VERSION: &str = "1.2";

/// What a row charges for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ChargeCategory {
    /// What was used.
    Usage,
    /// Credits that were bought.
    Purchase,
}

/// How often a charge comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ChargeFrequency {
    /// Once.
    #[serde(rename = "One-Time")]
    OneTime,
    /// With each period of a plan.
    Recurring,
    /// With each usage.
    #[serde(rename = "Usage-Based")]
    UsageBased,
}

/// Defines the row and the names of its columns, in their order.
macro_rules! row {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $column:literal,)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* #[serde(rename = $column)] pub $field: $type,)*
        }

        /// The columns: those of FOCUS by name, then those of Proviso's own.
        pub const COLUMNS: &[&str] = &[$($column),*];
    };
}

row! {
    /// A charge as a row of FOCUS 1.2. Amounts are decimals in text, so that they stay exact; what has no value is null.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
    FocusRow {
        /// What is invoiced for it, in `BillingCurrency`: of a purchase its cost basis; of usage nothing, as its credits are bought.
        #[schema(value_type = schema::Amount)]
        billed_cost: Decimal = "BilledCost",
        /// The customer.
        billing_account_id: String = "BillingAccountId",
        /// The customer's name.
        billing_account_name: Option<String> = "BillingAccountName",
        /// ISO 4217.
        #[schema(example = "EUR")]
        billing_currency: String = "BillingCurrency",
        /// The end of the calendar month in UTC, exclusive.
        #[schema(value_type = schema::Time)]
        billing_period_end: Timestamp = "BillingPeriodEnd",
        /// The beginning of the calendar month in UTC.
        #[schema(value_type = schema::Time)]
        billing_period_start: Timestamp = "BillingPeriodStart",
        /// Whether it was used or bought.
        charge_category: ChargeCategory = "ChargeCategory",
        /// Always null: late usage and refunds are in the rows of the day of use.
        charge_class: Option<String> = "ChargeClass",
        /// For people.
        charge_description: String = "ChargeDescription",
        /// How often it comes.
        charge_frequency: ChargeFrequency = "ChargeFrequency",
        /// The end of the day in UTC, exclusive.
        #[schema(value_type = schema::Time)]
        charge_period_end: Timestamp = "ChargePeriodEnd",
        /// The beginning of the day in UTC.
        #[schema(value_type = schema::Time)]
        charge_period_start: Timestamp = "ChargePeriodStart",
        /// Of usage: how many charges there were.
        #[schema(value_type = Option<schema::Amount>)]
        consumed_quantity: Option<Decimal> = "ConsumedQuantity",
        /// Of usage: `Requests`.
        consumed_unit: Option<String> = "ConsumedUnit",
        /// `ContractedUnitPrice` times `PricingQuantity`.
        #[schema(value_type = schema::Amount)]
        contracted_cost: Decimal = "ContractedCost",
        /// The price of one `PricingUnit` in `BillingCurrency`.
        #[schema(value_type = schema::Amount)]
        contracted_unit_price: Decimal = "ContractedUnitPrice",
        /// What it comes to when it is used: of usage its credits at their price, of a purchase zero.
        #[schema(value_type = schema::Amount)]
        effective_cost: Decimal = "EffectiveCost",
        /// Who sends the invoice.
        invoice_issuer_name: String = "InvoiceIssuerName",
        /// `ListUnitPrice` times `PricingQuantity`.
        #[schema(value_type = schema::Amount)]
        list_cost: Decimal = "ListCost",
        /// As `ContractedUnitPrice`: no discount is known.
        #[schema(value_type = schema::Amount)]
        list_unit_price: Decimal = "ListUnitPrice",
        /// Always `Standard`.
        pricing_category: String = "PricingCategory",
        /// Of usage the credit type, a virtual currency; of a purchase `BillingCurrency`.
        #[schema(example = "credits")]
        pricing_currency: String = "PricingCurrency",
        /// The price of one `PricingUnit` in `PricingCurrency`.
        #[schema(value_type = schema::Amount)]
        pricing_currency_contracted_unit_price: Decimal = "PricingCurrencyContractedUnitPrice",
        /// Of usage its credits, of a purchase zero.
        #[schema(value_type = schema::Amount)]
        pricing_currency_effective_cost: Decimal = "PricingCurrencyEffectiveCost",
        /// As `PricingCurrencyContractedUnitPrice`.
        #[schema(value_type = schema::Amount)]
        pricing_currency_list_unit_price: Decimal = "PricingCurrencyListUnitPrice",
        /// Of usage how many credits it cost, of a purchase 1.
        #[schema(value_type = schema::Amount)]
        pricing_quantity: Decimal = "PricingQuantity",
        /// Of usage the credit type, of a purchase `Grant`.
        #[schema(example = "Credits")]
        pricing_unit: String = "PricingUnit",
        /// Who provides the service.
        provider_name: String = "ProviderName",
        /// Who publishes it.
        publisher_name: String = "PublisherName",
        /// One of the categories of FOCUS.
        #[schema(example = "AI and Machine Learning")]
        service_category: String = "ServiceCategory",
        /// The service.
        service_name: String = "ServiceName",
        /// The rest of its category.
        #[schema(example = "Other (AI and Machine Learning)")]
        service_subcategory: String = "ServiceSubcategory",
        /// The feature, or `grant/` and the category of the grant.
        sku_id: String = "SkuId",
        /// The feature, or the category of the grant.
        sku_meter: String = "SkuMeter",
        /// Of usage with a model: a serialized JSON object with `x_Model`.
        sku_price_details: Option<String> = "SkuPriceDetails",
        /// `SkuId` with the model and the credit type.
        sku_price_id: String = "SkuPriceId",
        /// Of usage: the entity.
        sub_account_id: Option<String> = "SubAccountId",
        /// As `SubAccountId`.
        sub_account_name: Option<String> = "SubAccountName",
        /// `Entity`, where there is one.
        sub_account_type: Option<String> = "SubAccountType",
        /// The credit type.
        #[schema(example = "credits")]
        credit: String = "x_Credit",
        /// How many credits were used or bought.
        #[schema(value_type = schema::Amount)]
        credits: Decimal = "x_Credits",
        /// Of a purchase: the grant.
        grant: Option<String> = "x_Grant",
        /// Of usage: whether another system billed it.
        imported: Option<bool> = "x_Imported",
        /// Of usage: the attribute `model`.
        model: Option<String> = "x_Model",
        /// Of usage: its quantities, a serialized JSON object.
        quantities: Option<String> = "x_Quantities",
        /// Where its money comes from: `cost_basis`, `credit_price`, or `none`, where nobody said what a credit is worth.
        #[schema(example = "credit_price")]
        valuation: String = "x_Valuation",
    }
}

/// The service categories of FOCUS 1.2.
pub const SERVICE_CATEGORIES: [&str; 19] = [
    "AI and Machine Learning",
    "Analytics",
    "Business Applications",
    "Compute",
    "Databases",
    "Developer Tools",
    "Multicloud",
    "Identity",
    "Integration",
    "Internet of Things",
    "Management and Governance",
    "Media",
    "Migration",
    "Mobile",
    "Networking",
    "Security",
    "Storage",
    "Web",
    "Other",
];
