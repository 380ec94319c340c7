//! Frequencies of the rotary positions: as trained (`default`), or stretched for longer texts (`linear`, `llama3`).
//!
//! Unusual here: two spellings are read and written back as they came. transformers 4.x has `rope_theta` beside the other keys
//! and `rope_scaling` with `rope_type` (older: `type`); 5.x has all of it in `rope_parameters`.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Most numbers that a table of cosines may hold, 1 GiB of them: 2 million positions of a head of width 256. More is a damaged
/// config, not a model.
const MAX_TABLE: f64 = (1 << 28) as f64;

/// The value of `rope_parameters` (5.x) or `rope_scaling` (4.x).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RopeParameters {
    /// Base of the frequencies; absent, the config's own `rope_theta`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// `default`, `linear` or `llama3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// The same in older files.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub legacy_type: Option<String>,
    /// By how much positions are stretched (`linear`, `llama3`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are stretched in full (`llama3`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// Wavelengths below `original_max_position_embeddings / high_freq_factor` stay as they are (`llama3`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// Longest sequence before the stretching (`llama3`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
    /// Share of a head that is rotated; only 1 is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
}

impl RopeParameters {
    fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.legacy_type.as_deref()).unwrap_or("default")
    }
}

/// What a decoder's rotary table is made from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RopeFrequencies {
    /// Radians a position, one for each pair of a head.
    pub(super) values: Vec<f64>,
    /// Longest sequence: `linear` files keep the unstretched `max_position_embeddings`.
    pub(super) positions: usize,
}

impl RopeFrequencies {
    /// From the keys of either version; `shape` is `[max_position_embeddings, head_dim]`.
    ///
    /// # Errors
    /// [`ModelError::Config`] for another kind, a value that is missing or out of range, and for two spellings that disagree.
    pub(super) fn new(
        model: &'static str,
        shape: [usize; 2],
        theta: f64,
        parameters: Option<&RopeParameters>,
        scaling: Option<&RopeParameters>,
    ) -> Result<Self, ModelError> {
        let of = |key, keys: &RopeParameters| Self::scaled(model, key, shape, theta, keys);
        match (parameters, scaling) {
            (None, None) => of("rope_theta", &RopeParameters::default()),
            (Some(parameters), None) => of("rope_parameters", parameters),
            (None, Some(scaling)) => of("rope_scaling", scaling),
            (Some(parameters), Some(scaling)) => {
                let (found, other) = (of("rope_parameters", parameters)?, of("rope_scaling", scaling)?);
                if found != other {
                    let expected = "the same as rope_parameters: keep one of the two";
                    return Err(ModelError::config(model, "rope_scaling", scaling, expected));
                }
                Ok(found)
            }
        }
    }

    fn scaled(
        model: &'static str,
        key: &'static str,
        [positions, head_dim]: [usize; 2],
        theta: f64,
        keys: &RopeParameters,
    ) -> Result<Self, ModelError> {
        let fits = |positions: f64| {
            if positions * (head_dim / 2) as f64 <= MAX_TABLE {
                return Ok(positions as usize);
            }
            let expected = format!("a table of rotations that fits memory (head_dim is {head_dim})");
            Err(ModelError::config(model, "max_position_embeddings", positions, expected))
        };
        let all = fits(positions as f64)?;
        let error = |expected: &str| Err(ModelError::config(model, key, keys, expected));
        let theta = keys.rope_theta.unwrap_or(theta);
        if !(theta > 0.0 && theta.is_finite()) {
            return error("a positive rope_theta");
        }
        if keys.partial_rotary_factor.is_some_and(|share| share != 1.0) {
            return error("partial_rotary_factor 1: heads are rotated as a whole");
        }
        let plain = (0..head_dim / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64));
        let positive = |value: Option<f64>| value.filter(|value| *value > 0.0 && value.is_finite());
        match keys.kind() {
            "default" => Ok(Self { values: plain.collect(), positions: all }),
            "linear" => {
                let Some(factor) = positive(keys.factor) else {
                    return error("a positive `factor` (rope_type linear)");
                };
                let positions = fits((all as f64 * factor.max(1.0)).ceil())?;
                Ok(Self { values: plain.map(|frequency| frequency / factor).collect(), positions })
            }
            "llama3" => {
                let parts = (
                    positive(keys.factor),
                    positive(keys.low_freq_factor),
                    positive(keys.high_freq_factor),
                    positive(keys.original_max_position_embeddings.map(|tokens| tokens as f64)),
                );
                let (Some(factor), Some(low), Some(high), Some(original)) = parts else {
                    return error(
                        "positive `factor`, `low_freq_factor`, `high_freq_factor` and \
                         `original_max_position_embeddings` (rope_type llama3)",
                    );
                };
                if low >= high {
                    return error("low_freq_factor below high_freq_factor (rope_type llama3)");
                }
                let values = plain.map(|frequency| {
                    // How often the original length holds the wavelength: 0 stretches in full, 1 not at all, linear between.
                    let turns = original * frequency / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    frequency * (kept + (1.0 - kept) / factor)
                });
                Ok(Self { values: values.collect(), positions: all })
            }
            _ => error("a rope_type that is supported: `default`, `linear` or `llama3`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f64 powers in another order.
    const ROUNDING: f64 = 1e-14;

    fn keys(json: &str) -> RopeParameters {
        serde_json::from_str(json).unwrap()
    }

    fn assert_close(found: &RopeFrequencies, expected: &[f64]) {
        assert_eq!(found.values.len(), expected.len());
        for (found, expected) in found.values.iter().zip(expected) {
            assert!((found - expected).abs() <= ROUNDING * expected.abs(), "{found} {expected}");
        }
    }

    #[test]
    fn llama3_stretches_long_wavelengths() {
        // import math
        // def llama3(d, theta, factor, low, high, old):
        //     for i in range(0, d, 2):
        //         f = theta ** (-i / d); wavelength = 2 * math.pi / f
        //         if wavelength > old / low: yield f / factor
        //         elif wavelength < old / high: yield f
        //         else:
        //             smooth = (old / wavelength - low) / (high - low)
        //             yield (1 - smooth) * f / factor + smooth * f
        // print(list(llama3(16, 500000.0, 8.0, 1.0, 4.0, 8192)))
        let expected = [
            1.0,
            0.193_922_744_748_685_76,
            0.037_606_030_930_863_94,
            0.007_292_664_737_217_109,
            0.000_524_846_160_992_954_7,
            3.428_102_195_952_591e-5,
            6.647_869_871_181_235e-6,
            1.289_173_172_151_557_4e-6,
        ];
        let new = keys(
            r#"{"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#,
        );
        assert_close(&RopeFrequencies::new("llama", [64, 16], 10_000.0, Some(&new), None).unwrap(), &expected);
        // 4.x: the base stands beside it.
        let old = RopeParameters { rope_theta: None, ..new.clone() };
        assert_close(&RopeFrequencies::new("llama", [64, 16], 500_000.0, None, Some(&old)).unwrap(), &expected);
        // Both spellings are fine as long as they agree.
        assert!(RopeFrequencies::new("llama", [64, 16], 500_000.0, Some(&new), Some(&old)).is_ok());
        let error = RopeFrequencies::new("llama", [64, 16], 10_000.0, Some(&new), Some(&old)).unwrap_err().to_string();
        assert!(error.contains("rope_scaling") && error.contains("keep one"), "{error}");
    }

    #[test]
    fn linear_divides_all_and_lengthens_the_text() {
        // print([10000.0 ** (-i / 8) / 4 for i in range(0, 8, 2)])
        for json in [r#"{"type": "linear", "factor": 4.0}"#, r#"{"rope_type": "linear", "factor": 4}"#] {
            let found = RopeFrequencies::new("llama", [64, 8], 10_000.0, None, Some(&keys(json))).unwrap();
            assert_close(&found, &[0.25, 0.025, 0.0025, 0.00025]);
            assert_eq!(found.positions, 256);
        }
    }

    #[test]
    fn keys_are_written_back_as_they_were_read() {
        for json in [
            r#"{"type":"linear","factor":4.0}"#,
            r#"{"rope_theta":10000.0,"rope_type":"default"}"#,
            r#"{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}"#,
        ] {
            assert_eq!(serde_json::to_string(&keys(json)).unwrap(), json);
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        for (json, says) in [
            (r#"{"rope_type": "yarn", "factor": 2.0}"#, "yarn"),
            (r#"{"rope_type": "linear"}"#, "`factor`"),
            (r#"{"rope_type": "linear", "factor": -2.0}"#, "`factor`"),
            (r#"{"rope_type": "llama3", "factor": 8.0}"#, "original_max_position_embeddings"),
            (r#"{"rope_theta": 0.0}"#, "rope_theta"),
            (r#"{"partial_rotary_factor": 0.5}"#, "partial_rotary_factor"),
        ] {
            let error =
                RopeFrequencies::new("llama", [64, 8], 10_000.0, Some(&keys(json)), None).unwrap_err().to_string();
            assert!(error.contains("rope_parameters") && error.contains(says), "{error}");
        }
        let huge = keys(r#"{"rope_type": "linear", "factor": 1e15}"#);
        for (positions, scaling) in [(usize::MAX, None), (64, Some(&huge))] {
            let error = RopeFrequencies::new("llama", [positions, 8], 10_000.0, None, scaling).unwrap_err().to_string();
            assert!(error.contains("max_position_embeddings") && error.contains("fits memory"), "{error}");
        }
    }
}
