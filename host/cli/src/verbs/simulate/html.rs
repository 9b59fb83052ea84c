//! One page with charts and tables that needs nothing else: no script, no font, no style from outside; readable in light and dark.

use super::{
    chart::{self, Series, escape},
    report::{Report, amount, date, margin_percent, money},
    tally::{Cell, percentile},
};
use crate::terminal::count;
use proviso_ledger::model::{amounts::Decimal, grant::CreditType};
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn page(report: &Report) -> String {
    let total = report.tally.total();
    let title = format!("{}: {} to {}", report.policy, date(report.start), date(report.end));
    let mut body = format!(
        "<h1>{}</h1>\n<p class=\"facts\">{} usages · seed {} · <code>{}</code></p>\n",
        escape(&title),
        count(total.usages),
        report.seed,
        escape(&report.digest)
    );
    let names: Vec<&str> = report.segments.iter().map(String::as_str).collect();
    body.push_str(&chart::legend(&names));
    for credit in report.credits() {
        credit_charts(report, &credit, &mut body);
    }
    let counted = |of: fn(&Cell) -> u64| {
        move |cell: &Cell| Decimal::from_whole(i64::try_from(of(cell)).unwrap_or(i64::MAX))
    };
    let whole = |value: Decimal| value.to_string().parse().map_or_else(|_| value.to_string(), count);
    if total.denied > 0 {
        section(report, &mut body, "Refused usages", counted(|cell| cell.denied), whole);
    }
    if !total.ran_out.is_empty() {
        let customers = |cell: &Cell| u64::try_from(cell.ran_out.len()).unwrap_or(u64::MAX);
        section(report, &mut body, "Customers whose credits ran out", counted(customers), whole);
    }
    if report.has_money {
        let named = |what: &str| format!("{what}, {}", report.currency);
        section(report, &mut body, &named("Revenue"), |cell| cell.till.revenue(), money);
        section(report, &mut body, &named("Provider cost"), |cell| cell.till.cost, money);
        body.push_str(&money_table(report));
    }
    body.push_str(&segment_table(report));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&title)
    )
}

fn credit_charts(report: &Report, credit: &CreditType, body: &mut String) {
    let of = |pick: fn(&super::tally::Flow) -> Decimal| {
        move |cell: &Cell| cell.credits.get(credit).map_or(Decimal::ZERO, pick)
    };
    let named = |what: &str| format!("{what}, {credit}");
    section(report, body, &named("Used"), of(|flow| flow.spent.decimal()), money);
    let total = report.tally.total().credits.get(credit).copied().unwrap_or_default();
    if !total.overage.is_zero() {
        section(report, body, &named("Overage"), of(|flow| flow.overage.decimal()), money);
    }
    if !total.expired.is_zero() {
        section(report, body, &named("Expired unused"), of(|flow| flow.expired.decimal()), money);
    }
}

fn section(
    report: &Report,
    body: &mut String,
    title: &str,
    value: impl Fn(&Cell) -> Decimal,
    show: impl Fn(Decimal) -> String,
) {
    let series: Vec<Series<'_>> = report
        .segments
        .iter()
        .zip(&report.tally.cells)
        .map(|(name, cells)| Series { name, values: cells.iter().map(&value).collect() })
        .collect();
    // Writing to a String does not fail.
    let _ = write!(
        body,
        "<section>\n<h2>{}</h2>\n{}</section>\n",
        escape(title),
        chart::stacked(title, &report.months, &series, show)
    );
}

fn rows(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: String = head.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let row = |values: Vec<String>| {
        let cells: String = values.iter().map(|value| format!("<td>{}</td>", escape(value))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    format!(
        "<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n",
        rows.map(row).collect::<String>()
    )
}

fn money_table(report: &Report) -> String {
    let of = |name: &str, cell: &Cell| {
        let till = &cell.till;
        let amounts =
            [till.fees, till.purchases, till.invoiced, till.revenue(), till.cost, till.margin()].map(money);
        let percent =
            margin_percent(till).map_or_else(|| "–".to_owned(), |percent| format!("{} %", money(percent)));
        let mut row = vec![name.to_owned()];
        row.extend(amounts);
        row.push(percent);
        row
    };
    let segments = report.segments.iter().enumerate();
    let all = segments.map(|(place, name)| of(name, &report.tally.of_segment(place)));
    let total = report.tally.total();
    let table = rows(
        &["segment", "fees", "purchases", "invoiced", "revenue", "cost", "margin", "of revenue"],
        all.chain(std::iter::once(of("all", &total))),
    );
    format!("<section>\n<h2>Margin by segment, {}</h2>\n{table}</section>\n", escape(&report.currency))
}

fn segment_table(report: &Report) -> String {
    let all = report.segments.iter().enumerate().map(|(place, name)| {
        let cell = report.tally.of_segment(place);
        let day = |percent| {
            percentile(&cell.ran_out, percent).map_or_else(|| "–".to_owned(), |day| day.to_string())
        };
        let buffer = |percent| percentile(&cell.buffers, percent).map_or_else(|| "–".to_owned(), amount);
        let ran_out = u64::try_from(cell.ran_out.len()).unwrap_or(u64::MAX);
        vec![
            name.clone(),
            count(cell.usages),
            count(cell.denied),
            count(cell.invalid),
            count(ran_out),
            day(10),
            day(50),
            buffer(50),
            buffer(95),
            buffer(100),
        ]
    });
    let head = [
        "segment",
        "usages",
        "refused",
        "invalid",
        "ran out",
        "day p10",
        "day p50",
        "buffer p50",
        "p95",
        "max",
    ];
    format!(
        "<section>\n<h2>Run-outs and buffers</h2>\n<p>A customer's month counts as run out from its first refusal or overage for want \
         of credits; a buffer is the most overage that a customer owed in a month.</p>\n{}</section>\n",
        rows(&head, all)
    )
}
