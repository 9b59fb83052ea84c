//! What would change, for people: a line for each thing, and below it what of it differs.

use crate::terminal::{self, Paint};
use proviso_api::apply::{ApplyChange, ApplyReport};
use serde_json::Value;
use std::fmt::Write as _;

/// Differences of one thing that are shown.
const MOST_SHOWN: usize = 40;
/// The longest value that is shown whole, in characters.
const LONGEST: usize = 96;
/// What the host makes for itself.
const OWN: [&str; 7] = ["created_at", "version_created_at", "key", "digest", "plan", "policy", "canary"];

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happens {
    /// It begins to be.
    Created,
    /// It becomes another one.
    Changed,
    /// It ends.
    Ended,
}

/// What happens to what a change is about.
pub fn happens(change: &ApplyChange<'_>) -> Happens {
    let ends = |value: &Option<std::borrow::Cow<'_, Value>>| {
        value.as_ref().is_some_and(|value| value.get("ends_at").is_some_and(|end| !end.is_null()))
    };
    match &*change.r#type {
        "plan_created" | "policy_created" | "terms_bound" => Happens::Created,
        // What the request does not name is taken back.
        "terms_changed" if change.pointer.is_none() && ends(&change.after) => Happens::Ended,
        _ => Happens::Changed,
    }
}

/// All changes, each followed by what `more` says of it.
pub fn changes(report: &ApplyReport<'_>, paint: Paint, more: impl Fn(&ApplyChange<'_>) -> String) -> String {
    let mut text = String::new();
    for change in &report.changes {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", title(change, paint));
        differences(&mut text, change, paint);
        text.push_str(&more(change));
    }
    for remark in &report.remarks {
        let _ = writeln!(text, "{} {} {}", paint.bad("!"), paint.strong(&remark.subject), remark.detail);
    }
    text
}

/// How many things are created, changed and ended, and how many stay as they are.
pub fn sums(report: &ApplyReport<'_>) -> String {
    let count =
        |wanted: Happens| report.changes.iter().filter(|change| happens(change) == wanted).count() as u64;
    let counts =
        [(Happens::Created, "to create"), (Happens::Changed, "to change"), (Happens::Ended, "to end")];
    let counts = counts.map(|(wanted, what)| format!("{} {what}", terminal::count(count(wanted))));
    format!("{}, {} unchanged", counts.join(", "), terminal::count(report.unchanged))
}

fn title(change: &ApplyChange<'_>, paint: Paint) -> String {
    let subject = paint.strong(&change.subject);
    let field =
        |name: &str| change.after.as_ref().and_then(|after| after.pointer(name)?.as_str().map(str::to_owned));
    match (happens(change), &*change.r#type) {
        (Happens::Created, "terms_bound") => {
            let policy = field("/policy/name").unwrap_or_default();
            let version = change
                .after
                .as_ref()
                .and_then(|after| after.pointer("/policy/version"))
                .map(Value::to_string);
            let now = field("/created_at");
            let from = field("/effective_at").filter(|from| Some(from) != now.as_ref());
            let is_later = from.is_some();
            let from = from.map_or_else(|| "from now".to_owned(), |from| format!("from {from}"));
            let until = field("/ends_at").map(|end| format!(" until {end}")).unwrap_or_default();
            let share =
                change.after.as_ref().and_then(|after| after.pointer("/canary/steps/0/share_percent"));
            let share = share.and_then(Value::as_str).map(|share| format!(", a canary of {share} %"));
            let shadow = if field("/mode").as_deref() == Some("shadow") { ", a shadow" } else { "" };
            let is_beside = share.is_some() || !shadow.is_empty();
            let (version, share) = (version.unwrap_or_default(), share.unwrap_or_default());
            let whose = match replaced(change) {
                Some(key) if is_beside => format!(", beside {key}"),
                Some(key) if !is_later => format!(", in the place of {key}"),
                _ => String::new(),
            };
            format!("{} {subject}  {policy} {version} {from}{until}{share}{shadow}{whose}", paint.good("+"))
        }
        (Happens::Created, _) => format!("{} {subject}", paint.good("+")),
        (Happens::Changed, _) => format!("{} {subject}", paint.strong("~")),
        (Happens::Ended, _) => {
            let end = field("/ends_at").unwrap_or_default();
            format!("{} {subject}  ends at {end}", paint.bad("-"))
        }
    }
}

/// The key of the terms whose place others take.
fn replaced(change: &ApplyChange<'_>) -> Option<String> {
    change.replaces.as_ref()?.get("key")?.as_str().map(str::to_owned)
}

fn differences(text: &mut String, change: &ApplyChange<'_>, paint: Paint) {
    let null = Value::Null;
    let after = change.after.as_deref().unwrap_or(&null);
    let before = change.before.as_deref().or(change.replaces.as_deref()).unwrap_or(&null);
    let mut all = Vec::new();
    if happens(change) != Happens::Ended {
        if change.r#type == "terms_bound" {
            for name in ["on_fault", "mode", "time_zone", "contract", "note", "settings"] {
                let of = |value: &Value| value.get(name).cloned().unwrap_or(Value::Null);
                compare(name, &of(before), &of(after), &mut all);
            }
        } else {
            compare("", before, after, &mut all);
        }
    }
    for (place, was, is) in all.iter().take(MOST_SHOWN) {
        let line = match (was, is) {
            (None, Some(is)) => format!("{} {place}: {is}", paint.good("+")),
            (Some(was), None) => format!("{} {place}: {was}", paint.bad("-")),
            (was, is) => format!(
                "{} {place}: {} -> {}",
                paint.strong("~"),
                was.as_deref().unwrap_or_default(),
                is.as_deref().unwrap_or_default()
            ),
        };
        let _ = writeln!(text, "    {line}");
    }
    if let Some(rest) = all.len().checked_sub(MOST_SHOWN).filter(|rest| *rest > 0) {
        let _ =
            writeln!(text, "    and {} (--json shows all)", terminal::plural(rest as u64, "more difference"));
    }
}

type Differences = Vec<(String, Option<String>, Option<String>)>;

/// The leaves in which two values differ.
fn compare(place: &str, was: &Value, is: &Value, all: &mut Differences) {
    if was == is {
        return;
    }
    let join = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names.into_iter().filter(|name| !place.is_empty() || !OWN.contains(&name.as_str())) {
                let of = |fields: &serde_json::Map<String, Value>| {
                    fields.get(name).cloned().unwrap_or(Value::Null)
                };
                compare(&join(name), &of(was), &of(is), all);
            }
            // A canary's share is told by its last step.
            if place.is_empty() && (was.contains_key("canary") || is.contains_key("canary")) {
                let share = |fields: &serde_json::Map<String, Value>| {
                    let steps = fields.get("canary")?.get("steps")?.as_array()?;
                    steps.last()?.get("share_percent").cloned()
                };
                let [was, is] = [was, is].map(|fields| share(fields).unwrap_or(Value::Null));
                compare("canary.share_percent", &was, &is, all);
            }
        }
        (Value::Array(was), Value::Array(is)) => {
            for index in 0..was.len().max(is.len()) {
                let of = |items: &Vec<Value>| items.get(index).cloned().unwrap_or(Value::Null);
                compare(&format!("{place}[{index}]"), &of(was), &of(is), all);
            }
        }
        (Value::Null, Value::Object(is)) if !is.is_empty() => {
            for (name, value) in
                is.iter().filter(|(name, _)| !place.is_empty() || !OWN.contains(&name.as_str()))
            {
                compare(&join(name), &Value::Null, value, all);
            }
        }
        (was, is) => all.push((place.to_owned(), shown(was), shown(is))),
    }
}

fn shown(value: &Value) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let text = value.to_string();
    Some(match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(
        kind: &str,
        pointer: Option<&str>,
        before: Value,
        after: Value,
        replaces: Value,
    ) -> ApplyChange<'static> {
        let [before, after, replaces] = [before, after, replaces]
            .map(|value| Some(value).filter(|value| !value.is_null()).map(std::borrow::Cow::Owned));
        let subject = "plan/pro/terms_2".into();
        let pointer = pointer.map(|pointer| pointer.to_owned().into());
        ApplyChange { r#type: kind.to_owned().into(), subject, pointer, before, after, replaces }
    }

    #[test]
    fn each_change_has_a_line_and_what_differs() {
        let terms = |price: &str, from: &str| {
            json!({"key": "plan/pro/terms_1", "policy": {"name": "standard", "version": 2}, "mode": "active", "on_fault": "deny",
                   "effective_at": from, "created_at": "2026-01-01T00:00:00Z",
                   "settings": {"rates": [{"price": {"flat": price}}]}})
        };
        let null = Value::Null;
        let bound = change(
            "terms_bound",
            Some("/plans/pro/terms/0"),
            null.clone(),
            terms("2", "2026-01-01T00:00:00Z"),
            terms("1", "2025-01-01T00:00:00Z"),
        );
        let later = change(
            "terms_bound",
            Some("/plans/pro/terms/1"),
            null.clone(),
            terms("2", "2027-01-01T00:00:00Z"),
            null.clone(),
        );
        let ended = change(
            "terms_changed",
            None,
            json!({"ends_at": null}),
            json!({"ends_at": "2026-01-01T00:00:00Z"}),
            null.clone(),
        );
        let plan = change(
            "plan_changed",
            Some("/plans/pro"),
            json!({"name": "Pro", "version": 1}),
            json!({"name": "Pro 2", "version": 2}),
            null,
        );
        let report = ApplyReport {
            applied: false,
            digest: "d".into(),
            changes: vec![bound, later, ended, plan],
            unchanged: 3,
            remarks: Vec::new(),
        };
        let text = changes(&report, Paint::plain(), |_| String::new());
        let expected = "\
+ plan/pro/terms_2  standard 2 from now, in the place of plan/pro/terms_1
    ~ settings.rates[0].price.flat: \"1\" -> \"2\"
+ plan/pro/terms_2  standard 2 from 2027-01-01T00:00:00Z
    + on_fault: \"deny\"
    + mode: \"active\"
    + settings.rates: [{\"price\":{\"flat\":\"2\"}}]
- plan/pro/terms_2  ends at 2026-01-01T00:00:00Z
~ plan/pro/terms_2
    ~ name: \"Pro\" -> \"Pro 2\"
    ~ version: 1 -> 2
";
        assert_eq!(text, expected);
        assert_eq!(sums(&report), "2 to create, 1 to change, 1 to end, 3 unchanged");
    }
}
