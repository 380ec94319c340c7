//! Activation checkpointing: the same losses and gradients as without it, to the bit.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::*;
use crate::init::{Fill, Scope};
use crate::language::{AttentionInput, Gemma2Config, LanguageConfig, LanguageModel, LlamaConfig, Qwen2Config};
use crate::nn::{Linear, checkpoint};
use crate::vision::{ClipVisionConfig, SiglipVisionConfig, VisionConfig, VisionEncoder};

const TOKENS: usize = 7;
const VOCABULARY: usize = 30;

/// A layer of width six.
fn square(bias: bool, device: &Device) -> Linear {
    let fill = Fill::torch_linear(6);
    Scope::new(7, device).linear("square", 6, 6, fill, bias.then_some(fill))
}

/// The gradients of a module's parameters, in the order of its fields.
fn gradients<M: Module>(module: &M, grads: &Gradients) -> Vec<Option<Vec<f32>>> {
    struct Collect<'a>(&'a Gradients, Vec<Option<Vec<f32>>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(param.val().grad(self.0).map(to_vec));
        }
    }
    let mut collect = Collect(grads, Vec::new());
    module.visit(&mut collect);
    collect.1
}

fn languages() -> Vec<LanguageConfig> {
    let gemma = Gemma2Config {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 64,
        initializer_range: 0.3,
        query_pre_attn_scalar: 8.0,
        sliding_window: Some(5),
        ..Gemma2Config::default()
    };
    let llama = LlamaConfig {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: Some(3),
        initializer_range: 0.3,
        attention_bias: true,
        mlp_bias: true,
        ..LlamaConfig::default()
    };
    let qwen = Qwen2Config {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: 3,
        max_position_embeddings: 64,
        initializer_range: 0.3,
        ..Qwen2Config::default()
    };
    vec![LanguageConfig::Gemma2(gemma), LanguageConfig::Llama(llama), LanguageConfig::Qwen2(qwen)]
}

fn build(config: &LanguageConfig) -> LanguageModel {
    config.init_with(&Scope::new(5, &device())).unwrap()
}

fn ids() -> Tensor<2, Int> {
    let ids: Vec<i64> = (0..2 * TOKENS).map(|i| (i * 11 % VOCABULARY) as i64).collect();
    Tensor::from_data(TensorData::new(ids, [2, TOKENS]), &device())
}

/// Left padding in the second row, so that a mask and gathered angles take part.
fn padded() -> AttentionInput {
    let real: Vec<bool> = (0..2 * TOKENS).map(|i| !(TOKENS..TOKENS + 2).contains(&i)).collect();
    AttentionInput::left_padded(Tensor::<2, Bool>::from_data(TensorData::new(real, [2, TOKENS]), &device()))
}

/// Losses, and the gradients of the model's parameters and of `prefix`, an input that is no parameter.
type Outcome = (Vec<u32>, Vec<Option<Vec<f32>>>, Option<Vec<f32>>);

fn outcome(model: &LanguageModel, prefix: &Tensor<3>) -> Outcome {
    let embeds = model.embed(ids()) + prefix.clone();
    let hidden = model.forward(embeds, &padded(), None).unwrap();
    let rows: Vec<i64> = (0..2 * TOKENS as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [2 * TOKENS]), &device());
    let losses = model.target_losses(hidden, rows, ids().reshape([2 * TOKENS]));
    let loss = losses.clone().sum();
    if !loss.is_tracked() {
        return (bits(losses), Vec::new(), None);
    }
    let grads = loss.backward();
    (bits(losses), gradients(model, &grads), prefix.grad(&grads).map(to_vec))
}

#[test]
fn decoders_train_the_same() {
    for config in languages() {
        let mut model = build(&config);
        let prefix = random([2, TOKENS, 24], 3);
        let plain = outcome(&model, &prefix);
        model.set_gradient_checkpointing(true);
        let checkpointed = outcome(&model, &prefix);
        assert!(plain.1.iter().all(Option::is_some), "every parameter trains, a shared table too");
        assert!(plain.2.is_some());
        assert!(plain == checkpointed, "{config:?}");
    }
}

#[test]
fn frozen_parts_stay_frozen_and_let_gradients_through() {
    let config = &languages()[0];
    let frozen = |model: LanguageModel| model.no_grad();
    for input_trains in [true, false] {
        let prefix = random([2, TOKENS, 24], 3);
        let prefix = if input_trains { prefix } else { constant(prefix) };
        let mut model = frozen(build(config));
        let plain = outcome(&model, &prefix);
        model.set_gradient_checkpointing(true);
        let checkpointed = outcome(&model, &prefix);
        assert!(plain.1.iter().all(Option::is_none));
        assert_eq!(plain.2.is_some(), input_trains);
        assert!(plain == checkpointed, "input trains: {input_trains}");
    }
    // Frozen embeddings before layers that train: the blocks' input is in no graph.
    let freeze = |model: LanguageModel| match model {
        LanguageModel::Gemma2(mut inner) => {
            inner.model.embed_tokens = inner.model.embed_tokens.no_grad();
            inner.model.layers = inner
                .model
                .layers
                .into_iter()
                .enumerate()
                .map(|(index, layer)| if index == 1 { layer.no_grad() } else { layer })
                .collect();
            LanguageModel::Gemma2(inner)
        }
        other => other,
    };
    let prefix = constant(random([2, TOKENS, 24], 3));
    let mut model = freeze(build(config));
    let plain = outcome(&model, &prefix);
    model.set_gradient_checkpointing(true);
    assert!(plain == outcome(&model, &prefix));
    assert!(plain.1.iter().any(Option::is_some) && plain.1.iter().any(Option::is_none));
}

fn towers() -> Vec<VisionEncoder> {
    let siglip = SiglipVisionConfig {
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        image_size: 16,
        patch_size: 4,
        ..SiglipVisionConfig::default()
    };
    let clip = ClipVisionConfig {
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        image_size: 16,
        patch_size: 4,
        ..ClipVisionConfig::default()
    };
    let scope = Scope::new(5, &device());
    vec![VisionConfig::Siglip(siglip).init_with(&scope).unwrap(), VisionConfig::Clip(clip).init_with(&scope).unwrap()]
}

#[test]
fn towers_train_the_same() {
    for mut tower in towers() {
        let pixels = constant(random([2, 3, 16, 16], 4));
        let run = |tower: &VisionEncoder| {
            let found = tower.features(pixels.clone(), &[-2, 1], true).unwrap();
            let parts: Vec<Tensor<1>> = (6..)
                .zip(&found.layers)
                .map(|(seed, layer)| weighted_sum(layer.clone(), seed))
                .chain(found.pooled.map(|pooled| weighted_sum(pooled, 9)))
                .collect();
            let loss = Tensor::cat(parts, 0).sum();
            let grads = loss.backward();
            (bits(loss), gradients(tower, &grads))
        };
        let plain = run(&tower);
        tower.set_gradient_checkpointing(true);
        assert!(plain == run(&tower), "{:?}", tower.config());
    }
}

#[test]
fn a_block_within_a_block_and_a_block_used_twice() {
    let layer = square(true, &device());
    let inner = |layer: &Linear, x: Tensor<2>| layer.forward(x).tanh();
    let run = |checkpointed: bool| {
        let x = random([4, 6], 1);
        let once = |x: Tensor<2>| match checkpointed {
            false => inner(&layer, inner(&layer, x)),
            true => checkpoint(&layer, x, move |layer, x| {
                let x = checkpoint(layer, x, inner);
                inner(layer, x)
            }),
        };
        let y = once(once(x.clone()));
        let grads = weighted_sum(y.clone(), 2).backward();
        (bits(y), gradients(&layer, &grads), grad(&x, &grads))
    };
    let (plain, checkpointed) = (run(false), run(true));
    assert_eq!(plain.0, checkpointed.0);
    assert_close(&plain.2, &checkpointed.2, SAME_FORMULA, "dx");
    for (plain, checkpointed) in plain.1.iter().zip(&checkpointed.1) {
        // Four uses are summed in another order.
        assert_close(checkpointed.as_ref().unwrap(), plain.as_ref().unwrap(), SAME_FORMULA, "parameters");
    }
}

#[test]
fn a_parameter_that_the_block_does_not_use_has_no_gradient() {
    let layers = vec![square(true, &device()), square(false, &device())];
    let x = random([4, 6], 1);
    let y = checkpoint(&layers, x.clone(), |layers: &Vec<Linear>, x| layers[1].forward(x));
    let grads = y.sum().backward();
    let found = gradients(&layers, &grads);
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true]);
    assert!(x.grad(&grads).is_some());
}

#[test]
fn without_a_graph_a_block_is_a_plain_call() {
    let plain_device = burn::tensor::Device::flex();
    let layer = square(true, &plain_device);
    let x = Tensor::<2>::ones([4, 6], &plain_device);
    let y = checkpoint(&layer, x.clone(), |layer: &Linear, x| layer.forward(x));
    assert!(!y.is_tracked());
    assert_eq!(bits(y), bits(layer.forward(x)));
}

#[test]
fn several_threads_replay_at_once() {
    let handles: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(|| {
                let mut model = build(&languages()[0]);
                model.set_gradient_checkpointing(true);
                outcome(&model, &random([2, TOKENS, 24], 3))
            })
        })
        .collect();
    let outcomes: Vec<Outcome> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
}
