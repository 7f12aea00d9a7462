//! The loop itself.

use std::time::Duration;

use retort_transcript::{Dialect, Segment};

use super::attempt::{Attempts, Chosen, tool_uses};
use super::budget;
use super::citations;
use super::own_calls::{Acting, OwnCalls};
use super::reading::Reading;
use super::replay::{RecordedRun, ReplayError, Replayed};
use super::state::{RunState, prompt_hash};
use super::toolbox::Toolbox;
use super::tools::StepTools;
use super::types::{Budget, Clock, Event, Retriever, Run, Settings, Sink, Status, StepReport};
use crate::cancel::Cancel;
use crate::engine::{Candidate, Engine, EngineError, Flow, Prefilled, SampleRequest, Stop};
use crate::sandbox::{Limits, PythonError, Sandbox, SandboxError, Seed, Session};

/// Everything a run needs, borrowed from whoever owns it.
pub struct Agent<'a> {
    /// The model.
    pub engine: &'a mut dyn Engine,
    /// Where code runs.
    pub sandbox: &'a Sandbox,
    /// What `search` searches.
    pub retriever: &'a dyn Retriever,
    /// The user's own tools.
    pub toolbox: &'a Toolbox,
    /// How the transcript becomes text.
    pub dialect: &'a Dialect,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Sampling and limits.
    pub settings: Settings,
    /// Ends the run from another thread.
    pub cancel: Cancel,
}

impl Agent<'_> {
    /// Takes `question` to one of the six ends.
    pub fn run(&mut self, question: &str, sink: &mut dyn Sink) -> Run {
        let mut state = RunState::new(question, self.clock.now());
        let unix_seconds = self.clock.unix_seconds();
        let started = Event::Started {
            question,
            model: self.engine.model(),
            settings: &self.settings,
            unix_seconds,
        };
        sink.event(&started);
        let session = self.session(question, unix_seconds);
        let status = session.and_then(|session| self.take_steps(&mut state, session, sink));
        self.end(state, status, sink)
    }

    /// Goes on after the last step of a run that was not taken to its end. Its steps are executed
    /// again from the record: no tool is called and the model is not asked. The settings are to be
    /// those of the record.
    ///
    /// # Errors
    /// [`ReplayError`], with the run as it was.
    pub fn resume(
        &mut self,
        recorded: &RecordedRun,
        sink: &mut dyn Sink,
    ) -> Result<Run, ReplayError> {
        let begun = self.clock.now();
        let replayed =
            Replayed::of(recorded, self.sandbox, self.toolbox, self.dialect, &self.cancel)?;
        if !replayed.differences.is_empty() {
            return Err(ReplayError::Differs(replayed.differences));
        }
        let mut state = RunState::new(&recorded.question, begun);
        for (report, step) in recorded.steps.iter().zip(replayed.transcript.steps) {
            state.push(report.clone(), step.observation, replayed.answer_json.clone());
        }
        state.forced = replayed.answer_was_requested;
        sink.event(&Event::Resumed { steps: state.steps.len() });
        let status = self.take_steps(&mut state, replayed.session, sink);
        Ok(self.end(state, status, sink))
    }

    /// Python as it stands before the first step.
    fn session(&self, question: &str, unix_seconds: i64) -> Result<Session, Status> {
        check_question(question, self.settings.budgets.question_bytes_max)?;
        let seed = Seed { random: self.settings.seed, unix_seconds };
        let mut session = self.sandbox.session(&seed).map_err(|e| sandbox_failed(&e))?;
        let defined = self.toolbox.define(&mut session, &self.cancel);
        defined.map_err(|error| sandbox_failed(&error))?;
        Ok(session)
    }

    /// Ok and Err are both ends; Err lets `?` leave early.
    fn take_steps(
        &mut self,
        state: &mut RunState,
        mut session: Session,
        sink: &mut dyn Sink,
    ) -> Result<Status, Status> {
        while !state.is_answered && !state.forced {
            if state.is_due_for_answer(&self.settings.budgets) {
                state.transcript.answer_requested = true;
                state.forced = true;
            }
            session = self.step(state, session, sink)?;
        }
        if state.is_answered || state.answer_from_text() {
            return Ok(Status::Answered);
        }
        state.forced = false;
        let budget = match (state.is_cut_off(), state.search_refused) {
            (true, _) => Budget::Tokens,
            (false, true) => Budget::Searches,
            (false, false) => Budget::Steps,
        };
        Ok(Status::BudgetExhausted { budget })
    }

    fn step(
        &mut self,
        state: &mut RunState,
        session: Session,
        sink: &mut dyn Sink,
    ) -> Result<Session, Status> {
        self.check_budgets(state)?;
        let index = u32::try_from(state.steps.len()).unwrap_or(u32::MAX);
        let prompt = self.dialect.render_prompt(&state.transcript);
        let prefilled = self.prefill(&prompt, state)?;
        let several = self.settings.candidates > 1;
        let acting = if several { Acting::AfterVote } else { Acting::Now };
        let told = state.steps.iter().map(|step| step.observation.clone()).collect();
        let Settings { passages_per_search, passage_tokens_max, .. } = self.settings;
        let mut tools = StepTools::new(
            self.retriever,
            Reading::new(self.dialect, told, passages_per_search, passage_tokens_max),
            self.clock,
            self.settings.budgets.searches_max.saturating_sub(state.usage.searches),
            OwnCalls::new(self.toolbox, state.has_read, acting),
        );
        let cancel = self.cancel.clone();
        let mut attempts = Attempts::new(self.dialect, &session, &cancel, acting);
        let room = self.room_tokens(prefilled);
        let replies = self.sample(index, room, state, &mut attempts, &mut tools)?;
        let (mut fuel, mut sandbox_seconds) = (attempts.fuel(), attempts.seconds());
        if self.cancel.is_cancelled() {
            return Err(Status::Cancelled);
        }
        let Some(mut chosen) = attempts.choose() else {
            self.check_budgets(state)?;
            return Err(Status::ModelError { reason: "the model gave no reply".to_owned() });
        };
        if let Some(acting) = chosen.again {
            tracing::debug!(?acting, "the chosen reply goes on from before: its action runs again");
            let limits = self.action_limits(state, fuel);
            let again = chosen.run_again(&session, &limits, &mut tools, &cancel);
            again.map_err(|error| sandbox_failed(&error))?;
            fuel += chosen.ran.as_ref().map_or(0, |(outcome, _)| outcome.fuel);
            sandbox_seconds += chosen.ran.as_ref().map_or(0.0, |(outcome, _)| outcome.seconds);
        }
        self.engine.keep(chosen.candidate).map_err(|error| engine_failed(error, state))?;
        let search_seconds = tools.search_time.as_secs_f64();
        state.seconds.search += search_seconds;
        state.seconds.sandbox += (sandbox_seconds - search_seconds).max(0.0);
        state.search_refused |= tools.refused;
        let report = report(&prompt, prefilled, &replies, &chosen, &tools);
        let observation = (!report.is_final).then(|| chosen.observation());
        let (answer_json, next) = match chosen.ran {
            Some((outcome, next)) => (outcome.answer_json, next),
            None => (None, None),
        };
        state.push(StepReport { index, fuel, ..report }, observation, answer_json);
        if let Some(report) = state.last_told(self.dialect) {
            sink.event(&Event::Step(report));
        }
        Ok(next.unwrap_or(session))
    }

    fn check_budgets(&self, state: &RunState) -> Result<(), Status> {
        if self.cancel.is_cancelled() {
            return Err(Status::Cancelled);
        }
        let elapsed = self.clock.now().saturating_sub(state.begun);
        match budget::spent(&self.settings.budgets, &state.usage, elapsed) {
            Some(budget) => Err(Status::BudgetExhausted { budget }),
            None => Ok(()),
        }
    }

    fn prefill(&mut self, prompt: &[Segment], state: &mut RunState) -> Result<Prefilled, Status> {
        let begun = self.clock.now();
        let prefilled = self.engine.prefill(prompt).map_err(|error| engine_failed(error, state))?;
        state.seconds.prefill += self.clock.now().saturating_sub(begun).as_secs_f64();
        Ok(prefilled)
    }

    /// Draws the candidates, which have `room` tokens together, and tries each as it ends.
    fn sample(
        &mut self,
        index: u32,
        room: u32,
        state: &mut RunState,
        attempts: &mut Attempts<'_>,
        tools: &mut StepTools<'_>,
    ) -> Result<Vec<Candidate>, Status> {
        let budgets = &self.settings.budgets;
        let wanted = self.settings.candidates.max(1);
        let (candidates, reply_tokens_max) = budget::draws(budgets, &state.usage, room, wanted);
        state.undrawn = u32::from(wanted - candidates);
        if state.undrawn > 0 {
            tracing::debug!("{room} tokens are left: {candidates} of {wanted} replies are drawn");
        }
        let request = SampleRequest {
            candidates,
            sampling: self.settings.sampling,
            seed: self.settings.seed.wrapping_add(u64::from(index)),
            stops: self.dialect.stops().to_vec(),
            reply_tokens_max,
            wall_max: Some(self.wall_left(state)),
        };
        let mut limits = self.action_limits(state, 0);
        let mut fuel_left = budgets.fuel_max.saturating_sub(state.usage.fuel);

        let begun = self.clock.now();
        let run_begun = state.begun;
        let mut trying = Duration::ZERO;
        let mut failure = None;
        let mut ended = 0;
        // Replies that found no room agree with nothing.
        let agreement_min = self.settings.min_agreement * f64::from(wanted) / f64::from(candidates);
        let (clock, wall_max) = (self.clock, budgets.wall_max);
        let action_wall = self.settings.action.wall;
        let replies = self.engine.sample(&request, &mut |candidate, reply| {
            let from = clock.now();
            limits.fuel_max = limits.fuel_max.min(fuel_left);
            let elapsed = from.saturating_sub(run_begun);
            limits.wall = action_wall.min(wall_max.saturating_sub(elapsed));
            let fuel_before = attempts.fuel();
            if let Err(error) = attempts.add(candidate, reply, &limits, tools) {
                failure = Some(error);
                return Flow::Stop;
            }
            fuel_left = fuel_left.saturating_sub(attempts.fuel() - fuel_before);
            trying += clock.now().saturating_sub(from);
            ended += 1;
            let remaining = usize::from(candidates).saturating_sub(ended);
            match attempts.is_decided(remaining, agreement_min) {
                true => Flow::Stop,
                false => Flow::Continue,
            }
        });
        let sampling = self.clock.now().saturating_sub(begun).saturating_sub(trying);
        state.seconds.decode += sampling.as_secs_f64();
        match failure {
            Some(error) => Err(sandbox_failed(&error)),
            None => replies.map_err(|error| engine_failed(error, state)),
        }
    }

    /// Tokens that the replies of a step may have together.
    fn room_tokens(&self, prefilled: Prefilled) -> u32 {
        let room = self.engine.model().context_tokens.saturating_sub(prefilled.prompt_tokens);
        match self.engine.shares_context() {
            true => room,
            false => room.saturating_mul(u32::from(self.settings.candidates)),
        }
    }

    fn wall_left(&self, state: &RunState) -> Duration {
        let elapsed = self.clock.now().saturating_sub(state.begun);
        self.settings.budgets.wall_max.saturating_sub(elapsed)
    }

    /// What the next action may use in a step that has used `fuel`.
    fn action_limits(&self, state: &RunState, fuel: u64) -> Limits {
        let budgets = &self.settings.budgets;
        let mut limits = self.settings.action.clone();
        limits.wall = limits.wall.min(self.wall_left(state));
        let used = state.usage.fuel.saturating_add(fuel);
        limits.fuel_max = limits.fuel_max.min(budgets.fuel_max.saturating_sub(used));
        limits
    }

    fn end(&self, state: RunState, status: Result<Status, Status>, sink: &mut dyn Sink) -> Run {
        let run = self.finish(state, status.unwrap_or_else(|end| end));
        sink.event(&Event::Ended(&run));
        run
    }

    fn finish(&self, state: RunState, status: Status) -> Run {
        let mut seconds = state.seconds;
        seconds.total = self.clock.now().saturating_sub(state.begun).as_secs_f64();
        let agreement = state.steps.last().map_or(0.0, |step| {
            let drawn = (step.candidates.sampled + state.undrawn).max(1);
            f64::from(step.candidates.agreed) / f64::from(drawn)
        });
        let abstained = state.answer.is_some() && agreement < self.settings.min_agreement;
        let given = |answer: &String| citations::supporting(state.citations, &state.steps, answer);
        let citations = state.answer.as_ref().map(given).unwrap_or_default();
        Run {
            question: state.transcript.question.clone(),
            transcript: state.transcript,
            status,
            answer: state.answer.filter(|_| !abstained),
            answer_json: state.answer_json.filter(|_| !abstained),
            forced: state.forced,
            agreement,
            abstained,
            citations,
            steps: state.steps,
            usage: state.usage,
            seconds,
            model: self.engine.model().clone(),
            seed: self.settings.seed,
        }
    }
}

/// What a step was, but for its place and its fuel.
fn report(
    prompt: &[Segment],
    prefilled: Prefilled,
    replies: &[Candidate],
    chosen: &Chosen,
    tools: &StepTools<'_>,
) -> StepReport {
    let outcome = chosen.ran.as_ref().map(|(outcome, _)| outcome);
    let (thought, code, parse_error) = match &chosen.action {
        Ok(action) => (action.thought.clone(), action.code.clone(), None),
        Err(message) => (String::new(), String::new(), Some(message)),
    };
    let error = outcome
        .and_then(|outcome| outcome.error.clone())
        .or_else(|| parse_error.map(|message| PythonError::parse_error(message)));
    let calls = outcome.map(|outcome| outcome.calls.as_slice()).unwrap_or_default();
    StepReport {
        prompt_sha256: prompt_hash(prompt),
        prompt_tokens: prefilled.prompt_tokens,
        reused_tokens: prefilled.reused_tokens,
        completion_tokens: replies.iter().map(|reply| reply.tokens).sum(),
        reply: replies.get(chosen.candidate).map(|reply| reply.text.clone()).unwrap_or_default(),
        replies: replies.iter().map(|reply| reply.text.clone()).collect(),
        chosen: chosen.candidate,
        is_cut_off: replies.get(chosen.candidate).is_some_and(|reply| reply.stop == Stop::Length),
        thought,
        code,
        logs: outcome.map(|outcome| outcome.logs.clone()).unwrap_or_default(),
        value: outcome.and_then(|outcome| outcome.value.clone()),
        error,
        limit: outcome.and_then(|outcome| outcome.limit),
        is_final: outcome.is_some_and(|outcome| outcome.is_final),
        answer: outcome.filter(|outcome| outcome.is_final).and_then(|o| o.answer.clone()),
        candidates: chosen.sampled,
        tool_calls: outcome.map(tool_uses).unwrap_or_default(),
        searches: tools.searches(),
        passages: tools.cited(calls),
        has_read: tools.has_read(calls),
        ..StepReport::default()
    }
}

fn check_question(question: &str, bytes_max: usize) -> Result<(), Status> {
    if question.trim().is_empty() {
        return Err(Status::BadRequest { reason: "the question is empty".to_owned() });
    }
    if question.len() > bytes_max {
        let bytes = question.len();
        let reason = format!("the question has {bytes} bytes, at most {bytes_max} are taken");
        return Err(Status::BadRequest { reason });
    }
    Ok(())
}

fn sandbox_failed(error: &SandboxError) -> Status {
    Status::Overloaded { reason: format!("the sandbox could not be made: {error}") }
}

/// A context that is full before the first step means the question is too long for the model.
fn engine_failed(error: EngineError, state: &RunState) -> Status {
    match error {
        EngineError::Cancelled => Status::Cancelled,
        EngineError::ContextFull { .. } if state.steps.is_empty() => {
            Status::BadRequest { reason: format!("the question is too long: {error}") }
        }
        EngineError::ContextFull { .. } => Status::BudgetExhausted { budget: Budget::Context },
        error => Status::ModelError { reason: error.to_string() },
    }
}
