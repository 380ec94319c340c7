//! Machines that are elsewhere: how long a recipe would take there, and whether it fits.
//!
//! Rates are the makers' peaks for dense matrix products with f32 sums, which no training reaches: of them, as of a measured rate,
//! [`EFFICIENCY`] is assumed. A data sheet often prints the rate for sparse matrices, which is twice as large.

use std::fmt;
use std::str::FromStr;

use burn_vlm::nn::Precision;
use burn_vlm_base::suggest;

use super::{EFFICIENCY, RunEstimate, StageEstimate};

/// A device as its maker describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownDevice {
    /// What `--on` calls it.
    pub name: &'static str,
    /// Peak of bf16 matrix products, TFLOP/s.
    pub bf16: f64,
    /// Peak of f32 outside of tensor cores, TFLOP/s.
    pub f32: f64,
    /// Memory, bytes.
    pub memory: u64,
    /// Where the figures are from.
    pub source: &'static str,
}

const fn known(name: &'static str, bf16: f64, f32: f64, gigabytes: u64, source: &'static str) -> KnownDevice {
    KnownDevice { name, bf16, f32, memory: gigabytes * 1_000_000_000, source }
}

/// The devices that `--on` knows.
pub const KNOWN_DEVICES: [KnownDevice; 8] = [
    known("a100", 312.0, 19.5, 80, "NVIDIA A100 80GB data sheet"),
    known("a100-40gb", 312.0, 19.5, 40, "NVIDIA A100 data sheet"),
    known("h100", 989.4, 66.9, 80, "NVIDIA H100 SXM data sheet"),
    known("h200", 989.4, 66.9, 141, "NVIDIA H200 SXM data sheet"),
    known("b200", 2250.0, 75.0, 180, "NVIDIA HGX B200 data sheet, an eighth of it"),
    known("l40s", 362.0, 91.6, 48, "NVIDIA L40S data sheet"),
    known("rtx4090", 165.2, 82.6, 24, "NVIDIA Ada architecture white paper"),
    known("mi300x", 1307.4, 163.4, 192, "AMD Instinct MI300X data sheet"),
];

/// A machine with one or several equal devices.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    rate: Rate,
    devices: usize,
    /// Bytes of each, where they are known.
    memory: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rate {
    /// Of a device that is known.
    Known(KnownDevice),
    /// As the user says, operations a second.
    Given(f64),
    /// Of a matrix product here.
    Timed(f64),
}

impl FromStr for Machine {
    type Err = String;

    /// `h100` or `h100x8`
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let known = |name: &str| KNOWN_DEVICES.into_iter().find(|device| device.name == name);
        let (name, devices) = match lower.rsplit_once('x').and_then(|(name, count)| Some((name, count.parse().ok()?))) {
            Some((name, count)) if known(&lower).is_none() => (name, count),
            _ => (lower.as_str(), 1),
        };
        let Some(device) = known(name) else {
            let meant = suggest::hint(name, KNOWN_DEVICES.map(|device| device.name));
            return Err(format!(
                "no device `{name}` is known{meant}; a number behind it says how many (h100x8); of a device that is not in the list, give \
                 --tflops and --devices"
            ));
        };
        if devices == 0 {
            return Err("a machine has at least one device".into());
        }
        Ok(Self { rate: Rate::Known(device), devices, memory: Some(device.memory) })
    }
}

impl Machine {
    /// Devices whose matrix products run at so many operations a second.
    pub fn given(rate: f64, devices: usize) -> Self {
        Self { rate: Rate::Given(rate), devices: devices.max(1), memory: None }
    }

    /// One device whose matrix products were timed.
    pub fn timed(rate: f64) -> Self {
        Self { rate: Rate::Timed(rate), devices: 1, memory: None }
    }

    /// Whether its rate was timed on this machine.
    pub fn is_here(&self) -> bool {
        matches!(self.rate, Rate::Timed(_))
    }

    /// How many devices it has.
    pub fn devices(&self) -> usize {
        self.devices
    }

    /// The same with one device.
    pub fn single(&self) -> Self {
        Self { devices: 1, ..self.clone() }
    }

    /// Bytes of each device, where they are known.
    pub fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Operations a second of a device's matrix products.
    pub fn rate(&self, precision: Precision) -> f64 {
        match (&self.rate, precision) {
            (Rate::Known(device), Precision::Bf16) => device.bf16 * 1e12,
            (Rate::Known(device), Precision::F32) => device.f32 * 1e12,
            (Rate::Given(rate) | Rate::Timed(rate), _) => *rate,
        }
    }

    /// Where the rate is from, for people.
    pub(super) fn basis(&self, rate: &str, precision: Precision) -> String {
        let share = 100.0 * EFFICIENCY;
        let kind = if precision == Precision::Bf16 { "bf16" } else { "f32" };
        match &self.rate {
            Rate::Timed(_) => format!("a matrix product of this device runs at {rate}/s; {share:.0} % of that assumed"),
            Rate::Given(_) => format!("{rate}/s a device, as given; {share:.0} % of that assumed"),
            Rate::Known(device) => {
                format!("{rate}/s a device in {kind}, the peak of the {}; {share:.0} % of that assumed", device.source)
            }
        }
    }

    /// Seconds of a step. Devices share its micro-batches, so that more of them than micro-batches, or a remainder, wait.
    pub(super) fn step_seconds(&self, stage: &StageEstimate, precision: Precision) -> f64 {
        let batches = stage.micro.count.max(1.0);
        let rounds = (batches / self.devices as f64).ceil();
        stage.flops.total() * rounds / batches / (self.rate(precision) * EFFICIENCY)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.rate {
            Rate::Known(device) => device.name,
            Rate::Given(_) => "a device as given",
            Rate::Timed(_) => "this device",
        };
        if self.devices == 1 { write!(f, "{name}") } else { write!(f, "{} x {name}", self.devices) }
    }
}

impl RunEstimate {
    /// Seconds of all stages on a machine; `None` where a stage's length is not known.
    pub fn seconds(&self, machine: &Machine) -> Option<f64> {
        self.stage_seconds(machine).into_iter().sum()
    }

    /// The same of each stage.
    pub fn stage_seconds(&self, machine: &Machine) -> Vec<Option<f64>> {
        let seconds = |stage: &StageEstimate| Some(machine.step_seconds(stage, self.precision) * stage.steps? as f64);
        self.stages.iter().map(seconds).collect()
    }

    /// Bytes on the first device of the stage that takes the most.
    pub fn peak_memory(&self) -> u64 {
        self.stages.iter().map(|stage| stage.memory.total()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named() {
        let machine: Machine = "h100x8".parse().unwrap();
        assert_eq!((machine.devices(), machine.memory()), (8, Some(80_000_000_000)));
        let near = |rate: f64, expected: f64| assert!((rate / expected - 1.0).abs() < 1e-12, "{rate}");
        near(machine.rate(Precision::Bf16), 989.4e12);
        near(machine.rate(Precision::F32), 66.9e12);
        assert_eq!(machine.to_string(), "8 x h100");
        // The x of its name is not a number's.
        let one: Machine = "MI300X".parse().unwrap();
        assert_eq!((one.devices(), one.to_string().as_str()), (1, "mi300x"));
        assert_eq!("mi300xx4".parse::<Machine>().unwrap().devices(), 4);
        assert_eq!("rtx4090x2".parse::<Machine>().unwrap().devices(), 2);
        for (wrong, says) in [
            ("h1000", "`h100`"),
            ("h100x0", "at least one"),
            ("h100xx", "no device"),
            ("", "--tflops"),
            ("x8", "h100x8"),
        ] {
            let error = wrong.parse::<Machine>().unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
        for device in KNOWN_DEVICES {
            assert!(device.bf16 > device.f32 && device.memory > 0 && !device.source.is_empty(), "{device:?}");
        }
    }
}
