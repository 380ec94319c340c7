//! The estimate for people.

use std::fmt::{self, Display};
use std::time::Duration;

use burn_vlm_base::progress::show_duration;

use super::{EFFICIENCY, RunEstimate, StageEstimate};
use crate::optim::thousands;

impl RunEstimate {
    /// The estimate with the time that it takes where matrix products run at `rate` operations a second.
    pub fn with_rate(&self, rate: f64) -> TimedEstimate<'_> {
        TimedEstimate { estimate: self, rate: Some(rate) }
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
        TimedEstimate { estimate: self, rate: None }.fmt(f)
    }
}

/// An estimate and a device's rate.
#[derive(Debug, Clone, Copy)]
pub struct TimedEstimate<'a> {
    estimate: &'a RunEstimate,
    rate: Option<f64>,
}

impl Display for TimedEstimate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { estimate, rate } = self;
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
            if let Some(rate) = rate {
                write!(f, ", about {}", time(flops, *rate))?;
                let (rate, share) = (flop(*rate), 100.0 * EFFICIENCY);
                write!(f, " (a matrix product of this device runs at {rate}/s; {share:.0} % of that assumed)")?;
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
            if let Some(rate) = self.rate {
                write!(f, ", about {}", time(flops.total() * steps as f64, rate))?;
            }
        }
        writeln!(f)
    }
}

fn time(flops: f64, rate: f64) -> String {
    let seconds = flops / (rate * EFFICIENCY);
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds < 2.0 * 86_400.0 => show_duration(time),
        _ => format!("{} days", thousands((seconds / 86_400.0) as usize)),
    }
}

/// `1.5 GB`, of 10^9 bytes.
fn bytes(count: u64) -> String {
    scaled(count as f64, "B")
}

fn flop(count: f64) -> String {
    scaled(count, "FLOP")
}

fn scaled(value: f64, unit: &str) -> String {
    let steps = [(1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(size, _)| value >= *size) {
        Some((size, prefix)) => format!("{:.1} {prefix}{unit}", value / size),
        None => format!("{value:.0} {unit}"),
    }
}
