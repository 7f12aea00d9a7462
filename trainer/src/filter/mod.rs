//! Which trajectories are worth learning from: those that end in the right answer, hold no reply
//! that could not be parsed, and are not too long. `retort-train filter` says how many fell, and why.
//!
//! `judge` decides on an answer, `math` whether two answers are equal as mathematics, `symbolic`
//! asks sympy in the sandbox where nothing simpler decides, `table` counts.

mod config;
mod judge;
mod latex;
mod math;
mod stage;
mod symbolic;
mod table;

pub use config::{FilterConfig, Right};
pub use judge::{Fell, Judge};
pub use latex::boxed;
pub use math::{Equality, equal, equal_numbers, has_same_signs};
pub use stage::filter_file;
pub use table::Table;
