//! Coverage: each piece of straight code and each arm of a branch has a bit. A call sets the bits of what it reaches, in globals of
//! the rewritten module, and hands them over before it returns or panics. What other traps end is not seen.

use super::{
    core_module::{self, Source},
    lines::Lines,
    pair::{Pair, probed_module},
    refused,
    report::Report,
    rewrite::{CALLS, Layout, Rewriter},
};
use crate::{cache::CacheDir, fault::PolicyError, limits::Limits};
use proviso_decide::policy::Policy;
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use wasm_encoder::{BlockType, Function, Instruction as Op, ValType, reencode::Reencode};
use wasmparser::{FunctionBody, Operator};

const WORD_BITS: u32 = u64::BITS;

/// Where in the module something is, in bytes from the beginning of the code section's contents.
type Place = u64;

/// What the bits of a module stand for.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) functions: Vec<Defined>,
    pub(super) branches: Vec<Fork>,
    /// Straight code, and the bit that says that it was reached.
    pub(super) pieces: Vec<(Range<Place>, u32)>,
    bits: u32,
}

/// A function of the module.
#[derive(Debug)]
pub(super) struct Defined {
    pub(super) name: String,
    pub(super) code: Range<Place>,
    pub(super) entered: u32,
}

/// A branch.
#[derive(Debug)]
pub(super) struct Fork {
    /// Its place among the functions.
    pub(super) function: usize,
    pub(super) place: Place,
    /// What each arm is, and the bits of which any says that it was taken.
    pub(super) arms: Vec<(String, Range<u32>)>,
}

/// A policy whose code is watched while it runs.
pub struct Coverage {
    pair: Pair,
    map: Map,
    lines: Lines,
    /// For each bit, how many calls reached what it stands for.
    reached: Arc<[AtomicU64]>,
}

impl Coverage {
    /// Rewrites a policy's module and loads it beside `plain`, the module as it is. Its native code is kept in `keep_in` for the
    /// next run.
    ///
    /// # Errors
    /// When the module can't be rewritten, or the sandbox can't be set up.
    pub fn new(
        source: &Source,
        plain: Arc<dyn Policy>,
        limits: &Limits,
        keep_in: Option<CacheDir>,
    ) -> Result<Self, PolicyError> {
        let core = source.core();
        let (rewritten, map) = rewrite(&Layout::of(core)?)?;
        let words = map.bits.div_ceil(WORD_BITS);
        let reached: Arc<[AtomicU64]> = (0..words * WORD_BITS).map(|_| AtomicU64::new(0)).collect();
        let told = Arc::clone(&reached);
        let module =
            probed_module(&core_module::wrap(&rewritten)?, limits, keep_in, move |_, word, bits| {
                let mut left = bits;
                while left != 0 {
                    let bit = u64::from(word) * u64::from(WORD_BITS) + u64::from(left.trailing_zeros());
                    if let Some(calls) = usize::try_from(bit).ok().and_then(|bit| told.get(bit)) {
                        calls.fetch_add(1, Relaxed);
                    }
                    left &= left - 1;
                }
            })?;
        Ok(Self { pair: Pair::new(plain, module), map, lines: Lines::of(core), reached })
    }

    /// The policy to run: it answers as the plain one does.
    #[must_use]
    pub fn policy(&self) -> Arc<dyn Policy> {
        Arc::new(self.pair.clone())
    }

    /// Calls in which the rewritten module answered otherwise than the plain one: always 0, or the report can't be trusted.
    #[must_use]
    pub fn disagreements(&self) -> u64 {
        self.pair.disagreements()
    }

    /// What ran so far. Where the module has line tables, it is about the source files that `is_own` names, by the paths that the
    /// compiler saw.
    #[must_use]
    pub fn report(&self, is_own: impl Fn(&str) -> bool) -> Report {
        let calls = |bit: u32| self.reached.get(bit as usize).map_or(0, |calls| calls.load(Relaxed));
        Report::new(&self.map, &self.lines, calls, is_own)
    }
}

fn rewrite(layout: &Layout<'_>) -> Result<(Vec<u8>, Map), PolicyError> {
    let mut rewriter = Rewriter::new(layout, 0);
    let mut map = Map::default();
    let flush = rewriter.next_function();
    for (nth, body) in (0..).zip(&layout.bodies) {
        let instrumented = Instrument {
            rewriter: &mut rewriter,
            map: &mut map,
            globals: layout.globals,
            flush,
            code_start: layout.code_start,
            output: Function::new([]),
            scratch: layout.params(layout.imported + nth),
            open: Vec::new(),
            piece: None,
        }
        .function(layout.name(layout.imported + nth), body);
        let body = instrumented.map_err(|error| refused(error.to_string()))?;
        rewriter.bodies.push(body);
    }
    let words = map.bits.div_ceil(WORD_BITS);
    rewriter.globals = (0..words).map(|_| ValType::I64).collect();
    let flushing = flush_words(words, layout.globals, rewriter.probe());
    rewriter.added.push((rewriter.nullary(), flushing));
    for (name, function) in layout.exports.iter().filter(|(name, _)| CALLS.contains(name)) {
        let Some((ty, signature)) = layout.type_of(*function) else { continue };
        let mut outer = Function::new([]);
        for param in (0..).take(signature.params().len()) {
            outer.instruction(&Op::LocalGet(param));
        }
        // Functions that are imported and exported again do not occur in a component's module.
        outer.instruction(&Op::Call(*function + 1)).instruction(&Op::Call(flush)).instruction(&Op::End);
        let index = rewriter.next_function();
        rewriter.added.push((ty, outer));
        rewriter.exports.insert(name, index);
    }
    Ok((rewriter.finish()?, map))
}

/// Hands over the words that are not zero, and clears them.
fn flush_words(words: u32, globals: u32, probe: u32) -> Function {
    let mut body = Function::new([]);
    for word in 0..words {
        let global = globals + word;
        body.instruction(&Op::GlobalGet(global))
            .instruction(&Op::I64Eqz)
            .instruction(&Op::If(BlockType::Empty))
            .instruction(&Op::Else)
            .instruction(&Op::I32Const(word.cast_signed()))
            .instruction(&Op::GlobalGet(global))
            .instruction(&Op::Call(probe))
            .instruction(&Op::I64Const(0))
            .instruction(&Op::GlobalSet(global))
            .instruction(&Op::End);
    }
    body.instruction(&Op::End);
    body
}

/// What a block is.
#[derive(PartialEq, Eq)]
enum Kind {
    Function,
    Block,
    Loop,
    /// With the bit of the arm that is taken when the condition is zero, until that arm has been met.
    If(Option<u32>),
}

/// A block whose end has not been seen.
struct Open {
    kind: Kind,
    /// Whether its beginning can be reached at all.
    is_live: bool,
    /// Whether its end is reached from elsewhere than from the code before it.
    is_joined: bool,
}

/// The rewriting of one function.
struct Instrument<'r, 'l, 'a> {
    rewriter: &'r mut Rewriter<'l, 'a>,
    map: &'r mut Map,
    /// The index of the global that holds the first word.
    globals: u32,
    flush: u32,
    code_start: usize,
    output: Function,
    /// The first of two locals of its own.
    scratch: u32,
    open: Vec<Open>,
    /// The piece of straight code that is being read, by its bit and beginning; none where nothing can be reached.
    piece: Option<(u32, Place)>,
}

type Encoded<T> = Result<T, wasm_encoder::reencode::Error<std::convert::Infallible>>;

impl Instrument<'_, '_, '_> {
    fn function(mut self, name: String, body: &FunctionBody<'_>) -> Encoded<Function> {
        let mut locals = Vec::new();
        for group in body.get_locals_reader()? {
            let (number, ty) = group?;
            self.scratch += number;
            locals.push((number, self.rewriter.val_type(ty)?));
        }
        locals.push((2, ValType::I32));
        self.output = Function::new(locals);
        let code = self.place(body.range().start)..self.place(body.range().end);
        let entered = self.begin(code.start);
        self.map.functions.push(Defined { name, code, entered });
        self.open.push(Open { kind: Kind::Function, is_live: true, is_joined: false });
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let after = self.place(operators.original_position());
            self.operator(operator, self.place(offset), after)?;
        }
        Ok(self.output)
    }

    fn place(&self, offset: usize) -> Place {
        u64::try_from(offset.saturating_sub(self.code_start)).unwrap_or(Place::MAX)
    }

    fn operator(&mut self, operator: Operator<'_>, at: Place, after: Place) -> Encoded<()> {
        let is_live = self.piece.is_some();
        match &operator {
            Operator::Block { .. } | Operator::Loop { .. } => {
                let kind = if matches!(operator, Operator::Loop { .. }) { Kind::Loop } else { Kind::Block };
                self.open.push(Open { kind, is_live, is_joined: false });
                self.copy(operator)
            }
            Operator::If { .. } => {
                let arms = is_live.then(|| self.bits(2));
                self.open.push(Open { kind: Kind::If(arms.map(|arms| arms + 1)), is_live, is_joined: false });
                self.copy(operator)?;
                if let Some(taken) = arms {
                    self.fork(at, [("true", taken), ("false", taken + 1)]);
                    self.end_piece(after);
                    self.resume(taken, after);
                }
                Ok(())
            }
            Operator::Else => {
                self.end_piece(at);
                self.copy(operator)?;
                if let Some(open) = self.open.last_mut() {
                    open.is_joined |= is_live;
                    if let Kind::If(skipped) = &mut open.kind
                        && let Some(bit) = skipped.take()
                    {
                        self.resume(bit, after);
                    }
                }
                Ok(())
            }
            Operator::End => self.end(operator, at, after),
            Operator::Br { relative_depth } => {
                self.joins(*relative_depth);
                self.copy(operator)?;
                self.end_piece(after);
                Ok(())
            }
            Operator::BrIf { relative_depth } => {
                self.joins(*relative_depth);
                if !is_live {
                    return self.copy(operator);
                }
                let skipped = self.bits(2);
                self.fork(at, [("true", skipped + 1), ("false", skipped)]);
                self.set_either(skipped);
                self.copy(operator)?;
                self.end_piece(after);
                self.piece = Some((skipped, after));
                Ok(())
            }
            Operator::BrTable { targets } => {
                let mut depths = Vec::new();
                for depth in targets.targets() {
                    depths.push(depth?);
                }
                depths.push(targets.default());
                depths.iter().for_each(|depth| self.joins(*depth));
                if is_live {
                    self.table(at, &depths);
                }
                self.copy(operator)?;
                self.end_piece(after);
                Ok(())
            }
            Operator::Return => {
                self.copy(operator)?;
                self.end_piece(after);
                Ok(())
            }
            Operator::Unreachable => {
                // What a panic leads to; nothing is handed over after a trap.
                self.output.instruction(&Op::Call(self.flush));
                self.copy(operator)?;
                self.end_piece(after);
                Ok(())
            }
            _ => self.copy(operator),
        }
    }

    fn end(&mut self, operator: Operator<'_>, at: Place, after: Place) -> Encoded<()> {
        let mut is_joined = self.piece.is_some();
        let Some(open) = self.open.pop() else { return self.copy(operator) };
        if let Kind::If(Some(skipped)) = open.kind {
            // An `if` without `else` gets one.
            self.output.instruction(&Op::Else);
            self.set(skipped);
            is_joined = true;
        }
        is_joined |= open.is_joined;
        self.copy(operator)?;
        let begins_piece = match open.kind {
            Kind::Function => {
                self.end_piece(at);
                return Ok(());
            }
            Kind::If(_) => true,
            Kind::Block => open.is_joined,
            // A branch to a loop goes to its beginning.
            Kind::Loop => false,
        };
        if begins_piece && is_joined && open.is_live {
            self.end_piece(at);
            self.begin(after);
        }
        Ok(())
    }

    fn copy(&mut self, operator: Operator<'_>) -> Encoded<()> {
        let instruction = self.rewriter.instruction(operator)?;
        self.output.instruction(&instruction);
        Ok(())
    }

    fn joins(&mut self, depth: u32) {
        let is_live = self.piece.is_some();
        let target = self.open.len().checked_sub(1 + depth as usize);
        if let Some(open) = target.and_then(|target| self.open.get_mut(target)) {
            open.is_joined |= is_live;
        }
    }

    /// Bits that lie in one word, or that begin one.
    fn bits(&mut self, number: u32) -> u32 {
        let bits = &mut self.map.bits;
        if *bits % WORD_BITS + number > WORD_BITS {
            *bits = bits.next_multiple_of(WORD_BITS);
        }
        let first = *bits;
        *bits += number;
        first
    }

    /// Begins a piece with a bit of its own.
    fn begin(&mut self, at: Place) -> u32 {
        let bit = self.bits(1);
        self.resume(bit, at);
        bit
    }

    fn resume(&mut self, bit: u32, at: Place) {
        self.set(bit);
        self.piece = Some((bit, at));
    }

    fn end_piece(&mut self, at: Place) {
        if let Some((bit, start)) = self.piece.take()
            && start < at
        {
            self.map.pieces.push((start..at, bit));
        }
    }

    fn fork(&mut self, place: Place, arms: [(&str, u32); 2]) {
        let function = self.map.functions.len().saturating_sub(1);
        let arms = arms.map(|(name, bit)| (name.to_owned(), bit..bit + 1)).into();
        self.map.branches.push(Fork { function, place, arms });
    }

    fn word(&self, bit: u32) -> u32 {
        self.globals + bit / WORD_BITS
    }

    fn set(&mut self, bit: u32) {
        let word = self.word(bit);
        self.output
            .instruction(&Op::GlobalGet(word))
            .instruction(&Op::I64Const(1_i64 << (bit % WORD_BITS)))
            .instruction(&Op::I64Or)
            .instruction(&Op::GlobalSet(word));
    }

    /// Sets the bit after `skipped` when the condition on the stack holds, else `skipped`, and leaves the condition there.
    fn set_either(&mut self, skipped: u32) {
        let (word, condition) = (self.word(skipped), self.scratch);
        self.output
            .instruction(&Op::LocalSet(condition))
            .instruction(&Op::GlobalGet(word))
            .instruction(&Op::I64Const(1_i64 << ((skipped + 1) % WORD_BITS)))
            .instruction(&Op::I64Const(1_i64 << (skipped % WORD_BITS)))
            .instruction(&Op::LocalGet(condition))
            .instruction(&Op::Select)
            .instruction(&Op::I64Or)
            .instruction(&Op::GlobalSet(word))
            .instruction(&Op::LocalGet(condition));
    }

    /// A bit for each place in a table; those that lead to one target are one arm.
    fn table(&mut self, at: Place, depths: &[u32]) {
        let number = super::rewrite::count(depths.len());
        let first = self.bits(number);
        let mut arms: Vec<(u32, String, Range<u32>)> = Vec::new();
        for (bit, depth) in (first..).zip(depths) {
            // Neighbours that lead to the same place are one arm; others of that place are shown as arms of their own.
            match arms.last_mut() {
                Some((last, _, bits)) if last == depth => bits.end = bit + 1,
                _ => {
                    let name =
                        if bit + 1 == first + number { "else".to_owned() } else { (bit - first).to_string() };
                    arms.push((*depth, name, bit..bit + 1));
                }
            }
        }
        let function = self.map.functions.len().saturating_sub(1);
        let arms = arms.into_iter().map(|(_, name, bits)| (name, bits)).collect();
        self.map.branches.push(Fork { function, place: at, arms });
        let (asked, chosen) = (self.scratch, self.scratch + 1);
        let last = (number - 1).cast_signed();
        // The smaller of what is asked and the last place.
        self.output
            .instruction(&Op::LocalTee(asked))
            .instruction(&Op::I32Const(last))
            .instruction(&Op::LocalGet(asked))
            .instruction(&Op::I32Const(last))
            .instruction(&Op::I32LtU)
            .instruction(&Op::Select)
            .instruction(&Op::I32Const((first % WORD_BITS).cast_signed()))
            .instruction(&Op::I32Add)
            .instruction(&Op::LocalSet(chosen));
        let words = (first % WORD_BITS + number).div_ceil(WORD_BITS);
        for nth in 0..words {
            let word = self.word(first) + nth;
            self.output
                .instruction(&Op::GlobalGet(word))
                // A shift looks at the last six bits of its distance.
                .instruction(&Op::I64Const(1))
                .instruction(&Op::LocalGet(chosen))
                .instruction(&Op::I64ExtendI32U)
                .instruction(&Op::I64Shl)
                .instruction(&Op::I64Const(0))
                .instruction(&Op::LocalGet(chosen))
                .instruction(&Op::I32Const(WORD_BITS.trailing_zeros().cast_signed()))
                .instruction(&Op::I32ShrU)
                .instruction(&Op::I32Const(nth.cast_signed()))
                .instruction(&Op::I32Eq)
                .instruction(&Op::Select)
                .instruction(&Op::I64Or)
                .instruction(&Op::GlobalSet(word));
        }
        self.output.instruction(&Op::LocalGet(asked));
    }
}
