//! Promotions: credits for those who know a code, once for each customer, and no more often in all than each promotion says.

use super::bundles::require_few_features;
use crate::{
    access::{Customer, Grantor, Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Json, Keyed, Paging, PromotionName, Query, cut, few, short},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    Page,
    plan_grant::Expires,
    selling::{MAX_PLANS, Promotion as View, PromotionInput, Redeemed, Redemption, RedemptionInput},
};
use proviso_engine::{
    CreditedChange, DecideError, EngineError, PromotionChange, RedemptionRow, Tag, acting_as,
    catalog::Promotion,
};
use proviso_ledger::{
    journal::{Entry, Event, PromotionRedeemed},
    model::ids::Name,
};
use std::{borrow::Cow, sync::Arc};

problems!(
    PutProblems: CALLER OPERATOR BODY CATALOG, InvalidPath, ChangedMeanwhile; named PlanNotFound
);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, PromotionNotFound);
problems!(ListProblems: CALLER OPERATOR LIST);
problems!(RedemptionsProblems: CALLER OPERATOR LIST, InvalidPath, PromotionNotFound);
problems!(
    RedeemProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, AlreadyRedeemed, PromotionNotStarted, PromotionEnded, PromotionExhausted, PromotionNotForPlan,
    TotalOutOfRange, TooMany, TooLarge; named PromotionNotFound
);

/// Create or change a promotion
///
/// An absent field stays as it is, null clears it. What was redeemed before stays as it was. A promotion is ended with `ends_at`; one
/// whose `max_redemptions` are lowered below what is taken is exhausted.
#[utoipa::path(
    put,
    path = "/v1/promotions/{promotion}",
    operation_id = "put_promotion",
    tag = "Selling",
    params(
        ("promotion" = String, Path, description = "The code"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the promotion that is changed"),
    ),
    request_body = PromotionInput,
    responses(
        (status = 200, description = "In force", body = View),
        (status = 201, description = "Created", body = View),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(promotion): At<PromotionName>,
    IfMatch(expected): IfMatch,
    Json(body): Json<PromotionInput>,
) -> Result<Answer, Problem> {
    short("/name", body.name.value().map(String::as_str).unwrap_or_default())?;
    require_few_features(&body.features)?;
    few("/plans", body.plans.value().map_or(0, Vec::len), MAX_PLANS, "plans")?;
    let change = PromotionChange {
        name: body.name.into_option().into(),
        credits: CreditedChange {
            amount: body.amount.into_option(),
            credit: body.credit.into_option().into(),
            category: proviso_engine::Change::Keep,
            priority: body.priority.into_option().into(),
            features: body.features.into_option().into(),
            expires: body.expires.map(|expires| expires.0).into_option().into(),
        },
        starts_at: body.starts_at.into_option().into(),
        ends_at: body.ends_at.into_option().into(),
        max_redemptions: body.max_redemptions.into_option().into(),
        plans: body.plans.into_option().into(),
    };
    let put = acting_as(caller.by(), app.engine.put_promotion(promotion.0, change, expected)).await;
    let (promotion, created) = put.map_err(|error| match error {
        error @ EngineError::Decide(DecideError::PlanNotFound(_)) => Problem::from(error).named_by("/plans"),
        error => error.into(),
    })?;
    let taken = app.engine.redemption_count(&promotion.promotion).await?;
    Ok(Answer::put(created, &view(&promotion, taken))?.tagged(Some(Tag::of(&*promotion)?)))
}

/// Read a promotion
///
/// With how many of its redemptions are taken. The `ETag` is that of the promotion alone.
#[utoipa::path(
    get,
    path = "/v1/promotions/{promotion}",
    operation_id = "read_promotion",
    tag = "Selling",
    params(("promotion" = String, Path, description = "The code")),
    responses((status = 200, description = "The promotion", body = View), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(promotion): At<PromotionName>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let found = catalog.promotions.get(&promotion.0);
    let (found, _) = found.ok_or_else(|| DecideError::PromotionNotFound(promotion.0.clone()))?;
    let taken = app.engine.redemption_count(&promotion.0).await?;
    Ok(Answer::ok(&view(found, taken))?.tagged(Some(Tag::of(&**found)?)))
}

/// List promotions
#[utoipa::path(
    get,
    path = "/v1/promotions",
    operation_id = "list_promotions",
    tag = "Selling",
    params(Paging),
    responses((status = 200, description = "Promotions by code", body = Page<View>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let all = catalog.promotions.values().map(|(promotion, _)| view(promotion, 0));
    let mut page = paging.page(all, |one| one.promotion.clone())?;
    let shown: Vec<Name> = page.data.iter().map(|one| one.promotion.clone()).collect();
    for (promotion, taken) in page.data.iter_mut().zip(app.engine.redemption_counts(&shown).await?) {
        promotion.redemptions = taken;
    }
    Answer::ok(&page)
}

/// List who redeemed a promotion
///
/// In the order of their numbers. A number whose customer has no entry of type `promotion_redeemed` was taken by a request that did not
/// come to its end: it is that customer's when it redeems again.
#[utoipa::path(
    get,
    path = "/v1/promotions/{promotion}/redemptions",
    operation_id = "list_redemptions",
    tag = "Selling",
    params(("promotion" = String, Path, description = "The code"), Paging),
    responses((status = 200, description = "Redemptions", body = Page<Redemption>), RedemptionsProblems),
)]
pub async fn redemptions(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(promotion): At<PromotionName>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let (limit, after) = (paging.limit()?, paging.after::<u64>()?);
    let rows = app.engine.redemptions(&promotion.0, after.unwrap_or(0), limit + 1).await?;
    let row = |RedemptionRow { number, customer, at }| Redemption { number, customer, at };
    let mut data: Vec<Redemption> = rows.into_iter().map(row).collect();
    let next_cursor = cut(&mut data, limit as usize, |one| one.number);
    Answer::ok(&Page { data, next_cursor })
}

/// Redeem a promotion
///
/// Exactly once for each customer, and no more often in all than the promotion says, however many ask at once.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/redemptions",
    operation_id = "redeem_promotion",
    tag = "Selling",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = String, Header, description = "New for each request, the same for its repeats"),
    ),
    request_body = RedemptionInput,
    responses((status = 201, description = "Redeemed", body = Redeemed), RedeemProblems),
)]
pub async fn redeem(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    Keyed { idempotency, body: Json(RedemptionInput { promotion }) }: Keyed<Json<RedemptionInput>>,
) -> Result<Answer, Problem> {
    let origin = customer.origin(Some(idempotency));
    let redeemed = app.engine.redeem(customer.id, promotion, origin).await;
    let outcome = redeemed.map_err(|error| match error {
        error @ EngineError::Decide(DecideError::PromotionNotFound(_)) => {
            Problem::from(error).named_by("/promotion")
        }
        error => error.into(),
    })?;
    render::answer(&outcome, answered)
}

fn view(promotion: &Promotion, redemptions: u64) -> View<'_> {
    let credits = &promotion.credits;
    View {
        promotion: promotion.promotion.clone(),
        name: Cow::Borrowed(&promotion.name),
        amount: credits.amount,
        credit: credits.credit.clone(),
        priority: credits.priority,
        features: Cow::Borrowed(&credits.features),
        expires: Expires(credits.expires),
        starts_at: promotion.starts_at,
        ends_at: promotion.ends_at,
        max_redemptions: promotion.max_redemptions,
        redemptions,
        plans: Cow::Borrowed(&promotion.plans),
        created_at: promotion.created_at,
    }
}

fn answered(entry: &Entry) -> Result<Answer, Problem> {
    let Event::PromotionRedeemed(redeemed) = &entry.event else { return Err(render::mismatch(entry)) };
    let PromotionRedeemed { promotion, number, grant } = &**redeemed;
    Answer::new(
        StatusCode::CREATED,
        &Redeemed {
            promotion: promotion.clone(),
            number: *number,
            grant: wire::new_grant(grant, entry.at),
            balance: render::balance(entry)?,
            entry: entry.seq,
        },
    )
}
