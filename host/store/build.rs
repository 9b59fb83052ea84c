//! Builds the crate anew when a migration is added, since the migrations are compiled in.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
