//! Parameters by name: the dotted paths that recipes, checkpoints and logs use.
//!
//! Burn identifies a parameter by a random `ParamId`, which no file holds. Everything here that must survive a
//! process (optimizer moments, checkpoints, learning-rate patterns) is keyed by the path instead, e.g.
//! `language_model.model.layers.0.self_attn.q_proj.weight`. Enum variants (`VisionEncoder::Siglip`) are no part of it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Keeps the dotted path while a module is traversed.
#[derive(Default, Debug, Clone)]
pub struct PathStack {
    segments: Vec<Option<String>>,
}

impl PathStack {
    /// To be called from `enter_module`.
    pub fn enter(&mut self, name: &str, container: &str) {
        let is_variant = container.starts_with("Enum:");
        self.segments.push((!is_variant).then(|| name.to_string()));
    }

    /// To be called from `exit_module`.
    pub fn exit(&mut self) {
        self.segments.pop();
    }

    /// The path of the parameter that is being visited.
    pub fn path(&self) -> String {
        let names: Vec<&str> = self.segments.iter().flatten().map(String::as_str).collect();
        names.join(".")
    }
}

/// One float parameter of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamInfo {
    /// Dotted path.
    pub path: String,
    /// Shape.
    pub shape: Vec<usize>,
}

impl ParamInfo {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Lists the float parameters of a module in the order of its fields.
pub fn list_params<M: Module>(module: &M) -> Vec<ParamInfo> {
    #[derive(Default)]
    struct Lister {
        stack: PathStack,
        found: Vec<ParamInfo>,
    }
    impl ModuleVisitor for Lister {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.stack.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.stack.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push(ParamInfo { path: self.stack.path(), shape: param.val().dims().to_vec() });
        }
    }
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}
