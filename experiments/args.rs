//! The command line that all studies share.

use std::path::{Path, PathBuf};

use burn_vlm::checkpoint::{LoadOptions, Packed, StoreDtype};
use burn_vlm_data::video::{DEFAULT_FRAMES, Decoder, MAX_CHOSEN, Sampling, VideoError, VideoOptions, VideoSettings};
use burn_vlm_train::ablation::Shard;
use burn_vlm_train::device::DeviceChoice;
use burn_vlm_train::run::estimate::Machine;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, ValueEnum};

use crate::AnyError;
use crate::call;

/// What is there is not written over, nor mixed with something else.
pub(crate) fn check_empty(folder: &Path) -> Result<(), AnyError> {
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot look into {}: {error}", folder.display()).into()),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(format!("{} is not empty; name another folder, or remove it first", folder.display()).into()),
    }
}

/// The last line of `--help`.
pub(crate) const AFTER_HELP: &str =
    "Running the same command again continues where it stopped; finished cells are not trained again.";

/// Examples for `--help`: the program's name, and a cell of its study.
pub(crate) fn examples(program: &str, cell: &str) -> String {
    let only = format!("--only {cell}");
    let lines = [
        (program, "", "the default study, on this machine"),
        (program, "--preset smoke", "does it run at all? (a minute)"),
        (program, "--dry-run", "what would be trained, how long it takes"),
        (program, &only, "one cell"),
        (program, "--device cuda", "on an NVIDIA GPU"),
    ];
    call::examples(&lines, AFTER_HELP)
}

/// `--frames`: as many as a rule may choose.
pub(crate) fn chosen_frames() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MAX_CHOSEN as u64)
}

/// Which frames of videos are chosen, and what decodes them.
#[derive(Debug, Clone, Args)]
pub(crate) struct RuleArgs {
    /// Frames of a video that are shown; with `--frame-rule fps` the most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FRAMES, value_parser = chosen_frames())]
    frames: usize,

    /// How they are chosen: as lmms-eval, as LLaVA-NeXT's training code, as `load_video` of transformers 5 or 4 [default: linspace,
    /// or fps with --fps]
    #[arg(long, value_enum, value_name = "RULE")]
    frame_rule: Option<FrameRule>,

    /// Frames a second of the video, for `--frame-rule fps` [default: 1]
    #[arg(long, value_name = "F")]
    fps: Option<f64>,

    /// Frames a second of folders of frames, which have no clock, for `--fps`
    #[arg(long, value_name = "F")]
    folder_fps: Option<f64>,

    /// What decodes video files [default: programs]
    #[arg(long, value_enum, value_name = "DECODER")]
    video_decoder: Option<VideoDecoder>,
}

/// Which frames of videos a model is shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct FrameArgs {
    #[command(flatten)]
    rule: RuleArgs,

    /// Keep resized frames in this folder, 4 GB at most
    #[arg(long, value_name = "DIR")]
    frame_cache: Option<PathBuf>,
}

/// A rule that chooses frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FrameRule {
    Linspace,
    Fps,
    #[value(name = "transformers-5")]
    Transformers5,
    #[value(name = "transformers-4")]
    Transformers4,
}

/// `--video-decoder`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VideoDecoder {
    /// ffmpeg and ffprobe
    Programs,
    /// FFmpeg's libraries in this process, in a build with the feature libav
    Libav,
}

impl FrameRule {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl FrameArgs {
    /// How videos are shown.
    ///
    /// # Errors
    /// A rule that cannot choose.
    pub(crate) fn settings(&self) -> Result<VideoSettings, VideoError> {
        Ok(VideoSettings { cache: self.frame_cache.clone(), ..self.rule.settings()? })
    }
}

impl RuleArgs {
    /// How videos are read.
    ///
    /// # Errors
    /// A rule that cannot choose.
    pub(crate) fn settings(&self) -> Result<VideoSettings, VideoError> {
        let frames = self.frames;
        let sampling = match (self.frame_rule, self.fps) {
            (None | Some(FrameRule::Fps), Some(fps)) => Sampling::Fps { fps, upper_bound: Some(frames), force: false },
            (Some(FrameRule::Fps), None) => Sampling::Fps { fps: 1.0, upper_bound: Some(frames), force: false },
            (Some(rule), Some(fps)) => {
                return Err(VideoError::Rule {
                    key: "--fps",
                    expected: "--frame-rule fps beside it, or no --frame-rule, which means that".to_owned(),
                    found: format!("--fps {fps} with --frame-rule {}", rule.name()),
                });
            }
            (None | Some(FrameRule::Linspace), None) => Sampling::Linspace { frames },
            (Some(FrameRule::Transformers5), None) => Sampling::Transformers5 { frames },
            (Some(FrameRule::Transformers4), None) => Sampling::Transformers4 { frames },
        };
        sampling.check()?;
        let decoder = match self.video_decoder {
            None | Some(VideoDecoder::Programs) => Decoder::Programs,
            Some(VideoDecoder::Libav) => Decoder::Libav,
        };
        let reading = VideoOptions { folder_fps: self.folder_fps, decoder, ..VideoOptions::default() };
        Ok(VideoSettings { sampling, reading, ..VideoSettings::default() })
    }
}

/// Options of a study.
#[derive(Debug, Clone, Parser)]
#[command(
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub struct StudyArgs {
    /// Which of the program's studies
    #[arg(long, value_name = "STUDY", conflicts_with = "config")]
    pub study: Option<String>,

    /// Size of the study: `smoke` (a minute, checks that everything runs), `tiny` (minutes on two cores), others by study
    /// [default: tiny; of a study without presets, the study as it stands]
    #[arg(long, value_name = "PRESET")]
    pub preset: Option<String>,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,

    /// Folder of the results [default: runs/STUDY/PRESET]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Training seeds per cell [default: the preset's]
    #[arg(long, value_name = "N")]
    pub seeds: Option<usize>,

    /// Train only this cell, by the name --dry-run shows (`siglip2/en`, or one seed: `siglip2/en/seed0`)
    #[arg(long, value_name = "CELL")]
    pub only: Option<String>,

    /// Print cells, parameters, tokens and an estimate of the time, and train nothing
    #[arg(long)]
    pub dry_run: bool,

    /// For dry runs: another machine
    #[command(flatten)]
    pub elsewhere: Elsewhere,

    /// Print errors and the final table only
    #[arg(long, short)]
    pub quiet: bool,

    /// Run every N-th cell, for job arrays on a shared folder: 1/4, 2/4, ...
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,

    /// Only write the summary of the cells that are finished
    #[arg(long, conflicts_with_all = ["shard", "dry_run"])]
    pub merge: bool,

    /// Cells trained at the same time, each with its share of the cores [default: one per core up to 2 on CPU, 1 on GPU]
    #[arg(long, value_name = "J")]
    pub jobs: Option<usize>,

    /// Train every stage in every cell. By default a stage that several cells begin with (the same parts, recipe, data and seed up to
    /// it) is trained once; the results are the same, bit for bit
    #[arg(long)]
    pub no_share: bool,

    /// Pretrain encoders and backbone in the study instead of taking the shipped ones
    #[arg(long)]
    pub from_scratch: bool,

    /// Folder of pretrained parts [default: parts/ here, else that of the source tree which the program was built from]
    #[arg(long, value_name = "DIR")]
    pub parts: Option<PathBuf>,

    /// Folder of another copy of the emoji corpus [default: the embedded one]
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,

    /// Another study file in the place of the built-in one
    #[arg(long, value_name = "TOML")]
    pub config: Option<PathBuf>,
}

/// Where a model computes, and in what.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,

    /// Element type of the weights in memory, whatever the files store. f32 takes 4 bytes a parameter (28 GB for 7 billion),
    /// bf16 and f16 take 2, and on the CPU read faster; q8 takes 1.06 for the layers, the embeddings and the head; q4 0.63 for the layers of
    /// the decoder and 1.06 for the rest, is the smallest and rounds most (both on device flex alone). What a GGUF file has in 4 bits q4
    /// keeps as it is, and what it has in 5, 6 or 8 bits in 8. The cache and the activations come on top
    #[arg(long, value_enum, default_value_t = Held::F32, value_name = "TYPE")]
    pub(crate) dtype: Held,
}

/// `--dtype` of what answers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Held {
    F32,
    Bf16,
    F16,
    Q8,
    Q4,
}

impl Held {
    /// As the loader takes it. What q8 and q4 do not pack is in f16, the finest of the narrow types.
    pub(crate) fn options(self) -> LoadOptions {
        match self {
            Self::F32 => StoreDtype::F32.into(),
            Self::Bf16 => StoreDtype::BF16.into(),
            Self::F16 => StoreDtype::F16.into(),
            Self::Q8 => LoadOptions { packed: Some(Packed::Q8), ..StoreDtype::F16.into() },
            Self::Q4 => LoadOptions { packed: Some(Packed::Q4), ..StoreDtype::F16.into() },
        }
    }
}

/// `--dtype` of what writes a folder.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Precision {
    F32,
    Bf16,
    F16,
}

impl Precision {
    /// As the loader takes it.
    pub(crate) fn store(self) -> StoreDtype {
        match self {
            Self::F32 => StoreDtype::F32,
            Self::Bf16 => StoreDtype::BF16,
            Self::F16 => StoreDtype::F16,
        }
    }
}

/// For dry runs: a machine that is elsewhere.
#[derive(Debug, Clone, Default, Args)]
pub struct Elsewhere {
    /// For --dry-run: time and memory on a machine that is elsewhere, by its devices: h100, h100x8, a100, a100-40gb, h200, b200, l40s, rtx4090, mi300x
    #[arg(long, value_name = "DEVICE[xN]", requires = "dry_run", conflicts_with = "tflops")]
    on: Option<Machine>,

    /// For --dry-run: time on devices whose matrix products peak at so many TFLOP/s in the recipe's precision
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = tflops)]
    tflops: Option<f64>,

    /// With --tflops: how many of them
    #[arg(long, value_name = "N", requires = "tflops", value_parser = clap::value_parser!(u16).range(1..))]
    devices: Option<u16>,
}

impl Elsewhere {
    /// The machine, if one is named.
    pub(crate) fn machine(&self) -> Option<Machine> {
        let given = self.tflops.map(|rate| Machine::given(rate * 1e12, self.devices.map_or(1, usize::from)));
        self.on.clone().or(given)
    }
}

fn tflops(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected TFLOP/s above 0, such as 312".to_owned())
}

/// Units of sizes, as transformers counts them.
const UNITS: [(&str, u64); 3] = [("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

/// A number of bytes: `500MB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_uppercase();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| upper.strip_suffix(name).map(|number| (number, *unit)))
        .unwrap_or((upper.as_str(), 1));
    let size = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|size| *size > 0);
    size.ok_or_else(|| "expected a number of bytes above 0, such as 500MB or 5GB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Shown {
        #[command(flatten)]
        frames: FrameArgs,
    }

    #[derive(Parser)]
    struct Planned {
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        elsewhere: Elsewhere,
    }

    #[test]
    fn the_help_of_on_names_every_device() {
        let help = <Planned as clap::CommandFactory>::command().render_long_help().to_string();
        for device in burn_vlm_train::run::estimate::KNOWN_DEVICES {
            assert!(
                help.contains(&format!(" {},", device.name)) || help.contains(&format!(" {}\n", device.name)),
                "{}: {help}",
                device.name
            );
        }
        let planned = Planned::parse_from(["plan", "--dry-run", "--on", "a100-40gb"]);
        assert!(planned.dry_run && planned.elsewhere.machine().is_some());
    }

    /// A rate means the rule that has one, and no other.
    #[test]
    fn a_rate_belongs_to_its_rule() {
        let of = |line: &[&str]| {
            let args = Shown::try_parse_from([&["x"][..], line].concat()).unwrap_or_else(|error| panic!("{error}"));
            args.frames.settings().map(|settings| settings.sampling).map_err(|error| error.to_string())
        };
        let fps = |fps, frames| Ok(Sampling::Fps { fps, upper_bound: Some(frames), force: false });
        assert_eq!(of(&[]), Ok(Sampling::Linspace { frames: DEFAULT_FRAMES }));
        assert_eq!(of(&["--fps", "2"]), fps(2.0, DEFAULT_FRAMES));
        assert_eq!(of(&["--frame-rule", "fps", "--frames", "8"]), fps(1.0, 8));
        assert_eq!(of(&["--frame-rule", "fps", "--fps", "0.5"]), fps(0.5, DEFAULT_FRAMES));
        let error = of(&["--frame-rule", "transformers-5", "--fps", "2"]).unwrap_err();
        assert!(error.contains("--fps 2 with --frame-rule transformers-5"), "{error}");
        assert!(of(&["--fps", "0"]).unwrap_err().contains("fps"));
        let args = Shown::try_parse_from(["x", "--folder-fps", "2", "--video-decoder", "libav"]);
        let reading = args.unwrap_or_else(|error| panic!("{error}")).frames.settings().unwrap().reading;
        assert_eq!((reading.folder_fps, reading.decoder), (Some(2.0), Decoder::Libav));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("100kb"), Ok(100_000));
        assert_eq!(bytes("5GB"), Ok(5_000_000_000));
        assert_eq!(bytes("7"), Ok(7));
        for wrong in ["", "0", "GB", "-1", "5TB", "99999999999GB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
