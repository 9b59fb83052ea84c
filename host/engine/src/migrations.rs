//! Moves of a plan's customers from one version to another: a page of them at a time, so that a request is bounded whatever the
//! number of customers. Nothing is kept of a migration but what it did to each customer: who was moved is not on the old version
//! any more, so a page that is asked for again, after a crash or by another host, does nothing twice and goes on where it was.

use crate::{audit, changes::Changed, engine::Engine, error::EngineError};
use proviso_decide::{
    DecideError,
    catalog::Plans as _,
    command::{Command, CustomerMigration, Idempotency, Migrated, Reply, Request},
};
use proviso_ledger::{
    model::{
        answers::Allowance,
        customer::Profile,
        ids::{CustomerId, Name},
    },
    state::Origin,
};
use proviso_store::StoreError;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, str::FromStr, sync::Arc};
use tokio::task::JoinSet;

/// Customers that are moved at once.
const AT_ONCE: usize = 32;
/// Customers that one page looks at, most of whom a filter may leave out.
const MOST_SEEN: u32 = 10_000;
/// Customers that are read at a time.
const PAGE: u32 = 500;

/// Which customers of a plan are moved, and how.
#[derive(Debug, Clone)]
pub struct PlanMigration {
    /// The plan.
    pub plan: Name,
    /// The version that is moved from; none means all others.
    pub from: Option<u32>,
    /// The version that they get; none means the newest.
    pub to: Option<u32>,
    /// Only these customers.
    pub customers: Option<Vec<CustomerId>>,
    /// Only customers that have all of these attributes.
    pub attributes: Vec<(String, String)>,
    /// Whether each is moved when its running period ends, not now.
    pub at_period_end: bool,
    /// How the version's allowance is reduced by what was given in the cycle.
    pub allowance: Allowance,
    /// Whether it is only asked what it would do.
    pub dry_run: bool,
    /// The last customer that the page before looked at.
    pub after: Option<MigrationPlace>,
    /// The most customers of a page.
    pub limit: u32,
}

/// How far a migration is: pages go by version, then by customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MigrationPlace {
    version: u32,
    customer: CustomerId,
}

impl fmt::Display for MigrationPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.version, self.customer)
    }
}

impl FromStr for MigrationPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (version, customer) = text.split_once(':').ok_or(())?;
        let version = version.parse().map_err(drop)?;
        Ok(Self { version, customer: customer.parse().map_err(drop)? })
    }
}

/// What a page of a migration did, or would do.
#[derive(Debug)]
pub struct MigrationPage {
    /// The version that they get.
    pub to: u32,
    /// Its customers.
    pub customers: Vec<MigratedCustomer>,
    /// Where the next page begins; none after the last.
    pub next: Option<MigrationPlace>,
    /// How many open customers are on the versions that are moved from, after this page and whatever the filter.
    pub left: u64,
}

/// A customer of a migration.
#[derive(Debug)]
pub struct MigratedCustomer {
    /// The customer.
    pub customer: CustomerId,
    /// The version that it was on; none where it is not on the plan.
    pub from: Option<u32>,
    /// What came of it. One that fails does not hold back the others.
    pub outcome: Result<Migrated, EngineError>,
}

/// A customer that is to be moved from a version.
type Candidate = (CustomerId, Option<u32>);

impl Engine {
    /// Moves a page of a plan's customers to another version, or says what that would do. `render` makes the answer of it, which is
    /// kept for the idempotency key; a repeat gets the same.
    ///
    /// # Errors
    /// An unknown plan or version; the key of another request; the store's.
    pub async fn migrate_plan<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(
        self: &Arc<Self>,
        migration: PlanMigration,
        idempotency: Option<Idempotency>,
        render: impl FnOnce(MigrationPage) -> T + Send + 'static,
    ) -> Result<Changed<T>, EngineError> {
        let engine = self.clone();
        // Goes on when the caller is gone, so that what it did is on record.
        self.changes.run(async move { engine.migrate_page_once(&migration, idempotency, render).await }).await
    }

    /// How many open customers each version of a plan has, by version.
    ///
    /// # Errors
    /// The store's.
    pub async fn plan_customers(&self, plan: &Name) -> Result<Vec<(u32, u64)>, EngineError> {
        Ok(self.shared.store.plan_customers(plan).await?)
    }

    async fn migrate_page_once<T: Clone + Serialize + DeserializeOwned>(
        &self,
        migration: &PlanMigration,
        idempotency: Option<Idempotency>,
        render: impl FnOnce(MigrationPage) -> T,
    ) -> Result<Changed<T>, EngineError> {
        if let Some(idempotency) = &idempotency
            && let Some(value) = self.shared.answered_change(idempotency).await?
        {
            return Ok(Changed { value, replayed: true });
        }
        let page = self.migrate_page(migration).await?;
        let (done, pending) = (page.count(|one| matches!(one, Migrated::Done(_))), page.count(is_pending));
        let record = serde_json::json!({
            "from_version": migration.from,
            "to_version": page.to,
            "when": if migration.at_period_end { "period_end" } else { "now" },
            "allowance": migration.allowance,
            "migrated": done,
            "pending": pending,
            "failed": page.customers.iter().filter(|one| one.outcome.is_err()).count(),
        });
        let value = render(page);
        if migration.dry_run {
            return Ok(Changed { value, replayed: false });
        }
        let change = |_: &_, now| {
            let changes = vec![audit::migrated(&migration.plan, now, record.clone())?];
            Ok((changes, value.clone()))
        };
        self.shared.change_once(idempotency.as_ref(), change).await
    }

    async fn migrate_page(&self, migration: &PlanMigration) -> Result<MigrationPage, EngineError> {
        let plan = &migration.plan;
        self.shared.refresh_catalog().await?;
        let to = {
            let catalog = self.catalog();
            let newest = catalog.plans.get(plan).ok_or_else(|| DecideError::PlanNotFound(plan.clone()))?;
            let to = migration.to.unwrap_or(newest.version);
            for version in migration.from.iter().chain([&to]) {
                if catalog.plan_version(plan, *version).is_none() {
                    return Err(DecideError::PlanVersionNotFound(plan.clone(), *version).into());
                }
            }
            to
        };
        let (candidates, next) = match &migration.customers {
            Some(customers) => (self.named(migration, customers).await?, None),
            None => self.of_versions(migration, to).await?,
        };
        let mut page = MigrationPage { to, customers: Vec::with_capacity(candidates.len()), next, left: 0 };
        for some in candidates.chunks(AT_ONCE) {
            page.customers.append(&mut self.move_at_once(migration, to, some).await?);
        }
        let is_from = |version: u32| version != to && migration.from.is_none_or(|from| from == version);
        let counts = self.plan_customers(plan).await?;
        let left = counts.iter().filter(|(version, _)| is_from(*version)).map(|(_, count)| *count);
        page.left = left.fold(0, u64::saturating_add);
        Ok(page)
    }

    /// Those of the customers that the filter takes, with the versions that they are on.
    async fn named(
        &self,
        migration: &PlanMigration,
        customers: &[CustomerId],
    ) -> Result<Vec<Candidate>, EngineError> {
        let mut found = Vec::with_capacity(customers.len());
        for customer in customers {
            match self.state(customer).await {
                Ok(state) => {
                    let profile = state.profile.as_ref();
                    let sold = profile.and_then(Profile::sold).filter(|sold| sold.plan == migration.plan);
                    if profile.is_some_and(|profile| migration.takes(profile)) {
                        found.push((customer.clone(), sold.map(|sold| sold.version)));
                    }
                }
                // Said of that customer.
                Err(EngineError::Decide(DecideError::CustomerNotFound(_))) => {
                    found.push((customer.clone(), None));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The next customers on the versions that are moved from, and where the page after them begins.
    async fn of_versions(
        &self,
        migration: &PlanMigration,
        to: u32,
    ) -> Result<(Vec<Candidate>, Option<MigrationPlace>), EngineError> {
        let store = &self.shared.store;
        let in_use = store.plan_customers(&migration.plan).await?;
        let is_from = |version: &u32| *version != to && migration.from.is_none_or(|from| from == *version);
        let begun = migration.after.as_ref().map_or(0, |place| place.version);
        let versions = in_use.into_iter().map(|(version, _)| version).filter(is_from);
        let (mut found, mut seen, mut place) = (Vec::new(), 0_u32, migration.after.clone());
        for version in versions.filter(|version| *version >= begun) {
            loop {
                let in_version = place.as_ref().filter(|place| place.version == version);
                let after = in_version.map(|place| &place.customer);
                let rows = store.customers_of_plan(&migration.plan, version, after, PAGE).await?;
                let is_last = rows.len() < PAGE as usize;
                for row in rows {
                    if found.len() >= migration.limit as usize || seen >= MOST_SEEN {
                        return Ok((found, place));
                    }
                    seen = seen.saturating_add(1);
                    place = Some(MigrationPlace { version, customer: row.customer.clone() });
                    let profile: Profile = serde_json::from_str(&row.profile).map_err(|error| {
                        StoreError::Corrupt { detail: format!("profile of {}: {error}", row.customer) }
                    })?;
                    if migration.takes(&profile) {
                        found.push((row.customer, Some(version)));
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        Ok((found, None))
    }

    /// Moves a few customers, and says in their order what came of it.
    async fn move_at_once(
        &self,
        migration: &PlanMigration,
        to: u32,
        candidates: &[Candidate],
    ) -> Result<Vec<MigratedCustomer>, EngineError> {
        let mut moves = JoinSet::new();
        for (place, (customer, _)) in candidates.iter().enumerate() {
            let command = CustomerMigration {
                plan: migration.plan.clone(),
                from: migration.from,
                to,
                at_period_end: migration.at_period_end,
                allowance: migration.allowance,
                dry_run: migration.dry_run,
            };
            let origin = Origin { idempotency: None, by: audit::actor() };
            let (customer, command) = (customer.clone(), Command::Migrate(Box::new(command)));
            let (dispatcher, request) = (self.dispatcher.clone(), Request { customer, command, origin });
            moves.spawn(async move { (place, dispatcher.execute(request).await) });
        }
        let mut outcomes = Vec::with_capacity(candidates.len());
        while let Some(moved) = moves.join_next().await {
            let (place, reply) = moved.map_err(|error| EngineError::Internal(format!("a move: {error}")))?;
            let outcome = match reply {
                Ok(Reply::Migrated(migrated)) => Ok(*migrated),
                Ok(_) => Err(EngineError::Internal("a move was answered with something else".to_owned())),
                Err(error) => Err(error),
            };
            outcomes.push((place, outcome));
        }
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        let moved = candidates.iter().zip(outcomes).map(|((customer, from), (_, outcome))| {
            MigratedCustomer { customer: customer.clone(), from: *from, outcome }
        });
        Ok(moved.collect())
    }
}

impl PlanMigration {
    /// Whether the filter takes a customer.
    fn takes(&self, profile: &Profile) -> bool {
        self.attributes.iter().all(|wanted| profile.attributes.contains(wanted))
    }
}

impl MigrationPage {
    fn count(&self, is_it: impl Fn(&Migrated) -> bool) -> usize {
        self.customers.iter().filter(|one| one.outcome.as_ref().is_ok_and(&is_it)).count()
    }
}

const fn is_pending(migrated: &Migrated) -> bool {
    matches!(migrated, Migrated::Pending(_))
}
