//! Which source line an instruction comes from, by the line tables of the module's debug information, where there are any.

use gimli::{AttributeValue, Dwarf, EndianSlice, LittleEndian, Unit};
use std::{collections::HashMap, ops::Range};
use wasmparser::{Parser, Payload};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// From an instruction on, up to the next row: a line of a file. Line 0 belongs to no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    address: u64,
    file: usize,
    line: u32,
}

/// The line tables. Addresses are counted from the code section's contents.
#[derive(Debug, Default)]
pub(super) struct Lines {
    files: Vec<String>,
    rows: Vec<Row>,
}

impl Lines {
    /// Those of a core module; none where there are none, or where they can't be read.
    pub(super) fn of(core: &[u8]) -> Self {
        let sections: HashMap<&str, &[u8]> = Parser::new(0)
            .parse_all(core)
            .filter_map(|payload| match payload {
                Ok(Payload::CustomSection(section)) => Some((section.name(), section.data())),
                _ => None,
            })
            .collect();
        let section = |id: gimli::SectionId| {
            let data = sections.get(id.name()).copied().unwrap_or_default();
            Ok::<_, gimli::Error>(EndianSlice::new(data, LittleEndian))
        };
        let mut reader = Reading { lines: Self::default(), known: HashMap::new() };
        match Dwarf::load(section).and_then(|dwarf| reader.units(&dwarf)) {
            Ok(()) => {
                reader.lines.rows.sort_unstable();
                reader.lines
            }
            Err(_) => Self::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The file and line of the instruction at an address.
    pub(super) fn at(&self, address: u64) -> Option<(&str, u32)> {
        self.within(address..address + 1).next()
    }

    /// The files and lines of the instructions at these addresses; one may come several times.
    pub(super) fn within(&self, addresses: Range<u64>) -> impl Iterator<Item = (&str, u32)> {
        let after = self.rows.partition_point(|row| row.address <= addresses.start);
        let first = after.saturating_sub(1);
        let rows = self.rows.get(first..).unwrap_or_default();
        rows.iter()
            .take_while(move |row| row.address < addresses.end)
            .filter(|row| row.line > 0)
            .filter_map(|row| Some((self.files.get(row.file)?.as_str(), row.line)))
    }
}

struct Reading {
    lines: Lines,
    known: HashMap<String, usize>,
}

impl Reading {
    fn units(&mut self, dwarf: &Dwarf<Reader<'_>>) -> gimli::Result<()> {
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let unit = dwarf.unit(header)?;
            self.unit(dwarf, &unit)?;
        }
        Ok(())
    }

    fn unit(&mut self, dwarf: &Dwarf<Reader<'_>>, unit: &Unit<Reader<'_>>) -> gimli::Result<()> {
        let Some(program) = unit.line_program.clone() else { return Ok(()) };
        let mut files: HashMap<u64, usize> = HashMap::new();
        let mut sequence = Vec::new();
        let mut rows = program.rows();
        while let Some((header, row)) = rows.next_row()? {
            let index = row.file_index();
            let file = match files.get(&index) {
                Some(file) => *file,
                None => {
                    let path = header.file(index).map(|file| {
                        let mut path = String::new();
                        let mut push = |part: Option<AttributeValue<Reader<'_>>>| {
                            let part = part.and_then(|part| dwarf.attr_string(unit, part).ok());
                            join(
                                &mut path,
                                &part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default(),
                            );
                        };
                        push(unit.comp_dir.map(AttributeValue::String));
                        push(file.directory(header));
                        push(Some(file.path_name()));
                        path
                    });
                    let file = self.file(path.unwrap_or_default());
                    files.insert(index, file);
                    file
                }
            };
            let is_end = row.end_sequence();
            let line =
                row.line().and_then(|line| u32::try_from(line.get()).ok()).filter(|_| !is_end).unwrap_or(0);
            sequence.push(Row { address: row.address(), file, line });
            if is_end {
                self.sequence(&mut sequence);
            }
        }
        Ok(())
    }

    /// A linker leaves the tables of functions that it drops, and says that they lie where no function can: at the very
    /// beginning or at the end of all addresses.
    fn sequence(&mut self, sequence: &mut Vec<Row>) {
        let is_dropped =
            sequence.first().is_none_or(|row| row.address < 2 || row.address >= u64::from(u32::MAX - 2));
        if !is_dropped {
            self.lines.rows.append(sequence);
        }
        sequence.clear();
    }

    fn file(&mut self, path: String) -> usize {
        let next = self.lines.files.len();
        *self.known.entry(path).or_insert_with_key(|path| {
            self.lines.files.push(path.clone());
            next
        })
    }
}

/// Adds a part to a path, or takes its place when it begins anew.
fn join(path: &mut String, part: &str) {
    let is_absolute =
        part.starts_with('/') || part.get(1..3).is_some_and(|drive| drive == ":\\" || drive == ":/");
    if is_absolute {
        path.clear();
    } else if !path.is_empty() && !part.is_empty() {
        path.push('/');
    }
    path.push_str(part);
}
