//! stub
use super::context::Context; use super::setup::Setup; use crate::agent::{Event, Sink};
pub struct Journal; impl Journal { pub fn open(_: &Context, _: &Setup) -> Self { Self } pub fn run_id(&self) -> Option<&str> { None } }
impl Sink for Journal { fn event(&mut self, _: &Event<'_>) {} }
