//! What is moved in from another system, and grants as both words for them name them.

use super::{Script, Words, pairs};
use crate::support::key;
use proviso_decide::{
    command::{Change, Command, CustomerChange},
    importing::{CustomerImport, Import, Imported, PastUsage},
};
use proviso_ledger::{
    journal::PaidElsewhere,
    model::{amounts::Money, grant::Category, view::Expiry},
    rules::{
        grants::GrantRequest,
        importing::{ImportOrigin, ImportedGrant},
    },
};

impl Script {
    /// `grant 5 prepaid expires=+2d with=0 effective=+1h scope=chat,image paid=9.90 priority=-1 described`.
    pub(super) fn grant_request(&self, words: &Words<'_>) -> GrantRequest {
        let time = |name: &str| words.option(name).map(|text| self.instant(text));
        GrantRequest {
            credit: key(words.option("credit").unwrap_or("credits")),
            amount: words.args[0].parse().unwrap(),
            category: Category::from_name(words.args.get(1).unwrap_or(&"promotional")).unwrap(),
            priority: words.option("priority").map_or(0, |text| text.parse().unwrap()),
            effective_at: time("effective"),
            expires: Expiry {
                at: time("expires"),
                with_period: words.option("with").map(|text| text.parse().unwrap()),
            },
            features: words.option("scope").iter().flat_map(|text| text.split(',')).map(key).collect(),
            cost_basis: words
                .option("paid")
                .map(|text| Money::new(text.parse().unwrap(), "EUR".parse().unwrap()).unwrap()),
            metadata: if words.flag("described") { pairs("invoice") } else { Vec::new() },
        }
    }

    /// `moves_in plan=pro version=1 zone=Asia/Tokyo anchor=+2d trial=+3d`; with `opens` the plan begins its period.
    pub(super) fn moves_in(&self, words: &Words<'_>) -> Command {
        let set = |name: &str| words.option(name);
        Command::ImportCustomer(Box::new(CustomerImport {
            change: CustomerChange {
                plan: set("plan").map_or(Change::Keep, |plan| Change::Set(key(plan))),
                time_zone: set("zone").map_or(Change::Keep, |zone| Change::Set(zone.parse().unwrap())),
                anchor: set("anchor").map_or(Change::Keep, |at| Change::Set(self.instant(at))),
                ..CustomerChange::default()
            },
            plan_version: set("version").map(|version| version.parse().unwrap()),
            opens_period: words.flag("opens"),
            trial_ends_at: set("trial").map(|at| self.instant(at)),
        }))
    }

    /// `moved 100 prepaid id=g-1 used=40 voided=5 never allowance=true`, and what a grant has; `owed 5 id=o-1`;
    /// `used_there 7 id=u-1 of=2024-01-01T00:00:00Z cost=1.5 paid=1 refund`, and what a usage has.
    pub(super) fn import(&self, words: &Words<'_>) -> Command {
        let amount = |name: &str| words.option(name).unwrap_or("0").parse().unwrap();
        let credit = key(words.option("credit").unwrap_or("credits"));
        let what = match words.verb {
            "moved" => Imported::Grant(Box::new(ImportedGrant {
                grant: self.grant_request(words),
                never_expires: words.flag("never"),
                used: amount("used"),
                voided: amount("voided"),
                allowance: words.option("allowance").map(|text| text.parse().unwrap()),
            })),
            "owed" => Imported::Overage(credit, words.args[0].parse().unwrap()),
            _ => Imported::Usage(Box::new(PastUsage {
                usage: self.usage(words),
                ancestors: None,
                credit,
                cost: amount("cost"),
                paid: words
                    .option("paid")
                    .map(|paid| PaidElsewhere {
                        category: Some(Category::Prepaid),
                        amount: paid.parse().unwrap(),
                    })
                    .into_iter()
                    .collect(),
                refund: words.flag("refund"),
            })),
        };
        let external_id = key(words.option("id").unwrap_or("1"));
        let origin = ImportOrigin { import: key("move"), external_id };
        Command::Import(Box::new(Import { origin, what }))
    }
}
