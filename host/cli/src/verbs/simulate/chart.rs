//! Charts as SVG that stands in a page: bars by month, stacked by segment. Whole numbers only, in tenths of a pixel.

use proviso_ledger::model::amounts::Decimal;
use std::fmt::Write as _;

/// The size of the drawing, in pixels.
const WIDTH: i128 = 860;
const HEIGHT: i128 = 260;
/// What axes and labels take.
const LEFT: i128 = 76;
const BOTTOM: i128 = 26;
const TOP: i128 = 8;
/// Lines across.
const STEPS: i128 = 4;

/// A segment's values, one for each month.
pub struct Series<'a> {
    pub name: &'a str,
    pub values: Vec<Decimal>,
}

/// Bars by month, one segment on the other. Values below zero are drawn as zero.
pub fn stacked(
    title: &str,
    months: &[String],
    series: &[Series<'_>],
    show: impl Fn(Decimal) -> String,
) -> String {
    let units = |value: Decimal| value.units().max(0);
    let sum = |month: usize| -> i128 {
        let values = series.iter().filter_map(|one| one.values.get(month));
        values.fold(0, |sum: i128, value| sum.saturating_add(units(*value)))
    };
    let largest = (0..months.len()).map(sum).max().unwrap_or(0);
    let top = nice(largest);
    let (plot, count) = (HEIGHT - TOP - BOTTOM, i128::try_from(months.len()).unwrap_or(1).max(1));
    // Divided first where the product would not fit.
    let scaled = |value: i128| (value / 1_000_000).saturating_mul(plot * 10) / (top / 1_000_000).max(1);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(title));
    for step in 0..=STEPS {
        let y = TOP + plot - plot * step / STEPS;
        let label = show(Decimal::from_units(top / STEPS * step));
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8,
            y + 4,
            escape(&label)
        );
    }
    let slot = (WIDTH - LEFT) * 10 / count;
    let bar = slot * 7 / 10;
    // Labels need some 60 pixels each.
    let every = (600 + slot - 1) / slot.max(1);
    for (place, month) in months.iter().enumerate() {
        let nth = i128::try_from(place).unwrap_or(0);
        let x = LEFT * 10 + slot * nth + (slot - bar) / 2;
        let mut y = (TOP + plot) * 10;
        for (number, one) in series.iter().enumerate() {
            let value = one.values.get(place).copied().unwrap_or(Decimal::ZERO);
            let height = scaled(units(value));
            if height == 0 {
                continue;
            }
            y -= height;
            let _ = writeln!(
                svg,
                "<rect class=\"s{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{} {}: {}</title></rect>",
                number % 8,
                tenths(x),
                tenths(y),
                tenths(bar),
                tenths(height),
                escape(one.name),
                escape(month),
                escape(&show(value))
            );
        }
        if nth % every.max(1) == 0 {
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                tenths(x + bar / 2),
                HEIGHT - 8,
                escape(month)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The names of segments with their colours.
pub fn legend(names: &[&str]) -> String {
    let one = |(number, name): (usize, &&str)| {
        format!("<li><i class=\"s{}\"></i>{}</li>", number % 8, escape(name))
    };
    format!("<ul class=\"legend\">{}</ul>\n", names.iter().enumerate().map(one).collect::<String>())
}

/// The next number up whose quarters read well.
fn nice(largest: i128) -> i128 {
    // The smallest is 10^-3, far above what would be divided away.
    let mut tenth = 100_000_000_i128;
    while largest > tenth.saturating_mul(100) {
        tenth = tenth.saturating_mul(10);
    }
    let times = [10, 12, 16, 20, 24, 32, 40, 60, 80, 100];
    let found = times.into_iter().map(|times| tenth.saturating_mul(times)).find(|top| *top >= largest);
    found.unwrap_or(largest)
}

fn tenths(value: i128) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// Text as it may stand in a page.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_numbers_that_read_well() {
        let one = Decimal::ONE.units();
        for (largest, top) in
            [(0, 0), (1, 1), (4, 4), (5, 6), (9, 10), (11, 12), (90_000, 100_000), (26_000, 32_000)]
        {
            let found = nice(largest * one);
            assert!(largest == 0 || found == top * one, "{largest}: {found}");
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_names_are_escaped() {
        let value = |whole: i64| vec![Decimal::from_whole(whole)];
        let series = [Series { name: "a<b", values: value(3) }, Series { name: "c", values: value(1) }];
        let svg = stacked("x", &["2026-01".to_owned()], &series, |value| value.to_string());
        let plot = HEIGHT - TOP - BOTTOM;
        assert!(svg.contains(&format!("height=\"{}.5\"", plot * 3 / 4)), "{svg}");
        assert!(svg.contains("a&lt;b 2026-01: 3"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2);
    }
}
