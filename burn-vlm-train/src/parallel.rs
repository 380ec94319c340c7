//! An optimizer step on several devices: each takes its share of the step's micro-batches on a replica of the model.
//!
//! Losses are summed over all micro-batches of a step and divided by its targets, so that the number of devices changes nothing but
//! the order of sums. Gradients are added up on the first device, which holds the optimizer, and the updated parameters are copied
//! back.
//!
//! Unusual here: no collective operations. Those of Burn 0.22 exist on CUDA and wgpu only and count one backward pass a step, which
//! gradient checkpointing and accumulation break; copies between devices work on every backend, also on two replicas on one CPU,
//! which is how this is tested.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;

use crate::error::{Result, TrainError};
use crate::objective::{BatchLoss, LossSums};
use crate::trainer::Objective;

/// The model's copies on the devices besides the first, `[device]`.
pub(crate) struct Replicas<'a, M> {
    devices: &'a [Device],
    models: Vec<M>,
}

/// What the micro-batches of a device gave.
struct Share {
    /// `None` without micro-batches.
    grads: Option<GradientsParams>,
    loss: f64,
    parts: LossSums,
}

impl<'a, M: Module + Clone> Replicas<'a, M> {
    /// Copies of `model` on `devices`.
    pub(crate) fn new(model: &M, devices: &'a [Device]) -> Self {
        let mut replicas = Self { devices, models: Vec::new() };
        replicas.update(model);
        replicas
    }

    /// Copies the parameters anew.
    pub(crate) fn update(&mut self, model: &M) {
        self.models = self.devices.iter().map(|device| model.clone().fork(device)).collect();
    }

    /// The loss and the gradients, on the first device, of all micro-batches of a step; `weight` is what losses are divided by.
    ///
    /// # Errors
    /// A batch that does not fit the model. A loss that is not finite is returned as it is, with the gradients so far.
    pub(crate) fn gradients<O: Objective<Model = M>>(
        &self,
        objective: &Arc<O>,
        model: &M,
        batches: Vec<O::Batch>,
        weight: f64,
        device: &Device,
    ) -> Result<(GradientsParams, f64, LossSums)> {
        if self.devices.is_empty() {
            let Share { grads, loss, parts } = share(&**objective, model, batches, weight, device)?;
            return Ok((grads.unwrap_or_else(GradientsParams::new), loss, parts));
        }
        let count = self.devices.len() + 1;
        let mut shares: Vec<Vec<O::Batch>> = (0..count).map(|_| Vec::new()).collect();
        for (number, batch) in batches.into_iter().enumerate() {
            shares[number % count].push(batch);
        }
        let mut shares = shares.into_iter();
        let own = shares.next().unwrap_or_default();
        let (own, others) = std::thread::scope(|scope| {
            let work = |((batches, replica), device): ((Vec<O::Batch>, &M), &'a Device)| {
                let (objective, replica) = (objective.clone(), replica.clone());
                scope.spawn(move || share(&*objective, &replica, batches, weight, device))
            };
            let others: Vec<_> = shares.zip(&self.models).zip(self.devices).map(work).collect();
            let own = share(&**objective, model, own, weight, device);
            let joined = others.into_iter().map(|other| {
                other
                    .join()
                    .unwrap_or_else(|_| Err(TrainError::Device("a device's thread panicked in a training step".into())))
            });
            (own, joined.collect::<Vec<Result<Share>>>())
        });
        let mut sum = GradientsAccumulator::new();
        let (mut loss, mut parts) = (0.0, LossSums::default());
        for part in std::iter::once(own).chain(others) {
            let part = part?;
            loss += part.loss;
            parts.merge(&part.parts);
            if let Some(grads) = part.grads {
                sum.accumulate(model, grads.to_device(&device.clone().inner(), model));
            }
        }
        Ok((sum.grads(), loss, parts))
    }
}

/// The micro-batches of one device, one after the other.
fn share<O: Objective>(
    objective: &O,
    model: &O::Model,
    batches: Vec<O::Batch>,
    weight: f64,
    device: &Device,
) -> Result<Share> {
    let mut sum = GradientsAccumulator::new();
    let mut single = None;
    let (count, mut loss_sum, mut parts) = (batches.len(), 0.0, LossSums::default());
    for batch in batches {
        let BatchLoss { sum: loss, targets } = objective.batch_loss(model, batch, device)?;
        let loss = loss / weight;
        loss_sum += f64::from(loss.clone().into_scalar::<f32>());
        if !loss_sum.is_finite() {
            break;
        }
        if let Some(targets) = targets {
            parts.add_batch(targets)?;
        }
        let grads = GradientsParams::from_grads(loss.backward(), model);
        if count == 1 {
            single = Some(grads);
        } else {
            sum.accumulate(model, grads);
        }
    }
    let grads = single.or_else(|| (count > 1).then(|| sum.grads()));
    Ok(Share { grads, loss: loss_sum, parts })
}
