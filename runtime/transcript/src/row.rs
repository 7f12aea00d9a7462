//! Transcripts as lines of a data set.

use serde::{Deserialize, Serialize};

use crate::types::Transcript;

/// Version of [`TranscriptRow`]; rows of another version are not this type.
pub const TRANSCRIPT_ROW_VERSION: u32 = 1;

/// One line of a JSON Lines file of transcripts. Extra fields in a line are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptRow {
    /// [`TRANSCRIPT_ROW_VERSION`] of the writer.
    pub version: u32,
    /// Identifies the task within its data set.
    pub id: String,
    /// Name of the dialect the replies are written in.
    pub dialect: String,
    /// [`Dialect::hash`](crate::Dialect::hash) at the time of writing.
    pub dialect_hash: String,
    /// What was asked, written and observed.
    pub transcript: Transcript,
}
