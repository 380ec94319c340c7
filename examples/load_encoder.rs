//! An encoder's folder, a picture, and what the encoder makes of it: `cargo run --release --example load_encoder -- [FOLDER [PICTURE]]`
//!
//! FOLDER is any SigLIP, SigLIP2 (at fixed resolution) or CLIP in the Hugging Face layout, alone or with its text tower; without one,
//! the small SigLIP2 that ships with the repository.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::vision::VisionEncoder;
use burn_vlm_data::image::ImageProcessor;
use burn_vlm_experiments::{AnyError, arguments};
use burn_vlm_train::pictures::processor_of;

const HELP: &str = "What a vision encoder makes of a picture

Usage: load_encoder [FOLDER [PICTURE]]

  FOLDER   any SigLIP, SigLIP 2 or CLIP in the Hugging Face layout [default: parts/siglip2]
  PICTURE  a PNG, JPEG, WebP, GIF, BMP or TIFF file [default: a cat]";

fn main() -> Result<(), AnyError> {
    let Some(arguments) = arguments(HELP, 2)? else { return Ok(()) };
    let mut arguments = arguments.into_iter().map(PathBuf::from);
    let folder = arguments.next().unwrap_or_else(|| "parts/siglip2".into());
    let file = arguments.next().unwrap_or_else(|| "tests/fixtures/images/cat_451x300.png".into());

    let device = Device::flex();
    let encoder = VisionEncoder::load_pretrained(&folder, &device)?;
    let size = encoder.config().image_size();
    // As preprocessor_config.json says; a folder without one takes SigLIP's.
    let processor = ImageProcessor::new(processor_of(&folder, size)?)?;
    let picture = processor.process_bytes(&file.display().to_string(), &std::fs::read(&file)?)?;

    let pixels: Tensor<4> = Tensor::from_data(TensorData::new(picture.data, [1, 3, size, size]), &device);
    let output = encoder.forward(pixels)?;
    let [_, tokens, width] = output.last_hidden_state.dims();
    println!("{}: {size} x {size} pixels become {tokens} vectors of {width}", folder.display());
    let first: Vec<f32> =
        output.last_hidden_state.narrow(1, 0, 1).into_data().try_into_vec().map_err(|e| format!("{e:?}"))?;
    println!("the first begins with {:?}", &first[..4]);
    if let Some(pooled) = output.pooler_output {
        println!("and one vector of {} stands for the whole picture", pooled.dims()[1]);
    }
    Ok(())
}
