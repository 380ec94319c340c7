//! Answers of a form: JSON that a schema allows, kept to token by token.
//!
//! ```
//! use burn_vlm_data::constrain::{Form, Json, Schema, TokenTable};
//! use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
//!
//! let schema: Json = serde_json::from_str(r#"{"type": "object", "properties": {"red": {"type": "boolean"}}, "required": ["red"]}"#)?;
//! let tokenizer = Tokenizer::train_bpe(["{\"red\": true}"], 280, &TINY_SPECIAL_TOKENS)?;
//! let end = tokenizer.eos_id().into_iter().collect::<Vec<u32>>();
//! let form = Form::new(Schema::new(&schema)?, TokenTable::new(&tokenizer, &end)?.into());
//! let mut writing = form.begin();
//! for id in tokenizer.encode("{\"red\": tru")? {
//!     assert!(writing.allows(id));
//!     writing.take(id);
//! }
//! let allowed = |text: &str| writing.clone().allows(tokenizer.encode(text).unwrap()[0]);
//! assert!(allowed("e") && !allowed("E") && !allowed(","));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Unusual here:
//! - the form is followed byte by byte, so that any tokens will do that give its text;
//! - whatever has been written can be ended: numbers within bounds, nested values and keys are followed only where an end is in reach. An
//!   answer that is not cut is always one that the schema allows;
//! - an answer that is whole ends at once, and the model is not asked whether it wants to go on.

mod json;
mod keywords;
mod number;
mod schema;
mod state;
mod tokens;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use json::Json;
pub use schema::{Schema, SchemaError};
use state::State;
use tokens::TokenSet;
pub use tokens::{TokenTable, TokenTableError};

/// States whose tokens are kept: an answer is in few at a time, most often in a text.
const KEPT: usize = 64;

/// A form that answers are kept to. Answers share it.
#[derive(Debug)]
pub struct Form {
    schema: Schema,
    table: Arc<TokenTable>,
    kept: Mutex<HashMap<State, Arc<TokenSet>>>,
}

/// An answer of a form, as far as it is written.
#[derive(Debug, Clone)]
pub struct Writing {
    form: Arc<Form>,
    state: State,
    next: Option<Arc<TokenSet>>,
}

impl Form {
    /// What a schema allows, in the tokens of a vocabulary.
    pub fn new(schema: Schema, table: Arc<TokenTable>) -> Arc<Self> {
        Arc::new(Self { schema, table, kept: Mutex::default() })
    }

    /// An answer of which nothing is written.
    pub fn begin(self: &Arc<Self>) -> Writing {
        Writing { form: self.clone(), state: State::new(&self.schema), next: None }
    }

    fn next(&self, state: &State) -> Arc<TokenSet> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept().get(state) {
            return known.clone();
        }
        let found = Arc::new(self.table.next(&self.schema, state));
        let mut kept = kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(state.clone(), found.clone());
        found
    }
}

impl Writing {
    fn next(&mut self) -> &TokenSet {
        let Self { form, state, next } = self;
        next.get_or_insert_with(|| form.next(state))
    }

    /// Whether a token may come next; one that ends the answer may where it is whole.
    pub fn allows(&mut self, token: u32) -> bool {
        self.next().contains(token)
    }

    /// Sets the logits of all tokens that may not come next to minus infinity; each logit stands at its token's id.
    pub fn mask(&mut self, logits: &mut [f32]) {
        let next = self.next();
        for (id, logit) in (0..).zip(logits) {
            if !next.contains(id) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// Writes a token. True if nothing may follow: the answer is whole, or the token was none that may come.
    pub fn take(&mut self, token: u32) -> bool {
        for byte in self.form.table.bytes(token) {
            self.state = self.state.push(&self.form.schema, *byte);
        }
        self.next = None;
        self.state.is_closed()
    }
}
