//! A file's records, some at a time, each with its line. A file may be larger than memory.

use crate::error::Error;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// The most records of a piece, and about the most bytes.
const MOST_RECORDS: usize = 500;
const MOST_BYTES: usize = 256 << 10;

/// The records of a file that are still to come.
pub struct Records {
    file: PathBuf,
    from: u64,
    /// The head line of a table, with its end.
    head: Vec<u8>,
    source: Source,
}

enum Source {
    Lines { reader: BufReader<File>, line: u64 },
    Table(csv::Reader<File>),
}

/// Some records, each with its line and its text, which ends with a line's end.
pub struct Piece(Vec<(u64, Vec<u8>)>);

impl Records {
    /// Those of a file from a line on.
    pub fn open(path: &Path, from: u64) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file(path))?;
        let is_table = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        let (head, source) = if is_table {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
            let head = written(reader.headers().map_err(Error::content(path))?, path)?;
            (head, Source::Table(reader))
        } else {
            (Vec::new(), Source::Lines { reader: BufReader::new(file), line: 0 })
        };
        Ok(Self { file: path.to_owned(), from, head, source })
    }

    /// What goes before the records of each piece.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The media type.
    pub fn content_type(&self) -> &'static str {
        match self.source {
            Source::Lines { .. } => "application/x-ndjson",
            Source::Table(_) => "text/csv",
        }
    }

    /// The next piece; none at the end.
    pub fn next(&mut self) -> Result<Option<Piece>, Error> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < MOST_RECORDS && bytes < MOST_BYTES {
            let Some((line, text)) = self.record()? else { break };
            if line >= self.from && !text.iter().all(u8::is_ascii_whitespace) {
                bytes += text.len();
                records.push((line, text));
            }
        }
        Ok((!records.is_empty()).then_some(Piece(records)))
    }

    fn record(&mut self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        match &mut self.source {
            Source::Lines { reader, line } => {
                let mut text = Vec::new();
                let read = reader.read_until(b'\n', &mut text).map_err(Error::file(&self.file))?;
                *line += 1;
                if text.last().is_some_and(|last| *last != b'\n') {
                    text.push(b'\n');
                }
                Ok((read > 0).then_some((*line, text)))
            }
            Source::Table(reader) => {
                let mut row = csv::StringRecord::new();
                if !reader.read_record(&mut row).map_err(Error::content(&self.file))? {
                    return Ok(None);
                }
                let line = row.position().map_or(0, csv::Position::line);
                Ok(Some((line, written(&row, &self.file)?)))
            }
        }
    }
}

/// A row as CSV, with its line's end.
fn written(row: &csv::StringRecord, file: &Path) -> Result<Vec<u8>, Error> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(row).map_err(Error::content(file))?;
    writer.into_inner().map_err(|error| Error::content(file)(error.into_error()))
}

impl Piece {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The line of its first record.
    pub fn first_line(&self) -> u64 {
        self.0.first().map_or(1, |(line, _)| *line)
    }

    /// What is sent.
    pub fn body(&self, head: &[u8]) -> Vec<u8> {
        let mut body = head.to_vec();
        self.0.iter().for_each(|(_, text)| body.extend_from_slice(text));
        body
    }

    /// The record that the server counts as the `number`-th, from 1 on: its line in the file, and its text.
    pub fn record(&self, number: u64) -> Option<(u64, &[u8])> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.0.get(place).map(|(line, text)| (*line, text.as_slice()))
    }

    /// Only the records of these numbers.
    pub fn only(&self, numbers: impl Iterator<Item = u64>) -> Self {
        let records = numbers.filter_map(|number| self.record(number));
        Self(records.map(|(line, text)| (line, text.to_vec())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(name: &str, text: &str, from: u64) -> Vec<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut records = Records::open(&path, from).unwrap();
        let mut all = Vec::new();
        while let Some(piece) = records.next().unwrap() {
            assert!(piece.len() <= MOST_RECORDS);
            all.extend(piece.0.into_iter().map(|(line, text)| (line, String::from_utf8(text).unwrap())));
        }
        all
    }

    #[test]
    fn every_record_comes_once_with_its_line() {
        let line = |line, text: &str| (line, text.to_owned());
        assert_eq!(
            records("a.jsonl", "{\"a\":1}\n\n{\"b\":2}", 1),
            [line(1, "{\"a\":1}\n"), line(3, "{\"b\":2}\n")]
        );
        assert_eq!(records("a.jsonl", "{\"a\":1}\n\n{\"b\":2}", 2), [line(3, "{\"b\":2}\n")]);
        let table = "id,name\n1,\"two\nlines\"\n2,x\n";
        assert_eq!(records("a.csv", table, 1), [line(2, "1,\"two\nlines\"\n"), line(4, "2,x\n")]);
        assert_eq!(records("a.csv", table, 3), [line(4, "2,x\n")]);
        let many: String = (0..1_201).map(|n| format!("{n}\n")).collect();
        assert_eq!(records("a.jsonl", &many, 1).len(), 1_201);
    }
}
