//! How lines, suggestions and faults read, for people and in case files.

use proviso_ledger::{
    journal::Line,
    model::{amounts::Quantity, answers::Suggestion},
};

/// A line of a cost: `input tokens: 1200 x 0.001 = 1.2`.
pub fn line(line: &Line) -> String {
    format!("{}: {} x {} = {}", line.label, line.quantity, line.unit_cost, line.cost)
}

/// A suggestion: `use the small model: model = small, tokens = 100`.
pub fn suggestion(suggestion: &Suggestion) -> String {
    let Suggestion { detail, attributes, quantities } = suggestion;
    let attributes = attributes.iter().map(|(name, value)| format!("{name} = {value}"));
    let changes: Vec<String> = attributes.chain(quantities.iter().map(quantity)).collect();
    if changes.is_empty() { detail.clone() } else { format!("{detail}: {}", changes.join(", ")) }
}

/// A quantity: `tokens = 100`.
pub fn quantity((name, amount): &(String, Quantity)) -> String {
    format!("{name} = {amount}")
}

/// What a policy's failure was: its kind, all of its detail, and what the policy logged until then, line by line.
pub fn fault(code: &str, detail: &str, log: &[String]) -> Vec<String> {
    let detail = format!("{code}: {detail}");
    let logged = log.iter().flat_map(|message| message.lines().map(|line| format!("logged: {line}")));
    detail.lines().map(str::to_owned).chain(logged).collect()
}
