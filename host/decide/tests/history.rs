//! What a customer's state holds does not grow with its history: reading or charging it costs no more after ten years than in the
//! first months.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proviso_ledger::state::CustomerState;
use support::script::{Script, play};

/// Daily and monthly plans with all that leaves traces: allowances, rollover, top-ups, overage, holds, counters, changes of plan,
/// zone and anchor, resets, and policies that fail.
fn live_through(years: i64) -> CustomerState {
    let mut text = String::from(
        r#"plan daily day {"allowances": [{"amount": "30", "with": 1}], "rollover": {"percent": "50", "periods": 3}, "overage": {"top_up": "20"}, "counters": [{"window": "day"}, {"measure": "n", "scope": "entity", "window": {"hours": 5}}, {"measure": "n", "window": "month"}], "fee": "1"}
         plan monthly month {"allowances": [{"amount": "300"}, {"amount": "5", "category": "promotional", "allowance": "full", "with": null, "expires_after_hours": 900}], "rollover": {"percent": "100"}, "overage": {"allow": "1000"}, "settle": "invoice", "counters": [{"window": "period"}]}
         plan free {"allowances": [{"amount": "10", "with": null}], "overage": {"allow": "100000"}}
         plan other month {"allowances": [{"amount": "40"}]}
         plan broken month {"faults": ["close", "open"]}
         customer plan=daily
"#,
    );
    for month in 0..12 * years {
        let day = month * 30;
        let plan = ["daily", "monthly", "free", "daily", "monthly", "broken"][month as usize % 6];
        text.push_str(&format!(
            "at +{}d
             charge 45 entity=u{}
             grant 3 prepaid expires=+{}d
             r: reserve 7 ttl=3600
             commit r 9
             at +{}d
             charge 20 of=+{}d
             s: reserve 5 ttl=86400
             customer anchor=+{}d zone={}
             at +{}d
             customer plan={plan}
             change other when=+{}d
             cancel
             reset
             charge 4\n",
            day + 1,
            month % 7,
            day + 10,
            day + 5,
            day + 3,
            day + 6,
            ["UTC", "Asia/Kolkata"][month as usize % 2],
            day + 15,
            day + 60,
        ));
    }
    let end = 365 * years;
    text.push_str(&format!("at +{}d\ncustomer plan=monthly\nat +{}d\ncharge 1", end + 40, end + 80));
    let Script { world, .. } = play("2026-01-01T00:00:00Z", &text);
    world.state
}

#[test]
fn ten_years_leave_no_more_than_one() {
    let (short, long) = (live_through(1), live_through(10));
    assert!(long.seq > 5 * short.seq, "{} and {} entries", short.seq, long.seq);
    let sizes = |state: &CustomerState| {
        [
            ("grants", state.grants.len()),
            ("past", state.past.len()),
            ("missed", state.missed.len()),
            ("zones", state.zones.len()),
            ("reservations", state.reservations.len()),
            ("counters", state.counters.iter().count()),
            ("terms", state.terms.len()),
            ("overrides", state.overrides.len()),
            ("bytes", serde_json::to_string(state).unwrap().len()),
        ]
    };
    for ((what, before), (_, after)) in sizes(&short).into_iter().zip(sizes(&long)) {
        // A few bytes more for longer numbers, and what a month happens to leave.
        assert!(after <= before + before / 4 + 2, "{what}: {before} after a year, {after} after ten");
    }
}
