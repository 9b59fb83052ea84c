//! Automatic top-ups in the language of the tables.

use super::{Script, Words, change, window};
use crate::support::key;
use proviso_decide::{
    command::{Change, Command},
    precondition::Expected,
    top_ups::AutoTopUpChange,
};
use proviso_ledger::{
    journal::Event,
    model::{
        amounts::Money,
        ids::TopUpId,
        period::{Interval, IntervalUnit},
        plan_grant::PlanExpiry,
        top_up::Fill,
    },
    rules::top_up::TopUpPayment,
};

pub(super) fn euros(text: &str) -> Money {
    Money::new(text.parse().unwrap(), "EUR".parse().unwrap()).unwrap()
}

/// `topup threshold=100 target=1000 most=2 per=day cool=3600 wait=86400 failures=3 price=0.01 hours=48 on`, each but for the first two
/// as it stands without it; `amount=…` in the place of `target=…`.
pub fn rule(words: &Words<'_>) -> Command {
    let number = |name: &str| change(words.option(name), |text: &str| text.parse().unwrap());
    let amount = |name: &str| words.option(name).map(|text| text.parse().unwrap());
    Command::SetAutoTopUp(Box::new(AutoTopUpChange {
        credit: key(words.option("credit").unwrap_or("credits")),
        threshold: amount("threshold"),
        fill: amount("target").map(Fill::Target).or_else(|| amount("amount").map(Fill::Amount)),
        most: number("most"),
        window: change(words.option("per"), window),
        cool_down_seconds: number("cool"),
        answer_seconds: number("wait"),
        most_failures: number("failures"),
        unit_price: change(words.option("price"), euros),
        priority: change(words.option("priority"), |text| text.parse().unwrap()),
        expires: change(words.option("hours"), |text| {
            PlanExpiry::After(Interval::new(IntervalUnit::Hour, text.parse().unwrap()).unwrap())
        }),
        enabled: match (words.flag("on"), words.flag("off")) {
            (true, _) => Change::Set(true),
            (_, true) => Change::Set(false),
            _ => Change::Keep,
        },
        expected: Expected::Anything,
    }))
}

/// What an entry about top-ups says.
pub fn said(event: &Event) -> Option<String> {
    Some(match event {
        Event::TopUpRequested(asked) => {
            let price = asked.price.map(|price| format!(" for {price}")).unwrap_or_default();
            format!("asks {}{price} at {}", asked.amount, asked.available)
        }
        Event::TopUpExpired { top_up, .. } => format!("{top_up} expires"),
        Event::TopUpDeclined(declined) => format!("{} declined", declined.top_up),
        Event::TopUpsHalted(halted) => {
            let until = halted.until.map(|until| format!(" until {until}")).unwrap_or_default();
            format!("alarm {:?}{until}", halted.reason)
        }
        _ => return None,
    })
}

impl Script {
    /// `pay topup_5 paid=9.90 payment=x`, `decline topup_5 reason=x`; without an id, the last of the credit type.
    pub(super) fn answer_top_up(&self, words: &Words<'_>) -> Command {
        let credit = key(words.option("credit").unwrap_or("credits"));
        let last = || self.world.state.auto_top_ups[&credit].recent.last().unwrap().id;
        let id: TopUpId = words.args.first().map_or_else(last, |id| id.parse().unwrap());
        let text = |name: &str| words.option(name).map(str::to_owned);
        if words.verb == "pay" {
            let cost_basis = words.option("paid").map(euros);
            Command::PayTopUp(id, Box::new(TopUpPayment { payment: text("payment"), cost_basis }))
        } else {
            Command::DeclineTopUp(id, text("reason"))
        }
    }

    /// All top-ups that are remembered, of each credit type oldest first, with what keeps its rule from asking.
    pub(super) fn top_ups(&self) -> String {
        let state = &self.world.state;
        let at = self.world.now.max(state.at);
        let rules = state.auto_top_ups.iter().map(|(credit, of)| {
            let (outlook, count, again) = state.top_up_outlook(of, at);
            let mut said = format!("{credit} {outlook:?} {count} of {}", of.rule.most);
            if let Some(again) = again {
                said.push_str(&format!(" until {again}"));
            }
            for one in &of.recent {
                said.push_str(&format!(", {} {} {}", one.id, one.status.as_str(), one.requested.amount));
            }
            said
        });
        let said: Vec<String> = rules.collect();
        if said.is_empty() { "none".to_owned() } else { said.join(" | ") }
    }
}
