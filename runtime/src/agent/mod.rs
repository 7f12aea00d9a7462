//! The loop: prompt -> sample -> fork, try, vote -> observe, until `final_answer(x)`.
//!
//! [`Agent::run`] takes a question to exactly one of six ends ([`Status`]). Model, sandbox,
//! retriever, clock and event sink are passed in; the loop does no I/O of its own, and knows
//! neither files nor the store: what happens is told to a [`Sink`].
//!
//! A [`Toolbox`] holds the user's tools; [`OwnCalls`] has the rules for those that act.
//! [`replay`] executes a recorded run again without its model, [`Agent::resume`] goes on with one.
//!
//! Self-consistent action generation follows arXiv 2505.17612 section 3 with one change: every
//! candidate runs in a fork of the state, and the winner's fork *becomes* the state.

mod attempt;
mod bindings;
mod budget;
mod citations;
mod corpus;
mod own_calls;
mod reading;
mod replay;
mod run;
mod state;
mod toolbox;
mod tools;
mod types;
mod vote;

pub use own_calls::{Acting, OwnCalls};
pub use replay::{Difference, RecordedRun, ReplayError, replay};
pub use run::Agent;
pub use toolbox::{Tool, Toolbox};
pub use types::{
    Budget, Budgets, Citation, Clock, Event, Retrieved, Retriever, RetrieverError, Run, Sampled,
    Seconds, Settings, Sink, Status, StepReport, SystemClock, ToolUse, Usage,
};
