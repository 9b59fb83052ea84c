//! `proviso export`: all customers of a server, as a file that `proviso import` reads. A file that is not whole is not left behind
//! under its name.

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
use proviso_api::import::{EndRecord, RecordType};
use proviso_ledger::model::ids::CustomerId;
use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// What `export` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// Where to write; without it to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this customer
    #[arg(long)]
    customer: Option<CustomerId>,
    /// Leave usage out
    #[arg(long)]
    without_usage: bool,
    #[command(flatten)]
    server: Server,
}

/// Exports.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let client = Client::new(&flags.server.server)?;
    let mut path = format!("/v1/exports?usage={}", !flags.without_usage);
    if let Some(customer) = &flags.customer {
        path.push_str(&format!("&customer={}", client::segment(customer.as_str())));
    }
    let end = match &flags.output {
        Some(file) => to_file(&client, &path, file)?,
        None => read(&client, &path, io::stdout().lock(), Path::new("stdout"))?,
    };
    let EndRecord { customers, records, left_out, .. } = end;
    if flags.output.is_some() {
        let paint = Paint::for_stdout();
        let what = format!("{} of {}", plural(records, "record"), plural(customers, "customer"));
        terminal::print(&format!("{} {what}\n", paint.good("exported")))?;
    }
    let left = [
        (left_out.terms, "customers' own terms: bind them again"),
        (left_out.reservations, "open reservations and leases: what they hold counts as not used"),
        (left_out.plan_changes, "pending changes of plan"),
        (left_out.auto_top_ups, "rules for automatic top-ups: put them again"),
        (left_out.add_ons, "add-ons of customers: attach them again, from the next cycle on"),
        (left_out.redemptions, "redemptions of promotions: end these before customers redeem them again"),
    ];
    for (number, what) in left.into_iter().filter(|(number, _)| *number > 0) {
        terminal::note(&format!("left out: {} {what}", terminal::count(number)));
    }
    Ok(Verdict::Fine)
}

fn plural(number: u64, noun: &str) -> String {
    terminal::plural(number, noun)
}

fn to_file(client: &Client, path: &str, file: &Path) -> Result<EndRecord, Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = tempfile::NamedTempFile::new_in(folder).map_err(Error::file(folder))?;
    let end = read(client, path, BufWriter::new(part.as_file()), file)?;
    part.persist(file).map_err(|error| Error::file(file)(error.error))?;
    Ok(end)
}

/// Writes the export, and finds its end, without which it is not whole.
fn read(client: &Client, path: &str, into: impl Write, name: &Path) -> Result<EndRecord, Error> {
    let mut writer = LastLine { into, line: Vec::new(), is_complete: false };
    client.download(path, &mut writer)?;
    writer.into.flush().map_err(Error::file(name))?;
    let end = serde_json::from_slice::<EndRecord>(&writer.line).ok();
    let end = end.filter(|end| writer.is_complete && end.r#type == RecordType::End);
    end.ok_or_else(|| Error::Server("the export broke off before its end: run it again".to_owned()))
}

/// Passes bytes on and keeps the last line.
struct LastLine<W> {
    into: W,
    line: Vec<u8>,
    /// Whether the line has its end.
    is_complete: bool,
}

impl<W: Write> Write for LastLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        for byte in bytes.iter().take(written) {
            if self.is_complete {
                self.line.clear();
                self.is_complete = false;
            }
            if *byte == b'\n' {
                self.is_complete = true;
            } else {
                self.line.push(*byte);
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_known_however_it_comes() {
        for pieces in [&["{\"a\":1}\n{\"b\"", ":2}", "\n"][..], &["x\ny\n{\"b\":2}\n"]] {
            let mut writer = LastLine { into: Vec::new(), line: Vec::new(), is_complete: false };
            for piece in pieces {
                writer.write_all(piece.as_bytes()).unwrap();
            }
            assert_eq!((writer.line.as_slice(), writer.is_complete), (&b"{\"b\":2}"[..], true));
            assert_eq!(writer.into, pieces.concat().as_bytes());
        }
    }
}
