//! What teachers did, as files: one row a task, beside them a manifest.
//!
//! [`Trajectory`] is our row; `published` reads and writes the format of the published
//! trajectories. A [`Journal`] appends rows durably and goes on where an earlier run stopped.

mod data;
mod import;
mod journal;
mod manifest;
mod merge;
mod observed;
mod published;
mod read;
mod row;
mod trl;

pub use data::{DataConfig, Split};
pub use import::{ExportArgs, ImportArgs, export, import};
pub use journal::{Journal, Keyed};
pub use manifest::{
    MANIFEST_FORMAT, Manifest, manifest_path, refuse_manifest, refuse_same, refuse_unknown_rows,
};
pub use merge::{MergeArgs, merge, merge_files};
pub use published::{PublishedError, from_published, to_published};
pub use read::{
    ReadError, read_collected, read_in, read_rows, read_trajectories, versioned, write_rows,
};
pub use row::{Mode, TRAJECTORY_VERSION, Trajectory};
pub use trl::{ExportTrlArgs, export_trl};
