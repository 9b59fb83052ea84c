//! Compiled code on disk, so that a restart does not compile again.
//!
//! Native code that is loaded can do anything, so nothing is loaded that this host did not write itself: each file
//! carries a MAC over module, engine and code under a key that never leaves the host's data directory. A file that
//! does not verify is treated as absent.

use crate::trusted::Artifact;
use hmac::{Hmac, KeyInit, Mac};
use proviso_ledger::model::ids::{Digest, hex};
use sha2::Sha256;
use std::{
    fs, hash, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use wasmtime::Engine;

const MAC_BYTES: usize = 32;

/// Where compiled code is kept, and the key that authenticates it.
#[derive(Clone)]
pub struct CacheDir {
    /// A directory that only this host writes to.
    pub path: PathBuf,
    /// 32 random bytes of this host.
    pub key: [u8; 32],
}

impl std::fmt::Debug for CacheDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheDir").field("path", &self.path).finish_non_exhaustive()
    }
}

pub(crate) struct Cache {
    dir: CacheDir,
    /// What wasmtime's version and settings hash to: code for one engine is of no use to another.
    engine: String,
    written: AtomicU64,
}

impl Cache {
    pub(crate) fn new(dir: CacheDir, engine: &Engine) -> io::Result<Self> {
        fs::create_dir_all(&dir.path)?;
        Ok(Self { dir, engine: engine_hash(engine), written: AtomicU64::new(0) })
    }

    /// The code of a module, if it was kept and is what was written.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Artifact> {
        let path = self.file(digest);
        let bytes = fs::read(&path).ok()?;
        let (code, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        if self.mac(digest, code)?.verify_slice(mac).is_err() {
            tracing::warn!(%digest, "compiled policy in the cache is not what was written; compiling again");
            return None;
        }
        Some(Artifact::Kept(path))
    }

    /// Keeps the code of a module and returns it as it is kept. A cache that can't be written costs memory, and a
    /// compilation later, nothing else.
    pub(crate) fn put(&self, digest: &Digest, code: &[u8]) -> Option<Artifact> {
        let written = self.write(digest, code);
        let logged =
            written.inspect_err(|error| tracing::warn!(%digest, %error, "compiled policy could not be kept"));
        logged.ok().map(Artifact::Kept)
    }

    fn write(&self, digest: &Digest, code: &[u8]) -> io::Result<PathBuf> {
        let mac = self.mac(digest, code).ok_or_else(|| io::Error::other("no key"))?.finalize().into_bytes();
        let nth = self.written.fetch_add(1, Ordering::Relaxed);
        let draft = self.dir.path.join(format!("{}.{nth}.draft", std::process::id()));
        // The code first, since it is loaded from the file's start.
        fs::write(&draft, [code, &mac].concat())?;
        // Readers see the old file or the new one, and whoever has mapped the old one keeps it. What a crash tears does
        // not verify.
        let path = self.file(digest);
        fs::rename(&draft, &path).inspect_err(|_| remove(&draft))?;
        Ok(path)
    }

    /// Removes a file that could not be loaded although it verified.
    pub(crate) fn forget(&self, digest: &Digest) {
        remove(&self.file(digest));
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.dir.path.join(format!("{}.{}.cwasm", hex(digest.0), self.engine))
    }

    fn mac(&self, digest: &Digest, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.dir.key).ok()?;
        mac.update(&digest.0);
        mac.update(self.engine.as_bytes());
        mac.update(code);
        Some(mac)
    }
}

fn remove(path: &Path) {
    // A file that stays is overwritten or ignored.
    let _ = fs::remove_file(path);
}

fn engine_hash(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl hash::Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            sha2::Digest::update(&mut self.0, bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::default());
    hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut sha);
    let hash = sha2::Digest::finalize(sha.0);
    hex(hash.get(..8).unwrap_or_default())
}
