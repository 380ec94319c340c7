//! The norm of all gradients together (`torch.nn.utils.clip_grad_norm_`); Burn's own clipping is per tensor.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_vlm::nn::sum_squares;

/// The Euclidean norm over every gradient of the module.
///
/// Sums of squares are taken tensor by tensor in f32 and added in f64 in the order of the module's fields, so that
/// the result does not depend on the number of threads.
pub fn global_norm<M: Module>(module: &M, grads: &GradientsParams) -> f64 {
    struct Squares<'a> {
        grads: &'a GradientsParams,
        parts: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                self.parts.push(sum_squares(grad));
            }
        }
    }
    let mut squares = Squares { grads, parts: Vec::new() };
    module.visit(&mut squares);
    if squares.parts.is_empty() {
        return 0.0;
    }
    // one transfer for all parts
    let parts = Tensor::cat(squares.parts, 0).into_data();
    parts.iter::<f32>().map(f64::from).sum::<f64>().sqrt()
}
