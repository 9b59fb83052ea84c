//! Terms, made from what a caller names: the version must exist, its policy must take the settings.

use crate::{engine::Engine, error::EngineError, shared::Shared};
use proviso_decide::policy::Policy as _;
use proviso_ledger::model::{
    answers::SettingsProblem,
    canary::CanaryDraft,
    ids::Name,
    json::JsonText,
    terms::{ContractDraft, Mode, OnFault, PolicyRef, TermsDraft},
    time::{Timestamp, Zone},
};

/// Terms as a caller gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct TermsInput {
    /// The policy.
    pub policy: Name,
    /// Its version; `None` means the newest.
    pub version: Option<u32>,
    /// The settings.
    pub settings: serde_json::Value,
    /// From when; `None` means now.
    pub effective_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub ends_at: Option<Timestamp>,
    /// Whether they decide.
    pub mode: Mode,
    /// What decides when the policy faults.
    pub on_fault: OnFault,
    /// The contract that they belong to.
    pub contract: Option<ContractDraft>,
    /// The zone in which they are read; `None` means the customer's.
    pub time_zone: Option<Zone>,
    /// The caller's remark.
    pub note: Option<String>,
    /// Of a plan: the share of its customers for whom they decide; `None` means all.
    pub canary: Option<CanaryDraft>,
}

impl Engine {
    /// Terms with their settings checked and prepared by the policy, to be bound.
    ///
    /// # Errors
    /// An unknown version; settings that the policy refuses, or that it can't work on.
    pub async fn prepare_terms(&self, input: TermsInput) -> Result<TermsDraft, EngineError> {
        self.shared.prepare_terms(input).await
    }
}

impl Shared {
    pub(crate) async fn prepare_terms(&self, input: TermsInput) -> Result<TermsDraft, EngineError> {
        self.refresh_catalog().await?;
        let catalog = self.catalog.load_full();
        if !catalog.policies.contains_key(&input.policy) {
            return Err(EngineError::PolicyNotFound(input.policy));
        }
        let versions = catalog.versions.get(&input.policy).map_or(&[][..], Vec::as_slice);
        let newest = versions.iter().rev().find(|version| !version.deleted);
        let version = match input.version {
            Some(number) => versions.iter().find(|version| version.version == number && !version.deleted),
            None => newest,
        };
        let version = version.ok_or_else(|| {
            EngineError::VersionNotFound(input.policy.clone(), input.version.unwrap_or_default())
        })?;
        let module = self.load_module(version.digest).await?;
        let fault = |detail: String| {
            EngineError::SettingsInvalid(vec![SettingsProblem { pointer: String::new(), detail }])
        };
        let settings = JsonText::from(&input.settings);
        // Bounded as a decision is, so it may run where decisions run.
        let prepared = match module.prepare(settings.as_str()) {
            Ok(decided) => decided.value.map_err(EngineError::SettingsInvalid)?,
            Err(error) => return Err(fault(format!("the policy failed on these settings: {error}"))),
        };
        Ok(TermsDraft {
            policy: PolicyRef {
                name: version.policy.clone(),
                version: version.version,
                digest: version.digest,
            },
            settings,
            prepared,
            needs: version.manifest.needs,
            effective_at: input.effective_at,
            ends_at: input.ends_at,
            mode: input.mode,
            on_fault: input.on_fault,
            contract: input.contract,
            time_zone: input.time_zone,
            note: input.note,
            canary: input.canary,
        })
    }
}
