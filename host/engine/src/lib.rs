//! The engine: the one way to write (load, decide, commit, reply) and the use cases around it.
//!
//! It joins the pure ledger with the policies that decide and the store that keeps, and knows nothing of HTTP, SQL or Wasm
//! itself.

mod apply;
mod archive;
mod audit;
mod burndown;
pub mod catalog;
mod changes;
mod checkpoint;
mod clock;
mod customer_terms;
mod dispatcher;
mod engine;
mod entitlements;
mod error;
mod explain;
mod exporting;
mod fault_log;
mod focus;
mod forecast;
mod formats;
mod guesses;
mod health;
mod history;
mod idempotency;
mod keys;
mod lane;
mod ledger;
mod migrations;
mod plan_terms;
mod plans;
mod policies;
mod products;
mod queue;
mod reads;
mod redemptions;
mod refresh;
mod refunds;
mod replay;
mod report;
mod revenue;
mod rollout;
mod rollup;
mod shadow_report;
mod shared;
mod signatures;
mod stats;
mod sweeper;
mod tasks;
mod terms;
mod usage;
mod verify;
mod workers;

pub use apply::{
    Applied, Desired, DesiredPlan, DesiredPolicy, PlannedChange, Remark, canary_under_way, scheduled,
};
pub use archive::{Archived, archive};
pub use audit::{AuditEntry, AuditFilter, AuditPage, CATALOG_KINDS, CUSTOMER_KINDS, acting_as};
pub use burndown::Burndown;
pub use changes::Changed;
pub use checkpoint::{
    CheckpointFile, CheckpointOptions, FileError, Older, PublicKey, SigningKey, checkpoint_file,
};
pub use clock::Clock;
pub use engine::Engine;
pub use entitlements::{EntitlementPage, QueryFuel};
pub use error::EngineError;
pub use exporting::{ExportedUsage, export_id};
pub use focus::{Purchase, PurchasesOfAll};
pub use forecast::{Cases, Forecast};
pub use history::EndedReservation;
pub use keys::NewApiKey;
pub use ledger::{LedgerFilter, LedgerPage};
pub use migrations::{MigratedCustomer, MigrationPage, MigrationPlace, PlanMigration};
pub use plan_terms::PlanTermsChange;
pub use plans::{PlanChange, plan_tag};
pub use policies::{Uploaded, version_tag};
pub use products::{AddOnProductChange, BundleChange, CreditedChange, PromotionChange};
pub use proviso_decide::replay::backtest as backtests;
pub use proviso_decide::{
    DecideError,
    access::Access,
    add_ons::{AddOnChange, add_on_tag},
    budgets::{BudgetChange, EntityChange, budget_tag, entity_tag},
    change::{Change, OverrideChange, customer_tag, standing_override},
    command, importing,
    precondition::{Expected, Subject, Tag},
    selling,
    top_ups::{AutoTopUpChange, auto_top_up_tag},
};
pub use proviso_store::{RedemptionRow, StoreError};
pub use reads::CustomerSummary;
pub use refunds::RefundedCharge;
pub use replay::{BacktestJob, BacktestOf, BacktestOptions, BacktestStatus, CandidateModule, backtest};
pub use replay::{Replay, ReplayDifference, ReplayOptions, replay};
pub use report::{GroupBy, GroupKey, UsageGroup, UsageGroups, UsagePage, UsageReport};
pub use revenue::{Revenue, RevenueBy, RevenuePage, RevenueReport};
pub use rollout::{Affected, Counts, Drift, Rollout, RolloutState};
pub use shadow_report::{Compared, Example, ReportPlace, ShadowOf, ShadowReport};
pub use shared::Options;
pub use signatures::{ModuleSignature, PolicyKey, SignedBy, policy_keys};
pub use stats::EngineStats;
pub use terms::TermsInput;
pub use usage::{Span, UsageOfAll};
pub use verify::{Against, Difference, Newer, Verification, verify};
