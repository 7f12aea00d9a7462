//! The stage of filtering.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;
use serde_json::{Map, json};

use super::config::FilterConfig;
use super::judge::{Fell, Judge};
use super::table::Table;
use crate::environment::cache_dir;
use crate::hash::{file_sha256, sha256};
use crate::trajectory::{
    Manifest, Trajectory, manifest_path, read_trajectories, refuse_manifest, refuse_same,
    write_rows,
};

/// Writes the rows of `trajectories` that are kept to `out`, with a manifest; of those whose ids are
/// among `asked`, where that is given.
///
/// # Errors
/// A file that cannot be read or written, or a judge that cannot work.
pub fn filter_file(
    trajectories: &Path,
    out: &Path,
    config: &FilterConfig,
    asked: Option<&BTreeSet<String>>,
) -> Result<Table> {
    refuse_same(trajectories, out)?;
    refuse_manifest(out, "filter")?;
    let mut rows = read_trajectories(trajectories)?;
    let all = rows.len();
    rows.retain(|row| asked.is_none_or(|asked| asked.contains(&row.id)));
    if rows.len() < all {
        let left = all - rows.len();
        errln!("{left} of {all} rows left out: their questions are no tasks any more");
    }
    let sandbox = || Ok(Sandbox::open(&SandboxOptions { cache_dir: cache_dir() })?);
    let (kept, table) = filter(&rows, config, &sandbox)?;
    write_rows(out, kept.iter()).with_context(|| format!("{} cannot be written", out.display()))?;
    let mut made_by = Map::new();
    made_by.insert("trajectories".to_owned(), json!(file_sha256(trajectories)?));
    made_by.insert("filter".to_owned(), json!(config));
    if let Some(asked) = asked {
        made_by.insert("tasks".to_owned(), json!(sha256(json!(asked).to_string().as_bytes())));
    }
    let mut manifest = Manifest::new("filter", made_by);
    manifest.counts = table.json();
    manifest.complete = true;
    manifest.sha256 = Some(file_sha256(out)?);
    manifest.write(&manifest_path(out))?;
    Ok(table)
}

/// The rows that are kept, and the counts.
///
/// # Errors
/// An unknown dialect, or a judge that cannot work.
pub fn filter<'a>(
    rows: &'a [Trajectory],
    config: &FilterConfig,
    sandbox: &dyn Fn() -> Result<Sandbox>,
) -> Result<(Vec<&'a Trajectory>, Table)> {
    let mut judge = Judge::new(config, sandbox)?;
    let mut dialects: BTreeMap<&str, Dialect> = BTreeMap::new();
    let (mut kept, mut table, mut ids) = (Vec::new(), Table::default(), BTreeSet::new());
    let style = ProgressStyle::with_template("filtering {bar:30} {pos}/{len} rows {eta}")?;
    let bar = ProgressBar::new(rows.len() as u64).with_style(style);
    for row in rows {
        if !dialects.contains_key(row.dialect.as_str()) {
            let dialect = Dialect::named(&row.dialect);
            dialects.insert(&row.dialect, dialect.with_context(|| format!("row {:?}", row.id))?);
        }
        let Some(dialect) = dialects.get(row.dialect.as_str()) else { continue };
        let mut verdict = judge.verdict(row, dialect)?;
        if verdict.is_none() && !ids.insert(&row.id) {
            verdict = Some(Fell::Repeated);
        }
        table.add(row.kind.as_deref(), verdict);
        if verdict.is_none() {
            kept.push(row);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((kept, table))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filter::Right;
    use crate::remote::Spent;
    use crate::trajectory::{Mode, TRAJECTORY_VERSION};
    use retort_transcript::{Observation, Step, Transcript};

    fn row(id: &str, generated: &str, answer: &str) -> Trajectory {
        let reply = "I know.\n```py\nfinal_answer(1)\n```".to_owned();
        let steps = vec![Step { reply, observation: None }];
        Trajectory {
            version: TRAJECTORY_VERSION,
            id: id.to_owned(),
            kind: None,
            mode: Mode::Agent,
            question: "Q".to_owned(),
            answer: answer.to_owned(),
            aliases: Vec::new(),
            generated: Some(generated.to_owned()),
            status: "answered".to_owned(),
            forced: false,
            prefix: None,
            dialect: "retort".to_owned(),
            dialect_hash: String::new(),
            transcript: Transcript { question: "Q".to_owned(), steps, answer_requested: false },
            teacher: "t".to_owned(),
            spent: Spent::default(),
        }
    }

    fn rows() -> Vec<Trajectory> {
        let unanswered = Trajectory { generated: None, ..row("c", "", "Ada") };
        let forced = Trajectory { forced: true, ..row("d", "Ada", "Ada") };
        let mut unparsed = row("e", "Ada", "Ada");
        let message = "No code found.".to_owned();
        unparsed.transcript.steps[0].observation = Some(Observation::ParseError { message });
        let mut long = row("f", "Ada", "Ada");
        long.transcript.question = "Q".repeat(500);
        let alias = Trajectory { aliases: vec!["Ada L.".to_owned()], ..row("h", "ada l", "Ada") };
        let right = row("a", "the Ada", "Ada");
        vec![
            right.clone(),
            row("b", "Bob", "Ada"),
            unanswered,
            forced,
            unparsed,
            long,
            right,
            alias,
            row("i", "9^{9^{9^{9}}}", "2\\pi"),
        ]
    }

    fn no_sandbox() -> Result<Sandbox> {
        anyhow::bail!("nothing here needs algebra")
    }

    #[test]
    fn each_row_falls_for_one_reason() {
        let config = FilterConfig { characters_max: Some(400), ..FilterConfig::default() };
        let rows = rows();
        let sandbox = || Ok(Sandbox::open(&SandboxOptions::default())?);
        let (kept, table) = filter(&rows, &config, &sandbox).unwrap();
        let ids: Vec<&str> = kept.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["a", "h"]);
        let fell = &table.json()["fell"];
        for reason in Fell::ALL {
            assert_eq!(fell[reason.name()], json!(1), "{}", reason.name());
        }
        let shown = table.to_string();
        assert!(shown.contains("kept                                      2   22.2 %"), "{shown}");
    }

    #[test]
    fn rows_of_questions_that_are_no_longer_asked_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let [from, out] = ["rows.jsonl", "kept.jsonl"].map(|name| folder.path().join(name));
        write_rows(&from, [row("a", "Ada", "Ada"), row("b", "Bo", "Bo")].iter()).unwrap();
        let asked = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
        let table = filter_file(&from, &out, &FilterConfig::default(), Some(&asked)).unwrap();
        assert_eq!(table.kept(), 1);
        assert_eq!(read_trajectories(&out).unwrap()[0].id, "b");
    }

    #[test]
    fn what_is_right_can_be_chosen() {
        let kept = |right, generated: &str, answer: &str| {
            let config = FilterConfig { right, f1_min: 0.6, ..FilterConfig::default() };
            let rows = [row("a", generated, answer)];
            filter(&rows, &config, &no_sandbox).unwrap().1.kept() == 1
        };
        assert!(kept(Right::F1, "Ada Lovelace", "Ada"));
        assert!(!kept(Right::Exact, "Ada Lovelace", "Ada"));
        assert!(kept(Right::Auto, "\\boxed{1/2}", "0.5"));
        assert!(!kept(Right::Exact, "1/2", "0.5"));
        assert!(kept(Right::Exact, "-1.5", "15") && !kept(Right::Auto, "-1.5", "15"));
        assert!(!kept(Right::Math, "13", "12"));
    }

    #[test]
    fn tokens_need_a_tokenizer() {
        let config = FilterConfig { tokens_max: Some(9), ..FilterConfig::default() };
        let told = filter(&[], &config, &no_sandbox).unwrap_err().to_string();
        assert!(told.contains("filter.tokenizer"), "{told}");
    }
}
