//! Profiles: where the fuel of calls goes, by function and by the functions that called it.
//!
//! Every function gets a wrapper that tells the host when it is entered and left, and the host looks at the fuel that is left. What
//! the wrappers themselves burn is known to the unit and taken off, so that what is attributed adds up to what the plain module
//! burns. While arguments are lowered and results cleared away a component may not call its host: that is not told apart, and
//! what it burns stands with the call itself.

use super::{
    core_module::{self, Source},
    lines::Lines,
    pair::{Pair, Watch, probed_module},
    refused,
    rewrite::{CALLS, Layout, Rewriter, count},
};
use crate::{cache::CacheDir, fault::PolicyError, limits::Limits};
use proviso_decide::policy::Policy;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wasm_encoder::{BlockType, Function, Instruction as Op, ValType, reencode::Reencode};

/// What is told in place of a function's number when one is left.
const LEFT: u32 = u32::MAX;

/// Fuel of a wrapper up to the moment at which it tells that its function is entered: one for being called, five instructions.
const ENTERING_FUEL: u64 = 6;

/// Fuel of a wrapper between its function's end and the moment at which it tells of it: five instructions.
const LEAVING_FUEL: u64 = 5;

/// A policy whose fuel is attributed while it runs.
pub struct Profile {
    pair: Pair,
    functions: Vec<Told>,
    recorder: Arc<Mutex<Recorder>>,
}

/// A function, as it is shown.
struct Told {
    name: String,
    source: Option<(String, u32)>,
}

/// A function's part of the fuel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function, or for the calls themselves `call rate`, `call open`, and so on.
    pub name: String,
    /// Where its source begins.
    pub source: Option<(String, u32)>,
    /// How often it was called.
    pub calls: u64,
    /// Fuel of its own instructions. Of a call itself: what making the instance, lowering arguments, clearing results away and
    /// memory beyond the first pages took.
    pub self_fuel: u64,
    /// That, and the fuel of what it called.
    pub total_fuel: u64,
}

impl Profile {
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
        let layout = Layout::of(source.core())?;
        let lines = Lines::of(source.core());
        let mut functions: Vec<Told> = (layout.imported..)
            .zip(&layout.bodies)
            .map(|(function, body)| {
                let place = |offset: usize| {
                    u64::try_from(offset.saturating_sub(layout.code_start)).unwrap_or(u64::MAX)
                };
                let first = lines.within(place(body.range().start)..place(body.range().end)).next();
                Told {
                    name: layout.name(function),
                    source: first.map(|(file, line)| (file.to_owned(), line)),
                }
            })
            .collect();
        let entering = (layout.imported..)
            .zip(&layout.bodies)
            .map(|(function, _)| u64::from(layout.params(function)) + 1);
        let recorder = Arc::new(Mutex::new(Recorder { entering: entering.collect(), ..Recorder::default() }));
        let first_call = count(functions.len());
        functions.extend(CALLS.map(|call| Told { name: format!("call {call}"), source: None }));
        let told = Arc::clone(&recorder);
        let rewritten = rewrite(&layout)?;
        let module =
            probed_module(&core_module::wrap(&rewritten)?, limits, keep_in, move |left, function, _| {
                lock(&told).event(left, function);
            })?;
        let watch = Recording { first_call, recorder: Arc::clone(&recorder) };
        let pair = Pair::new(plain, module).watched(Arc::new(watch));
        Ok(Self { pair, functions, recorder })
    }

    /// The policy to run: it answers as the plain one does.
    #[must_use]
    pub fn policy(&self) -> Arc<dyn Policy> {
        Arc::new(self.pair.clone())
    }

    /// Calls in which the rewritten module answered otherwise than the plain one: always 0, or the profile can't be trusted.
    #[must_use]
    pub fn disagreements(&self) -> u64 {
        self.pair.disagreements()
    }

    /// The fuel of each function, most of its own first. A function that calls itself counts once in a total.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        let recorder = lock(&self.recorder);
        let mut frames: BTreeMap<u32, Frame> = BTreeMap::new();
        let totals = recorder.totals();
        for (index, node) in recorder.nodes.iter().enumerate() {
            let Some(told) = self.functions.get(node.function as usize) else { continue };
            let frame = frames.entry(node.function).or_insert_with(|| Frame {
                name: told.name.clone(),
                source: told.source.clone(),
                calls: 0,
                self_fuel: 0,
                total_fuel: 0,
            });
            frame.calls += node.calls;
            frame.self_fuel += node.fuel;
            if !recorder.callers(index).skip(1).any(|caller| caller.function == node.function) {
                frame.total_fuel += totals.get(index).copied().unwrap_or(0);
            }
        }
        let mut frames: Vec<Frame> = frames.into_values().collect();
        frames.sort_by(|a, b| (b.self_fuel, &a.name).cmp(&(a.self_fuel, &b.name)));
        frames
    }

    /// Each stack of calls, outermost first, with the fuel of its innermost function's own instructions, in the order in which
    /// they were first seen.
    #[must_use]
    pub fn stacks(&self) -> Vec<(Vec<String>, u64)> {
        let recorder = lock(&self.recorder);
        let mut stacks = Vec::new();
        for (index, node) in recorder.nodes.iter().enumerate().filter(|(_, node)| node.fuel > 0) {
            let mut names: Vec<String> = recorder
                .callers(index)
                .filter_map(|node| self.functions.get(node.function as usize))
                .map(|told| told.name.clone())
                .collect();
            names.reverse();
            stacks.push((names, node.fuel));
        }
        stacks
    }
}

fn lock(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A function as called by the functions above it.
struct Node {
    function: u32,
    caller: Option<usize>,
    calls: u64,
    /// Of its own instructions.
    fuel: u64,
}

/// Makes a tree of what the wrappers tell.
#[derive(Default)]
struct Recorder {
    /// For each function, what its wrapper burns between telling that it is entered and entering it.
    entering: Vec<u64>,
    /// Callers before those they call.
    nodes: Vec<Node>,
    known: HashMap<(Option<usize>, u32), usize>,
    /// The call that is being recorded, and the fuel attributed to functions in it.
    call: Option<(usize, u64)>,
    /// The functions that have not been left, and what is still to be taken off the innermost one's fuel.
    open: Vec<(usize, u64)>,
    last_left: u64,
}

impl Recorder {
    fn node(&mut self, caller: Option<usize>, function: u32) -> usize {
        let next = self.nodes.len();
        let node = *self.known.entry((caller, function)).or_insert(next);
        if node == next {
            self.nodes.push(Node { function, caller, calls: 0, fuel: 0 });
        }
        if let Some(node) = self.nodes.get_mut(node) {
            node.calls += 1;
        }
        node
    }

    fn event(&mut self, left: u64, function: u32) {
        // Outside of a recorded call: while the module was tried.
        let Some((call, mut attributed)) = self.call else { return };
        let own = if function == LEFT { LEAVING_FUEL } else { ENTERING_FUEL };
        if let Some((innermost, pending)) = self.open.last_mut() {
            let burnt = self.last_left.saturating_sub(left).saturating_sub(own + std::mem::take(pending));
            if let Some(node) = self.nodes.get_mut(*innermost) {
                node.fuel += burnt;
                attributed += burnt;
            }
        }
        self.last_left = left;
        self.call = Some((call, attributed));
        if function == LEFT {
            self.open.pop();
        } else {
            let caller = self.open.last().map_or(call, |(node, _)| *node);
            let node = self.node(Some(caller), function);
            let pending = self.entering.get(function as usize).copied().unwrap_or(0);
            self.open.push((node, pending));
        }
    }

    /// The node itself, then the one that called it, and so on.
    fn callers(&self, node: usize) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.nodes.get(node), |node| self.nodes.get(node.caller?))
    }

    /// The fuel of each node and of those below it.
    fn totals(&self) -> Vec<u64> {
        let mut totals: Vec<u64> = self.nodes.iter().map(|node| node.fuel).collect();
        // Callers stand before those they call.
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let total = totals.get(index).copied().unwrap_or(0);
            if let Some(caller) = node.caller.and_then(|caller| totals.get_mut(caller)) {
                *caller += total;
            }
        }
        totals
    }
}

/// Tells the recorder which call is being made.
struct Recording {
    /// The number of the first call, among the functions.
    first_call: u32,
    recorder: Arc<Mutex<Recorder>>,
}

impl Watch for Recording {
    fn begin(&self, call: &'static str) {
        let mut recorder = lock(&self.recorder);
        let nth = CALLS.iter().position(|known| *known == call).unwrap_or(0);
        let node = recorder.node(None, self.first_call + count(nth));
        recorder.open.clear();
        recorder.call = Some((node, 0));
    }

    fn end(&self, fuel: u64) {
        let mut recorder = lock(&self.recorder);
        if let Some((call, attributed)) = recorder.call.take()
            && let Some(node) = recorder.nodes.get_mut(call)
        {
            node.fuel += fuel.saturating_sub(attributed);
        }
    }
}

fn rewrite(layout: &Layout<'_>) -> Result<Vec<u8>, PolicyError> {
    let defined = count(layout.bodies.len());
    let mut rewriter = Rewriter::new(layout, defined);
    for body in &layout.bodies {
        let copied = (|| {
            let mut copy = rewriter.new_function_with_parsed_locals(body)?;
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                copy.instruction(&rewriter.parse_instruction(&mut operators)?);
            }
            Ok(copy)
        })();
        let copied = copied.map_err(|error: wasm_encoder::reencode::Error| refused(error.to_string()))?;
        rewriter.bodies.push(copied);
    }
    // One, while the wrappers may tell.
    let is_on = layout.globals;
    rewriter.globals.push(ValType::I32);
    for nth in 0..defined {
        let function = layout.imported + nth;
        let Some((ty, signature)) = layout.type_of(function) else { continue };
        let mut wrapper = Function::new([]);
        tell(&mut wrapper, is_on, rewriter.probe(), nth);
        for param in (0..).take(signature.params().len()) {
            wrapper.instruction(&Op::LocalGet(param));
        }
        wrapper.instruction(&Op::Call(function + 1));
        tell(&mut wrapper, is_on, rewriter.probe(), LEFT);
        wrapper.instruction(&Op::End);
        rewriter.added.push((ty, wrapper));
    }
    for (name, function) in layout.exports.iter().filter(|(name, _)| CALLS.contains(name)) {
        let Some((ty, signature)) = layout.type_of(*function) else { continue };
        let mut outer = Function::new([]);
        outer.instruction(&Op::I32Const(1)).instruction(&Op::GlobalSet(is_on));
        for param in (0..).take(signature.params().len()) {
            outer.instruction(&Op::LocalGet(param));
        }
        outer
            .instruction(&Op::Call(*function + 1 + defined))
            .instruction(&Op::I32Const(0))
            .instruction(&Op::GlobalSet(is_on))
            .instruction(&Op::End);
        let index = rewriter.next_function();
        rewriter.added.push((ty, outer));
        rewriter.exports.insert(name, index);
    }
    rewriter.finish()
}

/// Tells the host, while that is allowed. [`ENTERING_FUEL`] and [`LEAVING_FUEL`] count these instructions.
fn tell(body: &mut Function, is_on: u32, probe: u32, what: u32) {
    body.instruction(&Op::GlobalGet(is_on))
        .instruction(&Op::If(BlockType::Empty))
        .instruction(&Op::I32Const(what.cast_signed()))
        .instruction(&Op::I64Const(0))
        .instruction(&Op::Call(probe))
        .instruction(&Op::End);
}
