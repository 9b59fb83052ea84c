//! The language of the scenarios. A line is a command, and behind `->` what must come of it, as text. In between, every
//! entry is read back from its text, folded into a second state with all checks, and a snapshot of it compared.
//!
//! `name: command` names the grant, reservation or terms that the command makes; times are offsets from the start
//! (`+36h`) or RFC 3339. Credits move as `from>to amount`.

mod words;

use crate::support::{customer, decision, key, policy, record, usage};
use proviso_ledger::{
    charge::Decision,
    credits::Credits,
    customer::Profile,
    decision::{Counter, Needs, Overage, Prepared, Refusal, TopUp, Usage},
    due::Due,
    entitlement::{self, Entitlement, Override, Source},
    error::{Denied, Rejection},
    grant::{Category, CostBasis, Grant},
    ids::{GrantId, TermsId},
    journal::{Entry, Event, ResetReason},
    json::JsonText,
    period::Interval,
    state::{CustomerState, Draft},
    terms::{self, Mode, OnFault, Owner, Terms, TermsKey},
    time::Timestamp,
    transfer::Book,
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

struct World {
    state: CustomerState,
    replica: CustomerState,
    now: Timestamp,
    names: Vec<(String, String)>,
    on_reset: String,
    counters: Vec<Counter>,
}

impl World {
    fn new() -> Self {
        Self {
            state: customer(),
            replica: customer(),
            now: START.parse().unwrap(),
            names: Vec::new(),
            on_reset: String::new(),
            counters: Vec::new(),
        }
    }

    fn run(&mut self, line: &str) -> String {
        let (name, line) = match line.split_once(": ") {
            Some((name, rest)) if !name.contains(' ') => (Some(name), rest),
            _ => (None, line),
        };
        if let Some(outcome) = line.strip_prefix("on reset ") {
            self.on_reset = outcome.to_owned();
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
            "void" => self.simple(self.state.void(self.id(words.arg(0)))),
            "adjust" => {
                let draft =
                    self.state.adjust(self.now, words.credit(), words.amount(0), "checked".to_owned());
                self.simple(draft)
            }
            "close" => self.simple(self.state.close()),
            "reset" => match self.state.check_early_reset() {
                Ok(()) => self.reset(self.now, ResetReason::Early),
                Err(rejection) => rejected(&rejection),
            },
            "balance" => self.balance(&words),
            "books" => self.books(&words),
            "period" => self.period(),
            "count" => {
                self.counters.push(counter(&words));
                "ok".to_owned()
            }
            "counters" => self.counted(&words),
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
        assert_eq!(Entry::parse(sealed.entry.seq, &sealed.body), Ok(sealed.entry.clone()));
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
                Due::PeriodEnd => self.reset(at, ResetReason::Scheduled),
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

    fn configure(&mut self, words: &Words<'_>) -> String {
        let before = self.state.profile.clone();
        let plan = words.option("plan").map(key);
        let interval = words
            .option("interval")
            .map(|text| Interval { unit: unit(text), count: words.number("every", 1) });
        let profile = Profile {
            name: "Acme".to_owned(),
            plan: plan.clone(),
            interval,
            time_zone: words.option("zone").unwrap_or("UTC").parse().unwrap(),
            anchor: words
                .time("anchor")
                .unwrap_or(before.as_ref().map_or(self.now, |profile| profile.anchor)),
            attributes: Vec::new(),
            external_ids: Vec::new(),
        };
        let said = self.simple(self.state.configure(self.now, profile));
        if plan.is_none() || before.as_ref().is_some_and(|before| before.plan == plan) {
            return said;
        }
        let reason =
            if self.state.period.is_none() { ResetReason::Started } else { ResetReason::PlanChanged };
        self.reset(self.now, reason)
    }

    fn reset(&mut self, at: Timestamp, reason: ResetReason) -> String {
        let (outcome, names) = words::outcome(&self.on_reset, |name| self.id::<GrantId>(name));
        let opened = self.state.next_period(at).unwrap();
        match self.state.reset(at, reason, opened, Some(record()), outcome) {
            Ok(draft) => {
                let entry = self.take(at, draft);
                let Event::Reset(reset) = &entry.event else { panic!("{entry:?}") };
                assert_eq!(names.len(), reset.grants.len());
                self.names.extend(
                    names.into_iter().zip(&reset.grants).map(|(name, grant)| (name, grant.id.to_string())),
                );
                format!("period {}: {}", reset.opened.number, self.moves(&entry))
            }
            Err(Denied::InvalidDecision(detail)) => format!("invalid: {detail}"),
            Err(denied) => panic!("{denied:?}"),
        }
    }

    fn grant(&mut self, words: &Words<'_>) -> String {
        let grant = Grant {
            id: GrantId { entry: 0, index: 0 },
            credit: words.credit(),
            amount: words.amount(0),
            category: words.args.get(1).map_or(Category::Promotional, |text| category(text)),
            priority: words.number("priority", 0),
            effective_at: words.time("effective").unwrap_or(self.now),
            expires_at: words.time("expires"),
            features: words.list("scope").map(key).collect(),
            cost_basis: words
                .flag("paid")
                .then(|| CostBasis { amount: Credits(1), currency: "EUR".to_owned() }),
            metadata: Vec::new(),
        };
        self.simple(self.state.give(self.now, grant))
    }

    fn usage(&self, words: &Words<'_>) -> Usage {
        let mut usage = usage(words.option("feature").unwrap_or("chat"), self.now);
        usage
            .quantities
            .extend(words.option("tokens").map(|text| ("tokens".to_owned(), text.parse().unwrap())));
        usage.attributes.extend(words.option("model").map(|text| ("model".to_owned(), text.to_owned())));
        usage.entity = words.option("entity").map(key);
        usage
    }

    fn decision(&self, words: &Words<'_>, cost: Credits) -> Decision {
        let refusal = Refusal { code: "policy_denied".to_owned(), detail: "no".to_owned(), retry_at: None };
        let overage = words.option("overage").map(|text| match text.split_once(':') {
            Some(("allow", limit)) => Overage::Allow(limit.parse().unwrap()),
            Some(("top_up", amount)) => {
                let expires_at = words.time("expires");
                Overage::TopUp(TopUp { amount: amount.parse().unwrap(), expires_at, cost_basis: None })
            }
            None if text == "deny" => Overage::Deny(refusal),
            None if text == "purchase" => Overage::RequirePurchase(Vec::new()),
            _ => panic!("no such overage: {text}"),
        });
        let order = words.list("order").map(|name| self.id(name)).collect();
        decision(words.credit().as_str(), cost, order, overage, self.counters.clone())
    }

    fn charge(&mut self, words: &Words<'_>) -> String {
        let decision = self.decision(words, words.amount(0));
        self.charging(self.state.charge(self.now, self.usage(words), decision))
    }

    fn reserve(&mut self, words: &Words<'_>) -> String {
        let decision = self.decision(words, words.amount(0));
        let expires_at = words.time("until").unwrap_or(self.now.plus_micros(900 * Timestamp::SECOND));
        self.charging(self.state.reserve(self.now, self.usage(words), decision, expires_at))
    }

    fn commit(&mut self, words: &Words<'_>) -> String {
        let decision = self.decision(words, words.amount(1));
        self.charging(self.state.commit(self.now, self.id(words.arg(0)), self.usage(words), decision))
    }

    fn bind_terms(&mut self, words: &Words<'_>) -> String {
        let terms = Terms {
            key: TermsKey { owner: Owner::Customer, id: TermsId { entry: 0, index: 0 } },
            policy: policy(),
            settings: JsonText::from(&serde_json::json!({ "price": 0.1, "tiers": [1, null, "x"] })),
            prepared: Prepared { form: vec![0, 255], counters: self.counters.clone() },
            needs: Needs::default(),
            effective_at: words.time("from").unwrap_or(self.now),
            ends_at: words.time("to"),
            mode: if words.flag("shadow") { Mode::Shadow } else { Mode::Active },
            on_fault: OnFault::LastGood,
            created_at: self.now,
        };
        self.simple(self.state.bind_terms(self.now, terms))
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
        let (source, found) =
            entitlement::evaluate(&key(words.arg(0)), self.now, &self.state.overrides, plan.as_ref());
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
        let on_grants: i64 =
            self.state.reservations.values().flat_map(|r| &r.holds).map(|(_, held)| held.0).sum();
        if self.state.accounts.len() == 1 {
            assert_eq!(balance.granted.0, balance.used.0 + balance.available.0 + on_grants);
        }
        format!(
            "granted={} used={} reserved={} available={} overage={}",
            balance.granted, balance.used, balance.reserved, balance.available, balance.overage
        )
    }

    fn books(&self, words: &Words<'_>) -> String {
        let books = self.state.accounts.get(&words.credit()).copied().unwrap_or_default();
        format!(
            "issued={} spent={} expired={} voided={} overage={}",
            books.issued, books.spent, books.expired, books.voided, books.overage
        )
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
        let values = self.state.counter_values(&self.counters, Some(&usage), self.now);
        values.into_iter().map(|value| Credits(value).to_string()).collect::<Vec<_>>().join(" ")
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
