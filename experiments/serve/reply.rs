//! Answers as OpenAI's API writes them: whole, or piece by piece.

use std::time::{SystemTime, UNIX_EPOCH};

use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_train::chat::{AnswerEnd, AnswerPart, WrittenToken};
use serde_json::{Value, json};

/// What stands for a log-probability that JSON has no number for, as in OpenAI's API.
const NEVER: f64 = -9999.0;

/// What all pieces of a reply have in common.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) prompt_tokens: usize,
    /// Whether the request asks for log-probabilities.
    pub(super) logprobs: bool,
    /// If the request asks for it, how the experts are mixed for each of its pictures.
    pub(super) routing: Option<Vec<Vec<f32>>>,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn reason(end: AnswerEnd) -> &'static str {
    match end {
        AnswerEnd::Stop => "stop",
        AnswerEnd::Length => "length",
    }
}

/// An answer as it is put together.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    text: String,
    written: Vec<WrittenToken>,
    tokens: usize,
    end: Option<AnswerEnd>,
}

impl Gathered {
    pub(super) fn add(&mut self, part: AnswerPart) {
        self.text.push_str(&part.text);
        self.written.extend(part.written);
        self.tokens += part.tokens;
        self.end = part.end.or(self.end);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }
}

impl Head {
    /// The tokens of a request with all its answers: the prompt counts once.
    pub(super) fn usage(&self, completion: usize) -> Value {
        let prompt = self.prompt_tokens;
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }

    fn logprobs(&self, tokens: &[WrittenToken], tokenizer: &Tokenizer) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let one = |id: u32, logprob: f64| {
            let bytes = tokenizer.token_bytes(id).unwrap_or_default();
            let logprob = if logprob.is_finite() { logprob } else { NEVER };
            json!({ "token": String::from_utf8_lossy(&bytes), "logprob": logprob, "bytes": bytes })
        };
        let content = tokens.iter().map(|token| {
            let mut value = one(token.id, token.logprob);
            value["top_logprobs"] = token.top.iter().map(|top| one(top.id, top.logprob)).collect();
            value
        });
        json!({ "content": content.collect::<Vec<Value>>(), "refusal": null })
    }

    /// A whole reply.
    pub(super) fn completion(&self, answers: &[Gathered], tokenizer: &Tokenizer) -> Value {
        let choice = |(index, answer): (usize, &Gathered)| {
            json!({
                "index": index,
                "message": { "role": "assistant", "content": answer.text, "refusal": null },
                "logprobs": self.logprobs(&answer.written, tokenizer),
                "finish_reason": answer.end.map(reason),
            })
        };
        let tokens = answers.iter().map(Gathered::tokens).sum();
        let completion = json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": answers.iter().enumerate().map(choice).collect::<Vec<Value>>(),
            "usage": self.usage(tokens),
            "system_fingerprint": fingerprint(),
        });
        self.with_routing(completion)
    }

    fn with_routing(&self, mut reply: Value) -> Value {
        if let Some(routing) = &self.routing {
            reply["routing"] = json!(routing);
        }
        reply
    }

    /// A piece of a reply. Where usage is asked for, every piece has it: null, but for the last.
    fn chunk(&self, choices: Value, usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "system_fingerprint": fingerprint(),
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk
    }

    /// The first piece of an answer; of the first one it has the routing.
    pub(super) fn first_chunk(&self, answer: usize, usage: Option<Value>) -> Value {
        let delta = json!({ "role": "assistant", "content": "", "refusal": null });
        let choices = json!([{ "index": answer, "delta": delta, "logprobs": null, "finish_reason": null }]);
        let chunk = self.chunk(choices, usage);
        if answer == 0 { self.with_routing(chunk) } else { chunk }
    }

    /// New text.
    pub(super) fn text_chunk(
        &self,
        answer: usize,
        (text, written): (&str, &[WrittenToken]),
        tokenizer: &Tokenizer,
        usage: Option<Value>,
    ) -> Value {
        let logprobs = self.logprobs(written, tokenizer);
        let delta = json!({ "content": text });
        self.chunk(json!([{ "index": answer, "delta": delta, "logprobs": logprobs, "finish_reason": null }]), usage)
    }

    /// The end of an answer.
    pub(super) fn last_chunk(&self, answer: usize, end: AnswerEnd, usage: Option<Value>) -> Value {
        let reason = reason(end);
        self.chunk(json!([{ "index": answer, "delta": {}, "logprobs": null, "finish_reason": reason }]), usage)
    }

    /// The piece with the usage.
    pub(super) fn usage_chunk(&self, completion: usize) -> Value {
        self.chunk(json!([]), Some(self.usage(completion)))
    }
}

/// Which program answers: what a seed gives may differ from version to version.
fn fingerprint() -> &'static str {
    concat!("burn-vlm-", env!("CARGO_PKG_VERSION"))
}
