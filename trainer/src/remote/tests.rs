//! The client against a server on loopback that misbehaves.

use std::sync::Arc;
use std::time::Duration;

use retort::engine::{Engine as _, Flow, SampleRequest, Sampling};
use retort_test_data::server::{Act, Asked, Server};
use retort_transcript::{Dialect, Message, Role, Segment, Source, Transcript};
use serde_json::json;

use super::pace::still::StillPace;
use super::*;

fn request() -> ChatRequest {
    ChatRequest {
        messages: vec![Message { role: Role::User, content: "Question".to_owned() }],
        candidates: 1,
        sampling: Sampling::Nucleus { temperature: 0.5, top_p: 0.75 },
        seed: 7,
        stops: vec!["<end_code>".to_owned()],
        reply_tokens_max: 50,
    }
}

fn config(server: &Server) -> ServerConfig {
    let price = Price { prompt_per_million: 1.0, completion_per_million: 5.0 };
    ServerConfig { price, ..ServerConfig::new(&server.url(), "scripted") }
}

fn client(config: ServerConfig) -> (Client, Arc<StillPace>) {
    let pace = Arc::new(StillPace::default());
    let shared: Arc<dyn Pace> = Arc::<StillPace>::clone(&pace);
    (Client::new(config, 1, Spent::default(), None, shared).unwrap(), pace)
}

/// Answers the first requests with `acts`, all others rightly.
fn server(acts: Vec<Act>) -> Server {
    let mut acts = acts.into_iter();
    Server::start(move |_| acts.next().unwrap_or(Act::Reply("All is well.".to_owned())))
}

fn complete(client: &Client) -> Result<String, CallError> {
    let completion = client.complete(&request(), &mut Spent::default())?;
    Ok(completion.replies.into_iter().map(|reply| reply.text).collect())
}

#[test]
fn a_reply_is_counted_and_paid_streamed_or_not() {
    let server = server(vec![]);
    for stream in [true, false] {
        let (client, _) = client(ServerConfig { stream, ..config(&server) });
        assert_eq!(complete(&client).unwrap(), "All is well.");
        let spent = client.spent();
        assert_eq!((spent.prompt_tokens, spent.completion_tokens), (100, 10));
        assert_eq!((spent.requests, spent.failures, spent.estimated_tokens), (1, 0, 0));
        assert!((spent.cost - 150e-6).abs() < 1e-12);
    }
    let body = &server.asked()[0].body;
    assert_eq!(body["stop"], json!(["<end_code>"]));
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.5), &json!(0.75)));
    assert_eq!((&body["seed"], &body["max_tokens"]), (&json!(7), &json!(50)));
    assert_eq!(server.asked()[1].body.get("stream"), None);
    assert!(server.asked()[0].line.starts_with("POST /v1/chat/completions "));
}

#[test]
fn a_server_that_counts_nothing_is_estimated() {
    let choice = json!({"message": {"content": "twelve chars"}, "finish_reason": "stop"});
    for usage in [
        json!(null),
        json!({}),
        json!({"prompt_tokens": 0, "completion_tokens": 0}),
        json!({"prompt_tokens": "many", "completion_tokens": -1}),
    ] {
        let body = json!({"choices": [choice], "usage": usage}).to_string();
        let server = server(vec![Act::Raw("application/json", body)]);
        let (client, _) = client(config(&server));
        assert_eq!(complete(&client).unwrap(), "twelve chars");
        let spent = client.spent();
        assert_eq!((spent.completion_tokens, spent.estimated_tokens), (3, 9));
    }
}

#[test]
fn every_passing_trouble_is_tried_again() {
    let status =
        |status| Act::Status(status, vec![], "{\"error\": {\"message\": \"x\"}}".to_owned());
    let troubles = vec![
        status(500),
        status(429),
        Act::HalfStream("All is w".to_owned()),
        Act::Raw("text/event-stream", "data: {nonsense\n\n".to_owned()),
        Act::Raw("application/json", "<html>maintenance</html>".to_owned()),
        Act::Raw("application/json", "{\"choices\": []}".to_owned()),
        Act::HangUp,
        status(503),
    ];
    let count = troubles.len();
    let server = server(troubles);
    let (client, pace) = client(ServerConfig { attempts_max: 9, ..config(&server) });
    assert_eq!(complete(&client).unwrap(), "All is well.");
    let spent = client.spent();
    assert_eq!((spent.requests, spent.failures as usize), (1, count));
    assert_eq!(pace.waits().len(), count);
    // The half reply was written, so it is paid for: its prompt and two tokens of text.
    assert!(spent.estimated_tokens > 2, "{spent:?}");
}

#[test]
fn a_silent_server_is_noticed_and_tried_again() {
    let server = server(vec![Act::Silent, Act::SilentStream("All".to_owned())]);
    let (client, _) = client(ServerConfig { silence_seconds_max: 0.1, ..config(&server) });
    assert_eq!(complete(&client).unwrap(), "All is well.");
    assert_eq!(client.spent().failures, 2);
}

#[test]
fn a_request_has_an_end_however_often_it_is_sent() {
    let server = Server::start(|_| Act::Silent);
    let patience = ServerConfig { request_seconds_max: 0.1, attempts_max: 2, ..config(&server) };
    let told = complete(&client(patience).0).unwrap_err();
    assert!(
        matches!(&told, CallError::GivenUp { attempts: 2, last }
        if matches!(**last, CallError::TimedOut(_))),
        "{told}"
    );
    let gone = server.url();
    drop(server);
    let (client, _) = client(ServerConfig { attempts_max: 3, ..ServerConfig::new(&gone, "m") });
    let told = complete(&client).unwrap_err().to_string();
    assert!(told.contains("given up after 3 attempts") && told.contains("reached"), "{told}");
}

#[test]
fn the_server_says_how_long_to_wait() {
    let after =
        |value: &str| Act::Status(429, vec![("retry-after", value.to_owned())], String::new());
    let server = server(vec![after("7"), after("Thu, 01 Jan 2026 00:00:20 GMT"), after("86400")]);
    let (client, pace) = client(config(&server));
    let told = complete(&client).unwrap_err();
    assert!(matches!(told, CallError::GivenUp { attempts: 3, .. }), "{told}");
    assert_eq!(pace.waits(), [7, 20].map(Duration::from_secs));
    assert!(complete(&client).is_ok());
}

#[test]
fn a_refused_request_is_sent_once_and_the_key_shows_nowhere() {
    // The variable is read, never set: every test process has this one.
    let key = std::env::var("PATH").unwrap();
    let echo = |asked: &Asked| {
        let header = asked.header("authorization").unwrap_or_default().to_owned();
        Act::Status(401, vec![], json!({"error": {"message": format!("bad {header}")}}).to_string())
    };
    let server = Server::start(echo);
    let keyed = ServerConfig { api_key_env: Some("PATH".to_owned()), ..config(&server) };
    let (client, _) = client(keyed);
    let told = complete(&client).unwrap_err();
    assert_eq!(
        told.to_string(),
        "the server refused the request (HTTP 401): bad Bearer [key]; the key is that of the \
         variable PATH"
    );
    assert_eq!(server.asked()[0].header("authorization"), Some(format!("Bearer {key}").as_str()));
    // No other request will fare better, so none is sent.
    assert_eq!(client.halted(), Some(told));
    assert!(complete(&client).is_err());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn the_budget_ends_it_before_it_is_overdrawn() {
    let server = server(vec![]);
    let budget = BudgetConfig { tokens_max: Some(400), cost_max: None };
    let (client, _) = client(ServerConfig { budget, ..config(&server) });
    let answered = std::iter::repeat_with(|| complete(&client)).take_while(Result::is_ok).count();
    // 110 a request, and none begins that could take the sum beyond 400 with 50 of reply.
    assert_eq!(answered, 3);
    assert!(client.spent().tokens() <= 400);
    assert!(matches!(client.halted(), Some(CallError::BudgetSpent(_))));
}

fn engine(client: Client) -> (RemoteEngine, Dialect) {
    let dialect = Dialect::named("smolagents").unwrap();
    (RemoteEngine::new(Arc::new(client), &dialect), dialect)
}

fn sample(engine: &mut RemoteEngine, candidates: u8) -> Vec<String> {
    let sampling = Sampling::Nucleus { temperature: 0.4, top_p: 0.8 };
    let stops = vec!["<end_code>".to_owned()];
    let request = SampleRequest {
        candidates,
        sampling,
        seed: 42,
        stops,
        reply_tokens_max: 100,
        wall_max: None,
    };
    let drawn = engine.sample(&request, &mut |_, _| Flow::Continue).unwrap();
    drawn.into_iter().map(|candidate| candidate.text).collect()
}

fn prefilled(dialect: &Dialect, prefix: &str) -> Vec<Segment> {
    let transcript = Transcript { question: "Q?".to_owned(), ..Transcript::default() };
    let mut prompt = dialect.render_prompt(&transcript);
    prompt.push(Segment { text: prefix.to_owned(), source: Source::Content, learned: true });
    prompt
}

#[test]
fn replies_that_a_server_does_not_draw_at_once_are_drawn_one_by_one() {
    let server = Server::start(|asked| match asked.number {
        0 => Act::Replies(vec!["a".to_owned(), "b".to_owned()]),
        number => Act::Reply(format!("c{number}<end_code>more")),
    });
    let (mut engine, dialect) = engine(client(config(&server)).0);
    engine.prefill(&dialect.render_prompt(&Transcript::default())).unwrap();
    assert_eq!(sample(&mut engine, 4), ["a", "b", "c1", "c2"]);
    let seeds: Vec<_> = server.asked().iter().map(|asked| asked.body["seed"].clone()).collect();
    assert_eq!(server.asked()[0].body["n"], json!(4));
    assert!(seeds[1] != seeds[2] && seeds[0] != seeds[2]);
    assert_eq!(engine.tally().lock().unwrap().requests, 3);
}

/// What a server with `acts` was asked when two replies were to begin with the same words, and what
/// came of the second.
fn begun_twice(script: impl FnMut(&Asked) -> Act + Send + 'static) -> (Vec<Asked>, String) {
    let server = Server::start(script);
    let (mut engine, dialect) = engine(client(config(&server)).0);
    let mut begun = || {
        engine.prefill(&prefilled(&dialect, "Thought: first\n\n")).unwrap();
        sample(&mut engine, 1).remove(0)
    };
    begun();
    let second = begun();
    (server.asked(), second)
}

#[test]
fn a_prefix_is_continued_where_the_server_can() {
    for repeated in ["", "one, two, three, four, five, six, "] {
        let (asked, reply) = begun_twice(move |asked| {
            let is_probe = asked.message(-1).ends_with("six,");
            Act::Reply(if is_probe { format!("{repeated}Seven, eight") } else { "on".to_owned() })
        });
        assert_eq!(reply, "on");
        // Found out once.
        assert_eq!(asked.len(), 3);
        assert_eq!(asked[2].message(-1), "Thought: first\n\n");
        for asked in asked {
            assert_eq!(asked.body["add_generation_prompt"], json!(false));
            assert_eq!(asked.body["continue_final_message"], json!(true));
        }
    }
}

#[test]
fn a_server_that_does_not_continue_is_asked_in_words() {
    let refused =
        || Act::Status(400, vec![], "{\"error\": {\"message\": \"unknown field\"}}".to_owned());
    let replies = |text: &'static str| Box::new(move || Act::Reply(text.to_owned()));
    // Said so, began anew without a word about it, or held the message to be whole.
    let outcomes: [Box<dyn Fn() -> Act + Send>; 3] =
        [Box::new(refused), replies("one, two, three"), replies("")];
    for outcome in outcomes {
        let (asked, reply) =
            begun_twice(move |asked| match asked.body.get("continue_final_message") {
                Some(_) => outcome(),
                None => Act::Reply("Thought: first\n\nand on".to_owned()),
            });
        assert_eq!((reply.as_str(), asked.len()), ("and on", 3));
        assert!(asked[1].message(-1).ends_with("go on from them:\nThought: first"));
        assert_eq!(asked[1].body["messages"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_server_that_fails_is_not_taken_for_one_that_cannot_continue() {
    let mut acts = vec![Act::Status(403, vec![], "no".to_owned())].into_iter();
    let server = Server::start(move |_| acts.next().unwrap_or(Act::Reply("seven".to_owned())));
    let client = client(config(&server)).0;
    assert!(client.goes_on(&mut Spent::default()).is_err());
}

#[test]
fn an_unknown_authority_is_refused_by_name() {
    let server = server(vec![]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    std::fs::write(&path, "no certificate").unwrap();
    let config = ServerConfig { certificate: Some(path), ..config(&server) };
    let told = Client::new(config, 1, Spent::default(), None, Arc::new(StillPace::default()));
    assert!(told.err().unwrap().to_string().contains("authority.pem"));
}

#[test]
fn a_server_that_is_not_what_it_should_be_is_not_tried_again() {
    let server = server(vec![]);
    let url = server.url().replace("http://", "https://");
    let (client, pace) = client(ServerConfig::new(&url, "m"));
    let told = complete(&client).unwrap_err();
    assert!(matches!(told, CallError::Untrusted(_)), "{told}");
    assert!(pace.waits().is_empty() && client.halted().is_some());
}

#[test]
fn a_redirect_is_not_followed_with_the_key() {
    let to = vec![("location", "http://127.0.0.1:1/".to_owned())];
    let server = server(vec![Act::Status(302, to, String::new())]);
    let (client, _) = client(config(&server));
    let told = complete(&client).unwrap_err();
    assert!(matches!(told, CallError::Refused { status: 302, .. }), "{told}");
    assert!(told.to_string().contains("moved to http://127.0.0.1:1/: name that"), "{told}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn several_servers_share_the_work_and_stand_in_for_one_another() {
    let status = || Act::Status(503, vec![], "busy".to_owned());
    let (first, second) = (server(vec![]), server(vec![status(), status()]));
    let both = |config: ServerConfig| {
        let urls = json!([first.url(), second.url()]);
        client(ServerConfig { url: serde_json::from_value(urls).unwrap(), ..config })
    };
    let (client, pace) = both(config(&first));
    // Alone on the way, a request goes to the first; beside another one it goes to the second.
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| complete(&client))).collect();
        asking.into_iter().for_each(|one| drop(one.join().unwrap().unwrap()));
    });
    assert_eq!(client.spent().requests, 8);
    // Whoever was turned away was asked again elsewhere, without a wait.
    assert!(pace.waits().is_empty());
    // A server that is gone costs an attempt, not the work.
    let gone = first.url();
    drop(first);
    for _ in 0..3 {
        assert_eq!(complete(&client).unwrap(), "All is well.");
    }
    assert!(client.spent().failures >= 1, "{:?} of {gone}", client.spent());
}

#[test]
fn one_of_several_that_asks_for_a_long_pause_is_passed_over() {
    let pause = vec![("retry-after", "7200".to_owned())];
    let away = Server::start(move |_| Act::Status(429, pause.clone(), "later".to_owned()));
    let good = server(vec![]);
    let urls = serde_json::from_value(json!([away.url(), good.url()])).unwrap();
    let (client, pace) = client(ServerConfig { url: urls, ..config(&good) });
    for _ in 0..20 {
        assert_eq!(complete(&client).unwrap(), "All is well.");
    }
    assert_eq!((client.spent().requests, client.spent().failures), (20, 1));
    assert!(pace.waits().is_empty());
}
