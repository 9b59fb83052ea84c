//! A loaded policy: what [`proviso_decide::policy::Policy`] promises, carried out by a WebAssembly component.

use crate::{
    call::{Called, Callee},
    fault::{Fault, Finding, Rejection},
    sandbox::Sandbox,
    trusted::Artifact,
    v1,
};
use proviso_decide::policy::{Answer, Failure, Policy};
use proviso_ledger::model::{
    amounts::Credits,
    answers::{
        CloseOutcome, Manifest, Needs, OpenOutcome, Overage, Prepared, Rating, Refusal, SettingsProblem,
    },
    ids::Digest,
    view::{Closing, Context, Opening, UsageView},
};
use std::sync::Arc;

/// A policy, compiled and ready. Calls may run on any number of threads at once; none of them blocks but to compute.
pub struct Module {
    callee: Arc<Callee>,
    exports: Arc<v1::Exports>,
    digest: Digest,
    manifest: Manifest,
}

impl Module {
    /// Loads compiled code, checks its types and asks it what it is.
    pub(crate) fn new(sandbox: Arc<Sandbox>, digest: Digest, artifact: &Artifact) -> Result<Self, Rejection> {
        let unfit = |code, place: &str| {
            let place = place.to_owned();
            move |error: wasmtime::Error| {
                Rejection(vec![Finding { code, place, detail: format!("{error:#}") }])
            }
        };
        let faulted =
            |place: &'static str| move |fault: Fault| Rejection::one(fault.code(), place, fault.to_string());
        let component = artifact.load(&sandbox.engine).map_err(unfit("not_loadable", "module"))?;
        let pre = sandbox.linker.instantiate_pre(&component).map_err(unfit("foreign_import", "imports"))?;
        let callee = Callee::new(sandbox, pre);
        let exports = v1::Exports::find(&callee)
            .map_err(faulted("instantiation"))?
            .map_err(unfit("wrong_type", "exports"))?;
        let manifest = exports.describe(&callee).map_err(faulted("describe"))?.value;
        Ok(Self { callee: Arc::new(callee), exports: Arc::new(exports), digest, manifest })
    }

    /// The SHA-256 of the module's bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Asks the policy again what it is; [`Policy::manifest`] remembers the answer.
    pub(crate) fn describe(&self) -> Called<Manifest> {
        self.exports.describe(&self.callee)
    }
}

impl Policy for Module {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn showing(&self, needs: Needs) -> Option<Arc<dyn Policy>> {
        Some(Arc::new(Self {
            callee: Arc::clone(&self.callee),
            exports: Arc::clone(&self.exports),
            digest: self.digest,
            manifest: Manifest { needs, ..self.manifest.clone() },
        }))
    }

    fn prepare(&self, settings: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        self.exports.prepare(&self.callee, settings).map_err(Failure::from)
    }

    fn rate(&self, usage: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        let rated = self.exports.rate(&self.callee, self.manifest.needs, usage, context, form);
        rated.map_err(Failure::from)
    }

    fn overage(
        &self,
        usage: &UsageView<'_>,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Answer<Overage> {
        let needs = self.manifest.needs;
        let asked = self.exports.overage(&self.callee, needs, usage, rating, shortfall, context, form);
        asked.map_err(Failure::from)
    }

    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        let closed = self.exports.close(&self.callee, self.manifest.needs, closing, context, form);
        closed.map_err(Failure::from)
    }

    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        let opened = self.exports.open(&self.callee, self.manifest.needs, opening, context, form);
        opened.map_err(Failure::from)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("digest", &self.digest).field("name", &self.manifest.name).finish()
    }
}
