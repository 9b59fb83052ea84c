//! Compilation in child processes: what they are given, what they may use, how their ends are told apart, and how many run at
//! once. This file is its own harness, since the program that compiles is this one, called again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "waiting for a process is wall time")]

use proviso_fixtures::guest::{Draft, Policy};
use proviso_ledger::model::ids::Digest;
use proviso_policy::{Admitted, Compiler, Limits, PolicyError, Runtime, compile_worker};
use std::{
    convert::Infallible,
    fmt::Write,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    process::Command,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

/// The allocator of the server, which takes memory from the system in its own way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MEMORY_BYTES: u64 = 1 << 30;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = args.first().and_then(|arg| Role::named(arg)) {
        let input = Hooked { input: io::stdin(), role, reads: 0 };
        compile_worker(input, io::stdout()).unwrap();
        return;
    }
    let tests: [(&str, fn()); 11] = [
        ("a child compiles what runs here", a_child_compiles_what_runs_here),
        ("a child inspects before it compiles", a_child_inspects_before_it_compiles),
        ("a child has nothing of its parent", a_child_has_nothing_of_its_parent),
        ("inherited descriptors are closed", inherited_descriptors_are_closed),
        ("endless inspection is stopped", endless_inspection_is_stopped),
        ("hungry inspection is stopped", hungry_inspection_is_stopped),
        ("a hungry compiler is stopped", a_hungry_compiler_is_stopped),
        ("a slow compiler is stopped", a_slow_compiler_is_stopped),
        ("the heaviest module compiles", the_heaviest_module_compiles),
        ("a compiler that fails is told apart", a_compiler_that_fails_is_told_apart),
        ("children are few", children_are_few),
    ];
    let wanted = |name: &str| args.iter().all(|arg| arg.starts_with('-') || name.contains(arg.as_str()));
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        test();
        println!("test {name} ... ok");
    }
}

/// What a child does besides its work.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Honest,
    /// Checks what it has once it has given up what it does not need.
    Spy,
    /// Waits before it begins.
    Late,
    /// Burns time while its bounds are those of inspection.
    Busy,
    /// Takes memory while its bounds are those of inspection.
    Hungry,
}

impl Role {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "honest" => Self::Honest,
            "spy" => Self::Spy,
            "late" => Self::Late,
            "busy" => Self::Busy,
            "hungry" => Self::Hungry,
            _ => return None,
        })
    }
}

/// The worker's input, which acts when it is read: first for the request, after privileges were given up, and late for the
/// module, after bounds were set.
struct Hooked {
    input: io::Stdin,
    role: Role,
    reads: u32,
}

impl Read for Hooked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        match (self.role, self.reads) {
            (Role::Spy, 1) => spy(),
            (Role::Late, 1) => thread::sleep(Duration::from_secs(2)),
            (Role::Busy, 20..) => loop {
                std::hint::black_box(());
            },
            (Role::Hungry, 20..) => eat(1 << 30),
            _ => {}
        }
        // Few bytes at once, so that there are many reads.
        let some = buffer.len().min(256);
        self.input.read(&mut buffer[..some])
    }
}

fn spy() {
    let env: Vec<_> = std::env::vars_os().collect();
    assert_eq!(env, [("MIMALLOC_ARENA_EAGER_COMMIT".into(), "0".into())]);
    assert!(File::open("/").is_err(), "nothing can be opened");
    assert!(Command::new("/bin/true").spawn().is_err(), "nothing can be started");
    assert_eq!(std::env::current_dir().unwrap(), PathBuf::from("/"));
}

fn eat(bytes: usize) {
    let mut eaten = Vec::new();
    while eaten.len() < bytes >> 20 {
        eaten.push(vec![1_u8; 1 << 20]);
    }
    std::hint::black_box(eaten);
}

struct Child {
    program: PathBuf,
    args: Vec<String>,
    cpu_seconds: u64,
    memory_bytes: u64,
}

impl Child {
    fn of(role: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        Self { program, args: vec![role.to_owned()], cpu_seconds: 20, memory_bytes: MEMORY_BYTES }
    }

    fn shell(script: &str, args: &[&str]) -> Self {
        let args = ["-c", script].iter().chain(args).map(ToString::to_string).collect();
        Self { program: PathBuf::from("/bin/sh"), args, ..Self::of("") }
    }

    fn runtime(self, at_once: usize, waiting: usize) -> Runtime {
        let Self { program, args, cpu_seconds, memory_bytes } = self;
        let env = vec![("MIMALLOC_ARENA_EAGER_COMMIT".to_owned(), "0".to_owned())];
        let compiler = Compiler::Child { program, args, env, cpu_seconds, memory_bytes, at_once, waiting };
        Runtime::new(Limits { instances: 4, ..Limits::default() }, None, compiler).unwrap()
    }

    fn admit(self, module: &[u8]) -> Result<Admitted, PolicyError> {
        self.runtime(1, 1).admit(module)
    }
}

fn good() -> Vec<u8> {
    Draft::good().build()
}

/// Long enough that most of its bytes are read after the bounds were set.
fn long() -> Vec<u8> {
    Draft::good().more(&"(func)".repeat(3_000)).build()
}

fn refused(admitted: Result<Admitted, PolicyError>) -> &'static str {
    match admitted {
        Err(PolicyError::Rejected(rejection)) => rejection.0[0].code,
        other => panic!("{other:?}"),
    }
}

fn a_child_compiles_what_runs_here() {
    let admitted = Child::of("honest").admit(&good()).unwrap();
    assert!(admitted.module.prepare("{}").unwrap().value.is_ok());
    assert_eq!(admitted.shape, proviso_policy::inspect(&good(), &Limits::default()).unwrap());
}

fn a_child_inspects_before_it_compiles() {
    for module in [&good()[..100], b"junk", &[], &wat::parse_str("(component)").unwrap()] {
        let Err(PolicyError::Rejected(found)) = Child::of("honest").admit(module) else { panic!("admitted") };
        assert_eq!(Err(found), proviso_policy::inspect(module, &Limits::default()).map(|_| ()));
    }
}

fn a_child_has_nothing_of_its_parent() {
    Child::of("spy").admit(&good()).unwrap();
}

fn inherited_descriptors_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let program = std::env::current_exe().unwrap();
    let script = "exec \"$0\" late 9>\"$1\"";
    let child = Child::shell(script, &[program.to_str().unwrap(), pipe.to_str().unwrap()]);
    let (closed, closes) = channel();
    thread::spawn(move || {
        let read = File::open(pipe).unwrap().read(&mut [0]);
        closed.send(read.unwrap()).unwrap();
    });
    let child = thread::spawn(move || child.admit(&good()).map(|_| ()));
    assert_eq!(closes.recv().unwrap(), 0);
    assert!(!child.is_finished(), "closed while the child still waits");
    child.join().unwrap().unwrap();
}

fn endless_inspection_is_stopped() {
    let started = Instant::now();
    assert_eq!(refused(Child::of("busy").admit(&long())), "compile_limit");
    assert!(started.elapsed() < Duration::from_secs(30), "it has 1 s of processor time, not 20");
}

fn hungry_inspection_is_stopped() {
    assert_eq!(refused(Child::of("hungry").admit(&long())), "compile_limit");
}

/// A module that is within every bound of its shape, and heavy: hundreds of values that all live across calls.
fn heavy() -> Vec<u8> {
    const LOCALS: usize = 400;
    let mut body = format!("(local {})", "i64 ".repeat(LOCALS));
    for nth in 0..8_000 {
        let (to, from, other) = (nth * 7 % LOCALS, nth * 31 % LOCALS, nth * 101 % LOCALS);
        write!(
            body,
            "(local.set {to} (i64.add (local.get {from}) (i64.load (i32.wrap_i64 (local.get {other})))))"
        )
        .unwrap();
        if nth % 40 == 0 {
            body.push_str("(call $idle)");
        }
    }
    for local in 0..LOCALS {
        write!(body, "(i64.store (i32.const 8) (local.get {local}))").unwrap();
    }
    Draft::good().more("(func $idle)").more(&format!("(func {body})").repeat(8)).build()
}

fn a_hungry_compiler_is_stopped() {
    let child = Child { memory_bytes: 40 << 20, ..Child::of("honest") };
    assert_eq!(refused(child.admit(&heavy())), "compile_limit");
}

fn a_slow_compiler_is_stopped() {
    let child = Child { cpu_seconds: 1, ..Child::of("honest") };
    assert_eq!(refused(child.admit(&heavy())), "compile_limit");
}

fn the_heaviest_module_compiles() {
    Child { cpu_seconds: 120, ..Child::of("honest") }.admit(&heavy()).unwrap();
}

fn a_compiler_that_fails_is_told_apart() {
    let nowhere = Child { program: PathBuf::from("/nowhere/compiler"), ..Child::of("") };
    let killed = "kill -9 $$";
    for child in [nowhere, Child::shell("false", &[]), Child::shell("true", &[]), Child::shell(killed, &[])] {
        let name = child.args.join(" ");
        let error = child.admit(&good()).unwrap_err();
        assert!(matches!(error, PolicyError::Compiler(_)), "{name}: {error}");
    }
}

fn children_are_few() {
    let runtime = Child::of("late").runtime(1, 1);
    let module = good();
    let (told, outcomes) = channel();
    thread::scope(|scope| {
        for _ in 0..6 {
            let told = told.clone();
            scope.spawn(|| {
                let told = told;
                let is_busy = match runtime.admit(&module) {
                    Ok(_) => false,
                    Err(PolicyError::Busy) => true,
                    Err(other) => panic!("{other}"),
                };
                told.send(is_busy).unwrap();
            });
        }
        let turned_away = outcomes.iter().take(4).filter(|is_busy| *is_busy).count();
        assert_eq!(turned_away, 4, "one runs, one waits, the others are told at once");
        // Nor does a load have to come back later.
        let bytes = Draft::good().more("(func)").build();
        runtime.load(Digest::of(&bytes), || Ok::<_, Infallible>(bytes.clone())).unwrap();
    });
    let admitted = outcomes.try_iter().filter(|is_busy| !is_busy).count();
    assert_eq!(admitted, 2);
}
