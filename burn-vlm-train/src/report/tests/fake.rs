//! Made-up studies with the size and noise of real ones.

use std::collections::BTreeMap;

use crate::eval::Metric;
use crate::report::{Axis, AxisValue, Column, LossSeries, Paper, PaperRow, Provenance, StudySpec, Timing, paper_entry};
use crate::stats::{Axes, Bootstrap, GroupKey, Outcome, Subset};

pub(crate) const LANGUAGES: [(&str, &str); 7] = [
    ("en", "English"),
    ("de", "German"),
    ("fr", "French"),
    ("ru", "Russian"),
    ("zh-Hans", "Chinese, simplified"),
    ("es", "Spanish"),
    ("nl", "Dutch"),
];

pub(crate) fn group(protocol: &str, distractors: &str, concepts: &str) -> GroupKey {
    let subset = match distractors {
        "" => Subset::from([("concepts", concepts)]),
        _ => Subset::from([("distractors", distractors), ("concepts", concepts)]),
    };
    GroupKey { protocol: protocol.to_owned(), subset }
}

/// The encoder study with `encoders` x `data` values on its axes.
pub(crate) fn spec(encoders: &[(&str, &str)], data: &[(&str, &str)]) -> StudySpec {
    let axis = |name: &str, label: &str, values: &[(&str, &str)]| Axis {
        name: name.to_owned(),
        label: label.to_owned(),
        values: values
            .iter()
            .map(|(value, label)| AxisValue { value: (*value).into(), label: (*label).into() })
            .collect(),
    };
    let column = |name: &str, explanation: &str, languages: &[&str]| Column {
        name: name.to_owned(),
        explanation: explanation.to_owned(),
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let protocol = |name: &str, label: &str, explanation: &str, chance: Option<f64>| Metric {
        name: name.to_owned(),
        label: label.to_owned(),
        explanation: explanation.to_owned(),
        chance,
    };
    let row = |encoder: &str, data: &str, scores: [f64; 4]| PaperRow {
        axes: Axes::from([("encoder".into(), encoder.into()), ("data".into(), data.into())]),
        scores: BTreeMap::from([
            ("2B".to_owned(), BTreeMap::from([("En".to_owned(), scores[0]), ("Multi".to_owned(), scores[1])])),
            ("9B".to_owned(), BTreeMap::from([("En".to_owned(), scores[2]), ("Multi".to_owned(), scores[3])])),
        ]),
    };
    StudySpec {
        study: "encoder".to_owned(),
        preset: "tiny".to_owned(),
        title: "Does a multilingual vision encoder help a multilingual model?".to_owned(),
        question: "Two encoders, one pretrained on English texts and one on multilingual texts, under finetuning on English \
                   alone and on several languages with the same number of samples."
            .to_owned(),
        axes: vec![axis("encoder", "Encoder", encoders), axis("data", "Finetuning data", data)],
        columns: vec![
            column("En", "English", &["en"]),
            column("Multi", "mean of the trained non-English languages", &["de", "fr", "ru", "zh-Hans"]),
            column("Unseen", "mean of languages the finetuning never saw", &["es", "nl"]),
        ],
        protocols: vec![
            protocol(
                "cloze",
                "cloze",
                "Four names are scored as answers by length-normalised likelihood; the highest wins.",
                Some(25.0),
            ),
            protocol(
                "lettered",
                "lettered",
                "The options stand in the prompt in all four rotations; an item counts only if all four are right.",
                Some(0.390625),
            ),
            protocol("caption-chrf", "caption, chrF", "chrF2 of the generated name against the reference.", None),
        ],
        headline: group("cloze", "far", "seen"),
        language_names: LANGUAGES.iter().map(|(tag, name)| ((*tag).into(), (*name).into())).collect(),
        paper: Some(Paper {
            source: "TowerVision, Table 5 (ALM-Bench)".to_owned(),
            note: "Theirs are models of 2B and 9B parameters on photographs of cultures; ours is a tiny model on icons. Only the \
                   direction of a difference can be compared, not a score."
                .to_owned(),
            scales: vec!["2B".to_owned(), "9B".to_owned()],
            rows: vec![
                row("siglip1", "en", [67.4, 60.2, 78.3, 81.2]),
                row("siglip2", "en", [69.3, 67.1, 77.2, 81.1]),
                row("siglip1", "en+multi", [76.6, 80.7, 83.6, 84.4]),
                row("siglip2", "en+multi", [77.1, 81.1, 83.6, 85.2]),
            ],
        }),
        warning: None,
        citations: vec![paper_entry("TowerVision, Table 5").unwrap().to_owned()],
        caveats: vec![
            "Pictures are icons and texts are phrases translated from English: results show mechanisms, not real-world quality."
                .to_owned(),
        ],
        bootstrap: Bootstrap::default(),
    }
}

pub(crate) fn two_by_two() -> StudySpec {
    spec(
        &[("siglip1", "SigLIP 1 (English)"), ("siglip2", "SigLIP 2 (multilingual)")],
        &[("en", "En"), ("en+multi", "En + Multi")],
    )
}

/// A number in `[0, 1)` that depends on the text alone.
fn chance(text: &str) -> f64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    // FNV's high bits mix poorly for short texts: one round of a finaliser.
    let mixed = (hash ^ (hash >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    ((mixed ^ (mixed >> 27)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Outcomes of every cell of the study: later values of an axis do better.
pub(crate) fn outcomes(spec: &StudySpec, seeds: &[u64], concepts: usize) -> Vec<Outcome> {
    let groups = [
        (group("cloze", "far", "seen"), 0.50),
        (group("cloze", "near", "seen"), 0.32),
        (group("cloze", "far", "unseen"), 0.33),
        (group("lettered", "far", "seen"), 0.05),
        (group("caption-chrf", "", "seen"), 0.12),
    ];
    let mut outcomes = Vec::new();
    for (e, encoder) in spec.axes[0].values.iter().enumerate() {
        for (d, data) in spec.axes[1].values.iter().enumerate() {
            for &seed in seeds {
                for (key, base) in &groups {
                    for (l, (language, _)) in LANGUAGES.iter().enumerate() {
                        for c in 0..concepts {
                            let easy = chance(&format!("{c}{}", key.subset.get("concepts").unwrap_or_default())) - 0.5;
                            let english = if l == 0 { 0.16 - 0.05 * d as f64 } else { -0.16 + 0.17 * d as f64 };
                            let unseen = if l > 4 { -0.06 } else { 0.0 };
                            let encoder_gain = 0.05 * e as f64 * if l > 0 && d == 0 { 1.0 } else { 0.3 };
                            let p = base + 0.5 * easy + english + unseen + encoder_gain;
                            let draw = chance(&format!("{key}{language}{c}{}{}{seed}", encoder.value, data.value));
                            outcomes.push(Outcome {
                                axes: Axes::from([
                                    ("encoder".into(), encoder.value.clone()),
                                    ("data".into(), data.value.clone()),
                                ]),
                                seed,
                                protocol: key.protocol.clone(),
                                subset: key.subset.clone(),
                                language: (*language).to_owned(),
                                group: format!("{c:04}"),
                                score: if key.subset.get("distractors").is_none() {
                                    p.clamp(0.0, 1.0)
                                } else {
                                    f64::from(u8::from(draw < p))
                                },
                            });
                        }
                    }
                }
            }
        }
    }
    outcomes
}

pub(crate) fn losses(spec: &StudySpec, seeds: &[u64], steps: u64) -> Vec<LossSeries> {
    let curve = |name: &str, start: f64, end: f64, seed: u64| -> Vec<(u64, f64)> {
        let at = |step: u64| {
            let t = step as f64 / steps as f64;
            let noise = chance(&format!("{name}{seed}{step}")) - 0.5;
            (step, end + (start - end) * (-t * 12.0).exp() + 0.3 * (1.0 - t).powi(2) + 0.35 * noise)
        };
        (1..=steps).map(at).collect()
    };
    let mut losses = Vec::new();
    for encoder in &spec.axes[0].values {
        losses.push(LossSeries {
            stage: "Alignment".to_owned(),
            unit: "cross-entropy, nats per token".to_owned(),
            axes: Axes::new(),
            name: encoder.label.clone(),
            seed: Some(seeds[0]),
            points: curve(&encoder.value, 9.0, 2.9, 0),
        });
    }
    for (e, encoder) in spec.axes[0].values.iter().enumerate() {
        for (d, data) in spec.axes[1].values.iter().enumerate() {
            for &seed in seeds {
                losses.push(LossSeries {
                    stage: "Finetuning".to_owned(),
                    unit: "cross-entropy, nats per token".to_owned(),
                    axes: Axes::from([("encoder".into(), encoder.value.clone()), ("data".into(), data.value.clone())]),
                    name: String::new(),
                    seed: Some(seed),
                    points: curve("f", 3.6, 1.8 + 0.4 * d as f64 - 0.08 * e as f64, seed + 10 * (e + 2 * d) as u64),
                });
            }
        }
    }
    losses
}

pub(crate) fn provenance(seeds: &[u64]) -> Provenance {
    Provenance {
        command: "cargo run --release --example ablate_encoder -- --preset tiny".to_owned(),
        commit: "0123456789ab".to_owned(),
        device: "flex, 2 CPU cores".to_owned(),
        seeds: seeds.to_vec(),
        finished: "2026-05-01T12:00:00Z".to_owned(),
        times: vec![
            Timing { name: "Training".to_owned(), seconds: 512.4 },
            Timing { name: "Evaluation".to_owned(), seconds: 48.2 },
        ],
        recipe: "[model]\nvision = \"siglip\"\n\n[[stage]]\nname = \"finetuning\"\nsteps = 600\n".to_owned(),
        more: BTreeMap::from([("burn".to_owned(), "0.22.1".into())]),
    }
}
