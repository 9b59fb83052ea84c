//! How the time of a report is composed of slots: days where that makes no difference, else quarters of an hour, and parts of
//! those at its ends.

use super::Grain;
use crate::report::{GroupBy, UsageReport};
use proviso_ledger::model::time::{Timestamp, Zone};

/// The most slots of a piece.
const MOST_QUARTERS: i64 = 7 * 96;
const MOST_DAYS: i64 = 366;

/// A part of a report's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub from: Timestamp,
    pub to: Timestamp,
    pub how: How,
}

/// What it consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Whole slots.
    Slots(Grain),
    /// A part of a quarter.
    Part,
    /// A quarter in which the local hour changes.
    Uneven,
}

/// Composes `from..to` of a report in this zone.
pub(super) fn compose(report: &UsageReport, zone: &Zone, from: Timestamp, to: Timestamp) -> Vec<Piece> {
    let by = |wanted: &GroupBy| report.group_by.contains(wanted);
    let has_labels = by(&GroupBy::Hour) || by(&GroupBy::Day) || by(&GroupBy::Month);
    let last = |end: Timestamp| Timestamp(end.0.saturating_sub(1));
    // Whether all of a quarter bears one label.
    let is_even = |start: Timestamp, end: Timestamp| {
        let (first, last) = (zone.moment(start), zone.moment(last(end)));
        first.offset_seconds % 900 == 0 && first.offset_seconds == last.offset_seconds
    };
    let day_bears_one = |start: Timestamp, end: Timestamp| {
        if !has_labels {
            return true;
        }
        let (first, last) = (zone.moment(start), zone.moment(last(end)));
        let same_month = (first.year, first.month) == (last.year, last.month);
        !by(&GroupBy::Hour) && same_month && (!by(&GroupBy::Day) || first.day == last.day)
    };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = from;
    while at < to {
        let day_end = Grain::Day.start(Grain::Day.slot(at) + 1);
        let start = Grain::Quarter.start(Grain::Quarter.slot(at));
        let end = Grain::Quarter.start(Grain::Quarter.slot(at) + 1);
        let (until, how) =
            if Grain::Day.start(Grain::Day.slot(at)) == at && day_end <= to && day_bears_one(at, day_end) {
                (day_end, How::Slots(Grain::Day))
            } else if has_labels && !is_even(start, end) {
                (end.min(to), How::Uneven)
            } else if start == at && end <= to {
                (end, How::Slots(Grain::Quarter))
            } else {
                (end.min(to), How::Part)
            };
        let most = match how {
            How::Slots(Grain::Day) => MOST_DAYS * Grain::Day.micros(),
            How::Slots(Grain::Quarter) => MOST_QUARTERS * Grain::Quarter.micros(),
            How::Part | How::Uneven => 0,
        };
        match pieces.last_mut() {
            Some(piece) if piece.how == how && until.0.saturating_sub(piece.from.0) <= most => {
                piece.to = until;
            }
            _ => pieces.push(Piece { from: at, to: until, how }),
        }
        at = until;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(group_by: GroupBy, zone: &str, from: &str, to: &str) -> String {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let report =
            UsageReport { from, to, feature: None, entity: None, group_by: vec![group_by], zone: None };
        let pieces = compose(&report, &zone.parse().unwrap(), from, to);
        assert!(pieces.windows(2).all(|pair| pair[0].to == pair[1].from));
        let slots = |piece: &Piece, grain: Grain| (piece.to.0 - piece.from.0) / grain.micros();
        let words = pieces.iter().map(|piece| match piece.how {
            How::Slots(Grain::Day) => format!("{}d", slots(piece, Grain::Day)),
            How::Slots(Grain::Quarter) => format!("{}q", slots(piece, Grain::Quarter)),
            How::Part => "part".to_owned(),
            How::Uneven => "uneven".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn days_are_taken_whole_where_that_makes_no_difference() {
        let (march, april) = ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z");
        for (group_by, zone, from, to, expected) in [
            (GroupBy::Feature, "Asia/Tokyo", march, april, "31d"),
            (GroupBy::Day, "UTC", march, april, "31d"),
            (GroupBy::Hour, "UTC", march, "2026-03-02T00:00:00Z", "96q"),
            (GroupBy::Day, "Europe/Berlin", march, "2026-03-10T00:00:00Z", "672q 192q"),
            (GroupBy::Month, "Europe/Berlin", march, april, "30d 96q"),
            // The same offset all year, half an hour off.
            (GroupBy::Hour, "Asia/Kolkata", march, "2026-03-01T01:00:00Z", "4q"),
            (GroupBy::Feature, "UTC", "2026-03-01T00:00:01Z", "2026-03-01T00:20:00Z", "part part"),
            (GroupBy::Feature, "UTC", "2026-03-01T00:00:01Z", "2026-03-01T00:00:02Z", "part"),
            (GroupBy::Feature, "UTC", "2026-03-01T23:50:00Z", "2026-03-03T00:15:00Z", "part 1d 1q"),
            // 44 minutes and a half behind.
            (
                GroupBy::Hour,
                "Africa/Monrovia",
                "1960-01-01T00:00:00Z",
                "1960-01-01T00:30:00Z",
                "uneven uneven",
            ),
            (GroupBy::Feature, "UTC", april, march, ""),
        ] {
            assert_eq!(composed(group_by, zone, from, to), expected, "{from} to {to} in {zone}");
        }
    }
}
