//! The standard policy, whose terms are all settings: see `cases/defaults.toml`. What no setting can say is written as a policy of
//! its own: `proviso policy new --template blank`.
#![cfg_attr(target_arch = "wasm32", no_std)]

pub use policy_standard::*;
