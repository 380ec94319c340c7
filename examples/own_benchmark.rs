//! A benchmark of your own beside a study's: `cargo run --release --example own_benchmark -- --preset smoke`
//!
//! It shows plain colours and asks for their names. Questions in a file need no code: see docs/benchmarks.md.

use std::sync::Arc;

use burn_vlm_data::image::{RgbImage, encode_png};
use burn_vlm_data::sample::{Media, Picture};
use burn_vlm_experiments::{AnyError, ENCODER, execute_with, study_args};
use burn_vlm_train::error::Result;
use burn_vlm_train::eval::{Ask, Benchmark, Metric, NamedScore, Prediction, Question, Reply};

const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [220, 20, 20]), ("green", [20, 160, 40]), ("blue", [30, 60, 220]), ("yellow", [250, 220, 40])];

struct Colours(Vec<Question>);

impl Benchmark for Colours {
    fn name(&self) -> &str {
        "colours"
    }

    fn questions(&self) -> &[Question] {
        &self.0
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        let predict = |(right, reply): (usize, &Reply)| {
            let scores = reply.scores("colours", COLOURS.len())?;
            let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let scores = vec![NamedScore::right("colours", best == Some(right))];
            let (name, _) = COLOURS[right];
            Ok(Prediction { language: Some("en".into()), scores, ..Prediction::new(name, "colours", name) })
        };
        replies.iter().enumerate().map(predict).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let explanation = "A plain colour; the likeliest of four names is the answer.".into();
        vec![Metric { name: "colours".into(), label: "Colours".into(), explanation, chance: Some(25.0) }]
    }

    fn languages(&self) -> Vec<String> {
        vec!["en".into()]
    }
}

fn main() -> Result<(), AnyError> {
    let answers: Vec<String> = COLOURS.map(|(name, _)| name.into()).to_vec();
    let mut questions = Vec::new();
    for (name, rgb) in COLOURS {
        let bytes = encode_png(&RgbImage::from_pixel(64, 64, rgb.into()))?.into();
        let picture = Media::Image(Picture::Encoded { name: format!("{name}.png"), bytes });
        let ask = Ask::Likelihood { answers: answers.clone() };
        questions.push(Question::new(name, "What is this?", vec![picture], ask));
    }
    execute_with(&ENCODER, &study_args("own_benchmark", &[ENCODER]), &[Arc::new(Colours(questions))])
}
