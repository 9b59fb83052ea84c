//! Books as tables: what rates they come to, and what is wrong with them.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

const NOW: &str = "2026-06-01";

fn convert(book: &str, flags: &str) -> Result<Rates, String> {
    let words = ["prices", "book.json"].into_iter().chain(flags.split_whitespace());
    let flags = Line::try_parse_from(words).map_err(|error| error.to_string())?.flags;
    let at = flags.at.unwrap_or(NOW.parse().unwrap());
    super::convert(book, &flags, at)
}

/// `model quantity > above = price`, one line for each rate.
fn show(rates: &Rates) -> String {
    let line = |rate: &Value| {
        let when = rate["when"].as_object().unwrap();
        let when: Vec<&str> = when.values().map(|value| value.as_str().unwrap()).collect();
        let above = rate["above"]["amount"].as_u64().map(|amount| format!(" > {amount}")).unwrap_or_default();
        let (quantity, price) =
            (rate["quantity"].as_str().unwrap(), rate["price"]["per_unit"].as_str().unwrap());
        format!("{} {quantity}{above} = {price}", when.join(" "))
    };
    rates.list.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// In the form of models.dev.
const BOOK: &str = r#"{
    "openai": {"id": "openai", "name": "OpenAI", "env": ["KEY"], "models": {
        "gpt-5": {"id": "gpt-5", "cost": {"input": 1.25, "output": 10, "cache_read": 0.125}, "limit": {"context": 400000}},
        "o1": {"id": "o1", "cost": {"input": 15, "output": 60.00, "cache_read": 7.5, "reasoning": 70, "cache_write": 16}},
        "omni": {"cost": {"input": 1, "output": 2, "image": 40}},
        "open": {"id": "open"}
    }},
    "google": {"models": {
        "gemini": {"cost": {"input": 1.25, "output": 10, "cache_read": 0.31, "input_audio": "3",
                            "context_over_200k": {"input": 2.5, "output": 15, "cache_read": 0.625}}},
        "tiered": {"cost": {"input": 1, "output": 2, "context_over_200k": {"input": 9, "output": 9},
                            "tiers": [{"input": 3, "output": 4, "tier": {"type": "context", "size": 272000}}]}},
        "hourly": {"cost": {"input": 1, "output": 2, "tiers": [{"input": 3, "output": 4, "tier": {"type": "hour", "size": 1}}]}}
    }}
}"#;

#[test]
fn every_part_of_a_models_tokens_gets_a_rate() {
    for (flags, expected) in [
        (
            "--provider openai --model gpt-5",
            "gpt-5 input_tokens = 0.00000125\ngpt-5 cache_read_input_tokens = 0.000000125\n\
             gpt-5 cache_creation_input_tokens = 0.00000125\ngpt-5 output_tokens = 0.00001\n\
             gpt-5 reasoning_output_tokens = 0.00001",
        ),
        (
            "--provider openai=azure --model o* --markup 20% --credits-per-usd 100",
            "o1 azure input_tokens = 0.0018\no1 azure cache_read_input_tokens = 0.0009\n\
             o1 azure cache_creation_input_tokens = 0.00192\no1 azure output_tokens = 0.0072\n\
             o1 azure reasoning_output_tokens = 0.0084",
        ),
        (
            "--provider google --model gemini",
            "gemini input_tokens = 0.00000125\ngemini cache_read_input_tokens = 0.00000031\n\
             gemini cache_creation_input_tokens = 0.00000125\ngemini input_audio_tokens = 0.000003\n\
             gemini output_tokens = 0.00001\ngemini reasoning_output_tokens = 0.00001\n\
             gemini input_tokens > 200000 = 0.0000025\ngemini cache_read_input_tokens > 200000 = 0.000000625\n\
             gemini cache_creation_input_tokens > 200000 = 0.0000025\ngemini output_tokens > 200000 = 0.000015\n\
             gemini reasoning_output_tokens > 200000 = 0.000015",
        ),
    ] {
        assert_eq!(show(&convert(BOOK, flags).unwrap()), expected, "{flags}");
    }
    let both =
        convert(BOOK, "--provider openai --provider google --model gpt-5 --model tiered --feature chat")
            .unwrap();
    assert_eq!((both.models, both.list.len()), (2, 15));
    assert_eq!(
        both.list[14],
        serde_json::json!({
            "feature": "chat", "quantity": "reasoning_output_tokens", "when": { "model": "tiered", "provider": "google" },
            "above": { "quantities": ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "input_audio_tokens"], "amount": 272_000 }, "price": { "per_unit": "0.000004" }
        })
    );
}

#[test]
fn what_has_no_rates_is_named() {
    for (flags, expected) in [
        (
            "--provider openai",
            &[
                "/openai/models/omni/cost/image is not understood, so this model has no rates",
                "1 model of openai has no price in the book, and no rates",
            ][..],
        ),
        (
            "--provider google",
            &["/google/models/hourly/cost/tiers/0/tier is not understood, so this model has no rates"],
        ),
        ("--provider openai --model gpt-5 --markup 0.0001%", &["prices rounded up to 12 places: 3"]),
        ("--provider openai --model gpt-5 --markup 0.1%", &[]),
    ] {
        assert_eq!(convert(BOOK, flags).unwrap().notes, expected, "{flags}");
    }
}

const DATED: &str = r#"{
    "2026-07-01": {"openai": {"models": {"a": {"cost": {"input": 3, "output": 1}}}}},
    "2026-01-01": {"openai": {"models": {
        "a": {"cost": {"input": 1, "output": 1}}, "b": {"cost": {"input": 1e-5, "output": 2.5E+1}}}}},
    "2026-03-01T12:00:00Z": {"openai": {"models": {"a": {"cost": {"input": 2, "output": 1}}, "b": null}}}
}"#;

#[test]
fn a_dated_book_says_what_holds_at_a_time() {
    for (at, input_of_a, models, note) in [
        ("2026-01-01", "0.000001", 2, Some("2026-03-01T12:00:00Z")),
        ("2026-03-01T11:59:59Z", "0.000001", 2, Some("2026-03-01T12:00:00Z")),
        ("2026-03-01T12:00:00Z", "0.000002", 1, Some("2026-07-01")),
        ("2026-07-01", "0.000003", 1, None),
    ] {
        let rates = convert(DATED, &format!("--provider openai --at {at}")).unwrap();
        assert_eq!(rates.list[0]["price"]["per_unit"], input_of_a, "{at}");
        assert_eq!(rates.models, models, "{at}");
        let expected = note.map(|from| {
            format!("the book has other prices from {from} on: make terms for them with --at {from}")
        });
        assert_eq!(rates.notes.first(), expected.as_ref(), "{at}");
    }
    let rates = convert(DATED, "--provider openai --at 2026-01-01 --model b").unwrap();
    let price = |place: usize| rates.list[place]["price"]["per_unit"].as_str().unwrap();
    assert_eq!((price(0), price(3)), ("0.00000000001", "0.000025"));
}

#[test]
fn what_is_wrong_with_a_book_is_named_with_its_place() {
    let cost = |cost: &str| format!(r#"{{"p": {{"models": {{"a/b": {{"cost": {cost}}}}}}}}}"#);
    for (book, expected) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{\n  \"p\": {\"models\": {}},,\n}", "key must be a string at line 2 column 23"),
        ("[]", "invalid type: sequence, expected a map at line 1 column 0"),
        ("{}", "has no provider \"p\" at 2026-06-01"),
        (r#"{"q": {}}"#, "has no provider \"p\" at 2026-06-01"),
        (r#"{"2027-01-01": {"p": {}}}"#, "has no prices before 2027-01-01"),
        (r#"{"2026-01-01": {"p": {}}, "q": {}}"#, "/q: must be a date, as the other names beside it are"),
        (r#"{"p": 5}"#, "/p: invalid type: integer `5`, expected a map"),
        (r#"{"p": {}}"#, "/p/models: is missing"),
        (
            r#"{"2026-01-01": {"p": {"models": 1}}}"#,
            "/2026-01-01/p/models: invalid type: integer `1`, expected a map",
        ),
        (r#"{"p": {"models": {}}}"#, "no model that was asked for has a price that is understood"),
        (&cost("[]"), "/p/models/a~1b/cost: invalid type: sequence, expected a map"),
        (&cost(r#"{"input": 1}"#), "/p/models/a~1b/cost/output: is missing"),
        (
            &cost(r#"{"input": -1, "output": 1}"#),
            "/p/models/a~1b/cost/input: must be a price that is not negative",
        ),
        (
            &cost(r#"{"input": 1, "output": 1, "cache_read": "free"}"#),
            "/p/models/a~1b/cost/cache_read: must be a price that is not negative",
        ),
        (
            &cost(r#"{"input": 1, "output": 1, "tiers": [{"input": 1, "output": 1}]}"#),
            "/p/models/a~1b/cost/tiers/0/tier: is missing",
        ),
    ] {
        assert_eq!(convert(book, "--provider p").unwrap_err(), expected, "{book}");
    }
}

/// Such as programs write them.
#[test]
fn prices_keep_the_digits_that_were_meant() {
    for (usd, credits) in [
        ("0.049999999999999996", "0.00000005"),
        ("0.30000000000000004", "0.0000003"),
        ("0.0028", "0.0000000028"),
        ("2.5E+1", "0.000025"),
        ("1e-5", "0.00000000001"),
        ("1e-13", "0"),
        ("\"15.00\"", "0.000015"),
        ("0", "0"),
    ] {
        let book = format!(r#"{{"p": {{"models": {{"m": {{"cost": {{"input": {usd}, "output": 1}}}}}}}}}}"#);
        let rates = convert(&book, "--provider p").unwrap();
        assert_eq!(rates.list[0]["price"]["per_unit"], credits, "{usd}");
    }
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    for flags in [
        "",
        "--provider =x",
        "--provider openai --markup -5%",
        "--provider openai --markup much",
        "--provider openai --credits-per-usd 0",
        "--provider openai --at yesterday",
    ] {
        let words = ["prices", "book.json"].into_iter().chain(flags.split_whitespace());
        assert!(Line::try_parse_from(words).is_err(), "{flags}");
    }
}
