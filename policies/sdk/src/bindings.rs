//! The types and exports of `wit/v1`, generated. In: the frozen interface. Out: plain records that the rest of the
//! sdk gives methods to. Nothing here is written by hand.
#![allow(unsafe_code, missing_docs, unused_qualifications, clippy::all, clippy::indexing_slicing)]
#![allow(unreachable_pub)]

wit_bindgen::generate!({
    path: "../../wit/v1",
    world: "policy",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "::proviso_sdk::bindings",
    additional_derives: [PartialEq, Eq],
    generate_all,
});
