//! Entitlements: what customers may do with features, by the one evaluation that charges are subject to as well.
//!
//! Many at once are evaluated beside the async workers, customer by customer, by a few questions at a time.

use crate::{catalog::Catalog, engine::Engine, error::EngineError};
use proviso_decide::{DecideError, Decider, Stop, access::Access};
use proviso_ledger::{
    model::ids::{CustomerId, Digest, Key},
    state::CustomerState,
};
use std::{collections::HashMap, sync::Arc};

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
        Ok((self.access(&state, feature).await?, state))
    }

    /// What a customer may do with the features that the plan or an override names: up to `limit` of those after `after`.
    ///
    /// # Errors
    /// An unknown customer; the store's.
    pub async fn entitlements(
        &self,
        customer: &CustomerId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<(Vec<Access>, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        let catalog = self.catalog();
        let features = self.ask(&catalog, &HashMap::new(), &state, |decider| decider.features(&state));
        let mut answers = Vec::new();
        for feature in
            features.into_iter().filter(|feature| after.is_none_or(|after| feature > after)).take(limit)
        {
            answers.push(self.access(&state, &feature).await?);
        }
        Ok((answers, state))
    }

    async fn access(&self, state: &CustomerState, feature: &Key) -> Result<Access, EngineError> {
        let mut unavailable = HashMap::new();
        loop {
            let catalog = self.catalog();
            let asked = self.ask(&catalog, &unavailable, state, |decider| decider.access(state, feature));
            match asked {
                Ok(access) => return Ok(access),
                Err(Stop::Need(digest)) => self.load_for_question(digest, &mut unavailable).await?,
                Err(Stop::Error(error) | Stop::Defect(error)) => return Err(error.into()),
            }
        }
    }

    /// What a customer may do with each of these features, in their order: `None` for a feature that neither the plan nor an
    /// override knows.
    ///
    /// # Errors
    /// An unknown customer; the store's.
    pub async fn query_entitlements(
        self: &Arc<Self>,
        customer: &CustomerId,
        features: &Arc<[Key]>,
    ) -> Result<(Vec<Option<Access>>, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        let mut unavailable = HashMap::new();
        loop {
            let turn = self.questions.clone().acquire_owned().await;
            let turn = turn.map_err(|_| EngineError::ShuttingDown)?;
            let (engine, asked, features, missing) =
                (self.clone(), state.clone(), features.clone(), unavailable.clone());
            let evaluated = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let catalog = engine.catalog();
                let access = |feature: &Key| match engine
                    .ask(&catalog, &missing, &asked, |decider| decider.access(&asked, feature))
                {
                    Ok(access) => Ok(Some(access)),
                    Err(Stop::Error(DecideError::FeatureNotFound(_))) => Ok(None),
                    Err(stop) => Err(stop),
                };
                features.iter().map(access).collect::<Result<Vec<_>, _>>()
            });
            let evaluated = evaluated.await.map_err(|error| EngineError::Internal(error.to_string()))?;
            match evaluated {
                Ok(answers) => return Ok((answers, state)),
                Err(Stop::Need(digest)) => self.load_for_question(digest, &mut unavailable).await?,
                Err(Stop::Error(error) | Stop::Defect(error)) => return Err(error.into()),
            }
        }
    }

    /// Loads a module; one that can't be loaded is its terms' fault.
    async fn load_for_question(
        &self,
        digest: Digest,
        unavailable: &mut HashMap<Digest, String>,
    ) -> Result<(), EngineError> {
        match self.shared.load_module(digest).await {
            Ok(_) => {}
            Err(EngineError::Module(detail)) => drop(unavailable.insert(digest, detail)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks a question about a state that writes nothing.
    fn ask<T>(
        &self,
        catalog: &Catalog,
        unavailable: &HashMap<Digest, String>,
        state: &CustomerState,
        question: impl FnOnce(&Decider<'_>) -> T,
    ) -> T {
        let decider = Decider {
            plans: catalog,
            policies: &|digest| self.shared.look_up_policy(digest, unavailable),
            now: self.clock().now().max(state.at),
            late_window: self.shared.options.late_window_micros(),
        };
        question(&decider)
    }
}
