//! More token ids than a checkpoint has, for tokens that are added to its tokenizer.

use burn::module::Param;
use burn::tensor::Tensor;

use super::LanguageModel;

impl LanguageModel {
    /// Grows the embedding table, and a head of its own, to `rows` token ids; what is there stays. As in Hugging Face's
    /// `resize_token_embeddings`, new rows begin as the mean of the old ones, so that a new token is neither likely nor
    /// unlikely. Fewer rows than there are change nothing.
    pub fn resize_token_embeddings(&mut self, rows: usize) {
        each!(self, model => {
            let missing = rows.saturating_sub(model.config.vocab_size);
            if missing > 0 {
                model.model.embed_tokens.weight = grown(&model.model.embed_tokens.weight, missing, 0);
                if let Some(head) = &mut model.lm_head {
                    head.weight = grown(&head.weight, missing, 1);
                }
                model.config.vocab_size = rows;
            }
        });
    }
}

/// The table with `count` more means of its vectors behind it, along `dim`. It stays trainable or frozen, and in its element
/// type; on an autodiff device it is a leaf, since an optimizer has no use for anything else.
fn grown(table: &Param<Tensor<2>>, count: usize, dim: usize) -> Param<Tensor<2>> {
    table.clone().map(|table| {
        let trained = table.is_require_grad();
        // `detach` would leave it trainable, and what is computed from a trainable tensor is no leaf.
        let table = table.set_require_grad(false);
        let more = table.clone().mean_dim(dim).repeat_dim(dim, count);
        Tensor::cat(vec![table, more], dim).set_require_grad(trained)
    })
}
