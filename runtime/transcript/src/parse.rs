//! (being built)
/// Placeholder.
pub struct ParseError;
