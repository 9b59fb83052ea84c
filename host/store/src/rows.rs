//! The rows that a store writes and reads: plain data with typed keys. Bodies, states, profiles and answers are JSON text
//! that other crates write and read; a store never parses them.

use proviso_ledger::model::{
    ids::{CustomerId, Digest, Name, Seq},
    time::Timestamp,
};

/// The first 16 bytes of the SHA-256 of an idempotency key.
pub type KeyHash = [u8; 16];

/// An entry to append to a customer's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Whose journal it is appended to.
    pub customer: CustomerId,
    /// One more than the customer's last entry, 1 for the first.
    pub seq: Seq,
    /// Never earlier than the customer's last entry.
    pub at: Timestamp,
    /// The idempotency key that this entry answers.
    pub key_hash: Option<KeyHash>,
    /// SHA-256, chained to the entry before.
    pub hash: [u8; 32],
    /// JSON.
    pub body: String,
}

/// An entry as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number in the customer's journal.
    pub seq: Seq,
    /// As it was appended.
    pub at: Timestamp,
    /// SHA-256, chained to the entry before.
    pub hash: [u8; 32],
    /// JSON.
    pub body: String,
}

/// A further idempotency key that an entry answers (a repeat that was counted in it, a second key of one command).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose journal the entry is in.
    pub customer: CustomerId,
    /// Must not exist yet.
    pub key_hash: KeyHash,
    /// An entry that exists or is in the same batch.
    pub seq: Seq,
}

/// A customer's folded state, so that a load need not fold the whole journal. It is a cache: any may be missing, and
/// hosts that write different formats keep theirs side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Whose state it is.
    pub customer: CustomerId,
    /// The format of `state`. Only who asks for this format reads the snapshot.
    pub format: u32,
    /// The last entry that is folded in, which exists or is in the same batch.
    pub seq: Seq,
    /// That entry's time.
    pub at: Timestamp,
    /// JSON.
    pub state: String,
}

/// A snapshot of the format that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The format of `state`.
    pub format: u32,
    /// The last entry that is folded in.
    pub seq: Seq,
    /// That entry's time.
    pub at: Timestamp,
    /// JSON.
    pub state: String,
}

/// What lists and the sweeper know of a customer; derived from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRow {
    /// Its key.
    pub customer: CustomerId,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When something is due next without anyone asking (a reset, an expiry).
    pub due_at: Option<Timestamp>,
    /// Whether it takes no new charges.
    pub closed: bool,
    /// Its plan, and the version of that which it was sold.
    pub plan: Option<(Name, u32)>,
    /// Whether a top-up awaits its payment.
    pub awaits_payment: bool,
    /// What lists show, JSON.
    pub profile: String,
}

/// What one commit writes, as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The catalog's revision that all of this was decided with; None when any will do.
    pub revision: Option<u64>,
    /// Those of one customer are in the order of their numbers.
    pub entries: Vec<NewEntry>,
    /// Further keys of entries.
    pub keys: Vec<NewKey>,
    /// Customers without entries here, and the number that the last entry of each must still have.
    pub unchanged: Vec<(CustomerId, Seq)>,
    /// Replace snapshots of the same format and entry.
    pub snapshots: Vec<NewSnapshot>,
    /// Customers to create or replace.
    pub customers: Vec<CustomerRow>,
    /// New due times of customers that exist or are created above; unknown customers are ignored.
    pub due: Vec<(CustomerId, Option<Timestamp>)>,
}

impl Batch {
    /// Whether there is nothing to write; then nothing need hold, either.
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
    /// Written, and durable.
    Durable,
    /// Something that had to be new exists already, an entry's number leaves a gap, or the catalog has changed. Nothing
    /// was written: load again and decide again.
    Conflict,
}

/// What is needed to bring a customer's state up to date. With neither snapshot nor entries, nothing is newer than the
/// entry that was known, or, when none was, the customer does not exist.
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
    /// Its key.
    pub plan: Name,
    /// JSON.
    pub body: String,
}

/// A version of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanVersionRow {
    /// Its plan.
    pub plan: Name,
    /// 1 for the first.
    pub version: u32,
    /// JSON.
    pub body: String,
}

/// Terms of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTermsRow {
    /// Its plan.
    pub plan: Name,
    /// The number among the plan's terms.
    pub number: u64,
    /// JSON.
    pub body: String,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its key.
    pub policy: Name,
    /// JSON.
    pub body: String,
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersionRow {
    /// Its policy.
    pub policy: Name,
    /// 1 for the first.
    pub version: u32,
    /// SHA-256 of the module that it runs.
    pub digest: Digest,
    /// Whether it may no longer be bound. Its module stays, so that what it decided can be replayed.
    pub deleted: bool,
    /// JSON.
    pub body: String,
}

/// An API key. The secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its id.
    pub id: Name,
    /// SHA-256 of the secret; unique.
    pub secret_hash: [u8; 32],
    /// Scopes and the like, JSON.
    pub body: String,
}

/// A kind of what is sold beside plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProductKind {
    /// Entitlements and grants on top of a plan.
    AddOn,
    /// A pack of credits.
    Bundle,
    /// Credits for a code.
    Promotion,
}

impl ProductKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::AddOn, Self::Bundle, Self::Promotion];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddOn => "add_on",
            Self::Bundle => "bundle",
            Self::Promotion => "promotion",
        }
    }
}

/// Something that is sold beside plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductRow {
    /// What it is.
    pub kind: ProductKind,
    /// Its key, among those of its kind.
    pub product: Name,
    /// JSON.
    pub body: String,
}

/// Rows of the small tables that every host keeps in memory, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogRows {
    /// Increases by one with each change.
    pub revision: u64,
    /// By key.
    pub plans: Vec<PlanRow>,
    /// By plan and version.
    pub plan_versions: Vec<PlanVersionRow>,
    /// By plan and number.
    pub plan_terms: Vec<PlanTermsRow>,
    /// By key.
    pub policies: Vec<PolicyRow>,
    /// By policy and version.
    pub policy_versions: Vec<PolicyVersionRow>,
    /// By id.
    pub api_keys: Vec<ApiKeyRow>,
    /// By kind and key, each with the revision that wrote it.
    pub products: Vec<(ProductRow, u64)>,
}

/// One change of the catalog. `Put` creates or replaces, `Add` conflicts with a row that exists, `Set` conflicts when
/// there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogChange {
    /// Creates or replaces a plan.
    PutPlan(PlanRow),
    /// Adds a version to a plan that exists or is put by an earlier change.
    AddPlanVersion(PlanVersionRow),
    /// Adds terms to a plan that exists or is put by an earlier change.
    AddPlanTerms(PlanTermsRow),
    /// Changes terms of a plan.
    SetPlanTerms(PlanTermsRow),
    /// Creates or replaces a policy.
    PutPolicy(PolicyRow),
    /// Stores a module; one that is stored already stays as it is.
    PutModule {
        /// SHA-256 of the bytes.
        digest: Digest,
        /// The component, as uploaded.
        bytes: Vec<u8>,
    },
    /// Adds a version to a policy and of a module that exist or are put by earlier changes.
    AddPolicyVersion(PolicyVersionRow),
    /// Changes a version; its digest stays as it is.
    SetPolicyVersion(PolicyVersionRow),
    /// Adds an API key.
    AddApiKey(ApiKeyRow),
    /// Changes a key's body; its secret stays as it is.
    SetApiKey(ApiKeyRow),
    /// Creates or replaces something that is sold beside plans.
    PutProduct(ProductRow),
    /// Records a change: numbered after the last one that was recorded.
    AddAudit(AuditRow),
}

/// What a change of the catalog was, who made it and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it was made.
    pub at: Timestamp,
    /// The id of the API key that asked; empty when the host's own configuration did.
    pub actor: String,
    /// What kind of change, such as `plan_changed`.
    pub kind: String,
    /// What was changed, such as `plan/pro`.
    pub subject: String,
    /// JSON: from what to what.
    pub body: String,
}

/// Which recorded changes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only changes by this API key.
    pub actor: Option<String>,
    /// Only changes of this kind.
    pub kind: Option<String>,
    /// Only changes that were made at this time or later...
    pub from: Timestamp,
    /// ...and before this time.
    pub to: Timestamp,
    /// Only those numbered above it.
    pub after: u64,
    /// Only those numbered below it.
    pub before: u64,
    /// Whether the oldest come first.
    pub oldest_first: bool,
    /// How many at most.
    pub limit: u32,
}

impl Default for AuditQuery {
    /// All of them, newest first.
    fn default() -> Self {
        Self {
            actor: None,
            kind: None,
            from: Timestamp(i64::MIN),
            to: Timestamp(i64::MAX),
            after: 0,
            before: u64::MAX,
            oldest_first: false,
            limit: u32::MAX,
        }
    }
}

/// The answer to a request that changed the catalog, so that a repeat of the request gets the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The request's idempotency key.
    pub key_hash: KeyHash,
    /// SHA-256 of the request, which tells a repeat from another request with the same key.
    pub request_hash: [u8; 32],
    /// When it was answered.
    pub at: Timestamp,
    /// JSON.
    pub answer: String,
}
