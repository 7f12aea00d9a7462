//! Any teacher: a server, a GGUF file, or the programmatic one, behind the runtime's engine.
//!
//! A [`Teacher`] has a [`Seat`] for each thread of a [`Pool`], which appends each row before the next
//! task is begun, so that a stage that was cut off goes on where it stopped. [`Walk`] is what a
//! teacher needs beside a student's loop; [`ask`] wants a single reply. A [`TeacherTask`] is a
//! question with its answer.

mod ask;
mod config;
mod pool;
mod seat;
mod task;
mod walk;

pub use ask::{Draw, ask, instructed};
pub use config::{GgufConfig, ProgramConfig, TeacherConfig, Teaching};
pub use pool::{Done, Halt, Pool};
pub use seat::{Seat, Teacher, known};
pub use task::{Solution, TeacherTask, read_teacher_tasks};
pub use walk::{Walk, first_thought};
