//! `proviso estimate`: from what was used, in a database's journals or as a workload says, and what that costs the provider, proposes a
//! price in credits for each action, and the buffer that absorbs a share of spikes.

mod propose;

use super::simulate::{
    self,
    costs::Costs,
    stream::Customer,
    workload::{Cost, Workload},
};
use crate::{
    database::Database,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, count, plural},
};
use clap::Args;
use propose::{Aim, Buffer, Days, Observed, Proposal};
use proviso_ledger::{
    journal::Entry,
    model::{
        amounts::{Credits, Decimal, OutOfRange, Percent},
        time::Zone,
    },
};
use proviso_store::Access;
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf};
use toml::Spanned;

/// Entries and customers that are read at a time.
const PAGE: u32 = 500;

/// What `estimate` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A workload file: what the provider is paid ([[cost]]) and, without a database, what is used
    workload: PathBuf,
    /// A database whose journals say what was used; a host may use it meanwhile
    #[arg(long, value_name = "URL")]
    database_url: Option<Database>,
    /// What is to be left of each price after the provider is paid, in percent
    #[arg(long, value_name = "PERCENT", default_value = "70", value_parser = margin)]
    margin: Percent,
    /// What a credit is sold for [default: the workload's `credit_price`]
    #[arg(long, value_name = "AMOUNT", value_parser = above_zero)]
    credit_price: Option<Decimal>,
    /// The share of spikes that a buffer is to absorb, in percent
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = share)]
    absorb: Percent,
    /// Prices of actions and buffers are multiples of this
    #[arg(long, value_name = "CREDITS", default_value = "0.01", value_parser = step)]
    step: Credits,
    /// Write JSON in the place of text
    #[arg(long)]
    json: bool,
}

fn margin(text: &str) -> Result<Percent, String> {
    let percent: Percent =
        text.strip_suffix('%').unwrap_or(text).parse().map_err(|error| format!("{error}"))?;
    let fine = !percent.is_negative() && percent <= Percent::from_whole(99);
    fine.then_some(percent).ok_or_else(|| "must be 0 to 99".to_owned())
}

fn share(text: &str) -> Result<Percent, String> {
    let percent: Percent =
        text.strip_suffix('%').unwrap_or(text).parse().map_err(|error| format!("{error}"))?;
    let fine = percent.is_positive() && percent <= Percent::ALL;
    fine.then_some(percent).ok_or_else(|| "must be above 0, and at most 100".to_owned())
}

fn above_zero(text: &str) -> Result<Decimal, String> {
    let decimal: Decimal = text.parse().map_err(|error| format!("{error}"))?;
    let fine = decimal.is_positive() && decimal.is_acceptable();
    fine.then_some(decimal).ok_or_else(|| "must be above 0".to_owned())
}

fn step(text: &str) -> Result<Credits, String> {
    above_zero(text).map(Credits::new)
}

/// Estimates.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let path = &flags.workload;
    let wrong = |detail: &str| Error::Content { path: path.clone(), detail: detail.to_owned() };
    let mut workload = simulate::read(path, flags.database_url.is_none())?;
    let table: Vec<Cost> = std::mem::take(&mut workload.costs).into_iter().map(Spanned::into_inner).collect();
    if table.is_empty() {
        return Err(wrong("says nothing of what the provider is paid: add a [[cost]]"));
    }
    let Some(credit_price) = flags.credit_price.or(workload.credit_price).filter(|price| price.is_positive())
    else {
        return Err(wrong("has no credit_price above zero: add one, or give --credit-price"));
    };
    let aim = Aim { margin: flags.margin, credit_price, absorb: flags.absorb, step: flags.step };
    let costs = Costs::new(table.iter().cloned());
    let observed = match &flags.database_url {
        Some(database) => super::on_this_thread(of_journals(database, &costs))?,
        None => of_workload(&mut workload, flags, &costs)?,
    };
    if observed.usages == 0 {
        let what = if flags.database_url.is_some() { "the journals" } else { "the workload" };
        return Err(Error::Instrument(format!("{what} have no usage to estimate from")));
    }
    let currency = workload.currency.map_or_else(|| "USD".to_owned(), |currency| currency.to_string());
    let estimate = Estimate::new(aim, &table, observed, currency)
        .map_err(|OutOfRange| wrong("costs and prices are too far apart for credits to express"))?;
    if flags.json {
        terminal::print(&format!("{:#}\n", estimate.json()))?;
    } else {
        terminal::print(&estimate.text(Paint::for_stdout()))?;
    }
    Ok(Verdict::Fine)
}

fn of_workload(workload: &mut Workload, flags: &Flags, costs: &Costs) -> Result<Observed, Error> {
    let sources = simulate::sources(workload, &flags.workload)?;
    let time = simulate::time(workload).map_err(Error::content(&flags.workload))?;
    let mut observed = Observed::default();
    for source in &sources {
        let zone = source.segment.time_zone.clone().unwrap_or_else(Zone::utc);
        for number in 0..source.customers {
            let mut days = Days::default();
            Customer::new(source, number, time).each(|at, usage| {
                let feature = usage.feature.as_str();
                observed.usage(costs, &mut days, zone.day(at), feature, &usage.quantities, &usage.attributes);
                Ok::<(), Error>(())
            })?;
            observed.customer(&source.segment.name, &days);
        }
    }
    Ok(observed)
}

/// What journals charged: page by page, one customer's days at a time.
async fn of_journals(database: &Database, costs: &Costs) -> Result<Observed, Error> {
    let store = database.open(Access::ReadOnly, None).await?;
    let (mut observed, zone) = (Observed::default(), Zone::utc());
    let mut last = None;
    loop {
        let customers = store.customers(last.as_ref(), PAGE).await?;
        let Some(row) = customers.last() else { return Ok(observed) };
        last = Some(row.customer.clone());
        for row in customers {
            let (mut days, mut after) = (Days::default(), 0);
            loop {
                let page = store.entries(&row.customer, after, PAGE).await?;
                let Some(newest) = page.last() else { break };
                after = newest.seq;
                for stored in &page {
                    let entry = Entry::parse(&stored.body).map_err(|error| {
                        Error::Instrument(format!("entry {} of {}: {error}", stored.seq, row.customer))
                    })?;
                    if let Some((usage, _)) = entry.charged_usage() {
                        let day = zone.day(usage.occurred_at);
                        let feature = usage.feature.as_str();
                        observed.usage(costs, &mut days, day, feature, &usage.quantities, &usage.attributes);
                    }
                }
            }
            observed.customer("all", &days);
        }
    }
}

/// What is proposed.
struct Estimate {
    aim: Aim,
    currency: String,
    usages: u64,
    without_cost: u64,
    prices: Vec<Proposal>,
    buffers: Vec<Buffer>,
    /// Settings of the standard policy: for each unit, and for each action.
    per_unit: Value,
    per_action: Value,
}

impl Estimate {
    fn new(aim: Aim, table: &[Cost], observed: Observed, currency: String) -> Result<Self, OutOfRange> {
        let prices = aim.prices(&observed)?;
        let per_unit = table.iter().map(|cost| {
            let price = aim.per_unit(cost)?;
            let mut rate = json!({ "price": { "per_unit": price } });
            if let Some(rate) = rate.as_object_mut() {
                let more = [
                    ("feature", cost.feature.as_ref().map(|feature| json!(feature))),
                    ("quantity", cost.quantity.as_ref().map(|quantity| json!(quantity))),
                    ("when", Some(json!(cost.when)).filter(|_| !cost.when.is_empty())),
                ];
                rate.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            }
            Ok(rate)
        });
        let per_unit: Vec<Value> = per_unit.collect::<Result<_, OutOfRange>>()?;
        let per_action = prices.iter().map(|one| {
            let mut rate = json!({ "feature": one.action.feature, "price": { "flat": one.price } });
            if let (Some(rate), false) = (rate.as_object_mut(), one.action.attributes.is_empty()) {
                let when = one.action.attributes.iter().map(|(name, value)| (name.clone(), json!(value)));
                rate.insert("when".to_owned(), Value::Object(when.collect()));
            }
            rate
        });
        Ok(Self {
            buffers: aim.buffers(&observed)?,
            per_action: json!({ "rates": per_action.collect::<Vec<_>>() }),
            per_unit: json!({ "rates": per_unit }),
            usages: observed.usages,
            without_cost: observed.without_cost,
            aim,
            currency,
            prices,
        })
    }

    fn json(&self) -> Value {
        let prices = self.prices.iter().map(|one| {
            let attributes = one.action.attributes.iter().map(|(name, value)| (name.clone(), json!(value)));
            json!({
                "feature": one.action.feature,
                "attributes": Value::Object(attributes.collect()),
                "usages": one.usages,
                "mean_cost": one.mean_cost,
                "p95_cost": one.p95_cost,
                "credits": one.price,
                "margin_percent": one.margin,
                "usages_below_cost": one.below_cost,
            })
        });
        let buffers = self.buffers.iter().map(|one| {
            json!({
                "segment": one.segment, "customer_months": one.months, "with_spikes": one.spikes, "credits": one.credits,
            })
        });
        json!({
            "currency": self.currency,
            "margin_percent": self.aim.margin,
            "credit_price": self.aim.credit_price,
            "absorb_percent": self.aim.absorb,
            "usages": self.usages,
            "usages_without_cost": self.without_cost,
            "actions": prices.collect::<Vec<_>>(),
            "buffers": buffers.collect::<Vec<_>>(),
            "settings": { "per_unit": self.per_unit, "per_action": self.per_action },
        })
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let Aim { margin, credit_price, absorb, .. } = self.aim;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{} at a margin of {margin} %, a credit sold for {credit_price} {}",
            plural(self.usages, "usage"),
            self.currency
        );
        if self.without_cost > 0 {
            let none = format!("{} without a cost: no [[cost]] fits", plural(self.without_cost, "usage"));
            let _ = writeln!(text, "{}", paint.bad(&none));
        }
        let _ = writeln!(text, "\n{}", paint.strong("credits for each usage"));
        for one in &self.prices {
            let attributes: Vec<String> =
                one.action.attributes.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let name = format!("{} {}", one.action.feature, attributes.join(", "));
            let left = one.margin.map_or_else(|| "-".to_owned(), |margin| format!("{margin} %"));
            let _ = writeln!(
                text,
                "  {:<32} {:>12}  costs {} (p95 {}), leaves {left}; {} of {} cost more than they bring",
                name.trim_end(),
                one.price.to_string(),
                one.mean_cost,
                one.p95_cost,
                count(one.below_cost),
                count(one.usages)
            );
        }
        let _ = writeln!(
            text,
            "\n{}",
            paint.strong("credits for each unit, which leave the margin on every usage")
        );
        for rate in self.per_unit.get("rates").and_then(Value::as_array).into_iter().flatten() {
            let _ = writeln!(text, "  {rate}");
        }
        let title = format!("buffer of a month that absorbs {absorb} % of spikes");
        let _ = writeln!(text, "\n{}", paint.strong(&title));
        for one in &self.buffers {
            let credits = one.credits.map_or_else(|| "none".to_owned(), |credits| credits.to_string());
            let _ = writeln!(
                text,
                "  {:<32} {credits:>12}  spikes in {} of {}",
                one.segment,
                count(one.spikes),
                plural(one.months, "customer month")
            );
        }
        text
    }
}
