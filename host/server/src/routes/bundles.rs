//! Bundles: packs of credits that are bought in one call.

use super::top_ups::require_short;
use crate::{
    access::{Customer, Grantor, Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, BundleName, IfMatch, Json, Keyed, Paging, Query, few, short},
    problem::Problem,
    render, wire,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::{
    Page, Patch,
    grant::MAX_FEATURES,
    plan_grant::Expires,
    selling::{Bundle as View, BundleInput, MAX_QUANTITY, Purchase, PurchaseInput},
};
use proviso_engine::{
    BundleChange, CreditedChange, DecideError, EngineError, Tag, acting_as,
    catalog::Bundle,
    command::{Command, Reply},
    selling,
};
use proviso_ledger::{
    journal::{BundlePurchased, Entry, Event},
    model::{amounts::Credits, grant::Category, ids::Key, transfer::Book},
};
use std::{borrow::Cow, sync::Arc};

problems!(PutProblems: CALLER OPERATOR BODY CATALOG, InvalidPath, ChangedMeanwhile);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, BundleNotFound);
problems!(ListProblems: CALLER OPERATOR LIST);
problems!(
    PurchaseProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, BundleWithdrawn, TotalOutOfRange, TooMany, TooLarge; named BundleNotFound
);

/// Create or change a bundle
///
/// An absent field stays as it is, null clears it. What was bought before stays as it was bought. A bundle is withdrawn with
/// `for_sale`.
#[utoipa::path(
    put,
    path = "/v1/bundles/{bundle}",
    operation_id = "put_bundle",
    tag = "Selling",
    params(
        ("bundle" = String, Path, description = "The bundle's key"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the bundle that is changed"),
    ),
    request_body = BundleInput,
    responses(
        (status = 200, description = "In force", body = View),
        (status = 201, description = "Created", body = View),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(bundle): At<BundleName>,
    IfMatch(expected): IfMatch,
    Json(body): Json<BundleInput>,
) -> Result<Answer, Problem> {
    short("/name", body.name.value().map(String::as_str).unwrap_or_default())?;
    require_few_features(&body.features)?;
    if body.category.value().is_some_and(|category| !matches!(category, Category::Prepaid | Category::TopUp))
    {
        return Err(Problem::invalid_field("/category", "must be prepaid or top_up"));
    }
    let change = BundleChange {
        name: body.name.into_option().into(),
        credits: CreditedChange {
            amount: body.amount.into_option(),
            credit: body.credit.into_option().into(),
            category: body.category.into_option().into(),
            priority: body.priority.into_option().into(),
            features: body.features.into_option().into(),
            expires: body.expires.map(|expires| expires.0).into_option().into(),
        },
        price: body.price.into_option().into(),
        for_sale: body.for_sale.into_option().into(),
    };
    let put = acting_as(caller.by(), app.engine.put_bundle(bundle.0, change, expected)).await;
    let (bundle, created) = put?;
    Ok(Answer::put(created, &view(&bundle))?.tagged(Some(Tag::of(&*bundle)?)))
}

/// Read a bundle
#[utoipa::path(
    get,
    path = "/v1/bundles/{bundle}",
    operation_id = "read_bundle",
    tag = "Selling",
    params(("bundle" = String, Path, description = "The bundle")),
    responses((status = 200, description = "The bundle", body = View), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(bundle): At<BundleName>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let bundle = catalog.bundles.get(&bundle.0).ok_or(DecideError::BundleNotFound(bundle.0))?;
    Ok(Answer::ok(&view(bundle))?.tagged(Some(Tag::of(&**bundle)?)))
}

/// List bundles
#[utoipa::path(
    get,
    path = "/v1/bundles",
    operation_id = "list_bundles",
    tag = "Selling",
    params(Paging),
    responses((status = 200, description = "Bundles by key", body = Page<View>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    Answer::ok(&paging.page(catalog.bundles.values().map(|bundle| view(bundle)), |one| one.bundle.clone())?)
}

/// Buy a bundle
///
/// Once its payment was taken: the credits are given in one go, with the price as their cost basis. They pay outstanding overage first,
/// where the terms let purchases do so.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/purchases",
    operation_id = "purchase_bundle",
    tag = "Selling",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = String, Header, description = "New for each purchase, the same for its repeats"),
    ),
    request_body = PurchaseInput,
    responses((status = 201, description = "Bought", body = Purchase), PurchaseProblems),
)]
pub async fn purchase(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    Keyed { idempotency, body: Json(body) }: Keyed<Json<PurchaseInput>>,
) -> Result<Answer, Problem> {
    let PurchaseInput { bundle, quantity, payment, cost_basis } = body;
    let quantity = quantity.unwrap_or(1);
    if !(1..=MAX_QUANTITY).contains(&quantity) {
        return Err(Problem::invalid_field("/quantity", format!("must be 1 to {MAX_QUANTITY}")));
    }
    require_short("/payment", payment.as_deref())?;
    let purchase = selling::Purchase { bundle, quantity, payment, cost_basis };
    let request = customer.request(Command::Purchase(Box::new(purchase)), Some(idempotency));
    match app.engine.execute(request).await {
        Ok(Reply::Entry(outcome)) => render::answer(&outcome, purchased),
        Ok(other) => Err(Problem::internal(format!("a purchase was answered with {other:?}"))),
        Err(error @ EngineError::Decide(DecideError::BundleNotFound(_))) => {
            Err(Problem::from(error).named_by("/bundle"))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn require_few_features(features: &Patch<Vec<Key>>) -> Result<(), Problem> {
    few("/features", features.value().map_or(0, Vec::len), MAX_FEATURES, "features")
}

fn view(bundle: &Bundle) -> View<'_> {
    let credits = &bundle.credits;
    View {
        bundle: bundle.bundle.clone(),
        name: Cow::Borrowed(&bundle.name),
        amount: credits.amount,
        credit: credits.credit.clone(),
        price: bundle.price,
        category: credits.category,
        priority: credits.priority,
        features: Cow::Borrowed(&credits.features),
        expires: Expires(credits.expires),
        for_sale: bundle.for_sale,
        created_at: bundle.created_at,
    }
}

fn purchased(entry: &Entry) -> Result<Answer, Problem> {
    let Event::BundlePurchased(bought) = &entry.event else { return Err(render::mismatch(entry)) };
    let BundlePurchased { bundle, quantity, payment, grant } = &**bought;
    let settled: Credits = render::moved(entry, |_, to| to == Book::Overage);
    Answer::new(
        StatusCode::CREATED,
        &Purchase {
            bundle: bundle.clone(),
            quantity: *quantity,
            payment: payment.as_deref().map(Cow::Borrowed),
            grant: wire::new_grant(grant, entry.at),
            settled,
            balance: render::balance(entry)?,
            entry: entry.seq,
        },
    )
}
