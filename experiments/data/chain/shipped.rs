//! `data visionblocks` and `data multi-pixmo`: chains that come with the program.

use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::files::write_atomic;
use burn_vlm_base::progress::Reporter;
use clap::Args;

use super::ChainRun;
use super::file::ChainFile;
use crate::AnyError;
use crate::call::examples;

/// A chain that comes with the program.
pub(crate) struct Shipped {
    /// Its verb.
    pub(crate) name: &'static str,
    text: &'static str,
}

/// TowerVision's translated captions and videos.
const VISIONBLOCKS: Shipped =
    Shipped { name: "visionblocks", text: include_str!("../../../pipelines/visionblocks.toml") };
/// Multi-PixMo's regenerated and translated captions, questions and documents.
const MULTI_PIXMO: Shipped = Shipped { name: "multi-pixmo", text: include_str!("../../../pipelines/multi-pixmo.toml") };

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "visionblocks --preset tiny",
            "offline, the shipped parts on the embedded corpus: minutes on two cores",
        ),
        ("data", "visionblocks --dry-run", "the paper's: the commands of all steps, and what is missing"),
        (
            "data",
            "visionblocks --set captions=pixmo.jsonl --set threshold=0.8 --dry-run",
            "with settings of your own; each is explained in the file that --write writes",
        ),
        ("data", "multi-pixmo --preset tiny", "the other chain"),
    ];
    let more = "Running the same command again goes on with the step that is not done. DIR/index.html has all steps.";
    examples(&lines, more)
}

/// How a chain that comes with the program is run.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(in super::super) struct ShippedArgs {
    /// The folder to write, with a folder for each step [default: runs/CHAIN/PRESET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// paper: the published data and models, where you have them; tiny: the shipped parts on the embedded corpus, offline
    #[arg(long, value_name = "NAME", default_value = "paper")]
    preset: String,

    /// Another value of a setting; several times for several
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Print the commands of all steps and what is missing, and run nothing
    #[arg(long)]
    dry_run: bool,

    /// Write the chain's file to this path, to be changed and run by `data chain`, and end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "set", "dry_run"])]
    write: Option<PathBuf>,
}

/// Runs `data visionblocks`.
pub(in super::super) fn visionblocks(
    args: &ShippedArgs,
    out: &mut dyn Write,
    reporter: &Reporter,
) -> Result<(), AnyError> {
    VISIONBLOCKS.run(args, out, reporter)
}

/// Runs `data multi-pixmo`.
pub(in super::super) fn multi_pixmo(
    args: &ShippedArgs,
    out: &mut dyn Write,
    reporter: &Reporter,
) -> Result<(), AnyError> {
    MULTI_PIXMO.run(args, out, reporter)
}

impl Shipped {
    fn run(&self, args: &ShippedArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
        if let Some(path) = &args.write {
            if path.exists() {
                return Err(format!("--write {}: it is there already; name another file", path.display()).into());
            }
            write_atomic(path, self.text.as_bytes())?;
            return Ok(writeln!(out, "{}: change it, and run it by `data chain`", path.display())?);
        }
        let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(self.name).join(&args.preset));
        let file = ChainFile::parse(self.text, self.name)?;
        let filled = file.fill(Some(&args.preset), &args.set, &folder)?;
        let run = ChainRun { filled, preset: Some(&args.preset), out: &folder };
        if args.dry_run { run.dry_run(out) } else { run.run(out, reporter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every preset is a chain whose commands parse; what the paper's lacks is listed with how to get it.
    #[test]
    fn shipped_chains_parse() {
        for chain in [VISIONBLOCKS, MULTI_PIXMO] {
            let file = ChainFile::parse(chain.text, chain.name).unwrap();
            assert_eq!(file.presets().collect::<Vec<_>>(), ["paper", "tiny"], "{}", chain.name);
            let out = PathBuf::from("runs/test");
            for (preset, given) in [("tiny", true), ("paper", false)] {
                let filled = file.fill(Some(preset), &[], &out).unwrap();
                assert_eq!(filled.check_given().is_ok(), given, "{} {preset}", chain.name);
                let mut text = Vec::new();
                ChainRun { filled, preset: Some(preset), out: &out }.dry_run(&mut text).unwrap();
                let text = String::from_utf8(text).unwrap();
                assert_eq!(text.contains("missing:"), !given, "{text}");
            }
            // Each setting says what it is: a paper's number, or a choice of ours.
            let filled = file.fill(Some("paper"), &[], &out).unwrap();
            for (name, setting) in &filled.settings {
                assert!(setting.about.is_some() || setting.unstated.is_some(), "{}: {name}", chain.name);
            }
            // With all of them given the paper's commands parse too.
            let lacking = filled.settings.iter().filter(|(_, setting)| setting.value.is_empty());
            let set: Vec<String> = lacking.map(|(name, _)| format!("{name}=x")).collect();
            let filled = file.fill(Some("paper"), &set, &out).unwrap();
            filled.check_given().unwrap();
            filled.steps.iter().for_each(|step| drop(super::super::command(step).unwrap()));
        }
    }
}
