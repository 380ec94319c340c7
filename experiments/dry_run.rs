//! `--dry-run` of a study: what each cell would take, and what stands in its way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::OnceLock;

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_train::ablation::{Cell, Plan, RunOptions, status};
use burn_vlm_train::device::ChosenDevice;
use burn_vlm_train::error::TrainError;
use burn_vlm_train::eval::{Benchmarks, asked};
use burn_vlm_train::optim::thousands;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::Recipe;
use burn_vlm_train::run::estimate::{
    Assumptions, EstimateInput, Machine, RunEstimate, StageEstimate, bytes, estimate_run, flop, matmul_rate, time,
};
use burn_vlm_train::study::{MissingInputs, NeededFor, StudyInputs, VlmJob};

use crate::SHAPES;
use crate::study::AnyError;

/// What a study works with.
pub(crate) struct Needs<'a> {
    pub(crate) context: &'a Context,
    pub(crate) inputs: &'a StudyInputs,
    /// What is asked, of what is there.
    pub(crate) benchmarks: &'a Benchmarks,
    /// What is not there.
    pub(crate) missing: &'a MissingInputs,
}

/// What the device multiplies in a second: timed once, so that one list does not hold two machines.
static RATE: OnceLock<f64> = OnceLock::new();

/// What each cell would take; the seconds that are still to do. Parts that are not there are known by their published shapes, data by
/// what its mixture declares; what is not there is listed.
///
/// # Errors
/// A study that could not run, other than for files that are not there; output that cannot be written.
pub(crate) fn dry_run<T: VisionTower, P: Projector>(
    plan: &Plan,
    job: &VlmJob<T, P>,
    options: &RunOptions,
    (chosen, elsewhere): (&ChosenDevice, Option<Machine>),
    needs: &Needs<'_>,
    known: &mut KnownStages,
) -> Result<f64, AnyError> {
    // A mistyped cell is a mistake, parts or not.
    plan.select(&options.only)?;
    let mut out = std::io::stdout().lock();
    let head = ["parameters", "tokens", "compute", "memory", "time"];
    writeln!(out, "{:<28} {:>5} {}  state", "cell", "seed", row(head.map(str::to_owned)))?;
    // A cell is trained on one device.
    let here = || Machine::timed(*RATE.get_or_init(|| matmul_rate(&chosen.device)));
    let device = elsewhere.as_ref().map_or_else(here, Machine::single);
    let mut stages = Stages::of(known);
    // Without the parts nobody can say what is done already.
    let states = status(plan, job, options).ok();
    if let Some(states) = &states {
        for status in states.iter().filter(|status| status.state.is_done()) {
            stages.keep(job, &status.cell)?;
        }
    }
    // What nothing can be said of without the files.
    let mut unknown = BTreeSet::new();
    let mut samples = Vec::new();
    for (number, cell) in plan.cells.iter().enumerate() {
        let recipe = Recipe { seed: cell.seed, ..Recipe::from_table(cell.recipe.clone())? };
        let StudyInputs { base, parts, .. } = needs.inputs;
        let (context, assumptions) = (needs.context, Assumptions::default());
        let input = EstimateInput { context, recipe: &recipe, base, parts, shapes: &SHAPES, assumptions };
        let cost = match estimate_run(&input) {
            Ok(cost) => Some(cost),
            Err(error) if needs.missing.iter().any(|missing| missing.needed != NeededFor::Benchmark) => {
                unknown.insert(error.to_string());
                None
            }
            Err(error) => return Err(TrainError::within(cell.name.clone())(error).into()),
        };
        let of_stages = cost.as_ref().map(|cost| cost.stages.iter().map(by_language).collect());
        if samples.iter().all(|(setting, _)| *setting != cell.setting) {
            samples.extend(of_stages.map(|stages| (cell.setting.clone(), stages)));
        }
        let state = match states.as_ref().and_then(|states| states.get(number)) {
            Some(status) if status.state.is_done() => "done".to_owned(),
            Some(status) if !status.selected => "not selected".to_owned(),
            Some(_) => format!("to do{}", stages.train((job, cell), (cost.as_ref(), &device))?),
            None => format!("files to be had{}", stages.train((job, cell), (cost.as_ref(), &device))?),
        };
        let known = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
        let cost = cost.as_ref();
        let figures = [
            known(cost.map(|cost| thousands(cost.parameters as usize))),
            known(cost.and_then(RunEstimate::total_tokens).map(|tokens| thousands(tokens as usize))),
            known(cost.and_then(RunEstimate::total_flops).map(flop)),
            known(cost.map(|cost| bytes(cost.peak_memory()))),
            known(cost.and_then(|cost| cost.seconds(&device)).map(time)),
        ];
        writeln!(out, "{:<28} {:>5} {}  {state}", cell.setting, cell.seed, row(figures))?;
    }
    for why in &unknown {
        writeln!(out, "not known yet: {why}")?;
    }
    write!(out, "{}", samples_by_language(plan, &samples))?;
    for benchmark in needs.benchmarks.iter() {
        writeln!(out, "asks {}", asked(benchmark))?;
    }
    if let Some(text) = job.text_questions(plan)? {
        let languages = text.counts().len();
        writeln!(
            out,
            "asks decoders without pictures, before training and after each stage that trains them: {} questions in {languages} languages",
            text.len()
        )?;
    }
    if stages.taken > 0 {
        let (trained, taken, saved) = (stages.trained, stages.taken, time(stages.saved));
        writeln!(
            out,
            "{trained} stages are trained and {taken} taken from cells that begin alike, which saves about {saved} (--no-share trains all)"
        )?;
    }
    stages.tell(&mut out, (chosen, elsewhere.as_ref(), &device))?;
    if !needs.missing.is_empty() {
        writeln!(out, "{}", needs.missing)?;
    }
    Ok(stages.seconds)
}

/// The figures of a line.
fn row([parameters, tokens, compute, memory, time]: [String; 5]) -> String {
    format!("{parameters:>15} {tokens:>15} {compute:>11} {memory:>9} {time:>10}")
}

/// The cell that trains each shared stage.
pub(crate) type KnownStages = BTreeMap<String, String>;

/// The stages that are to be trained: one that several cells begin with counts once.
struct Stages<'a> {
    of: &'a mut KnownStages,
    trained: usize,
    taken: usize,
    /// Tokens, operations and seconds of what is trained.
    tokens: f64,
    flops: f64,
    seconds: f64,
    /// Seconds of what is taken.
    saved: f64,
    /// Bytes of the largest cell.
    largest: u64,
}

impl<'a> Stages<'a> {
    /// With what other studies train.
    fn of(of: &'a mut KnownStages) -> Self {
        Self { of, trained: 0, taken: 0, tokens: 0.0, flops: 0.0, seconds: 0.0, saved: 0.0, largest: 0 }
    }

    /// A finished cell has trained its stages, and they are kept as long as another cell needs them.
    fn keep<T: VisionTower, P: Projector>(&mut self, job: &VlmJob<T, P>, cell: &Cell) -> Result<(), AnyError> {
        if job.keeps_stages() {
            for beginning in job.shared_stages(cell)? {
                self.of.entry(beginning).or_insert_with(|| job.called(cell));
            }
        }
        Ok(())
    }

    /// Counts the stages of a cell that is to be trained; what it takes from others, in words.
    fn train<T: VisionTower, P: Projector>(
        &mut self,
        (job, cell): (&VlmJob<T, P>, &Cell),
        (cost, device): (Option<&RunEstimate>, &Machine),
    ) -> Result<String, AnyError> {
        let Some(cost) = cost else { return Ok(String::new()) };
        self.largest = self.largest.max(cost.peak_memory());
        let shared = job.shared_stages(cell)?;
        let mut from = Vec::new();
        for (number, (stage, seconds)) in cost.stages.iter().zip(cost.stage_seconds(device)).enumerate() {
            let seconds = seconds.unwrap_or_default();
            let known = shared.get(number).and_then(|beginning| self.of.get(beginning));
            match known {
                Some(cell) => {
                    self.taken += 1;
                    self.saved += seconds;
                    from.push(format!("`{}` of {cell}", stage.name));
                }
                None => {
                    self.trained += 1;
                    self.seconds += seconds;
                    let steps = stage.steps.unwrap_or_default() as f64;
                    self.tokens += stage.tokens_per_step() * steps;
                    self.flops += stage.flops.total() * steps;
                    if let Some(beginning) = shared.get(number) {
                        self.of.insert(beginning.clone(), job.called(cell));
                    }
                }
            }
        }
        Ok(if from.is_empty() { String::new() } else { format!(", takes {}", from.join(", ")) })
    }

    /// What is to do in all, and whether it fits.
    fn tell(
        &self,
        out: &mut impl Write,
        (chosen, elsewhere, device): (&ChosenDevice, Option<&Machine>, &Machine),
    ) -> Result<(), AnyError> {
        let (left, compute) = (time(self.seconds), flop(self.flops));
        let work = format!("{} tokens, {compute}", thousands(self.tokens as usize));
        let Some(machine) = elsewhere else {
            writeln!(
                out,
                "to do: about {left} on {} ({work}; from a timed matrix product; evaluation not counted)",
                chosen.choice
            )?;
            return Ok(());
        };
        writeln!(
            out,
            "to do: about {left} on {device} (a quarter of its peak assumed; {work}; evaluation not counted)"
        )?;
        if machine.devices() > 1 {
            // Cells are whole: the last ones leave devices idle.
            let all = time(self.seconds / machine.devices() as f64);
            writeln!(out, "at least {all} on {machine}, where each takes a --shard")?;
        }
        if let Some(memory) = machine.memory().filter(|memory| self.largest > *memory) {
            writeln!(
                out,
                "DOES NOT FIT: a cell takes {}, a device has {}. Less is needed with smaller micro-batches, gradient checkpointing, adapters \
                 or fewer trained parameters (docs/memory.md); `burn-vlm train RECIPE --dry-run` says what takes how much, stage by stage",
                bytes(self.largest),
                bytes(memory)
            )?;
        }
        Ok(())
    }
}

/// What samples without a language count as.
const UNKNOWN_LANGUAGE: &str = "und";

/// A stage's name, and its samples by language where they are known.
type StageSamples = (String, Option<BTreeMap<String, u64>>);

fn by_language(stage: &StageEstimate) -> StageSamples {
    (stage.name.clone(), stage.samples_by_language())
}

/// The samples of each setting's stages by language, and the languages of columns that no stage of a setting has a sample in.
fn samples_by_language(plan: &Plan, settings: &[(String, Vec<StageSamples>)]) -> String {
    let mut lines = String::from("samples by language\n");
    for (setting, stages) in settings {
        for (stage, languages) in stages {
            let counted = match languages {
                None => "not known without the data".to_owned(),
                Some(languages) => {
                    let counts = languages.iter().map(|(tag, count)| format!("{tag} {}", thousands(*count as usize)));
                    counts.collect::<Vec<_>>().join(", ")
                }
            };
            lines.push_str(&format!("  {setting:<26} {stage}: {counted}\n"));
        }
    }
    for column in &plan.columns {
        let mut missing: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
        for (setting, stages) in settings {
            // What is not known is not said to be missing.
            let Some(known) = stages.iter().map(|(_, languages)| languages.as_ref()).collect::<Option<Vec<_>>>() else {
                continue;
            };
            if known.iter().any(|languages| languages.contains_key(UNKNOWN_LANGUAGE)) {
                continue;
            }
            let lacks =
                |tag: &&String| !known.iter().any(|languages| languages.get(*tag).is_some_and(|count| *count > 0));
            let lacks: Vec<&str> = column.languages.iter().filter(lacks).map(String::as_str).collect();
            if lacks.is_empty() {
                continue;
            }
            match missing.iter_mut().find(|(tags, _)| *tags == lacks) {
                Some((_, settings)) => settings.push(setting),
                None => missing.push((lacks, vec![setting])),
            }
        }
        for (tags, settings) in missing {
            lines.push_str(&format!(
                "column {}: no stage has a sample in {} with {}\n",
                column.name,
                tags.join(", "),
                settings.join(", ")
            ));
        }
    }
    lines
}
