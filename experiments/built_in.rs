//! The studies that are built into the programs, with the files that they name and the shapes of published parts.

use burn_vlm_train::run::estimate::ShippedShape;

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

/// A study by its file below `experiments/`, and by what `--study` calls it where that is not the file's name.
macro_rules! built_in {
    ($file:literal) => {
        built_in!($file, $file)
    };
    ($name:literal, $file:literal) => {
        BuiltIn { name: $name, file: $file, text: include_str!(concat!($file, ".toml")) }
    };
}

/// TowerVision's encoder study.
pub const ENCODER: BuiltIn = built_in!("encoder");

/// TowerVision's backbones.
pub const BACKBONE: BuiltIn = built_in!("backbone");

/// TowerVision's captions of the alignment.
pub const ALIGNMENT: BuiltIn = built_in!("alignment");

/// TowerVision's ten or twenty languages.
pub const LANGUAGES: BuiltIn = built_in!("languages");

/// What pictures cost the backbone in its own languages.
pub const FORGETTING: BuiltIn = built_in!("forgetting");

/// All weights or adapters, and their learning rates; the first is the program's default.
pub const ADAPTER: [BuiltIn; 2] = [built_in!("forgetting", "adapter"), built_in!("rates", "adapter_rates")];

/// TowerVision's pixels, patches and tiles.
pub const RESOLUTION: BuiltIn = built_in!("resolution");

/// TowerVision's threshold of translated captions.
pub const THRESHOLD: BuiltIn = built_in!("threshold");

/// TowerVision's text in pictures.
pub const OCR: BuiltIn = built_in!("ocr");

/// TowerVision's languages of the video stage, and how many frames a question needs; the first is the program's default.
pub const VIDEO: [BuiltIn; 2] = [built_in!("languages", "video"), built_in!("frames", "video_frames")];

/// Parrot against LLaVA; the first is the program's default.
pub const PARROT: [BuiltIn; 6] = [
    built_in!("connector", "parrot"),
    built_in!("languages", "parrot_languages"),
    built_in!("scale", "parrot_scale"),
    built_in!("encoder", "parrot_encoder"),
    built_in!("monolingual", "parrot_monolingual"),
    built_in!("translate", "parrot_translate"),
];

/// All studies, in the order of `burn-vlm study --all`, by the names of their files. To add one, write its file and name it here.
pub const STUDIES: [BuiltIn; 18] = [
    ENCODER, BACKBONE, ALIGNMENT, THRESHOLD, LANGUAGES, RESOLUTION, OCR, FORGETTING, ADAPTER[0], ADAPTER[1], VIDEO[0],
    VIDEO[1], PARROT[0], PARROT[1], PARROT[2], PARROT[3], PARROT[4], PARROT[5],
];

/// A published part by its folder's name and its repository; its shape is that of another folder where one is given.
macro_rules! shape {
    ($name:literal, $repository:literal) => {
        shape!($name, $repository, $name)
    };
    ($name:literal, $repository:literal, $shape:literal) => {
        ShippedShape {
            name: $name,
            repository: $repository,
            config: include_str!(concat!("../recipes/shapes/", $shape, "/config.json")),
        }
    };
}

/// Shapes of published parts, for dry runs without their files.
pub const SHAPES: [ShippedShape; 18] = [
    shape!("siglip-so400m-patch14-384", "google/siglip-so400m-patch14-384"),
    shape!("siglip2-so400m-patch14-384", "google/siglip2-so400m-patch14-384"),
    shape!("siglip2-so400m-patch14-224", "google/siglip2-so400m-patch14-224"),
    shape!("siglip2-base-patch16-224", "google/siglip2-base-patch16-224"),
    shape!("siglip2-so400m-patch16-512", "google/siglip2-so400m-patch16-512"),
    shape!("siglip2-so400m-patch16-naflex", "google/siglip2-so400m-patch16-naflex"),
    shape!("clip-vit-large-patch14-336", "openai/clip-vit-large-patch14-336"),
    shape!("chinese-clip-vit-large-patch14-336px", "OFA-Sys/chinese-clip-vit-large-patch14-336px"),
    // Gemma 2 and Tower+ are one shape.
    shape!("base-2b-pt", "google/gemma-2-2b", "Tower-Plus-2B"),
    shape!("base-2b-it", "google/gemma-2-2b-it", "Tower-Plus-2B"),
    shape!("tower-2b-pt", "", "Tower-Plus-2B"),
    shape!("tower-2b-it", "Unbabel/Tower-Plus-2B", "Tower-Plus-2B"),
    shape!("Tower-Plus-2B", "Unbabel/Tower-Plus-2B"),
    shape!("Tower-Plus-9B", "Unbabel/Tower-Plus-9B"),
    shape!("TowerVision-2B", "utter-project/TowerVision-2B"),
    shape!("TowerVision-9B", "utter-project/TowerVision-9B"),
    shape!("Qwen1.5-7B-Chat", "Qwen/Qwen1.5-7B-Chat"),
    shape!("vicuna-7b-v1.5", "lmsys/vicuna-7b-v1.5"),
];

/// A file by its folder and name, from the repository's root or from `experiments/`.
macro_rules! file {
    ($path:literal) => {
        ($path, include_str!($path))
    };
    ($path:literal, up) => {
        ($path, include_str!(concat!("../", $path)))
    };
}

/// What built-in studies name, by folder and file name: their recipes, and the studies that are their presets.
pub(crate) const FILES: [(&str, &str); 21] = [
    file!("paper/adapter.toml"),
    file!("paper/alignment.toml"),
    file!("paper/backbone.toml"),
    file!("paper/encoder.toml"),
    file!("paper/forgetting.toml"),
    file!("paper/languages.toml"),
    file!("paper/ocr.toml"),
    file!("paper/resolution.toml"),
    file!("paper/video.toml"),
    file!("paper/parrot.toml"),
    file!("paper/parrot_encoder.toml"),
    file!("paper/parrot_languages.toml"),
    file!("paper/parrot_monolingual.toml"),
    file!("paper/parrot_scale.toml"),
    file!("paper/parrot_translate.toml"),
    file!("recipes/parrot.toml", up),
    file!("recipes/parrot-tiny.toml", up),
    file!("recipes/tiny.toml", up),
    file!("recipes/towervideo-tiny.toml", up),
    file!("recipes/towervision-2b.toml", up),
    file!("recipes/towervision-tiny.toml", up),
];
