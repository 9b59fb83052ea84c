//! The only hand-written unsafe code of the workspace: promises to wasmtime and calls of the kernel that the compiler cannot
//! check.
#![allow(unsafe_code)]

use std::{marker::PhantomData, path::PathBuf};
use wasmtime::{
    AsContextMut, Engine, Result, Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc,
    },
};

/// Native code that this process's own compiler made. Building one from anything else is unsound; only `runtime`
/// and `cache` do it.
pub(crate) enum Artifact {
    /// As it came from the compiler.
    Made(Vec<u8>),
    /// In a file of the cache, whose MAC was verified or which this process has just written.
    Kept(PathBuf),
}

impl Artifact {
    /// Loads the code. A file is mapped: its pages are the page cache's, which the system can take back.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: both ask that the bytes are what `precompile_component` returned, unmodified. That is what an `Artifact`
        // stands for. Code of another version or configuration is refused by wasmtime itself. A file must also stay as it
        // is while it is mapped: the cache never writes into one, it replaces it, and whoever else may write to the
        // cache's directory may also read the key that authenticates it.
        unsafe {
            match self {
                Self::Made(bytes) => Component::deserialize(engine, bytes),
                Self::Kept(path) => Component::deserialize_file(engine, path),
            }
        }
    }
}

/// An exported function and its types.
pub(crate) trait Export {
    const NAME: &'static str;
    type Params<'a>: ComponentNamedList + Lower;
    type Return: ComponentNamedList + Lift + 'static;
}

/// An export whose types have been checked once, when the module was loaded, instead of in every instance.
pub(crate) struct Entry<E> {
    index: ComponentExportIndex,
    export: PhantomData<fn(E)>,
}

impl<E: Export> Entry<E> {
    pub(crate) fn find<T: 'static>(
        pre: &InstancePre<T>,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> Result<Self> {
        instance.get_typed_func::<E::Params<'static>, E::Return>(&mut *store, E::NAME)?;
        let index = pre.component().get_export_index(None, E::NAME);
        let index = index.ok_or_else(|| wasmtime::Error::msg("the export has gone"))?;
        Ok(Self { index, export: PhantomData })
    }

    pub(crate) fn call<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        params: E::Params<'_>,
    ) -> Result<E::Return> {
        // An index of another component finds nothing, so the function is the one whose types were checked.
        let function = instance.get_func(store.as_context_mut(), self.index);
        let function = function.ok_or_else(|| wasmtime::Error::msg("an export of another module"))?;
        // SAFETY: `new_unchecked` asks that the function has these types. `find` checked them for this component, and
        // how a type lies in memory does not depend on its lifetime.
        let function = unsafe { TypedFunc::<E::Params<'_>, E::Return>::new_unchecked(function) };
        function.call(store, params)
    }
}

/// Closes every descriptor but the three standard ones. For a process that has just started and has opened nothing: whatever
/// is open was inherited by oversight.
#[cfg(target_os = "linux")]
pub(crate) fn close_all_but_standard_streams() -> std::io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: no memory is touched. A descriptor that something in this process owned would be closed under it; the worker
    // calls this before it opens anything.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The processor time that this thread has taken so far.
#[cfg(unix)]
pub(crate) fn thread_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of the type that is written there. It fails for no clock that exists; the value would
    // then stay zero, which lets a call run on, within its fuel.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    std::time::Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time since this was first asked, where the system does not tell a thread's own.
#[cfg(not(unix))]
pub(crate) fn thread_time() -> std::time::Duration {
    use std::{sync::OnceLock, time::Instant};
    static FIRST: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "a deadline is time that passes")]
    FIRST.get_or_init(Instant::now).elapsed()
}
