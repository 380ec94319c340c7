use burn_vlm::burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::vision::VisionEncoder;
use burn_vlm_data::image::ImageProcessor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new("parts/siglip2"); // any SigLIP or CLIP, as the hub has it
    let device = Device::flex();
    let encoder = VisionEncoder::load_pretrained(folder, &device)?;
    let processor = ImageProcessor::from_folder(folder)?;
    let file = "tests/fixtures/images/cat_451x300.png";
    let picture = processor.process_bytes(file, &std::fs::read(file)?)?;
    let shape = [1, 3, picture.height, picture.width];
    let pixels = Tensor::<4>::from_data(TensorData::new(picture.data, shape), &device);
    let output = encoder.forward(pixels)?; // last_hidden_state [1, patches, width], pooler_output [1, width]
    println!("{:?}", output.last_hidden_state.dims());
    Ok(())
}
