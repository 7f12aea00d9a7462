//! A model server on loopback that answers from a script: it speaks OpenAI's chat completions over
//! real sockets, and misbehaves on request. It ends when it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Number of the request, from 0.
    pub number: usize,
    /// First line of the request.
    pub line: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// One reply, streamed if the request says so, and counted as 100 and 10 tokens.
    Reply(String),
    /// Several, in one answer.
    Replies(Vec<String>),
    /// A status with headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// A body of status 200 that need be no completion.
    Raw(&'static str, String),
    /// A stream that ends after these characters of text.
    HalfStream(String),
    /// A stream that falls silent after these characters, until the client goes away.
    SilentStream(String),
    /// No answer, until the client goes away.
    Silent,
    /// The connection is closed without an answer.
    HangUp,
}

type Script = Box<dyn FnMut(&Asked) -> Act + Send>;

/// A running server.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    ends: AtomicBool,
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn start(script: impl FnMut(&Asked) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            ends: AtomicBool::new(false),
            script: Mutex::new(Box::new(script)),
            asked: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let listener = std::thread::spawn(move || serve(&listener, &serving));
        Self { address, shared, listener: Some(listener) }
    }

    /// Where it is, as a teacher's configuration names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Asked {
    /// The header called `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Text of the message at `index`; negative indices count from the end.
    #[must_use]
    pub fn message(&self, index: isize) -> &str {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let index =
            if index < 0 { messages.len().wrapping_add_signed(index) } else { index as usize };
        messages.get(index).and_then(|message| message["content"].as_str()).unwrap_or_default()
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ends.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = answer(stream, &shared);
        });
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    if begins_tls(&mut stream)? {
        return send(&mut stream, 400, "text/plain", &[], "no TLS here");
    }
    let Some(mut asked) = read_request(&mut BufReader::new(&stream))? else { return Ok(()) };
    let act = {
        // One after another: a script may count.
        let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.number = all.len();
        all.push(asked.clone());
        drop(all);
        script(&asked)
    };
    let streams = asked.body["stream"] == json!(true);
    match act {
        Act::Reply(text) if streams => {
            let body = pieces(&text, true) + &usage(1) + "data: [DONE]\n\n";
            send(&mut stream, 200, "text/event-stream", &[], &body)
        }
        Act::Reply(text) => send_json(&mut stream, &whole(&[text])),
        Act::Replies(texts) => send_json(&mut stream, &whole(&texts)),
        Act::Status(status, headers, body) => {
            send(&mut stream, status, "application/json", &headers, &body)
        }
        Act::Raw(kind, body) => send(&mut stream, 200, kind, &[], &body),
        Act::HalfStream(text) => {
            send(&mut stream, 200, "text/event-stream", &[], &pieces(&text, false))
        }
        Act::SilentStream(text) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            stream.write_all((head.to_owned() + &pieces(&text, false)).as_bytes())?;
            until_gone(stream)
        }
        Act::Silent => until_gone(stream),
        Act::HangUp => Ok(()),
    }
}

/// Whether the client begins with TLS; its first message is then read.
fn begins_tls(stream: &mut TcpStream) -> std::io::Result<bool> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0; 1];
    if stream.peek(&mut first)? == 0 || first != [HANDSHAKE] {
        return Ok(false);
    }
    // What is left unread when a connection is closed takes the answer with it.
    let read = stream.read(&mut [0; 4096])?;
    Ok(read > 0)
}

fn read_request(source: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if source.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        source.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    source.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Some(Asked { number: 0, line: line.trim().to_owned(), headers, body }))
}

/// A text as events of a few characters each.
fn pieces(text: &str, ends: bool) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut events: Vec<Value> = letters
        .chunks(5)
        .map(|piece| json!({"index": 0, "delta": {"content": piece.iter().collect::<String>()}}))
        .collect();
    if ends {
        events.push(json!({"index": 0, "delta": {}, "finish_reason": "stop"}));
    }
    let event = |choice: Value| format!("data: {}\n\n", json!({"choices": [choice]}));
    events.into_iter().map(event).collect()
}

fn usage(replies: usize) -> String {
    format!("data: {}\n\n", json!({"choices": [], "usage": counted(replies)}))
}

fn counted(replies: usize) -> Value {
    json!({"prompt_tokens": 100, "completion_tokens": 10 * replies})
}

fn whole(texts: &[String]) -> Value {
    let choice = |(index, text): (usize, &String)| {
        let message = json!({"role": "assistant", "content": text});
        json!({"index": index, "message": message, "finish_reason": "stop"})
    };
    let choices: Vec<Value> = texts.iter().enumerate().map(choice).collect();
    json!({"object": "chat.completion", "choices": choices, "usage": counted(texts.len())})
}

fn send_json(stream: &mut TcpStream, body: &Value) -> std::io::Result<()> {
    send(stream, 200, "application/json", &[], &body.to_string())
}

fn send(
    stream: &mut TcpStream,
    status: u16,
    kind: &str,
    headers: &[(&str, String)],
    body: &str,
) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    // Without a length the body ends with the connection, as a broken stream's does.
    text += &format!("connection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes())
}

/// Waits for the other side to close.
fn until_gone(mut stream: TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}
