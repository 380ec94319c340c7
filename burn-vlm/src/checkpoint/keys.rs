//! The parameters of a module under their checkpoint names.
//!
//! Unusual here: Burn puts an enum's variant into a parameter's path (`vision_tower.Siglip.encoder...`); checkpoints know no
//! variants, so they are left out.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// One float parameter of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name as in the checkpoint, for example `encoder.layers.0.mlp.fc1.weight`.
    pub name: String,
    /// Burn's id, by which optimizers and gradients find it.
    pub id: ParamId,
    /// Shape as stored in a file: a linear layer's weight is `[output, input]` there, and `[input, output]` in memory.
    pub shape: Vec<usize>,
    /// Whether the shape in memory is the transpose of `shape`.
    pub transposed: bool,
}

impl Parameter {
    /// Number of values.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All float parameters of a module, in the order of its fields. Lazy parameters stay lazy.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.found
}

/// Where a traversal stands.
#[derive(Debug, Default)]
pub(crate) struct Path {
    /// (name or nothing, whether the container is a linear layer or a matrix of an adapter)
    parts: Vec<(Option<String>, bool)>,
}

impl Path {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        let is_variant = container.starts_with("Enum:");
        let is_linear = ["Struct:Linear", "Struct:LoraMatrix"].contains(&container);
        self.parts.push(((!is_variant).then(|| name.to_string()), is_linear));
    }

    pub(crate) fn exit(&mut self) {
        self.parts.pop();
    }

    pub(crate) fn name(&self) -> String {
        self.parts.iter().filter_map(|(name, _)| name.as_deref()).collect::<Vec<_>>().join(".")
    }

    /// Whether this is the matrix of a linear layer, or of an adapter.
    pub(super) fn is_transposed<const D: usize>(&self) -> bool {
        D == 2 && self.parts.last().is_some_and(|(name, linear)| *linear && name.as_deref() == Some("weight"))
    }
}

#[derive(Default)]
struct Collector {
    path: Path,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let transposed = self.path.is_transposed::<D>();
        let mut shape = param.lazy_shape().to_vec();
        if transposed {
            shape.reverse();
        }
        self.found.push(Parameter { name: self.path.name(), id: param.id, shape, transposed });
    }
}
