//! Policies: names, and versions that are uploaded, tried and kept for ever by the digest of their bytes.

use crate::{
    Engine,
    catalog::{Policy, Version},
    changes::{Field, changed},
    error::EngineError,
    plans::json,
    precondition::{Expected, Tag},
};
use proviso_ledger::ids::{Digest, Name};
use proviso_policy::PolicyError;
use proviso_store::{PolicyRow, PolicyVersionRow, ReferenceChange};
use std::sync::Arc;

/// What an upload came to.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The version that has these bytes.
    pub version: Arc<Version>,
    /// Whether it is new.
    pub created: bool,
}

impl Engine {
    /// Creates or changes a policy. Returns it and whether it is new.
    ///
    /// # Errors
    /// Another policy than the one that was expected; the store's.
    pub async fn put_policy(
        &self,
        policy: Name,
        description: Field<String>,
        expected: Expected,
    ) -> Result<(Arc<Policy>, bool), EngineError> {
        self.change(|catalog, now| {
            let before = catalog.policies.get(&policy);
            expected.check(|| before.map(|before| Tag::of(&**before)).transpose())?;
            let description = changed(&description, before.map(|before| &before.description), String::new);
            let created_at = before.map_or(now, |before| before.created_at);
            let after = Policy { policy: policy.clone(), description, created_at };
            let row = PolicyRow { policy: policy.clone(), body: json(&after)? };
            let changes = match before {
                Some(before) if **before == after => Vec::new(),
                _ => vec![ReferenceChange::PutPolicy(row)],
            };
            Ok((changes, (Arc::new(after), before.is_none())))
        })
        .await
    }

    /// Inspects, compiles and tries a module, and keeps it as the policy's next version. The same bytes again are the
    /// version that they were. A policy that does not exist is created.
    ///
    /// # Errors
    /// [`EngineError::PolicyRejected`] with all that is wrong.
    pub async fn upload(
        &self,
        policy: Name,
        bytes: Vec<u8>,
        compile_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Uploaded, EngineError> {
        let digest = Digest::of(&bytes);
        let known = self.catalog().versions.get(&policy).and_then(|versions| {
            versions.iter().find(|version| version.digest == digest && !version.deleted).cloned()
        });
        if let Some(version) = known {
            return Ok(Uploaded { version, created: false });
        }
        let runtime = self.shared.runtime.clone();
        let admitted = tokio::task::spawn_blocking(move || {
            let admitted = runtime.admit(&bytes);
            (admitted, bytes, compile_ms())
        });
        let (admitted, bytes, compile_ms) = admitted
            .await
            .map_err(|error| EngineError::Internal(format!("the upload's trial failed: {error}")))?;
        let admitted = admitted.map_err(EngineError::PolicyRejected)?;
        let manifest = admitted.module.manifest().clone();
        self.change(|catalog, now| {
            let versions = catalog.versions.get(&policy).map_or(&[][..], Vec::as_slice);
            if let Some(version) =
                versions.iter().find(|version| version.digest == digest && !version.deleted)
            {
                return Ok((Vec::new(), Uploaded { version: version.clone(), created: false }));
            }
            let version = Version {
                policy: policy.clone(),
                version: u32::try_from(versions.len()).unwrap_or(u32::MAX).saturating_add(1),
                digest,
                size_bytes: bytes.len() as u64,
                manifest: manifest.clone(),
                compile_ms,
                created_at: now,
                deleted: false,
            };
            let mut changes = vec![ReferenceChange::PutModule { digest, bytes: bytes.clone() }];
            if !catalog.policies.contains_key(&policy) {
                let policy =
                    Policy { policy: policy.clone(), description: manifest.summary.clone(), created_at: now };
                changes.insert(
                    0,
                    ReferenceChange::PutPolicy(PolicyRow {
                        policy: policy.policy.clone(),
                        body: json(&policy)?,
                    }),
                );
            }
            changes.push(ReferenceChange::AddPolicyVersion(row(&version)?));
            Ok((changes, Uploaded { version: Arc::new(version), created: true }))
        })
        .await
    }

    /// The largest module that is taken, in bytes.
    #[must_use]
    pub fn most_module_bytes(&self) -> usize {
        usize::try_from(self.shared.runtime.limits().shape.bytes).unwrap_or(usize::MAX)
    }

    /// Deletes a version: it can't be bound any more. Terms that run it keep running, and its module stays, so that
    /// what it decided can be replayed.
    ///
    /// # Errors
    /// An unknown version.
    pub async fn delete_version(&self, policy: Name, version: u32) -> Result<(), EngineError> {
        self.change(|catalog, _| {
            let found = catalog.version(&policy, version).filter(|version| !version.deleted);
            let found = found.ok_or_else(|| EngineError::VersionNotFound(policy.clone(), version))?;
            let row = row(&Version { deleted: true, ..(**found).clone() })?;
            Ok((vec![ReferenceChange::SetPolicyVersion(row)], ()))
        })
        .await
    }

    /// A version's module.
    ///
    /// # Errors
    /// An unknown version.
    pub async fn module_bytes(&self, policy: &Name, version: u32) -> Result<Vec<u8>, EngineError> {
        let catalog = self.catalog();
        let unknown = || EngineError::VersionNotFound(policy.clone(), version);
        let found = catalog.version(policy, version).ok_or_else(unknown)?;
        self.shared.store.module(&found.digest).await?.ok_or_else(unknown)
    }
}

fn row(version: &Version) -> Result<PolicyVersionRow, EngineError> {
    Ok(PolicyVersionRow {
        policy: version.policy.clone(),
        version: version.version,
        digest: version.digest,
        deleted: version.deleted,
        body: json(version)?,
    })
}

impl From<PolicyError> for EngineError {
    fn from(error: PolicyError) -> Self {
        Self::Module(error.to_string())
    }
}
