//! How an answer of a policy reads: for people, and as JSON.

use crate::{
    terminal::{Paint, count},
    verbs::policy::text,
};
use proviso_ledger::{
    journal::{Fee, Line, Offer},
    model::{
        amounts::Credits,
        answers::{
            CloseOutcome, FeeMethod, NewGrant, OpenOutcome, Overage, Rating, Refusal, RefusalKind, Rollover,
            SettleMethod, Settlement, TopUp,
        },
        view::Expiry,
    },
};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What a policy was asked and said.
pub struct Answer {
    /// What it said.
    pub said: Said,
    /// What that took.
    pub fuel: u64,
    /// What it logged.
    pub log: Vec<String>,
    /// What of the context the answer would depend on although the policy does not declare it.
    pub undeclared: Vec<&'static str>,
}

/// What a policy said.
#[derive(PartialEq)]
pub enum Said {
    /// A cost; where it is more than is available, by how much and what happens then.
    Rated(Rating, Option<(Credits, Overage)>),
    /// A refusal.
    Refused(Refusal),
    /// What the end of a period does.
    Closed(CloseOutcome),
    /// What the beginning of a period does.
    Opened(OpenOutcome),
}

impl Answer {
    /// For machines.
    pub fn json(&self) -> Value {
        let mut object = match &self.said {
            Said::Rated(rating, overage) => {
                let mut object = rated(rating);
                if let Some((shortfall, overage)) = overage {
                    object.insert("shortfall".to_owned(), json!(shortfall));
                    object.insert("overage".to_owned(), overage_json(overage));
                }
                object
            }
            Said::Refused(refusal) => named("refused", json!({"refusal": refusal_json(refusal)})),
            Said::Closed(outcome) => named(
                "closed",
                json!({
                    "roll_over": outcome.roll_over.iter().map(rollover_json).collect::<Vec<_>>(),
                    "expire": outcome.expire,
                    "fees": outcome.fees.iter().cloned().map(Fee::from).collect::<Vec<_>>(),
                    "settle": outcome.settle.iter().map(settlement_json).collect::<Vec<_>>(),
                    "notes": outcome.notes,
                }),
            ),
            Said::Opened(outcome) => named(
                "opened",
                json!({
                    "issue": outcome.issue.iter().map(grant_json).collect::<Vec<_>>(),
                    "settle": outcome.settle.iter().map(settlement_json).collect::<Vec<_>>(),
                    "notes": outcome.notes,
                }),
            ),
        };
        object.insert("fuel".to_owned(), self.fuel.into());
        object.insert("log".to_owned(), json!(self.log));
        if !self.undeclared.is_empty() {
            object.insert("undeclared".to_owned(), json!(self.undeclared));
        }
        Value::Object(object)
    }

    /// For people.
    pub fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{} {value}", paint.faint(&format!("{name:<10}")));
        };
        match &self.said {
            Said::Rated(rating, overage) => {
                row("outcome", &paint.good("rated"));
                row("cost", &paint.strong(&format!("{} {}", rating.cost, rating.credit)));
                lines(rating).iter().for_each(|line| row("line", &text::line(line)));
                if let Some((shortfall, overage)) = overage {
                    row("shortfall", &shortfall.to_string());
                    row("overage", &overage_text(overage));
                }
            }
            Said::Refused(refusal) => {
                row("outcome", &format!("{} {}", paint.bad("refused"), refusal_text(refusal)));
                refusal.suggestions.iter().for_each(|one| row("suggestion", &text::suggestion(one)));
            }
            Said::Closed(outcome) => {
                row("outcome", &paint.good("closed"));
                outcome.roll_over.iter().for_each(|one| row("roll over", &rollover_text(one)));
                outcome.expire.iter().for_each(|grant| row("expire", &grant.to_string()));
                for fee in &outcome.fees {
                    let method = if fee.method == FeeMethod::Drawn { "drawn" } else { "invoiced" };
                    row("fee", &format!("{} {} {method}: {}", fee.amount, fee.credit, fee.label));
                }
                outcome.settle.iter().for_each(|one| row("settle", &settlement_text(one)));
                outcome.notes.iter().for_each(|note| row("note", note));
            }
            Said::Opened(outcome) => {
                row("outcome", &paint.good("opened"));
                outcome.issue.iter().for_each(|grant| row("issue", &grant_text(grant)));
                outcome.settle.iter().for_each(|one| row("settle", &settlement_text(one)));
                outcome.notes.iter().for_each(|note| row("note", note));
            }
        }
        row("fuel", &count(self.fuel));
        self.log.iter().for_each(|line| row("log", line));
        text
    }
}

fn lines(rating: &Rating) -> Vec<Line> {
    rating.lines.iter().cloned().map(Line::from).collect()
}

fn named(outcome: &str, fields: Value) -> Map<String, Value> {
    let mut object = Map::from_iter([("outcome".to_owned(), outcome.into())]);
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    object
}

fn rated(rating: &Rating) -> Map<String, Value> {
    let Rating { credit, cost, draw_order, .. } = rating;
    named("rated", json!({"cost": cost, "credit": credit, "lines": lines(rating), "draw_order": draw_order}))
}

fn refusal_json(refusal: &Refusal) -> Value {
    let Refusal { code, detail, retry_at, suggestions, .. } = refusal;
    let kind = kind(refusal);
    json!({"kind": kind, "code": code, "detail": detail, "retry_at": retry_at, "suggestions": suggestions})
}

fn kind(refusal: &Refusal) -> &'static str {
    match refusal.kind {
        RefusalKind::Denied => "denied",
        RefusalKind::Invalid => "invalid",
    }
}

fn overage_json(overage: &Overage) -> Value {
    let object = match overage {
        Overage::Deny(refusal) => named("deny", json!({"refusal": refusal_json(refusal)})),
        Overage::Allow(limit) => named("allow", json!({"up_to": limit})),
        Overage::RequirePurchase(offers) => {
            let offers: Vec<Offer> = offers.iter().cloned().map(Offer::from).collect();
            named("require_purchase", json!({"offers": offers}))
        }
        Overage::TopUp(TopUp { amount, priority, expires, cost_basis }) => named(
            "top_up",
            json!({
                "amount": amount, "priority": priority, "expires_at": expires.at,
                "expires_with_period": expires.with_period, "cost_basis": cost_basis,
            }),
        ),
        Overage::Reduce(quantities) => {
            let quantities = quantities.iter().map(|(name, amount)| (name.clone(), json!(amount)));
            named("reduce", json!({"quantities": quantities.collect::<Map<_, _>>()}))
        }
    };
    Value::Object(object)
}

fn rollover_json(rollover: &Rollover) -> Value {
    let Rollover { grant, amount, held_share, held_limit, priority, expires } = rollover;
    json!({
        "grant": grant, "amount": amount, "held_share": held_share, "held_limit": held_limit, "priority": priority,
        "expires_at": expires.at, "expires_with_period": expires.with_period,
    })
}

fn settlement_json(settlement: &Settlement) -> Value {
    let Settlement { credit, amount, method } = settlement;
    json!({"credit": credit, "amount": amount, "method": method})
}

fn grant_json(grant: &NewGrant) -> Value {
    json!({
        "credit": grant.credit, "amount": grant.amount, "category": grant.category, "priority": grant.priority,
        "effective_at": grant.effective_at, "expires_at": grant.expires.at,
        "expires_with_period": grant.expires.with_period, "features": grant.features,
        "cost_basis": grant.cost_basis, "allowance": grant.allowance,
    })
}

fn refusal_text(refusal: &Refusal) -> String {
    let retry = refusal.retry_at.map(|at| format!(", again from {at}")).unwrap_or_default();
    format!("({}) {}: {}{retry}", kind(refusal), refusal.code, refusal.detail)
}

fn overage_text(overage: &Overage) -> String {
    match overage {
        Overage::Deny(refusal) => format!("deny {}", refusal_text(refusal)),
        Overage::Allow(limit) => {
            format!("allow while the outstanding and the held overage are at most {limit}")
        }
        Overage::RequirePurchase(offers) => {
            let offers: Vec<String> = offers
                .iter()
                .map(|offer| {
                    let price = offer.price.map(|price| format!(" for {price}")).unwrap_or_default();
                    format!("{} ({}, {} credits{price})", offer.code, offer.label, offer.credits)
                })
                .collect();
            format!("require a purchase: {}", offers.join(", "))
        }
        Overage::TopUp(top_up) => {
            let price = top_up.cost_basis.map(|price| format!(" for {price}")).unwrap_or_default();
            format!("top up with {}{price}{}", top_up.amount, expiry_text(top_up.expires))
        }
        Overage::Reduce(quantities) => {
            let quantities: Vec<String> = quantities.iter().map(text::quantity).collect();
            format!("reduce to {}", quantities.join(", "))
        }
    }
}

fn rollover_text(rollover: &Rollover) -> String {
    let Rollover { grant, amount, held_share, held_limit, expires, .. } = rollover;
    let held = if held_limit.is_zero() || held_share.is_zero() {
        String::new()
    } else {
        format!(", {held_share} of what is held and comes back, at most {held_limit}")
    };
    format!("{amount} of {grant}{held}{}", expiry_text(*expires))
}

fn grant_text(grant: &NewGrant) -> String {
    let NewGrant { amount, credit, category, effective_at, expires, allowance, .. } = grant;
    let from = effective_at.map(|at| format!(", usable from {at}")).unwrap_or_default();
    let (category, allowance) = (category.as_str(), allowance.as_str());
    format!("{amount} {credit} {category} ({allowance}){from}{}", expiry_text(*expires))
}

fn expiry_text(Expiry { at, with_period }: Expiry) -> String {
    let at = at.map(|at| format!(", until {at}")).unwrap_or_default();
    let with_period = match with_period {
        None => String::new(),
        Some(0) => ", until the period ends".to_owned(),
        Some(1) => ", until the next period ends".to_owned(),
        Some(number) => format!(", until {number} more periods have ended"),
    };
    format!("{at}{with_period}")
}

fn settlement_text(settlement: &Settlement) -> String {
    let Settlement { credit, amount, method } = settlement;
    let method = match method {
        SettleMethod::Invoice => "invoice",
        SettleMethod::Waive => "waive",
        SettleMethod::Deduct => "deduct",
    };
    let amount = amount.map_or_else(|| "all".to_owned(), |amount| amount.to_string());
    format!("{method} {amount} of the overage in {credit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_ledger::model::{answers::Suggestion, grant::default_credit};

    fn shown(said: Said) -> (String, Value) {
        let answer = Answer { said, fuel: 1_234, log: vec!["seen".to_owned()], undeclared: Vec::new() };
        (answer.text(Paint::plain()), answer.json())
    }

    #[test]
    fn a_refusal_and_a_reduction_say_what_would_do() {
        let suggestion = Suggestion {
            detail: "use the small model".to_owned(),
            attributes: vec![("model".to_owned(), "small".to_owned())],
            quantities: vec![("tokens".to_owned(), "100".parse().unwrap())],
        };
        let refusal =
            Refusal { suggestions: vec![suggestion], ..Refusal::denied("cap", "too much".to_owned()) };
        let (text, json) = shown(Said::Refused(refusal));
        assert_eq!(
            text,
            "outcome    refused (denied) cap: too much\n\
             suggestion use the small model: model = small, tokens = 100\n\
             fuel       1,234\n\
             log        seen\n"
        );
        assert_eq!(json["refusal"]["suggestions"][0]["quantities"]["tokens"], "100");
        let rating = Rating {
            credit: default_credit(),
            cost: "5".parse().unwrap(),
            lines: Vec::new(),
            draw_order: Vec::new(),
        };
        let reduce = Overage::Reduce(vec![("tokens".to_owned(), "2".parse().unwrap())]);
        let (text, json) = shown(Said::Rated(rating, Some(("3".parse().unwrap(), reduce))));
        assert!(
            text.contains("cost       5 credits\nshortfall  3\noverage    reduce to tokens = 2\n"),
            "{text}"
        );
        assert_eq!(json["overage"], json!({"outcome": "reduce", "quantities": {"tokens": "2"}}));
    }

    #[test]
    fn the_ends_of_periods_read_well() {
        let closed = CloseOutcome {
            roll_over: vec![Rollover {
                grant: "grant_2".parse().unwrap(),
                amount: "5".parse().unwrap(),
                held_share: "0.5".parse().unwrap(),
                held_limit: "3".parse().unwrap(),
                priority: 0,
                expires: Expiry { at: None, with_period: Some(1) },
            }],
            settle: vec![Settlement {
                credit: default_credit(),
                amount: None,
                method: SettleMethod::Invoice,
            }],
            ..CloseOutcome::default()
        };
        let (text, json) = shown(Said::Closed(closed));
        assert!(
            text.contains(
                "roll over  5 of grant_2, 0.5 of what is held and comes back, at most 3, until the next period ends\n\
                 settle     invoice all of the overage in credits\n"
            ),
            "{text}"
        );
        assert_eq!(
            (&json["outcome"], &json["roll_over"][0]["held_share"]),
            (&json!("closed"), &json!("0.5"))
        );
    }
}
