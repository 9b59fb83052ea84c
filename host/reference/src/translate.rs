//! What histories ask and what hosts answer, put into the host's own words and back.

use crate::{
    answer::{Answer, BalanceSnap, Books, CounterAt, GrantSnap, Order, ReservationSnap, Snapshot, Status},
    commands::{BudgetSpec, Change, Command, GrantSpec, Part, TopUpSpec, UsageSpec, When, Who},
    model::grant::imported_part,
    packs::{AddOnSpec, Pack},
    policy::{category, credits, euros, instant},
    settings::{
        AfterTrial, AllowanceRule, Amount, CounterSpec, FEATURES, HOUR, Mode, ONE, OwnGrant, TrialRule, Unit,
        Whose, Window,
    },
};
use proviso_decide::{
    DecideError,
    add_ons::AddOnChange,
    command::{self, ActualUsage, CustomerChange, Reply, Ttl, UsageRequest},
    importing::{Import, Imported, PastUsage},
    precondition::Expected,
    selling::{Credited, Purchase, Redemption},
    top_ups::AutoTopUpChange,
};
use proviso_ledger::{
    journal::{Entry, Event, PlanChangeTime},
    model::{
        amounts::Quantity,
        answers::Allowance,
        counter,
        ids::{GrantId, Key, LeaseId, Name, PlanChangeId, ReservationId, TermsId, TopUpId},
        lease,
        period::{Interval, IntervalUnit},
        plan_grant::{PlanExpiry, PlanGrant, PlanTrial, Recurrence, TrialEnd},
        terms::TermsDraft,
        top_up::Fill,
        transfer::Book,
        view::Expiry,
    },
    rules::{
        grants::GrantRequest,
        importing::{ImportOrigin, ImportedGrant},
        lease::LeaseRequest,
        refund::{Portion, RefundRequest, Refundable},
        rejection::Rejection,
    },
    state::{BudgetState, CustomerState, GrantStatus},
};

/// What a history's plans are called on a host that holds those of several.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub prefix: String,
    /// How many versions each plan had before its first.
    pub before: u32,
}

impl Names {
    pub fn plan(&self, key: &str) -> Name {
        format!("{}{key}", self.prefix).parse().unwrap()
    }

    fn key(&self, plan: &Name) -> String {
        plan.as_str().strip_prefix(&self.prefix).unwrap().to_owned()
    }
}

fn key_name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// How long a plan's periods are.
pub fn interval((unit, count): (Unit, i64)) -> Interval {
    let unit = match unit {
        Unit::Hour => IntervalUnit::Hour,
        Unit::Day => IntervalUnit::Day,
        Unit::Week => IntervalUnit::Week,
        Unit::Month => IntervalUnit::Month,
        Unit::Quarter => IntervalUnit::Quarter,
        Unit::Year => IntervalUnit::Year,
    };
    Interval::new(unit, u16::try_from(count).unwrap()).unwrap()
}

/// The command of an order. `terms` are those that it binds, `refundable` is the charge that it refunds, `versions` says how many a plan
/// has.
pub fn request(
    order: &Order,
    names: &Names,
    terms: Option<TermsDraft>,
    refundable: Option<Refundable>,
    versions: impl Fn(&str) -> u64,
) -> command::Command {
    let after = |delta: i64| instant(order.now + delta);
    let target = order.target.unwrap_or((u64::MAX, 0));
    let grant = GrantId { entry: target.0, index: target.1 };
    let reservation = ReservationId { entry: target.0, index: target.1 };
    match &order.command {
        Command::Pass(_) | Command::Read | Command::BindToPlan { .. } => command::Command::Sweep,
        Command::Configure { plan, zone, anchor, allowance } => {
            command::Command::Configure(Box::new(CustomerChange {
                plan: change(plan, |plan| names.plan(plan)),
                time_zone: change(zone, |zone| zone.parse().unwrap()),
                anchor: change(anchor, |delta| after(*delta)),
                allowance: asked(*allowance),
                ..CustomerChange::default()
            }))
        }
        Command::ChangePlan { plan, when, allowance, dry_run } => {
            command::Command::ChangePlan(Box::new(command::CustomerPlanChange {
                plan: plan.map(|plan| names.plan(plan)),
                version: None,
                when: match when {
                    When::Now => None,
                    When::PeriodEnd => Some(PlanChangeTime::PeriodEnd),
                    When::In(delta) => Some(PlanChangeTime::At(after(*delta))),
                },
                allowance: asked(*allowance),
                dry_run: *dry_run,
            }))
        }
        Command::Sell { .. } => unreachable!("is no request"),
        Command::Migrate { plan, pick, period_end, allowance, dry_run } => {
            command::Command::Migrate(Box::new(command::CustomerMigration {
                plan: names.plan(plan),
                from: None,
                to: names.before + 1 + (*pick % versions(plan)) as u32,
                at_period_end: *period_end,
                allowance: asked(*allowance),
                dry_run: *dry_run,
            }))
        }
        Command::CancelPlanChange => {
            command::Command::CancelPlanChange(PlanChangeId { entry: target.0, index: 0 })
        }
        Command::Bind { .. } => command::Command::BindTerms(Box::new(terms.expect("prepared terms"))),
        Command::EndTerms { ends_in, .. } => command::Command::EndTerms {
            id: TermsId { entry: target.0, index: 0 },
            ends_at: ends_in.map(after),
            expected: Expected::Anything,
        },
        Command::Buy { pack, quantity } => command::Command::Purchase(Box::new(Purchase {
            bundle: key_name(pack.key),
            quantity: *quantity,
            payment: None,
            cost_basis: None,
        })),
        Command::Attach { add_on, quantity, starts_in, lasts } => {
            command::Command::SetAddOn(Box::new(AddOnChange {
                add_on: key_name(add_on.key),
                quantity: command::Change::Set(*quantity),
                version: None,
                starts_at: starts_in
                    .map_or(command::Change::Keep, |delta| command::Change::Set(after(delta))),
                ends_at: lasts.map_or(command::Change::Clear, |delta| command::Change::Set(after(delta))),
                expected: Expected::Anything,
            }))
        }
        Command::Detach { add_on, void } => command::Command::EndAddOn {
            add_on: key_name(add_on.key),
            void: *void,
            expected: Expected::Anything,
        },
        // One that nobody limits is claimed by nobody here.
        Command::Redeem { promotion } => {
            command::Command::Redeem(Box::new(Redemption { promotion: key_name(promotion.key), number: 1 }))
        }
        Command::Grant(spec) => command::Command::Grant(Box::new(grant_request(spec, order.now))),
        Command::ImportGrant { spec, used, voided, allowance } => {
            let part = |percent: u32| credits(imported_part(spec.amount, percent));
            let what = Imported::Grant(Box::new(ImportedGrant {
                grant: grant_request(spec, order.now),
                never_expires: true,
                // More than all of it is refused.
                used: if used + voided > 100 { credits(spec.amount + 1) } else { part(*used) },
                voided: part(*voided),
                allowance: *allowance,
            }));
            import(order, what)
        }
        Command::ImportOverage { credit, amount } => {
            import(order, Imported::Overage(key(credit), credits(*amount)))
        }
        Command::ImportUsage(spec) => {
            let usage = usage_request(spec, order.now);
            let what = PastUsage {
                usage,
                ancestors: None,
                credit: key("credits"),
                cost: credits(spec.units.min(1_000_000)),
                paid: Vec::new(),
                refund: false,
            };
            import(order, Imported::Usage(Box::new(what)))
        }
        Command::Void { .. } => command::Command::Void(grant),
        Command::Adjust { credit, amount } => command::Command::Adjust {
            credit: key(credit),
            amount: credits(*amount),
            reason: "a correction".to_owned(),
        },
        Command::Reset { anchor_now } => command::Command::Reset { anchor_now: *anchor_now },
        Command::Close => command::Command::Close(Expected::Anything),
        Command::Charge(spec) => command::Command::Charge(Box::new(usage_request(spec, order.now))),
        Command::Check(spec) => command::Command::Check(Box::new(usage_request(spec, order.now))),
        Command::Reserve(spec, ttl) => {
            command::Command::Reserve(Box::new(usage_request(spec, order.now)), Ttl::new(*ttl).unwrap())
        }
        Command::Commit { .. } => command::Command::Commit(
            reservation,
            Box::new(ActualUsage {
                quantities: vec![("units".to_owned(), Quantity::from_units(order.units))],
                attributes: None,
            }),
        ),
        Command::Release { .. } => command::Command::Release(reservation),
        Command::Refund { part, reissue, .. } => match refundable {
            Some(charge) => command::Command::Refund(
                Box::new(charge),
                Box::new(refund_request(order.units, *part, *reissue)),
            ),
            None => command::Command::Sweep,
        },
        Command::Lease(spec) => {
            let lease = lease::Lease {
                amount: credits(spec.amount),
                features: spec.features.iter().map(|feature| key(feature)).collect(),
                entity: spec.entity.map(key),
            };
            let request = LeaseRequest { credit: key(spec.credit), lease };
            command::Command::OpenLease(Box::new(request), Ttl::new(spec.ttl).unwrap())
        }
        Command::ExtendLease { amount, ttl, .. } => command::Command::ExtendLease(
            LeaseId::of_hold(reservation),
            amount.map(credits),
            ttl.map(|ttl| Ttl::new(ttl).unwrap()),
        ),
        Command::CloseLease { .. } => command::Command::CloseLease(LeaseId::of_hold(reservation)),
        Command::Settle { usage, .. } => {
            let usage = Box::new(usage_request(usage, order.now));
            command::Command::Settle(LeaseId::of_hold(reservation), usage)
        }
        Command::Extend { ttl, .. } => command::Command::Extend(reservation, Ttl::new(*ttl).unwrap()),
        Command::SetEntity { entity, parent } => {
            command::Command::SetEntity(Box::new(command::EntityChange {
                id: key(entity),
                parent: parent.map_or(command::Change::Clear, |parent| command::Change::Set(key(parent))),
                attributes: command::Change::Keep,
                expected: Expected::Anything,
            }))
        }
        Command::SetBudget { id, spec } => {
            command::Command::SetBudget(Box::new(budget_change(key(id), spec)))
        }
        Command::RemoveBudget { id } => command::Command::RemoveBudget(key(id), Expected::Anything),
        Command::SetTopUp { credit, spec } => {
            command::Command::SetAutoTopUp(Box::new(top_up_change(key(credit), spec)))
        }
        Command::RemoveTopUp { credit } => command::Command::RemoveAutoTopUp(key(credit), Expected::Anything),
        Command::AnswerTopUp { paid, .. } => {
            let id = TopUpId { entry: target.0, index: 0 };
            if *paid {
                command::Command::PayTopUp(id, Box::default())
            } else {
                command::Command::DeclineTopUp(id, None)
            }
        }
    }
}

fn import(order: &Order, what: Imported) -> command::Command {
    let origin = ImportOrigin { import: key("move"), external_id: key(&order.now.to_string()) };
    command::Command::Import(Box::new(Import { origin, what }))
}

/// From when and until when an order's terms are in force.
pub fn lasting(now: i64, starts_in: Option<i64>, lasts: Option<i64>) -> (Option<i64>, Option<i64>) {
    let starts = starts_in.map(|delta| now + delta);
    (starts, lasts.map(|lasts| starts.unwrap_or(now).max(now) + lasts))
}

/// What a refund asks for.
pub fn refund_request(units: Amount, part: Part, reissue: bool) -> RefundRequest {
    RefundRequest {
        portion: match part {
            Part::Rest => Portion::Rest,
            Part::Cost(_) => Portion::Amount(credits(units)),
            Part::Units(_) => Portion::Quantities(vec![("units".to_owned(), Quantity::from_units(units))]),
        },
        reason: "a complaint".to_owned(),
        reissue_expired: reissue,
    }
}

fn asked(allowance: Mode) -> Allowance {
    match allowance {
        Mode::Prorate => Allowance::Prorate,
        Mode::Full => Allowance::Full,
        Mode::Carry | Mode::Asked => Allowance::Carry,
    }
}

fn change<T, U>(change: &Change<T>, make: impl Fn(&T) -> U) -> command::Change<U> {
    match change {
        Change::Keep => command::Change::Keep,
        Change::Clear => command::Change::Clear,
        Change::Set(value) => command::Change::Set(make(value)),
    }
}

fn ledger_window(window: Window) -> counter::Window {
    match window {
        Window::Period => counter::Window::Period,
        Window::Cycle => counter::Window::Cycle,
        Window::Day => counter::Window::Day,
        Window::Week => counter::Window::Week,
        Window::Month => counter::Window::Month,
        Window::Hours(hours) => counter::Window::Hours(hours),
        Window::Lifetime => counter::Window::Lifetime,
    }
}

fn top_up_change(credit: Key, spec: &TopUpSpec) -> AutoTopUpChange {
    use command::Change::{Clear, Set};
    AutoTopUpChange {
        credit,
        threshold: Some(credits(spec.threshold)),
        fill: Some(match spec.target {
            Some(target) => Fill::Target(credits(target)),
            None => Fill::Amount(credits(spec.amount)),
        }),
        most: Set(spec.most),
        window: Set(ledger_window(spec.window)),
        cool_down_seconds: Set(u32::try_from(spec.cool).unwrap()),
        answer_seconds: Set(u32::try_from(spec.wait).unwrap()),
        most_failures: Set(spec.failures),
        unit_price: if spec.priced { Set(euros(ONE / 100)) } else { Clear },
        priority: Set(spec.priority),
        expires: Set(match (spec.hours, spec.with_period) {
            (Some(count), _) => PlanExpiry::After(hours(count)),
            (None, Some(n)) => PlanExpiry::WithPeriod(n),
            (None, None) => PlanExpiry::Never,
        }),
        enabled: Set(spec.enabled),
        expected: Expected::Anything,
    }
}

fn budget_change(id: Key, spec: &BudgetSpec) -> command::BudgetChange {
    use command::Change::{Clear, Keep, Set};
    let (entity, attribute) = match spec.who {
        // What is there already is cleared, whichever it is.
        Who::Customer => (Clear, Clear),
        Who::Entity(entity) => (Set(key(entity)), Keep),
        Who::Model(model) => (Keep, Set(("model".to_owned(), model.to_owned()))),
    };
    command::BudgetChange {
        id,
        entity,
        attribute,
        features: Set(spec.features.iter().map(|feature| key(feature)).collect()),
        window: Some(ledger_window(spec.window)),
        limit: Some(Quantity::from_units(spec.limit).decimal()),
        quantity: if spec.units { Set("units".to_owned()) } else { Keep },
        credit: if spec.units { Keep } else { Set(key(spec.credit)) },
        hard: Set(spec.hard),
        warn_at: Set(vec![80]),
        expected: Expected::Anything,
    }
}

fn usage_request(spec: &UsageSpec, now: i64) -> UsageRequest {
    UsageRequest {
        feature: key(spec.feature),
        quantities: vec![("units".to_owned(), Quantity::from_units(spec.units))],
        attributes: spec.model.iter().map(|model| ("model".to_owned(), (*model).to_owned())).collect(),
        entity: spec.entity.map(key),
        occurred_at: spec.ago.map(|ago| instant(now - ago)),
    }
}

fn grant_request(spec: &GrantSpec, now: i64) -> GrantRequest {
    GrantRequest {
        credit: key(spec.credit),
        amount: credits(spec.amount),
        category: category(spec.category),
        priority: spec.priority,
        effective_at: spec.effective_in.map(|delta| instant(now + delta)),
        expires: Expiry {
            at: spec.expires_in.map(|delta| instant(now + delta)),
            with_period: spec.with_period,
        },
        features: spec.features.iter().map(|feature| key(feature)).collect(),
        cost_basis: spec.paid.map(euros),
        metadata: Vec::new(),
    }
}

pub fn plain(what: &str) -> Answer {
    Answer { what: what.to_owned(), ..Answer::default() }
}

/// What of a state is compared.
pub fn snapshot(state: &CustomerState, names: &Names, now: i64) -> Snapshot {
    let at = instant(now).max(state.at);
    let balances = state.accounts.keys().map(|credit| {
        let balance = state.balance(credit, at);
        let snap = BalanceSnap {
            granted: balance.granted.units(),
            used: balance.used.units(),
            reserved: balance.reserved.units(),
            available: balance.available.units(),
            overage: balance.overage.units(),
            held_overage: balance.held_overage.units(),
        };
        (credit.to_string(), snap)
    });
    let books = state.accounts.iter().map(|(credit, account)| {
        let books = Books {
            issued: account.issued.units(),
            spent: account.spent.units(),
            expired: account.expired.units(),
            voided: account.voided.units(),
            overage: account.overage.units(),
        };
        (credit.to_string(), books)
    });
    let grants = state.grants.iter().map(|one| {
        let grant = &one.grant;
        let snap = GrantSnap {
            credit: grant.credit.to_string(),
            amount: grant.amount.units(),
            category: grant.category.as_str().to_owned(),
            priority: grant.priority,
            effective: grant.effective_at.0,
            expires_at: grant.expires_at.map(|at| at.0),
            with_period: grant.expires_with_period,
            features: grant.features.iter().map(Key::to_string).collect(),
            paid: grant.cost_basis.map(|basis| basis.amount().units()),
            status: match one.status {
                GrantStatus::Live => Status::Live,
                GrantStatus::Expired => Status::Expired,
                GrantStatus::Voided => Status::Voided,
            },
            remaining: one.remaining.units(),
            held: one.held.units(),
            spent: one.spent.units(),
            expired: one.expired.units(),
            ends_at: one.ends_at.map(|at| at.0),
        };
        ((grant.id.entry, grant.id.index), snap)
    });
    let reservations = state.reservations.iter().map(|(id, one)| {
        let holds = one.holds.iter().map(|(id, amount)| ((id.entry, id.index), amount.units()));
        let snap = ReservationSnap {
            credit: one.credit.to_string(),
            holds: holds.collect(),
            overage: one.overage.units(),
            expires_at: one.expires_at.0,
        };
        ((id.entry, id.index), snap)
    });
    let counters = state.counters.iter().map(|(counter, window, subject, total)| {
        (counter_at(counter, window, subject), (total.used.units(), total.held.units()))
    });
    Snapshot {
        entries: state.seq,
        closed: state.closed,
        plan: state
            .plan()
            .map(|plan| format!("{} {}", names.key(plan), state.plan_version().unwrap() - names.before)),
        pending: state.plan_change_at().map(|at| at.0),
        cycle: state.cycle_window,
        period: state
            .period
            .as_ref()
            .map(|period| (period.number, period.start.0, period.end.map(|end| end.0))),
        balances: balances.collect(),
        crowded: false,
        books: books.collect(),
        grants: grants.collect(),
        reservations: reservations.collect(),
        counters: counters.collect(),
        top_ups: state
            .auto_top_ups
            .iter()
            .map(|(credit, of)| {
                let asked = of
                    .recent
                    .iter()
                    .map(|one| (one.id.entry, one.requested.amount.units(), one.status.as_str().to_owned()));
                (credit.to_string(), (of.failures, asked.collect()))
            })
            .collect(),
        budgets: state.budgets.iter().flat_map(|(id, one)| totals_of(id, one)).collect(),
    }
}

type BudgetTotal = ((String, Window, i64), (Amount, Amount));

fn totals_of(id: &Key, one: &BudgetState) -> Vec<BudgetTotal> {
    let window = match one.budget.window {
        counter::Window::Period => Window::Period,
        counter::Window::Cycle => Window::Cycle,
        counter::Window::Day => Window::Day,
        counter::Window::Week => Window::Week,
        counter::Window::Month => Window::Month,
        counter::Window::Hours(hours) => Window::Hours(hours),
        counter::Window::Lifetime => Window::Lifetime,
    };
    let total = |(at, total): (&i64, &proviso_ledger::state::BudgetTotal)| {
        ((id.to_string(), window, *at), (total.used.units(), total.held.units()))
    };
    one.windows.iter().map(total).collect()
}

fn counter_at(key: &counter::CounterKey, window: i64, subject: &str) -> CounterAt {
    let spec = CounterSpec {
        cost: key.measure == counter::Measure::Cost,
        features: FEATURES
            .iter()
            .copied()
            .filter(|name| key.features.iter().any(|f| f.as_str() == *name))
            .collect(),
        whose: match key.scope {
            counter::Scope::Customer => Whose::Customer,
            counter::Scope::Entity => Whose::Entity,
            counter::Scope::Attribute(_) => Whose::Model,
        },
        window: match key.window {
            counter::Window::Period => Window::Period,
            counter::Window::Cycle => Window::Cycle,
            counter::Window::Day => Window::Day,
            counter::Window::Week => unreachable!("policies do not declare it"),
            counter::Window::Month => Window::Month,
            counter::Window::Hours(hours) => Window::Hours(hours),
            counter::Window::Lifetime => Window::Lifetime,
        },
    };
    let mut spec = spec;
    spec.features.sort_unstable();
    (spec, window, subject.to_owned())
}

pub fn is_plan_changed_now(order: &Order) -> bool {
    matches!(order.command, Command::ChangePlan { when: When::Now, dry_run: false, .. })
}

pub fn answer(reply: &Reply) -> Answer {
    match reply {
        Reply::Preview(_) => plain("preview"),
        Reply::Migrated(migrated) => plain(match **migrated {
            command::Migrated::NotConcerned => "not_concerned",
            command::Migrated::Preview(_) => "preview",
            command::Migrated::Done(_) => "moved",
            command::Migrated::Pending(_) => "move_pending",
        }),
        Reply::State(_) => plain("read"),
        // Orders have no keys, so that none repeats another.
        Reply::Repeat { .. } => plain("repeat"),
        Reply::Configured { .. } => plain("configured"),
        Reply::Check(check) => Answer {
            what: format!("check:{}", check.reason),
            cost: check.cost.map(|cost| cost.units()),
            late: check.late,
            ..Answer::default()
        },
        Reply::Entry(outcome) => of_entry(&outcome.entry),
    }
}

fn of_entry(entry: &Entry) -> Answer {
    let mut answer = Answer::default();
    for transfer in &entry.transfers {
        if let (Book::Overage, Book::Spent | Book::Reserved(_)) = (transfer.from, transfer.to) {
            answer.overage += transfer.amount.units();
        }
        if let (Book::Grant(id), Book::Spent | Book::Reserved(_)) = (transfer.from, transfer.to) {
            *answer.draws.entry((id.entry, id.index)).or_default() += transfer.amount.units();
        }
    }
    match &entry.event {
        Event::Charged(charged) => {
            let settled = charged.settled.iter();
            for draw in settled.flat_map(|settled| &settled.taken) {
                *answer.draws.entry((draw.grant.entry, draw.grant.index)).or_default() += draw.amount.units();
            }
            Answer {
                what: "charged".to_owned(),
                cost: Some(charged.rated.cost.units()),
                late: charged.late,
                exceeded: charged.settled.as_ref().map_or(0, |settled| settled.exceeded.units()),
                top_up: charged.top_up.as_ref().map(|grant| grant.amount.units()),
                ..answer
            }
        }
        Event::LeaseOpened(_) => Answer { what: "leased".to_owned(), ..answer },
        Event::LeaseExtended(_) => Answer { what: "lease_extended".to_owned(), ..answer },
        Event::Reserved(reserved) => Answer {
            what: if reserved.reduced_from.is_some() { "reduced" } else { "reserved" }.to_owned(),
            cost: Some(reserved.rated.cost.units()),
            late: reserved.late,
            top_up: reserved.top_up.as_ref().map(|grant| grant.amount.units()),
            ..answer
        },
        Event::Committed(committed) => {
            for draw in &committed.taken {
                *answer.draws.entry((draw.grant.entry, draw.grant.index)).or_default() += draw.amount.units();
            }
            Answer {
                what: "committed".to_owned(),
                cost: Some(committed.rated.cost.units()),
                late: committed.late,
                exceeded: committed.exceeded.units(),
                returned: committed.returned.units(),
                top_up: committed.top_up.as_ref().map(|grant| grant.amount.units()),
                ..answer
            }
        }
        Event::Refunded(refunded) => Answer {
            what: "refunded".to_owned(),
            cost: Some(refunded.amount.units()),
            overage: entry
                .transfers
                .iter()
                .filter(|transfer| transfer.to == Book::Overage)
                .map(|transfer| transfer.amount.units())
                .sum(),
            ..Answer::default()
        },
        Event::Refused(refused) => Answer {
            what: format!("refused:{}", refused.code),
            cost: refused.rated.as_ref().map(|rated| rated.cost.units()),
            late: refused.late,
            available: Some(refused.available.units()),
            ..Answer::default()
        },
        event => {
            let what = match event {
                Event::Configured(_) => "configured",
                Event::Closed {} => "closed",
                Event::PlanChangeScheduled(_) => "plan_change_pending",
                Event::PlanChangeCancelled { .. } => "called_off",
                Event::TermsBound(_) => "bound",
                Event::TermsEnded { .. } => "ended",
                Event::Granted(_) => "granted",
                Event::AddOnChanged(_) => "attached",
                Event::AddOnEnded(_) => "detached",
                Event::BundlePurchased(_) => "bought",
                Event::PromotionRedeemed(_) => "redeemed",
                Event::GrantImported(_) | Event::OverageImported(_) | Event::UsageImported(_) => "imported",
                Event::TopUpPaid(_) => "topped_up",
                Event::TopUpDeclined(_) => "declined",
                Event::Voided { .. } => "voided",
                Event::Adjusted(_) => "adjusted",
                Event::ReservationExtended { .. } => "extended",
                Event::Released { .. } => "released",
                Event::LeaseEnded(_) => "lease_ended",
                Event::PeriodOpened(_) => "reset",
                _ => "other",
            };
            plain(what)
        }
    }
}

pub fn own_grant(own: &OwnGrant) -> PlanGrant {
    let recurrence = if own.once { Recurrence::Once } else { Recurrence::Period };
    plan_grant(own.key, &own.rule, recurrence)
}

pub fn own_trial(trial: &TrialRule, names: &Names) -> PlanTrial {
    let grant = |(n, rule): (usize, &AllowanceRule)| plan_grant(&format!("t{n}"), rule, Recurrence::Trial);
    PlanTrial {
        duration: hours(trial.hours),
        grants: trial.grants.iter().enumerate().map(grant).collect(),
        then: match trial.then {
            AfterTrial::Stay => TrialEnd::Stay,
            AfterTrial::End => TrialEnd::End,
            AfterTrial::Plan(plan) => TrialEnd::Plan(names.plan(plan)),
        },
    }
}

fn plan_grant(known: &str, rule: &AllowanceRule, recurrence: Recurrence) -> PlanGrant {
    PlanGrant {
        key: key(known),
        amount: credits(rule.amount),
        credit: key(rule.credit),
        category: category(rule.category),
        priority: rule.priority,
        features: rule.features.iter().map(|feature| key(feature)).collect(),
        cost_basis: rule.paid.map(euros),
        recurrence,
        expires: match (rule.lasts, rule.with_period) {
            (Some(lasts), _) => PlanExpiry::After(hours(lasts / HOUR)),
            (None, Some(n)) => PlanExpiry::WithPeriod(n),
            (None, None) => PlanExpiry::Never,
        },
    }
}

/// The grants of an add-on, as a host's catalog has them.
pub fn add_on_grants(add_on: &AddOnSpec) -> Vec<PlanGrant> {
    let grant = |(once, pack): &(bool, Pack)| {
        let Credited { amount, credit, category, priority, features, expires } = credited(pack);
        PlanGrant {
            key: key(pack.key),
            amount,
            credit,
            category,
            priority,
            features,
            cost_basis: pack.price.map(euros),
            recurrence: if *once { Recurrence::Once } else { Recurrence::Period },
            expires,
        }
    };
    add_on.grants.iter().map(grant).collect()
}

/// The credits of a pack, as a host's catalog has them.
pub fn credited(pack: &Pack) -> Credited {
    Credited {
        amount: credits(pack.amount),
        credit: key(pack.credit),
        category: category(pack.category),
        priority: pack.priority,
        features: pack.features.iter().map(|feature| key(feature)).collect(),
        expires: match (pack.hours, pack.with_period) {
            (Some(lasts), _) => PlanExpiry::After(hours(lasts)),
            (None, Some(n)) => PlanExpiry::WithPeriod(n),
            (None, None) => PlanExpiry::Never,
        },
    }
}

pub fn hours(count: i64) -> Interval {
    Interval::new(IntervalUnit::Hour, u16::try_from(count).unwrap()).unwrap()
}

pub fn error_name(error: &DecideError) -> &'static str {
    match error {
        DecideError::CustomerNotFound(_) => "error:customer_not_found",
        DecideError::NoTermsInForce => "error:no_terms_in_force",
        DecideError::TrialUsed(..) => "error:trial_used",
        // What the model does not bound.
        DecideError::PreviewTooFar => "preview",
        DecideError::OccurredInFuture(_) => "error:occurred_in_future",
        DecideError::OccurredTooOld(_) => "error:occurred_too_old",
        DecideError::Rejected(rejection) => match rejection {
            Rejection::CustomerClosed => "error:closed",
            Rejection::GrantNotFound(_) | Rejection::GrantClosed(_) => "error:grant_gone",
            Rejection::ReservationNotFound(_) | Rejection::ReservationClosed(_) => "error:reservation_gone",
            Rejection::ReservationTooLong(..) | Rejection::LeaseTooLong(..) => "error:too_long",
            Rejection::LeaseNotFound(_) | Rejection::LeaseClosed(_) => "error:lease_gone",
            Rejection::LeaseExceedsAvailable { .. } => "error:lease_exceeds",
            Rejection::LeaseOverBudget { .. } => "error:lease_over_budget",
            Rejection::TermsNotFound | Rejection::TermsEnded(_) | Rejection::Terms(_) => "error:terms",
            Rejection::NotLater(..) => "error:not_later",
            Rejection::AdjustmentExceedsAvailable(_) => "error:adjustment_exceeds_available",
            Rejection::TooEarly(..) => "error:too_early",
            Rejection::NoPeriod => "error:no_period",
            Rejection::RefundExceedsCharge(_) | Rejection::RefundExceedsQuantity(..) => {
                "error:refund_exceeds"
            }
            Rejection::RefundNotDivisible => "error:not_divisible",
            Rejection::PlanUnchanged => "error:plan_unchanged",
            Rejection::NoPeriodEnd => "error:no_period_end",
            Rejection::PlanChangePending => "error:plan_change_pending",
            Rejection::PlanChangeNotFound(_) => "error:no_plan_change",
            Rejection::TopUpNotFound(_) | Rejection::AutoTopUpNotFound(_) => "error:no_top_up",
            Rejection::TopUpClosed(..) => "error:top_up_closed",
            Rejection::TopUpPending(_) => "error:top_up_pending",
            Rejection::AlreadyRedeemed(_) => "error:already_redeemed",
            _ => "error:rejected",
        },
        _ => "error:other",
    }
}
