//! The language of the scenarios. A line is a command, and behind `->` what must come of it, as text. In between, every
//! entry is read back from its text, folded into a second state with all checks, and a snapshot of it compared.
//!
//! `name: command` names the grant, reservation or terms that the command makes; times are offsets from the start
//! (`+36h`) or RFC 3339. Credits move as `from>to amount`.

mod words;

use crate::support::{customer, decision, key, policy, record, usage};
use proviso_ledger::{
    journal::{CloseReason, Entry, Event, OpenReason},
    model::{
        amounts::Credits,
        answers::{Allowance, Needs, Overage, Prepared, Refusal, SettleFrom, TopUp},
        counter::{Counted, Counter},
        customer::Profile,
        entitlement::{self, Entitlement, Override, Source},
        grant::Category,
        ids::{GrantId, TermsId},
        json::JsonText,
        period::Interval,
        terms::{self, Mode, OnFault, Terms, TermsDraft},
        time::Timestamp,
        transfer::Book,
        usage::Usage,
    },
    rules::{
        charge::Decision,
        due::Due,
        grants::{GrantRequest, GrantTerms},
        rejection::{Denied, Rejection},
    },
    state::{CustomerState, Draft},
};
use std::{str::FromStr, sync::Arc};
use words::{Words, category, counter, instant, offset, unit};

pub const START: &str = "2026-01-01T00:00:00Z";

/// Runs a script. A line without an expectation must succeed.
pub fn check(script: &str) {
    let mut world = World::new();
    for (number, line) in script.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (command, expected) = match line.split_once("->") {
            Some((command, expected)) => (command.trim(), Some(expected.trim())),
            None => (line, None),
        };
        let actual = world.run(command);
        let said_no = ["refused", "rejected", "invalid"].iter().any(|no| actual.starts_with(no));
        match expected {
            Some(expected) => assert_eq!(actual, expected, "line {number}: {command}"),
            None => assert!(!said_no, "line {number}: {command}: {actual}"),
        }
    }
}

#[derive(Clone)]
struct World {
    state: CustomerState,
    replica: CustomerState,
    now: Timestamp,
    names: Vec<(String, String)>,
    on_close: String,
    on_open: String,
    counters: Vec<Counter>,
    grant_terms: GrantTerms,
}

impl World {
    fn new() -> Self {
        Self {
            state: customer(),
            replica: customer(),
            now: START.parse().unwrap(),
            names: Vec::new(),
            on_close: String::new(),
            on_open: String::new(),
            counters: Vec::new(),
            grant_terms: GrantTerms::default(),
        }
    }

    fn run(&mut self, line: &str) -> String {
        let (name, line) = match line.split_once(": ") {
            Some((name, rest)) if !name.contains(' ') => (Some(name), rest),
            _ => (None, line),
        };
        if let Some(outcome) = line.strip_prefix("on close ") {
            self.on_close = outcome.to_owned();
            return "ok".to_owned();
        }
        if let Some(outcome) = line.strip_prefix("on open ") {
            self.on_open = outcome.to_owned();
            return "ok".to_owned();
        }
        let seq = self.state.seq + 1;
        let words = Words::parse(line);
        let said = match words.verb {
            "at" => self.catch_up(instant(words.arg(0))),
            "customer" => self.configure(&words),
            "grant" => self.grant(&words),
            "charge" => self.charge(&words),
            "reserve" => self.reserve(&words),
            "commit" => self.commit(&words),
            "release" => self.simple(self.state.release(self.id(words.arg(0)))),
            "extend" => {
                let (id, until) = (self.id(words.arg(0)), instant(words.arg(1)));
                self.simple(self.state.extend_reservation(self.now, id, until))
            }
            "void" => self.simple(self.state.void(self.id(words.arg(0)))),
            "adjust" => {
                let draft =
                    self.state.adjust(self.now, words.credit(), words.amount(0), "checked".to_owned());
                self.simple(draft)
            }
            "close" => self.close(),
            "reset" => match self.state.check_early_reset() {
                Ok(()) => self.period_ends(CloseReason::Early, OpenReason::Early),
                Err(rejection) => rejected(&rejection),
            },
            "settle_from" => {
                self.grant_terms.settle_from = match words.arg(0) {
                    "purchases" => SettleFrom::Purchases,
                    "reset" => SettleFrom::Reset,
                    _ => SettleFrom::Never,
                };
                "ok".to_owned()
            }
            "period_categories" => {
                self.grant_terms.period_categories = words.args.iter().map(|text| category(text)).collect();
                "ok".to_owned()
            }
            "balance" => self.balance(&words),
            "available" => self.available(&words),
            "books" => self.books(&words),
            "show" => self.show(self.id(words.arg(0))),
            "period" => self.period(),
            "count" => {
                self.counters.push(counter(&words));
                "ok".to_owned()
            }
            "counters" => self.counted(&words),
            "counter_totals" => self.state.counters.len().to_string(),
            "terms" => self.bind_terms(&words),
            "end" => {
                let id = self.id::<TermsId>(words.arg(0));
                self.simple(self.state.end_terms(self.now, id, instant(words.arg(1))))
            }
            "in_force" => self.show_terms(terms::in_force(&self.state.terms, self.now)),
            "shadows" => self.show_terms(terms::shadows(&self.state.terms, self.now)),
            "last_good" => {
                let id = self.id::<TermsId>(words.arg(0));
                let current = self.state.terms.iter().find(|terms| terms.key.id == id).unwrap();
                self.show_terms(terms::before(&self.state.terms, current))
            }
            "override" => self.set_override(&words),
            "plain" => self.simple(Ok(self.state.remove_override(key(words.arg(0))))),
            "entitled" => self.entitled(&words),
            other => panic!("no such command: {other}"),
        };
        if let Some(name) = name {
            let kind = match words.verb {
                "reserve" => "res",
                "terms" => "terms",
                _ => "grant",
            };
            self.names.push((name.to_owned(), format!("{kind}_{seq}")));
            // What was just said knew only the number.
            return said.replace(&format!("{kind}_{seq}"), name);
        }
        said
    }

    /// Seals a draft, and checks all that must hold of any entry.
    fn take(&mut self, at: Timestamp, draft: Draft) -> Entry {
        let sealed = self.state.seal(at, draft).unwrap();
        assert_eq!(Entry::parse(&sealed.body), Ok(sealed.entry.clone()));
        self.replica.fold_verified(sealed.entry.seq, &sealed.body, &sealed.hash).unwrap();
        assert_eq!(self.replica, self.state, "the fold of the journal is the state");
        let snapshot = serde_json::to_string(&self.state).unwrap();
        assert_eq!(serde_json::from_str::<CustomerState>(&snapshot).unwrap(), self.state);
        sealed.entry
    }

    fn simple(&mut self, draft: Result<Draft, Rejection>) -> String {
        match draft {
            Ok(draft) => {
                let entry = self.take(self.now, draft);
                self.moves(&entry)
            }
            Err(rejection) => rejected(&rejection),
        }
    }

    fn charging(&mut self, draft: Result<Draft, Denied>) -> String {
        match draft {
            Ok(draft) => {
                let entry = self.take(self.now, draft);
                self.draws(&entry)
            }
            Err(Denied::Refused(refused)) => {
                let said = format!("refused {}, {} available", refused.code, refused.available);
                let draft = self.state.refused(*refused);
                self.take(self.now, draft);
                said
            }
            Err(Denied::Rejected(rejection)) => rejected(&rejection),
            Err(Denied::InvalidDecision(detail)) => format!("invalid: {detail}"),
        }
    }

    /// Writes all that is due up to `to`, each at its own instant.
    fn catch_up(&mut self, to: Timestamp) -> String {
        let mut said = Vec::new();
        while let Some((at, due)) = self.state.next_due().filter(|(at, _)| *at <= to) {
            let what = match due {
                Due::PeriodEnd => self.close_period(at, CloseReason::Scheduled).unwrap(),
                Due::PeriodStart(reason, allowance) => self.open_period(at, reason, allowance).unwrap(),
                Due::PlanChange => panic!("no line of these tables changes a plan later"),
                Due::TopUp(_) => panic!("no line of these tables has anything topped up"),
                Due::ReservationExpiry(id) => {
                    let entry = self.take(at, self.state.expire_reservation(id).unwrap());
                    format!("{} expires: {}", self.name_of(&id.to_string()), self.moves(&entry))
                }
                Due::GrantExpiry => {
                    let entry = self.take(at, self.state.expire_grants(at));
                    let Event::GrantsExpired { grants } = &entry.event else { panic!("{entry:?}") };
                    let names: Vec<String> = grants.iter().map(|id| self.name_of(&id.to_string())).collect();
                    format!("{} expires: {}", names.join(","), self.moves(&entry))
                }
            };
            said.push(format!("{} {what}", offset(at)));
            assert!(said.len() < 100, "what is due never ends: {said:?}");
        }
        self.now = to;
        if said.is_empty() { "nothing".to_owned() } else { said.join(" | ") }
    }

    /// As decisions are made: another plan closes the running period by the old terms and opens one by the new.
    fn configure(&mut self, words: &Words<'_>) -> String {
        let before = self.state.profile.clone();
        let plan = words.option("plan").map(key);
        let interval =
            words.option("interval").map(|text| Interval::new(unit(text), words.number("every", 1)).unwrap());
        let profile = Profile {
            name: "Acme".to_owned(),
            plan: plan.clone(),
            plan_version: Some(1),
            interval,
            time_zone: words.option("zone").unwrap_or("UTC").parse().unwrap(),
            anchor: words
                .time("anchor")
                .unwrap_or(before.as_ref().map_or(self.now, |profile| profile.anchor)),
            attributes: Vec::new(),
            external_ids: Vec::new(),
        };
        let allowance = match words.option("allowance") {
            Some("full") => Allowance::Full,
            Some("prorate") => Allowance::Prorate,
            _ => Allowance::Carry,
        };
        let mut said = Vec::new();
        let changes = before.is_some_and(|before| before.plan != plan);
        if changes && self.state.period.is_some() {
            let reason = if plan.is_some() { CloseReason::PlanChanged } else { CloseReason::PlanEnded };
            said.push(self.close_period(self.now, reason).unwrap());
        }
        let configured = self.simple(self.state.configure(self.now, profile));
        if plan.is_some() && self.state.period.is_none() {
            let reason = if self.state.periods == 0 { OpenReason::Started } else { OpenReason::PlanChanged };
            said.push(self.open_period(self.now, reason, allowance).unwrap());
        } else if said.is_empty() {
            said.push(configured);
        }
        said.join(" | ")
    }

    fn close(&mut self) -> String {
        let mut said = Vec::new();
        if self.state.period.is_some() && !self.state.closed {
            said.push(self.close_period(self.now, CloseReason::Closed).unwrap());
        }
        said.push(self.simple(self.state.close_customer()));
        said.join(" | ")
    }

    /// Both or neither.
    fn period_ends(&mut self, close: CloseReason, open: OpenReason) -> String {
        let before = self.clone();
        let closed = self.close_period(self.now, close);
        let opened = closed.and_then(|closed| {
            let opened = self.open_period(self.now, open, Allowance::Full)?;
            Ok(format!("{closed} | {opened}"))
        });
        opened.unwrap_or_else(|invalid| {
            *self = before;
            invalid
        })
    }

    fn close_period(&mut self, at: Timestamp, reason: CloseReason) -> Result<String, String> {
        let (outcome, names) = words::closing(&self.on_close, |name| self.id::<GrantId>(name));
        match self.state.close_period(at, reason, Some(record()), outcome) {
            Ok(draft) => {
                let entry = self.take(at, draft);
                let Event::PeriodClosed(closed) = &entry.event else { panic!("{entry:?}") };
                let ids: Vec<GrantId> = closed.grants.iter().map(|grant| grant.id).collect();
                self.name(names, &ids);
                Ok(format!("closes {}: {}", closed.period.number, self.moves(&entry)))
            }
            Err(Denied::InvalidDecision(detail)) => Err(format!("invalid: {detail}")),
            Err(denied) => panic!("{denied:?}"),
        }
    }

    fn open_period(
        &mut self,
        at: Timestamp,
        reason: OpenReason,
        allowance: Allowance,
    ) -> Result<String, String> {
        let (outcome, names) = words::opening(&self.on_open);
        let next = self.state.next_period(at, reason, allowance).unwrap();
        match self.state.open_period(at, next, Some(record()), outcome) {
            Ok(draft) => {
                let entry = self.take(at, draft);
                let Event::PeriodOpened(opened) = &entry.event else { panic!("{entry:?}") };
                let ids: Vec<GrantId> = opened.grants.iter().map(|grant| grant.id).collect();
                self.name(names, &ids);
                Ok(format!("opens {}: {}", opened.period.number, self.moves(&entry)))
            }
            Err(Denied::InvalidDecision(detail)) => Err(format!("invalid: {detail}")),
            Err(denied) => panic!("{denied:?}"),
        }
    }

    fn name(&mut self, names: Vec<String>, ids: &[GrantId]) {
        // An allowance that was used up is not issued; then the names of the others are the last ones.
        let issued = names.into_iter().rev().zip(ids.iter().rev());
        self.names.extend(issued.map(|(name, id)| (name, id.to_string())));
    }

    fn grant(&mut self, words: &Words<'_>) -> String {
        let request = GrantRequest {
            credit: words.credit(),
            amount: words.amount(0),
            category: words.args.get(1).map_or(Category::Promotional, |text| category(text)),
            priority: words.number("priority", 0),
            effective_at: words.time("effective"),
            expires: words.expiry(),
            features: words.list("scope").map(key).collect(),
            cost_basis: words.money(),
            metadata: Vec::new(),
        };
        self.simple(self.state.give(self.now, request, &self.grant_terms))
    }

    fn usage(&self, words: &Words<'_>) -> Usage {
        let time = words.time("occurred").unwrap_or(self.now);
        let mut usage = usage(words.option("feature").unwrap_or("chat"), time);
        usage
            .quantities
            .extend(words.option("tokens").map(|text| ("tokens".to_owned(), text.parse().unwrap())));
        usage.attributes.extend(words.option("model").map(|text| ("model".to_owned(), text.to_owned())));
        usage.entity = words.option("entity").map(key);
        usage
    }

    fn decision(&self, words: &Words<'_>, cost: Credits) -> Decision {
        let refusal = Refusal::denied("policy_denied", "no".to_owned());
        let overage = words.option("overage").map(|text| match text.split_once(':') {
            Some(("allow", limit)) => Overage::Allow(limit.parse().unwrap()),
            Some(("top_up", amount)) => Overage::TopUp(TopUp {
                amount: amount.parse().unwrap(),
                priority: 0,
                expires: words.expiry(),
                cost_basis: None,
            }),
            None if text == "deny" => Overage::Deny(refusal),
            None if text == "purchase" => Overage::RequirePurchase(Vec::new()),
            _ => panic!("no such overage: {text}"),
        });
        let order = words.list("order").map(|name| self.id(name)).collect();
        let counters = self.counters.iter().map(|counter| (counter.clone(), None)).collect();
        let mut decision = decision(words.credit().as_str(), cost, order, overage, counters);
        decision.settle_from = self.grant_terms.settle_from;
        decision
    }

    fn charge(&mut self, words: &Words<'_>) -> String {
        let decision = self.decision(words, words.amount(0));
        self.charging(self.state.charge(self.now, self.usage(words), decision))
    }

    fn reserve(&mut self, words: &Words<'_>) -> String {
        let decision = self.decision(words, words.amount(0));
        let expires_at = words.time("until").unwrap_or(self.now.plus_micros(900 * Timestamp::SECOND));
        self.charging(self.state.reserve(self.now, self.usage(words), None, decision, expires_at))
    }

    fn commit(&mut self, words: &Words<'_>) -> String {
        let decision = self.decision(words, words.amount(1));
        let id = self.id(words.arg(0));
        let mut usage = self.usage(words);
        if let Ok(reservation) = self.state.open_reservation(id) {
            usage.occurred_at = reservation.usage.occurred_at;
        }
        self.charging(self.state.commit(self.now, id, usage, decision))
    }

    fn bind_terms(&mut self, words: &Words<'_>) -> String {
        let draft = TermsDraft {
            policy: policy(),
            settings: JsonText::from(&serde_json::json!({ "price": 0.1, "tiers": [1, null, "x"] })),
            prepared: Prepared { form: vec![0, 255], counters: self.counters.clone(), ..Prepared::default() },
            needs: Needs::default(),
            effective_at: words.time("from"),
            ends_at: words.time("to"),
            mode: if words.flag("shadow") { Mode::Shadow } else { Mode::Active },
            on_fault: OnFault::LastGood,
            contract: None,
            time_zone: None,
            note: None,
            canary: None,
        };
        self.simple(self.state.bind_terms(self.now, draft))
    }

    fn set_override(&mut self, words: &Words<'_>) -> String {
        let exception = Override {
            feature: key(words.arg(0)),
            entitlement: Entitlement::Static { value: words.arg(1).into() },
            starts_at: words.time("from").unwrap_or(self.now),
            ends_at: words.time("to"),
        };
        self.simple(self.state.set_override(exception))
    }

    fn entitled(&self, words: &Words<'_>) -> String {
        let plan = words.option("plan").map(|value| Entitlement::Static { value: value.into() });
        let (source, found) = entitlement::evaluate(
            &key(words.arg(0)),
            self.now,
            &self.state.overrides,
            std::iter::empty(),
            plan.as_ref(),
        );
        match (source, found) {
            (Source::None, None) => "none".to_owned(),
            (source, Some(Entitlement::Static { value })) => {
                format!("{source:?} {}", value.as_str().unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn show_terms<'a>(&self, terms: impl IntoIterator<Item = &'a Arc<Terms>>) -> String {
        let names: Vec<String> =
            terms.into_iter().map(|terms| self.name_of(&terms.key.id.to_string())).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    }

    fn balance(&self, words: &Words<'_>) -> String {
        let balance = self.state.balance(&words.credit(), self.now);
        let on_grants = balance.reserved.saturating_sub(balance.held_overage);
        let parts = Credits::checked_sum([balance.used, balance.available, on_grants]).unwrap();
        assert_eq!(balance.granted, parts, "granted = used + available + held of grants");
        let mut said = format!(
            "granted={} used={} reserved={} available={} overage={}",
            balance.granted, balance.used, balance.reserved, balance.available, balance.overage
        );
        if !balance.held_overage.is_zero() {
            said.push_str(&format!(" held_overage={}", balance.held_overage));
        }
        said
    }

    /// What a feature may draw, and what only others may.
    fn available(&self, words: &Words<'_>) -> String {
        let view = self.state.balance_for(&words.credit(), &key(words.arg(0)), self.now);
        format!("{} restricted={}", view.available, view.restricted)
    }

    fn books(&self, words: &Words<'_>) -> String {
        let books = self.state.accounts.get(&words.credit()).copied().unwrap_or_default();
        format!(
            "issued={} spent={} expired={} voided={} overage={}",
            books.issued, books.spent, books.expired, books.voided, books.overage
        )
    }

    /// When a grant ends, what it cost, and its status.
    fn show(&self, id: GrantId) -> String {
        let Some(state) = self.state.grant(id) else { return "forgotten".to_owned() };
        let mut said = format!("{:?} remaining={}", state.status, state.remaining);
        if let Some(end) = state.ends_at {
            said.push_str(&format!(" ends={}", offset(end)));
        }
        if let Some(basis) = state.grant.cost_basis {
            said.push_str(&format!(" cost={basis}"));
        }
        said
    }

    fn period(&self) -> String {
        match &self.state.period {
            Some(period) => match period.end {
                Some(end) => format!("{} from {} to {end}", period.number, period.start),
                None => format!("{} from {}", period.number, period.start),
            },
            None => "none".to_owned(),
        }
    }

    fn counted(&self, words: &Words<'_>) -> String {
        let usage = self.usage(words);
        let commits = words.option("commits").map(|name| self.id(name));
        let values = self.state.counter_values(&self.counters, None, &usage, commits);
        let said = |Counted { used, held }: Counted| match held.is_zero() {
            true => used.to_string(),
            false => format!("{used}+{held}"),
        };
        values.into_iter().map(said).collect::<Vec<_>>().join(" ")
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
        if let Event::Committed(committed) = &entry.event {
            also("returned", committed.returned);
            also("exceeded", committed.exceeded);
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

    fn id<T: FromStr>(&self, name: &str) -> T {
        let id = self.names.iter().rev().find(|(known, _)| known == name).map_or(name, |(_, id)| id);
        id.parse().unwrap_or_else(|_| panic!("{name} is not known, or no such thing"))
    }

    fn name_of(&self, id: &str) -> String {
        self.names.iter().rev().find(|(_, known)| known == id).map_or(id, |(name, _)| name).to_owned()
    }
}

fn rejected(rejection: &Rejection) -> String {
    format!("rejected: {rejection}")
}
