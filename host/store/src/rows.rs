//! The rows that go into a store and come out of it: plain data with typed keys. Bodies, states and profiles are JSON
//! text that other crates write and read; a store never looks into them.

use proviso_ledger::{
    ids::{CustomerId, Digest, Name, Seq},
    time::Timestamp,
};

/// The first 16 bytes of the SHA-256 of an idempotency key.
pub type KeyHash = [u8; 16];

/// An entry to append to a customer's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Whose journal.
    pub customer: CustomerId,
    /// One more than the customer's last entry, 1 for the first.
    pub seq: Seq,
    /// When; never earlier than the customer's last entry.
    pub at: Timestamp,
    /// The idempotency key that this entry answers.
    pub key_hash: Option<KeyHash>,
    /// The chained SHA-256.
    pub hash: [u8; 32],
    /// The entry, JSON.
    pub body: String,
}

/// An entry as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number in the customer's journal.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// The chained SHA-256.
    pub hash: [u8; 32],
    /// The entry, JSON.
    pub body: String,
}

/// A further idempotency key that an entry answers (a repeat that was counted in it, a second key of one command).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose key.
    pub customer: CustomerId,
    /// The key; it must be new.
    pub key_hash: KeyHash,
    /// The entry, which exists or comes with the same batch.
    pub seq: Seq,
}

/// A customer's folded state, kept so that a load need not fold the whole journal. A cache: it may be missing, never
/// wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Whose state.
    pub customer: CustomerId,
    /// The last entry that is folded in, which exists or comes with the same batch.
    pub seq: Seq,
    /// That entry's time.
    pub at: Timestamp,
    /// The state, JSON.
    pub state: String,
}

/// A snapshot as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The last entry that is folded in.
    pub seq: Seq,
    /// That entry's time.
    pub at: Timestamp,
    /// The state, JSON.
    pub state: String,
}

/// What lists and the sweeper know of a customer; derived from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRow {
    /// The customer.
    pub customer: CustomerId,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When something is due next without anyone asking (a reset, an expiry).
    pub due_at: Option<Timestamp>,
    /// Whether it takes no new charges.
    pub closed: bool,
    /// What lists show, JSON.
    pub profile: String,
}

/// What one commit writes: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The revision of the reference data that all of this was decided with; none when it does not matter.
    pub revision: Option<u64>,
    /// Entries; those of one customer in the order of their numbers.
    pub entries: Vec<NewEntry>,
    /// Further keys of entries.
    pub keys: Vec<NewKey>,
    /// Snapshots.
    pub snapshots: Vec<NewSnapshot>,
    /// Customers to create or replace.
    pub customers: Vec<CustomerRow>,
    /// New due times of customers that exist or are created above; unknown ones are passed over.
    pub due: Vec<(CustomerId, Option<Timestamp>)>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.keys.is_empty()
            && self.snapshots.is_empty()
            && self.customers.is_empty()
            && self.due.is_empty()
    }
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Written, and it stays written.
    Durable,
    /// Something that had to be new exists already, an entry's number leaves a gap, or the reference data has changed.
    /// Nothing was written: load again and decide again.
    Conflict,
}

/// What is needed to bring a customer's state up to date. Neither snapshot nor tail: nothing is new since the entry
/// that was known; when none was, nobody knows this customer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadedCustomer {
    /// The newest snapshot, when no entry was known.
    pub snapshot: Option<StoredSnapshot>,
    /// Every entry after the snapshot, or after the one that was known, in order.
    pub tail: Vec<StoredEntry>,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Its name.
    pub plan: Name,
    /// The plan, JSON.
    pub body: String,
}

/// Terms of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTermsRow {
    /// The plan.
    pub plan: Name,
    /// Their number among the plan's terms.
    pub number: u64,
    /// The terms, JSON.
    pub body: String,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its name.
    pub policy: Name,
    /// The policy, JSON.
    pub body: String,
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersionRow {
    /// The policy.
    pub policy: Name,
    /// 1 for the first.
    pub version: u32,
    /// The module that it runs.
    pub digest: Digest,
    /// Whether it may no longer be bound. Its module stays, so that what it decided can be replayed.
    pub deleted: bool,
    /// The version, JSON.
    pub body: String,
}

/// A key to the API. The secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its id.
    pub id: Name,
    /// SHA-256 of the secret; unique.
    pub secret_hash: [u8; 32],
    /// Scopes and the like, JSON.
    pub body: String,
}

/// The small tables that every host keeps in memory, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// Moves up by one with each change.
    pub revision: u64,
    /// By key.
    pub plans: Vec<PlanRow>,
    /// By plan and number.
    pub plan_terms: Vec<PlanTermsRow>,
    /// By key.
    pub policies: Vec<PolicyRow>,
    /// By policy and version.
    pub policy_versions: Vec<PolicyVersionRow>,
    /// By id.
    pub api_keys: Vec<ApiKeyRow>,
}

/// One change of reference data. `Put` creates or replaces, `Add` conflicts with a row that exists, `Set` with one
/// that does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceChange {
    /// Creates or replaces a plan.
    PutPlan(PlanRow),
    /// Adds terms to a plan that exists or is put by an earlier change.
    AddPlanTerms(PlanTermsRow),
    /// Changes terms of a plan.
    SetPlanTerms(PlanTermsRow),
    /// Creates or replaces a policy.
    PutPolicy(PolicyRow),
    /// Keeps a module; one that is kept already stays as it is.
    PutModule {
        /// SHA-256 of the bytes.
        digest: Digest,
        /// The component.
        bytes: Vec<u8>,
    },
    /// Adds a version to a policy and of a module that exist or are put by earlier changes.
    AddPolicyVersion(PolicyVersionRow),
    /// Changes a version; its digest stays as it is.
    SetPolicyVersion(PolicyVersionRow),
    /// Adds a key to the API.
    AddApiKey(ApiKeyRow),
    /// Changes a key's body; its secret stays as it is.
    SetApiKey(ApiKeyRow),
}

/// A management request and what was answered, so that a repeat is answered alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// The idempotency key.
    pub key_hash: KeyHash,
    /// SHA-256 of the request, to tell a repeat from another request under the same key.
    pub request_hash: [u8; 32],
    /// When it was answered.
    pub at: Timestamp,
    /// The HTTP status.
    pub status: u16,
    /// The answer.
    pub body: String,
}
