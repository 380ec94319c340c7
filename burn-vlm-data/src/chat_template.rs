//! Chat templates: Jinja as Hugging Face's tokenizers use it, rendered by minijinja.
//!
//! Unusual here:
//! - templates come with checkpoints and are not trusted: they run with a fuel limit and see nothing but the conversation;
//! - whitespace is trimmed as Hugging Face trims it (`trim_blocks`, `lstrip_blocks`), and Python's string methods work.

use crate::conversation::Turn;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use std::path::{Path, PathBuf};

/// The template of the tiny models: `<|user|>{text}<|assistant|>{text}<|end|>`.
pub const TINY_TEMPLATE: &str = "{% for message in messages %}\
    {% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}\
    {% elif message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}\
    {% else %}{{ raise_exception('the tiny template has no system turn') }}{% endif %}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Instructions a template may execute; a conversation of a thousand turns needs about a tenth.
const FUEL: u64 = 1_000_000;

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
    #[error("{}: no chat template: expected chat_template.jinja, or \"chat_template\" in tokenizer_config.json", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// A template has a syntax error.
    #[error("chat template: {reason}")]
    Syntax {
        /// What the parser said, with the line.
        reason: String,
    },
    /// A template refused the conversation (`raise_exception`), used something undefined, or ran out of fuel.
    #[error("chat template, rendering {turns} turns: {reason}")]
    Render {
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
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Compiles a template; `bos_token` and `eos_token` are empty until [`ChatTemplate::with_special_tokens`].
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        let syntax = |error: Error| TemplateError::Syntax { reason: error.to_string() };
        let mut environment = Environment::new();
        let whitespace = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(whitespace.map_err(syntax)?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(syntax)?;
        Ok(Self { environment, bos_token: String::new(), eos_token: String::new() })
    }

    /// Sets the tokens that the template knows as `bos_token` and `eos_token`.
    pub fn with_special_tokens(mut self, bos_token: impl Into<String>, eos_token: impl Into<String>) -> Self {
        self.bos_token = bos_token.into();
        self.eos_token = eos_token.into();
        self
    }

    /// The template of the tiny models.
    ///
    /// # Errors
    /// None in practice: the template is a constant.
    pub fn tiny() -> Result<Self, TemplateError> {
        Self::new(TINY_TEMPLATE)
    }

    /// The template of a Hugging Face folder: `chat_template.jinja`, or the `chat_template` of
    /// `tokenizer_config.json` (the one called `default` where there are several), with its special tokens.
    ///
    /// # Errors
    /// A folder without a template, an unreadable file, a syntax error.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TemplateError> {
        let folder = folder.as_ref();
        let read = |name: &str| {
            let path = folder.join(name);
            let text = path.is_file().then(|| std::fs::read_to_string(&path)).transpose();
            text.map_err(|source| TemplateError::Io { path, source })
        };
        let config = read("tokenizer_config.json")?.map(|text| serde_json::from_str::<serde_json::Value>(&text));
        let config = config
            .transpose()
            .map_err(|error| TemplateError::Io { path: folder.join("tokenizer_config.json"), source: error.into() })?;
        let source = match read("chat_template.jinja")? {
            Some(source) => Some(source),
            None => config.as_ref().and_then(|config| template_of_config(config.get("chat_template")?)),
        };
        let source = source.ok_or_else(|| TemplateError::Missing { path: folder.to_owned() })?;
        let token = |key: &str| {
            let value = config.as_ref().and_then(|config| config.get(key));
            value.and_then(|v| v.as_str().or_else(|| v.get("content")?.as_str())).unwrap_or_default().to_owned()
        };
        Ok(Self::new(&source)?.with_special_tokens(token("bos_token"), token("eos_token")))
    }

    /// Renders a conversation; with `add_generation_prompt` it ends where the assistant's answer begins.
    ///
    /// # Errors
    /// A conversation that the template refuses (its own words are in the error), or a template that never ends.
    pub fn render(&self, turns: &[Turn], add_generation_prompt: bool) -> Result<String, TemplateError> {
        let message = |turn: &Turn| context! { role => turn.role.as_str(), content => turn.text.as_str() };
        let messages: Vec<Value> = turns.iter().map(message).collect();
        let variables = context! {
            messages,
            add_generation_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(variables));
        rendered.map_err(|error| TemplateError::Render { turns: turns.len(), reason: error.to_string() })
    }
}

/// A template as it stands in `tokenizer_config.json`: a string, or a list of `{name, template}`.
fn template_of_config(value: &serde_json::Value) -> Option<String> {
    if let Some(source) = value.as_str() {
        return Some(source.to_owned());
    }
    let named = value.as_array()?.iter().find(|entry| entry.get("name").and_then(|n| n.as_str()) == Some("default"));
    Some(named?.get("template")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> Vec<Turn> {
        vec![Turn::user("<image>\nWhat is this?"), Turn::assistant("red apple")]
    }

    #[test]
    fn tiny_template() {
        let template = ChatTemplate::tiny().unwrap();
        assert_eq!(
            template.render(&turns(), false).unwrap(),
            "<|user|><image>\nWhat is this?<|assistant|>red apple<|end|>"
        );
        assert_eq!(template.render(&turns()[..1], true).unwrap(), "<|user|><image>\nWhat is this?<|assistant|>");
        let error = template.render(&[Turn::system("Be brief.")], false).unwrap_err().to_string();
        assert!(error.contains("no system turn"), "{error}");
    }

    #[test]
    fn hugging_face_conventions() {
        let source = "{{ bos_token }}\n{% for m in messages %}\n    {% if m['content'].startswith('<image>') %}\nI\n    {% endif %}\n{{ m.content.split('\\n')[-1].strip().title() }}{{ eos_token }}{% endfor %}";
        let template = ChatTemplate::new(source).unwrap().with_special_tokens("<s>", "</s>");
        // Jinja2 3.1.6 with trim_blocks and lstrip_blocks gives exactly this.
        assert_eq!(template.render(&turns(), false).unwrap(), "<s>\nI\nWhat Is This?</s>Red Apple</s>");
        let loops = "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}";
        assert_eq!(ChatTemplate::new(loops).unwrap().render(&turns(), false).unwrap(), "user");
        let json = ChatTemplate::new("{{ messages[0] | tojson }}").unwrap().render(&turns(), false).unwrap();
        assert!(json.contains("What is this?"), "{json}");
    }

    #[test]
    fn untrusted_templates_end() {
        let endless = "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}";
        let error = ChatTemplate::new(endless).unwrap().render(&turns(), false).unwrap_err();
        assert!(error.to_string().contains("fuel"), "{error}");
        let error = ChatTemplate::new("first\n{% for %}").unwrap_err().to_string();
        assert!(error.contains("chat_template:2"), "{error}");
    }

    #[test]
    fn templates_of_folders() {
        let folder = tempfile::tempdir().unwrap();
        let error = ChatTemplate::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("chat_template.jinja"), "{error}");
        let config = r#"{"bos_token": {"content": "<s>"}, "chat_template": [{"name": "default", "template": "{{ bos_token }}!"}]}"#;
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        assert_eq!(ChatTemplate::from_folder(folder.path()).unwrap().render(&turns(), false).unwrap(), "<s>!");
    }
}
