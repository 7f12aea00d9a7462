//! llama.cpp, as the worker uses it. The only file that names `llama_cpp_2`.
#![allow(unsafe_code)] // `quantise` and `compiled_for` call C functions that llama_cpp_2 does not wrap.

use std::cell::RefCell;
use std::ffi::CString;
use std::num::NonZeroU32;
use std::ptr::null;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};
use llama_cpp_sys_2 as sys;

/// Prompt tokens decoded in one batch; between batches a cancel is seen.
const BATCH_TOKENS: usize = 256;

/// A loaded model.
pub struct Model {
    backend: LlamaBackend,
    model: LlamaModel,
    adapter: Option<RefCell<LlamaLoraAdapter>>,
}

/// Tokens in the cache, and the logits behind the last of them. Sequence 0 is the context,
/// sequence `i + 1` candidate `i`.
pub struct Context<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    logits: Vec<f32>,
    length: u32,
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Model {
    /// Loads a GGUF file, and a LoRA adapter to lay over it.
    ///
    /// # Errors
    /// llama.cpp's words.
    pub fn load(path: &str, adapter: Option<&str>) -> Result<Self, String> {
        send_logs_to_tracing(LogOptions::default());
        let backend = LlamaBackend::init().map_err(said)?;
        let mut model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default())
            .map_err(said)?;
        let adapter = adapter.map(|path| {
            let loaded = model.lora_adapter_init(path);
            loaded.map(RefCell::new).map_err(|error| format!("{path}: {error}"))
        });
        Ok(Self { backend, model, adapter: adapter.transpose()? })
    }

    /// A context of `context_tokens` over all sequences.
    ///
    /// # Errors
    /// llama.cpp's words.
    pub fn context(
        &self,
        context_tokens: u32,
        candidates_max: u8,
        threads: u16,
    ) -> Result<Context<'_>, String> {
        let sequences = u32::from(candidates_max) + 1;
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(context_tokens))
            .with_n_batch(BATCH_TOKENS as u32)
            .with_n_ubatch(BATCH_TOKENS as u32)
            .with_n_seq_max(sequences)
            .with_kv_unified(true)
            .with_n_threads(i32::from(threads))
            .with_n_threads_batch(i32::from(threads));
        let mut context = self.model.new_context(&self.backend, params).map_err(said)?;
        if let Some(adapter) = &self.adapter {
            context.lora_adapter_set(&mut adapter.borrow_mut(), 1.0).map_err(said)?;
        }
        let batch = LlamaBatch::new(BATCH_TOKENS, 1);
        Ok(Context { context, batch, logits: Vec::new(), length: 0 })
    }

    /// Tokens in the vocabulary.
    pub fn vocabulary(&self) -> u32 {
        u32::try_from(self.model.n_vocab()).unwrap_or(0)
    }

    /// Token ids of `text` as content: no special token is recognised or added.
    pub fn tokenise(&self, text: &str) -> Vec<u32> {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), false, false);
        tokens.into_iter().map(|token| u32::try_from(token.0).unwrap_or(u32::MAX)).collect()
    }

    /// The bytes a token stands for; none for a control token.
    pub fn piece(&self, token: u32) -> Vec<u8> {
        self.model.vocab().token_to_piece(llama_token(token), false, None)
    }

    /// Whether a token ends a turn. A student has no business with other control tokens either.
    pub fn ends_turn(&self, token: u32) -> bool {
        let (vocab, token) = (self.model.vocab(), llama_token(token));
        vocab.is_eog(token) || vocab.is_control(token)
    }
}

fn llama_token(token: u32) -> LlamaToken {
    LlamaToken(i32::try_from(token).unwrap_or(i32::MAX))
}

impl Context<'_> {
    /// Tokens in sequence 0.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Logits behind the last token of sequence 0; one per token of the vocabulary.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Keeps the first `keep` tokens and decodes `tokens` behind them. `go_on` is asked between
    /// batches.
    ///
    /// # Errors
    /// llama.cpp's words; `None` when `go_on` said no.
    pub fn extend(
        &mut self,
        keep: u32,
        tokens: &[u32],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Option<String>> {
        self.drop_from(0, keep).map_err(Some)?;
        self.length = keep;
        for chunk in tokens.chunks(BATCH_TOKENS) {
            if !go_on() {
                return Err(None);
            }
            self.batch.clear();
            for (offset, token) in chunk.iter().enumerate() {
                let is_last = offset + 1 == chunk.len();
                self.add(*token, self.length + offset as u32, 0, is_last).map_err(Some)?;
            }
            self.context.decode(&mut self.batch).map_err(|error| Some(said(error)))?;
            self.length += chunk.len() as u32;
            let last = self.batch.n_tokens() - 1;
            self.logits.clear();
            self.logits.extend_from_slice(self.context.get_logits_ith(last));
        }
        Ok(())
    }

    /// Shares the context with `candidates` sequences.
    ///
    /// # Errors
    /// llama.cpp's words.
    pub fn branch(&mut self, candidates: u8) -> Result<(), String> {
        for candidate in 0..candidates {
            let sequence = i32::from(candidate) + 1;
            self.drop_from(sequence, 0)?;
            self.context.kv_cache_seq_cp(0, sequence, None, None).map_err(said)?;
        }
        Ok(())
    }

    /// Decodes one token for each of several candidates: `(candidate, token, position)`.
    ///
    /// # Errors
    /// llama.cpp's words.
    pub fn step(&mut self, tokens: &[(u8, u32, u32)]) -> Result<(), String> {
        self.batch.clear();
        for (candidate, token, position) in tokens {
            self.add(*token, *position, i32::from(*candidate) + 1, true)?;
        }
        self.context.decode(&mut self.batch).map_err(said)
    }

    /// Logits of the `index`-th token of the last [`Self::step`].
    pub fn step_logits(&self, index: usize) -> &[f32] {
        i32::try_from(index).map_or(&[], |index| self.context.get_logits_ith(index))
    }

    /// Makes a candidate's `length` tokens the context and drops all others.
    ///
    /// # Errors
    /// llama.cpp's words.
    pub fn keep(&mut self, candidate: u8, length: u32, candidates: u8) -> Result<(), String> {
        self.drop_from(0, 0)?;
        self.context.kv_cache_seq_cp(i32::from(candidate) + 1, 0, None, None).map_err(said)?;
        for other in 0..candidates {
            self.drop_from(i32::from(other) + 1, 0)?;
        }
        self.length = length;
        Ok(())
    }

    fn drop_from(&mut self, sequence: i32, position: u32) -> Result<(), String> {
        self.context.kv_cache_seq_rm(sequence, Some(position), None).map_err(said)
    }

    fn add(
        &mut self,
        token: u32,
        position: u32,
        sequence: i32,
        logits: bool,
    ) -> Result<(), String> {
        let position = i32::try_from(position).map_err(said)?;
        self.batch.add(llama_token(token), position, &[sequence], logits).map_err(said)
    }
}

/// Names of the quantisations offered, as GGUF files call them.
pub const QUANTISATIONS: [(&str, sys::llama_ftype); 6] = [
    ("F16", sys::LLAMA_FTYPE_MOSTLY_F16),
    ("Q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
    ("Q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
    ("Q4_K_M", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
    ("Q5_K_M", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
    ("Q6_K", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
];

/// Writes a quantised copy of the model file `from` to `to`, with more care for inputs that weigh
/// more by `importance`: a matrix' name, and a number for each of its columns.
///
/// # Errors
/// An unknown `kind`, or llama.cpp's status.
pub fn quantise(
    from: &str,
    to: &str,
    kind: &str,
    importance: &[(String, Vec<f32>)],
    threads: u16,
) -> Result<(), String> {
    let names = QUANTISATIONS.map(|(name, _)| name).join(", ");
    let (_, ftype) = QUANTISATIONS
        .into_iter()
        .find(|(name, _)| *name == kind)
        .ok_or_else(|| format!("unknown quantisation {kind}, expected one of {names}"))?;
    send_logs_to_tracing(LogOptions::default());
    let _backend = LlamaBackend::init().map_err(said)?;
    let (c_from, c_to) = (CString::new(from).map_err(said)?, CString::new(to).map_err(said)?);
    let names = importance.iter().map(|(name, _)| CString::new(name.as_str()));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(said)?;
    let entries = names.iter().zip(importance).map(|(name, (_, values))| (name.as_ptr(), values));
    let entry = |(name, values): (_, &Vec<f32>)| sys::llama_model_imatrix_data {
        name,
        data: values.as_ptr(),
        size: values.len(),
    };
    // A null name ends the list.
    let end = sys::llama_model_imatrix_data { name: null(), data: null(), size: 0 };
    let list: Vec<_> = entries.map(entry).chain([end]).collect();
    // SAFETY: the function takes no pointer but the two strings and the list with its names and
    // values, all of which live until it returns, and the parameters, which start from llama.cpp's
    // own defaults (all optional pointers null).
    let status = unsafe {
        let mut params = sys::llama_model_quantize_default_params();
        params.ftype = ftype;
        params.nthread = i32::from(threads);
        if !importance.is_empty() {
            params.imatrix = list.as_ptr();
        }
        sys::llama_model_quantize(c_from.as_ptr(), c_to.as_ptr(), &raw const params)
    };
    if status == 0 { Ok(()) } else { Err(format!("quantising {from} failed with status {status}")) }
}

/// Instructions beyond 64-bit ARM's first version that the kernels were compiled to use.
#[cfg(target_arch = "aarch64")]
pub struct CompiledFor {
    /// Dot products of bytes (ARMv8.2).
    pub dotprod: bool,
    /// Arithmetic in half precision (ARMv8.2).
    pub fp16: bool,
    /// Matrix products of bytes (ARMv8.6).
    pub i8mm: bool,
    /// Scalable vectors.
    pub sve: bool,
}

/// What the kernels were compiled to use, in their own words.
#[cfg(target_arch = "aarch64")]
pub fn compiled_for() -> CompiledFor {
    // SAFETY: the functions take nothing, touch no state and return a constant that the C compiler
    // set; they may be called before the library is initialised.
    unsafe {
        CompiledFor {
            dotprod: sys::ggml_cpu_has_dotprod() != 0,
            fp16: sys::ggml_cpu_has_fp16_va() != 0,
            i8mm: sys::ggml_cpu_has_matmul_int8() != 0,
            sve: sys::ggml_cpu_has_sve() != 0,
        }
    }
}
