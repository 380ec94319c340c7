//! `burn-vlm serve` on a loopback port: its answers are those of `chat`, alone and together; what is refused, and how; clients that
//! leave; the end.

#![cfg(unix)]

#[path = "serve/fetched.rs"]
mod fetched;
#[path = "serve/forms.rs"]
mod forms;
#[path = "serve/mutated.rs"]
mod mutated;
#[path = "serve/refused.rs"]
mod refused;
#[path = "serve/several.rs"]
mod several;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine;
use burn::tensor::Device;
use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::language::{LanguageConfig, Qwen2Config};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_data::image::{ImageProcessorConfig, RgbImage};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

#[path = "serve/videos.rs"]
mod videos;

/// Tokens that the tiny models read.
const POSITIONS: usize = 4096;
/// How long anything may take: builds beside the tests make them slow.
const LONGEST: Duration = Duration::from_secs(120);
/// A refusal that waits for nothing but a moment of silence: far less than the minute that a body may take.
const AT_ONCE: Duration = Duration::from_secs(20);
/// A sum of six weights in f32.
const WEIGHTS: f64 = 1e-5;
/// Log-probabilities of one request alone and among others: dot products of another order, on logits of order 1.
const ROUNDING: f64 = 1e-4;
/// Turns with a system's words, so that instructions have a place.
const TEMPLATE: &str = "{% for message in messages %}\
    {% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}\
    {% elif 'refuse' in message['content'] %}{{ raise_exception('refused as it was asked') }}\
    {% elif message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}\
    {% else %}{{ message['content'] }}{% endif %}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Folders that all tests share: a tiny model that is shown pictures, and its decoder alone.
struct Models {
    folder: PathBuf,
}

impl Models {
    fn vlm(&self) -> PathBuf {
        self.folder.join("tiny")
    }

    fn language(&self) -> PathBuf {
        self.folder.join("words")
    }

    /// The bytes of a picture, one of many.
    fn picture(&self, number: u8) -> Vec<u8> {
        fs::read(self.folder.join(format!("pictures/{number}.png"))).unwrap()
    }
}

/// Random models always say the same noise.
fn models() -> &'static Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS.get_or_init(|| {
        // What is shared is never dropped: the same folder every time.
        let models = Models { folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("serve") };
        if models.folder.exists() {
            fs::remove_dir_all(&models.folder).unwrap();
        }
        fs::create_dir_all(&models.folder).unwrap();
        let folder = models.vlm();
        let model = write_model(&folder);
        let words = models.language();
        fs::create_dir(&words).unwrap();
        model.language_model.save_pretrained(&words, StoreDtype::F32).unwrap();
        never_end(&words);
        for name in ["tokenizer.json", "chat_template.jinja"] {
            fs::copy(folder.join(name), words.join(name)).unwrap();
        }
        fs::create_dir(models.folder.join("pictures")).unwrap();
        for number in 0..4u8 {
            let picture = RgbImage::from_fn(20, 30, |x, y| [x as u8 * 9, y as u8 * 7, number * 60].into());
            picture.save(models.folder.join(format!("pictures/{number}.png"))).unwrap();
        }
        models
    })
}

/// A random model that is shown pictures.
fn write_model(folder: &Path) -> Vlm {
    fs::create_dir(folder).unwrap();
    let texts = ["what is this? a red apple", "and this? the same"];
    let tokenizer = Tokenizer::train_bpe(texts, 300, &TINY_SPECIAL_TOKENS).unwrap();
    tokenizer.save(folder.join("tokenizer.json")).unwrap();
    fs::write(folder.join("chat_template.jinja"), TEMPLATE).unwrap();
    let processor = serde_json::to_string(&ImageProcessorConfig::siglip(16)).unwrap();
    fs::write(folder.join("preprocessor_config.json"), processor).unwrap();
    let vision = VisionConfig::Siglip(SiglipVisionConfig {
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 8,
        ..Default::default()
    });
    let text = LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: POSITIONS,
        // Large enough that the logits differ by more than rounding.
        initializer_range: 0.3,
        tie_word_embeddings: false,
        ..Default::default()
    });
    let image = i64::from(tokenizer.image_id().unwrap());
    let model = VlmConfig::new(vision, text, image).init(&Device::flex()).unwrap();
    model.save_pretrained(folder, StoreDtype::F32).unwrap();
    never_end(folder);
    model
}

/// Takes the special tokens' rows out of the head: others are always likelier, and greedy answers have no end.
fn never_end(folder: &Path) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = weights
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let head = tensors.iter_mut().find(|(name, ..)| name.ends_with("lm_head.weight")).unwrap();
    let row = head.3.len() / head.2[0];
    head.3[..row * TINY_SPECIAL_TOKENS.len()].fill(0);
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &path).unwrap();
    // It says what the file was.
    fs::remove_file(folder.join("seal.json")).unwrap();
}

/// A server in a process of its own.
struct Served {
    child: Child,
    address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply that was read to its end.
struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The data of the events.
    fn events(&self) -> Vec<String> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        let data = |event: &str| event.strip_prefix("data: ").map(str::to_owned);
        text.trim_end().split("\n\n").map(|event| data(event).unwrap_or_else(|| panic!("{event:?}"))).collect()
    }
}

impl Served {
    fn start(model: &Path, options: &[&str]) -> Self {
        Self::start_with(model, options, &[])
    }

    fn start_with(model: &Path, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
        command.arg("serve").arg("--model").arg(model).args(["--port", "0", "--device", "flex"]).args(options);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").and_then(|rest| rest.split(' ').next());
        let Some(address) = address.map(str::to_owned) else {
            let mut error = String::new();
            child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            panic!("{line:?}: {error}");
        };
        Self { child, address }
    }

    /// Sends a request, whose answer is not read yet.
    fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A server may refuse a body before it was sent whole.
        let _ = stream.write_all(body);
        stream
    }

    /// The reply to a request that is written as it is.
    fn raw(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        read(stream)
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        read(self.send("POST", path, "Content-Type: application/json\r\n", body.to_string().as_bytes()))
    }

    fn begin(&self, body: &Value) -> TcpStream {
        self.send("POST", "/v1/chat/completions", "Content-Type: application/json\r\n", body.to_string().as_bytes())
    }

    fn ask(&self, body: &Value) -> Reply {
        read(self.begin(body))
    }

    fn get(&self, path: &str) -> Reply {
        read(self.send("GET", path, "", b""))
    }

    /// A good reply's JSON.
    fn answer(&self, body: &Value) -> Value {
        let reply = self.ask(body);
        assert_eq!(reply.status, 200, "{body}: {}", String::from_utf8_lossy(&reply.body));
        reply.json()
    }

    /// The number of a line of `/metrics`; 0 where there is none yet.
    fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    fn wait_for(&self, name: &str, value: f64) {
        let began = Instant::now();
        while self.metric(name) != value {
            assert!(began.elapsed() < LONGEST, "{name} is {}, never {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success());
    }
}

/// Reads a reply to its end, which is that of the connection.
fn read(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no reply: {:?}", String::from_utf8_lossy(&bytes));
    });
    let headers = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    if headers.contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Reply { status, headers, body }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

fn shown(number: u8) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(models().picture(number));
    json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}})
}

fn said(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A greedy request; `more` goes over it.
fn request(model: &str, content: Value, more: Value) -> Value {
    let mut body = json!({
        "model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 24,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().unwrap()
}

/// A question of about so many tokens, and not more.
fn words_of(served: &Served, tokens: usize) -> String {
    let repeated = |times: usize| "what is this? ".repeat(times);
    let count = |times: usize| {
        let reply = served.answer(&request("tiny", json!(repeated(times)), json!({"max_tokens": 1})));
        reply["usage"]["prompt_tokens"].as_u64().unwrap() as usize
    };
    let (few, more) = (count(10), count(20));
    repeated(10 + (tokens - few) / (more - few).div_ceil(10))
}

/// What `chat` says to one question.
fn chat(model: &Path, question: &str, options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.arg("chat").arg("--model").arg(model).args(["--prompt", question, "--quiet", "--device", "flex"]);
    if !options.contains(&"--max-new-tokens") {
        command.args(["--max-new-tokens", "24"]);
    }
    let output = command.args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

fn picture_path(number: u8) -> String {
    models().folder.join(format!("pictures/{number}.png")).display().to_string()
}

/// The whole text of a stream's answers, which obeys the protocol.
fn streamed(events: &[String], answers: usize) -> Vec<String> {
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last, "[DONE]");
    let mut texts = vec![String::new(); answers];
    let mut ended = vec![false; answers];
    for (at, chunk) in chunks.iter().enumerate() {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk");
        let Some(choice) = chunk["choices"].get(0) else { continue };
        let index = choice["index"].as_u64().unwrap() as usize;
        assert!(!ended[index], "{chunk}");
        assert_eq!(at < answers, choice["delta"]["role"] == "assistant", "{chunk}");
        texts[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        ended[index] = !choice["finish_reason"].is_null();
    }
    assert!(ended.iter().all(|ended| *ended));
    texts
}

#[test]
fn greedy_answers_are_those_of_chat() {
    let model = models().vlm();
    let served = Served::start(&model, &[]);
    let answer = |content: Value, more: Value| served.answer(&request("tiny", content, more));
    let question = "what is this?";
    assert_eq!(content(&answer(json!(question), json!({}))), chat(&model, question, &[]));
    let one = answer(json!([shown(0), said(question)]), json!({}));
    assert_eq!(content(&one), chat(&model, question, &["--image", &picture_path(0)]));
    assert_ne!(content(&one), content(&answer(json!([shown(1), said(question)]), json!({}))), "pictures matter");
    let two = answer(json!([shown(0), shown(1), said("and this?")]), json!({}));
    let shows = ["--image", &picture_path(0), "--image", &picture_path(1)];
    assert_eq!(content(&two), chat(&model, "and this?", &shows));
    let system = json!([{"role": "system", "content": "red"}, {"role": "user", "content": question}]);
    let instructed = answer(json!(""), json!({"messages": system}));
    assert_eq!(content(&instructed), chat(&model, question, &["--system", "red"]));
    // Sampled ones too, by their seed.
    let sampled = answer(json!(question), json!({"temperature": 0.9, "top_p": 0.8, "seed": 7, "top_k": 20}));
    let options = ["--temperature", "0.9", "--top-p", "0.8", "--seed", "7", "--top-k", "20"];
    assert_eq!(content(&sampled), chat(&model, question, &options));
    // A stop text.
    let whole = content(&answer(json!(question), json!({}))).to_owned();
    let stop: String = whole.chars().skip(3).take(2).collect();
    let cut = answer(json!(question), json!({"stop": [stop, "never said"]}));
    assert_eq!(content(&cut), chat(&model, question, &["--stop", &stop]));
    assert_eq!(content(&cut), &whole[..whole.find(&stop).unwrap()]);
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    // As chat's conversation in a terminal: the second turn.
    let mut child = Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
        .args(["chat", "--quiet", "--device", "flex", "--max-new-tokens", "24", "--image", &picture_path(2), "--model"])
        .arg(&model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"what is this?\nand this?\n").unwrap();
    let said_there = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let first = answer(json!([shown(2), said(question)]), json!({}));
    let messages = json!([
        {"role": "user", "content": [shown(2), said(question)]},
        {"role": "assistant", "content": content(&first)},
        {"role": "user", "content": "and this?"},
    ]);
    let second = answer(json!(""), json!({"messages": messages}));
    assert_eq!(said_there, format!("{}\n{}\n", content(&first), content(&second)));
}

#[test]
fn a_reply_says_what_it_took_and_how_it_ended() {
    let served = Served::start(&models().vlm(), &["--max-new-tokens", "5"]);
    let reply =
        served.answer(&request("tiny", json!([shown(0), said("what is this?")]), json!({"n": 3, "max_tokens": 7})));
    assert_eq!((reply["object"].as_str(), reply["model"].as_str()), (Some("chat.completion"), Some("tiny")));
    assert!(
        reply["id"].as_str().unwrap().starts_with("chatcmpl-") && reply["created"].as_u64().unwrap() > 1_600_000_000
    );
    let choices = reply["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    for choice in choices {
        assert_eq!((choice["finish_reason"].as_str(), &choice["logprobs"]), (Some("length"), &Value::Null));
        assert_eq!(choice["message"], choices[0]["message"], "greedy answers are one");
    }
    // Three answers of seven tokens, one prompt.
    let alone = served.answer(&request("tiny", json!([shown(0), said("what is this?")]), json!({"max_tokens": 1})));
    let prompt = alone["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(prompt > 8, "{prompt}");
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": 21, "total_tokens": prompt + 21});
    assert_eq!(reply["usage"], usage);
    // The four tokens of the picture are among them.
    let blind = served.answer(&request("tiny", json!("what is this?"), json!({"max_tokens": 1})));
    assert!(prompt >= blind["usage"]["prompt_tokens"].as_u64().unwrap() + 4);
    // Sampled answers differ, and a seed gives them again.
    let sampled = |seed: u64| {
        let more = json!({"temperature": 1.0, "n": 3, "seed": seed, "max_tokens": 16});
        served.answer(&request("tiny", json!("what is this?"), more))["choices"].clone()
    };
    assert_eq!(sampled(5), sampled(5));
    assert_ne!(sampled(5), sampled(6));
    let texts: std::collections::BTreeSet<String> =
        sampled(5).as_array().unwrap().iter().map(|choice| choice["message"]["content"].to_string()).collect();
    assert_eq!(texts.len(), 3);
    // Without a number of its own, the server's.
    let mut body = request("tiny", json!("what is this?"), json!({}));
    body.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(served.answer(&body)["usage"]["completion_tokens"], 5);
    // As far as the model reads.
    let long = words_of(&served, POSITIONS - 500);
    let tokens =
        served.answer(&request("tiny", json!(long), json!({"max_tokens": 1})))["usage"]["prompt_tokens"].as_u64();
    let room = POSITIONS as u64 - tokens.unwrap();
    assert!(room < 1024, "{tokens:?}");
    let last = served.answer(&request("tiny", json!(long), json!({"max_tokens": 9999})));
    assert_eq!(
        (last["usage"]["completion_tokens"].as_u64(), &last["choices"][0]["finish_reason"]),
        (Some(room), &json!("length"))
    );
    let models = served.get("/v1/models").json();
    assert_eq!((models["object"].as_str(), models["data"][0]["id"].as_str()), (Some("list"), Some("tiny")));
    assert_eq!(served.get("/v1/models/tiny").json()["object"], "model");
    assert_eq!(served.get("/v1/models/other").status, 404);
    assert_eq!(served.get("/health").json(), json!({"status": "ok"}));
    assert!(served.metric("burn_vlm_requests_total{status=\"200\"}") >= 9.0);
    assert!(served.metric("burn_vlm_completion_tokens_total") >= 40.0);
    assert!(served.metric("burn_vlm_time_to_first_token_seconds_count") >= 9.0);
    assert!(served.metric("burn_vlm_picture_cache_bytes") > 0.0);
}

#[test]
fn a_stream_is_the_same_text_in_whole_characters() {
    let served = Served::start(&models().vlm(), &[]);
    // Every length: one of them cuts a character of several bytes, which random models write often.
    let (mut cut, mut pieces) = (0, 0);
    for max_tokens in 1..40 {
        let more = json!({"max_tokens": max_tokens, "temperature": 1.0, "seed": 3, "top_k": 0});
        let whole = served.answer(&request("tiny", json!("what is this?"), more.clone()));
        let mut body = request("tiny", json!("what is this?"), more);
        body["stream"] = json!(true);
        let reply = served.ask(&body);
        assert!(reply.headers.contains("content-type: text/event-stream"), "{}", reply.headers);
        let events = reply.events();
        assert_eq!(streamed(&events, 1), [content(&whole)], "{max_tokens}");
        cut += usize::from(content(&whole).ends_with('\u{FFFD}'));
        pieces += events.len();
    }
    assert!(cut > 0, "no answer ended within a character");
    assert!(pieces > 200, "{pieces}");
    let mut body =
        request("tiny", json!([shown(0), said("what is this?")]), json!({"n": 2, "temperature": 1.0, "seed": 1}));
    let whole = served.answer(&body);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = served.ask(&body).events();
    let texts: Vec<&str> = whole["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(streamed(&events, 2), texts);
    let usages: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|chunk| serde_json::from_str::<Value>(chunk).unwrap()["usage"].clone())
        .collect();
    let (last, others) = usages.split_last().unwrap();
    assert_eq!(*last, whole["usage"]);
    assert!(others.iter().all(Value::is_null));
}

#[test]
fn log_probabilities_are_told_with_their_text() {
    let served = Served::start(&models().vlm(), &[]);
    let mut body =
        request("tiny", json!("what is this?"), json!({"logprobs": true, "top_logprobs": 3, "max_tokens": 12}));
    let reply = served.answer(&body);
    let tokens = reply["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(tokens.len(), 12);
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap())
        .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(String::from_utf8_lossy(&bytes), content(&reply), "the tokens are the text");
    for token in &tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        let of = |value: &Value| value["logprob"].as_f64().unwrap();
        assert_eq!(top.len(), 3);
        assert!(top.is_sorted_by(|a, b| of(a) >= of(b)) && of(&top[0]) < 0.0);
        // Greedy: the likeliest was taken.
        assert_eq!((&top[0]["bytes"], of(&top[0])), (&token["bytes"], of(token)));
    }
    // Streamed: the same, spread over the pieces.
    body["stream"] = json!(true);
    let events = served.ask(&body).events();
    let mut found = Vec::new();
    for chunk in &events[..events.len() - 1] {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        found.extend(chunk["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default());
    }
    assert_eq!(found, tokens);
    // Tokens of a stop text are not told.
    let whole = content(&reply).to_owned();
    let stop: String = whole.chars().skip(4).take(2).collect();
    let cut = request("tiny", json!("what is this?"), json!({"logprobs": true, "max_tokens": 12, "stop": stop}));
    let cut = served.answer(&cut);
    let count = cut["choices"][0]["logprobs"]["content"].as_array().unwrap().len();
    assert!(count > 0 && count < 12 && cut["usage"]["completion_tokens"].as_u64().unwrap() > count as u64, "{cut}");
}

#[test]
fn requests_together_are_those_alone() {
    let served = Served::start(&models().vlm(), &["--batch", "3", "--queue", "40"]);
    let bodies: Vec<Value> = (0..16u64)
        .map(|number| {
            let words = said(["what is this?", "and this?", "a red apple", "the same"][number as usize % 4]);
            let content = match number % 3 {
                0 => json!([words]),
                1 => json!([shown((number % 4) as u8), words]),
                _ => json!([shown(0), shown((number % 4) as u8), words]),
            };
            let temperature = f64::from((number % 2) as u32);
            let more = json!({
                "max_tokens": 3 + number * 5, "temperature": temperature, "seed": number, "n": 1 + number % 2, "logprobs": true,
            });
            request("tiny", content, more)
        })
        .collect();
    let alone: Vec<Value> = bodies.iter().map(|body| served.answer(body)).collect();
    for _ in 0..2 {
        let together: Vec<Value> = std::thread::scope(|scope| {
            let served = &served;
            let ask = |body| scope.spawn(move || served.answer(body));
            let asked: Vec<_> = bodies.iter().map(ask).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone["usage"], together["usage"]);
            for (a, b) in alone["choices"].as_array().unwrap().iter().zip(together["choices"].as_array().unwrap()) {
                assert_eq!(a["message"], b["message"]);
                let of = |choice: &Value| -> Vec<f64> {
                    let tokens = choice["logprobs"]["content"].as_array().unwrap();
                    tokens.iter().map(|token| token["logprob"].as_f64().unwrap()).collect()
                };
                assert!(of(a).iter().zip(of(b)).all(|(a, b)| (a - b).abs() < ROUNDING));
            }
        }
    }
}

/// A request that runs until the model reads no more.
fn endless(stream: bool) -> Value {
    request("words", json!("what is this?"), json!({"max_tokens": POSITIONS, "stream": stream}))
}

#[test]
fn clients_that_leave_free_their_place() {
    let served = Served::start(&models().language(), &["--batch", "1", "--queue", "0"]);
    let short = request("words", json!("what is this?"), json!({"max_tokens": 2}));
    for (number, stream) in [true, false].into_iter().enumerate() {
        let mut client = served.begin(&endless(stream));
        served.wait_for("burn_vlm_requests_running", 1.0);
        let refused = served.ask(&short);
        assert_eq!(refused.status, 429, "{}", String::from_utf8_lossy(&refused.body));
        assert!(refused.headers.contains("\r\nretry-after: "), "{}", refused.headers);
        assert_eq!(refused.json()["error"]["code"], "queue_full");
        if stream {
            let mut some = [0; 64];
            assert!(client.read(&mut some).unwrap() > 0);
        }
        drop(client);
        served.wait_for("burn_vlm_clients_left_total", number as f64 + 1.0);
        served.wait_for("burn_vlm_requests_running", 0.0);
        assert_eq!(served.answer(&short)["usage"]["completion_tokens"], 2);
    }
    // Far fewer than it would have written.
    assert!(served.metric("burn_vlm_completion_tokens_total") < 2.0 * POSITIONS as f64);
    served.wait_for("burn_vlm_requests_total{status=\"499\"}", 1.0);
}

#[test]
fn a_signal_finishes_what_runs_and_refuses_what_comes() {
    let mut served = Served::start(&models().language(), &["--batch", "1", "--queue", "2"]);
    let (running, waiting) = (served.begin(&endless(true)), served.begin(&endless(false)));
    served.wait_for("burn_vlm_requests_running", 1.0);
    served.wait_for("burn_vlm_requests_waiting", 1.0);
    served.signal("TERM");
    let began = Instant::now();
    while served.get("/health").status != 503 {
        assert!(began.elapsed() < LONGEST);
    }
    let refused = served.ask(&endless(false));
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("ending")));
    let (running, waiting) = (read(running), read(waiting));
    let text = streamed(&running.events(), 1).concat();
    assert_eq!((waiting.status, content(&waiting.json())), (200, text.as_str()));
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    // Twice: at once.
    let mut served = Served::start(&models().language(), &[]);
    let _running = served.begin(&endless(true));
    served.wait_for("burn_vlm_requests_running", 1.0);
    served.signal("TERM");
    while served.get("/health").status != 503 {}
    served.signal("INT");
    assert_eq!(served.child.wait().unwrap().code(), Some(1));
    // Whoever was cut off by that did not leave.
    let mut log = String::new();
    served.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("ended before") && !log.contains("499") && !log.contains("the client left"), "{log}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The cat of the fixtures, and its file.
fn cat() -> (Value, String) {
    let path = fixture("images/cat_451x300.png");
    let data = base64::engine::general_purpose::STANDARD.encode(fs::read(&path).unwrap());
    let part = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}});
    (part, path.display().to_string())
}

#[test]
fn the_page_is_there_for_everybody_and_asks_nobody_else() {
    let key = [("BURN_VLM_TEST_KEY", "sk-of-the-page")];
    let served = Served::start_with(&models().language(), &["--api-key-env", "BURN_VLM_TEST_KEY"], &key);
    let (one, other) = (served.get("/"), served.get("/"));
    assert_eq!(one.status, 200);
    let header = |reply: &Reply, name: &str| {
        let line =
            reply.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name}: {}", reply.headers))
    };
    assert_eq!(header(&one, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&one, "x-content-type-options"), "nosniff");
    let policy = header(&one, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-") && !policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let page = String::from_utf8(one.body.clone()).unwrap();
    assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!page.contains("sk-of-the-page") && !page.contains("{{"));
    assert_ne!(policy, header(&other, "content-security-policy"));
    assert_eq!(read(served.send("POST", "/", "", b"")).json()["error"]["code"], "method_not_allowed");
    assert_eq!(served.get("/v1/models").status, 401);
}
