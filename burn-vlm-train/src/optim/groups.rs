//! `pattern -> learning rate`: the one mechanism behind freezing, stages and per-part learning rates.
//!
//! A pattern is a regular expression that is searched in a parameter's dotted path from its start
//! (`vision_tower` matches everything below the tower). Of several that match the longest wins. What none matches is
//! frozen: it gets no gradient and no optimizer state. In a stage with adapters (`lora`) they mean the adapters and the modules that
//! are trained as a whole beside them; everything else is frozen whatever its name.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use burn_vlm::checkpoint::Parameter;
use burn_vlm::lora::LoraPlan;
use burn_vlm_base::suggest::did_you_mean;
use regex::Regex;

use crate::error::{Result, TrainError};
use crate::params::{ParamInfo, PathStack, list_params};
use crate::recipe::StageRecipe;

/// Compiled patterns with their learning rates.
#[derive(Debug, Clone)]
pub struct LearningRates {
    rules: Vec<(String, Regex, f64)>,
    /// Where adapters are trained.
    lora: Option<LoraPlan>,
}

/// One line of the frozen / trainable table printed at the start of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct PartReport {
    /// Top-level part, e.g. `vision_tower`.
    pub part: String,
    /// Parameters that train.
    pub trainable: usize,
    /// Parameters that do not.
    pub frozen: usize,
    /// The learning rates in use in this part, without repetition.
    pub rates: Vec<f64>,
}

impl LearningRates {
    /// Compiles the table of a recipe.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or a rate that is not a positive number.
    pub fn new(table: &BTreeMap<String, f64>) -> Result<Self> {
        let mut rules = Vec::new();
        for (pattern, rate) in table {
            if !(rate.is_finite() && *rate > 0.0) {
                return Err(TrainError::Recipe(format!(
                    "the learning rate of `{pattern}` is {rate}; expected a positive number (leave the pattern out to freeze)"
                )));
            }
            let regex = Regex::new(&format!("^(?:{pattern})"))
                .map_err(|error| TrainError::Recipe(format!("`{pattern}` is no regular expression: {error}")))?;
            rules.push((pattern.clone(), regex, *rate));
        }
        Ok(Self { rules, lora: None })
    }

    /// Those of a stage, whose model has these parameters, with or without the stage's adapters.
    ///
    /// # Errors
    /// As [`Self::new`]; adapters that do not fit the model.
    pub fn of_stage(stage: &StageRecipe, parameters: &[Parameter]) -> Result<Self> {
        let rates = Self::new(&stage.train)?;
        match &stage.lora {
            None => Ok(rates),
            Some(lora) => Ok(rates.on_adapters(lora.plan(parameters)?)),
        }
    }

    /// The same for a model with adapters: everything but them, and what is trained as a whole beside them, is frozen.
    pub fn on_adapters(self, plan: LoraPlan) -> Self {
        Self { lora: Some(plan), ..self }
    }

    /// The learning rate of a parameter; `None` means frozen.
    pub fn rate(&self, path: &str) -> Option<f64> {
        if self.lora.as_ref().is_some_and(|plan| !plan.trains(path)) {
            return None;
        }
        self.rules
            .iter()
            .filter(|(_, regex, _)| regex.is_match(path))
            .max_by_key(|(pattern, _, _)| pattern.len())
            .map(|(_, _, rate)| *rate)
    }

    /// Fails if a pattern matches no parameter: a mistyped name would freeze silently what it meant to train.
    ///
    /// # Errors
    /// Names the pattern and the nearest part; of adapters, those that no pattern trains.
    pub fn check(&self, params: &[ParamInfo]) -> Result<()> {
        if let Some(plan) = &self.lora {
            let trained = || params.iter().filter(|param| plan.trains(&param.path));
            if let Some(param) = trained().find(|param| self.rate(&param.path).is_none()) {
                return Err(TrainError::Recipe(format!(
                    "`lora` makes {}, which no pattern of `train` gives a learning rate",
                    param.path
                )));
            }
            if let Some((pattern, ..)) =
                self.rules.iter().find(|(_, regex, _)| !trained().any(|param| regex.is_match(&param.path)))
            {
                return Err(TrainError::Recipe(format!(
                    "the pattern `{pattern}` of `train` matches no adapter: `lora` freezes everything but `targets` and `modules_to_save`"
                )));
            }
        }
        for (pattern, regex, _) in &self.rules {
            if !params.iter().any(|param| regex.is_match(&param.path)) {
                let parts: Vec<&str> = params.iter().filter_map(|param| param.path.split('.').next()).collect();
                let hint = did_you_mean(pattern, parts);
                return Err(TrainError::Recipe(format!("the pattern `{pattern}` matches no parameter{hint}")));
            }
        }
        Ok(())
    }

    /// What is to be said of the adapters' rank, if anything ([`LoraPlan::remark`]).
    pub fn remark(&self, params: &[ParamInfo]) -> Option<String> {
        self.lora.as_ref()?.remark(params.iter().map(|param| (param.path.as_str(), param.shape.as_slice())))
    }

    /// Marks every parameter as trainable or frozen.
    pub fn apply<M: Module>(&self, module: M) -> M {
        struct Marker<'a> {
            stack: PathStack,
            rates: &'a LearningRates,
        }
        impl ModuleMapper for Marker<'_> {
            fn enter_module(&mut self, name: &str, container: &str) {
                self.stack.enter(name, container);
            }
            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.stack.exit();
            }
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let trains = self.rates.rate(&self.stack.path()).is_some();
                param.set_require_grad(trains)
            }
        }
        module.map(&mut Marker { stack: PathStack::default(), rates: self })
    }

    /// Summarises what trains and what is frozen, part by part.
    pub fn report<M: Module>(&self, module: &M) -> Vec<PartReport> {
        self.report_params(&list_params(module))
    }

    /// The same of parameters that need not exist.
    pub fn report_params(&self, params: &[ParamInfo]) -> Vec<PartReport> {
        let mut parts: Vec<PartReport> = Vec::new();
        for param in params {
            let part = param.path.split('.').next().unwrap_or_default().to_string();
            let rate = self.rate(&param.path);
            if parts.last().is_none_or(|last| last.part != part) {
                parts.push(PartReport { part, trainable: 0, frozen: 0, rates: Vec::new() });
            }
            if let Some(last) = parts.last_mut() {
                match rate {
                    Some(rate) => {
                        last.trainable += param.count();
                        if !last.rates.contains(&rate) {
                            last.rates.push(rate);
                        }
                    }
                    None => last.frozen += param.count(),
                }
            }
        }
        parts
    }
}

impl std::fmt::Display for PartReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match (self.trainable, self.frozen) {
            (0, _) => "[frozen]   ",
            (_, 0) => "[TRAINABLE]",
            _ => "[PARTLY]   ",
        };
        write!(f, "{state} {:<24} {:>12} parameters", self.part, thousands(self.trainable + self.frozen))?;
        if self.trainable > 0 {
            if self.frozen > 0 {
                write!(f, ", {} trainable", thousands(self.trainable))?;
            }
            let rates: Vec<String> = self.rates.iter().map(|rate| format!("{rate:e}")).collect();
            write!(f, ", lr {}", rates.join(" / "))?;
        }
        Ok(())
    }
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(pairs: &[(&str, f64)]) -> LearningRates {
        LearningRates::new(&pairs.iter().map(|(p, r)| (p.to_string(), *r)).collect()).unwrap()
    }

    #[test]
    fn the_longest_pattern_wins_and_the_rest_is_frozen() {
        let rates = rates(&[("language_model", 1e-5), (r"language_model\.model\.layers\.0\.", 1e-3)]);
        assert_eq!(rates.rate("language_model.lm_head.weight"), Some(1e-5));
        assert_eq!(rates.rate("language_model.model.layers.0.mlp.up_proj.weight"), Some(1e-3));
        assert_eq!(rates.rate("vision_tower.post_layernorm.weight"), None);
    }

    #[test]
    fn a_pattern_without_a_match_is_an_error_with_a_hint() {
        let params = [ParamInfo { path: "vision_tower.a.weight".into(), shape: vec![2] }];
        let error = rates(&[("vision_towr", 1e-3)]).check(&params).unwrap_err().to_string();
        assert!(error.contains("vision_towr") && error.contains("`vision_tower`"), "{error}");
    }

    #[test]
    fn a_rate_must_be_positive() {
        assert!(LearningRates::new(&[("a".to_string(), 0.0)].into()).is_err());
        assert!(LearningRates::new(&[("a(".to_string(), 1.0)].into()).is_err());
    }
}
