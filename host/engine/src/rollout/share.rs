//! Raising a canary's share: customers are only ever added.

use crate::{
    changes::{Changed, json},
    engine::Engine,
    error::EngineError,
    shared::Shared,
};
use proviso_decide::{
    catalog::Plans as _,
    command::Idempotency,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    model::{
        canary::{Share, ShareStep},
        ids::{Name, TermsId},
        terms::Terms,
        time::Timestamp,
    },
    rules::rejection::Rejection,
};
use proviso_store::{CatalogChange, PlanTermsRow};
use std::sync::Arc;

impl Engine {
    /// Raises a canary's share from now on; the share that it has changes nothing.
    ///
    /// # Errors
    /// Unknown terms, or none of a canary; terms that ended; a share below the one that it has.
    pub async fn raise_canary(
        &self,
        plan: Name,
        id: TermsId,
        share: Share,
        expected: Expected,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        let shared = self.shared.clone();
        let raise = async move { shared.raise_canary(plan, id, share, expected, idempotency.as_ref()).await };
        self.changes.run(raise).await
    }
}

impl Shared {
    async fn raise_canary(
        &self,
        plan: Name,
        id: TermsId,
        share: Share,
        expected: Expected,
        idempotency: Option<&Idempotency>,
    ) -> Result<Changed<Arc<Terms>>, EngineError> {
        self.change_once(idempotency, |catalog, now| {
            let found = catalog.terms_of(&plan).iter().find(|terms| terms.key.id == id);
            let found = found.ok_or(EngineError::TermsNotFound)?;
            expected.check(|| Tag::of(&**found).map(Some))?;
            let terms = raised(found, share, now)?;
            if terms == **found {
                return Ok((Vec::new(), found.clone()));
            }
            let row = PlanTermsRow { plan: plan.clone(), number: id.entry, body: json(&terms)? };
            Ok((vec![CatalogChange::SetPlanTerms(row)], Arc::new(terms)))
        })
        .await
    }
}

/// A canary with a larger share from `now` on, or with the one that it has.
pub(crate) fn raised(canary: &Terms, share: Share, now: Timestamp) -> Result<Terms, EngineError> {
    let mut terms = canary.clone();
    let canary = terms.canary.as_mut().ok_or(EngineError::NotACanary)?;
    if let Some(ended) = terms.ends_at.filter(|end| *end <= now) {
        return Err(Rejection::TermsEnded(ended).into());
    }
    let last = canary.share();
    if share < last {
        return Err(EngineError::CanaryShareLower(last.percent()));
    }
    if share == last {
        return Ok(terms);
    }
    if now <= terms.effective_at {
        canary.steps.clear();
    }
    let from = canary.steps.last().map_or(terms.effective_at, |step| now.max(step.from));
    canary.steps.push(ShareStep { share_percent: share, from });
    Ok(terms)
}
