//! A template of pictures made one of videos too, by words around it that any program which renders chat templates follows.
//!
//! Unusual here: the template itself stays as it is and is shown each video as a picture; of the image tokens that it writes, those that
//! stand for videos are replaced afterwards, by their number. So a video's token stands where a picture's would, with the same words and
//! line ends around it, wherever the template puts pictures.

use super::{ChatTemplate, TemplateError};

/// Before the template; `IMAGE` and `VIDEO` stand for the tokens.
const BEFORE: &str = "\
{#- A part of type video is written as one of type image is, with VIDEO in the place of IMAGE: the template below knows pictures alone. -#}
{%- set shown = namespace(tokens=[], messages=[]) -%}
{%- for message in messages -%}
{%- if message['content'] is string or message['content'] is not iterable -%}
{%- for piece in (message['content'] | string).split('IMAGE')[1:] -%}
{%- set shown.tokens = shown.tokens + ['IMAGE'] -%}
{%- endfor -%}
{%- set shown.messages = shown.messages + [message] -%}
{%- else -%}
{%- set parts = namespace(all=[]) -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'video' -%}
{%- set shown.tokens = shown.tokens + ['VIDEO'] -%}
{%- set parts.all = parts.all + [{'type': 'image'}] -%}
{%- else -%}
{%- if part['type'] == 'image' -%}{%- set shown.tokens = shown.tokens + ['IMAGE'] -%}{%- endif -%}
{%- set parts.all = parts.all + [part] -%}
{%- endif -%}
{%- endfor -%}
{%- set shown.messages = shown.messages + [dict(message, content=parts.all)] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = shown.messages -%}
{%- set written -%}{{ '' }}";

/// Behind it. The empty texts keep the renderer from trimming what the template writes first and last.
const AFTER: &str = "{{ '' }}{%- endset -%}
{%- for piece in written.split('IMAGE') -%}
{%- if not loop.first -%}{{ shown.tokens[loop.index0 - 1] | default('IMAGE') }}{%- endif -%}{{ piece }}
{%- endfor -%}";

impl ChatTemplate {
    /// The same template for videos too: a part of type video is written as one of type image is, with another token. Whether the template
    /// writes pictures at all is for the caller to find out.
    ///
    /// # Errors
    /// A token with a quote or a backslash; a template whose length or depth is beyond the limits with the words around it.
    pub(crate) fn for_videos(&self, image: &str, video: &str) -> Result<Self, TemplateError> {
        if let Some(token) = [image, video].into_iter().find(|token| token.contains(['\'', '\\', '\n'])) {
            return Err(TemplateError::Syntax {
                origin: self.origin.clone(),
                reason: format!("the token {token:?} cannot be written into a template"),
            });
        }
        let around = |words: &str| words.replace("IMAGE", image).replace("VIDEO", video);
        // What Jinja leaves out at the end of a source, it would not leave out here.
        let own = self.source.strip_suffix('\n').unwrap_or(&self.source);
        let source = format!("{}{own}{}", around(BEFORE), around(AFTER));
        let made = Self::compile(&source, &self.origin)?;
        let (special_tokens, answer_end) = (self.special_tokens.clone(), self.answer_end.clone());
        Ok(Self { special_tokens, answer_end, made_for_videos: true, ..made })
    }

    /// The source, where it is not that of a file: a template of pictures that was made one of videos too.
    pub fn made_source(&self) -> Option<&str> {
        self.made_for_videos.then_some(self.source.as_str())
    }
}
