//! `proviso import`: sends a file's records to a server, some hundred at a time. Each record is taken once however often it is sent,
//! so an import that broke off is begun again, from the start or from where it was.

mod read;

use self::read::{Piece, Records};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::remote::{
        Server,
        client::{self, Client},
    },
};
use clap::Args;
use proviso_api::import::{ImportReport, RecordType, RefusedRecord};
use proviso_ledger::model::ids::Key;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

/// The most refusals that are shown; `--refused` and `--json` have all.
const MOST_SHOWN: usize = 50;
/// How often a record is sent again that the server was too busy for, and how long is waited before.
const MOST_ATTEMPTS: u32 = 8;
const WAIT: Duration = Duration::from_millis(500);

/// What `import` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// JSON Lines, or CSV with a head line where the name ends in .csv
    file: PathBuf,
    /// What the import is called in every entry that it makes; defaults to the file's name
    #[arg(long, value_name = "NAME")]
    import: Option<Key>,
    /// What records are that have no `type`, such as usage
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// Begin with this line, to go on where an import broke off
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    from: u64,
    /// Write the records that were refused to this file, to put them right and import them alone
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Imports.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let client = Client::new(&flags.server.server)?;
    let import = match &flags.import {
        Some(import) => import.clone(),
        None => name_of(&flags.file)?,
    };
    let mut path = format!("/v1/imports?first_line=1&import={}", client::segment(import.as_str()));
    if let Some(r#type) = &flags.r#type {
        let _ = write!(path, "&type={}", client::segment(r#type));
    }
    let mut records = Records::open(&flags.file, flags.from)?;
    let mut refused_file = match &flags.refused {
        Some(file) => {
            let mut writer = BufWriter::new(File::create(file).map_err(Error::file(file))?);
            writer.write_all(records.head()).map_err(Error::file(file))?;
            Some((file, writer))
        }
        None => None,
    };
    let bar = terminal::spinner("importing");
    let mut whole = ImportReport { import: import.to_string(), ..ImportReport::default() };
    while let Some(piece) = records.next()? {
        bar.set_message(format!("line {}", terminal::count(piece.first_line())));
        let sent = send(&client, &path, &records, piece, &mut whole);
        let refused = sent.map_err(|(line, error)| {
            Error::Server(format!("{error}\n  all before line {line} is in; go on with --from {line}"))
        })?;
        if let Some((file, writer)) = &mut refused_file {
            for text in &refused {
                writer.write_all(text).map_err(Error::file(&**file))?;
            }
        }
    }
    bar.finish_and_clear();
    if let Some((file, mut writer)) = refused_file {
        writer.flush().map_err(Error::file(file))?;
    }
    if flags.server.json {
        let text = serde_json::to_string_pretty(&whole).map_err(Error::content(&flags.file))?;
        terminal::print(&format!("{text}\n"))?;
    } else {
        terminal::print(&told(&whole, Paint::for_stdout()))?;
    }
    Ok(Verdict::of(whole.refused.is_empty()))
}

fn name_of(file: &std::path::Path) -> Result<Key, Error> {
    let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.parse().map_err(|error| Error::Setting { origin: "--import".to_owned(), detail: format!("{error}") })
}

/// Sends a piece until each of its records was taken or refused for good. Returns the texts of the refused ones. After an error, the line
/// to go on with.
fn send(
    client: &Client,
    path: &str,
    records: &Records,
    piece: Piece,
    whole: &mut ImportReport,
) -> Result<Vec<Vec<u8>>, (u64, Error)> {
    let first = piece.first_line();
    let mut waiting = piece;
    let mut refused = Vec::new();
    whole.records += waiting.len() as u64;
    for attempt in 1.. {
        let body = waiting.body(records.head());
        let report: ImportReport =
            client.post_until_taken(path, records.content_type(), &body).map_err(|error| (first, error))?;
        whole.repeated += report.repeated;
        for (r#type, number) in report.imported {
            *whole.imported.entry(r#type).or_default() += number;
        }
        // What a server was too busy for is sent again, and with it what could not be taken without it.
        let is_busy = |one: &RefusedRecord| matches!(one.status, 429 | 503);
        let busy: BTreeSet<Option<String>> =
            report.refused.iter().filter(|one| is_busy(one)).map(|one| one.customer.clone()).collect();
        let is_last = attempt == MOST_ATTEMPTS;
        let (again, for_good): (Vec<_>, Vec<_>) =
            report.refused.into_iter().partition(|one| !is_last && busy.contains(&one.customer));
        for mut one in for_good {
            if let Some((line, text)) = waiting.record(one.line) {
                one.line = line;
                refused.push(text.to_vec());
            }
            whole.refused.push(one);
        }
        if again.is_empty() {
            break;
        }
        waiting = waiting.only(again.iter().map(|one| one.line));
        thread::sleep(WAIT);
    }
    whole.refused.sort_by_key(|one| one.line);
    Ok(refused)
}

/// A report for people.
fn told(report: &ImportReport, paint: Paint) -> String {
    let ImportReport { import, imported, repeated, refused, .. } = report;
    let by_type =
        |(r#type, number): (&RecordType, &u64)| format!("{} {}", terminal::count(*number), r#type.as_str());
    let moved: Vec<String> = imported.iter().map(by_type).collect();
    let total: u64 = imported.values().sum();
    let list = if moved.is_empty() { String::new() } else { format!(": {}", moved.join(", ")) };
    let mut text = format!(
        "{} {}{list}\n  {} there already, import {import}\n",
        paint.good("imported"),
        terminal::plural(total, "record"),
        terminal::count(*repeated)
    );
    if !refused.is_empty() {
        let _ =
            writeln!(text, "{} {}", paint.bad("refused"), terminal::plural(refused.len() as u64, "record"));
        refused.iter().take(MOST_SHOWN).for_each(|one| line_of(&mut text, one));
        if refused.len() > MOST_SHOWN {
            let _ = writeln!(text, "  and {} more", terminal::count((refused.len() - MOST_SHOWN) as u64));
        }
        let mut by_code: BTreeMap<&str, u64> = BTreeMap::new();
        refused.iter().for_each(|one| *by_code.entry(&one.code).or_default() += 1);
        for (code, number) in by_code {
            let _ = writeln!(text, "  {} {code}", terminal::count(number));
        }
    }
    text
}

fn line_of(text: &mut String, one: &RefusedRecord) {
    let subject: Vec<&str> = [one.r#type.map(RecordType::as_str), one.id.as_deref(), one.customer.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    // Of one field that is wrong, the refusal as a whole says the same.
    let (pointer, detail, fields) = match one.errors.as_slice() {
        [only] => (only.pointer.as_str(), only.detail.as_str(), &[][..]),
        fields => ("", one.detail.as_str(), fields),
    };
    let space = if pointer.is_empty() { "" } else { " " };
    let _ =
        writeln!(text, "  line {}  {}  {}{space}{pointer}: {detail}", one.line, subject.join(" "), one.code);
    for field in fields {
        let _ = writeln!(text, "    {}: {}", field.pointer, field.detail);
    }
}
