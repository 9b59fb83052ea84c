//! `proviso prices`: turns a price book into settings of the standard policy: what the tokens of each model cost. The settings
//! are part of terms, whose digest pins them: another book changes no past decision.

mod book;
mod rates;

use crate::{
    clock,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, plural},
};
use book::{Book, Instant};
use clap::Args;
use proviso_ledger::model::amounts::{Decimal, Percent};
use rates::{Conversion, Rates};
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What `prices` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A price book, JSON: the api.json of models.dev, or several such by the date from which each holds
    file: PathBuf,
    /// A provider of the book; with =NAME its rates ask that the usage's attribute provider is NAME. May be given again
    #[arg(long, value_name = "ID[=NAME]", required = true, value_parser = provider)]
    provider: Vec<Provider>,
    /// Only this model; with a * at its end all that begin so. May be given again [default: all]
    #[arg(long, value_name = "ID")]
    model: Vec<String>,
    /// What is added to the book's prices
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = markup)]
    markup: Percent,
    /// How many credits a US dollar is
    #[arg(long, value_name = "CREDITS", default_value = "1", value_parser = above_zero)]
    credits_per_usd: Decimal,
    /// The prices in force then: a date (UTC) or an RFC 3339 time [default: now]
    #[arg(long, value_name = "DATE")]
    at: Option<Instant>,
    /// The feature that the rates are for [default: every feature]
    #[arg(long)]
    feature: Option<String>,
    /// Settings, JSON, behind whose rates these go
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Where to write the settings [default: stdout]
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
}

/// A provider of the book.
#[derive(Debug, Clone)]
struct Provider {
    id: String,
    /// What the usage's attribute `provider` must be.
    name: Option<String>,
}

fn provider(text: &str) -> Result<Provider, &'static str> {
    let (id, name) = match text.split_once('=') {
        Some((id, name)) => (id, Some(name)),
        None => (text, None),
    };
    if id.is_empty() || name == Some("") {
        return Err("must be an id of the book, or an id, = and what the attribute provider says");
    }
    Ok(Provider { id: id.to_owned(), name: name.map(str::to_owned) })
}

fn markup(text: &str) -> Result<Percent, String> {
    let percent: Percent = text.strip_suffix('%').unwrap_or(text).parse().map_err(refused)?;
    if percent.is_negative() || percent > Percent::from_whole(1_000_000) {
        return Err("must be 0% to 1000000%".to_owned());
    }
    Ok(percent)
}

fn above_zero(text: &str) -> Result<Decimal, String> {
    let decimal: Decimal = text.parse().map_err(refused)?;
    if !decimal.is_positive() || decimal > Decimal::from_whole(1_000_000_000) {
        return Err("must be above 0, and at most 1000000000".to_owned());
    }
    Ok(decimal)
}

fn refused(error: impl ToString) -> String {
    error.to_string()
}

/// Converts.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let text = fs::read_to_string(&flags.file).map_err(Error::file(&flags.file))?;
    let mut settings = flags.settings.as_deref().map(settings).transpose()?.unwrap_or_default();
    let at = flags.at.unwrap_or_else(|| Instant(clock::now()));
    let rates = convert(&text, &flags, at).map_err(Error::content(&flags.file))?;
    let summary =
        format!("{} of {}", plural(count(rates.list.len()), "rate"), plural(count(rates.models), "model"));
    for note in &rates.notes {
        terminal::note(&format!("note: {note}"));
    }
    let list = settings.entry("rates").or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = list.as_array_mut() else {
        let path = flags.settings.unwrap_or_default();
        return Err(Error::Content { path, detail: "/rates: must be a list".to_owned() });
    };
    list.extend(rates.list);
    let text = format!("{:#}\n", Value::Object(settings));
    match flags.output {
        Some(output) => {
            fs::write(&output, &text).map_err(Error::file(&output))?;
            let wrote = Paint::for_stdout().good("wrote");
            terminal::print(&format!("{wrote} {}  {summary}\n", output.display()))?;
        }
        None => {
            terminal::print(&text)?;
            terminal::note(&summary);
        }
    }
    Ok(Verdict::Fine)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The other settings.
fn settings(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    serde_json::from_str(&text).map_err(Error::content(path))
}

/// The rates of what was asked for; an error says where in the book.
fn convert(text: &str, flags: &Flags, at: Instant) -> Result<Rates, String> {
    let book = Book::read(text)?;
    let mut rates = Rates::default();
    if let Some(from) = book.next_after(at) {
        rates
            .notes
            .push(format!("the book has other prices from {from} on: make terms for them with --at {from}"));
    }
    // One provider's models need no other attribute; the same model of two providers has two prices.
    let several = flags.provider.len() > 1;
    for provider in &flags.provider {
        let conversion = Conversion {
            feature: flags.feature.as_deref(),
            provider: provider.name.as_deref().or_else(|| several.then_some(provider.id.as_str())),
            markup: flags.markup,
            credits_per_usd: flags.credits_per_usd,
        };
        let models = book.models(&provider.id, at)?;
        let asked = |id: &str| flags.model.is_empty() || flags.model.iter().any(|wanted| fits(wanted, id));
        rates.add(&provider.id, models.into_iter().filter(|(id, _)| asked(id)), &conversion)?;
    }
    if rates.models == 0 {
        return Err("no model that was asked for has a price that is understood".to_owned());
    }
    rates.tell_what_was_rounded();
    Ok(rates)
}

fn fits(wanted: &str, id: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == id, |beginning| id.starts_with(beginning))
}

#[cfg(test)]
mod tests;
