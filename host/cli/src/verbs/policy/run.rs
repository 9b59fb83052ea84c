//! `proviso policy run`: one usage, one answer. In go a module, settings, a usage and what else a policy is shown; out
//! come the decision with its lines, the fuel it took, and what the policy logged. No ledger is involved.

use super::{runtime, source};
use crate::{
    clock,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, count},
};
use clap::Args;
use proviso_ledger::{
    credits::{Credits, Quantity},
    decision::{
        Balance, Context, Counter, GrantView, Line, Measure, Overage, PeriodView, Rating, Refusal, Usage,
    },
    grant::{Category, default_credit},
    ids::{GrantId, Key, Name, NameError},
    time::{Timestamp, Zone},
};
use proviso_policy::Module;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// What `policy run` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A component, or the folder of a policy crate, which is built
    file: PathBuf,
    /// The settings, JSON
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    /// The usage, JSON: the body of a charge
    #[arg(long, value_name = "FILE")]
    usage: PathBuf,
    /// What else the policy is shown, JSON: now, time_zone, customer, plan, attributes, period, balances, grants, counters
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageFile {
    feature: Key,
    #[serde(default, with = "proviso_ledger::pairs")]
    quantities: Vec<(String, Quantity)>,
    #[serde(default, with = "proviso_ledger::pairs")]
    attributes: Vec<(String, String)>,
    entity: Option<Key>,
    occurred_at: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ContextFile {
    now: Option<Timestamp>,
    time_zone: Zone,
    customer: Option<Key>,
    plan: Option<Name>,
    #[serde(with = "proviso_ledger::pairs")]
    attributes: Vec<(String, String)>,
    period: Option<PeriodFile>,
    terms_effective_at: Option<Timestamp>,
    balances: BTreeMap<Key, BalanceFile>,
    grants: Vec<GrantFile>,
    counters: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodFile {
    number: u32,
    start: Timestamp,
    end: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BalanceFile {
    granted: Credits,
    used: Credits,
    reserved: Credits,
    available: Credits,
    overage: Credits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    id: GrantId,
    #[serde(default = "default_credit")]
    credit: Key,
    category: Category,
    #[serde(default)]
    priority: i32,
    amount: Credits,
    remaining: Credits,
    effective_at: Timestamp,
    expires_at: Option<Timestamp>,
    #[serde(default)]
    features: Vec<Key>,
    #[serde(default)]
    paid: bool,
}

/// What a policy said, in the order it was asked.
struct Answer {
    rated: Result<Rating, Refusal>,
    overage: Option<(Credits, Overage)>,
    fuel: u64,
    log: Vec<String>,
}

/// Runs.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let component = source::load(&flags.file)?;
    let settings = fs::read_to_string(&flags.settings).map_err(Error::file(&flags.settings))?;
    let usage: UsageFile = json_file(&flags.usage)?;
    let context: ContextFile = flags.context.as_deref().map(json_file).transpose()?.unwrap_or_default();
    let runtime = runtime()?;
    let module = runtime.admit(&component).map_err(Error::Refused)?.module;
    let prepared = match module.prepare(&settings)?.value {
        Ok(prepared) => prepared,
        Err(problems) => {
            let list: String = problems
                .iter()
                .map(|problem| format!("\n  {}: {}", problem.pointer, problem.detail))
                .collect();
            let detail = format!("the policy refuses these settings:{list}");
            return Err(Error::Content { path: flags.settings, detail });
        }
    };
    let zone = context.time_zone.clone();
    let counters = counters(&prepared.counters, &context.counters)
        .map_err(|detail| Error::Content { path: flags.context.clone().unwrap_or_default(), detail })?;
    let context = context.into_context(counters).map_err(Error::content(&flags.usage))?;
    let usage = Usage {
        feature: usage.feature,
        quantities: usage.quantities,
        attributes: usage.attributes,
        entity: usage.entity,
        occurred_at: usage.occurred_at.unwrap_or(context.now.at),
    };
    let answer = decide(&module, &usage, &context, &zone, &prepared.form)?;
    let text = if flags.json { format!("{:#}\n", answer.json()) } else { answer.text(Paint::for_stdout()) };
    terminal::print(&text)?;
    Ok(Verdict::Fine)
}

fn decide(
    module: &Module,
    usage: &Usage,
    context: &Context,
    zone: &Zone,
    form: &[u8],
) -> Result<Answer, Error> {
    let rated = module.rate(usage, context, zone, form)?;
    let mut answer = Answer { rated: rated.value, overage: None, fuel: rated.fuel, log: rated.log };
    let Ok(rating) = &answer.rated else { return Ok(answer) };
    // Without balances nothing is known of what is available, so there is nothing to ask about overage.
    let balance = context.balances.iter().find(|balance| balance.credit == rating.credit);
    let short = balance.map(|balance| Credits(rating.cost.0.saturating_sub(balance.available.0)));
    if let Some(shortfall) = short.filter(|short| *short > Credits::ZERO) {
        let decided = module.overage(usage, rating, shortfall, context, zone, form)?;
        answer.overage = Some((shortfall, decided.value));
        answer.fuel += decided.fuel;
        answer.log.extend(decided.log);
    }
    Ok(answer)
}

fn json_file<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    serde_json::from_str(&text).map_err(Error::content(path))
}

/// The values of the counters that the settings need, in their order; those that are not given are zero.
fn counters(needed: &[Counter], given: &BTreeMap<String, String>) -> Result<Vec<i64>, String> {
    if let Some(name) = given.keys().find(|name| needed.iter().all(|counter| counter.name != **name)) {
        let known: Vec<&str> = needed.iter().map(|counter| counter.name.as_str()).collect();
        return Err(format!("counters: these settings have no counter {name:?}; they have {known:?}"));
    }
    let value = |counter: &Counter| {
        let Some(text) = given.get(&counter.name) else { return Ok(0) };
        let value = match counter.measure {
            Measure::Cost => text.parse::<Credits>().map(|credits| credits.0),
            Measure::Quantity(_) => text.parse::<Quantity>().map(|quantity| quantity.0),
        };
        value.map_err(|error| format!("counters: {}: {error}", counter.name))
    };
    needed.iter().map(value).collect()
}

impl ContextFile {
    fn into_context(self, counters: Vec<i64>) -> Result<Context, NameError> {
        let zone = self.time_zone;
        let now = self.now.unwrap_or_else(clock::now);
        let period = self.period.unwrap_or(PeriodFile { number: 1, start: now, end: None });
        let balance = |(credit, file): (Key, BalanceFile)| {
            let BalanceFile { granted, used, reserved, available, overage } = file;
            Balance { credit, granted, used, reserved, available, overage }
        };
        let grant = |grant: GrantFile| GrantView {
            id: grant.id,
            credit: grant.credit,
            category: grant.category,
            priority: grant.priority,
            amount: grant.amount,
            remaining: grant.remaining,
            effective_at: grant.effective_at,
            expires_at: grant.expires_at,
            features: grant.features,
            paid: grant.paid,
        };
        Ok(Context {
            customer: self.customer.map_or_else(|| "customer".parse(), Ok)?,
            plan: self.plan,
            attributes: self.attributes,
            now: zone.moment(now),
            period: PeriodView {
                number: period.number,
                start: zone.moment(period.start),
                end: period.end.map(|end| zone.moment(end)),
            },
            terms_effective_at: zone.moment(self.terms_effective_at.unwrap_or(period.start)),
            balances: self.balances.into_iter().map(balance).collect(),
            grants: self.grants.into_iter().map(grant).collect(),
            counters,
        })
    }
}

/// A line as people and case files write it: `input tokens: 1200 x 0.001 = 1.2`.
pub fn line_text(line: &Line) -> String {
    format!("{}: {} x {} = {}", line.label, line.quantity, line.unit_cost, line.cost)
}

impl Answer {
    fn json(&self) -> Value {
        let mut value = match &self.rated {
            Ok(rating) => json!({
                "outcome": "rated", "cost": rating.cost, "credit": rating.credit, "lines": rating.lines,
                "draw_order": rating.draw_order,
            }),
            Err(refusal) => json!({"outcome": "refused", "refusal": refusal}),
        };
        if let Some(object) = value.as_object_mut() {
            object.insert("fuel".to_owned(), self.fuel.into());
            object.insert("log".to_owned(), json!(self.log));
            if let Some((shortfall, overage)) = &self.overage {
                let outcome = match overage {
                    Overage::Deny(refusal) => json!({"outcome": "deny", "refusal": refusal}),
                    Overage::Allow(limit) => json!({"outcome": "allow", "up_to": limit}),
                    Overage::RequirePurchase(offers) => {
                        json!({"outcome": "require_purchase", "offers": offers})
                    }
                    Overage::TopUp(top_up) => json!({
                        "outcome": "top_up", "amount": top_up.amount, "expires_at": top_up.expires_at,
                        "cost_basis": top_up.cost_basis,
                    }),
                };
                object.insert("shortfall".to_owned(), json!(shortfall));
                object.insert("overage".to_owned(), outcome);
            }
        }
        value
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{} {value}", paint.faint(&format!("{name:<10}")));
        };
        match &self.rated {
            Ok(rating) => {
                row("outcome", paint.good("rated"));
                row("cost", paint.strong(&format!("{} {}", rating.cost, rating.credit)));
                rating.lines.iter().for_each(|line| row("line", line_text(line)));
            }
            Err(refusal) => row("outcome", format!("{} {}", paint.bad("refused"), refusal_text(refusal))),
        }
        if let Some((shortfall, overage)) = &self.overage {
            row("shortfall", shortfall.to_string());
            row("overage", overage_text(overage));
        }
        row("fuel", count(self.fuel));
        self.log.iter().for_each(|line| row("log", line.clone()));
        text
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let retry = refusal.retry_at.map(|at| format!(", again from {at}")).unwrap_or_default();
    format!("{}: {}{retry}", refusal.code, refusal.detail)
}

fn overage_text(overage: &Overage) -> String {
    match overage {
        Overage::Deny(refusal) => format!("deny {}", refusal_text(refusal)),
        Overage::Allow(limit) => format!("allow while the outstanding overage is at most {limit}"),
        Overage::RequirePurchase(offers) => {
            let offers: Vec<String> = offers
                .iter()
                .map(|offer| format!("{} ({}, {} credits)", offer.code, offer.label, offer.credits))
                .collect();
            format!("require a purchase: {}", offers.join(", "))
        }
        Overage::TopUp(top_up) => format!("top up with {}", top_up.amount),
    }
}
