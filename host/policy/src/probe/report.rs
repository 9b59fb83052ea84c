//! What a run covered, in terms of functions, branches and source lines.

use super::{cover::Map, lines::Lines};
use std::collections::BTreeMap;

/// What ran. Counts are calls of the policy that reached a thing at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the module has line tables. Without them all of its code is reported, libraries included.
    pub has_lines: bool,
    /// The functions, in the order of the source.
    pub functions: Vec<Function>,
    /// The branches, in the order of the source.
    pub branches: Vec<Branch>,
    /// For each file and line that code was made of, the calls that reached it.
    pub lines: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// As the module names it.
    pub name: String,
    /// Where its source begins.
    pub source: Option<(String, u32)>,
    /// The calls that entered it.
    pub calls: u64,
}

/// A branch: an `if`, a conditional jump or a jump table of the compiled code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The function that it is in.
    pub function: String,
    /// The line that it comes from.
    pub source: Option<(String, u32)>,
    /// Its byte in the code section, which tells the branches of a line apart.
    pub place: u64,
    /// Where it can go.
    pub arms: Vec<Arm>,
}

/// A way that a branch can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// `true`, `false`, or the place in a jump table.
    pub name: String,
    /// The calls that took it.
    pub calls: u64,
}

impl Report {
    pub(super) fn new(
        map: &Map,
        lines: &Lines,
        calls: impl Fn(u32) -> u64,
        is_own: impl Fn(&str) -> bool,
    ) -> Self {
        let has_lines = !lines.is_empty();
        let source = |place: u64| {
            let found = lines.at(place).filter(|(file, _)| is_own(file));
            found.map(|(file, line)| (file.to_owned(), line))
        };
        let mut functions: Vec<Function> = Vec::new();
        for function in &map.functions {
            // What begins with a line of its own was written here; the rest was compiled in from elsewhere.
            let first = lines.within(function.code.clone()).next();
            let own = first.filter(|(file, _)| is_own(file)).map(|(file, line)| (file.to_owned(), line));
            if own.is_some() || !has_lines {
                functions.push(Function {
                    name: function.name.clone(),
                    source: own,
                    calls: calls(function.entered),
                });
            }
        }
        let mut branches: Vec<Branch> = Vec::new();
        for fork in &map.branches {
            let source = source(fork.place);
            if source.is_none() && has_lines {
                continue;
            }
            let Some(function) = map.functions.get(fork.function) else { continue };
            let arms = fork.arms.iter().map(|(name, bits)| Arm {
                name: name.clone(),
                calls: bits.clone().map(&calls).max().unwrap_or(0),
            });
            branches.push(Branch {
                function: function.name.clone(),
                source,
                place: fork.place,
                arms: arms.collect(),
            });
        }
        let mut by_file: BTreeMap<String, BTreeMap<u32, u64>> = BTreeMap::new();
        for (code, bit) in &map.pieces {
            let reached = calls(*bit);
            for (file, line) in lines.within(code.clone()).filter(|(file, _)| is_own(file)) {
                // One line's code lies in several pieces: it ran if any of them did.
                let known = match by_file.get_mut(file) {
                    Some(known) => known,
                    None => by_file.entry(file.to_owned()).or_default(),
                };
                let most = known.entry(line).or_default();
                *most = reached.max(*most);
            }
        }
        functions.sort_by(|a, b| (&a.source, &a.name, b.calls).cmp(&(&b.source, &b.name, a.calls)));
        // What was compiled for several types is one function, which was entered if any of them was.
        functions.dedup_by(|a, b| a.source.is_some() && (&a.source, &a.name) == (&b.source, &b.name));
        branches.sort_by(|a, b| (&a.source, a.place).cmp(&(&b.source, b.place)));
        Self { has_lines, functions, branches, lines: by_file }
    }

    /// Covered and all functions.
    #[must_use]
    pub fn functions_covered(&self) -> (usize, usize) {
        (self.functions.iter().filter(|function| function.calls > 0).count(), self.functions.len())
    }

    /// Taken and all arms of branches.
    #[must_use]
    pub fn arms_covered(&self) -> (usize, usize) {
        let arms = || self.branches.iter().flat_map(|branch| &branch.arms);
        (arms().filter(|arm| arm.calls > 0).count(), arms().count())
    }

    /// Reached and all source lines.
    #[must_use]
    pub fn lines_covered(&self) -> (usize, usize) {
        let lines = || self.lines.values().flat_map(BTreeMap::values);
        (lines().filter(|calls| **calls > 0).count(), lines().count())
    }
}
