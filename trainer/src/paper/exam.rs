//! The questions of a test family, put to a student.

use std::path::Path;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use rayon::prelude::*;
use retort::agent::{Budgets, Retriever, Run, Settings, Status};
use retort::cancel::Cancel;
use retort::corpus::Corpus;
use retort::engine::{
    Engine as _, Flow, ModelFile, SampleRequest, Sampling, WorkerEngine, WorkerSettings,
};
use retort::eval::score;
use retort::sandbox::Sandbox;
use retort_transcript::{Dialect, Passage, Transcript};

use super::cell::{Cell, Trained};
use super::config::PaperRecipe;
use super::lessons::{Regime, passages};
use super::rows::{Row, Student};
use crate::collect::chain_answer;
use crate::environment::NoCorpus;
use crate::environment::{Environment, index_world};
use crate::teach::with_passages;
use crate::world::{Family, Task};

/// How candidates are drawn for the vote: the paper's settings.
const VOTE: Sampling = Sampling::Nucleus { temperature: 0.4, top_p: 0.8 };
/// Several times the longest reply that anything is learnt from; an untrained student would go on.
const REPLY_TOKENS_MAX: u32 = 256;

/// A family with its corpus.
pub(super) struct Exam {
    pub family: Family,
    tasks: Vec<Task>,
    corpus: Option<Corpus>,
    _folder: tempfile::TempDir,
}

impl Exam {
    /// All families of a recipe.
    pub fn draw_all(recipe: &PaperRecipe) -> Result<Vec<Self>> {
        let draw = |family: Family| -> Result<Self> {
            let world = family.draw(&recipe.training_world(0), recipe.test_tasks)?;
            let folder = tempfile::tempdir().context("a temporary folder")?;
            let corpus = match world.documents.is_empty() {
                true => None,
                false => Some(index_world(&world, folder.path())?),
            };
            Ok(Self { family, tasks: world.test, corpus, _folder: folder })
        };
        Family::ALL.into_iter().map(draw).collect()
    }

    fn retriever(&self) -> &dyn Retriever {
        self.corpus.as_ref().map_or(&NoCorpus, |corpus| corpus)
    }
}

/// What a student did in a family.
#[derive(Default)]
struct Marks {
    right: usize,
    steps: usize,
    unparsed: usize,
    failed: usize,
}

/// Where students are asked.
pub(super) struct Hall<'a> {
    pub exams: &'a [Exam],
    pub dialect: &'a Dialect,
    pub sandbox: &'a Sandbox,
}

impl Hall<'_> {
    /// Puts all exams to the students of a cell, as many at once as there are threads.
    pub fn ask(
        &self,
        recipe: &PaperRecipe,
        cell: &Cell,
        trained: &Trained,
        bar: &ProgressBar,
    ) -> Result<Vec<Row>> {
        let students = Student::ALL.into_iter().filter(|student| student.regime() == cell.regime);
        let sittings: Vec<(Student, &Exam)> = students
            .flat_map(|student| self.exams.iter().map(move |exam| (student, exam)))
            .collect();
        let questions: usize = sittings.iter().map(|(_, exam)| exam.tasks.len()).sum();
        bar.set_length(questions as u64);
        bar.set_position(0);
        let size = cell.size(recipe)?;
        let key = recipe.key()?;
        let rows = sittings.into_par_iter().map(|(student, exam)| {
            let marks = self.sit(recipe, student, exam, &trained.gguf, bar)?;
            let Marks { right, steps, unparsed, failed } = marks;
            let (family, tasks) = (exam.family, exam.tasks.len());
            let (recipe, parameters, seed) = (key.clone(), trained.parameters, cell.seed);
            Ok(Row {
                recipe,
                student,
                size,
                parameters,
                seed,
                family,
                tasks,
                right,
                steps,
                unparsed,
                failed,
            })
        });
        rows.collect()
    }

    fn sit(
        &self,
        recipe: &PaperRecipe,
        student: Student,
        exam: &Exam,
        gguf: &Path,
        bar: &ProgressBar,
    ) -> Result<Marks> {
        let candidates_max = match student {
            Student::AgentPrefixVote => recipe.candidates,
            _ => 1,
        };
        let worker = WorkerSettings { threads: 1, candidates_max, ..WorkerSettings::default() };
        let mut engine = WorkerEngine::load(ModelFile::open(gguf)?, worker, Cancel::default())?;
        let mut marks = Marks::default();
        for task in &exam.tasks {
            match student.regime() {
                Regime::Cot => {
                    let answer = self.reply(&mut engine, &task.question, &[])?;
                    marks.right += usize::from(is_right(answer.as_deref(), task));
                }
                Regime::CotPassages => {
                    let shown = passages(exam.retriever(), &task.question, recipe.passages)?;
                    let answer = self.reply(&mut engine, &task.question, &shown)?;
                    marks.right += usize::from(is_right(answer.as_deref(), task));
                }
                Regime::Agent | Regime::AgentPrefix => {
                    let environment = Environment {
                        dialect: self.dialect,
                        sandbox: self.sandbox,
                        retriever: exam.retriever(),
                    };
                    let settings = settings(candidates_max);
                    let run = environment.run(&mut engine, &task.question, settings);
                    marks.count(&run.with_context(|| task.id.clone())?, task);
                }
            }
            bar.inc(1);
        }
        Ok(marks)
    }

    /// The answer of a chain of thought, drawn greedily.
    fn reply(
        &self,
        engine: &mut WorkerEngine,
        question: &str,
        passages: &[Passage],
    ) -> Result<Option<String>> {
        let asked = with_passages(self.dialect, question, passages, "");
        let asked = Transcript { steps: Vec::new(), ..asked };
        engine.prefill(&self.dialect.render_prompt(&asked))?;
        let request = SampleRequest {
            candidates: 1,
            sampling: Sampling::Greedy,
            seed: 0,
            stops: Vec::new(),
            reply_tokens_max: REPLY_TOKENS_MAX,
            wall_max: None,
        };
        let replies = engine.sample(&request, &mut |_, _| Flow::Continue)?;
        Ok(replies.first().and_then(|reply| chain_answer(&reply.text)))
    }
}

fn settings(candidates: u8) -> Settings {
    let sampling = if candidates > 1 { VOTE } else { Sampling::Greedy };
    let budgets = Budgets { reply_tokens_max: REPLY_TOKENS_MAX, ..Budgets::default() };
    Settings { candidates, sampling, budgets, ..Settings::default() }
}

impl Marks {
    fn count(&mut self, run: &Run, task: &Task) {
        let answer = run.answer.as_deref().filter(|_| run.status == Status::Answered);
        self.right += usize::from(is_right(answer, task));
        for step in &run.steps {
            let kind = step.error.as_ref().map(|error| error.kind.as_str());
            self.steps += 1;
            self.unparsed += usize::from(kind == Some("ParseError"));
            self.failed += usize::from(kind.is_some_and(|kind| kind != "ParseError"));
        }
    }
}

fn is_right(answer: Option<&str>, task: &Task) -> bool {
    answer.is_some_and(|answer| score(answer, std::iter::once(task.answer.as_str())).exact_match)
}
