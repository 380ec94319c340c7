//! Parameter initialisers as the published training codes use them.
//!
//! Parameters are drawn when they are first read, so a model that is filled from a checkpoint draws nothing.
//! Every draw comes from the device's generator: seed it (`device.seed(..)`) and the weights are reproducible.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Distribution, Shape, Tensor, TensorData};

/// Standard deviation of a standard normal distribution truncated to `[-2, 2]`.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;
/// Where truncated draws end, in standard deviations.
const TRUNCATION: f64 = 2.0;

/// How a parameter is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// One value everywhere.
    Constant {
        /// The value.
        value: f64,
    },
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// The bound.
        bound: f64,
    },
    /// Normal around zero.
    Normal {
        /// Its standard deviation.
        std: f64,
    },
    /// Uniform with variance `2 / (fan_in + fan_out)`.
    XavierUniform,
    /// Normal with variance `2 / (fan_in + fan_out)`.
    XavierNormal,
    /// Normal with variance `1 / fan_in`, truncated at two standard deviations of the untruncated normal and
    /// rescaled to keep that variance (JAX's and SigLIP's `lecun_normal`).
    LecunNormal,
}

impl Init {
    /// A parameter without fans (norm scales, embeddings, biases).
    ///
    /// # Panics
    /// On reading the parameter of an initialiser that needs fans.
    pub fn param<const D: usize>(self, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
        let fan = shape[0];
        self.param_with_fans(shape, fan, fan, device)
    }

    /// A parameter of a layer with `fan_in` inputs and `fan_out` outputs.
    pub fn param_with_fans<const D: usize>(
        self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
        device: &Device,
    ) -> Param<Tensor<D>> {
        Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let value = self.tensor(shape, fan_in, fan_out, device);
                if require_grad { value.require_grad() } else { value }
            },
            device.clone(),
            true,
            Shape::from(shape),
        )
    }

    /// The values themselves.
    pub fn tensor<const D: usize>(
        self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
        device: &Device,
    ) -> Tensor<D> {
        let xavier = (2.0 / (fan_in + fan_out) as f64).sqrt();
        let uniform = |bound: f64| Tensor::random(shape, Distribution::Uniform(-bound, bound), device);
        let normal = |std: f64| Tensor::random(shape, Distribution::Normal(0.0, std), device);
        match self {
            Self::Zeros => Tensor::zeros(shape, device),
            Self::Ones => Tensor::ones(shape, device),
            Self::Constant { value } => Tensor::full(shape, value, device),
            Self::Uniform { bound } => uniform(bound),
            Self::Normal { std } => normal(std),
            Self::XavierUniform => uniform(xavier * 3f64.sqrt()),
            Self::XavierNormal => normal(xavier),
            Self::LecunNormal => truncated_normal(shape, (fan_in as f64).powf(-0.5) / TRUNCATED_STD, device),
        }
    }
}

/// Normal around zero, cut at two standard deviations: uniform draws through the inverse normal distribution.
fn truncated_normal<const D: usize>(shape: [usize; D], std: f64, device: &Device) -> Tensor<D> {
    let low = normal_cdf(-TRUNCATION);
    let high = normal_cdf(TRUNCATION);
    let uniform = Tensor::<D>::random(shape, Distribution::Uniform(0.0, 1.0), device);
    let data = uniform.into_data().convert::<f64>();
    let values: Vec<f32> = data
        .iter::<f64>()
        .map(|u| (normal_quantile(low + u * (high - low)).clamp(-TRUNCATION, TRUNCATION) * std) as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Distribution function of the standard normal at `-2` and `2` (the only places it is needed).
fn normal_cdf(x: f64) -> f64 {
    // Phi(2), from tables of the normal distribution.
    const PHI_2: f64 = 0.977_249_868_051_820_8;
    if x > 0.0 { PHI_2 } else { 1.0 - PHI_2 }
}

/// Inverse of the standard normal's distribution function (Acklam's rational approximation, relative error 1e-9),
/// for arguments of the central region and moderate tails.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    /// Below this probability the tail formula takes over.
    const TAIL: f64 = 0.024_25;
    let polynomial = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, c| sum * x + c);
    if p < TAIL {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    } else if p > 1.0 - TAIL {
        -normal_quantile(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    /// Relative sampling error of the standard deviation of 40 000 draws, with room to spare.
    const SAMPLING: f64 = 0.03;
    /// Of the rational approximation, absolute.
    const QUANTILE: f64 = 1e-7;

    /// Standard deviation and largest magnitude.
    fn statistics(init: Init, fan_in: usize, fan_out: usize) -> (f64, f64) {
        let device = Device::flex();
        device.seed(3);
        let data = init.tensor([200, 200], fan_in, fan_out, &device).into_data();
        let values: Vec<f64> = data.iter::<f64>().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64;
        (variance.sqrt(), values.iter().fold(0.0, |max, x| max.max(x.abs())))
    }

    #[test]
    fn draws_have_the_promised_spread() {
        let close =
            |actual: f64, expected: f64| assert!((actual / expected - 1.0).abs() < SAMPLING, "{actual} {expected}");
        close(statistics(Init::Normal { std: 0.02 }, 1, 1).0, 0.02);
        close(statistics(Init::XavierUniform, 30, 10).0, (2.0f64 / 40.0).sqrt());
        close(statistics(Init::XavierNormal, 30, 10).0, (2.0f64 / 40.0).sqrt());
        let (std, largest) = statistics(Init::LecunNormal, 64, 1);
        close(std, 1.0 / 8.0);
        assert!(largest <= TRUNCATION / 8.0 / TRUNCATED_STD + 1e-6);
        let (std, largest) = statistics(Init::Uniform { bound: 0.5 }, 1, 1);
        close(std, 0.5 / 3f64.sqrt());
        assert!(largest <= 0.5);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, x) in
            [(0.5, 0.0), (0.841_344_746_068_543, 1.0), (0.975, 1.959_963_984_540_054), (0.01, -2.326_347_874_040_841)]
        {
            assert!((normal_quantile(p) - x).abs() < QUANTILE, "{p}");
        }
    }
}
