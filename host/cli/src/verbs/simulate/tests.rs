//! Whole simulations, with a policy written in Rust: what is summed, that it is the same however many threads play, and what pages hold.

use super::{all, html, report::Report, sources, tally::percentile, workload, world};
use crate::{terminal::Paint, verbs::policy::test::tests::tokens};
use std::path::Path;

/// A token costs a credit, and a month has 100.
const WORKLOAD: &str = r#"
months = 3
credit_price = "0.10"
settings = { price = "1", allowance = "100" }

[[cost]]
quantity = "tokens"
per_million = "20000"

[[segment]]
name = "steady"
customers = 2
fee = "9"
usages_per_day = 1
usage = [{ feature = "chat", quantities = { tokens = 3 } }]

[[segment]]
name = "heavy"
customers = 3
new_per_month = 1
time_zone = "Europe/Berlin"
usages_per_day = { p50 = 2, max = 4 }
growth_percent = 10
variation_percent = 50
weekend_percent = 20
hours = { from = 8, to = 18 }
burst = { chance_percent = 10, times = 5 }
users = 4
grants = [{ amount = "50", price = "5", every_months = 1, expires_after_days = 30 }]
buys = { amount = "100", price = "12", at_most = 2 }
usage = [
    { feature = "chat", share = 9, attributes = { model = "large" }, quantities = { tokens = { p50 = 5, p95 = 30, max = 90 } } },
    { feature = "images", share = 1 },
]
"#;

fn simulate(text: &str, jobs: usize) -> Report {
    let mut workload = workload::parse(text, true).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let sources = sources(&mut workload, Path::new("x.toml")).unwrap();
    let settings = workload.settings.clone();
    let world = world(workload, tokens(), sources, &settings).unwrap();
    let tally = all(&world, jobs).unwrap();
    Report::new(&world, tally)
}

#[test]
fn what_a_fixed_workload_comes_to_is_known() {
    let steady = WORKLOAD.split("[[segment]]\nname = \"heavy\"").next().unwrap();
    let report = simulate(steady, 1);
    assert_eq!(report.months, ["2026-01", "2026-02", "2026-03"]);
    let text = report.text(Paint::plain(), 1_230_000);
    let expected = "\
tokens 1.0.0  2026-01-01 to 2026-04-01, seed 1
180 usages in 1.23 s

credits
  month    segment  issued  used  overage  rolled over  expired  refused
  2026-01  steady      200   186        0            0       14        0
  2026-02  steady      200   168        0            0       32        0
  2026-03  steady      200   186        0            0       14        0
  all                  600   540        0            0       60        0

segments
  segment  customers  usages  refused  invalid  ran out  median day  buffer p50  p95  max
  steady           2     180        0        0        0           -           -    -    -

money, USD
  segment  fees  purchases  invoiced  revenue   cost  margin   %
  steady     54          0         0       54  10.80   43.20  80
  all        54          0         0       54  10.80   43.20  80
";
    assert_eq!(text, expected);
}

#[test]
fn credits_that_run_out_are_told_by_month() {
    let short =
        WORKLOAD.split("[[segment]]\nname = \"heavy\"").next().unwrap().replace("tokens = 3", "tokens = 5");
    let report = simulate(&short, 1);
    let cell = &report.tally.cells[0][0];
    // 20 days of 5 credits; then 11 usages of each customer are refused.
    assert_eq!((cell.charged, cell.denied, cell.codes["insufficient_credits"]), (40, 22, 22));
    assert_eq!(percentile(&cell.ran_out, 50), Some(21));
    assert_eq!(report.tally.run_outs.len(), 2);
    assert!(report.text(Paint::plain(), 0).contains("first to run out: steady-"));
}

#[test]
fn a_seed_gives_the_same_however_many_threads_play() {
    let (one, three) = (simulate(WORKLOAD, 1), simulate(WORKLOAD, 3));
    assert_eq!(one.tally, three.tally);
    assert_eq!(one.json(), three.json());
    let other = simulate(&format!("seed = 2\n{WORKLOAD}"), 2);
    assert_ne!(one.tally.total().usages, 0);
    assert_ne!(one.tally, other.tally);
    // Customers that come, bursts, purchases, users and refusals for good all take part.
    let heavy = one.tally.of_segment(1);
    assert!(heavy.invalid > 0 && heavy.denied > 0 && !heavy.till.purchases.is_zero());
    let counted = heavy.charged + heavy.denied + heavy.invalid;
    assert_eq!(counted, heavy.usages, "each usage is charged or refused once");
    let months = &one.tally.cells[1];
    assert!(months[0].customers < months[2].customers);
}

#[test]
fn a_page_needs_nothing_else_and_escapes_names() {
    let report = simulate(&WORKLOAD.replace("\"steady\"", "\"<steady>\""), 2);
    let page = html::page(&report);
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for part in [
        "Used, credits",
        "Refused usages",
        "Margin by segment, USD",
        "&lt;steady&gt;",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["<script", "http://", "https://", "<steady>", "@import", "url("] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn a_trace_is_played_at_its_own_times_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "time,customer,tokens\n2026-01-05T09:00:00Z,a,7\n2026-01-05T10:00:00Z,b,2\n2026-01-06T09:00:00Z,a,1\n";
    std::fs::write(folder.path().join("trace.csv"), rows).unwrap();
    let text = r#"
        months = 1
        settings = { price = "1", allowance = "1000" }
        [[segment]]
        name = "traced"
        customers = 2
        trace = { file = "trace.csv", repeat = true }
        usage = [{ feature = "chat" }]
    "#;
    let mut workload = workload::parse(text, true).unwrap();
    let sources = sources(&mut workload, &folder.path().join("x.toml")).unwrap();
    let settings = workload.settings.clone();
    let world = world(workload, tokens(), sources, &settings).unwrap();
    let total = all(&world, 2).unwrap().total();
    // Every two days, of which January has 15 and a half: the first two rows once more.
    assert_eq!((total.usages, total.charged), (47, 47));
    assert_eq!(total.credits.values().next().unwrap().spent.to_string(), (15 * 10 + 9).to_string());
}
