//! One task, as a teacher does it.

use anyhow::Result;
use retort::agent::{Budgets, Retriever, Run, Settings};
use retort::engine::{Engine, Sampling};
use retort::sandbox::Sandbox;
use retort_transcript::{Dialect, Transcript};

use super::config::CollectConfig;
use super::cot::chain;
use super::words::{CHAIN, teacher_dialect, thought_label};
use crate::environment::Environment;
use crate::remote::Spent;
use crate::teachers::{Draw, Seat, TeacherTask, Walk, ask, first_thought, instructed, known};
use crate::trajectory::{Mode, TRAJECTORY_VERSION, Trajectory};

/// Everything that all tasks share.
pub struct Collector<'a> {
    /// How to collect.
    pub config: &'a CollectConfig,
    /// Seed.
    pub seed: u64,
    /// Where code runs.
    pub sandbox: &'a Sandbox,
    /// What is searched.
    pub retriever: &'a (dyn Retriever + Sync),
    /// The student's words.
    pub student: Dialect,
    /// The same with the teacher's own system prompt.
    pub acting: Dialect,
    /// The same with the instruction to think step by step.
    pub thinking: Dialect,
    /// Name of the teacher.
    pub teacher: String,
}

impl<'a> Collector<'a> {
    /// Words for `config`.
    ///
    /// # Errors
    /// An unknown dialect, or a system prompt that cannot be used.
    pub fn new(
        config: &'a CollectConfig,
        seed: u64,
        sandbox: &'a Sandbox,
        retriever: &'a (dyn Retriever + Sync),
        teacher: String,
        is_program: bool,
    ) -> Result<Self> {
        let student = Dialect::named(&config.dialect)?;
        // The programmatic teacher needs no telling.
        let acting = if is_program { student.clone() } else { teacher_dialect(config, &student)? };
        let thinking = instructed(&student, CHAIN)?;
        Ok(Self { config, seed, sandbox, retriever, student, acting, thinking, teacher })
    }

    /// Has the teacher do `task`.
    ///
    /// # Errors
    /// When the teacher failed: such a task has no row, and the next run tries it again.
    pub fn teach(&self, seat: &mut Seat<'_>, task: &TeacherTask) -> Result<Trajectory> {
        match self.config.mode {
            Mode::Agent => self.act(seat, task),
            Mode::Cot => self.think(seat, task),
        }
    }

    fn think(&self, seat: &mut Seat<'_>, task: &TeacherTask) -> Result<Trajectory> {
        let passages = self.config.cot_passages;
        let passages = (passages > 0).then_some((self.retriever as &dyn Retriever, passages));
        let mut spent = Spent::default();
        let (transcript, generated) = chain(&self.thinking, task, passages, |question| {
            if let Seat::Program = seat {
                return Ok(known(Some(task))?.chain.clone());
            }
            let (reply, counted) = seat.with_engine(Some(task), &self.thinking, |engine| {
                ask(engine, &self.thinking, question, self.draw(), &mut spent)
            })?;
            spent = counted.unwrap_or(spent);
            reply
        })?;
        let status = if generated.is_some() { "answered" } else { "budget_exhausted" };
        let row = self.row(task, transcript, spent);
        Ok(Trajectory { generated, status: status.to_owned(), ..row })
    }

    fn act(&self, seat: &mut Seat<'_>, task: &TeacherTask) -> Result<Trajectory> {
        let (prefix, mut spent) = self.prefix(seat, task)?;
        let mut walked = Spent::default();
        let (run, counted) = seat.with_engine(Some(task), &self.acting, |engine| {
            self.walk(engine, task, prefix.clone(), &mut walked)
        })?;
        spent.add(&counted.unwrap_or(walked));
        let run = run?;
        let row = self.row(task, run.transcript, spent);
        Ok(Trajectory {
            generated: run.answer,
            status: run.status.name().to_owned(),
            forced: run.forced,
            prefix,
            ..row
        })
    }

    fn walk(
        &self,
        engine: &mut dyn Engine,
        task: &TeacherTask,
        prefix: Option<String>,
        spent: &mut Spent,
    ) -> Result<Run> {
        let mut walk = Walk::new(engine, prefix);
        let environment =
            Environment { dialect: &self.acting, sandbox: self.sandbox, retriever: self.retriever };
        let run = environment.run(&mut walk, &task.question, self.settings());
        spent.add(&walk.spent);
        run
    }

    /// The first thought of the teacher's chain of thought about the bare question.
    fn prefix(&self, seat: &mut Seat<'_>, task: &TeacherTask) -> Result<(Option<String>, Spent)> {
        let mut spent = Spent::default();
        // The programmatic teacher begins its first thought with the prefix by itself.
        if !self.config.first_thought_prefix || matches!(seat, Seat::Program) {
            return Ok((None, spent));
        }
        let (chain, counted) = seat.with_engine(Some(task), &self.thinking, |engine| {
            ask(engine, &self.thinking, &task.question, self.draw(), &mut spent)
        })?;
        let prefix = first_thought(&thought_label(&self.student), &chain?);
        Ok((prefix, counted.unwrap_or(spent)))
    }

    fn row(&self, task: &TeacherTask, transcript: Transcript, spent: Spent) -> Trajectory {
        Trajectory {
            version: TRAJECTORY_VERSION,
            id: task.id.clone(),
            kind: task.kind.clone(),
            mode: self.config.mode,
            question: task.question.clone(),
            answer: task.answer.clone(),
            aliases: task.aliases.clone(),
            generated: None,
            status: String::new(),
            forced: false,
            prefix: None,
            dialect: self.student.name().to_owned(),
            dialect_hash: self.student.hash(),
            transcript,
            teacher: self.teacher.clone(),
            spent,
        }
    }

    fn sampling(&self) -> Sampling {
        let CollectConfig { temperature, top_p, .. } = *self.config;
        if temperature > 0.0 { Sampling::Nucleus { temperature, top_p } } else { Sampling::Greedy }
    }

    fn draw(&self) -> Draw {
        let reply_tokens_max = self.config.reply_tokens_max;
        Draw { sampling: self.sampling(), seed: self.seed, reply_tokens_max }
    }

    fn settings(&self) -> Settings {
        let budgets = Budgets {
            steps_max: self.config.steps_max,
            reply_tokens_max: self.config.reply_tokens_max,
            ..Budgets::default()
        };
        Settings {
            candidates: self.config.candidates,
            sampling: self.sampling(),
            seed: self.seed,
            passages_per_search: self.config.passages_per_search,
            budgets,
            ..Settings::default()
        }
    }
}
