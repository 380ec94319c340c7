//! Activations, gated units, rotary positions, AdamW.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::*;
use crate::nn::{Activation, AdamWHyper, RopeTable, adamw_step, composed, gated, rope, sum_squares};

/// bf16 keeps eight bits of mantissa.
const BF16: f64 = 2e-2;
/// Twenty updates of values around one in f32.
const OPTIMIZER: f64 = 1e-6;

const ALL: [Activation; 9] = [
    Activation::Gelu,
    Activation::GeluPytorchTanh,
    Activation::GeluNew,
    Activation::QuickGelu,
    Activation::Silu,
    Activation::Relu,
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Linear,
];

#[test]
fn activations_match_the_composed_form() {
    for activation in ALL {
        for n in [1, 37, 20_000] {
            let run = |form: Form| {
                let x = random([n], 1);
                let input = form.input(&x) * 3.0;
                let y =
                    if form.is_fused() { activation.forward(input) } else { composed::activation(activation, input) };
                let grads = weighted_sum(y.clone().cast(DType::F32), 2).backward();
                [to_vec(y), grad(&x, &grads)]
            };
            let composed = run(Form::Composed);
            for form in HAND_WRITTEN {
                for (actual, expected) in run(form).iter().zip(&composed) {
                    assert_close(actual, expected, SAME_FORMULA, &format!("{form:?} {activation:?} {n}"));
                }
            }
        }
    }
}

#[test]
fn activation_values_are_those_of_pytorch() {
    // torch.nn.functional.gelu(x), gelu(x, approximate="tanh"), silu(x), x * sigmoid(1.702 x) at -1.5, 0.5, 2 from the
    // definitions in f64: erf(0.5/sqrt 2) = 0.382924922548026, erf(1.5/sqrt 2) = 0.866385597462284,
    // erf(2/sqrt 2) = 0.954499736103642.
    let x = Tensor::<1>::from_data([-1.5, 0.5, 2.0], &device());
    let expect = |activation: Activation, expected: [f64; 3]| {
        assert_close(&to_vec(activation.forward(x.clone())), &expected, AGAINST_F64, "value");
    };
    let exact = |x: f64, erf: f64| 0.5 * x * (1.0 + erf);
    let gelu =
        [exact(-1.5, -0.866_385_597_462_284), exact(0.5, 0.382_924_922_548_026), exact(2.0, 0.954_499_736_103_642)];
    expect(Activation::Gelu, gelu);
    let points = [-1.5f64, 0.5, 2.0];
    let tanh = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    expect(Activation::GeluPytorchTanh, points.map(tanh));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    expect(Activation::Silu, points.map(|x| x * sigmoid(x)));
    expect(Activation::QuickGelu, points.map(|x| x * sigmoid(1.702 * x)));
}

#[test]
fn gated_units_match_the_composed_form() {
    for activation in ALL {
        let run = |form: Form| {
            let (gate, up) = (random([23, 411], 1), random([23, 411], 2));
            let f = if form.is_fused() { gated::<2> } else { composed::gated::<2> };
            let y = f(activation, form.input(&gate), form.input(&up)).cast(DType::F32);
            let grads = weighted_sum(y.clone(), 3).backward();
            [to_vec(y), grad(&gate, &grads), grad(&up, &grads)]
        };
        let composed = run(Form::Composed);
        for form in HAND_WRITTEN {
            for (actual, expected) in run(form).iter().zip(&composed) {
                assert_close(actual, expected, SAME_FORMULA, &format!("{form:?} {activation:?}"));
            }
        }
    }
}

#[test]
fn gradients_match_finite_differences() {
    for activation in ALL {
        let (x, up) = (random([40], 1), random([40], 2));
        let grads = gated(activation, x.clone() * 2.0, up.clone()).sum().backward();
        let computed = grad(&x, &grads);
        let f = |x: f64| -> f64 {
            // f64 tensors take the composed form, at full precision.
            let x = Tensor::<1>::from_data(TensorData::new(vec![x], [1]), (&device().inner(), DType::F64));
            composed::activation(activation, x).into_scalar::<f64>()
        };
        let (x, up) = (to_vec(x), to_vec(up));
        // Composed bodies compute in f32, hence the wide step.
        let step = 1e-2;
        let difference = |i: usize| {
            let x = 2.0 * f64::from(x[i]);
            2.0 * f64::from(up[i]) * (f(x + step) - f(x - step)) / (2.0 * step)
        };
        for (i, computed) in computed.iter().enumerate() {
            let kink = matches!(activation, Activation::Relu) && x[i].abs() < 0.01;
            let error = (f64::from(*computed) - difference(i)).abs();
            assert!(kink || error < 2e-3, "{activation:?} at {}: off by {error}", x[i]);
        }
    }
}

#[test]
fn shared_inputs_are_not_overwritten() {
    let (gate, up) = (random([5, 100], 1) * 1.0, random([5, 100], 2) * 1.0);
    let before = [to_vec(gate.clone()), to_vec(up.clone())];
    let y = gated(Activation::Silu, gate.clone(), up.clone());
    // The gradient of `y` is shared with that of `gate` here.
    (y + gate.clone()).sum().backward();
    assert_eq!([to_vec(gate.clone()), to_vec(up)], before);
    let inner = gate.inner();
    let _ = Activation::Relu.forward(inner.clone());
    assert_eq!(to_vec(inner), before[0]);
}

#[test]
fn activations_take_strided_and_bf16_input() {
    let x = random([30, 20], 1).inner();
    let expected = to_vec(Activation::Gelu.forward(x.clone().transpose() + 0.0));
    assert_close(&to_vec(Activation::Gelu.forward(x.clone().transpose())), &expected, SAME_FORMULA, "view");
    let slice = Activation::Gelu.forward(x.clone().narrow(0, 3, 5));
    let whole = Activation::Gelu.forward(x.clone()).narrow(0, 3, 5);
    assert_eq!(to_vec(slice), to_vec(whole));
    let half = Activation::Gelu.forward(x.transpose().cast(DType::BF16));
    assert_close(&to_vec(half), &expected, BF16, "bf16");
}

#[test]
fn activation_names_are_those_of_the_configs() {
    for (name, activation) in [
        ("gelu", Activation::Gelu),
        ("gelu_pytorch_tanh", Activation::GeluPytorchTanh),
        ("gelu_new", Activation::GeluNew),
        ("quick_gelu", Activation::QuickGelu),
        ("silu", Activation::Silu),
        ("relu", Activation::Relu),
    ] {
        assert_eq!(serde_json::from_str::<Activation>(&format!("\"{name}\"")).unwrap(), activation);
        assert_eq!(serde_json::to_string(&activation).unwrap(), format!("\"{name}\""));
    }
    assert_eq!(serde_json::from_str::<Activation>("\"swish\"").unwrap(), Activation::Silu);
}

#[test]
fn rope_matches_the_composed_form_and_the_definition() {
    let (b, t, h, d, theta) = (3, 11, 2, 12, 100.0);
    let table = RopeTable::new(d, theta, 32, &device());
    let rows: Vec<i64> = (0..b * t).map(|i| ((i % t + 3 * (i / t)) % 32) as i64).collect();
    let positions = Tensor::<2, Int>::from_data(TensorData::new(rows.clone(), [b, t]), &device());
    let per_row = (table.gather(positions), rows);
    let contiguous = (table.contiguous(5, t), (0..b * t).map(|i| (5 + i % t) as i64).collect());
    for (angles, positions) in [per_row, contiguous] {
        let run = |form: Form| {
            let x = random([b, t, h, d], 1);
            let f = if form.is_fused() { rope } else { composed::rope };
            let y = f(form.input(&x), &angles).cast(DType::F32);
            let grads = weighted_sum(y.clone(), 2).backward();
            [to_vec(y), grad(&x, &grads)]
        };
        let composed = run(Form::Composed);
        for form in HAND_WRITTEN {
            for (actual, expected) in run(form).iter().zip(&composed) {
                assert_close(actual, expected, SAME_FORMULA, &format!("{form:?} rope"));
            }
        }
        let x = to_vec(random([b, t, h, d], 1));
        let expected: Vec<f64> = (0..x.len())
            .map(|n| {
                let (token, i) = (n / (h * d), n % d);
                let angle = positions[token] as f64 * theta.powf(-2.0 * (i % (d / 2)) as f64 / d as f64);
                let half = d / 2;
                // rotate_half: (-x2, x1)
                let other = if i < half { -x[n + half] } else { x[n - half] };
                f64::from(x[n]) * angle.cos() + f64::from(other) * angle.sin()
            })
            .collect();
        assert_close(&run(Form::Kernels)[0], &expected, AGAINST_F64, "definition");
    }
}

#[test]
fn adamw_follows_pytorch() {
    let n = 300;
    let hyper = |step| AdamWHyper { lr: 1e-2, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, step };
    let device = device().inner();
    let make = |data: Vec<f32>| Tensor::<1>::from_data(TensorData::new(data, [n]), &device);
    let start = values(n, 1);
    let mut fused = (make(start.clone()), make(vec![0.0; n]), make(vec![0.0; n]));
    let mut composed = fused.clone();
    let mut reference: Vec<[f64; 3]> = start.iter().map(|&p| [f64::from(p), 0.0, 0.0]).collect();
    for step in 1..=20 {
        let grad = values(n, 100 + step as u64);
        let (p, m, v) = fused;
        fused = adamw_step(p, make(grad.clone()), m, v, &hyper(step));
        let (p, m, v) = composed;
        composed = composed::adamw_step(p, make(grad.clone()), m, v, &hyper(step));
        let AdamWHyper { lr, beta1, beta2, eps, weight_decay, .. } = hyper(step);
        for ([p, m, v], &g) in reference.iter_mut().zip(&grad) {
            let g = f64::from(g);
            *p *= 1.0 - lr * weight_decay;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let (c1, c2) = (1.0 - beta1.powi(step as i32), 1.0 - beta2.powi(step as i32));
            *p -= lr / c1 * *m / (v.sqrt() / c2.sqrt() + eps);
        }
    }
    for (p, m, v) in [fused, composed] {
        for (i, tensor) in [p, m, v].into_iter().enumerate() {
            let expected: Vec<f64> = reference.iter().map(|state| state[i]).collect();
            assert_close(&to_vec(tensor), &expected, OPTIMIZER, "adamw");
        }
    }
}

#[test]
fn adamw_leaves_shared_tensors_alone() {
    let device = device().inner();
    let ones = Tensor::<2>::ones([10, 10], &device);
    let hyper = AdamWHyper { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.0, step: 1 };
    let (param, ..) = adamw_step(ones.clone(), ones.clone(), ones.clone(), ones.clone(), &hyper);
    assert!(to_vec(ones).iter().all(|&x| x == 1.0));
    assert!(to_vec(param).iter().all(|&x| x < 1.0));
}

#[test]
fn squares_are_summed_over_all_elements() {
    for n in [1, 100, 30_000] {
        let x = random([n], 1);
        let expected: f64 = to_vec(x.clone()).iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        assert_close(&to_vec(sum_squares(x.clone())), &[expected], SAME_FORMULA, "kernel");
        assert_close(&to_vec(sum_squares(x.clone().inner())), &[expected], SAME_FORMULA, "without autodiff");
        let half = sum_squares(x.cast(DType::F64));
        assert_close(&to_vec(half), &[expected], SAME_FORMULA, "composed");
    }
}

#[test]
fn gradient_checkpointing_changes_nothing() {
    let run = |device: Device| {
        let leaf = |seed| {
            let data = TensorData::new(values(6000, seed), [2, 30, 4, 25]);
            Tensor::<4>::from_data(data, &device).require_grad()
        };
        let (gate, up) = (leaf(1), leaf(2));
        // Element-wise operations around the fused one are what checkpointing recomputes.
        let y = gated(Activation::Silu, gate.clone() * 2.0 + up.clone(), up.clone().exp()) * gate.clone();
        let grads = y.sum().backward();
        [grad(&gate, &grads), grad(&up, &grads)]
    };
    let plain = run(device());
    let checkpointed = run(Device::flex().autodiff().gradient_checkpointing());
    assert_eq!(plain, checkpointed);
}

#[test]
fn threads_do_not_change_bits() {
    let table = RopeTable::new(16, 1e4, 128, &device());
    assert_thread_invariant(|| {
        let (x, up) = (random([4, 100, 4, 16], 1), random([4, 100, 4, 16], 2));
        let y = gated(Activation::GeluPytorchTanh, rope(x.clone(), &table.contiguous(0, 100)), up.clone());
        let grads = weighted_sum(y.clone(), 3).backward();
        vec![bits(y), bits(x.grad(&grads).unwrap()), bits(up.grad(&grads).unwrap())]
    });
}
