//! `GET /v1/focus` and `GET /v1/customers/{customer}/focus`: usage and purchases as rows of FOCUS 1.2, as JSON or CSV.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use super::{
    csv_table::{self, accepts_csv, cell},
    usage_report::{ReportCursor, TimeOrDate},
};
use crate::{
    access::{Customer, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Paging, Query, cursor, fitting},
    problem::Problem,
};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page,
    focus::{COLUMNS, ChargeCategory, ChargeFrequency, FocusRow, SERVICE_CATEGORIES},
    schema,
};
use proviso_engine::{GroupBy, GroupKey, Purchase, UsageGroup, UsagePage, UsageReport};
use proviso_ledger::model::{
    amounts::{Currency, Decimal, Rounding},
    grant::default_credit,
    ids::{CustomerId, Key, Seq},
    time::{LocalDate, Timestamp, Zone},
};
use serde::Deserialize;
use std::{collections::BTreeMap, ops::Range, sync::Arc};
use utoipa::IntoParams;

/// How far back a report reaches by default: 30 days, in microseconds.
const DEFAULT_SPAN: i64 = 30 * 86_400 * Timestamp::SECOND;
/// The longest name of a provider or a service, in bytes.
const LONGEST_NAME: usize = 256;

/// Which charges, and what the specification asks for that a host does not know.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FocusQuery {
    /// From when: an instant, or a date in UTC; defaults to 30 days before `to`. Usage is reported by whole days of its time of use,
    /// purchases by the time of their entries.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    from: Option<TimeOrDate>,
    /// Until when, exclusive: an instant, or a date in UTC; defaults to now.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    to: Option<TimeOrDate>,
    /// `usage` (the default) or `purchases`: each is a report of its own, and both together are all charges.
    #[param(example = "usage")]
    charges: Option<String>,
    /// Required: who provides, publishes and invoices the service.
    #[param(example = "Example Inc.")]
    provider: Option<String>,
    /// Required for usage: the currency (ISO 4217) of its costs. Purchases are in that of their cost basis.
    #[param(example = "EUR")]
    currency: Option<String>,
    /// What one credit is worth in `currency`, by credit type (`credits:0.01,tokens:0.002`), or of `credits` alone (`0.01`). Usage in other
    /// credits costs 0, with `x_Valuation` `none`.
    #[param(example = "credits:0.01")]
    credit_price: Option<String>,
    /// The name of the service; defaults to `provider`.
    service: Option<String>,
    /// Its category, one of the specification's; defaults to `Other`.
    #[param(example = "AI and Machine Learning")]
    service_category: Option<String>,
    /// How many groups or purchases at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

problems!(OfCustomerProblems: CALLER CUSTOMER LIST LANE);
problems!(OfAllProblems: CALLER OPERATOR LIST);

/// Report a customer's charges as FOCUS 1.2
///
/// Rows of the FinOps Open Cost and Usage Specification: usage by day, feature, model and entity out of the usage report's totals, or
/// purchases of credits. `Accept: text/csv` answers the whole report as a table with the specification's columns, whatever `limit` and
/// `cursor` say.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/focus",
    operation_id = "report_focus",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), FocusQuery),
    responses(
        (status = 200, description = "A row for each charge", content(
            (Page<FocusRow> = "application/json"),
            (String = "text/csv"),
        )),
        OfCustomerProblems,
    ),
)]
pub async fn of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<FocusQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let paging = query.paging();
    let limit = paging.limit()? as usize;
    let is_table = accepts_csv(&headers);
    let id = &customer.id;
    if query.is_of_purchases()? {
        let after = paging.after::<Seq>()?;
        let asked = query.read(app.now())?;
        let name = name_of(&app, id).await?;
        let (mut rows, mut at) = (Vec::new(), if is_table { None } else { after });
        loop {
            let (found, next) = app.engine.purchases(id, asked.time.clone(), at, limit).await?;
            rows.extend(found.iter().map(|one| asked.of_purchase(id, name.as_deref(), one)));
            if !is_table {
                return answer(Page { data: rows, next_cursor: next.map(|last| cursor(&last)) });
            }
            at = next;
            if at.is_none() {
                return table(rows);
            }
        }
    }
    let after = paging.after::<ReportCursor>()?;
    let asked = query.read(app.now())?;
    let name = name_of(&app, id).await?;
    if is_table {
        let groups = app.engine.whole_usage(id, asked.report()).await?;
        return table(asked.of_groups(id, name.as_deref(), groups)?);
    }
    let (mut report, mut as_of, mut key) = (asked.report(), None, None);
    if let Some(ReportCursor(from, to, last, after)) = after {
        (report.from, report.to, as_of, key) = (from, to, Some(last), Some(after));
    }
    if key.as_ref().is_some_and(|key: &GroupKey| key.len() != report.group_by.len()) {
        return Err(Problem::bad_cursor());
    }
    let (from, to) = (report.from, report.to);
    let UsagePage { groups, as_of, has_more } = app.engine.usage(id, report, as_of, key, limit).await?;
    // A group is never cut, and makes one row for each credit type.
    let (mut data, mut last) = (Vec::new(), None);
    let count = groups.len();
    for (place, (key, group)) in groups.into_iter().enumerate() {
        let rows = asked.of_group(id, name.as_deref(), &key, group)?;
        data.extend(rows);
        last = Some(key);
        if fitting(&data) < data.len() && place + 1 < count {
            let next_cursor = last.map(|key| cursor(&ReportCursor(from, to, as_of, key)));
            return answer(Page { data, next_cursor });
        }
    }
    let next_cursor = last.filter(|_| has_more).map(|key| cursor(&ReportCursor(from, to, as_of, key)));
    answer(Page { data, next_cursor })
}

/// Report the charges of all customers as FOCUS 1.2
///
/// Customer by customer, by key; each customer's rows are on one page. A page may be short, or empty, and still have a next one. See the
/// report of one customer.
#[utoipa::path(
    get,
    path = "/v1/focus",
    operation_id = "report_focus_of_all",
    tag = "Reading",
    params(FocusQuery),
    responses(
        (status = 200, description = "A row for each charge", content(
            (Page<FocusRow> = "application/json"),
            (String = "text/csv"),
        )),
        OfAllProblems,
    ),
)]
pub async fn of_all(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(query): Query<FocusQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let paging = query.paging();
    let (limit, after) = (paging.limit()? as usize, paging.after::<CustomerId>()?);
    let (is_table, of_purchases) = (accepts_csv(&headers), query.is_of_purchases()?);
    let asked = query.read(app.now())?;
    let (mut rows, mut at) = (Vec::new(), if is_table { None } else { after });
    loop {
        let next = if of_purchases {
            let (found, next) = app.engine.purchases_of_all(at, asked.time.clone(), limit).await?;
            for (summary, purchases) in found {
                let name = Some(summary.profile.name.as_str());
                rows.extend(purchases.iter().map(|one| asked.of_purchase(&summary.customer, name, one)));
            }
            next
        } else {
            let report = asked.report();
            let time = asked.time.clone();
            let span = move |_: &Zone| (time.start, time.end);
            let (found, next) = app.engine.usage_of_all(at, limit, &report, &span).await?;
            for (summary, groups) in found {
                rows.extend(asked.of_groups(&summary.customer, Some(&summary.profile.name), groups)?);
            }
            next
        };
        if !is_table {
            return answer(Page { data: rows, next_cursor: next.map(|last| cursor(&last)) });
        }
        at = next;
        if at.is_none() {
            return table(rows);
        }
    }
}

async fn name_of(app: &App, customer: &CustomerId) -> Result<Option<String>, Problem> {
    Ok(app.engine.state(customer).await?.profile.as_ref().map(|profile| profile.name.clone()))
}

/// What was asked, checked.
struct Asked {
    time: Range<Timestamp>,
    provider: String,
    service: String,
    category: &'static str,
    currency: Option<Currency>,
    prices: BTreeMap<Key, Decimal>,
}

impl FocusQuery {
    fn paging(&self) -> Paging {
        Paging::new(self.limit, self.cursor.clone())
    }

    fn is_of_purchases(&self) -> Result<bool, Problem> {
        match self.charges.as_deref() {
            None | Some("usage") => Ok(false),
            Some("purchases") => Ok(true),
            Some(_) => Err(Problem::bad_query("charges takes usage or purchases")),
        }
    }

    fn read(self, now: Timestamp) -> Result<Asked, Problem> {
        let of_usage = !self.is_of_purchases()?;
        let utc = Zone::default();
        let to = self.to.map_or_else(|| now.plus_micros(1), |to| to.instant(&utc));
        let from = self.from.map_or_else(|| to.plus_micros(-DEFAULT_SPAN), |from| from.instant(&utc));
        if from > to {
            return Err(Problem::bad_query("from must not lie after to"));
        }
        let provider = name("provider", self.provider)?;
        let provider = provider.ok_or_else(|| Problem::bad_query("provider is required"))?;
        let service = name("service", self.service)?.unwrap_or_else(|| provider.clone());
        let category = match self.service_category {
            None => "Other",
            Some(text) => SERVICE_CATEGORIES.into_iter().find(|known| *known == text).ok_or_else(|| {
                Problem::bad_query(format!("service_category takes {}", SERVICE_CATEGORIES.join(", ")))
            })?,
        };
        let currency = self.currency.map(|text| text.parse::<Currency>()).transpose();
        let currency =
            currency.map_err(|_| Problem::bad_query("currency must be a code of ISO 4217 such as EUR"))?;
        if currency.is_none() && of_usage {
            return Err(Problem::bad_query("currency is required for usage"));
        }
        let prices = self.credit_price.as_deref().map_or(Ok(BTreeMap::new()), prices)?;
        // Usage by whole days: a row is a day.
        let time = if of_usage { day_of(from)..end_of_day(to) } else { from..to };
        Ok(Asked { time, provider, service, category, currency, prices })
    }
}

fn name(what: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.trim().is_empty() || text.len() > LONGEST_NAME => {
            Err(Problem::bad_query(format!("{what} must have 1 to {LONGEST_NAME} bytes")))
        }
        text => Ok(text),
    }
}

fn prices(text: &str) -> Result<BTreeMap<Key, Decimal>, Problem> {
    let wrong = || {
        Problem::bad_query(
            "credit_price takes what one credit is worth, as in credits:0.01,tokens:0.002 or 0.01",
        )
    };
    let price = |text: &str| text.parse::<Decimal>().ok().filter(|price| !price.is_negative());
    let of_type = |part: &str| match part.rsplit_once(':') {
        Some((credit, text)) => Some((credit.trim().parse().ok()?, price(text.trim())?)),
        None => Some((default_credit(), price(part.trim())?)),
    };
    text.split(',').map(|part| of_type(part).ok_or_else(wrong)).collect()
}

fn day_of(at: Timestamp) -> Timestamp {
    let utc = Zone::default();
    utc.start_of_day(at.0.div_euclid(DAY))
}

fn end_of_day(at: Timestamp) -> Timestamp {
    let day = day_of(at);
    if day == at { at } else { day.plus_micros(DAY) }
}

const DAY: i64 = 86_400 * Timestamp::SECOND;

impl Asked {
    fn report(&self) -> UsageReport {
        UsageReport {
            from: self.time.start,
            to: self.time.end,
            feature: None,
            entity: None,
            group_by: vec![
                GroupBy::Day,
                GroupBy::Feature,
                GroupBy::Attribute("model".to_owned()),
                GroupBy::Entity,
                GroupBy::Imported,
            ],
            zone: Some(Zone::default()),
        }
    }

    fn of_groups(
        &self,
        customer: &CustomerId,
        name: Option<&str>,
        groups: BTreeMap<GroupKey, UsageGroup>,
    ) -> Result<Vec<FocusRow>, Problem> {
        let mut rows = Vec::new();
        for (key, group) in groups {
            rows.extend(self.of_group(customer, name, &key, group)?);
        }
        Ok(rows)
    }

    /// The rows of a day's usage: one for each credit type. What was counted is in the first, so that sums are right.
    fn of_group(
        &self,
        customer: &CustomerId,
        name: Option<&str>,
        key: &GroupKey,
        group: UsageGroup,
    ) -> Result<Vec<FocusRow>, Problem> {
        let [day, feature, model, entity, imported] = key.as_slice() else {
            return Err(Problem::internal(format!("a group of {} values", key.len())));
        };
        let day = day.as_deref().and_then(|day| day.parse::<LocalDate>().ok());
        let day = day.ok_or_else(|| Problem::internal("a group without its day".to_owned()))?;
        let feature = feature.clone().unwrap_or_default();
        let quantities = serde_json::to_string(&group.quantities).ok();
        let at = Zone::default().start_of(day);
        let mut rows = Vec::with_capacity(1);
        for (place, (credit, cost)) in group.cost.into_iter().enumerate() {
            let (price, valuation) = match self.prices.get(&credit) {
                Some(price) => (*price, "credit_price"),
                None => (Decimal::ZERO, "none"),
            };
            let credits = cost.decimal();
            let money = credits.mul(price, Rounding::HalfEven);
            let money =
                money.map_err(|_| Problem::bad_query("credit_price is too large for what was used"))?;
            let charges = if place == 0 { i64::try_from(group.charges).unwrap_or(i64::MAX) } else { 0 };
            let of_model = model.as_ref().map(|model| format!(", {model}")).unwrap_or_default();
            let sku_price_id =
                [Some(feature.as_str()), model.as_deref(), Some(credit.as_str())].into_iter().flatten();
            rows.push(FocusRow {
                charge_category: ChargeCategory::Usage,
                charge_description: format!("{feature}{of_model}: {credits} {credit}"),
                charge_frequency: ChargeFrequency::UsageBased,
                billed_cost: Decimal::ZERO,
                billing_currency: self
                    .currency
                    .map(|currency| currency.code().to_owned())
                    .unwrap_or_default(),
                consumed_quantity: Some(Decimal::from_whole(charges)),
                consumed_unit: Some("Requests".to_owned()),
                contracted_cost: money,
                contracted_unit_price: price,
                effective_cost: money,
                list_cost: money,
                list_unit_price: price,
                pricing_currency: credit.to_string(),
                pricing_currency_contracted_unit_price: Decimal::from_whole(1),
                pricing_currency_effective_cost: credits,
                pricing_currency_list_unit_price: Decimal::from_whole(1),
                pricing_quantity: credits,
                pricing_unit: capitalized(credit.as_str()),
                sku_id: feature.clone(),
                sku_meter: feature.clone(),
                sku_price_details: model
                    .as_ref()
                    .and_then(|model| serde_json::to_string(&BTreeMap::from([("x_Model", model)])).ok()),
                sku_price_id: sku_price_id.collect::<Vec<_>>().join("/"),
                sub_account_id: entity.clone(),
                sub_account_name: entity.clone(),
                sub_account_type: entity.as_ref().map(|_| "Entity".to_owned()),
                credit: credit.to_string(),
                credits,
                grant: None,
                imported: Some(imported.as_deref() == Some("true")),
                model: model.clone(),
                quantities: quantities.clone().filter(|_| place == 0),
                valuation: valuation.to_owned(),
                ..self.row(customer, name, at)
            });
        }
        Ok(rows)
    }

    fn of_purchase(&self, customer: &CustomerId, name: Option<&str>, purchase: &Purchase) -> FocusRow {
        let Purchase { at, grant, recurring } = purchase;
        let (money, currency) = match grant.cost_basis {
            Some(basis) => (basis.amount(), basis.currency().code().to_owned()),
            None => (Decimal::ZERO, String::new()),
        };
        let (credit, category) = (&grant.credit, grant.category.as_str());
        FocusRow {
            charge_category: ChargeCategory::Purchase,
            charge_description: format!("{} {credit} ({category})", grant.amount),
            charge_frequency: if *recurring { ChargeFrequency::Recurring } else { ChargeFrequency::OneTime },
            billed_cost: money,
            billing_currency: currency.clone(),
            consumed_quantity: None,
            consumed_unit: None,
            contracted_cost: money,
            contracted_unit_price: money,
            // It pays for what is used later, which has its own rows.
            effective_cost: Decimal::ZERO,
            list_cost: money,
            list_unit_price: money,
            pricing_currency: currency,
            pricing_currency_contracted_unit_price: money,
            pricing_currency_effective_cost: Decimal::ZERO,
            pricing_currency_list_unit_price: money,
            pricing_quantity: Decimal::from_whole(1),
            pricing_unit: "Grant".to_owned(),
            sku_id: format!("grant/{category}"),
            sku_meter: category.to_owned(),
            sku_price_id: format!("grant/{category}/{credit}"),
            credit: credit.to_string(),
            credits: grant.amount.decimal(),
            grant: Some(grant.id.to_string()),
            valuation: "cost_basis".to_owned(),
            ..self.row(customer, name, day_of(*at))
        }
    }

    /// What all rows have, of a day that begins then.
    fn row(&self, customer: &CustomerId, name: Option<&str>, day: Timestamp) -> FocusRow {
        let utc = Zone::default();
        let month = utc.month(day);
        FocusRow {
            billed_cost: Decimal::ZERO,
            billing_account_id: customer.to_string(),
            billing_account_name: name.map(str::to_owned),
            billing_currency: String::new(),
            billing_period_end: utc.start_of_month(month.saturating_add(1)),
            billing_period_start: utc.start_of_month(month),
            charge_category: ChargeCategory::Usage,
            charge_class: None,
            charge_description: String::new(),
            charge_frequency: ChargeFrequency::UsageBased,
            charge_period_end: day.plus_micros(DAY),
            charge_period_start: day,
            consumed_quantity: None,
            consumed_unit: None,
            contracted_cost: Decimal::ZERO,
            contracted_unit_price: Decimal::ZERO,
            effective_cost: Decimal::ZERO,
            invoice_issuer_name: self.provider.clone(),
            list_cost: Decimal::ZERO,
            list_unit_price: Decimal::ZERO,
            pricing_category: "Standard".to_owned(),
            pricing_currency: String::new(),
            pricing_currency_contracted_unit_price: Decimal::ZERO,
            pricing_currency_effective_cost: Decimal::ZERO,
            pricing_currency_list_unit_price: Decimal::ZERO,
            pricing_quantity: Decimal::ZERO,
            pricing_unit: String::new(),
            provider_name: self.provider.clone(),
            publisher_name: self.provider.clone(),
            service_category: self.category.to_owned(),
            service_name: self.service.clone(),
            service_subcategory: format!("Other ({})", self.category),
            sku_id: String::new(),
            sku_meter: String::new(),
            sku_price_details: None,
            sku_price_id: String::new(),
            sub_account_id: None,
            sub_account_name: None,
            sub_account_type: None,
            credit: String::new(),
            credits: Decimal::ZERO,
            grant: None,
            imported: None,
            model: None,
            quantities: None,
            valuation: String::new(),
        }
    }
}

/// A unit as the specification writes nouns of its own.
fn capitalized(unit: &str) -> String {
    let mut letters = unit.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn answer(page: Page<FocusRow>) -> Result<Response, Problem> {
    Ok(Answer::ok(&page)?.into_response())
}

/// The rows as CSV, with a head also where there are none. What users wrote is guarded as in every table.
fn table(rows: Vec<FocusRow>) -> Result<Response, Problem> {
    csv_table::answer(|writer| {
        writer.write_record(COLUMNS)?;
        let guard = |text: String| cell(&text);
        for row in rows {
            writer.serialize(FocusRow {
                billing_account_id: guard(row.billing_account_id),
                billing_account_name: row.billing_account_name.map(guard),
                charge_description: guard(row.charge_description),
                invoice_issuer_name: guard(row.invoice_issuer_name),
                pricing_currency: guard(row.pricing_currency),
                pricing_unit: guard(row.pricing_unit),
                provider_name: guard(row.provider_name),
                publisher_name: guard(row.publisher_name),
                service_name: guard(row.service_name),
                sku_id: guard(row.sku_id),
                sku_meter: guard(row.sku_meter),
                sku_price_id: guard(row.sku_price_id),
                sub_account_id: row.sub_account_id.map(guard),
                sub_account_name: row.sub_account_name.map(guard),
                credit: guard(row.credit),
                model: row.model.map(guard),
                ..row
            })?;
        }
        Ok(())
    })
}
