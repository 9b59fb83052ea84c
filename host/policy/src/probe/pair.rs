//! A policy and its rewritten module, asked the same: the plain one answers.

use super::refused;
use crate::{
    cache::{Cache, CacheDir},
    fault::PolicyError,
    limits::{Budget, Limits},
    module::Module,
    sandbox::Sandbox,
    trusted::Artifact,
};
use proviso_decide::policy::{Answer, Around, Policy};
use proviso_ledger::model::{ids::Digest, resources::ResourceClass};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How much more of fuel, time and stack the rewritten code may take than the plain one.
const ALLOWANCE: u32 = 8;

/// Compiles and loads a component with probes, or takes what an earlier run kept of it. `probe` is told the fuel that is left to the
/// call, and what the probe tells.
pub(super) fn probed_module(
    component: &[u8],
    limits: &Limits,
    keep_in: Option<CacheDir>,
    probe: impl Fn(u64, u32, u64) + Send + Sync + 'static,
) -> Result<Module, PolicyError> {
    let more = |budget: Budget| Budget {
        fuel: budget.fuel.saturating_mul(u64::from(ALLOWANCE)),
        deadline: budget.deadline.saturating_mul(ALLOWANCE),
        ..budget
    };
    let limits = Limits {
        prepare: more(limits.prepare),
        decision: more(limits.decision),
        period: more(limits.period),
        stack_bytes: limits.stack_bytes.saturating_mul(2),
        ..limits.clone()
    };
    let sandbox = Arc::new(Sandbox::with_probe(limits, Some(Arc::new(probe)))?);
    let digest = Digest::of(component);
    // The limits are those of the default class, and more.
    let load =
        |artifact: &Artifact| Module::new(Arc::clone(&sandbox), ResourceClass::Default, digest, artifact);
    // Code that can't be kept is compiled again.
    let cache = keep_in.and_then(|dir| Cache::new(dir, &sandbox.engine).ok());
    let kept = cache.as_ref().and_then(|cache| cache.get(&digest));
    if let Some(Ok(module)) = kept.map(|kept| load(&kept)) {
        return Ok(module);
    }
    let code =
        sandbox.engine.precompile_component(component).map_err(|error| refused(format!("{error:#}")))?;
    if let Some(cache) = cache {
        cache.put(&digest, &code);
    }
    Ok(load(&Artifact::Made(code))?)
}

/// Is told of the calls of a rewritten module.
pub(super) trait Watch: Send + Sync {
    /// One begins. Calls do not overlap.
    fn begin(&self, call: &'static str);
    /// It has ended; the plain module burnt this much fuel.
    fn end(&self, fuel: u64);
}

/// Who watches, and the lock that makes the calls come one after another.
type Watched = (Arc<dyn Watch>, Arc<Mutex<()>>);

/// The two.
#[derive(Clone)]
pub(super) struct Pair {
    plain: Arc<dyn Policy>,
    probed: Arc<Module>,
    disagreements: Arc<AtomicU64>,
    watch: Option<Watched>,
}

impl Pair {
    pub(super) fn new(plain: Arc<dyn Policy>, probed: Module) -> Self {
        Self { plain, probed: Arc::new(probed), disagreements: Arc::default(), watch: None }
    }

    pub(super) fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some((watch, Arc::default())), ..self }
    }

    pub(super) fn disagreements(&self) -> u64 {
        self.disagreements.load(Relaxed)
    }
}

impl Around for Pair {
    fn inner(&self) -> &dyn Policy {
        &*self.plain
    }

    /// Asks both the same.
    fn around<T: PartialEq>(
        &self,
        export: &'static str,
        ask: impl Fn(&dyn Policy) -> Answer<T>,
    ) -> Answer<T> {
        let answer = ask(self.inner());
        let probed = match &self.watch {
            None => ask(&*self.probed),
            Some((watch, turn)) => {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                watch.begin(export);
                let probed = ask(&*self.probed);
                watch.end(answer.as_ref().map_or_else(|failure| failure.fuel, |decided| decided.fuel));
                probed
            }
        };
        // Where the plain one fails, the other may fail otherwise, or with more fuel not at all.
        if let Ok(plain) = &answer
            && probed.is_ok_and(|probed| probed.value != plain.value)
        {
            self.disagreements.fetch_add(1, Relaxed);
        }
        answer
    }
}
