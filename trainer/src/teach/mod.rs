//! The programmatic teacher: it answers a world's tasks by acting, so that a student can learn to.
//!
//! [`next_action`] is a pure policy: it knows the [`Plan`](crate::world::Plan) of a task, which
//! names only what the question names, and reads everything else from the observations, in the
//! text in which the dialect shows them. [`TeacherEngine`] puts the policy into the place of a
//! model, so that the runtime's own loop, sandbox and corpus make the trajectories. [`Slips`] make
//! it wrong at a stated rate, [`explain`] solves a task in prose without acting, and drills are short
//! exercises for the skills that a trace asks for.

mod brief;
mod drill;
mod engine;
mod explain;
mod finish;
mod policy;
mod reading;
mod slip;

#[cfg(test)]
mod tests;

pub use drill::{Drill, DrillSource};
pub use engine::{Slips, TeacherEngine, check_dialect};
pub use explain::{explain, with_passages};
pub use policy::{Manner, TeachError, first_search_missed, next_action};
