//! Contrastive losses on a matrix of logits.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Bool, Int, Tensor};

use crate::nn::cross_entropy;

/// Rows divided by their length.
///
/// # Shapes
/// - `x` and the result: `[n, dim]`
pub fn l2_normalize(x: Tensor<2>) -> Tensor<2> {
    // A zero row stays zero and its gradient finite.
    const TINY: f64 = 1e-24;
    let length = (x.clone().square().sum_dim(1) + TINY).sqrt();
    x / length
}

/// Logits `exp(logit_scale) * image . text + logit_bias` of every image with every text.
///
/// # Shapes
/// - `image_embeds`: `[n, dim]`, `text_embeds`: `[m, dim]`, both L2-normalised
/// - `logit_scale`, `logit_bias`: `[1]`; CLIP has no bias
/// - returns `[n, m]`
pub fn similarity(
    image_embeds: Tensor<2>,
    text_embeds: Tensor<2>,
    logit_scale: Tensor<1>,
    logit_bias: Option<Tensor<1>>,
) -> Tensor<2> {
    let logits = image_embeds.matmul(text_embeds.transpose()) * logit_scale.exp().unsqueeze();
    match logit_bias {
        Some(bias) => logits + bias.unsqueeze(),
        None => logits,
    }
}

/// SigLIP's sigmoid loss (Zhai et al. 2023, eq. 1): pair `(i, i)` matches, every other pair does not.
///
/// `L = -1/n sum_i sum_j log sigmoid(z_ij * logit_ij)`, with `z_ij` = 1 on the diagonal and -1 elsewhere.
///
/// # Shapes
/// - `logits`: `[n, n]`
/// - returns `[1]`
pub fn siglip_loss(logits: Tensor<2>) -> Tensor<1> {
    let [n, _] = logits.dims();
    let device = logits.device();
    // `diag_mask` is false on the diagonal
    siglip_loss_with_positives(logits, Tensor::<2, Bool>::diag_mask([n, n], 0, &device).bool_not())
}

/// The sigmoid loss with any set of matching pairs, as a batch needs it in which two texts name one thing.
///
/// # Shapes
/// - `logits`: `[n, m]`; `positives`: `[n, m]`, true where image and text belong together
/// - returns `[1]`, the sum over pairs divided by the number of rows
pub fn siglip_loss_with_positives(logits: Tensor<2>, positives: Tensor<2, Bool>) -> Tensor<1> {
    let [n, _] = logits.dims();
    let sign = positives.float() * 2.0 - 1.0;
    log_sigmoid(logits * sign).sum().neg() / n as f64
}

/// CLIP's symmetric softmax loss: the mean of the cross entropies of images to texts and of texts to images.
///
/// # Shapes
/// - `logits`: `[n, n]`, pair `(i, i)` matches
/// - returns `[1]`
pub fn clip_loss(logits: Tensor<2>) -> Tensor<1> {
    let [n, _] = logits.dims();
    let targets = Tensor::<1, Int>::arange(0..n as i64, &logits.device());
    let image = cross_entropy(logits.clone(), targets.clone(), None).mean();
    let text = cross_entropy(logits.transpose(), targets, None).mean();
    (image + text) / 2.0
}
