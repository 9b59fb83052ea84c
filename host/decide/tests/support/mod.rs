//! One customer of a host without a database: a scripted policy, plans in memory, and a journal that is folded again, with all
//! checks, after every entry.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod catalog;
pub mod policy;
pub mod script;

use catalog::Catalog;
use policy::Scripted;
use proviso_decide::{
    Decider, Journal, Stop, Written,
    command::{Command, Reply, Request},
    policy::{Lookup, Policies, Policy},
    replay::{
        self, Again, Unrepeatable,
        backtest::{Scope, Substitute, Twin},
    },
};
use proviso_ledger::{
    fold::Sealed,
    journal::{Draw, Entry},
    model::{counter::Counted, ids::Digest, terms::PolicyRef, time::Timestamp},
    rules::refund::Refundable,
    state::{CustomerState, LATE_WINDOW, Origin},
};
use std::{collections::BTreeSet, fmt::Debug, str::FromStr, sync::Arc};

pub fn key<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The module of a policy: its name says it all.
pub fn module(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

pub struct World {
    pub state: CustomerState,
    pub replica: CustomerState,
    pub entries: Vec<Written>,
    pub catalog: Catalog,
    pub now: Timestamp,
    /// Modules that can't be loaded.
    pub unavailable: BTreeSet<Digest>,
}

impl World {
    pub fn new(customer: &str, now: Timestamp) -> Self {
        let state = CustomerState::new(key(customer));
        Self {
            replica: state.clone(),
            state,
            entries: Vec::new(),
            catalog: Catalog::default(),
            now,
            unavailable: BTreeSet::new(),
        }
    }

    pub fn with_decider<T>(&self, run: impl FnOnce(&Decider<'_>) -> T) -> T {
        self.with_policies(|policies| {
            run(&Decider {
                plans: &self.catalog,
                policies,
                now: self.now,
                late_window: LATE_WINDOW,
                most_due: usize::MAX,
            })
        })
    }

    /// Decides, and checks all that must hold of the entries, whatever came of it.
    pub fn decide(&mut self, command: Command, origin: Origin) -> Result<Reply, Stop> {
        let request = Request { customer: self.state.customer.clone(), command, origin };
        let mut state = self.state.clone();
        let mut journal = Journal::default();
        let reply = self.with_decider(|decider| decider.decide(&mut state, &request, &mut journal));
        if let Err(Stop::Defect(error)) = &reply {
            panic!("a defect: {error} in {request:?}");
        }
        self.state = state;
        self.follow(&journal.written);
        for written in journal.written {
            self.replay(&written);
            self.fold(&written);
            self.entries.push(written);
        }
        assert_eq!(self.replica, self.state, "the fold of the journal is the state");
        let saved = serde_json::to_string(&self.state).unwrap();
        assert_eq!(serde_json::from_str::<CustomerState>(&saved).unwrap(), self.state, "saved and read");
        if self.state.reservations.is_empty() {
            let held = self.state.counters.iter().find(|(.., Counted { held, .. })| !held.is_zero());
            assert_eq!(held, None, "no reservation is open");
            let mut budgets = self.state.budgets.iter().flat_map(|(_, state)| state.windows.values());
            assert!(budgets.all(|total| total.held.is_zero()), "no reservation is open");
        }
        reply
    }

    fn fold(&mut self, written: &Written) {
        let Written { entry, body, hash } = written;
        assert_eq!(Entry::parse(body).as_ref(), Ok(&**entry));
        let folded = self.replica.fold_verified(entry.seq, body, hash);
        assert_eq!(folded.map_err(|error| format!("{error}: {body}")).as_ref(), Ok(&**entry));
    }

    /// Asks new entries of a twin whose terms are the same: it must write them in every bit.
    fn follow(&self, new: &[Written]) {
        let scripted: Arc<dyn Policy> = Arc::new(Scripted::new("scripted"));
        let reference = PolicyRef { name: key("other"), version: 1, digest: module("other") };
        let substitute = Substitute::new(scripted, reference, None, Scope::Policy(key("other")));
        let history = self.catalog.history();
        let refunded = new.iter().filter_map(|written| written.entry.refunded().map(|one| one.charge));
        let refunded: BTreeSet<_> = refunded.collect();
        let mut twin = Twin::new(&history, &substitute, self.replica.clone(), refunded.clone()).unwrap();
        refunded.iter().for_each(|charge| twin.keep(self.refundable(charge.entry)));
        for Written { entry, body, hash } in new {
            self.with_policies(|policies| twin.take(policies, entry, body, hash)).unwrap();
        }
        let is_unsaid = |written: &Written| self.again(written) == Again::CantBe(Unrepeatable::NotRecorded);
        let report = twin.finish();
        if !report.is_identical && !new.iter().any(is_unsaid) {
            panic!("{report:?} of {:?}", new.iter().map(|written| &written.body).collect::<Vec<_>>());
        }
    }

    fn with_policies<T>(&self, run: impl FnOnce(Policies<'_>) -> T) -> T {
        let scripted: Arc<dyn Policy> = Arc::new(Scripted::new("scripted"));
        run(&|digest: &Digest| match self.unavailable.contains(digest) {
            true => Lookup::Unavailable("the module is gone".to_owned()),
            false => Lookup::Ready(scripted.clone()),
        })
    }

    fn again(&self, written: &Written) -> Again {
        let history = self.catalog.history();
        self.with_policies(|policies| replay::again(&history, policies, &self.replica, &written.entry))
            .unwrap()
    }

    /// Decides an entry again, which must come to the same.
    fn replay(&self, written: &Written) {
        let again = self.again(written);
        let is_fine = match &again {
            Again::Agrees | Again::Undecided => true,
            // The entry tells less than what was asked.
            Again::CantBe(why) => *why == Unrepeatable::NotRecorded,
            Again::Differs(_) => false,
        };
        assert!(is_fine, "{again:?} of {}", written.body);
    }

    /// A charge and its last refund, as the journal has them.
    pub fn refundable(&self, seq: u64) -> Refundable {
        let entries = &self.entries;
        let entry = |seq: u64| entries.iter().find(|written| written.entry.seq == seq).unwrap().entry.clone();
        let charge = entry(seq);
        let refunds = entries.iter().rev().map(|written| &written.entry);
        let is_last =
            |entry: &&Arc<Entry>| entry.refunded().is_some_and(|one| one.charge == charge.charge_id());
        let made = |draw: &Draw| {
            entry(draw.grant.entry).grants().iter().find(|grant| grant.id == draw.grant).cloned()
        };
        Refundable {
            reserved: charge.commits().map(|id| entry(id.entry)),
            last: refunds.clone().find(is_last).cloned(),
            grants: charge.draws().iter().filter_map(made).collect(),
            charge,
        }
    }

    /// Takes in an entry that was made without a request.
    pub fn adopt(&mut self, sealed: Sealed) {
        let Sealed { entry, body, hash } = sealed;
        let written = Written { entry: Arc::new(entry), body, hash };
        self.fold(&written);
        self.entries.push(written);
    }
}
