//! The `retort-train` program.
fn main() {}
