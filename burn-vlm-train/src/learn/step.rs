//! A VLM under Burn's step traits.

use burn::module::{Module, ModuleDisplay};
use burn::optim::GradientsParams;
use burn::tensor::{ExecutionError, Tensor};
use burn_train::metric::{Adaptor, LossInput};
use burn_train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::Vlm;

use crate::error::Result;
use crate::objective::{Batch, IntoInput};

/// A VLM that Burn's `Learner` and `SupervisedTraining` can train; a type of ours, because neither `Vlm` nor the traits are of this
/// crate. The paths of its parameters begin with `vlm.`.
///
/// # Panics
/// The traits have no place for an error, so a step on a batch that does not fit the model panics with what does not fit. Batches of
/// a [`Layout`](crate::objective::Layout) made for the model fit.
#[derive(Module, Debug)]
pub struct VlmLearner<T: Module + ModuleDisplay = VisionEncoder, P: Module + ModuleDisplay = Connector> {
    /// The model.
    pub vlm: Vlm<T, P>,
}

/// What a step returns: the next-token loss of each target, `[targets]`.
///
/// As input of Burn's `LossMetric` each target counts once, so that the metric over an epoch is the mean over all targets, as in our
/// own validation.
pub struct TargetLosses {
    /// The losses; empty for a batch without targets.
    pub losses: Tensor<1>,
}

impl ItemLazy for TargetLosses {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.losses.device().flush()?;
        Ok(Self { losses: self.losses.without_autodiff() })
    }
}

impl Adaptor<LossInput> for TargetLosses {
    /// A batch without targets counts as one target of loss zero: the mean of nothing is no number.
    fn adapt(&self) -> LossInput {
        match self.losses.dims() {
            [0] => LossInput::new(Tensor::zeros([1], &self.losses.device())),
            _ => LossInput::new(self.losses.clone()),
        }
    }
}

impl<T: VisionTower, P: Projector> VlmLearner<T, P> {
    /// The loss of each target of a batch.
    fn losses(&self, batch: Batch) -> Tensor<1> {
        let device = self.vlm.language_model.device();
        if batch.targets.is_empty() {
            return Tensor::zeros([0], &device);
        }
        match batch.losses(&self.vlm, &device) {
            Ok(losses) => losses,
            Err(error) => panic!("a batch does not fit the model: {error}"),
        }
    }
}

impl<T: VisionTower, P: Projector> TrainStep for VlmLearner<T, P> {
    type Input = Batch;
    type Output = TargetLosses;

    /// The gradients are those of the mean loss over the batch's targets; none for a batch without targets.
    fn step(&self, batch: Batch) -> TrainOutput<TargetLosses> {
        let losses = self.losses(batch);
        match losses.dims() {
            [0] => TrainOutput { grads: GradientsParams::new(), item: TargetLosses { losses } },
            // As our own objectives do: the sum, divided once.
            [targets] => {
                let mean = losses.clone().sum() / targets as f64;
                TrainOutput::new(self, mean.backward(), TargetLosses { losses })
            }
        }
    }
}

impl<T: VisionTower, P: Projector> InferenceStep for VlmLearner<T, P> {
    type Input = Batch;
    type Output = TargetLosses;

    /// Without the noise of training.
    fn step(&self, batch: Batch) -> TargetLosses {
        TargetLosses { losses: self.losses(Batch { noise_seed: None, ..batch }) }
    }
}
