//! Block-level activation checkpointing: a block of layers keeps its input and nothing else, and runs again when its
//! gradient is due (`gradient_checkpointing` in Hugging Face, `torch.utils.checkpoint` without reentrance).
//!
//! Unusual here: Burn's own gradient checkpointing decides operation by operation, and keeps what is expensive to compute,
//! every matrix product among it. A block costs its forward pass twice and the memory of one tensor.

use burn::backend::{Dispatch, DispatchTensor};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::dropout;
use super::fused::{FusedOps, GradSlots, Replay};

/// `forward(module, x)`, of which only `x` is kept for the backward pass.
///
/// Gradients reach `x` and every trained parameter of `module`, summed with those of their other uses, whether the block or
/// what precedes it is frozen or not; without anything to train it is a plain call. The function runs twice: it must give
/// the same result both times (the masks of [`with_dropout`](super::with_dropout()) are drawn again, other random numbers are not),
/// and tensors that it captures count as constants. They must not belong to a graph, see [`Tensor::inner`].
///
/// Not with Burn's data-parallel runtime, whose synchronisation counts one backward pass a step, those of blocks included.
///
/// # Shapes
/// - `x` and the result: any; the result need not have the shape of `x`, only its rank
pub fn checkpoint<M, const D: usize>(
    module: &M,
    x: Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D> + Send + 'static,
) -> Tensor<D>
where
    M: Module + 'static,
{
    let mut found = Trained::default();
    module.visit(&mut found);
    if found.parameters.is_empty() && !x.is_tracked() {
        return forward(module, x);
    }
    let block = module.valid();
    let masks = dropout::masks();
    let y = forward(&block, x.clone().inner());
    let slots = GradSlots::default();
    let mut chain = Tensor::<1>::zeros([1], &x.device().autodiff()).into_dispatch();
    for (index, parameter) in found.parameters.into_iter().enumerate() {
        chain = <Dispatch as FusedOps>::link_op(chain, parameter, slots.clone(), index);
    }
    let trains = found.trains;
    let replay = Replay::new(move |input, grad, wants_input| {
        let input = Tensor::<D>::from_inner(Tensor::from_dispatch(input));
        let input = if wants_input { input.require_grad() } else { input };
        let mut leaves = Leaves { trains: trains.into_iter(), takers: Vec::new() };
        let block = block.map(&mut leaves);
        // By the seed of the pass that this block was part of, whatever is computed on this thread by now.
        let y = dropout::resume(masks, || forward(&block, input.clone()));
        let mut grads = backward_from(y, grad);
        slots.put(leaves.takers.into_iter().map(|take| take(&mut grads)).collect());
        input.grad_remove(&mut grads).map(Tensor::into_dispatch)
    });
    let (x, y) = (x.into_dispatch(), y.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::replay_op(x, chain, y, replay))
}

/// The gradients of everything that `y` depends on, given that of `y`.
fn backward_from<const D: usize>(y: Tensor<D>, grad: DispatchTensor) -> Gradients {
    Tensor::<1>::from_dispatch(<Dispatch as FusedOps>::seed_op(y.into_dispatch(), grad)).backward()
}

/// Which of a module's parameters train, in the order of its fields.
#[derive(Default)]
struct Trained {
    trains: Vec<bool>,
    /// Those that do.
    parameters: Vec<DispatchTensor>,
}

impl ModuleVisitor for Trained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let trains = value.is_tracked();
        self.trains.push(trains);
        if trains {
            self.parameters.push(value.into_dispatch());
        }
    }
}

/// Takes a parameter's gradient out of those of the replay.
type Taker = Box<dyn FnOnce(&mut Gradients) -> Option<DispatchTensor>>;

/// Makes the parameters leaves of a new graph, those that train with a gradient.
struct Leaves {
    trains: std::vec::IntoIter<bool>,
    takers: Vec<Taker>,
}

impl ModuleMapper for Leaves {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let mut value = Tensor::<D>::from_inner(value);
        if self.trains.next() == Some(true) {
            value = value.require_grad();
            let leaf = value.clone();
            self.takers.push(Box::new(move |grads| leaf.grad_remove(grads).map(Tensor::into_dispatch)));
        }
        Param::from_mapped_value(id, value, mapper)
    }
}
