//! FOCUS rows over HTTP, each checked by the rules of the specification (FOCUS 1.2, <https://focus.finops.org/focus-specification/v1-2/>),
//! and their sums against the other reports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use support::Server;

/// How a column must be written.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    /// Not below zero.
    Price,
    Time,
    Object,
}

/// The columns of the specification that the rows have: name, kind, whether null is allowed.
const COLUMNS: &[(&str, Kind, bool)] = &[
    ("BilledCost", Kind::Number, false),
    ("BillingAccountId", Kind::Text, false),
    ("BillingAccountName", Kind::Text, true),
    ("BillingCurrency", Kind::Text, false),
    ("BillingPeriodEnd", Kind::Time, false),
    ("BillingPeriodStart", Kind::Time, false),
    ("ChargeCategory", Kind::Text, false),
    ("ChargeClass", Kind::Text, true),
    ("ChargeDescription", Kind::Text, true),
    ("ChargeFrequency", Kind::Text, false),
    ("ChargePeriodEnd", Kind::Time, false),
    ("ChargePeriodStart", Kind::Time, false),
    ("ConsumedQuantity", Kind::Number, true),
    ("ConsumedUnit", Kind::Text, true),
    ("ContractedCost", Kind::Number, false),
    ("ContractedUnitPrice", Kind::Price, true),
    ("EffectiveCost", Kind::Number, false),
    ("InvoiceIssuerName", Kind::Text, false),
    ("ListCost", Kind::Number, false),
    ("ListUnitPrice", Kind::Price, true),
    ("PricingCategory", Kind::Text, true),
    ("PricingCurrency", Kind::Text, false),
    ("PricingCurrencyContractedUnitPrice", Kind::Price, true),
    ("PricingCurrencyEffectiveCost", Kind::Number, false),
    ("PricingCurrencyListUnitPrice", Kind::Price, true),
    ("PricingQuantity", Kind::Number, true),
    ("PricingUnit", Kind::Text, true),
    ("ProviderName", Kind::Text, false),
    ("PublisherName", Kind::Text, false),
    ("ServiceCategory", Kind::Text, false),
    ("ServiceName", Kind::Text, false),
    ("ServiceSubcategory", Kind::Text, false),
    ("SkuId", Kind::Text, true),
    ("SkuMeter", Kind::Text, true),
    ("SkuPriceDetails", Kind::Object, true),
    ("SkuPriceId", Kind::Text, true),
    ("SubAccountId", Kind::Text, true),
    ("SubAccountName", Kind::Text, true),
    ("SubAccountType", Kind::Text, true),
];

/// Those of the feature level "Mandatory".
const MANDATORY: [&str; 22] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    // "Conditional", since prices are in a virtual currency.
    "PricingCurrency",
];

const SERVICE_CATEGORIES: [&str; 19] = [
    "AI and Machine Learning",
    "Analytics",
    "Business Applications",
    "Compute",
    "Databases",
    "Developer Tools",
    "Identity",
    "Integration",
    "Internet of Things",
    "Management and Governance",
    "Media",
    "Migration",
    "Mobile",
    "Multicloud",
    "Networking",
    "Other",
    "Security",
    "Storage",
    "Web",
];

/// What of a row breaks the specification. Numbers and times may be text: a row is checked as it stands in a file.
fn violations(row: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for name in MANDATORY {
        if !row.contains_key(name) {
            found.push(format!("{name} is missing"));
        }
    }
    for name in row.keys() {
        let known = COLUMNS.iter().any(|(known, ..)| known == name);
        if !known && !name.starts_with("x_") {
            found.push(format!("{name} is no column of FOCUS and has no prefix x_"));
        }
    }
    let value = |name: &str| row.get(name).and_then(Option::as_deref);
    for (name, kind, nullable) in COLUMNS {
        let Some(text) = value(name) else {
            if !nullable {
                found.push(format!("{name} is null"));
            }
            continue;
        };
        let is_right = match kind {
            // Neither empty nor a placeholder: that is what null is for.
            Kind::Text => {
                !text.trim().is_empty() && !["n/a", "not applicable", "null"].contains(&&*text.to_lowercase())
            }
            Kind::Number => is_number(text),
            Kind::Price => is_number(text) && !text.starts_with('-'),
            Kind::Time => is_time(text),
            Kind::Object => serde_json::from_str::<Value>(text).is_ok_and(|value| is_flat(&value)),
        };
        if !is_right {
            found.push(format!("{name} is {text:?}"));
        }
    }
    let mut rule = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    let one_of = |name: &str, allowed: &[&str]| value(name).is_some_and(|text| allowed.contains(&text));
    let number = |name: &str| value(name).map(scaled);
    let category = value("ChargeCategory").unwrap_or_default();
    let is_priced = ["Usage", "Purchase"].contains(&category);
    rule(
        one_of("ChargeCategory", &["Usage", "Purchase", "Tax", "Credit", "Adjustment"]),
        "ChargeCategory's values",
    );
    rule(value("ChargeClass").is_none_or(|class| class == "Correction"), "ChargeClass is null or Correction");
    rule(one_of("ChargeFrequency", &["One-Time", "Recurring", "Usage-Based"]), "ChargeFrequency's values");
    rule(
        category != "Purchase" || value("ChargeFrequency") != Some("Usage-Based"),
        "a purchase is not usage-based",
    );
    rule(one_of("ServiceCategory", &SERVICE_CATEGORIES), "ServiceCategory's values");
    rule(
        value("ServiceSubcategory")
            .zip(value("ServiceCategory"))
            .is_some_and(|(sub, of)| sub == format!("Other ({of})")),
        "ServiceSubcategory belongs to its category",
    );
    // ISO 8601 in UTC sorts as text.
    rule(value("ChargePeriodStart") < value("ChargePeriodEnd"), "a charge period ends after it starts");
    rule(value("BillingPeriodStart") < value("BillingPeriodEnd"), "a billing period ends after it starts");
    rule(
        value("BillingPeriodStart") <= value("ChargePeriodStart")
            && value("ChargePeriodEnd") <= value("BillingPeriodEnd"),
        "the billing period holds the charge period",
    );
    let currency = value("BillingCurrency").unwrap_or_default();
    rule(
        currency.len() == 3 && currency.bytes().all(|letter| letter.is_ascii_uppercase()),
        "BillingCurrency is a national currency of ISO 4217",
    );
    rule(
        value("ConsumedQuantity").is_some() == (category == "Usage"),
        "ConsumedQuantity is of usage, and of all usage",
    );
    for (quantity, unit) in [("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")] {
        rule(value(quantity).is_some() == value(unit).is_some(), "a quantity has a unit");
    }
    for name in [
        "ContractedUnitPrice",
        "ListUnitPrice",
        "PricingCategory",
        "PricingQuantity",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyListUnitPrice",
        "SkuId",
        "SkuPriceId",
    ] {
        rule(!is_priced || value(name).is_some(), name);
    }
    rule(
        value("PricingCategory")
            .is_none_or(|text| ["Standard", "Dynamic", "Committed", "Other"].contains(&text)),
        "PricingCategory's values",
    );
    for (price, cost) in [("ContractedUnitPrice", "ContractedCost"), ("ListUnitPrice", "ListCost")] {
        let (Some(price), Some(quantity), Some(cost)) =
            (number(price), number("PricingQuantity"), number(cost))
        else {
            continue;
        };
        // Twelve places each; the product is rounded to as many.
        let product = price * quantity;
        rule((product - cost * SCALE).abs() <= SCALE / 2, "a cost is its unit price times the quantity");
    }
    if category == "Purchase" {
        for name in ["EffectiveCost", "PricingCurrencyEffectiveCost"] {
            rule(number(name) == Some(0), "a purchase that covers future charges has no effective cost");
        }
    }
    rule(value("SkuMeter").is_none() || value("SkuId").is_some(), "a meter has a SKU");
    rule(
        value("SkuPriceDetails").is_none() || value("SkuPriceId").is_some(),
        "price details have a SKU price",
    );
    let details = value("SkuPriceDetails").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let keys = details.iter().filter_map(Value::as_object).flat_map(|object| object.keys());
    rule(keys.into_iter().all(|key| key.starts_with("x_")), "a provider's own details have the prefix x_");
    for name in ["SubAccountName", "SubAccountType"] {
        rule(value(name).is_some() == value("SubAccountId").is_some(), "a sub account has a name and a type");
    }
    found
}

const SCALE: i128 = 1_000_000_000_000;

/// A decimal in units of 10^-12.
fn scaled(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    sign * (whole.parse::<i128>().unwrap() * SCALE + format!("{part:0<12}").parse::<i128>().unwrap())
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, part].iter().all(|part| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `YYYY-MM-DDTHH:mm:ssZ`.
fn is_time(text: &str) -> bool {
    let shape: String =
        text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    shape == "0000-00-00T00:00:00Z"
}

fn is_flat(value: &Value) -> bool {
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    value.as_object().is_some_and(|object| object.values().all(is_plain))
}

fn of_json(row: &Value) -> BTreeMap<String, Option<String>> {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    row.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn of_csv(text: &str) -> Vec<BTreeMap<String, Option<String>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let cell = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let row = |row: csv::StringRecord| heads.iter().map(str::to_owned).zip(row.iter().map(cell)).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// All pages of a report.
async fn all(server: &Server, path: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{path}&limit=2&cursor={cursor}")).await.expect(200);
        rows.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return rows,
        }
    }
}

fn sum(rows: &[Value], column: &str) -> i128 {
    rows.iter().map(|row| scaled(row[column].as_str().unwrap())).sum()
}

/// Usage of three days by two customers, with entities, models, a refund and late usage; and grants that were bought.
async fn with_charges() -> Server {
    let server = Server::with_acme().await;
    let beta = json!({"name": "=Beta, \"Ltd\"", "plan": "pro"});
    server.put("/v1/customers/beta", &beta).await.expect(201);
    let grant =
        json!({"amount": "300", "category": "prepaid", "cost_basis": {"amount": "29.99", "currency": "EUR"}});
    server.post("/v1/customers/acme/grants", &grant).await.expect(201);
    let free = json!({"amount": "5", "category": "promotional"});
    server.post("/v1/customers/acme/grants", &free).await.expect(201);
    let charge = async |customer: &str, tokens: u64, model: Option<&str>, entity: Option<&str>| {
        let mut usage = json!({"feature": "chat", "quantities": {"input_tokens": tokens}});
        if let Some(model) = model {
            usage["attributes"] = json!({"model": model});
        }
        if let Some(entity) = entity {
            usage["entity"] = json!(entity);
        }
        server.post(&format!("/v1/customers/{customer}/charges"), &usage).await.expect(201)
    };
    charge("acme", 1_500, Some("large"), Some("ann")).await;
    charge("acme", 777, Some("small"), None).await;
    server.now("2026-01-02T09:00:00Z").await;
    let refunded = charge("acme", 2_000, None, Some("=cmd")).await;
    let path = format!("/v1/customers/acme/charges/{}/refunds", refunded["id"].as_str().unwrap());
    server.post(&path, &json!({"amount": "0.5", "reason": "a complaint"})).await.expect(201);
    charge("beta", 1, None, None).await;
    server.now("2026-02-03T09:00:00Z").await;
    charge("beta", 12_345, Some("large"), None).await;
    let dollars =
        json!({"amount": "7", "category": "prepaid", "cost_basis": {"amount": "3.01", "currency": "USD"}});
    server.post("/v1/customers/beta/grants", &dollars).await.expect(201);
    server
}

const USAGE: &str =
    "from=2026-01-01&to=2026-03-01&provider=Example%20Inc.&currency=EUR&credit_price=credits:0.07";
const PURCHASES: &str = "from=2026-01-01&to=2026-03-01&provider=Example%20Inc.&charges=purchases";

#[tokio::test]
async fn every_row_keeps_the_specification_as_json_and_csv() {
    let server = with_charges().await;
    for of in ["/v1/customers/acme/focus", "/v1/customers/beta/focus", "/v1/focus"] {
        for query in [USAGE, PURCHASES] {
            let rows = all(&server, &format!("{of}?{query}")).await;
            assert!(!rows.is_empty(), "{of}?{query}");
            let table = server.ask("GET", &format!("{of}?{query}")).header("accept", "text/csv").send().await;
            assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
            let table = of_csv(&table.text());
            let rows: Vec<_> = rows.iter().map(of_json).collect();
            for row in rows.iter().chain(&table) {
                assert_eq!(violations(row), Vec::<String>::new(), "{of}?{query}: {row:#?}");
            }
            // The same, but for what spreadsheets would take for a formula.
            assert_eq!(rows.len(), table.len());
            for (row, cells) in rows.iter().zip(&table) {
                for (name, value) in row {
                    let cell = cells[name].as_deref().map(|cell| cell.strip_prefix('\'').unwrap_or(cell));
                    assert_eq!(cell, value.as_deref(), "{name}");
                }
            }
        }
    }
    let empty = "/v1/focus?from=2020-01-01&to=2020-02-01&provider=p&currency=EUR";
    let empty = server.ask("GET", empty).header("accept", "text/csv").send().await.text();
    let heads: BTreeSet<&str> = empty.trim().split(',').collect();
    assert!(MANDATORY.iter().all(|name| heads.contains(name)), "{empty}");
    assert_eq!(empty.lines().count(), 1);
}

#[tokio::test]
async fn sums_are_those_of_the_other_reports() {
    let server = with_charges().await;
    let usage = all(&server, &format!("/v1/focus?{USAGE}")).await;
    // 1.5 + 0.777 + 2 - 0.5 of acme, 0.001 + 12.345 of beta.
    assert_eq!(sum(&usage, "PricingQuantity"), scaled("16.123"));
    assert_eq!(sum(&usage, "EffectiveCost"), scaled("1.12861"));
    assert_eq!(sum(&usage, "BilledCost"), 0);
    assert_eq!(sum(&usage, "ConsumedQuantity"), scaled("5"));
    let of_usage = server.get("/v1/usage?from=2026-01-01&to=2026-03-01&time_zone=UTC").await.expect(200);
    let costs = of_usage["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| scaled(row["cost"][0]["cost"].as_str().unwrap()));
    assert_eq!(costs.sum::<i128>(), sum(&usage, "x_Credits"));
    let by_ann = usage.iter().find(|row| row["SubAccountId"] == "ann").unwrap();
    assert_eq!(
        (&by_ann["x_Model"], &by_ann["ChargePeriodStart"], &by_ann["BillingPeriodEnd"]),
        (&json!("large"), &json!("2026-01-01T00:00:00Z"), &json!("2026-02-01T00:00:00Z"))
    );
    assert_eq!(by_ann["x_Quantities"], json!(r#"{"input_tokens":"1500"}"#));
    let purchases = all(&server, &format!("/v1/focus?{PURCHASES}")).await;
    let bought: Vec<_> = purchases
        .iter()
        .map(|row| {
            (
                row["BillingAccountId"].as_str().unwrap(),
                row["BilledCost"].as_str().unwrap(),
                row["BillingCurrency"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(bought, [("acme", "29.99", "EUR"), ("beta", "3.01", "USD")]);
    let revenue = server.get("/v1/revenue?group_by=currency").await.expect(200);
    let sold: i128 =
        revenue["data"].as_array().unwrap().iter().map(|row| scaled(row["sold"].as_str().unwrap())).sum();
    assert_eq!(sold, sum(&purchases, "BilledCost"));
    // What nobody gave a price for costs nothing, and says so.
    let unpriced =
        all(&server, "/v1/customers/acme/focus?from=2026-01-01&to=2026-03-01&provider=p&currency=EUR").await;
    assert!(unpriced.iter().all(|row| row["x_Valuation"] == "none" && row["EffectiveCost"] == "0"));
    assert_eq!(sum(&unpriced, "PricingQuantity"), scaled("3.777"));
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let server = Server::with_acme().await;
    for query in [
        "currency=EUR",
        "provider=p",
        "provider=p&currency=credits",
        "provider=p&currency=EUR&credit_price=-1",
        "provider=p&currency=EUR&credit_price=credits",
        "provider=p&currency=EUR&charges=taxes",
        "provider=p&currency=EUR&service_category=Fun",
        "provider=p&currency=EUR&from=2026-02-01&to=2026-01-01",
        "provider=%20&currency=EUR",
    ] {
        server.get(&format!("/v1/focus?{query}")).await.refuses(400, "invalid_query");
        server.get(&format!("/v1/customers/acme/focus?{query}")).await.refuses(400, "invalid_query");
    }
    server.get("/v1/customers/nobody/focus?provider=p&currency=EUR").await.refuses(404, "customer_not_found");
}

/// The validator finds what is wrong.
#[test]
fn a_broken_row_is_found() {
    let right: BTreeMap<String, Option<String>> = [
        ("BilledCost", "0"),
        ("BillingAccountId", "acme"),
        ("BillingCurrency", "EUR"),
        ("BillingPeriodEnd", "2026-02-01T00:00:00Z"),
        ("BillingPeriodStart", "2026-01-01T00:00:00Z"),
        ("ChargeCategory", "Usage"),
        ("ChargeDescription", "chat"),
        ("ChargeFrequency", "Usage-Based"),
        ("ChargePeriodEnd", "2026-01-02T00:00:00Z"),
        ("ChargePeriodStart", "2026-01-01T00:00:00Z"),
        ("ConsumedQuantity", "1"),
        ("ConsumedUnit", "Requests"),
        ("ContractedCost", "0.5"),
        ("ContractedUnitPrice", "0.25"),
        ("EffectiveCost", "0.5"),
        ("InvoiceIssuerName", "p"),
        ("ListCost", "0.5"),
        ("ListUnitPrice", "0.25"),
        ("PricingCategory", "Standard"),
        ("PricingCurrency", "credits"),
        ("PricingCurrencyContractedUnitPrice", "1"),
        ("PricingCurrencyEffectiveCost", "2"),
        ("PricingCurrencyListUnitPrice", "1"),
        ("PricingQuantity", "2"),
        ("PricingUnit", "Credits"),
        ("ProviderName", "p"),
        ("PublisherName", "p"),
        ("ServiceCategory", "Other"),
        ("ServiceName", "p"),
        ("ServiceSubcategory", "Other (Other)"),
        ("SkuId", "chat"),
        ("SkuMeter", "chat"),
        ("SkuPriceId", "chat/credits"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
    .chain(["BillingAccountName", "ChargeClass"].map(|name| (name.to_owned(), None)))
    .collect();
    assert_eq!(violations(&right), Vec::<String>::new());
    for (name, wrong) in [
        ("BilledCost", None),
        ("BilledCost", Some("1e3 EUR")),
        ("BilledCost", Some("+1")),
        ("BillingCurrency", Some("credits")),
        ("BillingPeriodEnd", Some("2026-01-01T12:00:00Z")),
        ("ChargeCategory", Some("Fee")),
        ("ChargeClass", Some("Late")),
        ("ChargeDescription", Some("")),
        ("ChargePeriodEnd", Some("2026-01-01T00:00:00Z")),
        ("ChargePeriodStart", Some("2026-01-01")),
        ("ConsumedQuantity", None),
        ("ConsumedUnit", None),
        ("ContractedCost", Some("0.6")),
        ("ListUnitPrice", Some("-0.25")),
        ("PricingUnit", None),
        ("ServiceCategory", Some("Fun")),
        ("SkuPriceId", None),
        ("SubAccountId", Some("ann")),
        ("Model", Some("large")),
    ] {
        let mut row = right.clone();
        row.insert(name.to_owned(), wrong.map(str::to_owned));
        assert_ne!(violations(&row), Vec::<String>::new(), "{name}: {wrong:?}");
    }
    let mut row = right;
    row.remove("PublisherName");
    assert_ne!(violations(&row), Vec::<String>::new());
}
