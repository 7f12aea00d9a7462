//! The `retort` program.
fn main() {}
