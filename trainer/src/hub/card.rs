//! What a file is called, and the page that goes with it.

use std::fmt::Write as _;

use super::Checkpoint;
use crate::gguf::Labels;
use crate::model::{Layout, Shape};

/// Parameters in few letters, `494M`, as the GGUF naming convention has them.
#[must_use]
pub fn size_label(shape: &Shape) -> String {
    let parameters = Layout::new(shape).parameters as f64;
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")];
    let unit = units.into_iter().find(|(unit, _)| parameters >= *unit);
    let (unit, letter) = unit.unwrap_or((1e3, "K"));
    let count = parameters / unit;
    let digits = usize::from(count < 9.95);
    format!("{count:.digits$}{letter}")
}

/// The name of a file by the GGUF naming convention: `NAME-SIZE-VERSION-TYPE.gguf`, `-LoRA` behind
/// it for an adapter. A size in the name stays where it is, a version goes behind it.
#[must_use]
pub fn file_name(name: &str, size: &str, kind: &str, is_adapter: bool) -> String {
    let allowed = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '.' | '_');
    let name: String = name.chars().map(|own| if allowed(own) { own } else { '-' }).collect();
    let is_version =
        |part: &&str| part.strip_prefix('v').is_some_and(|rest| is_number(rest, str::is_empty));
    let parts = name.split('-').filter(|part| !part.is_empty());
    let (versions, mut parts): (Vec<&str>, Vec<&str>) = parts.partition(is_version);
    if !parts.iter().any(|part| is_number(part, |rest| matches!(rest, "K" | "M" | "B" | "T"))) {
        parts.push(size);
    }
    parts.extend([versions.last().copied().unwrap_or("v1.0"), kind]);
    parts.extend(is_adapter.then_some("LoRA"));
    parts.join("-") + ".gguf"
}

/// A decimal number, and behind it what `rest` takes.
fn is_number(text: &str, rest: impl Fn(&str) -> bool) -> bool {
    let end = text.find(|own: char| !own.is_ascii_digit() && own != '.').unwrap_or(text.len());
    let (number, behind) = text.split_at(end);
    number.parse::<f64>().is_ok() && rest(behind)
}

/// Where an adapter's updates are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Merged {
    /// In the weights of the base.
    Yes,
    /// In a file of their own.
    No,
}

/// What a model card says.
pub(super) struct Card<'a> {
    pub labels: &'a Labels,
    pub checkpoint: &'a Checkpoint,
    /// Name of the base.
    pub base: &'a str,
    /// Name of the adapter, and whether the base has it merged or it stands alone.
    pub adapter: Option<(&'a str, Merged)>,
    pub kind: &'a str,
    /// How the weights were rounded, if there is something to say.
    pub calibrated: &'a str,
    pub file: &'a str,
    pub sha256: &'a str,
    pub bytes: u64,
    /// A table of figures, if it was measured.
    pub figures: Option<&'a str>,
}

impl Card<'_> {
    /// The page, with the header that model hubs read.
    pub fn text(&self) -> String {
        let Labels { name, license, dialect, dialect_hash, .. } = self.labels;
        let shape = &self.checkpoint.shape;
        let (base, adapter) = (self.base, self.adapter);
        let is_alone = adapter.is_some_and(|(_, merged)| merged == Merged::No);
        let mut header = String::from("---\n");
        let mut text = format!("# {name}\n\n| | |\n|---|---|\n");
        let mut pair = |key: &str, said: &str, value: &str| {
            if !key.is_empty() {
                let _ = writeln!(header, "{key}: {}", serde_json::json!(value));
            }
            let _ = writeln!(text, "| {said} | {value} |");
        };
        if let Some(license) = license {
            pair("license", "licence", &license.to_lowercase());
        }
        pair("base_model", "base", base);
        match adapter {
            Some((name, Merged::Yes)) => pair("", "adapter, merged", name),
            Some((name, Merged::No)) => pair("", "adapter", name),
            None => {}
        }
        let (architecture, size) = (shape.architecture.name(), size_label(shape));
        let of_base = if is_alone { " of the base" } else { "" };
        pair("", "architecture", &format!("{architecture}, {size} parameters{of_base}"));
        pair("", "context", &format!("{} tokens", shape.context_tokens));
        let calibrated = self.calibrated;
        let comma = if calibrated.is_empty() { "" } else { ", " };
        pair("", "weights", &format!("{}{comma}{calibrated}", self.kind));
        if let (Some(dialect), Some(hash)) = (dialect, dialect_hash) {
            pair("", "dialect", &format!("{dialect} ({})", hash.get(..12).unwrap_or(hash)));
        }
        let (file, bytes, sha256) = (self.file, self.bytes, self.sha256);
        pair("", "file", &format!("`{file}`, {bytes} bytes, SHA-256 `{sha256}`"));
        if is_alone {
            pair("base_model_relation", "kind", "adapter");
        }
        header += "library_name: gguf\ntags: [\"retort\", \"agent\"]\n---\n";
        let figures = self.figures.map(|table| format!("\n## Figures\n\n{table}"));
        let figures = figures.unwrap_or_else(|| "\nIt was not measured.\n".to_owned());
        let files =
            if is_alone { format!("{base}.gguf --adapter {file}") } else { file.to_owned() };
        let used = format!("\n## Use\n\n```\nretort ask \"...\" --model {files}\n```\n");
        header + &text + &figures + &used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits_or_three() {
        let half = Shape::qwen2_half_billion();
        assert_eq!(size_label(&half), "494M");
        let small = Shape { layers: 1, ..Shape::small(1000) };
        let thousands = (Layout::new(&small).parameters as f64 / 1e3).round();
        assert_eq!(size_label(&small), format!("{thousands}K"));
    }

    #[test]
    fn files_are_named_by_the_convention() {
        let named = |name| file_name(name, "2.3M", "Q8_0", false);
        assert_eq!(named("my student"), "my-student-2.3M-v1.0-Q8_0.gguf");
        assert_eq!(named("Qwen2.5-0.5B-Instruct"), "Qwen2.5-0.5B-Instruct-v1.0-Q8_0.gguf");
        assert_eq!(named("../a/plant-7B-v0.3"), "..-a-plant-7B-v0.3-Q8_0.gguf");
        assert_eq!(named("my-v2-student"), "my-student-2.3M-v2-Q8_0.gguf");
        assert_eq!(file_name("tools", "7K", "F16", true), "tools-7K-v1.0-F16-LoRA.gguf");
    }
}
