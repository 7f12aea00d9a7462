//! The trainer: teach -> filter -> dataset -> train -> export -> quantise -> evaluate -> report.

pub mod teach;
pub mod world;
