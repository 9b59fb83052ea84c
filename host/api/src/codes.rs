//! Every code with which a request is refused, once: its status, its title and what it means. The published list, each
//! operation's documented answers and the answers themselves are made from this table.

use std::fmt;

/// Defines the codes. The doc comment of each is its meaning in the published list.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// Why a request is refused, for machines. A code and its meaning never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemCode {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl ProblemCode {
            /// All codes, in the order of the published list.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code as it is sent.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// The kind of problem in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }

            /// What it means and what to do, in a sentence or two.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($meaning),+).trim()),+ }
            }
        }
    };
}

codes! {
    /// The request carries no API key: send `Authorization: Bearer <key>`.
    ApiKeyRequired = "api_key_required", 401, "an API key is required";
    /// The API key is unknown, has expired or was revoked.
    ApiKeyInvalid = "api_key_invalid", 401, "the API key does not work";
    /// The API key lacks the scope that this operation needs.
    ScopeMissing = "scope_missing", 403, "the API key may not do this";
    /// The API key is narrowed to one customer, and this operation belongs to none; or to a prefix of policies, and this is
    /// another one.
    KeyIsNarrowed = "key_is_narrowed", 403, "the API key may not do this";
    /// The API key is narrowed to one customer, and must be created with `may_grant` to decide what that customer gets:
    /// credits, terms, entitlements, another plan, anchor, time zone or attributes.
    KeyMayNotGrant = "key_may_not_grant", 403, "the API key may not do this";

    /// The API key, or the customer, makes more requests than it may: try again after `Retry-After` seconds. In a batch this
    /// is said of each item.
    TooManyRequests = "too_many_requests", 429, "too many requests";

    /// The question would take more work than one request may: ask about fewer customers or features at once.
    TooMuchWork = "too_much_work", 422, "too much is asked at once";

    /// There is no such path.
    RouteNotFound = "route_not_found", 404, "not found";
    /// The path exists, but not with this method; the `Allow` header lists those it has.
    MethodNotAllowed = "method_not_allowed", 405, "method not allowed";
    /// There is no such customer, or the API key is narrowed to another one.
    CustomerNotFound = "customer_not_found", 404, "not found";
    /// There is no such plan.
    PlanNotFound = "plan_not_found", 404, "not found";
    /// The plan has no such version.
    PlanVersionNotFound = "plan_version_not_found", 404, "not found";
    /// There is no such policy.
    PolicyNotFound = "policy_not_found", 404, "not found";
    /// The policy has no such version, or it was deleted.
    VersionNotFound = "version_not_found", 404, "not found";
    /// There are no such terms.
    TermsNotFound = "terms_not_found", 404, "not found";
    /// Neither the customer's plan, nor an add-on, nor an override names this feature.
    FeatureNotFound = "feature_not_found", 404, "not found";
    /// The customer has no such grant.
    GrantNotFound = "grant_not_found", 404, "not found";
    /// The customer has no such entity.
    EntityNotFound = "entity_not_found", 404, "not found";
    /// The customer has no such budget.
    BudgetNotFound = "budget_not_found", 404, "not found";
    /// The customer has no such reservation.
    ReservationNotFound = "reservation_not_found", 404, "not found";
    /// The customer has no such lease.
    LeaseNotFound = "lease_not_found", 404, "not found";
    /// The customer has no such charge.
    ChargeNotFound = "charge_not_found", 404, "not found";
    /// The customer has no such change of plan pending: it took effect, was called off, or another took its place.
    PlanChangeNotFound = "plan_change_not_found", 404, "not found";
    /// No rule says when the customer's credits of that type are topped up.
    AutoTopUpNotFound = "auto_top_up_not_found", 404, "not found";
    /// The customer has no such top-up.
    TopUpNotFound = "top_up_not_found", 404, "not found";
    /// There is no such add-on.
    AddOnNotFound = "add_on_not_found", 404, "not found";
    /// The customer does not have that add-on.
    AddOnNotAttached = "add_on_not_attached", 404, "not found";
    /// There is no such bundle.
    BundleNotFound = "bundle_not_found", 404, "not found";
    /// There is no such promotion. Codes are told apart by upper and lower case.
    PromotionNotFound = "promotion_not_found", 404, "not found";
    /// This host knows no such backtest: another host runs it, it was forgotten, or the host was started since.
    BacktestNotFound = "backtest_not_found", 404, "not found";
    /// There is no such API key.
    ApiKeyNotFound = "api_key_not_found", 404, "not found";

    /// A part of the path is not valid, such as a key with control characters.
    InvalidPath = "invalid_path", 400, "the path is not valid";
    /// A parameter of the query string is unknown or not valid.
    InvalidQuery = "invalid_query", 400, "the query string is not valid";
    /// `cursor` can't be the `next_cursor` of an earlier page. Of which list, with which filters, is not checked.
    InvalidCursor = "invalid_cursor", 400, "the cursor is not valid";
    /// The body is not JSON.
    MalformedJson = "malformed_json", 400, "the body is not JSON";
    /// A field of the body is missing, unknown or not valid; `errors` says which.
    InvalidRequest = "invalid_request", 400, "the request is not valid";
    /// The body's `Content-Type` is not one that this operation takes.
    UnsupportedMediaType = "unsupported_media_type", 415, "the body has another type";
    /// The body is larger than this operation takes.
    BodyTooLarge = "body_too_large", 413, "the body is too large";
    /// The connection broke while the body was read.
    BodyIncomplete = "body_incomplete", 400, "the body is incomplete";
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout", 408, "the body came too slowly";

    /// `Idempotency-Key` is not one value of 1 to 255 visible ASCII characters.
    InvalidIdempotencyKey = "invalid_idempotency_key", 400, "the idempotency key is not valid";
    /// This operation moves credits and needs an `Idempotency-Key`.
    IdempotencyKeyRequired = "idempotency_key_required", 400, "an idempotency key is required";
    /// This `Idempotency-Key` was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "the idempotency key was used before";
    /// `If-Match` names a state that is no longer in force: read again, then decide.
    ChangedMeanwhile = "changed_meanwhile", 412, "it was changed meanwhile";

    /// This operation has nothing that `If-Match` could be compared with: leave the header out.
    PreconditionUnsupported = "precondition_unsupported", 412, "the precondition can't be checked";
    /// `occurred_at` is over 5 minutes ahead of the host's clock.
    OccurredAtInFuture = "occurred_at_in_future", 400, "the usage lies in the future";
    /// `occurred_at` is before the window for late usage.
    OccurredAtTooOld = "occurred_at_too_old", 400, "the usage lies too far back";
    /// The customer is closed: its ledger stays readable, nothing new is taken.
    CustomerClosed = "customer_closed", 409, "the customer is closed";
    /// The customer exists and is not as the import has it: an import changes no customer that exists. Leave its line out, or
    /// make it the same.
    CustomerExists = "customer_exists", 409, "the customer exists";
    /// No terms are in force for the customer, so nothing can be rated.
    NoTermsInForce = "no_terms_in_force", 409, "nothing can be rated";
    /// The reservation was committed, released or has expired.
    ReservationClosed = "reservation_closed", 409, "the reservation is closed";
    /// The extension would hold the credits for more than seven days in all: commit the reservation, or release it and reserve again.
    ReservationTooLong = "reservation_too_long", 409, "the reservation can't be held that long";
    /// The lease was closed or has expired. Usage under it can still be settled; open another for what is to come.
    LeaseClosed = "lease_closed", 409, "the lease is closed";
    /// The extension would make the lease last more than seven days in all: settle it, and open another.
    LeaseTooLong = "lease_too_long", 409, "the lease can't last that long";
    /// The grant was voided, has expired or was used up.
    GrantClosed = "grant_closed", 409, "the grant is closed";
    /// The top-up was answered before, or is awaited no more and another was asked for since. Money that was taken for it has to be
    /// given back, or its credits granted by hand.
    TopUpClosed = "top_up_closed", 409, "the top-up is closed";
    /// A top-up of the rule awaits its payment: answer it first, or switch the rule off with `enabled`.
    TopUpPending = "top_up_pending", 409, "a top-up is pending";
    /// The add-on is not for sale any more: list the add-ons, and offer another one. Who has it keeps it.
    AddOnWithdrawn = "add_on_withdrawn", 409, "the add-on is not for sale";
    /// That version of the add-on is not the newest: read the add-on, and name its `version`.
    AddOnVersionNotSold = "add_on_version_not_sold", 409, "the version is not for sale";
    /// The bundle is not for sale any more: list the bundles, and offer another one.
    BundleWithdrawn = "bundle_withdrawn", 409, "the bundle is not for sale";
    /// The customer has redeemed the promotion before: each customer may once. The ledger has the entry, of type
    /// `promotion_redeemed`.
    AlreadyRedeemed = "already_redeemed", 409, "the promotion was redeemed before";
    /// The promotion begins later; the detail says when.
    PromotionNotStarted = "promotion_not_started", 409, "the promotion has not begun";
    /// The promotion is over.
    PromotionEnded = "promotion_ended", 409, "the promotion has ended";
    /// The promotion was redeemed as often as it may be, by all customers together. A higher `max_redemptions` lets more redeem it.
    PromotionExhausted = "promotion_exhausted", 409, "the promotion is used up";
    /// The promotion is for the customers of other plans, which it lists in `plans`.
    PromotionNotForPlan = "promotion_not_for_plan", 409, "the promotion is for other plans";
    /// The terms ended before.
    TermsEnded = "terms_ended", 409, "the terms have ended";
    /// The terms decide: only a shadow has a report of what it would have changed.
    NotAShadow = "not_a_shadow", 409, "the terms are no shadow";
    /// The terms are no canary: they were bound for all of the plan's customers.
    NotACanary = "not_a_canary", 409, "the terms are no canary";
    /// Another canary of the plan is under way: end it, or raise its share to 100 percent, first.
    CanaryRunning = "canary_running", 409, "a canary is under way";
    /// No terms decide for the customers that the canary would leave out: bind some to the plan first.
    CanaryAlone = "canary_alone", 409, "the canary replaces nothing";
    /// A canary's share only grows. To take it back, end the terms.
    CanaryShareLower = "canary_share_lower", 409, "the share would shrink";
    /// The customer has as many of these as it may have.
    TooMany = "too_many", 409, "the customer has too many of these";
    /// What is kept of the customer in things of this kind would take too many bytes: end, void or take back some, or send less.
    TooLarge = "too_large", 409, "the customer has too much of this";
    /// An adjustment would take more than is available.
    AdjustmentExceedsAvailable = "adjustment_exceeds_available", 409, "less is available";
    /// A refund would give back more than is left of the charge.
    RefundExceedsCharge = "refund_exceeds_charge", 409, "less is left of the charge";
    /// The charge's lines do not say what the quantities cost: refund an amount, or all quantities in equal parts.
    RefundNotDivisible = "refund_not_divisible", 422, "the quantities' cost is not known";
    /// The customer has no plan with an interval, so there is no period to reset.
    NoPeriod = "no_period", 409, "there is no period to reset";
    /// The customer is on that plan already.
    PlanUnchanged = "plan_unchanged", 409, "the customer is on that plan";
    /// The customer's trial of that plan is over, and its end moved the customer on.
    TrialUsed = "trial_used", 409, "the customer had the plan's trial";
    /// The customer awaits another plan, which a move to another version at the end of the period would call off.
    PlanChangePending = "plan_change_pending", 409, "a change to another plan is pending";
    /// A change of plan can't wait for the end of a period, since no period of the customer ends by itself.
    NoPeriodEnd = "no_period_end", 409, "no period ends by itself";
    /// A plan's interval can't change, since periods are counted by it.
    PlanIntervalFixed = "plan_interval_fixed", 409, "the plan's interval is fixed";
    /// A contract's start and end stay through amendments.
    ContractFixed = "contract_fixed", 409, "the contract's times are fixed";
    /// Entities stand below the entity, or a budget names it: move or take those back first.
    EntityInUse = "entity_in_use", 409, "the entity is in use";
    /// Nothing of that period was left undone, or it is past making good.
    NothingMissed = "nothing_missed", 409, "there is nothing to make good";
    /// The terms in force still fail for that period.
    StillFails = "still_fails", 409, "the terms still fail";
    /// A newer host wrote for this customer; this one has to be upgraded. Another host can answer.
    NewerFormat = "newer_format", 503, "a newer host is needed";
    /// Older hosts are at work that could not read what this would write. Try again once all hosts are upgraded.
    UpgradeUnfinished = "upgrade_unfinished", 503, "hosts have to be upgraded first";
    /// A total of the customer would go out of range.
    TotalOutOfRange = "total_out_of_range", 422, "a total would go out of range";
    /// The test clock only moves forward.
    ClockGoesBack = "clock_goes_back", 409, "the clock only moves forward";

    /// Too few credits are available, and the terms allow no overage for the rest.
    InsufficientCredits = "insufficient_credits", 402, "too few credits are available";
    /// The terms ask for a purchase first; `offers` lists what may be bought.
    PurchaseRequired = "purchase_required", 402, "a purchase is required";
    /// A hard budget does not allow the usage: `budget` and `level` say which, `remaining` what is left of it, and `retry_at` when
    /// its window opens again.
    BudgetExceeded = "budget_exceeded", 402, "a budget is exceeded";
    /// The policy refuses the usage. Policies may answer codes of their own in its place.
    PolicyDenied = "policy_denied", 402, "the policy refuses the usage";
    /// The policy in force failed, and its terms name nothing that decides in its place.
    PolicyFault = "policy_fault", 402, "the policy in force failed";
    /// The customer's plan, an add-on, or an override switches the feature off.
    NotEntitled = "not_entitled", 402, "the feature is switched off";

    /// The policy refuses the settings; `errors` says which.
    SettingsInvalid = "settings_invalid", 422, "the policy refuses these settings";
    /// This host takes signed modules only: send the header `Proviso-Signature`.
    SignatureRequired = "signature_required", 422, "the module must be signed";
    /// `Proviso-Signature` is not a signature of this module by a key that the host was given.
    SignatureInvalid = "signature_invalid", 422, "the signature is not valid";
    /// The module is refused; `errors` says what is wrong and where.
    PolicyRejected = "policy_rejected", 422, "the module is refused";

    /// A defect of the host; what happened is in its log, under the answer's `X-Request-Id`.
    InternalError = "internal_error", 500, "something went wrong inside";
    /// Too many requests wait already. Try again shortly.
    Overloaded = "overloaded", 503, "try again shortly";
    /// Other hosts kept writing the same customer first. Try again shortly.
    Contention = "contention", 503, "try again shortly";
    /// The host is shutting down. Try again, at another host or shortly.
    ShuttingDown = "shutting_down", 503, "try again shortly";
    /// The database can't be used at the moment. Try again shortly.
    StorageUnavailable = "storage_unavailable", 503, "try again shortly";
    /// The host still answers but is about to end: send new requests to another one.
    Draining = "draining", 503, "the host is about to end";
}

/// What answers say in the place of a code, which a policy's refusal must not say.
const NO_REFUSALS: [&str; 3] = ["ok", "switched_off", "closed"];

impl ProblemCode {
    /// The status of a problem with something that the body names, not the path: a plan that the path names and that
    /// does not exist is 404, one that the body names is 422.
    pub const NAMED_BY_BODY: u16 = 422;

    /// Whether a policy may refuse a usage with it. The others promise what only the host can say: a status, a budget, offers, a
    /// fault.
    #[must_use]
    pub const fn may_be_a_policys(self) -> bool {
        matches!(self, Self::InsufficientCredits | Self::PolicyDenied)
    }

    /// The code that a refusal is answered with: `Err` with a policy's own one, which is answered as it is. A policy's that is the
    /// name of another problem here is answered as [`PolicyDenied`](Self::PolicyDenied).
    pub fn of_refusal(code: &str, by_policy: bool) -> Result<Self, &str> {
        match Self::parse(code) {
            None if by_policy && NO_REFUSALS.contains(&code) => Ok(Self::PolicyDenied),
            None => Err(code),
            Some(listed) if by_policy && !listed.may_be_a_policys() => Ok(Self::PolicyDenied),
            Some(listed) => Ok(listed),
        }
    }

    /// The code with this text; `None` for a policy's own code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The published list, as the rows of a Markdown table.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| code | status | meaning |\n| --- | --- | --- |\n");
    for code in ProblemCode::ALL {
        text.push_str(&format!("| `{code}` | {} | {} |\n", code.status(), code.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_described() {
        let mut seen = BTreeSet::new();
        for &code in ProblemCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands for two problems");
            assert_eq!(ProblemCode::parse(code.as_str()), Some(code));
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(code.meaning().ends_with('.') && !code.title().is_empty(), "{code}: {}", code.meaning());
        }
        assert_eq!(ProblemCode::parse("a_policys_own"), None);
    }

    #[test]
    fn a_policys_code_is_no_other_problem() {
        for (code, by_policy, answered) in [
            ("cap_reached", true, "cap_reached"),
            ("insufficient_credits", true, "insufficient_credits"),
            ("policy_denied", true, "policy_denied"),
            ("api_key_invalid", true, "policy_denied"),
            ("budget_exceeded", true, "policy_denied"),
            ("policy_fault", true, "policy_denied"),
            ("ok", true, "policy_denied"),
            ("ok", false, "ok"),
            ("budget_exceeded", false, "budget_exceeded"),
            ("policy_fault", false, "policy_fault"),
        ] {
            let shown = ProblemCode::of_refusal(code, by_policy).map_or_else(|own| own, ProblemCode::as_str);
            assert_eq!(shown, answered, "{code}");
        }
    }

    #[test]
    fn the_page_lists_every_code() {
        let page = include_str!("../../../docs/problems.md");
        assert!(page.contains(&markdown()), "docs/problems.md must contain this table:\n{}", markdown());
    }
}
