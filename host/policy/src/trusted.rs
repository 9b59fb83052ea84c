//! The only hand-written unsafe code of the workspace: two promises to wasmtime that the compiler cannot check.
#![allow(unsafe_code)]

use crate::sandbox::Guest;
use std::marker::PhantomData;
use wasmtime::{
    AsContextMut, Engine, Result, Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc,
    },
};

/// Native code that this process's own compiler made: it came from the compiler itself, or from the cache after its
/// MAC was verified. Building one from other bytes would be a lie; only `compile` and `cache` do it.
pub(crate) struct Artifact(Vec<u8>);

impl Artifact {
    pub(crate) fn vouch_for(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Loads the code. The bytes are those that were vouched for, in memory: no file can change under them.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: `deserialize` asks that the bytes are what `precompile_component` returned, unmodified. That is what
        // an `Artifact` stands for. Code of another version or configuration is refused by wasmtime itself.
        unsafe { Component::deserialize(engine, &self.0) }
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
    pub(crate) fn find(
        pre: &InstancePre<Guest>,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> Result<Self> {
        instance.get_typed_func::<E::Params<'static>, E::Return>(&mut *store, E::NAME)?;
        let index = pre.component().get_export_index(None, E::NAME);
        let index = index.ok_or_else(|| wasmtime::Error::msg("the export has gone"))?;
        Ok(Self { index, export: PhantomData })
    }

    pub(crate) fn call(
        &self,
        store: &mut Store<Guest>,
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
