//! `proviso copy`: copies everything of a database into an empty one.

use crate::{
    config::Place,
    database::Database,
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_ledger::state::FORMAT;
use proviso_store::{Access, Copied, copy};

/// What `copy` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The database to copy to: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE; made ready if it is new
    #[arg(long, value_name = "URL")]
    to: Database,
    #[command(flatten)]
    place: Place,
}

/// Copies.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let settings = flags.place.settle()?;
    let (database, connections) = (&settings.database, settings.database_connections);
    let copied = super::on_this_thread(async {
        // Only looked at first, or a file that is not there would be made.
        database.open(Access::ReadOnly, connections).await?.close().await;
        // Then a file stays locked for as long as it is read, so that no host writes what would be left behind.
        let from = database.open(Access::ReadWrite, connections).await?;
        let to = flags.to.open(Access::ReadWrite, connections).await?;
        let bar = terminal::spinner("copying");
        let copied = copy(&*from, &*to, FORMAT, |so_far| bar.set_message(counts(so_far))).await;
        bar.finish_and_clear();
        from.close().await;
        to.close().await;
        Ok::<_, Error>(copied?)
    })?;
    let done = Paint::for_stdout().good("copied");
    terminal::print(&format!("{done} {} from {database} to {}\n", counts(&copied), flags.to))?;
    Ok(Verdict::Fine)
}

fn counts(copied: &Copied) -> String {
    terminal::journals(copied.entries, copied.customers)
}
