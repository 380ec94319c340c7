//! A template of texts made one that takes lists of parts too, by words before it that any program which renders chat templates follows.
//!
//! Unusual here: the template itself stays as it is and is given every list as the text that this library writes for it: a picture on a
//! line of its own. A content that is a text passes unchanged, and this library goes on giving such a template texts.

use super::{ChatTemplate, TemplateError};

/// What the words begin with, by which they are known again.
const OPENING: &str =
    "{#- A content may be a list of parts, too: it becomes the text that the template below takes. -#}\n";
/// What they end with. The line break behind a block is left out by Jinja's `trim_blocks`, and the template begins a line, as it did.
const CLOSING: &str = "{%- set messages = flat.messages if flat.lists else messages %}\n";

/// Between them; `IMAGE` stands for the token, `VIDEOS` for what is done with videos. Lists are looked for first: a long conversation of
/// texts is not copied message by message.
const FLATTENING: &str = "\
{%- set flat = namespace(lists=false, messages=[]) -%}
{%- for message in messages -%}
{%- if message['content'] is not string and message['content'] is iterable -%}{%- set flat.lists = true -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages if flat.lists -%}
{%- if message['content'] is string or message['content'] is not iterable -%}
{%- set flat.messages = flat.messages + [message] -%}
{%- else -%}
{%- set said = namespace(text='') -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}
{%- set said.text = said.text + part['text'] -%}
{%- elif part['type'] in ['image', 'image_url'] -%}
{%- set said.text = said.text + ('\\n' if said.text and not said.text.endswith('\\n') else '') + 'IMAGE\\n' -%}
VIDEOS{%- else -%}
{{- raise_exception('a part of the type ' + (part['type'] | string) + ', which this model does not take') -}}
{%- endif -%}
{%- endfor -%}
{%- set flat.messages = flat.messages + [dict(message, content=said.text)] -%}
{%- endif -%}
{%- endfor -%}
";

/// In the place of `VIDEOS`, of a model that takes them.
const OF_VIDEOS: &str = "\
{%- elif part['type'] == 'video' -%}
{%- set said.text = said.text + ('\\n' if said.text and not said.text.endswith('\\n') else '') + 'VIDEO\\n' -%}
";

/// A template without the words that [`ChatTemplate::for_parts`] puts before one, if it has them.
fn bare(source: &str) -> Option<&str> {
    Some(source.strip_prefix(OPENING)?.split_once(CLOSING)?.1)
}

impl ChatTemplate {
    /// The same template for contents that are lists of parts too, as other programs give them (`{"type": "image"}`,
    /// `{"type": "text", "text": ...}`): a list becomes the text that this library writes for such a turn, each picture a line of its own
    /// with `image` in it, each video one with `video`. A part of another kind is refused.
    ///
    /// # Errors
    /// A token with a quote or a backslash; a template whose length is beyond the limits with the words before it.
    pub fn for_parts(&self, image: &str, video: Option<&str>) -> Result<Self, TemplateError> {
        if let Some(token) = [Some(image), video].into_iter().flatten().find(|token| token.contains(['\'', '\\', '\n']))
        {
            return Err(TemplateError::Syntax {
                origin: self.origin.clone(),
                reason: format!("the token {token:?} cannot be written into a template"),
            });
        }
        let videos = video.map_or_else(String::new, |video| OF_VIDEOS.replace("VIDEO", video));
        let flattening = FLATTENING.replace("VIDEOS", &videos).replace("IMAGE", image);
        let own = bare(&self.source).unwrap_or(&self.source);
        let made = Self::compile(&format!("{OPENING}{flattening}{CLOSING}{own}"), &self.origin)?;
        Ok(Self { special_tokens: self.special_tokens.clone(), answer_end: self.answer_end.clone(), ..made })
    }

    /// Whether the template is one of texts that [`Self::for_parts`] made one of lists: this library gives it texts.
    pub fn flattens(&self) -> bool {
        bare(&self.source).is_some()
    }

    /// The template in Jinja.
    pub fn source(&self) -> &str {
        &self.source
    }
}
