//! Terms, made from what a caller names: the version must exist, its policy must take the settings.

use crate::{Engine, error::EngineError};
use proviso_ledger::{
    ids::{Name, TermsId},
    json::JsonText,
    terms::{Mode, OnFault, Owner, PolicyRef, Terms, TermsKey},
    time::Timestamp,
};

/// Terms as a caller gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct TermsInput {
    /// The policy.
    pub policy: Name,
    /// Its version; none means the newest.
    pub version: Option<u32>,
    /// The settings.
    pub settings: serde_json::Value,
    /// From when; none means now.
    pub effective_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub ends_at: Option<Timestamp>,
    /// Whether they decide.
    pub mode: Mode,
    /// What decides when the policy faults.
    pub on_fault: OnFault,
}

impl Engine {
    /// Terms with their settings checked and prepared by the policy. They are numbered, and start no earlier than now,
    /// when they are bound.
    ///
    /// # Errors
    /// An unknown version; settings that the policy refuses, or that it can't work on.
    pub async fn prepare_terms(&self, owner: Owner, input: TermsInput) -> Result<Terms, EngineError> {
        self.shared.refresh_catalog().await?;
        let catalog = self.catalog();
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
        let module = self.shared.load_module(version.digest).await?;
        let fault = |detail: String| {
            EngineError::SettingsInvalid(vec![proviso_ledger::decision::Problem {
                pointer: String::new(),
                detail,
            }])
        };
        let settings = JsonText::from(&input.settings);
        // Bounded as a decision is, so it may run where decisions run.
        let prepared = match module.prepare(settings.as_str()) {
            Ok(decided) => decided.value.map_err(EngineError::SettingsInvalid)?,
            Err(error) => return Err(fault(format!("the policy failed on these settings: {error}"))),
        };
        Ok(Terms {
            key: TermsKey { owner, id: TermsId { entry: 0, index: 0 } },
            policy: PolicyRef {
                name: version.policy.clone(),
                version: version.version,
                digest: version.digest,
            },
            settings,
            prepared,
            needs: version.manifest.needs,
            effective_at: input.effective_at.unwrap_or(Timestamp(i64::MIN)),
            ends_at: input.ends_at,
            mode: input.mode,
            on_fault: input.on_fault,
            created_at: Timestamp(0),
        })
    }
}
