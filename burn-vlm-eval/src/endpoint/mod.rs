//! Asking a model behind an endpoint that speaks OpenAI's chat completions, with texts and pictures.
//!
//! ```no_run
//! use burn_vlm_data::pipeline::{Answer, Question, Settings};
//! use burn_vlm_eval::endpoint::{Client, EndpointOptions, KEY_VARIABLE, Key};
//!
//! let options = EndpointOptions::new("https://host/v1", "some-model", KEY_VARIABLE);
//! let client = Client::new(options, Key::from_environment(KEY_VARIABLE)?)?;
//! let (answer, spent) = client.ask(&Question::user("What is an apple?", Settings::greedy(100)), "seed", &|| true);
//! if let Answer::Reply(reply) = answer {
//!     println!("{} ({} tokens)", reply.text, spent.completion_tokens);
//! }
//! # Ok::<(), burn_vlm_eval::endpoint::EndpointError>(())
//! ```
//!
//! Unusual here:
//! - an endpoint that is busy (429) is waited for by all threads, as long as it asks for, and no try is used up; what cannot heal is not
//!   tried again, whatever state it comes with;
//! - what is read is decided by what came, not by what was asked for: some servers stream always, and say `stop` of what was cut;
//! - the model that answered must be the one that was asked;
//! - the key comes from the environment, and is taken out of whatever an endpoint says before it is shown.

mod key;
mod reply;
mod request;
mod wait;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use burn_vlm_data::pipeline::{Answer, Answerer, Finish, Question, Questions, Reply, Spent, Task, Trouble};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;

pub use key::{KEY_VARIABLE, Key};
use reply::Came;
use wait::{Gate, backoff, sleep};

/// Where chat completions are asked for.
const PATH: &str = "/chat/completions";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);

/// How an endpoint is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointOptions {
    /// The endpoint: `https://host/v1`, or with `/chat/completions`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// The environment variable of the key, for messages.
    pub key_variable: &'static str,
    /// How long a reply may take.
    pub timeout: Duration,
    /// How often a question is asked at most, after timeouts, cut replies, and the states 408, 409, 425 and 500 and above.
    pub tries: u32,
    /// How long is waited before the second try; doubled each time.
    pub first_wait: Duration,
    /// The longest wait that an endpoint may ask for (`Retry-After`); beyond it the question fails.
    pub most_wait: Duration,
    /// How long a question is turned away (429) before it fails.
    pub patience: Duration,
    /// The most bytes of a reply.
    pub max_bytes: u64,
    /// Requests at once.
    pub threads: usize,
    /// Whether the reply must name the model that was asked, or a version of it.
    pub check_model: bool,
}

/// Why an endpoint cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// An address that is none.
    #[error("the endpoint's URL: {0}")]
    Url(String),
    /// A key that cannot be sent.
    #[error("{variable}: {why}")]
    Key {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// An endpoint with its key. Threads share it, and what it asks them to wait.
#[derive(Debug)]
pub struct Client {
    options: EndpointOptions,
    agent: Agent,
    url: String,
    /// Without what follows a question mark, which may hold secrets.
    shown: String,
    key: Option<Key>,
    /// The key goes unencrypted to another machine.
    exposed: bool,
    gate: Gate,
}

impl EndpointOptions {
    /// Two minutes a reply, five tries, four requests at once, replies of at most 1 MiB, an hour of being turned away.
    pub fn new(url: impl Into<String>, model: impl Into<String>, key_variable: &'static str) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            key_variable,
            timeout: Duration::from_secs(120),
            tries: 5,
            first_wait: Duration::from_secs(1),
            most_wait: Duration::from_secs(300),
            patience: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            threads: 4,
            check_model: true,
        }
    }
}

impl Client {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(options: EndpointOptions, key: Option<Key>) -> Result<Self, EndpointError> {
        let given = options.url.trim();
        let (path, query) = given.split_once('?').map_or((given, None), |(path, query)| (path, Some(query)));
        let path = path.trim_end_matches('/');
        let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}{PATH}") };
        let expected = "expected https://host/v1 or http://host:port/v1";
        let uri: Uri = path.parse().map_err(|_| EndpointError::Url(expected.to_owned()))?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EndpointError::Url(expected.to_owned()));
        };
        // Whatever is shown or written would hold it.
        if authority.as_str().contains('@') {
            let variable = options.key_variable;
            return Err(EndpointError::Url(format!("it holds a name or password; set {variable} instead")));
        }
        let here = is_here(authority.host());
        let mut config = Config::builder()
            .http_status_as_error(false)
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(CONNECT.min(options.timeout)))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(options.threads)
            .user_agent(concat!("burn-vlm/", env!("CARGO_PKG_VERSION")));
        if here {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url: query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")),
            exposed: key.is_some() && scheme == "http" && !here,
            shown: path,
            key,
            options,
            gate: Gate::default(),
        })
    }

    /// The address as it may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What a reader must know.
    pub fn note(&self) -> Option<String> {
        self.exposed.then(|| format!("the key went to {} unencrypted (http); use https", self.shown))
    }

    /// Asks until there is a reply, or none is to be had; `may_ask` is asked before each request. `seed` spreads the waits.
    pub fn ask(&self, question: &Question, seed: &str, may_ask: &dyn Fn() -> bool) -> (Answer, Spent) {
        let mut spent = Spent::default();
        let body = request::body(&self.options.model, question).to_string();
        let (mut tries, mut turned_away) = (0, 0);
        let begin = Instant::now();
        let stopped = || Answer::Failed(Trouble::Stopped, "stopped before it was asked".to_owned());
        let answer = loop {
            if !self.gate.wait() {
                break stopped();
            }
            if !may_ask() {
                break Answer::Failed(Trouble::Budget, "the budget of requests or tokens is spent".to_owned());
            }
            spent.requests += 1;
            let before = spent.completion_tokens;
            let (trouble, why, after) = match self.send(&body, &mut spent) {
                Came::Answer(Answer::Reply(reply)) => {
                    let written = spent.completion_tokens - before;
                    let full = written >= u64::from(question.settings.max_tokens);
                    // Servers that count nothing say `stop` of what they cut, too.
                    let told =
                        if written == 0 && reply.finish == Finish::Stop { Finish::Unknown } else { reply.finish };
                    break Answer::Reply(Reply { full, finish: told, ..reply });
                }
                Came::Answer(answer) => break answer,
                Came::Again { trouble, why, after } => (trouble, why, after),
            };
            let most = self.options.most_wait;
            if let Some(asked) = after.filter(|asked| *asked > most) {
                let (asked, most) = (asked.as_secs(), most.as_secs());
                break Answer::Failed(
                    trouble,
                    format!("{why}; it asks to wait for {asked} s, at most {most} s are waited"),
                );
            }
            if trouble == Trouble::Busy {
                turned_away += 1;
                if begin.elapsed() >= self.options.patience {
                    break Answer::Failed(trouble, format!("turned away {turned_away} times, the last time: {why}"));
                }
                // It holds for everybody, whether it says how long or not; "at once" is not long enough.
                let asked = after.filter(|asked| !asked.is_zero());
                self.gate.close(asked.unwrap_or_else(|| backoff(self.options.first_wait, turned_away, seed)));
                continue;
            }
            tries += 1;
            if tries >= self.options.tries.max(1) {
                break Answer::Failed(trouble, format!("failed {tries} times, the last time: {why}"));
            }
            match after {
                Some(asked) => self.gate.close(asked),
                None if !sleep(backoff(self.options.first_wait, tries, seed)) => break stopped(),
                None => {}
            }
        };
        (answer, spent)
    }

    fn send(&self, body: &str, spent: &mut Spent) -> Came {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", key.header());
        }
        match request.send(body) {
            Ok(response) => self.read(response, spent),
            Err(error) => self.broken(&error, ""),
        }
    }
}

impl Answerer for Client {
    fn answer(&self, questions: &dyn Questions) -> Result<(), String> {
        let work = || {
            while let Some(task) = questions.next() {
                let Task { key, question, .. } = &task;
                let (answer, spent) = self.ask(question, &key.to_string(), &|| questions.may_ask());
                questions.answered(task, answer, spent);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads.max(1) {
                scope.spawn(work);
            }
        });
        Ok(())
    }
}

/// Whether a host is this machine: no proxy leads there, and nobody listens.
fn is_here(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
