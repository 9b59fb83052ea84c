//! `proviso verify`: a database in, also one that a host is using; out comes whether every balance, transfer and hash is
//! what the journal gives. Nothing is written.

use crate::{
    config::Place,
    database::Database,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_engine::{Newer, Verification};
use proviso_store::Access;
use std::fmt::Write as _;

/// What `verify` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    place: Place,
}

/// Verifies.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::system("starting threads"))?;
    let verification = runtime.block_on(verify(&settings.database))?;
    terminal::print(&report(&verification, Paint::for_stdout()))?;
    Ok(Verdict::of(verification.is_clean()))
}

/// Verifies a database, with its progress on a terminal.
pub async fn verify(database: &Database) -> Result<Verification, Error> {
    let store = database.open(Access::ReadOnly, None).await?;
    let bar = terminal::spinner("verifying");
    let verified = proviso_engine::verify(&*store, |so_far| bar.set_message(counts(so_far))).await;
    bar.finish_and_clear();
    store.close().await;
    Ok(verified?)
}

fn counts(verification: &Verification) -> String {
    let Verification { customers, entries, snapshots, .. } = verification;
    format!(
        "{}, {}, {}",
        terminal::plural(*customers, "customer"),
        if *entries == 1 { "1 entry".to_owned() } else { format!("{} entries", terminal::count(*entries)) },
        terminal::plural(*snapshots, "saved state"),
    )
}

/// What a verification found, for people.
pub fn report(verification: &Verification, paint: Paint) -> String {
    let counts = counts(verification);
    let Verification { differences, newer, .. } = verification;
    let plural = |count: usize, what| terminal::plural(u64::try_from(count).unwrap_or(u64::MAX), what);
    let mut text = if !differences.is_empty() {
        format!("{} {counts}: {}\n", paint.bad("differs"), plural(differences.len(), "difference"))
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
        let _ = writeln!(text, "  {}: {}", paint.strong(difference.customer.as_str()), difference.detail);
    }
    for Newer { customer, seq, format } in newer {
        let customer = paint.strong(customer.as_str());
        let _ =
            writeln!(text, "  {customer}: entry {seq} was written by a newer version, in format {format}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proviso_engine::Difference;

    #[test]
    fn reports_say_what_differs() {
        let mut verification =
            Verification { customers: 1, entries: 1_200, snapshots: 3, ..Verification::default() };
        assert_eq!(
            report(&verification, Paint::plain()),
            "verified 1 customer, 1,200 entries, 3 saved states: every balance, transfer and hash agrees\n"
        );
        let customer = "zenith".parse().unwrap();
        verification.newer.push(Newer { customer, seq: 7, format: 2 });
        assert_eq!(
            report(&verification, Paint::plain()),
            "incomplete 1 customer, 1,200 entries, 3 saved states: 1 journal can't be read to the end; verify with the \
             newest version\n  zenith: entry 7 was written by a newer version, in format 2\n"
        );
        verification.newer.clear();
        let customer = "acme".parse().unwrap();
        verification.differences.push(Difference { customer, detail: "entry 3 is odd".to_owned() });
        assert!(report(&verification, Paint::plain()).ends_with(": 1 difference\n  acme: entry 3 is odd\n"));
    }
}
