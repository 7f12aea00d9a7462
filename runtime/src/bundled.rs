//! What is part of the program: the student and the demo corpus.

use crate::engine::{EngineError, ModelFile};

#[cfg(feature = "bundled-student")]
const STUDENT: &[u8] = include_bytes!("../../models/student.gguf");

/// The bundled student's manifest, and how messages name it.
pub const STUDENT_MANIFEST: &str = include_str!("../../models/student.toml");
/// See [`STUDENT_MANIFEST`].
pub const STUDENT_MANIFEST_PATH: &str = "models/student.toml";

/// Documents of the demo corpus, JSON Lines of `{id, title, text}`.
pub const DEMO_CORPUS: &[u8] = include_bytes!("../../models/demo/corpus.jsonl");

/// The bundled student.
///
/// # Errors
/// When the program was built without it.
#[cfg(feature = "bundled-student")]
pub fn student() -> Result<ModelFile, EngineError> {
    ModelFile::embedded("student", STUDENT)
}

/// The bundled student.
///
/// # Errors
/// When the program was built without it.
#[cfg(not(feature = "bundled-student"))]
pub fn student() -> Result<ModelFile, EngineError> {
    Err(EngineError::Refused {
        path: "the bundled model".to_owned(),
        reason: "this program was built without one: name a GGUF file with --model".to_owned(),
    })
}
