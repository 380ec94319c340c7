//! Chat templates: Jinja as Hugging Face's tokenizers use it, rendered by minijinja.
//!
//! Unusual here:
//! - templates come with checkpoints and are not trusted: their source has limits of length and depth, they run with a fuel limit, make
//!   values and write a text of limited length, see nothing but the conversation, and where one makes the template engine panic, that
//!   is an error like another;
//! - JSON keeps the order of its keys, in tools, their arguments and whatever else a message has, as in Python;
//! - whitespace is trimmed as Hugging Face trims it (`trim_blocks`, `lstrip_blocks`), and Python's string methods work;
//! - `strftime_now` is the only thing that differs from run to run; it gives the time in UTC.

mod digits;
mod folder;
mod letters;
mod message;
mod methods;
mod ordered;
mod parts;
mod python;
mod source;
#[cfg(test)]
mod tests;
mod videos;

pub use folder::ANSWER_END;
pub use message::{Content, Message, Part};
pub use ordered::OrderedJson;

use crate::conversation::{Role, Turn};
use crate::tokenizer::Tokenizer;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// The template of the tiny models: `<|user|>{text}<|assistant|>{text}<|end|>`.
pub const TINY_TEMPLATE: &str = "{% for message in messages %}\
    {% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}\
    {% elif message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}\
    {% else %}{{ raise_exception('the tiny template has no system turn') }}{% endif %}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Instructions a template may execute; a conversation of a thousand turns needs about a tenth.
const FUEL: u64 = 1_000_000;

/// The longest text that a template may write, in bytes: that of a source's longest record. Lists that hold themselves twice, and
/// again, are a short way to texts without an end.
const MAX_OUTPUT: usize = 64 << 20;

/// How large a value within a template may be, in bytes: so many more than all that the template was given has.
const MORE_BYTES: usize = 1 << 20;
/// And so many times as many.
const MORE_TIMES: usize = 4;

const NAME: &str = "chat_template";

/// A template that cannot be loaded or rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder has no chat template.
    #[error("{}: no chat template: expected chat_template.jinja, chat_template.json, or \"chat_template\" in tokenizer_config.json", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A template has a syntax error.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where the template comes from.
        origin: String,
        /// What the parser said, with the line.
        reason: String,
    },
    /// A template refused the conversation (`raise_exception`), used something undefined, ran out of fuel, or wrote too much.
    #[error("{origin}, rendering {turns} turns: {reason}")]
    Render {
        /// Where the template comes from.
        origin: String,
        /// Number of turns of the conversation.
        turns: usize,
        /// What the template or the renderer said.
        reason: String,
    },
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// What the template knows besides the conversation: `bos_token`, `eos_token`, ...
    special_tokens: BTreeMap<String, String>,
    /// Stands behind the words of every assistant's message.
    answer_end: Option<String>,
    /// As it was given.
    source: String,
    /// Whether the source was made here, see [`Self::made_source`].
    made_for_videos: bool,
    origin: String,
}

/// What a rendering is given besides the messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RenderOptions {
    /// End where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// Further variables, which replace those of the same name: `tools`, `documents` (both `None` unless given here),
    /// `enable_thinking`, ...
    pub variables: BTreeMap<String, OrderedJson>,
}

impl ChatTemplate {
    /// Compiles a template; special tokens are undefined until [`ChatTemplate::with_special_tokens`].
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        Self::compile(source, "chat template")
    }

    /// Compiles a template; `origin` is named in errors.
    fn compile(source: &str, origin: &str) -> Result<Self, TemplateError> {
        let syntax = |error: Error| TemplateError::Syntax { origin: origin.to_owned(), reason: error.to_string() };
        let mut environment = Environment::new();
        let whitespace = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(whitespace.map_err(syntax)?);
        environment.set_fuel(Some(FUEL));
        methods::add_to(&mut environment);
        python::add_to(&mut environment);
        let prepared =
            source::prepared(source).map_err(|reason| TemplateError::Syntax { origin: origin.to_owned(), reason })?;
        guarded(|| environment.add_template_owned(NAME, prepared)).map_err(syntax)?;
        Ok(Self {
            environment,
            special_tokens: BTreeMap::new(),
            answer_end: None,
            source: source.to_owned(),
            made_for_videos: false,
            origin: origin.to_owned(),
        })
    }

    /// Sets the tokens that the template knows as `bos_token` and `eos_token`.
    pub fn with_special_tokens(self, bos_token: impl Into<String>, eos_token: impl Into<String>) -> Self {
        self.with_variable("bos_token", bos_token).with_variable("eos_token", eos_token)
    }

    /// Sets `bos_token` and `eos_token` where the folder's files did not, and the tokenizer has them.
    pub fn with_special_tokens_of(mut self, tokenizer: &Tokenizer) -> Self {
        for (name, token) in [("bos_token", tokenizer.bos_token()), ("eos_token", tokenizer.eos_token())] {
            if !token.is_empty() {
                self.special_tokens.entry(name.to_owned()).or_insert_with(|| token.to_owned());
            }
        }
        self
    }

    /// Sets a variable that every rendering of the template knows, `"image_token"` for example.
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.special_tokens.insert(name.into(), value.into());
        self
    }

    /// Writes a token behind the words of every assistant's message, for a template that ends an answer with none
    /// ([`AnswerEnd`](crate::encode::AnswerEnd)).
    pub fn with_answer_end(mut self, token: impl Into<String>) -> Self {
        self.answer_end = Some(token.into());
        self
    }

    /// Where it comes from, for errors.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The token of [`Self::with_answer_end`].
    pub fn answer_end(&self) -> Option<&str> {
        self.answer_end.as_deref()
    }

    /// The template of the tiny models.
    ///
    /// # Errors
    /// None in practice: the template is a constant.
    pub fn tiny() -> Result<Self, TemplateError> {
        Self::new(TINY_TEMPLATE)
    }

    /// Renders a conversation; with `add_generation_prompt` it ends where the assistant's answer begins.
    ///
    /// # Errors
    /// A conversation that the template refuses (its own words are in the error), or a template that never ends.
    pub fn render(&self, turns: &[Turn], add_generation_prompt: bool) -> Result<String, TemplateError> {
        let message = |turn: &Turn| {
            let text = match &self.answer_end {
                Some(end) if turn.role == Role::Assistant => Cow::Owned(format!("{}{end}", turn.text)),
                _ => Cow::Borrowed(turn.text.as_str()),
            };
            context! { role => turn.role.as_str(), content => &*text }
        };
        let options = RenderOptions { add_generation_prompt, ..Default::default() };
        self.render_values(turns.iter().map(message).collect(), &options)
    }

    /// Renders messages, whose contents may be lists of images and texts.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_messages(&self, messages: &[Message], options: &RenderOptions) -> Result<String, TemplateError> {
        let ended = |message: &Message| match &self.answer_end {
            Some(end) if message.role == Role::Assistant.as_str() => message.clone().ended_by(end).value(),
            _ => message.value(),
        };
        self.render_values(messages.iter().map(ended).collect(), options)
    }

    fn render_values(&self, messages: Vec<Value>, options: &RenderOptions) -> Result<String, TemplateError> {
        let turns = messages.len();
        let messages_bytes: usize = messages.iter().map(ordered::bytes).sum();
        let mut variables = BTreeMap::from([
            ("messages".to_owned(), Value::from(messages)),
            ("add_generation_prompt".to_owned(), Value::from(options.add_generation_prompt)),
            ("tools".to_owned(), Value::from(())),
            ("documents".to_owned(), Value::from(())),
        ]);
        variables.extend(self.special_tokens.iter().map(|(name, token)| (name.clone(), Value::from(token.as_str()))));
        variables.extend(options.variables.iter().map(|(name, value)| (name.clone(), value.0.clone())));
        let given = options.variables.values().map(OrderedJson::bytes).sum::<usize>() + messages_bytes;
        let most = (MORE_BYTES + MORE_TIMES * given).min(MAX_OUTPUT);
        variables.insert(methods::MOST_BYTES.to_owned(), Value::from(most));
        let mut output = Output::default();
        let rendered = guarded(|| {
            let template = self.environment.get_template(NAME)?;
            template.render_captured_to(Value::from(variables), &mut output).map(drop)
        });
        let reason = match rendered {
            _ if output.full => format!("the text is longer than {MAX_OUTPUT} bytes"),
            Ok(()) => match String::from_utf8(output.text) {
                Ok(text) => return Ok(text),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        Err(TemplateError::Render { origin: self.origin.clone(), turns, reason })
    }
}

/// What a template has written, up to [`MAX_OUTPUT`] bytes.
#[derive(Default)]
struct Output {
    text: Vec<u8>,
    full: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full |= self.text.len() + bytes.len() > MAX_OUTPUT;
        if self.full {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs the template engine. It has places that panic (version 3.0.5 where an empty list is reversed, `[][::-1]`), and what
/// comes with a checkpoint must not end the program. Nothing outlives a panic: an engine that fails to compile is dropped, and
/// rendering changes none.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    burn_vlm_base::guard::guarded(work).unwrap_or_else(|words| {
        Err(Error::new(ErrorKind::InvalidOperation, format!("the template engine failed: {words}")))
    })
}
