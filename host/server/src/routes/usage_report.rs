//! `GET /v1/customers/{customer}/usage`: usage and its cost, in groups, as JSON or CSV; `GET /v1/usage`: that of all customers.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use super::csv_table::{self, accepts_csv, cell};
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
    maps::is_name,
    report::{Cost, MAX_GROUPINGS, UsageOfCustomer, UsageOfGroup},
    schema,
};
use proviso_engine::{GroupBy, GroupKey, UsageGroup, UsageGroups, UsagePage, UsageReport};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::{CustomerId, Key, Seq},
    time::{LocalDate, Timestamp, Zone},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::{collections::BTreeSet, sync::Arc};
use utoipa::IntoParams;

/// How far back a report reaches by default: 30 days, in microseconds.
const DEFAULT_SPAN: i64 = 30 * 86_400 * Timestamp::SECOND;

/// Which usage, and how it is grouped.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Report {
    /// From when: an instant, or a date in `time_zone`; defaults to 30 days before `to`.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    from: Option<TimeOrDate>,
    /// Until when, exclusive: an instant, or a date in `time_zone`; defaults to now.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    to: Option<TimeOrDate>,
    /// Only usage of this feature.
    #[param(value_type = Option<schema::Key>)]
    feature: Option<Key>,
    /// Only usage of this entity, and of those that stood below it when it was taken.
    #[param(value_type = Option<schema::Key>)]
    entity: Option<Key>,
    /// Up to four of `feature`, `entity`, `model`, `hour`, `day`, `month`, `imported`, `category` and `attributes.<name>`,
    /// separated by commas; defaults to `feature`. `imported` is true of what another system billed. By `category` (of the grants that paid, or `overage`) there are no quantities, and a usage that
    /// several paid for counts in each.
    #[param(example = "feature,attributes.model")]
    group_by: Option<String>,
    /// The zone of dates, hours, days and months; defaults to the customer's.
    #[param(value_type = Option<schema::TimeZone>)]
    time_zone: Option<Zone>,
    /// How many groups at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

problems!(UsageProblems: CALLER CUSTOMER LIST LANE);
problems!(AllProblems: CALLER OPERATOR LIST);

/// A report as it was asked for.
struct Asked {
    report: UsageReport,
    names: Vec<String>,
    paging: Paging,
}

/// An instant, or a date in some zone.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeOrDate {
    Time(Timestamp),
    Date(LocalDate),
}

impl TimeOrDate {
    pub fn instant(self, zone: &Zone) -> Timestamp {
        match self {
            Self::Time(at) => at,
            Self::Date(date) => zone.start_of(date),
        }
    }
}

impl<'de> Deserialize<'de> for TimeOrDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = text.parse().map(Self::Time);
        time.or_else(|_| text.parse().map(Self::Date))
            .map_err(|_| D::Error::custom("must be an RFC 3339 time or a date such as \"2026-11-23\""))
    }
}

/// From when until when, as it was asked.
struct Times {
    from: Option<TimeOrDate>,
    to: Option<TimeOrDate>,
    zone: Option<Zone>,
}

impl Times {
    /// The instants, with dates of `dates_in` where no zone was named.
    fn span(&self, now: Timestamp, dates_in: &Zone) -> (Timestamp, Timestamp) {
        let dates_in = self.zone.as_ref().unwrap_or(dates_in);
        let to = self.to.map_or_else(|| now.plus_micros(1), |to| to.instant(dates_in));
        let from = self.from.map_or_else(|| to.plus_micros(-DEFAULT_SPAN), |from| from.instant(dates_in));
        (from, to)
    }
}

impl Report {
    /// Whether it names dates, but not in which zone they are read.
    fn lacks_zone(&self) -> bool {
        let is_date = |when: &Option<TimeOrDate>| matches!(when, Some(TimeOrDate::Date(_)));
        self.time_zone.is_none() && (is_date(&self.from) || is_date(&self.to))
    }

    fn times(&self) -> Times {
        Times { from: self.from, to: self.to, zone: self.time_zone.clone() }
    }

    /// The report, with dates of `dates_in`.
    fn read(self, now: Timestamp, dates_in: &Zone) -> Result<Asked, Problem> {
        let (from, to) = self.times().span(now, dates_in);
        let Self { from: _, to: _, feature, entity, group_by, time_zone: zone, limit, cursor } = self;
        if from > to {
            return Err(Problem::bad_query("from must not lie after to"));
        }
        let group_by = group_by.as_deref().unwrap_or("feature");
        let names: Vec<String> = group_by.split(',').map(|name| name.trim().to_owned()).collect();
        let group_by = names.iter().map(|name| grouping(name)).collect::<Result<Vec<_>, _>>()?;
        if group_by.len() > MAX_GROUPINGS {
            return Err(Problem::bad_query(format!("group_by names more than {MAX_GROUPINGS} properties")));
        }
        let report = UsageReport { from, to, feature, entity, group_by, zone };
        Ok(Asked { report, names, paging: Paging::new(limit, cursor) })
    }
}

/// Report usage
///
/// By the time of use. Costs and quantities are less what was refunded. All pages of a report are of the same span and the same
/// entries, those that the first page found. `Accept: text/csv` answers the whole report as a table, whatever `limit` and `cursor`
/// say: a column for each grouping, then `charges`, then `cost.<credit>` and `quantity.<name>`.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/usage",
    operation_id = "report_usage",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), Report),
    responses(
        (status = 200, description = "By group", content(
            (Page<UsageOfGroup> = "application/json"),
            (String = "text/csv"),
        )),
        UsageProblems,
    ),
)]
pub async fn report(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<Report>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let dates_in =
        if query.lacks_zone() { app.engine.state(&customer.id).await?.zone() } else { Zone::default() };
    let Asked { mut report, names, paging } = query.read(app.now(), &dates_in)?;
    if accepts_csv(&headers) {
        let groups = app.engine.whole_usage(&customer.id, report).await?;
        return table(&names, &groups);
    }
    let (limit, after) = (paging.limit()? as usize, paging.after::<ReportCursor>()?);
    let (mut as_of, mut key) = (None, None);
    if let Some(ReportCursor(from, to, last, after)) = after {
        // Further pages are of the same report, although time has gone on.
        (report.from, report.to, as_of, key) = (from, to, Some(last), Some(after));
    }
    if key.as_ref().is_some_and(|key: &GroupKey| key.len() != names.len()) {
        return Err(Problem::bad_cursor());
    }
    let (from, to) = (report.from, report.to);
    let page = app.engine.usage(&customer.id, report, as_of, key, limit).await?;
    let UsagePage { groups, as_of, has_more } = page;
    let keys: Vec<_> = groups.iter().map(|(key, _)| key.clone()).collect();
    let mut data: Vec<_> = groups.into_iter().map(|(key, group)| of_group(&names, key, group)).collect();
    let fits = fitting(&data);
    let is_cut = fits < data.len();
    data.truncate(fits);
    let last = keys.into_iter().take(fits).next_back().filter(|_| has_more || is_cut);
    let next_cursor = last.map(|key| cursor(&ReportCursor(from, to, as_of, key)));
    Ok(Answer::ok(&Page { data, next_cursor })?.into_response())
}

/// Report usage of all customers
///
/// Customer by customer, by key; each customer's groups are on one page. A page may be short, or empty, and still have a next
/// one, since it ends when enough was read. Dates, hours, days and months are each customer's own, unless `time_zone` names one for all.
/// `Accept: text/csv` answers the whole report as a table, with the column `customer` before those of one customer's.
#[utoipa::path(
    get,
    path = "/v1/usage",
    operation_id = "report_usage_of_all",
    tag = "Reading",
    params(Report),
    responses(
        (status = 200, description = "By customer and group", content(
            (Page<UsageOfCustomer> = "application/json"),
            (String = "text/csv"),
        )),
        AllProblems,
    ),
)]
pub async fn report_all(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(query): Query<Report>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (times, now) = (query.times(), app.now());
    let span = move |zone: &Zone| times.span(now, zone);
    let Asked { report, mut names, paging } = query.read(now, &Zone::default())?;
    let (limit, mut after) = (paging.limit()? as usize, paging.after::<CustomerId>()?);
    if accepts_csv(&headers) {
        after = None;
        let mut all = UsageGroups::new();
        loop {
            let (found, last) = app.engine.usage_of_all(after, limit, &report, &span).await?;
            for (summary, groups) in found {
                let customer = Some(summary.customer.to_string());
                let key = |of: GroupKey| [customer.clone()].into_iter().chain(of).collect::<GroupKey>();
                all.extend(groups.into_iter().map(|(of, group)| (key(of), group)));
            }
            after = last;
            if after.is_none() {
                names.insert(0, "customer".to_owned());
                return table(&names, &all);
            }
        }
    }
    let (found, last) = app.engine.usage_of_all(after, limit, &report, &span).await?;
    let rows = found.into_iter().flat_map(|(summary, groups)| {
        let names = &names;
        groups.into_iter().map(move |(key, group)| UsageOfCustomer {
            customer: summary.customer.clone(),
            usage: of_group(names, key, group),
        })
    });
    let page = Page { data: rows.collect(), next_cursor: last.map(|last| cursor(&last)) };
    Ok(Answer::ok(&page)?.into_response())
}

/// A report as CSV.
fn table(names: &[String], groups: &UsageGroups) -> Result<Response, Problem> {
    let credits: BTreeSet<&Key> = groups.values().flat_map(|group| group.cost.keys()).collect();
    let quantities: BTreeSet<&String> = groups.values().flat_map(|group| group.quantities.keys()).collect();
    csv_table::answer(|writer| {
        let heads = names.iter().cloned().chain(["charges".to_owned()]);
        let heads = heads.chain(credits.iter().map(|credit| format!("cost.{credit}")));
        writer.write_record(heads.chain(quantities.iter().map(|name| format!("quantity.{name}"))))?;
        for (key, group) in groups {
            let texts = key.iter().map(|value| value.as_deref().map(cell).unwrap_or_default());
            let texts = texts.chain([group.charges.to_string()]);
            let costs = credits.iter().map(|credit| group.cost.get(*credit).map(Credits::to_string));
            let amounts = quantities.iter().map(|name| group.quantities.get(*name).map(Quantity::to_string));
            writer.write_record(texts.chain(costs.chain(amounts).map(Option::unwrap_or_default)))?;
        }
        Ok(())
    })
}

fn grouping(name: &str) -> Result<GroupBy, Problem> {
    match (name, name.strip_prefix("attributes.")) {
        ("feature", _) => Ok(GroupBy::Feature),
        ("entity", _) => Ok(GroupBy::Entity),
        ("model", _) => Ok(GroupBy::Attribute("model".to_owned())),
        ("hour", _) => Ok(GroupBy::Hour),
        ("day", _) => Ok(GroupBy::Day),
        ("month", _) => Ok(GroupBy::Month),
        ("imported", _) => Ok(GroupBy::Imported),
        ("category", _) => Ok(GroupBy::Category),
        (_, Some(attribute)) if is_name(attribute) => Ok(GroupBy::Attribute(attribute.to_owned())),
        _ => Err(Problem::bad_query(
            "group_by takes feature, entity, model, hour, day, month, imported, category and attributes.<name>, separated by commas",
        )),
    }
}

fn of_group(names: &[String], key: Vec<Option<String>>, group: UsageGroup) -> UsageOfGroup {
    UsageOfGroup {
        group: names.iter().cloned().zip(key).collect(),
        charges: group.charges,
        imported: group.imported,
        cost: group.cost.into_iter().map(|(credit, cost)| Cost { credit, cost }).collect(),
        quantities: group.quantities,
    }
}

/// Which report, up to which entry, and the last group before the page.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportCursor(pub Timestamp, pub Timestamp, pub Seq, pub GroupKey);

impl std::str::FromStr for ReportCursor {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

impl std::fmt::Display for ReportCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}
