//! (being built)
/// Placeholder.
pub struct Dialect;
/// Placeholder.
pub struct DialectError;
