//! stub
#![allow(missing_docs)]
use std::path::PathBuf; use std::time::Duration; use serde::{Serialize,Deserialize}; use crate::cancel::Cancel;
#[derive(Clone)] pub struct Sandbox; pub struct SandboxOptions { pub cache_dir: Option<PathBuf> }
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct SandboxError;
impl Sandbox { pub fn open(_: &SandboxOptions) -> Result<Sandbox, SandboxError> {Err(SandboxError)} pub fn session(&self, _: &Seed) -> Result<Session, SandboxError> {Err(SandboxError)} }
#[derive(Default)] pub struct Seed { pub random: u64, pub unix_seconds: i64 }
pub struct Session;
impl Session { pub fn fork(&self) -> Result<Session, SandboxError>{Err(SandboxError)} pub fn run(&mut self, _: &str, _: &Limits, _: &mut dyn Host, _: &Cancel) -> Outcome {Outcome::default()} }
pub trait Host { fn call(&mut self, tool: &str, arguments: &serde_json::Value) -> Result<serde_json::Value, String>; }
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)] pub struct Limits { pub wall: Duration, pub fuel_max: u64, pub memory_bytes_max: u64, pub output_bytes_max: u64, pub host_calls_max: u32, pub query_bytes_max: u64, pub source_bytes_max: u64 }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)] #[serde(rename_all="snake_case")] pub enum Limit { Fuel }
impl std::fmt::Display for Limit { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f,"x") } }
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)] pub struct PythonError { pub kind: String, pub message: String, pub line: Option<u32>, pub source_line: Option<String> }
#[derive(Clone, Debug, Default)] pub struct Outcome { pub logs: String, pub value: Option<String>, pub assigned: Option<String>, pub is_final: bool, pub answer: Option<String>, pub answer_json: Option<serde_json::Value>, pub error: Option<PythonError>, pub limit: Option<Limit>, pub fuel: u64, pub seconds: f64, pub memory_bytes: u64, pub calls: Vec<ToolCall> }
#[derive(Clone, Debug)] pub struct ToolCall { pub name: String, pub arguments: serde_json::Value, pub result: Result<String, String> }
