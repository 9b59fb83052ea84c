//! Leases: `l: lease 20 scope=chat entity=ann`, `more l 40 ttl=60`, `settle l 5 feature=image`, `unlease l`.

use super::{Script, Words};
use crate::support::key;
use proviso_decide::command::{Command, Ttl};
use proviso_ledger::{
    model::{ids::LeaseId, lease::Lease},
    rules::lease::LeaseRequest,
};

impl Script {
    pub(super) fn lease(&self, words: &Words<'_>) -> Command {
        let ttl = words.option("ttl").map(|ttl| Ttl::new(ttl.parse().unwrap()).unwrap());
        let named = || LeaseId::of_hold(self.reservation(words.args[0]));
        match words.verb {
            "lease" => {
                let lease = Lease {
                    amount: words.args[0].parse().unwrap(),
                    features: words
                        .option("scope")
                        .map(|text| text.split(',').map(key).collect())
                        .unwrap_or_default(),
                    entity: words.option("entity").map(key),
                };
                let credit = key(words.option("credit").unwrap_or("credits"));
                Command::OpenLease(Box::new(LeaseRequest { credit, lease }), ttl.unwrap_or(Ttl::DEFAULT))
            }
            "more" => Command::ExtendLease(named(), words.args.get(1).map(|text| text.parse().unwrap()), ttl),
            "settle" => {
                let usage = Words {
                    verb: words.verb,
                    args: words.args[1..].to_vec(),
                    options: words.options.clone(),
                    settings: words.settings,
                };
                Command::Settle(named(), Box::new(self.usage(&usage)))
            }
            _ => Command::CloseLease(named()),
        }
    }
}
