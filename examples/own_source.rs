//! Samples of your own, made as they are asked for, as training data: `cargo run --release --example own_source`
//!
//! Files in the usual formats need no code: see docs/sources.md.

use std::path::Path;
use std::sync::Arc;

use burn_vlm_base::progress::Reporter;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::image::{RgbImage, encode_png};
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture, Sample};
use burn_vlm_data::source::{Skip, SkipReason, Source};
use burn_vlm_experiments::{AnyError, arguments};
use burn_vlm_train::assemble::{Assembled, assemble};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::recipe::read_recipe;
use burn_vlm_train::run::sources_objective;
use burn_vlm_train::trainer::{StageRun, train_stage};

const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [200, 0, 0]), ("green", [0, 140, 20]), ("blue", [10, 40, 210]), ("yellow", [230, 200, 20])];

/// Plain colours in many shades. A sample is a function of its number, so a run can stop and go on anywhere.
struct Colours;

impl Source for Colours {
    fn name(&self) -> &str {
        "colours"
    }

    fn len(&self) -> u64 {
        160
    }

    fn get(&self, record: u64) -> Result<Sample, Box<Skip>> {
        let (colour, rgb) = COLOURS[record as usize % COLOURS.len()];
        let shade = RgbImage::from_pixel(64, 64, rgb.map(|value| value + (record / 4) as u8 % 25).into());
        let turns = vec![Turn::user("<image>\nWhich colour is this?"), Turn::assistant(colour)];
        let sample = Sample::new(format!("{colour}-{record}"), turns, Vec::new(), Some(Language::EN));
        let bytes = encode_png(&shade).map_err(|error| self.skip_of(record, &sample, SkipReason::from(error)))?;
        let picture = Picture::Encoded { name: sample.id.clone(), bytes: bytes.into() };
        Ok(Sample { source: self.name().into(), media: vec![Media::Image(picture)], ..sample })
    }
}

const HELP: &str =
    "Trains an alignment on pictures that are made as they are asked for, to runs/own_source: no options";

fn main() -> Result<(), AnyError> {
    if arguments(HELP, 0)?.is_none() {
        return Ok(());
    }
    let device = choose(DeviceChoice::Auto)?.device.autodiff();
    let recipe = read_recipe(Path::new("recipes/tiny.toml"), &["stage.align.steps=60".into()])?;
    let parts: Assembled = assemble(&recipe.model, "parts/siglip2".as_ref(), "parts/backbone".as_ref(), 0, &device)?;
    let folder = Path::new("runs/own_source");
    let (stage, objective) = sources_objective((&recipe, "align"), vec![Arc::new(Colours)], &parts, folder, 0)?;
    let reporter = Reporter::new(false);
    let run = StageRun::new("align", &stage, folder, &device, &reporter);
    let (_model, result) = train_stage(&run, objective, parts.model)?;
    result.log.iter().for_each(|entry| println!("step {:3}: loss {:.3}", entry.step, entry.loss_mean));
    Ok(())
}
