//! Rules that a row's tokens are kept to, beside how they are chosen: a form of answers, say.

use std::fmt::Debug;

/// Which tokens may come next, as a row is written. A row has one of its own.
pub trait TokenRule: Debug + Send {
    /// Sets the logits of all tokens that may not come next to minus infinity; each logit stands at its token's id. Called once before
    /// each token.
    fn mask(&mut self, logits: &mut [f32]);

    /// Takes the token that was chosen, a stop token never. True if nothing may follow: the row ends with it.
    fn take(&mut self, token: u32) -> bool;
}
