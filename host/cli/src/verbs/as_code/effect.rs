//! What terms that are to be bound would have made of the plan's last days, in credits: backtests on the server, which does them beside
//! what customers ask.

use crate::{
    error::Error,
    terminal,
    verbs::policy::remote::client::{Client, segment},
};
use proviso_api::apply::ApplyChange;
use proviso_ledger::model::time::Timestamp;
use serde_json::{Value, json};
use std::{fmt::Write as _, thread, time::Duration};

/// Features, and customers, that are shown.
const MOST_SHOWN: usize = 5;
/// How long to wait before asking how far a backtest is.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_secs(1);
const DAY_MICROS: i64 = 86_400_000_000;

/// What a backtest of such a change asks: none where it binds no terms that decide, or where none decided.
fn question(change: &ApplyChange<'_>, days: u16) -> Option<(String, Value)> {
    let after = change.after.as_ref().filter(|_| change.r#type == "terms_bound")?;
    change.replaces.as_ref()?;
    if after.get("mode").and_then(Value::as_str) != Some("active") {
        return None;
    }
    let plan = change.subject.strip_prefix("plan/")?.rsplit_once('/')?.0;
    let (policy, version) =
        (after.pointer("/policy/name")?.as_str()?, after.pointer("/policy/version")?.as_u64()?);
    // The server's now.
    let now: Timestamp = after.get("created_at")?.as_str()?.parse().ok()?;
    let from = now.plus_micros(-i64::from(days).saturating_mul(DAY_MICROS));
    let body = json!({ "plan": plan, "from": from, "settings": after.get("settings")? });
    Some((format!("/v1/policies/{}/versions/{version}/backtests", segment(policy)), body))
}

/// What a change of terms would have come to in the last days, in lines; empty for a change that has no such effect.
pub fn of(client: &Client, change: &ApplyChange<'_>, days: u16) -> Result<String, Error> {
    let Some((path, body)) = question(change, days) else { return Ok(String::new()) };
    let bar = terminal::spinner("backtesting");
    let (_, mut job): (u16, Value) = client.post(&path, "application/json", body.to_string().as_bytes())?;
    let id = job.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = format!("{path}/{}", segment(&id));
    let mut wait = SOON;
    while matches!(job.get("status").and_then(Value::as_str), Some("waiting" | "running")) {
        let number = |name: &str| job.get(name).and_then(Value::as_u64).unwrap_or(0);
        bar.set_message(format!(
            "{}: {}",
            change.subject,
            terminal::journals(number("entries"), number("customers"))
        ));
        thread::sleep(wait);
        wait = wait.saturating_mul(2).min(LATER);
        job = client.get(&address)?;
    }
    bar.finish_and_clear();
    Ok(match job.get("report") {
        Some(report) => shown(report, days),
        None => {
            let detail = job.get("detail").and_then(Value::as_str).unwrap_or("it came to nothing");
            format!("    effect: not known, since the backtest failed: {detail}\n")
        }
    })
}

fn shown(report: &Value, days: u16) -> String {
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let followed = format!(
        "{} of {} in the last {}",
        terminal::plural(number("/total/decisions"), "decision"),
        terminal::plural(number("/customers"), "customer"),
        terminal::plural(u64::from(days), "day"),
    );
    let mut lines = String::new();
    let both = |was: &str, would: &str| {
        if was == would { format!("{was}, the same") } else { format!("{was}, would be {would}") }
    };
    // Writing to a String does not fail.
    let total = report.get("total").cloned().unwrap_or_default();
    let (recorded, candidate, difference) =
        (text(&total, "recorded"), text(&total, "candidate"), text(&total, "difference"));
    let more = if difference == "0" || difference.is_empty() {
        String::new()
    } else {
        format!(" ({}{difference})", if difference.starts_with('-') { "" } else { "+" })
    };
    let _ = writeln!(lines, "    effect: {followed}: charged {}{more}", both(&recorded, &candidate));
    for (count, noun, what) in [
        (number("/customers_changed"), "customer", " would see a change"),
        (number("/total/newly_refused"), "usage", " newly refused"),
        (number("/total/newly_accepted"), "usage", " newly accepted"),
        (number("/failures"), "customer", " can't be followed"),
    ] {
        if count > 0 {
            let _ = writeln!(lines, "      {}{what}", terminal::plural(count, noun));
        }
    }
    for (name, what) in
        [("issued", "issued as periods began"), ("rolled_over", "carried over"), ("fees", "fees")]
    {
        let of = |whose: &str| {
            report.pointer(&format!("/periods/{whose}/{name}")).and_then(Value::as_str).unwrap_or("0")
        };
        let (was, would) = (of("recorded"), of("candidate"));
        if was != would {
            let _ = writeln!(lines, "      {what}: {}", both(was, would));
        }
    }
    for (list, name) in [("by_feature", "feature"), ("by_customer", "customer")] {
        let rows = report.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let sums = |row: &Value| {
            if name == "customer" { row.get("total").cloned().unwrap_or_default() } else { row.clone() }
        };
        let changed: Vec<(String, Value)> = rows
            .iter()
            .map(|row| (row, sums(row)))
            .filter(|(_, sums)| !matches!(text(sums, "difference").as_str(), "" | "0"))
            .map(|(row, sums)| {
                let month = text(row, "month");
                (format!("{} {month}", text(row, name)).trim_end().to_owned(), sums)
            })
            .collect();
        for (title, sums) in changed.iter().take(MOST_SHOWN) {
            let _ = writeln!(
                lines,
                "      {name} {title}: {}",
                both(&text(sums, "recorded"), &text(sums, "candidate"))
            );
        }
        if let Some(rest) = changed.len().checked_sub(MOST_SHOWN).filter(|rest| *rest > 0) {
            let _ = writeln!(lines, "      and {} more", terminal::plural(rest as u64, name));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn terms_that_decide_in_the_place_of_others_are_backtested() {
        let after = json!({"mode": "active", "policy": {"name": "standard", "version": 2}, "settings": {"a": 1},
                           "created_at": "2026-03-01T00:00:00Z"});
        let change = |kind: &str, after: Value, replaces: Option<Value>| ApplyChange {
            r#type: kind.to_owned().into(),
            subject: "plan/pro/terms_2".into(),
            pointer: None,
            before: None,
            after: Some(Cow::Owned(after)),
            replaces: replaces.map(Cow::Owned),
        };
        let asked = question(&change("terms_bound", after.clone(), Some(json!({}))), 28);
        let body = json!({"plan": "pro", "from": "2026-02-01T00:00:00Z", "settings": {"a": 1}});
        assert_eq!(asked, Some(("/v1/policies/standard/versions/2/backtests".to_owned(), body)));
        let mut shadow = after.clone();
        shadow["mode"] = json!("shadow");
        for none in [
            change("terms_bound", after.clone(), None),
            change("terms_changed", after, Some(json!({}))),
            change("terms_bound", shadow, Some(json!({}))),
        ] {
            assert_eq!(question(&none, 28), None);
        }
    }

    #[test]
    fn the_effect_is_told_in_credits() {
        let sums = |recorded: &str, candidate: &str, difference: &str| {
            json!({"decisions": 3, "differ": 2, "recorded": recorded, "candidate": candidate, "difference": difference,
                   "newly_refused": 1, "newly_accepted": 0})
        };
        let mut row = sums("3", "6", "3");
        row["feature"] = json!("chat");
        row["month"] = json!("2026-01");
        let flow = json!({"issued": "10", "rolled_over": "0", "fees": "0"});
        let report = json!({
            "customers": 1, "customers_changed": 1, "total": sums("3", "6", "3"), "by_feature": [row], "failures": 0,
            "periods": {"recorded": flow, "candidate": flow},
            "by_customer": [{"customer": "acme", "total": sums("3", "6", "3")}],
        });
        let expected = "    effect: 3 decisions of 1 customer in the last 30 days: charged 3, would be 6 (+3)
      1 customer would see a change
      1 usage newly refused
      feature chat 2026-01: 3, would be 6
      customer acme: 3, would be 6
";
        assert_eq!(shown(&report, 30), expected);
    }
}
