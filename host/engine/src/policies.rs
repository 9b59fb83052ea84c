//! Policies: names, and versions that are uploaded, tried and kept for ever by the digest of their bytes.

use crate::{
    catalog::{Catalog, Policy, Version},
    changes::json,
    engine::Engine,
    error::EngineError,
    shared::Shared,
    signatures::{self, ModuleSignature},
};
use proviso_decide::{
    change::Change,
    policy::Policy as _,
    precondition::{Expected, Tag},
};
use proviso_ledger::model::{
    answers::Manifest,
    ids::{Digest, Name},
    resources::ResourceClass,
    time::Timestamp,
};
use proviso_policy::PolicyError;
use proviso_store::{CatalogChange, PolicyRow, PolicyVersionRow};
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
        description: Change<String>,
        class: Change<ResourceClass>,
        expected: Expected,
    ) -> Result<(Arc<Policy>, bool), EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.put_policy(policy, description, class, expected).await }).await
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
        self.upload_signed(policy, bytes, None, compile_ms).await
    }

    /// The same, with the module's signature. Where the host was given keys, it is verified before anything else is done with the
    /// module; elsewhere it is not looked at.
    ///
    /// # Errors
    /// [`EngineError::SignatureRequired`] and [`EngineError::SignatureInvalid`]; [`EngineError::PolicyRejected`] with all that is wrong.
    pub async fn upload_signed(
        &self,
        policy: Name,
        bytes: Vec<u8>,
        signature: Option<ModuleSignature>,
        compile_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Uploaded, EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.upload(policy, bytes, signature, compile_ms).await }).await
    }

    /// The largest module that is taken of any policy, in bytes.
    #[must_use]
    pub fn most_module_bytes(&self) -> usize {
        usize::try_from(self.shared.runtime.limits().shape(ResourceClass::Large).bytes).unwrap_or(usize::MAX)
    }

    /// Deletes a version: it can't be bound any more. Terms that run it keep running, and its module stays, so that
    /// what it decided can be replayed.
    ///
    /// # Errors
    /// An unknown version, or another than was expected.
    pub async fn delete_version(
        &self,
        policy: Name,
        version: u32,
        expected: Expected,
    ) -> Result<(), EngineError> {
        let shared = self.shared.clone();
        self.changes.run(async move { shared.delete_version(policy, version, expected).await }).await
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

impl Shared {
    async fn put_policy(
        &self,
        policy: Name,
        description: Change<String>,
        class: Change<ResourceClass>,
        expected: Expected,
    ) -> Result<(Arc<Policy>, bool), EngineError> {
        self.change(|catalog, now| {
            let before = catalog.policies.get(&policy);
            expected.check(|| before.map(|before| Tag::of(&**before)).transpose())?;
            let (changes, after) = policy_rows(catalog, &policy, description.clone(), class, now)?;
            Ok((changes, (after, before.is_none())))
        })
        .await
    }

    async fn upload(
        &self,
        policy: Name,
        bytes: Vec<u8>,
        signature: Option<ModuleSignature>,
        compile_ms: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Uploaded, EngineError> {
        let digest = Digest::of(&bytes);
        let signed_by = signatures::verify(self.options.policy_keys.as_deref(), &digest, signature.as_ref())?;
        if let Some(version) = live_version(&self.catalog.load(), &policy, digest) {
            return Ok(Uploaded { version, created: false });
        }
        let class =
            self.catalog.load().policies.get(&policy).map_or_else(Default::default, |policy| policy.class);
        let runtime = self.runtime.clone();
        let admitted = tokio::task::spawn_blocking(move || {
            let admitted = runtime.admit_in(class, &bytes);
            (admitted, bytes, compile_ms())
        });
        let (admitted, bytes, compile_ms) = admitted
            .await
            .map_err(|error| EngineError::Internal(format!("the upload's trial failed: {error}")))?;
        let admitted = admitted.map_err(|error| match error {
            PolicyError::Rejected(rejection) => EngineError::PolicyRejected(rejection),
            PolicyError::Busy => EngineError::Overloaded,
            other => EngineError::Internal(format!("a module can't be tried: {other}")),
        })?;
        let manifest = admitted.module.manifest().clone();
        self.change(|catalog, now| {
            if let Some(version) = live_version(catalog, &policy, digest) {
                return Ok((Vec::new(), Uploaded { version, created: false }));
            }
            let versions = catalog.versions.get(&policy).map_or(0, Vec::len);
            let version = Version {
                policy: policy.clone(),
                version: u32::try_from(versions).unwrap_or(u32::MAX).saturating_add(1),
                digest,
                size_bytes: bytes.len() as u64,
                manifest: manifest.clone(),
                compile_ms,
                created_at: now,
                signed_by: signed_by.clone(),
                deleted: false,
            };
            let changes = add_version(catalog, &version, &bytes)?;
            Ok((changes, Uploaded { version: Arc::new(version), created: true }))
        })
        .await
    }

    async fn delete_version(
        &self,
        policy: Name,
        version: u32,
        expected: Expected,
    ) -> Result<(), EngineError> {
        self.change(|catalog, _| {
            let found = catalog.version(&policy, version);
            let found = found.ok_or_else(|| EngineError::VersionNotFound(policy.clone(), version))?;
            expected.check(|| version_tag(found).map(Some))?;
            if found.deleted {
                return Ok((Vec::new(), ()));
            }
            let row = row(&Version { deleted: true, ..(**found).clone() })?;
            Ok((vec![CatalogChange::SetPolicyVersion(row)], ()))
        })
        .await
    }
}

/// The tag of a version as it is.
///
/// # Errors
/// A version that can't be written as JSON.
pub fn version_tag(version: &Version) -> Result<Tag, proviso_decide::DecideError> {
    Tag::of(&(&version.policy, version.version, &version.digest, version.deleted))
}

/// The policy's version that has this module.
fn live_version(catalog: &Catalog, policy: &Name, digest: Digest) -> Option<Arc<Version>> {
    let mut versions = catalog.versions.get(policy)?.iter();
    versions.find(|version| version.digest == digest && !version.deleted).cloned()
}

/// What is written for a new version: its module and its row, after its policy's where that is new.
fn add_version(
    catalog: &Catalog,
    version: &Version,
    bytes: &[u8],
) -> Result<Vec<CatalogChange>, EngineError> {
    let mut changes = Vec::new();
    if !catalog.policies.contains_key(&version.policy) {
        let Version { policy, manifest: Manifest { summary, .. }, created_at, .. } = version;
        let (policy, description) = (policy.clone(), summary.clone());
        let class = ResourceClass::Default;
        changes.push(put_policy(&Policy { policy, description, class, created_at: *created_at })?);
    }
    changes.push(CatalogChange::PutModule { digest: version.digest, bytes: bytes.to_vec() });
    changes.push(CatalogChange::AddPolicyVersion(row(version)?));
    Ok(changes)
}

/// The rows that a change of a policy writes, and the policy after it.
pub(crate) fn policy_rows(
    catalog: &Catalog,
    policy: &Name,
    description: Change<String>,
    class: Change<ResourceClass>,
    now: Timestamp,
) -> Result<(Vec<CatalogChange>, Arc<Policy>), EngineError> {
    let before = catalog.policies.get(policy);
    let description = description.apply(before.map(|before| before.description.clone())).unwrap_or_default();
    let created_at = before.map_or(now, |before| before.created_at);
    let class = class.apply(before.map(|before| before.class)).unwrap_or_default();
    let after = Policy { policy: policy.clone(), description, class, created_at };
    let changes = match before {
        Some(before) if **before == after => Vec::new(),
        _ => vec![put_policy(&after)?],
    };
    Ok((changes, Arc::new(after)))
}

fn put_policy(policy: &Policy) -> Result<CatalogChange, EngineError> {
    Ok(CatalogChange::PutPolicy(PolicyRow { policy: policy.policy.clone(), body: json(policy)? }))
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
