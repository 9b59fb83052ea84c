//! The names of OpenTelemetry's semantic conventions for generative AI, and the part of a usage that each becomes. The
//! conventions are in development: older names stay here beside the newer ones.

/// The part of a usage that a name becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// How much of this quantity.
    Quantity(&'static str),
    /// The text of this attribute.
    Attribute(&'static str),
    /// The entity.
    Entity,
}

use Meaning::{Attribute, Entity, Quantity};

/// The names that are understood. Of several for the same part, the first in this order is taken. The table of
/// `docs/events.md` is this one.
pub const NAMES: [(&str, Meaning); 16] = [
    ("gen_ai.usage.input_tokens", Quantity("input_tokens")),
    ("gen_ai.usage.prompt_tokens", Quantity("input_tokens")),
    ("gen_ai.usage.output_tokens", Quantity("output_tokens")),
    ("gen_ai.usage.completion_tokens", Quantity("output_tokens")),
    ("gen_ai.usage.cache_read.input_tokens", Quantity("cache_read_input_tokens")),
    ("gen_ai.usage.cache_write.input_tokens", Quantity("cache_creation_input_tokens")),
    ("gen_ai.usage.cache_creation.input_tokens", Quantity("cache_creation_input_tokens")),
    ("gen_ai.usage.reasoning.output_tokens", Quantity("reasoning_output_tokens")),
    ("gen_ai.request.model", Attribute("model")),
    ("gen_ai.response.model", Attribute("response_model")),
    ("gen_ai.provider.name", Attribute("provider")),
    ("gen_ai.system", Attribute("provider")),
    ("gen_ai.operation.name", Attribute("operation")),
    ("gen_ai.agent.name", Attribute("agent")),
    ("user.id", Entity),
    ("enduser.id", Entity),
];

/// Quantities that the conventions count whole, and the parts that they count among them.
pub const OVERLAPS: [(&str, &[&str]); 2] = [
    ("input_tokens", &["cache_read_input_tokens", "cache_creation_input_tokens"]),
    ("output_tokens", &["reasoning_output_tokens"]),
];

/// The prefix of names that carry usage: an unknown one must be refused, not passed over.
const USAGE: &str = "gen_ai.usage.";

/// Other names that instrumentations put on the spans of generative AI; they are no part of a usage.
const IGNORED: [&str; 10] = [
    "gen_ai.",
    "openai.",
    "aws.bedrock.",
    "azure.ai.",
    "mcp.",
    "user.",
    "enduser.",
    "server.address",
    "server.port",
    "error.type",
];

/// The kind of a name in `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// One of [`NAMES`]: its row and its meaning.
    Known(usize, Meaning),
    /// OpenTelemetry's, and no part of a usage.
    Ignored,
    /// OpenTelemetry's, with usage that is not understood.
    UnknownUsage,
    /// None of OpenTelemetry's.
    Other,
}

/// Looks a name up.
pub fn name(text: &str) -> Name {
    let rows = NAMES.iter().enumerate();
    let known =
        rows.filter(|(_, (known, _))| *known == text).map(|(row, (_, meaning))| (row, *meaning)).next();
    let begins = |with: &str| if with.ends_with('.') { text.starts_with(with) } else { text == with };
    match known {
        Some((row, meaning)) => Name::Known(row, meaning),
        None if text.starts_with(USAGE) => Name::UnknownUsage,
        None if IGNORED.iter().any(|with| begins(with)) => Name::Ignored,
        None => Name::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (text, expected) in [
            ("gen_ai.usage.input_tokens", Name::Known(0, Quantity("input_tokens"))),
            ("enduser.id", Name::Known(15, Entity)),
            ("gen_ai.usage.video_seconds", Name::UnknownUsage),
            ("gen_ai.response.finish_reasons", Name::Ignored),
            ("server.address", Name::Ignored),
            ("server.addresses", Name::Other),
            ("gen_ai", Name::Other),
            ("region", Name::Other),
        ] {
            assert_eq!(name(text), expected, "{text}");
        }
    }

    /// The page repeats the table row by row.
    #[test]
    fn the_page_has_the_same_table() {
        let page = include_str!("../../../../../docs/events.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> = NAMES
            .iter()
            .map(|(name, meaning)| match meaning {
                Quantity(quantity) => format!("| `{name}` | quantity `{quantity}` |"),
                Attribute(attribute) => format!("| `{name}` | attribute `{attribute}` |"),
                Entity => format!("| `{name}` | `entity` |"),
            })
            .collect();
        assert_eq!(rows, expected);
    }
}
