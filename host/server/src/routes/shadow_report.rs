//! `…/terms/{terms}/shadow-report`: what a shadow would have changed, read from the decisions that were recorded beside the real
//! ones.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Customer, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, Paging, PlanName, Query, cursor},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{
    schema,
    shadow::{ShadowComparison, ShadowExample, ShadowOfFeature, ShadowReport as View},
};
use proviso_engine::{Compared, ReportPlace, ShadowOf, ShadowReport};
use proviso_ledger::model::{
    ids::{Seq, TermsId},
    time::Timestamp,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

problems!(OfPlanProblems: CALLER OPERATOR LIST, InvalidPath, PlanNotFound, TermsNotFound, NotAShadow, NewerFormat);
problems!(OfCustomerProblems: CALLER CUSTOMER LIST LANE, TermsNotFound, NotAShadow);

/// Which decisions are compared.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Range {
    /// Only entries accepted at this time or later; defaults to when the shadow took effect.
    #[param(value_type = Option<schema::Time>)]
    from: Option<Timestamp>,
    /// Only entries accepted before this time; defaults to now.
    #[param(value_type = Option<schema::Time>)]
    to: Option<Timestamp>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

impl Range {
    fn times(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (self.from, self.to)
    }

    fn paging(&self) -> Paging {
        Paging::new(None, self.cursor.clone())
    }
}

/// Report on a shadow of a plan
///
/// Over all customers that the plan had. A page takes in about 20,000 entries; a report with a `next_cursor` goes on, and what
/// its pages say adds up.
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/terms/{terms}/shadow-report",
    operation_id = "report_plan_shadow",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("terms" = String, Path, description = "The shadow"),
        Range,
    ),
    responses((status = 200, description = "What it would have changed", body = View), OfPlanProblems),
)]
pub async fn of_plan(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
    At(id): At<TermsId>,
    Query(range): Query<Range>,
) -> Result<Answer, Problem> {
    let after = range.paging().after::<ReportPlace>()?;
    let report = app.engine.plan_shadow_report(&plan.0, id, range.times(), after).await?;
    let next = report.next.as_ref().map(cursor);
    Answer::ok(&view(report, next))
}

/// Report on a shadow of a customer
///
/// A page takes in about 20,000 entries; a report with a `next_cursor` goes on, and what its pages say adds up.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/terms/{terms}/shadow-report",
    operation_id = "report_customer_shadow",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("terms" = String, Path, description = "The shadow"),
        Range,
    ),
    responses((status = 200, description = "What it would have changed", body = View), OfCustomerProblems),
)]
pub async fn of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<TermsId>,
    Query(range): Query<Range>,
) -> Result<Answer, Problem> {
    let after = range.paging().after::<Seq>()?;
    let report = app.engine.customer_shadow_report(&customer.id, id, range.times(), after).await?;
    let next = report.next.as_ref().map(|place| cursor(&place.seq));
    Answer::ok(&view(report, next))
}

fn view(report: ShadowReport, next_cursor: Option<String>) -> View {
    let count = |what: fn(&Compared) -> u64| {
        report.groups.values().fold(0_u64, |sum, group| sum.saturating_add(what(group)))
    };
    let (compared, differ) = (count(|group| group.decisions), count(|group| group.differ));
    let mut view = View {
        terms: report.terms,
        from: report.range.start,
        to: report.range.end,
        compared,
        differ,
        features: Vec::new(),
        closings: ShadowComparison::default(),
        openings: ShadowComparison::default(),
        examples: Vec::new(),
        next_cursor,
    };
    for (subject, group) in report.groups {
        let comparison = comparison(group);
        match subject {
            ShadowOf::Usage(feature, credit) => {
                view.features.push(ShadowOfFeature { feature, credit, comparison });
            }
            ShadowOf::Closings => view.closings = comparison,
            ShadowOf::Openings => view.openings = comparison,
        }
    }
    view.examples = report
        .examples
        .into_iter()
        .map(|example| ShadowExample {
            customer: example.customer,
            entry: example.entry,
            at: example.at,
            r#type: example.kind.to_owned(),
            feature: example.feature,
            cost: example.cost,
            code: example.code,
            shadow_cost: example.shadow_cost,
            shadow_code: example.shadow_code,
        })
        .collect();
    view
}

fn comparison(group: Compared) -> ShadowComparison {
    let Compared { decisions, differ, refused, allowed, cost, shadow_cost, more, less } = group;
    ShadowComparison {
        compared: decisions,
        differ,
        refused_by_shadow: refused,
        allowed_by_shadow: allowed,
        cost,
        shadow_cost,
        more,
        less,
    }
}
