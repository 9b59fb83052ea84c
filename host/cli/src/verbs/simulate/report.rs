//! What a simulation came to, for people and for machines.

use super::{
    play::World,
    tally::{Cell, Flow, Tally, Till, percentile},
};
use crate::terminal::{Paint, count, plural};
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Rounding},
    grant::{CreditType, default_credit},
    time::{Timestamp, Zone},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// Sums with the names of what they are of.
pub struct Report {
    pub tally: Tally,
    pub segments: Vec<String>,
    /// Such as `2026-01`.
    pub months: Vec<String>,
    pub currency: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub seed: u64,
    pub policy: String,
    pub digest: String,
    /// Whether the workload says anything of money.
    pub has_money: bool,
}

impl Report {
    /// Of what was played.
    pub fn new(world: &World, tally: Tally) -> Self {
        let zone = Zone::utc();
        let begins = std::iter::once(world.time.start).chain(world.boundaries.iter().copied());
        let month = |at: Timestamp| {
            let moment = zone.moment(at);
            format!("{:04}-{:02}", moment.year, moment.month)
        };
        let total = tally.total().till;
        let main = &world.subject.main;
        let manifest = main.policy.manifest();
        Self {
            segments: world.sources.iter().map(|source| source.segment.name.clone()).collect(),
            months: begins.map(month).collect(),
            currency: world.currency.to_string(),
            start: world.time.start,
            end: world.time.end,
            seed: world.time.seed,
            policy: format!("{} {}", manifest.name, manifest.version),
            digest: main.digest.to_string(),
            has_money: !world.costs.is_empty() || !total.revenue().is_zero(),
            tally,
        }
    }

    /// The credit types that moved, most usual first.
    pub fn credits(&self) -> Vec<CreditType> {
        let mut credits: Vec<CreditType> = self.tally.total().credits.into_keys().collect();
        credits.sort_by_key(|credit| *credit != default_credit());
        credits
    }

    /// JSON: each segment's months and sum, and the sum of all.
    pub fn json(&self) -> Value {
        let segments =
            self.segments.iter().zip(&self.tally.cells).enumerate().map(|(place, (name, cells))| {
                let months = self.months.iter().zip(cells).map(|(month, one)| {
                    let mut value = cell(one, self.has_money);
                    value.insert("month".to_owned(), json!(month));
                    Value::Object(value)
                });
                let owed = self.tally.owed.get(place);
                json!({
                    "segment": name,
                    "months": months.collect::<Vec<_>>(),
                    "total": cell(&self.tally.of_segment(place), self.has_money),
                    "owed_at_end": owed,
                })
            });
        let run_outs = self.tally.run_outs.iter().map(|one| {
            json!({ "customer": one.customer, "segment": self.segments.get(one.segment), "at": one.at })
        });
        json!({
            "policy": { "name": self.policy, "digest": self.digest },
            "seed": self.seed,
            "start": self.start,
            "end": self.end,
            "currency": self.currency,
            "segments": segments.collect::<Vec<_>>(),
            "total": cell(&self.tally.total(), self.has_money),
            "earliest_run_outs": run_outs.collect::<Vec<_>>(),
            "declined": self.tally.declined,
        })
    }

    /// Tables.
    pub fn text(&self, paint: Paint, took_us: u64) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}  {} to {}, seed {}",
            paint.strong(&self.policy),
            date(self.start),
            date(self.end),
            self.seed
        );
        let total = self.tally.total();
        let seconds = format!("{}.{:02}", took_us / 1_000_000, took_us % 1_000_000 / 10_000);
        let _ = writeln!(text, "{} in {seconds} s", plural(total.usages, "usage"));
        for credit in self.credits() {
            let _ = write!(text, "\n{}\n{}", paint.strong(credit.as_str()), self.credit_table(&credit));
        }
        let _ = write!(text, "\n{}\n{}", paint.strong("segments"), self.segment_table());
        if self.has_money {
            let title = format!("money, {}", self.currency);
            let _ = write!(text, "\n{}\n{}", paint.strong(&title), self.money_table());
        }
        let _ = write!(text, "{}", self.notes(paint));
        text
    }

    fn credit_table(&self, credit: &CreditType) -> String {
        let mut rows = vec![
            ["month", "segment", "issued", "used", "overage", "rolled over", "expired", "refused"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let row = |month: &str, segment: &str, cell: &Cell| {
            let flow = cell.credits.get(credit).copied().unwrap_or_default();
            let Flow { issued, spent, overage, rolled_over, expired, refused } = flow;
            let amounts = [issued, spent, overage, rolled_over, expired, refused].map(amount);
            [month.to_owned(), segment.to_owned()].into_iter().chain(amounts).collect::<Vec<_>>()
        };
        for (place, month) in self.months.iter().enumerate() {
            for (segment, cells) in self.segments.iter().zip(&self.tally.cells) {
                let shown = cells.get(place).filter(|cell| cell.credits.contains_key(credit));
                rows.extend(shown.map(|cell| row(month, segment, cell)));
            }
        }
        rows.push(row("all", "", &self.tally.total()));
        table(&rows, 2)
    }

    fn segment_table(&self) -> String {
        let head = [
            "segment",
            "customers",
            "usages",
            "refused",
            "invalid",
            "ran out",
            "median day",
            "buffer p50",
            "p95",
            "max",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (place, name) in self.segments.iter().enumerate() {
            let cell = self.tally.of_segment(place);
            let cells = self.tally.cells.get(place).into_iter().flatten();
            let most = cells.map(|cell| cell.customers).max().unwrap_or(0);
            let day = percentile(&cell.ran_out, 50).map_or_else(|| "-".to_owned(), |day| day.to_string());
            let buffer = |percent| percentile(&cell.buffers, percent).map_or_else(|| "-".to_owned(), amount);
            let ran_out = u64::try_from(cell.ran_out.len()).unwrap_or(u64::MAX);
            rows.push(vec![
                name.clone(),
                count(most),
                count(cell.usages),
                count(cell.denied),
                count(cell.invalid),
                count(ran_out),
                day,
                buffer(50),
                buffer(95),
                buffer(100),
            ]);
        }
        table(&rows, 1)
    }

    fn money_table(&self) -> String {
        let head = ["segment", "fees", "purchases", "invoiced", "revenue", "cost", "margin", "%"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let row = |name: &str, till: &Till| {
            let Till { fees, purchases, invoiced, cost } = *till;
            let amounts = [fees, purchases, invoiced, till.revenue(), cost, till.margin()].map(money);
            let percent = margin_percent(till).map_or_else(|| "-".to_owned(), money);
            let mut row = vec![name.to_owned()];
            row.extend(amounts);
            row.push(percent);
            row
        };
        for (place, name) in self.segments.iter().enumerate() {
            rows.push(row(name, &self.tally.of_segment(place).till));
        }
        rows.push(row("all", &self.tally.total().till));
        table(&rows, 1)
    }

    fn notes(&self, paint: Paint) -> String {
        let mut text = String::new();
        let total = self.tally.total();
        if !total.codes.is_empty() {
            let codes: Vec<String> =
                total.codes.iter().map(|(code, times)| format!("{code} {}", count(*times))).collect();
            let _ = writeln!(text, "\nrefusals: {}", codes.join(", "));
        }
        if let Some(first) = self.tally.run_outs.first() {
            let _ = writeln!(text, "first to run out: {} at {}", first.customer, first.at);
        }
        for (name, owed) in self.segments.iter().zip(&self.tally.owed) {
            for (credit, amount) in owed {
                let _ = writeln!(text, "owed at the end by {name}: {} {credit}", self::amount(*amount));
            }
        }
        if total.degraded > 0 {
            let _ = writeln!(
                text,
                "{}",
                paint.bad(&format!("the policy failed in {}", plural(total.degraded, "decision")))
            );
        }
        for (why, times) in &self.tally.declined {
            let _ =
                writeln!(text, "{}", paint.bad(&format!("{} not decided: {why}", plural(*times, "request"))));
        }
        text
    }
}

/// The date in UTC.
pub fn date(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('T').next().unwrap_or(&text).to_owned()
}

/// Of revenue, to a hundredth; none without revenue.
pub fn margin_percent(till: &Till) -> Option<Decimal> {
    let revenue = Some(till.revenue()).filter(|revenue| revenue.is_positive())?;
    let exact = till.margin().mul_div(Decimal::from_whole(100), revenue, Rounding::HalfEven).ok()?;
    exact.round_to_places(2, Rounding::HalfEven).ok()
}

/// Credits as people read them, to a hundredth.
pub fn amount(credits: Credits) -> String {
    money(credits.decimal())
}

/// The same of money.
pub fn money(amount: Decimal) -> String {
    let rounded = amount.round_to_places(2, Rounding::HalfEven).unwrap_or(amount).to_string();
    let (sign, digits) = rounded.strip_prefix('-').map_or(("", rounded.as_str()), |digits| ("-", digits));
    let (whole, part) = digits
        .split_once('.')
        .map_or((digits, String::new()), |(whole, part)| (whole, format!(".{part:0<2}")));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    format!("{sign}{whole}{part}")
}

fn cell(cell: &Cell, has_money: bool) -> Map<String, Value> {
    let credits: BTreeMap<&CreditType, Value> =
        cell.credits.iter().map(|(credit, flow)| (credit, self::flow(flow))).collect();
    let mut value = Map::new();
    for (name, number) in [
        ("customers", cell.customers),
        ("usages", cell.usages),
        ("charged", cell.charged),
        ("refused", cell.denied),
        ("invalid", cell.invalid),
        ("degraded", cell.degraded),
    ] {
        value.insert(name.to_owned(), number.into());
    }
    value.insert("refusals".to_owned(), json!(cell.codes));
    value.insert("credits".to_owned(), json!(credits));
    let day = |percent| percentile(&cell.ran_out, percent);
    value.insert(
        "ran_out".to_owned(),
        json!({"customers": cell.ran_out.len(), "day_p10": day(10), "day_p50": day(50)}),
    );
    let buffer = |percent| percentile(&cell.buffers, percent);
    value.insert(
        "buffer".to_owned(),
        json!({"used": cell.buffers.len(), "p50": buffer(50), "p95": buffer(95), "max": buffer(100)}),
    );
    if has_money {
        let till = &cell.till;
        value.insert(
            "money".to_owned(),
            json!({
                "fees": till.fees, "purchases": till.purchases, "invoiced": till.invoiced, "revenue": till.revenue(),
                "cost": till.cost, "margin": till.margin(), "margin_percent": margin_percent(till),
            }),
        );
    }
    value
}

fn flow(flow: &Flow) -> Value {
    let Flow { issued, spent, overage, rolled_over, expired, refused } = flow;
    json!({
        "issued": issued, "used": spent, "overage": overage, "rolled_over": rolled_over, "expired": expired, "refused": refused,
    })
}

/// Columns of text, the first ones to the left and the others to the right.
fn table(rows: &[Vec<String>], to_the_left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (place, (value, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if place < to_the_left {
                write!(line, "  {value:<width$}")
            } else {
                write!(line, "  {value:>width$}")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        for (exact, shown) in [
            ("0", "0"),
            ("1234567.5", "1,234,567.50"),
            ("-0.004", "0"),
            ("-1200.256", "-1,200.26"),
            ("0.009", "0.01"),
        ] {
            assert_eq!(money(exact.parse().unwrap()), shown, "{exact}");
        }
    }
}
