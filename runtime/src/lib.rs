//! Retort: an agent runtime for small boards. See `docs/ARCHITECTURE.md` for the map.

pub use retort_transcript as transcript;

pub mod agent;
pub mod bundled;
pub mod cancel;
pub mod cli;
pub mod corpus;
pub mod engine;
pub mod eval;
pub mod profile;
pub mod sandbox;
pub mod store;
