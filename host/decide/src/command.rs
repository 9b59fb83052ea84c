//! What can be asked of a customer, and how each is decided.

use crate::{
    DecideError, Journal,
    add_ons::{AddOnChange, add_on_tag},
    budgets::{budget_tag, entity_tag},
    change::{customer_tag, standing_override},
    decider::{Decider, Stop},
    importing::{CustomerImport, Import},
    precondition::{Conditional, Expected, Tag},
    top_ups::auto_top_up_tag,
};
use proviso_ledger::{
    journal::{Intent, RefusalsRepeated},
    model::{
        amounts::Credits,
        grant::CreditType,
        ids::{
            CustomerId, Digest, GrantId, IdempotencyKey, Key, LeaseId, Name, PlanChangeId, ReservationId,
            TermsId, TopUpId,
        },
        terms::TermsDraft,
        time::Timestamp,
    },
    rules::{
        grants::GrantRequest,
        lease::LeaseRequest,
        refund::{RefundRequest, Refundable},
        top_up::TopUpPayment,
    },
    state::{CustomerState, Draft, Origin},
};
use std::sync::Arc;

pub use crate::{
    budgets::{BudgetChange, EntityChange},
    change::{Change, OverrideChange},
    request::{
        ActualUsage, CheckOutcome, CustomerChange, CustomerMigration, CustomerPlanChange, Migrated, Outcome,
        PlanChangePreview, Reply, Ttl, UsageRequest,
    },
    selling::{Purchase, Redemption},
    top_ups::AutoTopUpChange,
};

/// An idempotency key with the digest of the request it came with.
pub type Idempotency = (IdempotencyKey, Digest);

/// A request for one customer.
#[derive(Debug, Clone)]
pub struct Request {
    /// For whom.
    pub customer: CustomerId,
    /// What.
    pub command: Command,
    /// Who asks, under which key.
    pub origin: Origin,
}

/// What is asked. `Check`, `Read`, `Sweep` and a dry run write nothing of their own; what is due by time is written first in any case.
#[derive(Debug, Clone)]
pub enum Command {
    /// Create or change the customer.
    Configure(Box<CustomerChange>),
    /// Change the customer's plan, now or later, or say what that would do.
    ChangePlan(Box<CustomerPlanChange>),
    /// Move the customer to another version of its plan, if it is concerned, or say what that would do.
    Migrate(Box<CustomerMigration>),
    /// Call a pending change of plan off.
    CancelPlanChange(PlanChangeId),
    /// Close the customer.
    Close(Expected),
    /// Bind terms to the customer.
    BindTerms(Box<TermsDraft>),
    /// Another command, where what it is about is as expected.
    Conditional(Box<Conditional>),
    /// Give the customer's terms an end: now, when none is given.
    EndTerms {
        /// The terms.
        id: TermsId,
        /// Their end.
        ends_at: Option<Timestamp>,
        /// What the caller expects to be in force.
        expected: Expected,
    },
    /// Set an entitlement apart from the plan.
    SetOverride(Box<OverrideChange>),
    /// Take a feature's overrides back.
    RemoveOverride(Key, Expected),
    /// Make an entity known, move or change it.
    SetEntity(Box<EntityChange>),
    /// Forget an entity.
    RemoveEntity(Key, Expected),
    /// Put a budget in force or change it.
    SetBudget(Box<BudgetChange>),
    /// Take a budget back.
    RemoveBudget(Key, Expected),
    /// Put the rule for the top-ups of a credit type in force or change it.
    SetAutoTopUp(Box<AutoTopUpChange>),
    /// Take a rule for top-ups back.
    RemoveAutoTopUp(CreditType, Expected),
    /// Give the credits of a top-up that was paid.
    PayTopUp(TopUpId, Box<TopUpPayment>),
    /// Record that the payment of a top-up was declined, and why.
    DeclineTopUp(TopUpId, Option<String>),
    /// Grant credits.
    Grant(Box<GrantRequest>),
    /// Attach an add-on or change it.
    SetAddOn(Box<AddOnChange>),
    /// Take an add-on away; with what it has given, where that is voided.
    EndAddOn {
        /// Which.
        add_on: Name,
        /// Whether what it has given is voided.
        void: bool,
        /// What the caller expects to be in force.
        expected: Expected,
    },
    /// Buy a pack of credits.
    Purchase(Box<Purchase>),
    /// Redeem a promotion. Whoever asks has claimed one of its redemptions for the customer.
    Redeem(Box<Redemption>),
    /// Create the customer as another system had it.
    ImportCustomer(Box<CustomerImport>),
    /// Move something in from another system.
    Import(Box<Import>),
    /// Void what a grant has left.
    Void(GrantId),
    /// Correct a balance.
    Adjust {
        /// The credit type.
        credit: CreditType,
        /// Above zero gives, below takes.
        amount: Credits,
        /// Why.
        reason: String,
    },
    /// End the period now and begin the next.
    Reset {
        /// Whether periods are counted from now on.
        anchor_now: bool,
    },
    /// Make good what a fault left undone when this period began or ended.
    RetryPeriod(u32),
    /// Charge a usage.
    Charge(Box<UsageRequest>),
    /// What a charge would do.
    Check(Box<UsageRequest>),
    /// Set credits aside.
    Reserve(Box<UsageRequest>, Ttl),
    /// Charge a reservation's actual usage.
    Commit(ReservationId, Box<ActualUsage>),
    /// Refund a charge. Whoever asks has read the charge and sees to it that its last refund is the last one.
    Refund(Box<Refundable>, Box<RefundRequest>),
    /// Give a reservation back.
    Release(ReservationId),
    /// Move a reservation's end to so much from now.
    Extend(ReservationId, Ttl),
    /// Hand credits to a client that decides by itself.
    OpenLease(Box<LeaseRequest>, Ttl),
    /// Bring a lease to so many credits in all, and move its end to so much from now.
    ExtendLease(LeaseId, Option<Credits>, Option<Ttl>),
    /// Charge a usage that a client let pass under a lease. Whoever asks has seen that there was such a lease.
    Settle(LeaseId, Box<UsageRequest>),
    /// Take back what was not spent of a lease.
    CloseLease(LeaseId),
    /// Count repeats of a refusal, which were answered with it.
    CountRepeats(RefusalsRepeated),
    /// The state as it is now.
    Read,
    /// What is due, as the sweeper found it.
    Sweep,
}

impl Command {
    /// The command itself, without what is expected.
    #[must_use]
    pub fn unconditional(&self) -> &Self {
        match self {
            Self::Conditional(conditional) => conditional.command.unconditional(),
            command => command,
        }
    }

    /// Whether it writes nothing of its own.
    #[must_use]
    pub fn is_question(&self) -> bool {
        match self {
            Self::Read | Self::Check(_) => true,
            Self::ChangePlan(change) => change.dry_run,
            Self::Migrate(migration) => migration.dry_run,
            Self::Conditional(conditional) => conditional.command.is_question(),
            _ => false,
        }
    }
}

impl Decider<'_> {
    /// Decides one request. Entries for what was due stay valid when the request itself is refused.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn decide(
        &self,
        state: &mut CustomerState,
        request: &Request,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let reply = self.carry_out_command(state, request, journal)?;
        self.raise_top_ups(state, journal)?;
        Ok(reply)
    }

    fn carry_out_command(
        &self,
        state: &mut CustomerState,
        request: &Request,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let exists = state.profile.is_some();
        if !exists && !matches!(request.command, Command::Configure(_) | Command::ImportCustomer(_)) {
            return Err(DecideError::CustomerNotFound(state.customer.clone()).into());
        }
        self.catch_up(state, journal)?;
        let at = self.now.max(state.at);
        if let Command::Conditional(conditional) = &request.command {
            conditional.expected.check(|| conditional.subject.tag(state))?;
        }
        match request.command.unconditional() {
            Command::Read | Command::Sweep => Ok(Reply::State(Arc::new(state.clone()))),
            Command::Check(usage) => self.check(state, usage, at),
            Command::Configure(change) => self.configure(state, change, &request.origin, at, journal),
            Command::ImportCustomer(import) => {
                self.import_customer(state, import, &request.origin, at, journal)
            }
            Command::ChangePlan(change) => self.change_plan(state, change, &request.origin, at, journal),
            Command::Migrate(migration) => self.migrate(state, migration, &request.origin, at, journal),
            Command::Reset { anchor_now } => self.reset(state, *anchor_now, &request.origin, at, journal),
            Command::Close(expected) => {
                expected.check(|| customer_tag(state))?;
                if state.closed {
                    return Ok(Reply::State(Arc::new(state.clone())));
                }
                self.close_customer(state, &request.origin, at, journal)
            }
            Command::RetryPeriod(number) => self.retry(state, *number, &request.origin, at, journal),
            Command::Commit(id, actual) if state.closed => {
                let draft = self.commit_draft(state, *id, actual, at)?;
                self.end_hold_after_closing(state, draft, &request.origin, at, journal)
            }
            Command::Release(id) if state.closed => {
                let draft = state.release(*id)?;
                self.end_hold_after_closing(state, draft, &request.origin, at, journal)
            }
            command @ (Command::Settle(..) | Command::CloseLease(_)) if state.closed => {
                let draft = self.draft(state, command, at)?;
                let draft =
                    draft.ok_or_else(|| DecideError::Internal("a lease without a draft".to_owned()))?;
                self.end_hold_after_closing(state, draft, &request.origin, at, journal)
            }
            command => {
                let Some(mut draft) = self.draft(state, command, at)? else {
                    return Ok(Reply::State(Arc::new(state.clone())));
                };
                draft.origin.clone_from(&request.origin);
                self.top_up_refused(state, &mut draft, at, journal)?;
                if let Some(of) = journal.repeated(&draft, at) {
                    return Ok(Reply::Repeat { of, at });
                }
                let entry = journal.seal(state, at, draft)?;
                Ok(Reply::Entry(Outcome { entry, replayed: false }))
            }
        }
    }

    /// The draft of a command that is one entry; none where what it asks for is in force already.
    pub(crate) fn draft(
        &self,
        state: &CustomerState,
        command: &Command,
        at: Timestamp,
    ) -> Result<Option<Draft>, Stop> {
        Ok(Some(match command {
            Command::Charge(usage) => {
                let usage = self.usage(state, usage, at)?;
                match self.switched_off(state, &usage, Intent::Charge, at)? {
                    Some(refusal) => refusal,
                    None => self.charge(state, usage, at)?,
                }
            }
            Command::Reserve(usage, ttl) => {
                let usage = self.usage(state, usage, at)?;
                match self.switched_off(state, &usage, Intent::Reserve, at)? {
                    Some(refusal) => refusal,
                    None => self.reserve(state, usage, at, ttl.after(at))?,
                }
            }
            Command::Commit(id, actual) => self.commit_draft(state, *id, actual, at)?,
            Command::Refund(of, request) => state.refund(at, of, (**request).clone())?,
            Command::Release(id) => state.release(*id)?,
            Command::Extend(id, ttl) => state.extend_reservation(at, *id, ttl.after(at))?,
            Command::OpenLease(lease, ttl) => state.open_lease(at, (**lease).clone(), ttl.after(at))?,
            Command::ExtendLease(id, amount, ttl) => {
                state.extend_lease(at, *id, *amount, ttl.map(|ttl| ttl.after(at)))?
            }
            Command::Settle(id, usage) => self.settle(state, *id, self.usage(state, usage, at)?, at)?,
            Command::CloseLease(id) => state.end_lease(*id, false)?,
            Command::CountRepeats(repeated) => state.count_repeats(at, *repeated),
            Command::Grant(grant) => state.give(at, (**grant).clone(), &self.grant_terms(state, at))?,
            Command::SetAddOn(change) => match self.set_add_on(state, change, at)? {
                Some(draft) => draft,
                None => return Ok(None),
            },
            Command::EndAddOn { add_on, void, expected } => {
                expected.check(|| add_on_tag(state, add_on, at))?;
                state.end_add_on(at, add_on.clone(), *void)?
            }
            Command::Purchase(purchase) => self.purchase(state, purchase, at)?,
            Command::Redeem(redemption) => self.redeem(state, redemption, at)?,
            Command::Import(import) => self.import(state, import, at)?,
            Command::Void(id) => state.void(*id)?,
            Command::CancelPlanChange(id) => state.cancel_plan_change(*id)?,
            Command::Adjust { credit, amount, reason } => {
                state.adjust(at, credit.clone(), *amount, reason.clone())?
            }
            Command::BindTerms(terms) => state.bind_terms(at, (**terms).clone())?,
            Command::EndTerms { id, ends_at, expected } => {
                let terms = || state.terms.iter().find(|terms| terms.key.id == *id);
                expected.check(|| terms().map(|terms| Tag::of(&**terms)).transpose())?;
                state.end_terms(at, *id, ends_at.unwrap_or(at))?
            }
            Command::SetOverride(change) => match change.apply(state, at)? {
                Some(exception) => state.set_override(exception)?,
                None => return Ok(None),
            },
            Command::RemoveOverride(feature, expected) => {
                expected.check(|| standing_override(state, feature, at).map(Tag::of).transpose())?;
                if !state.overrides.iter().any(|one| &one.feature == feature) {
                    return Ok(None);
                }
                state.remove_override(feature.clone())
            }
            Command::SetEntity(change) => match change.apply(state)? {
                Some(entity) => state.set_entity(change.id.clone(), entity)?,
                None => return Ok(None),
            },
            Command::RemoveEntity(id, expected) => {
                expected.check(|| entity_tag(state, id))?;
                state.remove_entity(id.clone())?
            }
            Command::SetBudget(change) => match change.apply(state)? {
                Some(budget) => state.set_budget(change.id.clone(), budget)?,
                None => return Ok(None),
            },
            Command::RemoveBudget(id, expected) => {
                expected.check(|| budget_tag(state, id))?;
                state.remove_budget(id.clone())?
            }
            Command::SetAutoTopUp(change) => match change.apply(state)? {
                Some(rule) => state.set_auto_top_up(change.credit.clone(), rule)?,
                None => return Ok(None),
            },
            Command::RemoveAutoTopUp(credit, expected) => {
                expected.check(|| auto_top_up_tag(state, credit))?;
                state.remove_auto_top_up(credit.clone())?
            }
            Command::PayTopUp(id, paid) => {
                state.pay_top_up(at, *id, (**paid).clone(), &self.grant_terms(state, at))?
            }
            Command::DeclineTopUp(id, reason) => state.decline_top_up(*id, reason.clone())?,
            Command::Configure(_)
            | Command::ImportCustomer(_)
            | Command::ChangePlan(_)
            | Command::Migrate(_)
            | Command::Close(_)
            | Command::Reset { .. }
            | Command::RetryPeriod(_)
            | Command::Conditional(_)
            | Command::Check(_)
            | Command::Read
            | Command::Sweep => {
                return Err(DecideError::Internal("a command without a draft".to_owned()).into());
            }
        }))
    }

    pub(crate) fn commit_draft(
        &self,
        state: &CustomerState,
        id: ReservationId,
        actual: &ActualUsage,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let (_, reserved, _) = state.reserved_usage(id)?;
        let mut usage = reserved.clone();
        usage.quantities.clone_from(&actual.quantities);
        if let Some(attributes) = &actual.attributes {
            usage.attributes.clone_from(attributes);
        }
        self.commit(state, id, usage, at)
    }
}
