//! Modules are loaded from memory, from the cache on disk, or compiled again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use proviso_fixtures::guest::{Draft, Policy, runtime};
use proviso_ledger::model::ids::Digest;
use proviso_policy::{CacheDir, Compiler, Limits, PolicyError, Runtime};
use std::{
    cell::Cell,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
};

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

#[test]
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

#[test]
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

#[test]
fn bytes_must_have_the_digest() {
    let runtime = runtime();
    let good = Draft::good().build();
    let digest = Digest::of(b"another");
    let error = runtime.load(digest, || Ok::<_, Infallible>(good)).unwrap_err();
    assert!(matches!(error, PolicyError::DigestMismatch { .. }), "{error}");
    let error = runtime.load(digest, || Err("the store is away")).unwrap_err();
    assert!(matches!(error, PolicyError::Fetch(_)), "{error}");
    let error = runtime.load(Digest::of(b"junk"), || Ok::<_, Infallible>(b"junk".to_vec())).unwrap_err();
    assert!(matches!(error, PolicyError::Rejected(_)), "{error}");
}
