//! `proviso archive`: moves entries above an age out of the way of new ones. Hosts may be using the database, and every
//! answer stays the same.

use crate::{
    clock,
    config::Place,
    error::Error,
    exit::Verdict,
    span::Span,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_engine::Archived;
use proviso_store::Access;

/// What `archive` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// How old an entry must be to be moved, such as 90d
    #[arg(long, value_name = "SPAN")]
    older_than: Span,
    #[command(flatten)]
    place: Place,
}

/// Archives.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let before = clock::now().plus_micros(-flags.older_than.micros());
    let archived = super::on_this_thread(async {
        let store = settings.database.open(Access::ReadWrite, settings.database_connections).await?;
        let bar = terminal::spinner("archiving");
        let archived =
            proviso_engine::archive(&*store, before, |so_far| bar.set_message(counts(so_far))).await;
        bar.finish_and_clear();
        store.close().await;
        Ok::<_, Error>(archived?)
    })?;
    terminal::print(&format!("{} {}\n", Paint::for_stdout().good("archived"), counts(&archived)))?;
    Ok(Verdict::Fine)
}

fn counts(archived: &Archived) -> String {
    terminal::journals(archived.entries, archived.customers)
}
