//! The studies of burn-vlm: one command line for all of them, their TOML files, and their recorded results.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod args;
mod chat;
mod data;
mod pretrain;
mod study;
mod train;

use burn_vlm_train::run::estimate::ShippedShape;

pub use args::StudyArgs;
pub use chat::chat;
pub use data::{DataArgs, data, run_data};
pub use pretrain::pretrain;
pub use study::{AnyError, execute, execute_of, execute_with, parse, run_studies, run_studies_of};
pub use train::{TrainArgs, run_training, train};

/// A study that is built into the programs.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// What `--study` calls it.
    pub name: &'static str,
    /// Its file below `experiments/`, without the extension.
    pub file: &'static str,
    /// The file's content.
    pub text: &'static str,
}

/// TowerVision's encoder study.
pub const ENCODER: BuiltIn = BuiltIn { name: "encoder", file: "encoder", text: include_str!("encoder.toml") };

/// Parrot against LLaVA; the first is the program's default.
pub const PARROT: [BuiltIn; 4] = [
    BuiltIn { name: "connector", file: "parrot", text: include_str!("parrot.toml") },
    BuiltIn { name: "languages", file: "parrot_languages", text: include_str!("parrot_languages.toml") },
    BuiltIn { name: "scale", file: "parrot_scale", text: include_str!("parrot_scale.toml") },
    BuiltIn { name: "encoder", file: "parrot_encoder", text: include_str!("parrot_encoder.toml") },
];

/// Shapes of published parts, for dry runs without their files.
pub const SHAPES: [ShippedShape; 5] = [
    ShippedShape {
        name: "siglip2-so400m-patch14-384",
        config: include_str!("../recipes/shapes/siglip2-so400m-patch14-384/config.json"),
    },
    ShippedShape {
        name: "clip-vit-large-patch14-336",
        config: include_str!("../recipes/shapes/clip-vit-large-patch14-336/config.json"),
    },
    ShippedShape { name: "Tower-Plus-2B", config: include_str!("../recipes/shapes/Tower-Plus-2B/config.json") },
    ShippedShape { name: "Tower-Plus-9B", config: include_str!("../recipes/shapes/Tower-Plus-9B/config.json") },
    ShippedShape { name: "vicuna-7b-v1.5", config: include_str!("../recipes/shapes/vicuna-7b-v1.5/config.json") },
];

/// The recipes that built-in studies name, by file name.
const RECIPES: [(&str, &str); 2] = [
    ("parrot-tiny.toml", include_str!("../recipes/parrot-tiny.toml")),
    ("tiny.toml", include_str!("../recipes/tiny.toml")),
];
