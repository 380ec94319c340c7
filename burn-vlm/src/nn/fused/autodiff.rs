//! Registration of the backward passes with Burn's autodiff.
//!
//! Unusual here: the steps keep their inputs themselves and count as compute bound, so gradient checkpointing
//! neither drops nor recomputes them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::{FloatDType, Shape};

use super::linear_loss::{self, LinearLossSaved};
use super::ops::key_mask;
use super::replay::{Erased, GradSlots, LinkStep, Replay, ReplayStep, SeedStep};
use super::{AttentionConfig, AttentionSaved, FusedKernels, FusedOps, KeyMask, KeyPadding, KeySegments, LinearLoss};
use crate::nn::Activation;

// The composed forward bodies on autodiff tensors; only the trait bound of `FusedOps` asks for them.
impl<B: FusedKernels, C: CheckpointStrategy> FusedKernels for Autodiff<B, C> {}

/// A backward step: `$name<B>` with `$n` parents keeps `$state` and turns the gradient of its output into theirs.
macro_rules! backward_step {
    ($name:ident, $n:literal, $state:ty, |$saved:ident, $grad:ident| $body:expr) => {
        #[derive(Debug)]
        struct $name;

        impl<B: FusedKernels> Backward<B, $n> for $name {
            type State = $state;

            fn backward(self, ops: Ops<Self::State, $n>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
                let $grad = grads.consume::<B>(&ops.node);
                let $saved = ops.state;
                let parent_grads: [FloatTensor<B>; $n] = $body;
                for (parent, grad) in ops.parents.into_iter().zip(parent_grads) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, grad);
                    }
                }
            }
        }
    };
}

backward_step!(AttentionStep, 3, (AttentionSaved<B>, AttentionConfig), |state, grad| {
    B::attention_backward(state.0, grad, &state.1)
});
backward_step!(CrossEntropyStep, 1, (FloatTensor<B>, IntTensor<B>, FloatTensor<B>, Option<f64>), |state, grad| {
    let (logits, targets, lse, softcap) = state;
    [B::cross_entropy_backward(logits, targets, lse, grad, softcap)]
});
backward_step!(RmsNormStep, 2, (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, bool), |state, grad| {
    let (x, weight, statistics, offset) = state;
    B::rms_norm_backward(x, weight, statistics, grad, offset)
});
backward_step!(LayerNormStep, 3, (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>), |state, grad| {
    let (x, weight, statistics) = state;
    B::layer_norm_backward(x, weight, statistics, grad)
});
backward_step!(ActivationStep, 1, (FloatTensor<B>, Activation), |state, grad| {
    [B::activation_backward(state.1, state.0, grad)]
});
backward_step!(GatedStep, 2, (FloatTensor<B>, FloatTensor<B>, Activation), |state, grad| {
    let (gate, up, activation) = state;
    B::gated_backward(activation, gate, up, grad)
});
backward_step!(RotateStep, 1, (FloatTensor<B>, FloatTensor<B>), |state, grad| {
    [B::rotate_kernel(grad, state.0, state.1, true)]
});

backward_step!(HalfLinearStep, 1, FloatTensor<B>, |weight, grad| {
    [B::half_linear(grad, B::float_swap_dims(weight, 0, 1))]
});

/// `x w`. It keeps what the gradients that are wanted need: the weight for that of the rows, the rows for that of the weight.
#[derive(Debug)]
struct ProductStep;

impl<B: FusedKernels> Backward<B, 2> for ProductStep {
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ([x_parent, weight_parent], [x, weight]) = (ops.parents, ops.state);
        if let (Some(parent), Some(weight)) = (x_parent, weight) {
            grads.register::<B>(parent.id, B::product(grad.clone(), B::float_swap_dims(weight, 0, 1)));
        }
        if let (Some(parent), Some(x)) = (weight_parent, x) {
            grads.register::<B>(parent.id, B::product(B::float_swap_dims(x, 0, 1), grad));
        }
    }
}

/// A step that asks which gradients are wanted: a frozen head's would be as large as the head.
#[derive(Debug)]
struct LinearLossStep;

impl<B: FusedKernels> Backward<B, 2> for LinearLossStep {
    type State = (LinearLossSaved<B>, LinearLoss);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (saved, config) = ops.state;
        let wanted = [ops.parents[0].is_some(), ops.parents[1].is_some()];
        let parent_grads = linear_loss::backward::<B>(saved, grad, &config, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(parent_grads) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: FusedKernels + Erased, C: CheckpointStrategy> FusedOps for Autodiff<B, C> {
    fn attention_op(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        padding: KeyPadding<Self>,
        segments: KeySegments<Self>,
        config: AttentionConfig,
    ) -> FloatTensor<Self> {
        // Neither kind of tensor differs between a backend and its autodiff.
        let KeyMask { padding, segments, until } = key_mask(padding, segments);
        let keys = KeyMask::<B> { padding, segments, until };
        let ((q, q_node), (k, k_node), (v, v_node)) = (q.into_parts(), k.into_parts(), v.into_parts());
        match AttentionStep.prepare::<C>([q_node, k_node, v_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (out, lse) = B::attention_forward(q.clone(), k.clone(), v.clone(), keys.clone(), &config);
                let saved = AttentionSaved { q, k, v, keys, out: out.clone(), lse };
                prep.finish((saved, config), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::attention_forward(q, k, v, keys, &config).0),
        }
    }

    fn cross_entropy_op(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        match CrossEntropyStep.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (losses, lse) = B::cross_entropy_forward(logits.clone(), targets.clone(), softcap);
                prep.finish((logits, targets, lse, softcap), losses)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cross_entropy_forward(logits, targets, softcap).0),
        }
    }

    fn linear_loss_op(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        config: LinearLoss,
    ) -> FloatTensor<Self> {
        let ((hidden, hidden_node), (weight, weight_node)) = (hidden.into_parts(), weight.into_parts());
        match LinearLossStep.prepare::<C>([hidden_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (losses, lse, logits) =
                    linear_loss::forward::<B>(hidden.clone(), weight.clone(), targets.clone(), &config);
                prep.finish((LinearLossSaved { hidden, weight, targets, lse, logits }, config), losses)
            }
            OpsKind::UnTracked(prep) => prep.finish(linear_loss::forward::<B>(hidden, weight, targets, &config).0),
        }
    }

    fn replay_op(
        x: FloatTensor<Self>,
        chain: FloatTensor<Self>,
        y: FloatTensor<Self>,
        replay: Replay,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (_, chain_node), y) = (x.into_parts(), chain.into_parts(), y.into_primitive());
        match ReplayStep.prepare::<C>([x_node, chain_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, replay), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn link_op(
        chain: FloatTensor<Self>,
        parameter: FloatTensor<Self>,
        slots: GradSlots,
        index: usize,
    ) -> FloatTensor<Self> {
        let ((chain, chain_node), (parameter, node)) = (chain.into_parts(), parameter.into_parts());
        match LinkStep.prepare::<C>([chain_node, node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((slots, index, parameter.shape(), parameter.dtype()), chain),
            OpsKind::UnTracked(prep) => prep.finish(chain),
        }
    }

    fn seed_op(y: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((y, node), grad) = (y.into_parts(), grad.into_primitive());
        let root = B::float_zeros(Shape::from([1]), &y.device(), FloatDType::F32);
        match SeedStep.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(grad, root),
            OpsKind::UnTracked(prep) => prep.finish(root),
        }
    }

    fn rms_norm_op(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64, offset: bool) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match RmsNormStep.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, statistics) = B::rms_norm_forward(x.clone(), weight.clone(), eps, offset);
                prep.finish((x, weight, statistics, offset), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rms_norm_forward(x, weight, eps, offset).0),
        }
    }

    fn layer_norm_op(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        match LayerNormStep.prepare::<C>([x_node, weight_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, statistics) = B::layer_norm_forward(x.clone(), weight.clone(), bias, eps);
                prep.finish((x, weight, statistics), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::layer_norm_forward(x, weight, bias, eps).0),
        }
    }

    fn activation_op(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match ActivationStep.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::activation_forward(activation, x.clone());
                prep.finish((x, activation), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::activation_forward(activation, x)),
        }
    }

    fn gated_op(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let ((gate, gate_node), (up, up_node)) = (gate.into_parts(), up.into_parts());
        match GatedStep.prepare::<C>([gate_node, up_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::gated_forward(activation, gate.clone(), up.clone());
                prep.finish((gate, up, activation), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::gated_forward(activation, gate, up)),
        }
    }

    fn product_op(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x_tracked, weight_tracked) = (x.is_tracked(), weight.is_tracked());
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match ProductStep.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::product(x.clone(), weight.clone());
                prep.finish([weight_tracked.then_some(x), x_tracked.then_some(weight)], y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::product(x, weight)),
        }
    }

    fn half_linear_op(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, node), weight) = (x.into_parts(), weight.into_primitive());
        match HalfLinearStep.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(weight.clone(), B::half_linear(x, weight)),
            OpsKind::UnTracked(prep) => prep.finish(B::half_linear(x, weight)),
        }
    }

    fn rotate_op(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, node), cos, sin) = (x.into_parts(), cos.into_primitive(), sin.into_primitive());
        match RotateStep.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::rotate_kernel(x, cos.clone(), sin.clone(), false);
                prep.finish((cos, sin), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rotate_kernel(x, cos, sin, false)),
        }
    }
}
