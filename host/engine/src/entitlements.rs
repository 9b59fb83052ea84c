//! What customers may do with features. Each metered feature asks a policy up to twice, so questions run on threads that may
//! block, a few at once, and a page ends early when its policies burnt much.

use crate::{engine::Engine, error::EngineError};
use proviso_decide::{DecideError, Decider, Stop, access::Access};
use proviso_ledger::{
    model::ids::{CustomerId, Key},
    state::CustomerState,
};
use std::{collections::HashMap, sync::Arc};
use tokio::task::spawn_blocking;

/// The fuel after which a page takes in no further feature: ten times what one decision may burn, and far more than a thousand
/// features of an honest policy do.
const PAGE_FUEL: u64 = 100_000_000;

/// A page of a customer's entitlements.
#[derive(Debug)]
pub struct EntitlementPage {
    /// By feature.
    pub entitlements: Vec<Access>,
    /// Whether there are more after the last of these.
    pub has_more: bool,
    /// The state that they are of.
    pub state: Arc<CustomerState>,
}

impl Engine {
    /// What a customer may do with a feature, by the one evaluation that charges are subject to as well.
    ///
    /// # Errors
    /// An unknown customer or feature; the store's.
    pub async fn entitlement(
        &self,
        customer: &CustomerId,
        feature: &Key,
    ) -> Result<(Access, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        let feature = feature.clone();
        let access = self.ask(&state, move |decider, state| decider.access(state, &feature)).await?;
        Ok((access, state))
    }

    /// What a customer may do with the features that the plan or an override names: up to `limit` of those after `after`, and
    /// one at least if there is one.
    ///
    /// # Errors
    /// An unknown customer; the store's.
    pub async fn entitlements(
        &self,
        customer: &CustomerId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<EntitlementPage, EngineError> {
        let state = self.state(customer).await?;
        let after = after.cloned();
        let page = self
            .ask(&state, move |decider, state| decider.access_page(state, after.as_ref(), limit, PAGE_FUEL));
        let (entitlements, has_more) = page.await?;
        Ok(EntitlementPage { entitlements, has_more, state })
    }

    /// What a customer may do with each of these features, in their order: `None` for a feature that neither the plan nor an
    /// override knows.
    ///
    /// # Errors
    /// An unknown customer; the store's.
    pub async fn query_entitlements(
        &self,
        customer: &CustomerId,
        features: Arc<[Key]>,
    ) -> Result<(Vec<Option<Access>>, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        let answers = self.ask(&state, move |decider, state| {
            let access = |feature| match decider.access(state, feature) {
                Ok(access) => Ok(Some(access)),
                Err(Stop::Error(DecideError::FeatureNotFound(_))) => Ok(None),
                Err(stop) => Err(stop),
            };
            features.iter().map(access).collect::<Result<Vec<_>, _>>()
        });
        Ok((answers.await?, state))
    }

    /// Asks a question about a state that writes nothing. It is asked again once a policy that it needs is loaded.
    async fn ask<T: Send + 'static>(
        &self,
        state: &Arc<CustomerState>,
        question: impl Fn(&Decider<'_>, &CustomerState) -> Result<T, Stop> + Send + Sync + 'static,
    ) -> Result<T, EngineError> {
        let question = Arc::new(question);
        let mut unavailable = HashMap::new();
        loop {
            let permit =
                self.questions.clone().acquire_owned().await.map_err(|_| EngineError::ShuttingDown)?;
            let (shared, state, question) = (self.shared.clone(), state.clone(), question.clone());
            let known = unavailable.clone();
            let asked = spawn_blocking(move || {
                // Kept until the end, also when nobody waits for the answer any more.
                let _permit = permit;
                let catalog = shared.catalog.load_full();
                let decider = Decider {
                    plans: &*catalog,
                    policies: &|digest| shared.look_up_policy(&catalog, digest, &known),
                    now: shared.clock.now().max(state.at),
                    late_window: shared.options.late_window_micros(),
                    most_due: 0,
                };
                question(&decider, &state)
            });
            let asked = asked.await.map_err(|error| EngineError::Internal(format!("a question: {error}")))?;
            match asked {
                Ok(answer) => return Ok(answer),
                Err(Stop::Need(digest)) => match self.shared.load_module(digest).await {
                    Ok(_) => {}
                    Err(EngineError::Module(detail)) => drop(unavailable.insert(digest, detail)),
                    Err(error) => return Err(error),
                },
                Err(Stop::Unfinished) => {
                    return Err(EngineError::Internal("a question found something due".to_owned()));
                }
                Err(Stop::Error(error) | Stop::Defect(error)) => return Err(error.into()),
            }
        }
    }
}
