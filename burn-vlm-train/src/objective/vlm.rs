//! Next-token loss of a VLM on the answers to questions about pictures.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::Vlm;

use super::batch::on_samples;
use super::validation::{HeldOut, Validation};
use super::{Batch, IntoInput, SampleStream};
use crate::error::Result;
use crate::trainer::Objective;

/// A stream of samples and the loss on their trained tokens, for a VLM of any tower and connector.
pub struct VlmObjective<T = VisionEncoder, P = Connector> {
    samples: Arc<SampleStream>,
    held_out: Option<HeldOut>,
    model: PhantomData<fn() -> (T, P)>,
}

impl<T: VisionTower, P: Projector> VlmObjective<T, P> {
    /// The loss on a stream.
    pub fn new(samples: SampleStream) -> Self {
        Self { samples: Arc::new(samples), held_out: None, model: PhantomData }
    }

    /// Validates on samples that are held out.
    pub fn with_validation(self, held_out: Option<HeldOut>) -> Self {
        Self { held_out, ..self }
    }

    /// What it trains on.
    pub fn samples(&self) -> &SampleStream {
        &self.samples
    }
}

impl<T: VisionTower, P: Projector> Objective for VlmObjective<T, P> {
    type Model = Vlm<T, P>;

    on_samples!();

    fn loss(&self, model: &Vlm<T, P>, batch: Batch, device: &Device) -> Result<Tensor<1>> {
        batch.loss(model, device)
    }

    fn validate(&self, model: &Vlm<T, P>, device: &Device) -> Result<Option<Validation>> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        let (model, device) = (model.valid(), device.clone().inner());
        held_out.validate(&self.samples, |batch| batch.losses(&model, &device)).map(Some)
    }
}
