//! The report: what happened, in a form that a person reads in a minute.

use super::{
    cast::{CUSTOMERS, NIGHT_OWL, SWAPPED},
    host::Host,
    load::{CustomerTally, Load, Sum, Tally},
    sums::Sums,
};
use crate::{
    terminal::{Paint, count, plural},
    verbs::verify,
};
use proviso_engine::Verification;
use proviso_ledger::model::amounts::{Credits, Rounding};
use std::fmt::Write as _;

/// A swap of one customer's terms.
#[derive(Debug, Clone, Copy)]
pub struct Swap {
    /// How long the host took to inspect, compile and try the module.
    pub compile_ms: u64,
    /// The entry of the journal that bound the new terms.
    pub entry: u64,
}

/// All that the report is made of.
pub struct Report<'a> {
    pub load: &'a Load,
    pub connections: u64,
    pub address: &'a str,
    pub elapsed_micros: u64,
    pub tally: Tally,
    pub swap: Swap,
    pub sums: Sums,
    pub verification: Verification,
}

/// The policies of the swapped customer, before and after.
const BEFORE: &str = "standard";
const AFTER: &str = "committed-use";

impl Report<'_> {
    /// Whether nothing failed and everything agrees.
    pub fn is_fine(&self) -> bool {
        self.tally.failed == 0
            && self.sums.differences.is_empty()
            && self.verification.differences.is_empty()
            && self.swapped_exactly()
    }

    /// Whether every decision up to the swap's entry was the old policy's, and every later one the new one's.
    fn swapped_exactly(&self) -> bool {
        let span = |policy: &str| self.swapped().and_then(|tally| tally.spans.get(policy));
        match (span(BEFORE), span(AFTER)) {
            (Some((_, last)), Some((first, _))) => *last < self.swap.entry && self.swap.entry < *first,
            _ => false,
        }
    }

    fn swapped(&self) -> Option<&CustomerTally> {
        CUSTOMERS
            .iter()
            .zip(&self.tally.customers)
            .find(|(customer, _)| customer.key == SWAPPED)
            .map(|(_, tally)| tally)
    }

    /// The whole text.
    pub fn text(&self, paint: Paint) -> String {
        let mut text = format!("\n{}\n\n", paint.strong("The main job on real input"));
        self.traffic(&mut text, paint);
        self.customers(&mut text, paint);
        self.top_ups(&mut text, paint);
        self.swap(&mut text, paint);
        self.books(&mut text, paint);
        text
    }

    fn traffic(&self, text: &mut String, paint: Paint) {
        let Tally { latencies, failed, first_failure, .. } = &self.tally;
        let (mut charged, mut refused) = (Sum::default(), 0);
        for tally in &self.tally.customers {
            charged.add(tally.total());
            refused += tally.refusals();
        }
        let rows = self.load.trace.rows();
        let rate = (self.load.requests * 1_000_000).checked_div(self.elapsed_micros).unwrap_or(0);
        let failed = if *failed == 0 {
            paint.good("0 failed")
        } else {
            paint.bad(&format!("{} failed", count(*failed)))
        };
        let mut row = |name: &str, value: String| line(text, paint, name, &value);
        row(
            "trace",
            format!(
                "Azure LLM inference trace 2023, {} rows; sent without occurred_at, since 2023 is too late",
                count(rows)
            ),
        );
        row(
            "requests",
            format!(
                "{} over {} connections to http://{}",
                count(self.load.requests),
                self.connections,
                self.address
            ),
        );
        row("answers", format!("{} charged, {} refused, {failed}", count(charged.charges), count(refused)));
        if let Some(failure) = first_failure {
            row("", paint.bad(failure));
        }
        row(
            "throughput",
            format!(
                "{} requests a second, each durable before it was answered ({})",
                count(rate),
                time(self.elapsed_micros)
            ),
        );
        row(
            "latency",
            format!("p50 {}, p99 {}", time(percentile(latencies, 50)), time(percentile(latencies, 99))),
        );
    }

    fn customers(&self, text: &mut String, paint: Paint) {
        let features: Vec<&str> = {
            let mut names: Vec<&str> = self
                .tally
                .customers
                .iter()
                .flat_map(|tally| tally.features.keys())
                .map(String::as_str)
                .collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let mut head = format!("\n  {:<9} {:<24} {:>8} {:>8}", "customer", "terms", "charged", "refused");
        for feature in &features {
            let _ = write!(head, " {feature:>11}");
        }
        let _ = writeln!(head, " {:>12} {:>10}", "credits", "overage");
        text.push_str(&paint.faint(&head));
        for (customer, tally) in CUSTOMERS.iter().zip(&self.tally.customers) {
            let terms = match customer.key {
                SWAPPED => format!("{} > {AFTER}", customer.plan),
                NIGHT_OWL => "night-rates".to_owned(),
                _ => customer.plan.to_owned(),
            };
            let total = tally.total();
            let refused = count(tally.refusals());
            let _ =
                write!(text, "  {:<9} {terms:<24} {:>8} {refused:>8}", customer.key, count(total.charges));
            for feature in &features {
                let sum = tally.features.get(*feature).copied().unwrap_or_default();
                let _ = write!(text, " {:>11}", amount(sum.cost));
            }
            let _ = writeln!(text, " {:>12} {:>10}", amount(total.cost), amount(tally.overage));
        }
        text.push('\n');
        let refusals = CUSTOMERS.iter().zip(&self.tally.customers).flat_map(|(customer, tally)| {
            tally.refused.iter().map(|(code, number)| (code.as_str(), customer.key, *number))
        });
        let mut refusals: Vec<_> = refusals.collect();
        refusals.sort_unstable();
        for (place, codes) in refusals.chunk_by(|a, b| a.0 == b.0).enumerate() {
            let who: Vec<String> =
                codes.iter().map(|(_, who, number)| format!("{who} {}", count(*number))).collect();
            let code = codes.first().map_or("", |(code, ..)| code);
            line(
                text,
                paint,
                if place == 0 { "refusals" } else { "" },
                &format!("{code}: {}", who.join(", ")),
            );
        }
    }

    fn top_ups(&self, text: &mut String, paint: Paint) {
        for (customer, number, credits) in &self.sums.top_ups {
            let value =
                format!("{customer} ran out and was issued {credits} credits in {}", plural(*number, "pack"));
            line(text, paint, "top-ups", &value);
        }
    }

    fn swap(&self, text: &mut String, paint: Paint) {
        let Swap { compile_ms, entry } = self.swap;
        let of = |policy: &str| {
            self.swapped().and_then(|tally| tally.policies.get(policy)).copied().unwrap_or_default()
        };
        let (before, after) = (of(BEFORE), of(AFTER));
        line(
            text,
            paint,
            "swap",
            &format!(
                "while charges flowed, {AFTER} was uploaded (checked and compiled in {compile_ms} ms) and bound to {SWAPPED}"
            ),
        );
        for (name, policy, sum) in [("before", BEFORE, before), ("after", AFTER, after)] {
            line(
                text,
                paint,
                "",
                &format!(
                    "{name:<6} {:>6} charges by {policy}: {} credits each, {} for 1,000 tokens",
                    count(sum.charges),
                    each(sum.cost, sum.charges),
                    each(sum.cost.repeated(1_000).unwrap_or(sum.cost), sum.tokens)
                ),
            );
        }
        let exact = if self.swapped_exactly() {
            paint.good(&format!(
                "exact: {BEFORE} decided every entry before {entry}, {AFTER} every one after it"
            ))
        } else {
            paint.bad(&format!("not exact around entry {entry}"))
        };
        line(text, paint, "", &exact);
    }

    fn books(&self, text: &mut String, paint: Paint) {
        let Sums { client, host, differences, .. } = &self.sums;
        let verdict = if differences.is_empty() {
            paint.good("agrees, for every customer and feature, and with every balance")
        } else {
            paint.bad("differs")
        };
        line(text, paint, "sums", &format!("the client added up {client} credits, the host reports {host}"));
        line(text, paint, "", &verdict);
        for difference in differences {
            line(text, paint, "", &paint.bad(difference));
        }
        line(text, paint, "verify", verify::report(&self.verification, paint).trim_end());
    }
}

/// What to do with a host that goes on.
pub fn farewell(host: &Host, paint: Paint) -> String {
    let Host { address, admin_key, database, log, is_temporary, .. } = host;
    let data = database.parent().unwrap_or(database).display();
    let kept = if *is_temporary { "removed at the end" } else { "kept" };
    let mut text = format!("\n{}\n\n", paint.strong("The host goes on running"));
    let mut row = |name: &str, value: &str| line(&mut text, paint, name, value);
    row("address", &format!("http://{address}   the API, to try out: http://{address}/docs"));
    row("admin key", admin_key);
    row("data", &format!("{data} ({kept}); the log: {}", log.display()));
    row("stop it", "Ctrl-C");
    let _ = write!(
        text,
        "\n  KEY={admin_key}\n  URL=http://{address}/v1/customers/{SWAPPED}\n  \
         curl -s -H \"Authorization: Bearer $KEY\" $URL/balance\n  \
         curl -s -H \"Authorization: Bearer $KEY\" \"$URL/ledger?limit=1\"\n  \
         curl -s -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -H 'Idempotency-Key: try-1' \\\n    \
         $URL/charges -d '{{\"feature\": \"conv\", \"quantities\": {{\"input_tokens\": 1200, \"output_tokens\": 300}}}}'\n\n"
    );
    text
}

fn line(text: &mut String, paint: Paint, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "  {} {value}", paint.faint(&format!("{name:<10}")));
}

/// The latency that so many percent stay at or below. `sorted` is sorted.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(0)
}

/// Microseconds in the unit that reads best.
fn time(micros: u64) -> String {
    if micros >= 1_000_000 {
        format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
    } else {
        format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
    }
}

/// Credits to two places, rounded down, for a table: `1,234.56`.
fn amount(credits: Credits) -> String {
    let hundredths = u64::try_from(credits.units().unsigned_abs() / 10_000_000_000).unwrap_or(u64::MAX);
    let sign = if credits.is_negative() { "-" } else { "" };
    format!("{sign}{}.{:02}", count(hundredths / 100), hundredths % 100)
}

/// The mean of a cost, rounded down to four places.
fn each(cost: Credits, number: u64) -> Credits {
    let mean = cost.units().checked_div(i128::from(number)).map_or(Credits::ZERO, Credits::from_units);
    mean.round_to_places(4, Rounding::Down).unwrap_or(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        for (micros, text) in [(950, "0.95 ms"), (12_345, "12.34 ms"), (1_905_000, "1.90 s")] {
            assert_eq!(time(micros), text);
        }
        assert_eq!(amount("1234.567891".parse().unwrap()), "1,234.56");
        assert_eq!(each(Credits::from_whole(10), 3).to_string(), "3.3333");
        assert_eq!(each(Credits::ONE, 0), Credits::ZERO);
        let latencies: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (percentile(&latencies, 50), percentile(&latencies, 99), percentile(&[], 99)),
            (100, 198, 0)
        );
    }
}
