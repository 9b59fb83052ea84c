//! The language of the tables. A line is a command, and behind `->` what must come of it, as text.
//!
//! Times are offsets from the start (`+36h`) or RFC 3339. A word in braces is settings of the scripted policy. Grants are named
//! by category and the number of the period in which they were made: `plan1`, `rollover2`, and `plan1b` for a second one.
//! `name: reserve 5` names a reservation, `name: charge 5` a charge, which `refund name [amount]` gives back.

use super::{World, catalog::draft, key, module};
use proviso_decide::{
    DecideError, Stop,
    command::{
        ActualUsage, BudgetChange, Change, CheckOutcome, Command, CustomerChange, CustomerPlanChange,
        EntityChange, Outcome, OverrideChange, PlanChangePreview, Reply, Ttl, UsageRequest,
    },
    precondition::Expected,
};
use proviso_ledger::{
    journal::{
        Entry, Event, PeriodClosed, PeriodOpened, PlanChangeTime, RefusalsRepeated, Refused, Settlement,
        ThresholdOf,
    },
    model::{
        amounts::Credits,
        answers::Allowance,
        budget::Subject,
        canary::{CanaryDraft, Share},
        counter::{Counted, Window},
        entitlement::Entitlement,
        ids::{Digest, GrantId, Name, ReservationId, TermsId},
        period::Interval,
        terms::{ContractDraft, Mode, OnFault, PolicyRef, TermsDraft},
        time::Timestamp,
        transfer::Book,
    },
    rules::refund::{Portion, RefundRequest},
    state::{Origin, PendingPlanChange},
};
use std::{collections::BTreeMap, sync::Arc};

mod canaries;
mod imports;
mod leases;
mod selling;
mod top_ups;
mod versions;

use versions::migration;

pub const START: &str = "2026-01-01T00:00:00Z";

/// Runs a table. A line without an expectation must succeed.
pub fn check(script: &str) {
    check_from(START, script);
}

pub fn check_from(start: &str, script: &str) -> Script {
    let mut world = Script::new(start);
    for (number, line) in script.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (command, expected) = match line.split_once(" -> ") {
            Some((command, expected)) => (command.trim(), Some(expected.trim())),
            None => (line, None),
        };
        let actual = world.run(command);
        match expected {
            Some(expected) => assert_eq!(actual, expected, "line {number}: {command}"),
            None => {
                let no = actual.starts_with("402") || actual.starts_with("error");
                assert!(!no, "line {number}: {command}: {actual}");
            }
        }
    }
    world
}

/// Runs a table for what it leaves behind, whatever its lines come to.
pub fn play(start: &str, script: &str) -> Script {
    let mut world = Script::new(start);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        world.run(line);
    }
    world
}

/// `verb arg arg option=value {settings}`.
struct Words<'a> {
    verb: &'a str,
    args: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
    settings: &'a str,
}

impl<'a> Words<'a> {
    fn parse(line: &'a str) -> Self {
        let (line, settings) = match (line.find('{'), line.rfind('}')) {
            (Some(from), Some(to)) => (&line[..from], &line[from..=to]),
            _ => (line, "{}"),
        };
        let (mut args, mut options) = (Vec::new(), Vec::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some(option) => options.push(option),
                None => args.push(word),
            }
        }
        Self { verb: args.remove(0), args, options, settings }
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn flag(&self, name: &str) -> bool {
        self.args.contains(&name)
    }

    fn allowance(&self) -> Allowance {
        match self.option("allowance") {
            Some("full") => Allowance::Full,
            Some("prorate") => Allowance::Prorate,
            _ => Allowance::Carry,
        }
    }
}

pub struct Script {
    pub world: World,
    start: Timestamp,
    names: BTreeMap<String, String>,
}

impl Script {
    fn new(start: &str) -> Self {
        let start: Timestamp = start.parse().unwrap();
        Self { world: World::new("acme", start), start, names: BTreeMap::new() }
    }

    /// `+36h`, `+2d12h`, or RFC 3339.
    fn instant(&self, text: &str) -> Timestamp {
        let Some(mut offset) = text.strip_prefix('+') else { return text.parse().unwrap() };
        let mut seconds = 0;
        while !offset.is_empty() {
            let digits = offset.find(|c: char| !c.is_ascii_digit()).unwrap();
            let (number, rest) = offset.split_at(digits);
            let unit = match &rest[..1] {
                "d" => 86_400,
                "h" => 3_600,
                "m" => 60,
                _ => 1,
            };
            seconds += number.parse::<i64>().unwrap() * unit;
            offset = &rest[1..];
        }
        self.start.plus_micros(seconds * Timestamp::SECOND)
    }

    fn run(&mut self, line: &str) -> String {
        let (name, line) = match line.split_once(": ") {
            Some((name, rest)) if !name.contains([' ', '{']) => (Some(name), rest),
            _ => (None, line),
        };
        let words = Words::parse(line);
        let before = self.world.entries.len();
        let time = |name: &str| words.option(name).map(|text| self.instant(text));
        let command = match words.verb {
            "plan" => return self.plan(&words),
            "gives" => return self.gives(&words),
            "sells" => return self.sells(&words),
            "bundle" | "promotion" => return self.put_product(&words),
            "addon" => return self.put_add_on(&words),
            "addons" => return self.add_ons(),
            "attach" => self.attach(&words),
            "detach" => selling::detach(&words),
            "module" => return self.module(&words),
            "raise" => return self.raise(&words),
            "roll_back" => return self.roll_back(&words),
            "at" => {
                self.world.now = self.instant(words.args[0]);
                if self.world.state.profile.is_none() {
                    return "nothing".to_owned();
                }
                Command::Sweep
            }
            "balance" => return self.balance(&words),
            "available" => return self.available(&words),
            "books" => return self.books(),
            "grants" => return self.grants(),
            "period" => return self.period(),
            "counters" => return self.counters(),
            "budgets" => return self.budgets(),
            "raised" => return self.raised(),
            "missed" => return self.missed(),
            "pending" => return self.pending(),
            "top_ups" => return self.top_ups(),
            "topup" => top_ups::rule(&words),
            "untopup" => Command::RemoveAutoTopUp(key(words.args[0]), Expected::Anything),
            "pay" | "decline" => self.answer_top_up(&words),
            "given" => return self.given(),
            "access" => return self.access(&words),
            "terms" => return self.terms(&words),
            "customer" => Command::Configure(Box::new(CustomerChange {
                name: words.option("name").map_or(Change::Keep, |name| Change::Set(name.to_owned())),
                plan: change(words.option("plan"), key),
                time_zone: change(words.option("zone"), |zone| zone.parse().unwrap()),
                anchor: change(words.option("anchor"), |text| self.instant(text)),
                attributes: if words.flag("described") { Change::Set(pairs("tier")) } else { Change::Keep },
                external_ids: if words.flag("described") { Change::Set(pairs("crm")) } else { Change::Keep },
                allowance: words.allowance(),
                expected: Expected::Anything,
            })),
            "repeated" => {
                let mut refusals = self.world.entries.iter().rev().map(|written| &written.entry);
                let of = refusals.find(|entry| matches!(entry.event, Event::Refused(_))).unwrap();
                let (times, last_at) = (words.args[0].parse().unwrap(), self.world.now);
                Command::CountRepeats(RefusalsRepeated { of: of.seq, times, first_at: of.at, last_at })
            }
            "change" | "preview" => Command::ChangePlan(Box::new(CustomerPlanChange {
                plan: Some(words.args[0]).filter(|plan| *plan != "none").map(key),
                version: words.option("version").map(|version| version.parse().unwrap()),
                when: words.option("when").map(|when| match when {
                    "period_end" => PlanChangeTime::PeriodEnd,
                    at => PlanChangeTime::At(self.instant(at)),
                }),
                allowance: words.allowance(),
                dry_run: words.verb == "preview",
            })),
            "migrate" | "would_migrate" => migration(&words),
            "cancel" => {
                // Without an id, the one that is pending.
                let pending = self.world.state.plan_change.as_ref().map(|pending| pending.id);
                let named = words.args.first().map(|id| id.parse().unwrap());
                Command::CancelPlanChange(named.or(pending).unwrap())
            }
            "close" => Command::Close(Expected::Anything),
            "reset" => Command::Reset { anchor_now: words.flag("anchor_now") },
            "retry" => Command::RetryPeriod(words.args[0].parse().unwrap()),
            "grant" => Command::Grant(Box::new(self.grant_request(&words))),
            "buy" => selling::purchase(&words),
            "redeem" => selling::redemption(&words),
            "moves_in" => self.moves_in(&words),
            "moved" | "owed" | "used_there" => self.import(&words),
            "void" => Command::Void(self.grant_id(words.args[0])),
            "adjust" => Command::Adjust {
                credit: key(words.option("credit").unwrap_or("credits")),
                amount: words.args[0].parse().unwrap(),
                reason: "checked".to_owned(),
            },
            "charge" => Command::Charge(Box::new(self.usage(&words))),
            "check" => Command::Check(Box::new(self.usage(&words))),
            "reserve" => {
                let ttl =
                    words.option("ttl").map_or(Ttl::DEFAULT, |ttl| Ttl::new(ttl.parse().unwrap()).unwrap());
                Command::Reserve(Box::new(self.usage(&words)), ttl)
            }
            "commit" => {
                let quantities = vec![("n".to_owned(), words.args[1].parse().unwrap())];
                let actual = ActualUsage { quantities, attributes: None };
                Command::Commit(self.reservation(words.args[0]), Box::new(actual))
            }
            "refund" => {
                let seq = self.reservation(words.args[0]).entry;
                let amount = words.args.get(1).and_then(|text| text.parse().ok());
                let request = RefundRequest {
                    portion: match (amount, words.option("n")) {
                        (Some(amount), _) => Portion::Amount(amount),
                        (None, Some(n)) => Portion::Quantities(vec![("n".to_owned(), n.parse().unwrap())]),
                        (None, None) => Portion::Rest,
                    },
                    reason: "a complaint".to_owned(),
                    reissue_expired: words.flag("reissue"),
                };
                Command::Refund(Box::new(self.world.refundable(seq)), Box::new(request))
            }
            "release" => Command::Release(self.reservation(words.args[0])),
            "extend" => {
                let ttl = Ttl::new(words.args[1].parse().unwrap()).unwrap();
                Command::Extend(self.reservation(words.args[0]), ttl)
            }
            "lease" | "more" | "settle" | "unlease" => self.lease(&words),
            "end" => {
                let at = words.args.get(1).map(|text| self.instant(text));
                // Without a number, the terms that were bound last.
                let last = self.world.state.terms.last().map(|terms| terms.key.id);
                let id = words.args[0].parse::<TermsId>().ok().or(last).unwrap();
                Command::EndTerms { id, ends_at: at, expected: Expected::Anything }
            }
            "override" => Command::SetOverride(Box::new(OverrideChange {
                feature: key(words.args[0]),
                entitlement: Some(Entitlement::Boolean { value: words.args[1] == "on" }),
                starts_at: Change::Keep,
                ends_at: time("to").map_or(Change::Keep, Change::Set),
                expected: Expected::Anything,
            })),
            "entity" => Command::SetEntity(Box::new(EntityChange {
                id: key(words.args[0]),
                parent: change(words.option("parent"), key),
                attributes: if words.flag("described") { Change::Set(pairs("role")) } else { Change::Keep },
                expected: Expected::Anything,
            })),
            "forget" => Command::RemoveEntity(key(words.args[0]), Expected::Anything),
            "budget" => Command::SetBudget(Box::new(BudgetChange {
                id: key(words.args[0]),
                entity: change(words.option("entity"), key),
                attribute: change(words.option("model"), |value| ("model".to_owned(), value.to_owned())),
                features: change(words.option("scope"), |text| text.split(',').map(key).collect()),
                window: words.option("window").map(window),
                limit: words.option("limit").map(|text| text.parse().unwrap()),
                quantity: change(words.option("quantity"), str::to_owned),
                credit: change(words.option("credit"), key),
                hard: match (words.flag("hard"), words.flag("soft")) {
                    (true, _) => Change::Set(true),
                    (_, true) => Change::Set(false),
                    _ => Change::Keep,
                },
                warn_at: change(words.option("warn"), |text| {
                    text.split(',').map(|percent| percent.parse().unwrap()).collect()
                }),
                expected: Expected::Anything,
            })),
            "unbudget" => Command::RemoveBudget(key(words.args[0]), Expected::Anything),
            "plain" => Command::RemoveOverride(key(words.args[0]), Expected::Anything),
            other => panic!("no such command: {other}"),
        };
        let reply = self.world.decide(command, origin(&words));
        let made: Vec<_> = self.world.entries[before..].iter().map(|written| written.entry.clone()).collect();
        for entry in &made {
            self.name_grants(entry);
        }
        if let (Some(name), Ok(Reply::Entry(Outcome { entry, .. }))) = (name, &reply) {
            let id = ReservationId { entry: entry.seq, index: 0 };
            self.names.insert(name.to_owned(), id.to_string());
        }
        match reply {
            Ok(Reply::Entry(Outcome { entry, .. })) => match &entry.event {
                Event::PeriodOpened(_)
                | Event::PeriodClosed(_)
                | Event::Configured(_)
                | Event::PlanChangeScheduled(_)
                | Event::PlanChangeCancelled { .. }
                | Event::Closed {} => self.events(&made),
                Event::Committed(_) if made.len() > 1 => self.events(&made),
                _ => self.entry(&entry),
            },
            Ok(Reply::Check(check)) => said_check(&check),
            Ok(Reply::Preview(preview)) => {
                let PlanChangePreview { effective_at, closed, opened, .. } = *preview;
                let entries: Vec<_> = closed.into_iter().chain(opened).collect();
                format!("at {effective_at}: {}", self.events(&entries))
            }
            Ok(Reply::Migrated(migrated)) => self.migrated(*migrated, &made),
            Ok(Reply::Configured { .. } | Reply::State(_)) => self.events(&made),
            Ok(Reply::Repeat { of, .. }) => format!("as {of}"),
            Err(Stop::Error(error)) => said_error(&error),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn usage(&self, words: &Words<'_>) -> UsageRequest {
        UsageRequest {
            feature: key(words.option("feature").unwrap_or("chat")),
            quantities: vec![("n".to_owned(), words.args[0].parse().unwrap())],
            attributes: match words.option("model") {
                Some(model) => vec![("model".to_owned(), model.to_owned())],
                None if words.flag("described") => pairs("model"),
                None => Vec::new(),
            },
            entity: words.option("entity").map(key),
            occurred_at: words.option("of").map(|text| self.instant(text)),
        }
    }

    /// `plan pro month {settings}`; `plan pro {…}` binds more terms.
    fn plan(&mut self, words: &Words<'_>) -> String {
        let (plan, now): (Name, _) = (key(words.args[0]), self.world.now);
        let entitled = self.world.catalog.put(&plan, interval(words), now);
        for feature in words.option("metered").iter().flat_map(|text| text.split(',')) {
            entitled.entitlements.insert(key(feature), Entitlement::Metered {});
        }
        let draft = self.terms_draft(words);
        self.world.catalog.bind(&plan, draft, now).to_string()
    }

    /// Binds terms to the customer.
    fn terms(&mut self, words: &Words<'_>) -> String {
        let draft = self.terms_draft(words);
        let reply = self.world.decide(Command::BindTerms(Box::new(draft)), origin(words));
        match reply {
            Ok(Reply::Entry(outcome)) => self.entry(&outcome.entry),
            Err(Stop::Error(error)) => said_error(&error),
            other => panic!("{other:?}"),
        }
    }

    fn terms_draft(&self, words: &Words<'_>) -> TermsDraft {
        let mut draft = draft(words.settings);
        let name = words.option("policy").unwrap_or("scripted");
        draft.policy = PolicyRef { name: key(name), version: 1, digest: module(name) };
        draft.effective_at = words.option("from").map(|text| self.instant(text));
        draft.ends_at = words.option("to").map(|text| self.instant(text));
        draft.mode = if words.flag("shadow") { Mode::Shadow } else { Mode::Active };
        draft.on_fault = match words.option("on_fault") {
            Some("plan") => OnFault::Plan,
            Some("last_good") => OnFault::LastGood,
            _ => OnFault::Deny,
        };
        draft.time_zone = words.option("zone").map(|zone| zone.parse().unwrap());
        draft.canary = words.option("canary").map(|percent| CanaryDraft {
            share: Share::new(percent.parse().unwrap()).unwrap(),
            rollback: None,
        });
        draft.note = words.option("note").map(str::to_owned);
        draft.contract =
            words.option("contract").map(|id| ContractDraft { id: id.to_owned(), start: None, end: None });
        draft
    }

    fn module(&mut self, words: &Words<'_>) -> String {
        let digest = module(words.args[0]);
        match words.args[1] {
            "gone" => self.world.unavailable.insert(digest),
            _ => self.world.unavailable.remove(&digest),
        };
        "ok".to_owned()
    }

    fn name_grants(&mut self, entry: &Entry) {
        let period = match &entry.event {
            Event::PeriodOpened(opened) => opened.period.number,
            // What is carried over lives in the next.
            Event::PeriodClosed(closed) => closed.period.number + 1,
            _ => self.world.state.periods,
        };
        for grant in entry.grants() {
            let mut name = format!("{}{period}", grant.category.as_str());
            for letter in 'b'..='z' {
                if !self.names.contains_key(&name) {
                    break;
                }
                name = format!("{}{period}{letter}", grant.category.as_str());
            }
            self.names.insert(name, grant.id.to_string());
        }
    }

    fn name_of(&self, id: &str) -> String {
        let name = self.names.iter().find(|(_, known)| *known == id);
        name.map_or(id, |(name, _)| name).to_owned()
    }

    pub fn grant_id(&self, name: &str) -> GrantId {
        self.names.get(name).map_or(name, String::as_str).parse().unwrap()
    }

    fn reservation(&self, name: &str) -> ReservationId {
        self.names.get(name).map_or(name, String::as_str).parse().unwrap()
    }

    /// What ends and begins, and what moves with it.
    fn events(&self, made: &[Arc<Entry>]) -> String {
        let said: Vec<String> = made
            .iter()
            .filter(|entry| !matches!(entry.event, Event::Configured(_) | Event::Closed {}))
            .map(|entry| self.entry(entry))
            .collect();
        if said.is_empty() { "nothing".to_owned() } else { said.join(" | ") }
    }

    fn entry(&self, entry: &Entry) -> String {
        let degraded = entry.decision().and_then(|decision| decision.fault.as_ref());
        let mut said = match &entry.event {
            Event::Charged(_) | Event::Reserved(_) | Event::Committed(_) => self.draws(entry),
            Event::Refused(refused) => said_refused(refused),
            Event::PeriodClosed(closed) => {
                let PeriodClosed { reason, period, retried, .. } = &**closed;
                let again = if *retried { "again " } else { "" };
                let settled = said_settled(&closed.settled);
                format!("{again}closes {} {}: {}{settled}", period.number, reason.as_str(), self.moves(entry))
            }
            Event::PeriodOpened(opened) => {
                let PeriodOpened { reason, period, retried, .. } = &**opened;
                let again = if *retried { "again " } else { "" };
                let settled = said_settled(&opened.settled);
                format!("{again}opens {} {}: {}{settled}", period.number, reason.as_str(), self.moves(entry))
            }
            Event::GrantsExpired { .. } => format!("expires: {}", self.moves(entry)),
            Event::ReservationExpired { reservation } => {
                format!("{} expires: {}", self.name_of(&reservation.to_string()), self.moves(entry))
            }
            Event::TermsBound(terms) => terms.key.id.to_string(),
            Event::PlanChangeScheduled(scheduled) => format!("pending until {}", scheduled.effective_at),
            Event::PlanChangeCancelled { .. } => "cancelled".to_owned(),
            Event::OverageSettled(settled) => {
                format!("settles{}: {}", said_settled(&settled.settled), self.moves(entry))
            }
            event => top_ups::said(event).unwrap_or_else(|| self.moves(entry)),
        };
        if let Some(fault) = degraded {
            said.push_str(&format!(" ({} by {})", fault.code, fault.terms));
        }
        said
    }

    /// What was drawn from where.
    fn draws(&self, entry: &Entry) -> String {
        let mut said: Vec<String> = entry
            .draws()
            .iter()
            .map(|draw| format!("{}:{}", self.name_of(&draw.grant.to_string()), draw.amount))
            .collect();
        let mut also = |what: &str, amount: Credits| {
            if !amount.is_zero() {
                said.push(format!("{what}:{amount}"));
            }
        };
        also("overage", entry.overage());
        match &entry.event {
            Event::Committed(committed) => {
                also("returned", committed.returned);
                also("exceeded", committed.exceeded);
                if let Some(unrated) = &committed.as_reserved {
                    said.push(format!("as_reserved:{}", unrated.code));
                }
            }
            Event::Charged(charged) => {
                if let Some(settled) = &charged.settled {
                    also("exceeded", settled.exceeded);
                    if settled.ended {
                        said.push("ended".to_owned());
                    }
                }
            }
            Event::Reserved(reserved) => {
                if let Some(shape) = &reserved.reduced_from {
                    said.push(format!("reduced_from:{}", shape.0[0].1));
                }
            }
            _ => {}
        }
        if let Some(period) = entry.late() {
            said.push(format!("late:{period}"));
        }
        if said.is_empty() { "nothing".to_owned() } else { said.join(" ") }
    }

    /// What went from which book to which.
    fn moves(&self, entry: &Entry) -> String {
        let book = |book: Book| match book {
            Book::Grant(id) => self.name_of(&id.to_string()),
            Book::Reserved(id) => self.name_of(&id.to_string()),
            other => other.to_string(),
        };
        let moves: Vec<String> =
            entry.transfers.iter().map(|t| format!("{}>{} {}", book(t.from), book(t.to), t.amount)).collect();
        if moves.is_empty() { "nothing".to_owned() } else { moves.join(", ") }
    }

    fn balance(&self, words: &Words<'_>) -> String {
        let credit = key(words.option("credit").unwrap_or("credits"));
        let balance = self.world.state.balance(&credit, self.world.now);
        let mut said = format!("{} of {}", balance.available, balance.granted);
        for (what, amount) in [("held", balance.reserved), ("overage", balance.overage)] {
            if !amount.is_zero() {
                said.push_str(&format!(", {what} {amount}"));
            }
        }
        said
    }

    fn available(&self, words: &Words<'_>) -> String {
        let credit = key(words.option("credit").unwrap_or("credits"));
        let view = self.world.state.balance_for(&credit, &key(words.args[0]), self.world.now);
        format!("{} restricted={}", view.available, view.restricted)
    }

    fn books(&self) -> String {
        let books = self.world.state.accounts.get(&key("credits")).copied().unwrap_or_default();
        format!(
            "issued={} spent={} expired={} voided={} overage={}",
            books.issued, books.spent, books.expired, books.voided, books.overage
        )
    }

    /// Live grants with what remains of them, in burn-down order; with their end and what they cost.
    fn grants(&self) -> String {
        let live = self.world.state.grants.iter().filter(|state| {
            state.status == proviso_ledger::state::GrantStatus::Live
                && (state.remaining.is_positive() || state.held.is_positive())
        });
        let said: Vec<String> = live
            .map(|state| {
                let mut said = format!("{}={}", self.name_of(&state.grant.id.to_string()), state.remaining);
                if !state.held.is_zero() {
                    said.push_str(&format!("+{}", state.held));
                }
                if let Some(end) = state.ends_at {
                    said.push_str(&format!(" until {end}"));
                }
                if let Some(cost) = state.grant.cost_basis {
                    said.push_str(&format!(" for {cost}"));
                }
                said
            })
            .collect();
        if said.is_empty() { "none".to_owned() } else { said.join(", ") }
    }

    fn period(&self) -> String {
        match &self.world.state.period {
            Some(period) => match period.end {
                Some(end) => format!("{} from {} to {end}", period.number, period.start),
                None => format!("{} from {}", period.number, period.start),
            },
            None => "none".to_owned(),
        }
    }

    /// All totals: window and subject, what is used and what is held.
    fn counters(&self) -> String {
        let said: Vec<String> = self
            .world
            .state
            .counters
            .iter()
            .map(|(key, id, subject, Counted { used, held })| {
                let window = serde_json::to_string(&key.window).unwrap();
                let held = if held.is_zero() { String::new() } else { format!("+{held}") };
                let subject = if subject.is_empty() { String::new() } else { format!("/{subject}") };
                format!("{}:{id}{subject}={used}{held}", window.trim_matches('"'))
            })
            .collect();
        if said.is_empty() { "none".to_owned() } else { said.join(" ") }
    }

    /// All budgets: what is used and held in the window of now.
    fn budgets(&self) -> String {
        let Script { world, .. } = self;
        let said = world.state.budgets.iter().map(|(id, state)| {
            let total = state.total(world.state.budget_window(&state.budget, world.now.max(world.state.at)));
            let held = if total.held.is_zero() { String::new() } else { format!("+{}", total.held) };
            format!("{id}={}{held}", total.used)
        });
        let said: Vec<String> = said.collect();
        if said.is_empty() { "none".to_owned() } else { said.join(" ") }
    }

    /// What the last entry says is reached.
    fn raised(&self) -> String {
        let last = &self.world.entries.last().unwrap().entry;
        let said = last.thresholds.iter().map(|threshold| match &threshold.of {
            ThresholdOf::Budget { budget, .. } => format!("{budget}:{}", threshold.percent),
            ThresholdOf::Balance { credit } => format!("{credit}:{}", threshold.percent),
        });
        let said: Vec<String> = said.collect();
        if said.is_empty() { "nothing".to_owned() } else { said.join(" ") }
    }

    /// The change of plan that is to come.
    fn pending(&self) -> String {
        let state = &self.world.state;
        let said = |pending: &PendingPlanChange| {
            let plan = pending.plan.as_ref().map_or("none", Name::as_str);
            format!("{} to {plan} at {}", pending.id, state.plan_change_at().unwrap())
        };
        state.plan_change.as_ref().map_or_else(|| "nothing".to_owned(), said)
    }

    fn missed(&self) -> String {
        let said: Vec<String> = self
            .world
            .state
            .missed
            .iter()
            .map(|missed| {
                let what = match missed.what {
                    proviso_ledger::state::MissedCall::Close { .. } => "close",
                    proviso_ledger::state::MissedCall::Open { .. } => "open",
                };
                format!("{what} {}", missed.number)
            })
            .collect();
        if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
    }

    /// What past periods gave.
    fn given(&self) -> String {
        let past = self.world.state.past.iter();
        let said = past.map(|past| {
            let given: Vec<String> = past.given.iter().map(|given| given.amount.to_string()).collect();
            format!("{}={}", past.period.number, given.join("+"))
        });
        said.collect::<Vec<_>>().join(" ")
    }

    fn access(&self, words: &Words<'_>) -> String {
        let access =
            self.world.with_decider(|decider| decider.access(&self.world.state, &key(words.args[0])));
        match access {
            Ok(access) => {
                let credit = access.credit.map_or_else(String::new, |credit| format!(" in {credit}"));
                format!("{} {}{credit}", access.has_access, access.reason)
            }
            Err(Stop::Error(error)) => said_error(&error),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn window(text: &str) -> Window {
    match text {
        "hour" => Window::Hours(1),
        "day" => Window::Day,
        "week" => Window::Week,
        "month" => Window::Month,
        "period" => Window::Period,
        "cycle" => Window::Cycle,
        "lifetime" => Window::Lifetime,
        text => Window::Hours(text.strip_prefix("hours:").unwrap().parse().unwrap()),
    }
}

fn interval(words: &Words<'_>) -> Option<Interval> {
    let unit = serde_json::from_value((*words.args.get(1)?).into()).ok()?;
    Some(Interval::new(unit, 1).unwrap())
}

fn change<T>(text: Option<&str>, parse: impl FnOnce(&str) -> T) -> Change<T> {
    match text {
        None => Change::Keep,
        Some("none") => Change::Clear,
        Some(text) => Change::Set(parse(text)),
    }
}

/// Text that JSON must escape.
fn pairs(name: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), "\"7\" \u{e9}\n".to_owned())]
}

/// `key=k1 by=ops`: under which idempotency key, and with which API key.
fn origin(words: &Words<'_>) -> Origin {
    let request = Digest::of(words.verb.as_bytes());
    Origin {
        idempotency: words.option("key").map(|text| (text.parse().unwrap(), request)),
        by: words.option("by").map(key),
    }
}

fn said_settled(settled: &[Settlement]) -> String {
    settled.iter().map(|one| format!(" ({:?} {})", one.method, one.amount).to_lowercase()).collect()
}

fn said_refused(refused: &Refused) -> String {
    let status = if refused.invalid { 422 } else { 402 };
    let mut said = format!("{status} {}", refused.code);
    if let Some(rated) = &refused.rated {
        said.push_str(&format!(" required={}", rated.cost));
    }
    said.push_str(&format!(" available={}", refused.available));
    if let Some(top_up) = &refused.pending_top_up {
        said.push_str(&format!(" {} brings {}", top_up.id, top_up.amount));
    }
    if let Some(at) = refused.retry_at {
        said.push_str(&format!(" retry_at={at}"));
    }
    if let Some(over) = &refused.over_budget {
        let of = match &over.subject {
            Subject::Customer => "customer".to_owned(),
            Subject::Entity(entity) => entity.to_string(),
            Subject::Attribute { value, .. } => value.clone(),
        };
        said.push_str(&format!(" {}/{of}={}+{} of {}", over.budget, over.used, over.held, over.limit));
    }
    for suggestion in &refused.suggestions {
        for (name, amount) in &suggestion.quantities {
            said.push_str(&format!(" suggests {name}={amount}"));
        }
    }
    if let Some(period) = refused.late {
        said.push_str(&format!(" late:{period}"));
    }
    said
}

fn said_check(check: &CheckOutcome) -> String {
    let cost = check.cost.map_or_else(|| "unknown".to_owned(), |cost| cost.to_string());
    let late = check.late.map_or_else(String::new, |late| format!(" late:{late}"));
    let degraded = if check.degraded { " degraded" } else { "" };
    format!(
        "{} {} cost={cost} available={}{late}{degraded}",
        check.allowed, check.reason, check.balance.available
    )
}

fn said_error(error: &DecideError) -> String {
    format!("error: {error}")
}
