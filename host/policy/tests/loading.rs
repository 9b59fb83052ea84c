//! Modules are loaded from memory, from the cache on disk, or compiled again; compilation can be killed. This file is
//! its own harness, since the program that compiles is this one, called again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "a time-out is wall time, and so is this check of it")]

mod support;

use proviso_ledger::model::ids::Digest;
use proviso_policy::{Admitted, CacheDir, Compiler, Limits, PolicyError, Runtime, compile_worker};
use std::{
    cell::Cell,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use support::{Draft, Policy};

const WORKER: &str = "compile-worker";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == WORKER) {
        compile_worker(std::io::stdin(), std::io::stdout()).unwrap();
        return;
    }
    let tests: [(&str, fn()); 7] = [
        ("a child compiles what runs here", a_child_compiles_what_runs_here),
        ("a slow compiler is killed", a_slow_compiler_is_killed),
        ("a hungry compiler is stopped", a_hungry_compiler_is_stopped),
        ("a compiler that fails is told apart", a_compiler_that_fails_is_told_apart),
        ("code on disk is used once it verifies", code_on_disk_is_used_once_it_verifies),
        ("few modules stay loaded", few_modules_stay_loaded),
        ("bytes must have the digest", bytes_must_have_the_digest),
    ];
    let wanted = |name: &str| args.iter().all(|arg| arg.starts_with('-') || name.contains(arg.as_str()));
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        test();
        println!("test {name} ... ok");
    }
}

fn child(cpu_seconds: u64, memory_bytes: u64, wall_timeout: Duration) -> Compiler {
    let program = std::env::current_exe().unwrap();
    Compiler::Child { program, args: vec![WORKER.to_owned()], cpu_seconds, memory_bytes, wall_timeout }
}

fn of(compiler: Compiler) -> Runtime {
    Runtime::new(Limits::default(), None, compiler).unwrap()
}

fn refused(admitted: Result<Admitted, PolicyError>) -> &'static str {
    match admitted {
        Err(PolicyError::Rejected(rejection)) => rejection.0[0].code,
        other => panic!("{other:?}"),
    }
}

fn a_child_compiles_what_runs_here() {
    let runtime = of(child(10, 1 << 30, Duration::from_secs(20)));
    let admitted = runtime.admit(&Draft::good().build()).unwrap();
    assert!(admitted.module.prepare("{}").unwrap().value.is_ok());
}

fn a_slow_compiler_is_killed() {
    let args = vec!["60".to_owned()];
    let sleep = PathBuf::from("sleep");
    let wall_timeout = Duration::from_millis(200);
    let compiler =
        Compiler::Child { program: sleep, args, cpu_seconds: 1, memory_bytes: 1 << 30, wall_timeout };
    let started = Instant::now();
    assert_eq!(refused(of(compiler).admit(&Draft::good().build())), "compile_limit");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// A module that is within every bound of its shape, and heavy: a megabyte of dense code.
fn heavy() -> Vec<u8> {
    let body = "(drop (i64.mul (i64.load (i32.const 8)) (i64.load (i32.const 16))))".repeat(9_000);
    Draft::good().more(&format!("(func {body})").repeat(9)).build()
}

fn a_hungry_compiler_is_stopped() {
    assert_eq!(refused(of(child(60, 40 << 20, Duration::from_secs(60))).admit(&heavy())), "compile_limit");
}

fn a_compiler_that_fails_is_told_apart() {
    let compiler = |program: &str| Compiler::Child {
        program: PathBuf::from(program),
        args: Vec::new(),
        cpu_seconds: 1,
        memory_bytes: 1 << 30,
        wall_timeout: Duration::from_secs(10),
    };
    for program in ["/nowhere/compiler", "false", "true"] {
        let error = of(compiler(program)).admit(&Draft::good().build()).unwrap_err();
        assert!(matches!(error, PolicyError::Compiler(_)), "{program}: {error}");
    }
}

/// Loads `bytes` in a runtime that has nothing in memory, and says whether they had to be fetched.
fn fetched(dir: &Path, key: [u8; 32], bytes: &[u8]) -> bool {
    let cache = CacheDir { path: dir.to_owned(), key };
    let runtime = Runtime::new(Limits::default(), Some(cache), Compiler::InProcess).unwrap();
    let fetched = Cell::new(false);
    let fetch = || -> Result<_, Infallible> {
        fetched.set(true);
        Ok(bytes.to_vec())
    };
    let module = runtime.load(Digest::of(bytes), fetch).unwrap();
    assert_eq!(module.manifest().name, "good");
    fetched.get()
}

fn code_on_disk_is_used_once_it_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let good = Draft::good().build();
    let key = [7; 32];
    assert!(fetched(dir.path(), key, &good), "nothing was kept yet");
    assert!(!fetched(dir.path(), key, &good), "kept code is used");

    let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let kept = fs::read(&file).unwrap();
    for place in [0, 31, 32, kept.len() / 2, kept.len() - 1] {
        let mut flipped = kept.clone();
        flipped[place] ^= 1;
        fs::write(&file, flipped).unwrap();
        assert!(fetched(dir.path(), key, &good), "a flipped bit at {place} is not loaded");
        assert_eq!(fs::read(&file).unwrap(), kept, "and what was compiled instead is kept");
    }
    for length in [0, 10, 32, kept.len() - 1] {
        fs::write(&file, &kept[..length]).unwrap();
        assert!(fetched(dir.path(), key, &good), "a file cut to {length} bytes is not loaded");
    }
    assert!(fetched(dir.path(), [8; 32], &good), "another host's code is not loaded");
    assert!(!fetched(dir.path(), [8; 32], &good));

    // Code that verifies for one module does not stand in for another.
    let mut other = Draft::good();
    other.manifest("good", "2.0.0", "{}", &[]);
    let other = other.build();
    assert!(fetched(dir.path(), [8; 32], &other));
    let name = |bytes: &[u8]| Digest::of(bytes).to_string().replace("sha256:", "");
    let path = |bytes: &[u8]| PathBuf::from(file.to_str().unwrap().replace(&name(&good), &name(bytes)));
    fs::copy(path(&good), path(&other)).unwrap();
    assert!(fetched(dir.path(), [8; 32], &other), "a swapped file is not loaded");
}

fn few_modules_stay_loaded() {
    let limits = Limits { loaded_modules: 2, ..Limits::default() };
    let runtime = Runtime::new(limits, None, Compiler::InProcess).unwrap();
    let modules = ["1.0.0", "1.0.1", "1.0.2"].map(|version| {
        let mut draft = Draft::good();
        draft.manifest("good", version, "{}", &[]);
        draft.build()
    });
    let digests = [0, 1, 2].map(|nth| Digest::of(&modules[nth]));
    let first = runtime.admit(&modules[0]).unwrap().module;
    runtime.admit(&modules[1]).unwrap();
    assert!(runtime.loaded(&digests[0]).is_some());
    runtime.admit(&modules[2]).unwrap();
    let loaded = digests.map(|digest| runtime.loaded(&digest).is_some());
    assert_eq!(loaded, [true, false, true], "the one that was not used for longest goes");
    assert!(first.prepare("{}").is_ok());
    let back = runtime.load(digests[1], || Ok::<_, Infallible>(modules[1].clone())).unwrap();
    assert_eq!(back.manifest().version, "1.0.1");
    let never = || -> Result<Vec<u8>, Infallible> { panic!("it is loaded") };
    assert_eq!(runtime.load(digests[1], never).unwrap().digest(), digests[1]);
}

fn bytes_must_have_the_digest() {
    let runtime = of(Compiler::InProcess);
    let good = Draft::good().build();
    let digest = Digest::of(b"another");
    let error = runtime.load(digest, || Ok::<_, Infallible>(good)).unwrap_err();
    assert!(matches!(error, PolicyError::DigestMismatch { .. }), "{error}");
    let error = runtime.load(digest, || Err("the store is away")).unwrap_err();
    assert!(matches!(error, PolicyError::Fetch(_)), "{error}");
    let error = runtime.load(Digest::of(b"junk"), || Ok::<_, Infallible>(b"junk".to_vec())).unwrap_err();
    assert!(matches!(error, PolicyError::Rejected(_)), "{error}");
}
