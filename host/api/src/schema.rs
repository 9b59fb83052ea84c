//! OpenAPI schemas of values that the ledger's own types read and write as text, and of JSON that is passed on unread.

use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, Type},
    },
};

/// Defines the schema of a text. The types have no values: they only stand for one in the document.
macro_rules! texts {
    ($($(#[doc = $doc:literal])* $name:ident { $(pattern: $pattern:literal,)? $(format: $format:ident,)? example: $example:literal };)*) => {$(
        $(#[doc = $doc])*
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(concat!($($doc, " "),*).trim()))
                    $(.pattern(Some($pattern)))?
                    $(.format(Some(SchemaFormat::KnownFormat(KnownFormat::$format))))?
                    .examples([$example])
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

texts! {
    /// Credits: a decimal string with up to 12 places. Numbers are refused, since they lose exactness.
    Credits { pattern: r"^-?[0-9]+(\.[0-9]{1,12})?$", example: "12.5" };
    /// A price of one whole unit in credits: a decimal string with up to 12 places.
    Price { pattern: r"^-?[0-9]+(\.[0-9]{1,12})?$", example: "0.001" };
    /// A percentage: a decimal string, or a whole number in requests.
    Percent { pattern: r"^[0-9]+(\.[0-9]{1,12})?$", example: "5" };
    /// How much was used: a decimal string with up to 12 places.
    Amount { pattern: r"^[0-9]+(\.[0-9]{1,12})?$", example: "1200" };
    /// An instant, RFC 3339; in answers always UTC.
    Time { format: DateTime, example: "2026-11-23T10:00:00Z" };
    /// An instant, RFC 3339, or a local date, which stands for its first instant.
    TimeOrDate { example: "2026-11-23" };
    /// The caller's own key of a customer, entity or feature: 1 to 256 bytes of text without control characters and
    /// surrounding spaces; percent-encoded in paths.
    Key { example: "acme" };
    /// The name of a plan or policy.
    Name { pattern: r"^[A-Za-z0-9_.:-]{1,128}$", example: "pro" };
    /// An opaque id.
    Id { example: "grant_12" };
    /// A SHA-256.
    Digest { pattern: r"^sha256:[0-9a-f]{64}$", example: "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" };
    /// An IANA time zone.
    TimeZone { example: "Europe/Berlin" };
    /// A WebAssembly component.
    Module { format: Binary, example: "" };
}

/// A JSON object whose fields someone else defines, such as a policy's settings.
pub enum AnyObject {}

impl PartialSchema for AnyObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for AnyObject {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("AnyObject")
    }
}

/// A quantity in a request: a whole number or a decimal string, zero or more.
pub enum Quantity {}

impl PartialSchema for Quantity {
    fn schema() -> RefOr<Schema> {
        let whole = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0));
        utoipa::openapi::OneOfBuilder::new()
            .item(whole)
            .item(Amount::schema())
            .description(Some("How much was used: a whole number or a decimal string, zero or more."))
            .into()
    }
}

impl ToSchema for Quantity {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Quantity")
    }
}

/// An attribute in a request: a short text, or a whole number or truth value that is kept as text.
pub enum Attribute {}

impl PartialSchema for Attribute {
    fn schema() -> RefOr<Schema> {
        utoipa::openapi::OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::String).max_length(Some(512)))
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))),
            )
            .item(ObjectBuilder::new().schema_type(Type::Boolean))
            .into()
    }
}

impl ToSchema for Attribute {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Attribute")
    }
}

/// Real money.
#[derive(ToSchema)]
#[allow(dead_code)] // It only stands for the amounts' own type in the document.
pub struct Money {
    /// A decimal string with up to 12 places, zero or more.
    #[schema(pattern = r"^[0-9]+(\.[0-9]{1,12})?$", example = "99.9")]
    amount: String,
    /// ISO 4217.
    #[schema(example = "EUR")]
    currency: String,
}
