//! A loaded policy: what [`proviso_decide::policy::Policy`] promises, carried out by a WebAssembly component.

use crate::{
    call::{Called, Callee},
    fault::{Fault, Finding, Rejection},
    limits::Budgets,
    sandbox::Sandbox,
    trusted::Artifact,
    v1,
};
use proviso_decide::policy::{Answer, Failure, Policy};
use proviso_ledger::model::{
    amounts::Credits,
    answers::{CloseOutcome, Manifest, OpenOutcome, Overage, Prepared, Rating, Refusal, SettingsProblem},
    ids::Digest,
    resources::ResourceClass,
    view::{Closing, Context, Opening, UsageView},
};
use std::sync::Arc;

/// A policy, compiled and ready, in a resource class. Calls may run on any number of threads at once; none of them blocks but to
/// compute.
pub struct Module {
    loaded: Arc<Loaded>,
    budgets: Budgets,
}

struct Loaded {
    callee: Callee,
    exports: v1::Exports,
    digest: Digest,
    manifest: Manifest,
}

impl Module {
    /// Loads compiled code, checks its types and asks it what it is.
    pub(crate) fn new(
        sandbox: Arc<Sandbox>,
        class: ResourceClass,
        digest: Digest,
        artifact: &Artifact,
    ) -> Result<Self, Rejection> {
        let budgets = sandbox.limits.budgets(class);
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
        let manifest = exports.describe(&callee, &budgets).map_err(faulted("describe"))?.value;
        Ok(Self { loaded: Arc::new(Loaded { callee, exports, digest, manifest }), budgets })
    }

    /// The same policy with what this class may use.
    #[must_use]
    pub fn in_class(&self, class: ResourceClass) -> Self {
        let budgets = self.loaded.callee.limits().budgets(class);
        Self { loaded: Arc::clone(&self.loaded), budgets }
    }

    /// The SHA-256 of the module's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.loaded.digest
    }

    /// Asks the policy again what it is; [`Policy::manifest`] remembers the answer.
    pub(crate) fn describe(&self) -> Called<Manifest> {
        self.loaded.exports.describe(&self.loaded.callee, &self.budgets)
    }
}

impl Policy for Module {
    fn manifest(&self) -> &Manifest {
        &self.loaded.manifest
    }

    fn prepare(&self, settings: &str) -> Answer<Result<Prepared, Vec<SettingsProblem>>> {
        let Loaded { callee, exports, .. } = &*self.loaded;
        exports.prepare(callee, &self.budgets, settings).map_err(Failure::from)
    }

    fn rate(&self, usage: &UsageView<'_>, context: &Context, form: &[u8]) -> Answer<Result<Rating, Refusal>> {
        let Loaded { callee, exports, manifest, .. } = &*self.loaded;
        let rated = exports.rate(callee, &self.budgets, manifest.needs, usage, context, form);
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
        let Loaded { callee, exports, manifest, .. } = &*self.loaded;
        let needs = manifest.needs;
        let asked = exports.overage(callee, &self.budgets, needs, usage, rating, shortfall, context, form);
        asked.map_err(Failure::from)
    }

    fn close(&self, closing: &Closing, context: &Context, form: &[u8]) -> Answer<CloseOutcome> {
        let Loaded { callee, exports, manifest, .. } = &*self.loaded;
        let closed = exports.close(callee, &self.budgets, manifest.needs, closing, context, form);
        closed.map_err(Failure::from)
    }

    fn open(&self, opening: &Opening, context: &Context, form: &[u8]) -> Answer<OpenOutcome> {
        let Loaded { callee, exports, manifest, .. } = &*self.loaded;
        let opened = exports.open(callee, &self.budgets, manifest.needs, opening, context, form);
        opened.map_err(Failure::from)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("digest", &self.loaded.digest)
            .field("name", &self.loaded.manifest.name)
            .finish()
    }
}
