//! `proviso verify`: checks that every balance, transfer and hash of a database is what the journals give and what
//! checkpoints say, also while a host is using it. Nothing is written.

use super::checkpoint::signing_key;
use crate::{
    config::Place,
    database::Database,
    error::Error,
    exit::Verdict,
    secrets,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_engine::{Against, CheckpointFile, Newer, Older, PublicKey, Verification};
use proviso_store::Access;
use std::{fmt::Write as _, fs, io::BufReader, path::PathBuf};

/// What `verify` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A checkpoint that was kept elsewhere, to compare the database with, too
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The public key of a host that may have signed checkpoints; may be repeated [default: that of the key in the data
    /// directory]
    #[arg(long, value_name = "HEX")]
    checkpoint_key: Vec<PublicKey>,
    #[command(flatten)]
    place: Place,
}

/// Verifies.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let mut against = Against { trusted: flags.checkpoint_key, file: None };
    if against.trusted.is_empty() {
        let path = settings.checkpoint_key();
        if let Some(seed) = secrets::existing_key_file(&path)? {
            against.trusted.push(signing_key(&path, seed)?.public());
        }
    }
    if let Some(path) = &flags.checkpoint {
        let file = BufReader::new(fs::File::open(path).map_err(Error::file(path))?);
        against.file = Some(CheckpointFile::read(file).map_err(Error::content(path))?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::system("starting threads"))?;
    let verification = runtime.block_on(verify(&settings.database, against))?;
    terminal::print(&report(&verification, Paint::for_stdout()))?;
    Ok(Verdict::of(verification.is_clean()))
}

/// Verifies a database, with its progress on a terminal.
pub async fn verify(database: &Database, against: Against) -> Result<Verification, Error> {
    let store = database.open(Access::ReadOnly, None).await?;
    let bar = terminal::spinner("verifying");
    let verified = proviso_engine::verify(&*store, against, |so_far| bar.set_message(counts(so_far))).await;
    bar.finish_and_clear();
    store.close().await;
    Ok(verified?)
}

fn counts(verification: &Verification) -> String {
    let Verification { customers, entries, snapshots, checkpoints, .. } = verification;
    format!(
        "{}, {}, {}, {}",
        terminal::plural(*customers, "customer"),
        entries_text(*entries),
        terminal::plural(*snapshots, "saved state"),
        terminal::plural(*checkpoints, "checkpoint"),
    )
}

fn entries_text(entries: u64) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{} entries", terminal::count(entries)) }
}

/// What a verification found, for people.
pub fn report(verification: &Verification, paint: Paint) -> String {
    let counts = counts(verification);
    let Verification { differences, newer, older, unvouched, .. } = verification;
    let plural = |count: usize, what| terminal::plural(u64::try_from(count).unwrap_or(u64::MAX), what);
    let mut text = if !differences.is_empty() {
        format!("{} {counts}: {}\n", paint.bad("differs"), plural(differences.len(), "difference"))
    } else if older.is_some() {
        format!("{} {counts}: the database is older than the checkpoint\n", paint.bad("older"))
    } else if !newer.is_empty() {
        let journals = plural(newer.len(), "journal");
        format!(
            "{} {counts}: {journals} can't be read to the end; verify with the newest version\n",
            paint.bad("incomplete")
        )
    } else {
        format!("{} {counts}: every balance, transfer and hash agrees\n", paint.good("verified"))
    };
    // Writing to a String does not fail.
    for difference in differences {
        let _ = writeln!(text, "  {}: {}", paint.strong(&difference.subject), difference.detail);
    }
    if let Some(Older { at, shorter, entries, missing, gone, catalog }) = older {
        let catalog = if *catalog { ", and its catalog is earlier" } else { "" };
        let _ = writeln!(
            text,
            "  of what the checkpoint of {at} names, {} earlier and {} not there ({} in all){catalog}",
            terminal::plural(*shorter, "journal") + if *shorter == 1 { " ends" } else { " end" },
            terminal::plural(*missing, "customer") + if *missing == 1 { " is" } else { " are" },
            entries_text(*entries),
        );
        for customer in gone {
            let _ = writeln!(text, "  {}: the customer is not there", paint.strong(customer.as_str()));
        }
        let _ = writeln!(
            text,
            "  all that is there agrees with it: an earlier copy was restored, or what is missing was removed"
        );
    }
    for Newer { customer, seq, format } in newer {
        let customer = paint.strong(customer.as_str());
        let _ =
            writeln!(text, "  {customer}: entry {seq} was written by a newer version, in format {format}");
    }
    for key in unvouched {
        let _ = writeln!(
            text,
            "  checkpoints are signed by {key}; name the key that you trust: --checkpoint-key"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_engine::Difference;
    use proviso_ledger::model::time::Timestamp;

    #[test]
    fn reports_say_what_differs() {
        let mut verification =
            Verification { customers: 1, entries: 1_200, snapshots: 3, ..Verification::default() };
        assert_eq!(
            report(&verification, Paint::plain()),
            "verified 1 customer, 1,200 entries, 3 saved states, 0 checkpoints: every balance, transfer and hash agrees\n"
        );
        let customer = "zenith".parse().unwrap();
        verification.newer.push(Newer { customer, seq: 7, format: 2 });
        assert_eq!(
            report(&verification, Paint::plain()),
            "incomplete 1 customer, 1,200 entries, 3 saved states, 0 checkpoints: 1 journal can't be read to the end; verify with the \
             newest version\n  zenith: entry 7 was written by a newer version, in format 2\n"
        );
        verification.newer.clear();
        verification.older = Some(Older {
            at: Timestamp(0),
            shorter: 1,
            entries: 12,
            missing: 1,
            gone: vec!["acme".parse().unwrap()],
            catalog: true,
        });
        assert_eq!(
            report(&verification, Paint::plain()),
            "older 1 customer, 1,200 entries, 3 saved states, 0 checkpoints: the database is older than the checkpoint\n  \
             of what the checkpoint of 1970-01-01T00:00:00Z names, 1 journal ends earlier and 1 customer is not there \
             (12 entries in all), and its catalog is earlier\n  acme: the customer is not there\n  all that is there agrees \
             with it: an earlier copy was restored, or what is missing was removed\n"
        );
        verification.older = None;
        let subject = "acme".to_owned();
        verification.differences.push(Difference { subject, detail: "entry 3 is odd".to_owned() });
        assert!(report(&verification, Paint::plain()).ends_with(": 1 difference\n  acme: entry 3 is odd\n"));
    }
}
