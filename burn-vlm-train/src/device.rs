//! `--device auto|flex|ndarray|wgpu|cuda[:N]`: from a name to a Burn device that answers.
//!
//! Unusual here: a backend that was not compiled in is an error that names the Cargo feature, and a device is only
//! returned after a small computation on it gave the right number, so that a missing driver is found before the data
//! is read and not in the middle of a stack trace.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::{Device, Tensor};
use burn_vlm::nn::vectors::check_vectors;
use burn_vlm_base::suggest::did_you_mean;

use crate::error::{Result, TrainError};

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The fastest compiled-in backend that answers: CUDA, then a GPU through wgpu, then flex, then ndarray.
    #[default]
    Auto,
    /// CPU, pure Rust.
    Flex,
    /// CPU, the older backend; deprecated by Burn and kept for comparison.
    NdArray,
    /// Any GPU through Vulkan, Metal or DirectX 12 (or a software Vulkan driver).
    Wgpu,
    /// NVIDIA GPU number N.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let names = ["auto", "flex", "ndarray", "wgpu", "cuda"];
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "flex" => Ok(Self::Flex),
                "ndarray" => Ok(Self::NdArray),
                "wgpu" => Ok(Self::Wgpu),
                "cuda" => Ok(Self::Cuda(0)),
                _ => {
                    let hint = did_you_mean(text, names);
                    Err(format!("unknown device `{text}`, expected auto, flex, ndarray, wgpu, cuda or cuda:N{hint}"))
                }
            },
            Some(("cuda", number)) => number
                .parse()
                .map(Self::Cuda)
                .map_err(|_| format!("`{number}` is no GPU number, expected cuda:0, cuda:1, ...")),
            Some(_) => Err(format!("unknown device `{text}`: only cuda takes a number, e.g. cuda:0")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Flex => write!(f, "flex"),
            Self::NdArray => write!(f, "ndarray"),
            Self::Wgpu => write!(f, "wgpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// A device that answered, and what it is.
#[derive(Debug, Clone)]
pub struct ChosenDevice {
    /// The device, without autodiff.
    pub device: Device,
    /// The backend's name, e.g. `flex`.
    pub choice: DeviceChoice,
}

impl ChosenDevice {
    /// Whether work on it runs on the processor's own cores, so that cells may share them.
    pub fn is_cpu(&self) -> bool {
        matches!(self.choice, DeviceChoice::Flex | DeviceChoice::NdArray)
    }
}

/// Finds the device.
///
/// # Errors
/// A backend that is not compiled in (names the feature to add) or does not answer (names the cause).
pub fn choose(choice: DeviceChoice) -> Result<ChosenDevice> {
    check_vectors().map_err(TrainError::Device)?;
    if choice != DeviceChoice::Auto {
        let device = open(choice)?;
        answers(&device, choice)?;
        return Ok(ChosenDevice { device, choice });
    }
    let order = [DeviceChoice::Cuda(0), DeviceChoice::Wgpu, DeviceChoice::Flex, DeviceChoice::NdArray];
    for choice in order {
        let found = if choice == DeviceChoice::Wgpu { hardware_wgpu() } else { open(choice).ok() };
        if let Some(device) = found
            && answers(&device, choice).is_ok()
        {
            return Ok(ChosenDevice { device, choice });
        }
    }
    Err(TrainError::Device("no backend answers; build with at least the feature `flex`".into()))
}

fn open(choice: DeviceChoice) -> Result<Device> {
    match choice {
        #[cfg(feature = "flex")]
        DeviceChoice::Flex => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // kept for comparison until Burn removes it
        DeviceChoice::NdArray => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        DeviceChoice::Wgpu => {
            Ok(hardware_wgpu().unwrap_or_else(|| Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)))
        }
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(number) => Ok(Device::cuda(number)),
        #[allow(unreachable_patterns)]
        other => {
            let name = other.to_string();
            let feature = name.split(':').next().unwrap_or_default();
            Err(TrainError::Device(format!(
                "`{name}` is not compiled in; add `--features {feature}` to the cargo command (this build has: {})",
                compiled_in().join(", ")
            )))
        }
    }
}

/// The first GPU that is real hardware; a software driver must be asked for by name, since flex is faster.
fn hardware_wgpu() -> Option<Device> {
    #[cfg(feature = "wgpu")]
    {
        use burn::tensor::DeviceKind::{DiscreteGpu, IntegratedGpu};
        for kind in [DiscreteGpu(0), IntegratedGpu(0)] {
            let device = Device::wgpu(kind);
            if answers(&device, DeviceChoice::Wgpu).is_ok() {
                return Some(device);
            }
        }
    }
    None
}

/// The backends of this build.
pub fn compiled_in() -> Vec<&'static str> {
    let mut names = Vec::new();
    for (name, present) in [
        ("flex", cfg!(feature = "flex")),
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
    ] {
        if present {
            names.push(name);
        }
    }
    names
}

/// Runs `3 x 4 + 5` on the device. Drivers that are absent show themselves as panics, which become errors here.
fn answers(device: &Device, choice: DeviceChoice) -> Result<()> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let sum = Tensor::<1>::from_floats([3.0], device) * 4.0 + 5.0;
        sum.into_data().iter::<f32>().next()
    }));
    std::panic::set_hook(hook);
    match result {
        Ok(Some(17.0)) => Ok(()),
        Ok(other) => {
            Err(TrainError::Device(format!("`{choice}` computed {other:?} for 3 x 4 + 5; its driver is unusable")))
        }
        Err(panic) => {
            let cause = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                .unwrap_or_else(|| "no reason given".into());
            let cause = cause.lines().next().unwrap_or_default().to_string();
            Err(TrainError::Device(format!("`{choice}` does not answer ({cause}); try --device auto")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        for name in ["auto", "flex", "ndarray", "wgpu", "cuda:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        assert!("flexx".parse::<DeviceChoice>().unwrap_err().contains("`flex`"));
        assert!("cuda:x".parse::<DeviceChoice>().unwrap_err().contains("cuda:0"));
        assert!("wgpu:1".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn an_absent_backend_names_the_feature() {
        let error = choose(DeviceChoice::Cuda(0)).unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }

    #[cfg(feature = "flex")]
    #[test]
    fn auto_finds_a_device() {
        assert!(choose(DeviceChoice::Auto).is_ok());
    }
}
