//! Replies that come piece by piece: server-sent events (WHATWG HTML, section 9.2).

use std::io::{BufRead, ErrorKind, Read as _};

use retort::engine::Stop;

use super::error::CallError;
use super::wire::{self, Completion, RawAnswer, RawUsage, Reply};

/// Bytes of one line at most.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all replies at most.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// Replies of a request at most.
const CHOICES_MAX: usize = 256;

/// A stream as far as it came.
#[derive(Debug, Default)]
pub struct Stream {
    choices: Vec<Choice>,
    usage: Option<RawUsage>,
    bytes: usize,
    done: bool,
}

#[derive(Clone, Debug, Default)]
struct Choice {
    text: String,
    stop: Option<Stop>,
}

impl Stream {
    /// Bytes of all pieces so far: what a broken stream has cost.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// [`CallError::Broken`] when it ends before the replies do, [`CallError::TimedOut`] when it
    /// falls silent, [`CallError::Garbage`] when it is none, or what the server told.
    pub fn read(&mut self, source: &mut dyn BufRead) -> Result<(), CallError> {
        let mut data = String::new();
        while !self.done {
            let line = next_line(source)?;
            match line.as_deref() {
                // An event ends at an empty line, and the last one with the stream.
                None | Some("") if !data.is_empty() => self.event(&std::mem::take(&mut data))?,
                Some(line) => {
                    if let Some(value) = line.strip_prefix("data:") {
                        let separator = if data.is_empty() { "" } else { "\n" };
                        data += separator;
                        data += value.strip_prefix(' ').unwrap_or(value);
                    }
                }
                None => {}
            }
            if line.is_none() {
                break;
            }
        }
        self.check_end()
    }

    /// The replies.
    ///
    /// # Errors
    /// [`CallError::Garbage`] when there are none.
    pub fn completion(self) -> Result<Completion, CallError> {
        let replies: Vec<Reply> = self
            .choices
            .into_iter()
            .map(|choice| Reply { text: choice.text, stop: choice.stop.unwrap_or(Stop::End) })
            .collect();
        if replies.is_empty() {
            return Err(CallError::Garbage("a stream without a reply".to_owned()));
        }
        Ok(Completion { replies, tokens: self.usage.and_then(RawUsage::tokens) })
    }

    fn event(&mut self, data: &str) -> Result<(), CallError> {
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let event: RawAnswer = serde_json::from_str(data)
            .map_err(|error| CallError::Garbage(format!("{error}: {}", wire::shortened(data))))?;
        if let Some(error) = event.error.filter(|error| !error.is_null()) {
            return Err(wire::told_error(&error));
        }
        self.usage = event.usage.or(self.usage);
        for piece in event.choices {
            if piece.index >= CHOICES_MAX {
                return Err(CallError::Garbage(format!("choice {}", piece.index)));
            }
            if self.choices.len() <= piece.index {
                self.choices.resize(piece.index + 1, Choice::default());
            }
            let Some(choice) = self.choices.get_mut(piece.index) else { continue };
            let text = piece.message.and_then(|message| message.content).unwrap_or_default();
            choice.text += &text;
            self.bytes += text.len();
            if let Some(reason) = piece.finish_reason {
                choice.stop = Some(wire::stop(&reason)?);
            }
        }
        if self.bytes > REPLY_BYTES_MAX {
            return Err(CallError::Garbage(format!(
                "a reply of more than {REPLY_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    /// Servers that send no `[DONE]` still say why each reply ended.
    fn check_end(&self) -> Result<(), CallError> {
        let all_ended = !self.choices.is_empty() && self.choices.iter().all(|c| c.stop.is_some());
        if self.done || all_ended {
            return Ok(());
        }
        Err(CallError::Broken(format!("the stream ended after {} bytes of text", self.bytes)))
    }
}

/// The next line without its end; `None` at the end of the stream.
fn next_line(source: &mut dyn BufRead) -> Result<Option<String>, CallError> {
    let mut line = Vec::new();
    let read =
        source.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| {
            match error.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                    CallError::TimedOut(error.to_string())
                }
                _ => CallError::Broken(error.to_string()),
            }
        })?;
    if read as u64 == LINE_BYTES_MAX {
        return Err(CallError::Garbage(format!("a line of more than {LINE_BYTES_MAX} bytes")));
    }
    if read == 0 {
        return Ok(None);
    }
    let text = String::from_utf8(line)
        .map_err(|_| CallError::Garbage("a line that is not UTF-8".to_owned()))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn piece(index: usize, text: &str, finish: Option<&str>) -> String {
        let choice = json!({"index": index, "delta": {"content": text}, "finish_reason": finish});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    }

    fn read(text: &str) -> Result<Completion, CallError> {
        let mut stream = Stream::default();
        stream.read(&mut text.as_bytes())?;
        stream.completion()
    }

    #[test]
    fn pieces_of_several_replies_are_put_together() {
        let usage =
            "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 5}}";
        let text = [
            ": keep alive\r\n\r\n",
            "event: message\n",
            &piece(1, "b", None),
            &piece(0, "a", None),
            &piece(0, "A", Some("stop")),
            &piece(1, "B", Some("length")),
            usage,
            "\n\ndata: [DONE]\n\n",
        ]
        .concat();
        let completion = read(&text).unwrap();
        let replies: Vec<_> =
            completion.replies.iter().map(|r| (r.text.as_str(), r.stop)).collect();
        assert_eq!(replies, [("aA", Stop::End), ("bB", Stop::Length)]);
        assert_eq!(completion.tokens, Some((7, 5)));
    }

    #[test]
    fn a_stream_that_ends_half_way_is_broken() {
        assert!(matches!(read(&piece(0, "half", None)), Err(CallError::Broken(_))));
        assert!(matches!(read(""), Err(CallError::Broken(_))));
        assert!(read(&piece(0, "whole", Some("stop"))).is_ok());
        assert!(read(&(piece(0, "whole", None) + "data: [DONE]")).is_ok());
    }

    #[test]
    fn wherever_it_breaks_off_it_is_whole_or_an_error() {
        let text = piece(0, "Zürich ", None) + &piece(0, "1836", Some("stop")) + "data: [DONE]\n\n";
        for end in 0..text.len() {
            let mut stream = Stream::default();
            match stream.read(&mut &text.as_bytes()[..end]) {
                Ok(()) => {
                    let replies = stream.completion().unwrap().replies;
                    assert_eq!(replies[0].text, "Zürich 1836");
                }
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_named() {
        assert!(matches!(read("data: {\n\n"), Err(CallError::Garbage(_))));
        assert!(matches!(read("data: {\"choices\": 1}\n\n"), Err(CallError::Garbage(_))));
        assert!(matches!(read("data: [DONE]\n\n"), Err(CallError::Garbage(_))));
        let far = piece(9999, "x", None);
        assert!(matches!(read(&far), Err(CallError::Garbage(_))));
        let error = "data: {\"error\": {\"message\": \"no memory\", \"code\": 503}}\n\n";
        let told = read(error).unwrap_err();
        assert!(told.is_transient() && told.to_string().contains("503): no memory"), "{told}");
    }
}
