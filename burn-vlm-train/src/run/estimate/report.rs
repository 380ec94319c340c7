//! The estimate for people.

use std::fmt::{self, Display};
use std::time::Duration;

use burn_vlm_base::progress::show_duration;

use super::{Machine, RunEstimate, StageEstimate};
use crate::optim::thousands;

impl RunEstimate {
    /// The estimate with the time that it takes on a machine, and whether it fits there.
    pub fn on<'a>(&'a self, machine: &'a Machine) -> TimedEstimate<'a> {
        TimedEstimate { estimate: self, machine: Some(machine) }
    }

    /// Operations of all stages; `None` where a stage's length is not known.
    pub fn total_flops(&self) -> Option<f64> {
        self.stages.iter().map(|stage| Some(stage.flops.total() * stage.steps? as f64)).sum()
    }

    /// Tokens of all stages, visual ones counted; `None` where a stage's length is not known.
    pub fn total_tokens(&self) -> Option<f64> {
        self.stages.iter().map(|stage| Some(stage.tokens_per_step() * stage.steps? as f64)).sum()
    }
}

impl Display for RunEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TimedEstimate { estimate: self, machine: None }.fmt(f)
    }
}

/// An estimate and a machine.
#[derive(Debug, Clone, Copy)]
pub struct TimedEstimate<'a> {
    estimate: &'a RunEstimate,
    machine: Option<&'a Machine>,
}

impl Display for TimedEstimate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { estimate, machine } = self;
        writeln!(f, "parts")?;
        for (role, part) in ["vision tower", "language model"].into_iter().zip(&estimate.parts) {
            writeln!(f, "  {role:<15} {}: {}", part.name, part.description)?;
            writeln!(f, "  {:<15} {} parameters; {}", "", thousands(part.parameters as usize), part.source)?;
        }
        let all = estimate.parameters;
        let connector = all - estimate.parts.iter().map(|part| part.parameters).sum::<u64>();
        let whose = if estimate.whole { "the model's own" } else { "new" };
        writeln!(f, "  {:<15} {} parameters, {whose}", "connector", thousands(connector as usize))?;
        writeln!(f, "  {:<15} {} parameters", "together", thousands(all as usize))?;
        for (number, stage) in estimate.stages.iter().enumerate() {
            writeln!(f, "\nstage {}: {}", number + 1, stage.name)?;
            self.stage(f, stage)?;
        }
        if let Some(flops) = estimate.total_flops() {
            write!(f, "\nall stages: {}", flop(flops))?;
            if let Some((machine, seconds)) = machine.and_then(|machine| Some((machine, estimate.seconds(machine)?))) {
                let rate = flop(machine.rate(estimate.precision));
                let basis = machine.basis(&rate, estimate.precision);
                let place = if machine.is_here() { String::new() } else { format!(" on {machine}") };
                write!(f, ", about {}{place} ({basis})", time(seconds))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl TimedEstimate<'_> {
    fn stage(&self, f: &mut fmt::Formatter<'_>, stage: &StageEstimate) -> fmt::Result {
        for part in &stage.parts {
            writeln!(f, "  {part}")?;
        }
        if let Some(remark) = &stage.remark {
            writeln!(f, "  {:<12} {remark}", "note")?;
        }
        let mut notes = stage.sample.notes.iter();
        writeln!(f, "  {:<12} {}", "data", notes.next().map_or("", String::as_str))?;
        for note in notes {
            writeln!(f, "  {:<12} {note}", "")?;
        }
        let sample = &stage.sample;
        writeln!(
            f,
            "  {:<12} {:.0} visual and {:.0} text tokens, {:.0} trained; {:.1} views",
            "a sample",
            sample.visual_tokens,
            sample.text_tokens,
            sample.targets,
            sample.views()
        )?;
        writeln!(
            f,
            "  {:<12} {} samples, {} tokens, in micro-batches of {:.0} samples, {} tokens, {:.0} views",
            "a step",
            thousands(stage.samples_per_step),
            thousands(stage.tokens_per_step() as usize),
            stage.micro.samples,
            thousands(stage.micro.tokens as usize),
            stage.micro.views
        )?;
        let length = match stage.steps {
            Some(steps) => format!(
                "{} steps, {} samples, {} tokens",
                thousands(steps),
                thousands(steps * stage.samples_per_step),
                thousands((stage.tokens_per_step() * steps as f64) as usize)
            ),
            None => "not known without the data".into(),
        };
        writeln!(f, "  {:<12} {length}", "length")?;
        if let Some(languages) = stage.samples_by_language() {
            let counted = languages.iter().map(|(tag, samples)| format!("{tag} {}", thousands(*samples as usize)));
            writeln!(f, "  {:<12} samples of {}", "languages", counted.collect::<Vec<_>>().join(", "))?;
        }
        let memory = &stage.memory;
        writeln!(
            f,
            "  {:<12} {} on the device: weights {}, gradients {}, optimizer {}, activations {}",
            "memory",
            bytes(memory.total()),
            bytes(memory.weights),
            bytes(memory.gradients),
            bytes(memory.optimizer),
            bytes(memory.activations)
        )?;
        if let Some((machine, has)) = self.machine.and_then(|machine| Some((machine, machine.memory()?))) {
            let needs = memory.total();
            let verdict = match needs > has {
                true => {
                    "DOES NOT FIT: smaller micro-batches, gradient checkpointing or fewer trained parameters need less"
                }
                // Slack of allocators and libraries is not in the estimate.
                false if needs as f64 > 0.9 * has as f64 => "barely fits: allocators and libraries need some too",
                false => "fits",
            };
            let single = machine.single();
            writeln!(f, "  {:<12} each {single} has {}: {verdict}", "", bytes(has))?;
            if machine.devices() > 1 {
                let others = memory.total() - memory.optimizer;
                writeln!(
                    f,
                    "  {:<12} that is the first device's, which has the optimizer; the others need {}",
                    "",
                    bytes(others)
                )?;
            }
        }
        let other = if stage.flops.recomputed > 0.0 { "without" } else { "with" };
        if stage.other_activations != memory.activations {
            writeln!(f, "  {:<12} activations {other} gradient checkpointing: {}", "", bytes(stage.other_activations))?;
        }
        let (samples, decoding) = (bytes(stage.host.samples), bytes(stage.host.decoding));
        writeln!(f, "  {:<12} {samples} on the host for prepared samples, {decoding} for pictures being decoded", "")?;
        let flops = &stage.flops;
        write!(f, "  {:<12} {} a step (vision tower {})", "compute", flop(flops.total()), flop(flops.vision))?;
        if flops.recomputed > 0.0 {
            write!(f, ", {} of them computed again by gradient checkpointing", flop(flops.recomputed))?;
        }
        if let Some(steps) = stage.steps {
            write!(f, "; {} in all", flop(flops.total() * steps as f64))?;
            if let Some(machine) = self.machine {
                let seconds = machine.step_seconds(stage, self.estimate.precision) * steps as f64;
                write!(f, ", about {}", time(seconds))?;
            }
        }
        writeln!(f)?;
        let batches = stage.micro.count as usize;
        if let Some(machine) = self.machine.filter(|machine| !batches.is_multiple_of(machine.devices())) {
            let (devices, rounds) = (machine.devices(), batches.div_ceil(machine.devices()));
            let plural = if batches == 1 { "micro-batch" } else { "micro-batches" };
            writeln!(
                f,
                "  {:<12} {devices} devices share a step of {batches} {plural} in {rounds} rounds, some of them idle; change `batch` or \
                 `batching.max_tokens` so that each has as many",
                ""
            )?;
        }
        Ok(())
    }
}

/// A span of time for people: hours up to two days, days from there.
pub fn time(seconds: f64) -> String {
    let days = seconds / 86_400.0;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if days < 2.0 => show_duration(time),
        _ if days < 100.0 => format!("{days:.1} days"),
        _ => format!("{} days", thousands(days as usize)),
    }
}

/// `1.5 GB`, of 10^9 bytes.
pub fn bytes(count: u64) -> String {
    scaled(count as f64, "B")
}

/// `1.5 PFLOP`, of 10^15 operations.
pub fn flop(count: f64) -> String {
    scaled(count, "FLOP")
}

fn scaled(value: f64, unit: &str) -> String {
    let steps = [(1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(size, _)| value >= *size) {
        Some((size, prefix)) => format!("{:.1} {prefix}{unit}", value / size),
        None => format!("{value:.0} {unit}"),
    }
}
