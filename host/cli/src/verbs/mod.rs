//! One file, or folder, for each verb.

pub mod archive;
pub mod compile_worker;
pub mod copy;
pub mod demo;
pub mod policy;
pub mod serve;
pub mod verify;
