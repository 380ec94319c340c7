//! What the objectives on a stream of samples have in common.

/// The parts of an objective that its samples decide alone.
macro_rules! on_samples {
    () => {
        type Item = burn_vlm_data::source::Drawn<burn_vlm_data::prepare::PreparedSample>;
        type Batch = burn_vlm_data::prepare::Batch;

        fn item(&self, index: usize) -> $crate::error::Result<Self::Item> {
            Ok(self.samples.sample(index)?)
        }

        fn items_per_step(&self, _accumulate: usize) -> usize {
            self.samples.samples_per_step()
        }

        fn items_ahead(&self) -> usize {
            2 * self.samples.layout.batch
        }

        fn micro_batches(&self, first: usize, items: Vec<Self::Item>) -> $crate::error::Result<Vec<Self::Batch>> {
            Ok(self.samples.micro_batches(first, items)?)
        }

        fn ids(&self, index: usize) -> Vec<String> {
            self.samples.id(index).into_iter().collect()
        }

        fn remarks(&self) -> Vec<String> {
            self.samples.remarks()
        }

        fn size(batch: &Self::Batch) -> $crate::trainer::BatchSize {
            $crate::objective::batch_size(batch)
        }
    };
}
pub(super) use on_samples;
