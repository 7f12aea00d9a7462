//! The parent's side: [`WorkerEngine`] keeps a worker process alive under a prompt.
//!
//! The parent knows the tokens of the context, so a worker that dies is started again, the
//! prefix replayed, and the operation repeated: sampling is a function of the request.

use std::path::PathBuf;
use std::time::Duration;

use retort_transcript::Segment;

use super::model_file::ModelFile;
use super::process::{Process, Trouble, unexpected};
use super::protocol::{PROTOCOL_VERSION, Reply, Request, SampledReply};
use super::tokenizer::Tokenizer;
use super::turns::Turns;
use super::{
    Candidate, Engine, EngineError, Flow, ModelInfo, Prefilled, SampleRequest, WorkerSettings,
};
use crate::cancel::Cancel;

/// Deaths within a minute, caused by the work, after which a model is given up.
const DEATHS_MAX: usize = 5;

/// Texts on which the parent's tokenizer must agree with llama.cpp's.
const PROBES: [&str; 6] = [
    "The bridge opened in 1836, didn't it?",
    "print(search(\"Heahi Bridge\"))\n\n  return 1_000.5 ",
    "final_answer(1836 - 1790)",
    "Zürich, 東京, naïve café \u{1F600}",
    "A\tB\r\n<b>&amp;</b>  C",
    "Title [1]: Born in 1902 [1].",
];

/// A model in a child process.
pub struct WorkerEngine {
    settings: WorkerSettings,
    file: ModelFile,
    tokenizer: Tokenizer,
    info: ModelInfo,
    cancel: Cancel,
    process: Option<Process>,
    /// Tokens of the context, as the worker holds them.
    context: Vec<u32>,
    /// Tokens that each candidate of the last sample would add.
    added: Vec<Vec<u32>>,
    deaths: Vec<std::time::Instant>,
}

impl WorkerEngine {
    /// Checks the model file and loads it in a worker.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for a file that is not a model this runtime loads.
    pub fn load(
        file: ModelFile,
        settings: WorkerSettings,
        cancel: Cancel,
    ) -> Result<Self, EngineError> {
        let refused = |reason: String| EngineError::Refused { path: file.display.clone(), reason };
        let tokenizer = match file.tokenizer_json() {
            Some(json) => {
                Tokenizer::from_json(&json).map_err(|error| refused(error.to_string()))?
            }
            None => Tokenizer::from_header(&file.header).map_err(|e| refused(e.to_string()))?,
        };
        let context_tokens = settings.context_tokens.min(file.family.context_tokens);
        let (name, sha256) = file.identity();
        if tokenizer.turns().is_none() {
            tracing::warn!(
                "{name} has no control tokens for the turns of a conversation ({}): it reads them as \
                 text, and may not end its replies",
                Turns::known()
            );
        }
        let info = ModelInfo { name, sha256, context_tokens };
        let mut engine = Self {
            settings,
            file,
            tokenizer,
            info,
            cancel,
            process: None,
            context: Vec::new(),
            added: Vec::new(),
            deaths: Vec::new(),
        };
        engine.with_worker(|_, _| Ok(()))?;
        Ok(engine)
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Process id of the live worker.
    #[must_use]
    pub fn worker_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Runs `work` with a live worker whose context equals `self.context`; repeats it with a new
    /// worker if the worker dies.
    fn with_worker<T>(
        &mut self,
        mut work: impl FnMut(&mut Process, &Cancel) -> Result<T, Trouble>,
    ) -> Result<T, EngineError> {
        loop {
            let cancel = self.cancel.clone();
            let attempt = self.live_worker().and_then(|process| work(process, &cancel));
            let death = match attempt {
                Ok(value) => return Ok(value),
                Err(Trouble::Engine(error)) => return Err(error),
                Err(Trouble::Died(death)) => death,
            };
            self.process = None;
            self.deaths.retain(|at| at.elapsed() < Duration::from_secs(60));
            self.deaths.push(std::time::Instant::now());
            let killed_from_outside = death.by_outside_signal;
            let tolerated = if killed_from_outside { 4 * DEATHS_MAX } else { DEATHS_MAX };
            if self.deaths.len() > tolerated || death.cannot_start {
                return Err(EngineError::WorkerDied(death.to_string()));
            }
            tracing::warn!(%death, "the worker ended; starting it again");
            let doublings = self.deaths.len().min(6) as u32 - 1;
            std::thread::park_timeout(Duration::from_millis(20 << doublings));
        }
    }

    fn live_worker(&mut self) -> Result<&mut Process, Trouble> {
        if self.process.is_none() {
            let process = self.start()?;
            self.process = Some(process);
        }
        self.process.as_mut().ok_or_else(|| {
            Trouble::Engine(EngineError::WorkerFailed("no worker process".to_owned()))
        })
    }

    fn start(&self) -> Result<Process, Trouble> {
        let mut process = Process::start(&self.settings).map_err(Trouble::Died)?;
        let probes: Vec<String> = PROBES.map(str::to_owned).to_vec();
        let load = Request::Load {
            version: PROTOCOL_VERSION,
            path: self.file.worker_path(),
            adapter: self.file.adapter.as_ref().map(|adapter| adapter.path.clone()),
            context_tokens: self.info.context_tokens,
            candidates_max: self.settings.candidates_max,
            threads: self.settings.threads,
            probes,
        };
        let reply = process.ask(&load, &self.cancel)?;
        let Reply::Loaded { probes, .. } = reply else { return Err(unexpected(&reply)) };
        self.compare_probes(&probes)?;
        if !self.context.is_empty() {
            let replay = Request::Extend { keep: 0, tokens: self.context.clone() };
            process.ask(&replay, &self.cancel)?;
        }
        Ok(process)
    }

    fn compare_probes(&self, theirs: &[Vec<u32>]) -> Result<(), Trouble> {
        for (probe, theirs) in PROBES.iter().zip(theirs) {
            let ours = self.tokenizer.encode_content(probe);
            if ours.as_ref() != Ok(theirs) {
                return Err(Trouble::Engine(EngineError::Refused {
                    path: self.file.display.clone(),
                    reason: format!(
                        "tokenizers and llama.cpp disagree on {probe:?} ({ours:?} and {theirs:?}); \
                         put the model's own tokenizer.json beside it, or take a wrong one away"
                    ),
                }));
            }
        }
        Ok(())
    }
}

fn candidate(reply: &SampledReply) -> Candidate {
    Candidate {
        text: String::from_utf8_lossy(&reply.text).into_owned(),
        tokens: reply.sampled,
        mean_logprob: reply.mean_logprob,
        stop: reply.stop,
    }
}

impl Engine for WorkerEngine {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn prefill(&mut self, prompt: &[Segment]) -> Result<Prefilled, EngineError> {
        let tokens = self
            .tokenizer
            .encode(prompt)
            .map_err(|error| EngineError::WorkerFailed(error.to_string()))?;
        let prompt_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        // A reply of one token is no reply: leave room for a short one.
        if prompt_tokens.saturating_add(16) > self.info.context_tokens {
            let context_tokens = self.info.context_tokens;
            return Err(EngineError::ContextFull { prompt_tokens, context_tokens });
        }
        let common = tokens.iter().zip(&self.context).take_while(|(a, b)| a == b).count();
        // The logits behind the last token are needed, so at least that one is decoded.
        let keep = common.min(tokens.len().saturating_sub(1));
        let new = tokens.get(keep..).unwrap_or_default().to_vec();
        let extend = Request::Extend { keep: keep as u32, tokens: new };
        let whole = Request::Extend { keep: 0, tokens: tokens.clone() };
        // What comes after it is gone, even if the rest is not decoded to its end.
        self.context.truncate(keep);
        let mut is_first = true;
        self.with_worker(|process, cancel| {
            let request = if std::mem::take(&mut is_first) { &extend } else { &whole };
            match process.ask(request, cancel)? {
                Reply::Extended => Ok(()),
                other => Err(unexpected(&other)),
            }
        })?;
        self.context = tokens;
        Ok(Prefilled { prompt_tokens, reused_tokens: keep as u32 })
    }

    fn sample(
        &mut self,
        request: &SampleRequest,
        finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError> {
        let candidates = request.candidates.clamp(1, self.settings.candidates_max);
        let message = Request::Sample {
            candidates,
            sampling: request.sampling,
            seed: request.seed,
            stops: request.stops.clone(),
            reply_tokens_max: request.reply_tokens_max,
            wall_max: request.wall_max,
        };
        let mut replies: Vec<Option<SampledReply>> = vec![None; usize::from(candidates)];
        let mut flow = Flow::Continue;
        self.with_worker(|process, cancel| {
            let mut answer = process.ask(&message, cancel)?;
            loop {
                match answer {
                    Reply::Finished { candidate: index, reply } => {
                        let slot = replies.get_mut(usize::from(index));
                        // A repeated sample after a death is the same: tell of each reply once.
                        if let Some(slot) = slot.filter(|slot| slot.is_none()) {
                            flow = finished(usize::from(index), &candidate(&reply));
                            *slot = Some(reply);
                        }
                        let proceed = flow == Flow::Continue;
                        answer = process.ask(&Request::Proceed { proceed }, cancel)?;
                    }
                    Reply::Sampled { dropped } => {
                        for (index, reply) in dropped {
                            if let Some(slot) = replies.get_mut(usize::from(index)) {
                                *slot = Some(reply);
                            }
                        }
                        return Ok(());
                    }
                    other => return Err(unexpected(&other)),
                }
            }
        })?;
        let replies: Option<Vec<SampledReply>> = replies.into_iter().collect();
        let replies = replies.ok_or_else(|| {
            EngineError::WorkerFailed("the worker did not report every reply".to_owned())
        })?;
        self.added = replies.iter().map(|reply| reply.tokens.clone()).collect();
        Ok(replies.iter().map(candidate).collect())
    }

    fn keep(&mut self, candidate: usize) -> Result<(), EngineError> {
        let added = self.added.get(candidate).cloned().unwrap_or_default();
        self.added.clear();
        let request = Request::Keep { candidate: u8::try_from(candidate).unwrap_or(u8::MAX) };
        let mut is_first = true;
        let mut lost = false;
        self.with_worker(|process, cancel| {
            // A new worker has the prefix but no candidates; the next prefill decodes the reply.
            if !std::mem::take(&mut is_first) {
                lost = true;
                return Ok(());
            }
            match process.ask(&request, cancel)? {
                Reply::Kept => Ok(()),
                other => Err(unexpected(&other)),
            }
        })?;
        if !lost {
            self.context.extend(added);
        }
        Ok(())
    }
}

/// Writes a quantised copy of a model file, in a worker of its own. `importance` says how much each
/// column of a matrix weighs, by the matrix' name; where it says nothing, all weigh the same.
///
/// # Errors
/// llama.cpp's words, or the worker's death.
pub fn quantise(
    from: &std::path::Path,
    to: &std::path::Path,
    kind: &str,
    importance: Vec<(String, Vec<f32>)>,
    settings: &WorkerSettings,
) -> Result<(), EngineError> {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let request = Request::Quantise {
        version: PROTOCOL_VERSION,
        from: text(from),
        to: text(to),
        kind: kind.to_owned(),
        importance,
        threads: settings.threads,
    };
    let ask = || match Process::start(settings)
        .map_err(Trouble::Died)?
        .ask(&request, &Cancel::default())?
    {
        Reply::Quantised => Ok(()),
        other => Err(unexpected(&other)),
    };
    ask().map_err(|trouble| match trouble {
        Trouble::Engine(error) => error,
        Trouble::Died(death) => EngineError::WorkerDied(death.to_string()),
    })
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            command: std::env::current_exe().map_or_else(|_| vec![], |path| vec![path]),
            context_tokens: 8192,
            candidates_max: 8,
            threads: std::thread::available_parallelism()
                .map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(1)),
            silence_max: Duration::from_secs(120),
        }
    }
}

impl WorkerSettings {
    /// With another program as the worker (a launcher may stand before it).
    #[must_use]
    pub fn with_command(mut self, command: Vec<PathBuf>) -> Self {
        self.command = command;
        self
    }

    /// With a program before the worker's, such as an emulator; blanks separate its arguments.
    #[must_use]
    pub fn with_launcher(mut self, launcher: &str) -> Self {
        self.command.splice(0..0, launcher.split_whitespace().map(PathBuf::from));
        self
    }
}
