//! Image preprocessing on one thread: decode, resize to 384 x 384 (bicubic), normalise. `tests/python/pil_rate.py` compares
//! with Pillow on the same pictures, by another clock: criterion's is wall time.
//!
//! `cargo bench --workspace --bench preprocess`

use burn_vlm_data::image::{ImageProcessor, ImageProcessorConfig};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;

fn preprocess(criterion: &mut Criterion) {
    let processor = ImageProcessor::new(ImageProcessorConfig::siglip(384)).unwrap();
    let mut group = criterion.benchmark_group("preprocess_384");
    group.throughput(Throughput::Elements(1));
    for name in ["benches/china_501x334.jpg", "../tests/fixtures/images/china_501x334.png"] {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let kind = name.rsplit('.').next().unwrap_or_default();
        let image = processor.decode(name, &bytes).unwrap();
        group.bench_function(format!("{kind}_whole"), |bencher| {
            bencher.iter(|| processor.process_bytes(name, black_box(&bytes)).unwrap())
        });
        group.bench_function(format!("{kind}_decode"), |bencher| {
            bencher.iter(|| processor.decode(name, black_box(&bytes)).unwrap())
        });
        group.bench_function(format!("{kind}_resize_normalise"), |bencher| {
            bencher.iter(|| processor.process(black_box(&image)).unwrap())
        });
    }
    group.finish();
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
