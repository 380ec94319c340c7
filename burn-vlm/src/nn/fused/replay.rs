//! The graph side of activation checkpointing: a step that runs a block again in the backward pass.
//!
//! Unusual here:
//! - the block's own backward pass runs inside the outer one, on a graph of its own whose leaves are fresh (Burn holds the
//!   outer graph's lock while its steps run, so the two must share no node);
//! - the block's parameters are parents of the step like its input, through a chain of [`LinkStep`]s, because a Burn
//!   operation has a fixed number of parents. The outer `Gradients` therefore hold every parameter's gradient, summed over
//!   all of its uses, exactly as without checkpointing.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, BackendTensor, DispatchKindConversion, DispatchTensor, TensorMetadata};
use burn::tensor::{DType, FloatDType, Shape};

/// A backend whose tensors can cross to the dispatch layer and back: all but the dispatch layer itself.
pub trait Erased: Backend {
    /// To the dispatch layer.
    fn erase(tensor: FloatTensor<Self>) -> DispatchTensor;

    /// Back; `None` for a tensor of another backend.
    fn restore(tensor: DispatchTensor) -> Option<FloatTensor<Self>>;
}

impl<B: Backend> Erased for B
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn erase(tensor: FloatTensor<Self>) -> DispatchTensor {
        <DispatchTensor as DispatchKindConversion<B>>::from_backend(BackendTensor::Float(tensor))
    }

    fn restore(tensor: DispatchTensor) -> Option<FloatTensor<Self>> {
        <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(tensor).ok().map(BackendTensor::float)
    }
}

/// What a block does in the backward pass: from its input, the gradient of its output, and whether the input's gradient is
/// wanted, to that gradient. The parameters' gradients go into a [`GradSlots`].
type Run = Box<dyn FnOnce(DispatchTensor, DispatchTensor, bool) -> Option<DispatchTensor> + Send>;

/// A block that is to be run again, once.
#[derive(Clone)]
pub struct Replay(Arc<Mutex<Option<Run>>>);

impl Replay {
    /// To be run in the backward pass.
    pub fn new(
        run: impl FnOnce(DispatchTensor, DispatchTensor, bool) -> Option<DispatchTensor> + Send + 'static,
    ) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(run)))))
    }

    fn run(&self, input: DispatchTensor, grad: DispatchTensor, wants_input: bool) -> Option<DispatchTensor> {
        let run = lock(&self.0).take()?;
        run(input, grad, wants_input)
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replay")
    }
}

/// Gradients on their way from the replay of a block to the steps that hand them to its parameters.
#[derive(Clone, Debug, Default)]
pub struct GradSlots(Arc<Mutex<Vec<Option<DispatchTensor>>>>);

impl GradSlots {
    /// Leaves the gradients of all parameters.
    pub fn put(&self, grads: Vec<Option<DispatchTensor>>) {
        *lock(&self.0) = grads;
    }

    fn take(&self, index: usize) -> Option<DispatchTensor> {
        lock(&self.0).get_mut(index).and_then(Option::take)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn zeros<B: Backend>(shape: Shape, device: &B::Device, dtype: DType) -> FloatTensor<B> {
    B::float_zeros(shape, device, FloatDType::from(dtype))
}

/// Runs the block again; parents are its input and the chain of its parameters.
#[derive(Debug)]
pub struct ReplayStep;

impl<B: Erased> Backward<B, 2> for ReplayStep {
    /// The block's input and what to run.
    type State = (FloatTensor<B>, Replay);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, replay) = ops.state;
        let [input, chain] = ops.parents;
        let (shape, device, dtype) = (x.shape(), x.device(), x.dtype());
        let dx = replay.run(B::erase(x), B::erase(grad), input.is_some()).and_then(B::restore);
        if let Some(input) = input {
            // A step must hand on something even where the block does not use its input.
            grads.register::<B>(input.id, dx.unwrap_or_else(|| zeros::<B>(shape, &device, dtype)));
        }
        if let Some(chain) = chain {
            grads.register::<B>(chain.id, zeros::<B>(Shape::from([1]), &device, DType::F32));
        }
    }
}

/// Ties one parameter to the chain; its parents are the chain so far and the parameter.
#[derive(Debug)]
pub struct LinkStep;

impl<B: Erased> Backward<B, 2> for LinkStep {
    /// Where the parameter's gradient will be, and its shape and element type.
    type State = (GradSlots, usize, Shape, DType);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let token = grads.consume::<B>(&ops.node);
        let (slots, index, shape, dtype) = ops.state;
        let [chain, parameter] = ops.parents;
        if let Some(parameter) = parameter {
            let computed = slots.take(index).and_then(B::restore);
            // A leaf that the block did not use has no gradient, as without checkpointing; a computed weight needs one.
            let grad = match computed {
                None if parameter.order == 0 => None,
                None => Some(zeros::<B>(shape, &token.device(), dtype)),
                some => some,
            };
            if let Some(grad) = grad {
                grads.register::<B>(parameter.id, grad);
            }
        }
        if let Some(chain) = chain {
            grads.register::<B>(chain.id, token);
        }
    }
}

/// Starts a backward pass from a given gradient of a tensor instead of from a scalar.
#[derive(Debug)]
pub struct SeedStep;

impl<B: Backend> Backward<B, 1> for SeedStep {
    /// The gradient.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, ops.state);
        }
    }
}
