//! Parameters of the connectors.

use super::List;
use crate::connector::{ConnectorConfig, ExpertKind, MlpConnectorConfig};

pub(super) fn connector(config: &ConnectorConfig, projector: &MlpConnectorConfig, list: &mut List) {
    let ConnectorConfig::Parrot(parrot) = config else { return mlp(projector, list) };
    let hidden = projector.hidden;
    mlp(projector, &mut list.at("projector"));
    list.at("router").linear("gate", hidden, parrot.num_experts, false);
    for index in 0..parrot.num_experts {
        let mut experts = list.at("experts");
        let mut expert = experts.at(index);
        if parrot.expert == ExpertKind::Swiglu {
            expert.linear("gate_proj", hidden, parrot.intermediate_size, false);
        }
        expert.linear("up_proj", hidden, parrot.intermediate_size, false);
        expert.linear("down_proj", parrot.intermediate_size, hidden, false);
    }
}

fn mlp(config: &MlpConnectorConfig, list: &mut List) {
    list.linear("linear_1", config.input, config.hidden, config.bias);
    list.linear("linear_2", config.hidden, config.hidden, config.bias);
}
