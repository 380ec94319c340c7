//! A connector of your own beside LLaVA's: trained, scored, saved and asked. `cargo run --release --example own_connector`
//!
//! Any module with `Projector` will do. A recipe names it: `model.connector = { kind = "custom", name = "gated" }`.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::sigmoid};
use burn_vlm::connector::{ConnectorConfig, ConnectorShape, Projector, RoutingText};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::{ModelError, checkpoint::StoreDtype, init::Fill, init::Scope, nn::Linear, parts::Either};
use burn_vlm_experiments::{AnyError, BuiltIn, execute_of, study_args};
use burn_vlm_train::chat::ChatModel;

/// Each visual token, gated by itself.
#[derive(Module, Debug)]
struct Gated {
    gate: Linear,
    value: Linear,
}

impl Projector for Gated {
    fn accepts(config: &ConnectorConfig) -> bool {
        config.is_custom("gated")
    }
    fn from_config(_: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        let fill = Fill::torch_linear(shape.input);
        let linear = |name: &str| scope.linear(name, shape.input, shape.hidden, fill, Some(fill));
        Ok(Self { gate: linear("gate"), value: linear("value") })
    }
    fn config(&self) -> ConnectorConfig {
        ConnectorConfig::named("gated")
    }
    fn input_width(&self) -> usize {
        self.value.weight.lazy_shape()[0]
    }
    fn output_width(&self) -> usize {
        self.value.weight.lazy_shape()[1]
    }
    fn connect(&self, features: Tensor<3>, _: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        Ok(sigmoid(self.gate.forward(features.clone())) * self.value.forward(features))
    }
}

/// Your connector, or any that configs know.
type Connectors = Either<Gated>;

fn main() -> Result<(), AnyError> {
    let study = BuiltIn { name: "own_connector", file: "own_connector", text: include_str!("own_connector.toml") };
    let out = execute_of::<VisionEncoder, Connectors>(&study, &study_args("own_connector", &[study]), |job| job)?; // trained, scored, saved
    let cell = out.join("cells/gated/seed0");
    if cell.join("done.json").is_file() {
        let chat = ChatModel::<VisionEncoder, Connectors>::load_as(&cell, &Device::flex(), StoreDtype::F32)?;
        let mut session = chat.session();
        session.add_image("a cat", include_bytes!("../tests/fixtures/images/cat_451x300.png"))?;
        println!("it says: {}", session.ask("What is this?")?.finish()?);
    }
    Ok(())
}
