//! Entities: users, teams, departments or agents under a customer, in a tree of up to six levels.

use crate::{
    access::{Customer, Manage, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, EntityKey, IfMatch, Json, Paging, Query},
    problem::Problem,
    render, wire,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page,
    entity::{Entity as EntityView, EntityInput},
};
use proviso_engine::{
    Change, EntityChange, Expected, Tag,
    command::{Command, Reply},
    entity_tag,
};
use proviso_ledger::{
    journal::Event,
    model::{entity::Entity, ids::Key},
    rules::rejection::Rejection,
    state::CustomerState,
};
use std::sync::Arc;

problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, EntityNotFound);
problems!(
    PutProblems: CALLER CUSTOMER GRANTOR BODY LANE,
    CustomerClosed, ChangedMeanwhile, TooMany, TooLarge; named EntityNotFound
);
problems!(DeleteProblems: CALLER CUSTOMER GRANTOR LANE, EntityNotFound, EntityInUse, ChangedMeanwhile);

/// List entities
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/entities",
    operation_id = "list_entities",
    tag = "Entities and budgets",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "By key", body = Page<EntityView>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let after = paging.after::<Key>()?;
    let rest = state.entities.after(after.as_ref()).map(|(id, entity)| view(id, entity));
    Answer::ok(&paging.page(rest, |one| one.entity.clone())?)
}

/// Read an entity
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/entities/{entity}",
    operation_id = "read_entity",
    tag = "Entities and budgets",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("entity" = String, Path, description = "The entity"),
    ),
    responses((status = 200, description = "The entity", body = EntityView), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<EntityKey>,
) -> Result<Answer, Problem> {
    shown(&*app.engine.state(&customer.id).await?, &id.0)
}

/// Create, move or change an entity
///
/// An absent field stays as it is, null clears it. Moving an entity takes effect from then on: usage of before stays where it
/// was counted. Usage may name entities that were never put; they stand by themselves.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}/entities/{entity}",
    operation_id = "put_entity",
    tag = "Entities and budgets",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("entity" = String, Path, description = "The caller's own key, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the entity that is changed"),
    ),
    request_body = EntityInput,
    responses(
        (status = 200, description = "In force", body = EntityView),
        (status = 201, description = "Created", body = EntityView),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<EntityKey>,
    IfMatch(expected): IfMatch,
    Json(body): Json<EntityInput>,
) -> Result<Answer, Problem> {
    let EntityInput { parent, attributes } = body;
    let attributes: Change<Vec<(String, String)>> =
        attributes.map(|attributes| attributes.0).into_option().into();
    // Policies may price by them.
    if attributes != Change::Keep && !customer.may_grant() {
        return Err(Problem::key_may_not_grant());
    }
    let change = EntityChange { id: id.0.clone(), parent: parent.into_option().into(), attributes, expected };
    let command = Command::SetEntity(Box::new(change));
    let reply = app.engine.execute(customer.request(command, None)).await;
    match reply.map_err(|error| match error {
        error if is_unknown_entity(&error) => Problem::from(error).named_by("/parent"),
        error => error.into(),
    })? {
        Reply::Entry(outcome) => match &outcome.entry.event {
            Event::EntityChanged(changed) => {
                let answer = Answer::put(changed.new, &view(&changed.id, &changed.entity))?;
                Ok(answer.tagged(Some(Tag::of(&changed.entity)?)))
            }
            _ => Err(render::mismatch(&outcome.entry)),
        },
        Reply::State(state) => shown(&state, &id.0),
        other => Err(Problem::internal(format!("an entity was answered with {other:?}"))),
    }
}

fn is_unknown_entity(error: &proviso_engine::EngineError) -> bool {
    use proviso_engine::{DecideError, EngineError};
    matches!(error, EngineError::Decide(DecideError::Rejected(Rejection::EntityNotFound(_))))
}

/// Forget an entity
///
/// Not one that others stand below, or that a budget names. Usage may still name it; it stands by itself then.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}/entities/{entity}",
    operation_id = "delete_entity",
    tag = "Entities and budgets",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("entity" = String, Path, description = "The entity"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the entity that is forgotten"),
    ),
    responses((status = 204, description = "Forgotten"), DeleteProblems),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<EntityKey>,
    IfMatch(mut expected): IfMatch,
) -> Result<Response, Problem> {
    if !customer.may_grant() {
        // Its attributes go with it.
        let state = app.engine.state(&customer.id).await?;
        let entity = known(&state, &id.0)?;
        if !entity.attributes.is_empty() {
            return Err(Problem::key_may_not_grant());
        }
        if expected == Expected::Anything {
            expected = Expected::OneOf(vec![Tag::of(entity)?.to_string()]);
        }
    }
    let command = Command::RemoveEntity(id.0, expected);
    app.engine.execute(customer.request(command, None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn known<'a>(state: &'a CustomerState, id: &Key) -> Result<&'a Entity, Problem> {
    state.entities.get(id).ok_or_else(|| Rejection::EntityNotFound(id.clone()).into())
}

fn shown(state: &CustomerState, id: &Key) -> Result<Answer, Problem> {
    Ok(Answer::ok(&view(id, known(state, id)?))?.tagged(entity_tag(state, id)?))
}

fn view<'a>(id: &Key, entity: &'a Entity) -> EntityView<'a> {
    EntityView {
        entity: id.clone(),
        parent: entity.parent.clone(),
        attributes: wire::texts(&entity.attributes),
    }
}
