//! Answers of a form: JSON that a schema allows.

use std::sync::Arc;

use burn_vlm::connector::Projector;
use burn_vlm::generate::TokenRule;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::constrain::{Form, Schema, TokenTable, TokenTableError, Writing};

use super::ChatModel;

/// An answer's form as the decoder's rule.
#[derive(Debug)]
struct Kept(Writing);

impl TokenRule for Kept {
    fn mask(&mut self, logits: &mut [f32]) {
        self.0.mask(logits);
    }

    fn take(&mut self, token: u32) -> bool {
        self.0.take(token)
    }
}

/// The rule of one answer of a form.
pub(super) fn rule(form: &Arc<Form>) -> Box<dyn TokenRule> {
    Box::new(Kept(form.begin()))
}

impl<T: VisionTower, P: Projector> ChatModel<T, P> {
    /// A form in this model's tokens, for [`AnswerSettings::form`](super::AnswerSettings::form) and
    /// [`ChatSession::form`](super::ChatSession::form). The first one takes up to a second for a vocabulary of 150,000 tokens.
    ///
    /// # Errors
    /// A tokenizer whose tokens are not the bytes of its texts.
    pub fn form(&self, schema: Schema) -> Result<Arc<Form>, TokenTableError> {
        let table = match self.tokens.get() {
            Some(table) => table.clone(),
            None => {
                let table = Arc::new(TokenTable::new(self.processor.tokenizer(), &self.generation.stop_tokens)?);
                // Another thread may have been first, with the same.
                self.tokens.get_or_init(|| table).clone()
            }
        };
        Ok(Form::new(schema, table))
    }
}
