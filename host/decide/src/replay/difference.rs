//! Where two drafts first differ, for people.

use proviso_ledger::journal::Event;
use serde::Serialize;
use serde_json::Value;

/// The longest value that is shown, in characters.
const LONGEST: usize = 200;

/// Where the event that is recorded and the one that was made now first differ, with both values.
pub(super) fn of_events(recorded: &Event, made: &Event) -> String {
    if recorded.kind() != made.kind() {
        return format!("was {}, is now {}{}", recorded.kind(), made.kind(), reason(made));
    }
    first(&value(recorded), &value(made), String::new())
        .unwrap_or_else(|| "differs in what its text does not show".to_owned())
}

/// The same of lists such as transfers.
pub(super) fn of_lists(what: &str, recorded: &impl Serialize, made: &impl Serialize) -> String {
    first(&value(recorded), &value(made), what.to_owned()).unwrap_or_else(|| format!("{what} differ"))
}

fn reason(made: &Event) -> String {
    match made {
        Event::Refused(refused) => format!(" ({})", refused.code),
        _ => String::new(),
    }
}

fn value(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).unwrap_or_default()
}

fn first(recorded: &Value, made: &Value, place: String) -> Option<String> {
    if recorded == made {
        return None;
    }
    match (recorded, made) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            names.into_iter().find_map(|name| {
                let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                let of =
                    |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                first(&of(old), &of(new), inner)
            })
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let mut pairs = (0..).zip(old.iter().zip(new));
            pairs.find_map(|(n, (old, new)): (usize, _)| first(old, new, format!("{place}[{n}]")))
        }
        _ => Some(format!("{place} was {}, is now {}", short(recorded), short(made))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
