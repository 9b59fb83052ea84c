//! Profiles as other tools read them: folded stacks, and Speedscope's format.

use serde_json::{Value, json};
use std::collections::HashMap;

/// Each stack, outermost first, with the fuel of the innermost function's own instructions.
pub type Stacks = [(Vec<String>, u64)];

/// One line for each stack: `rate;policy::price;core::mul 1234`.
pub fn folded(stacks: &Stacks) -> String {
    // A semicolon separates functions, so one in a name (`[u8; 4]`) can't stay.
    let line = |(names, fuel): &(Vec<String>, u64)| {
        let names: Vec<String> = names.iter().map(|name| name.replace(';', ",")).collect();
        format!("{} {fuel}\n", names.join(";"))
    };
    stacks.iter().map(line).collect()
}

/// For speedscope.app: <https://www.speedscope.app/file-format-schema.json>.
pub fn speedscope(title: &str, stacks: &Stacks) -> Value {
    let mut frames: Vec<&str> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut samples = Vec::new();
    let mut weights = Vec::new();
    for (names, fuel) in stacks {
        let stack = names.iter().map(|name| {
            *known.entry(name).or_insert_with(|| {
                frames.push(name);
                frames.len() - 1
            })
        });
        samples.push(stack.collect::<Vec<_>>());
        weights.push(*fuel);
    }
    let end: u64 = weights.iter().sum();
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("proviso ", env!("CARGO_PKG_VERSION")),
        "name": title,
        "activeProfileIndex": 0,
        "shared": {"frames": frames.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()},
        "profiles": [{
            "type": "sampled",
            "name": title,
            // Fuel is none of the units that Speedscope knows.
            "unit": "none",
            "startValue": 0,
            "endValue": end,
            "samples": samples,
            "weights": weights,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_written_for_other_tools() {
        let stacks = [
            (vec!["rate".to_owned()], 7),
            (vec!["rate".to_owned(), "price<[u8; 4]>".to_owned()], 5),
            (vec!["open".to_owned(), "price<[u8; 4]>".to_owned()], 1),
        ];
        assert_eq!(folded(&stacks), "rate 7\nrate;price<[u8, 4]> 5\nopen;price<[u8, 4]> 1\n");
        let value = speedscope("x", &stacks);
        assert_eq!(
            value["shared"]["frames"],
            json!([{"name": "rate"}, {"name": "price<[u8; 4]>"}, {"name": "open"}])
        );
        let profile = &value["profiles"][0];
        assert_eq!(profile["samples"], json!([[0], [0, 1], [2, 1]]));
        assert_eq!((&profile["weights"], &profile["endValue"]), (&json!([7, 5, 1]), &json!(13)));
    }
}
