//! Looking into a connector: which experts a prompt's language asks for, whether they differ, and where the visual tokens lie beside
//! the words. Written to each cell's `analysis.json`.
//!
//! Every picture is shown under the same question in every language, as in generation: all words of the prompt route. For a connector
//! without experts only the tokens are looked at.

mod embedding;
mod information;
mod similarity;

pub use embedding::tsne;
pub use information::{Weights, entropy, mean_by_language, mutual_information, permutation_p};
pub use similarity::{Rows, cosine, linear_cka, mean_cosine};

use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{VisualFeatures, VlmInput};
use burn_vlm_data::collate::{PaddingSide, TextBatch, collate};
use burn_vlm_data::encode::{Encoded, IGNORE};
use burn_vlm_data::sample::Sample;
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};
use crate::eval::{Kept, Scorer, Shown};

/// Relabellings of the permutation test; the smallest p is one in a thousand.
const PERMUTATIONS: usize = 999;
/// Seeds t-SNE's start and the permutations apart from every other use of a seed.
const SEED: u64 = 0x616e_616c;

/// What was found in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Language tags, in the order of every list below.
    pub languages: Vec<String>,
    /// Pictures looked at.
    pub pictures: usize,
    /// Lengths of tokens, and how much the routing says of the language, at the start of each stage and at the end.
    pub moments: Vec<Moment>,
    /// The visual tokens beside the words, at the end.
    pub alignment: Vec<Alignment>,
    /// The routing; absent where there are no experts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingFindings>,
    /// The experts at the end; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertSimilarity>,
}

/// A moment of training: mean Euclidean length of a token, and the routing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The stage that begins, or `end`.
    pub at: String,
    /// Behind the projector (H).
    pub projected: f64,
    /// As the decoder gets them (G); the same where there are no experts or they are bypassed.
    pub visual: f64,
    /// Word embeddings of the names.
    pub text: f64,
    /// Mutual information between language and expert in bits; absent where there are no experts or they are bypassed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub information: Option<f64>,
}

/// Where the visual tokens lie beside word embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alignment {
    /// `before` (H) or `after` (G) the experts.
    pub place: String,
    /// Share of pictures x languages whose mean visual token points to the word embeddings of its prompt's language rather than to
    /// another language's (largest cosine with the languages' centroids, each side less its mean). Chance: 1 / languages.
    pub prompt_language: f64,
    /// Mean cosine between the visual tokens of the same picture under two prompt languages; 1 where the prompt changes nothing.
    pub across_prompts: f64,
    /// t-SNE of mean visual tokens and mean word embeddings of the names.
    pub points: Vec<Point>,
}

/// One point of a t-SNE map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Coordinates.
    pub at: [f32; 2],
    /// Whether it is an image's; else a name's.
    pub visual: bool,
    /// Index of the language; absent for visual tokens that no prompt has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<usize>,
}

/// How the prompt's language routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutingFindings {
    /// Mean weights, `[language][expert]`.
    pub weights: Vec<Vec<f64>>,
    /// Mean entropy of one prompt's weights, in bits.
    pub entropy: f64,
    /// The most it can be: `log2 experts`.
    pub max_entropy: f64,
    /// Mutual information between language and expert, in bits.
    pub information: f64,
    /// Of the permutation test.
    pub p: f64,
    /// Relabellings of that test.
    pub permutations: usize,
}

/// How alike the experts' outputs are on the same tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertSimilarity {
    /// Linear CKA, `[expert][expert]`.
    pub cka: Vec<Vec<f64>>,
    /// Mean cosine, `[expert][expert]`.
    pub cosine: Vec<Vec<f64>>,
}

impl ExpertSimilarity {
    /// Mean over pairs of different experts; 1 for a single expert.
    pub fn mean_pair(matrix: &[Vec<f64>]) -> f64 {
        let pairs: Vec<f64> =
            (0..matrix.len()).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| matrix[i][j]).collect();
        if pairs.is_empty() { 1.0 } else { pairs.iter().sum::<f64>() / pairs.len() as f64 }
    }
}

/// The pictures and prompts that connectors are looked at with.
pub struct Probe<'a, T: VisionTower = VisionEncoder, P: Projector = Connector> {
    scorer: &'a Scorer<T, P>,
    /// `[picture][language]`
    samples: Vec<Vec<&'a Sample>>,
    /// Word embeddings of the names, mean over tokens, `[picture][language]`.
    names: Vec<Vec<Vec<f64>>>,
    /// Mean length of one of their tokens.
    name_length: f64,
}

/// Visual tokens of a probe as plain numbers, `[token][hidden]` for each of `[picture][language]`.
type Tokens = Vec<Vec<Vec<Vec<f64>>>>;

impl<'a, T: VisionTower, P: Projector> Probe<'a, T, P> {
    /// A probe of captioning samples, every language of a picture after the other.
    ///
    /// # Errors
    /// Samples that are not in the same languages for every picture, a name that cannot be encoded.
    pub fn new(scorer: &'a Scorer<T, P>, samples: &'a [Sample]) -> Result<Self> {
        let samples: Vec<Vec<&Sample>> =
            samples.chunk_by(|a, b| a.group == b.group).map(|group| group.iter().collect()).collect();
        let languages = |group: &Vec<&Sample>| group.iter().map(|sample| sample.language).collect::<Vec<_>>();
        if samples.windows(2).any(|pair| languages(&pair[0]) != languages(&pair[1])) || samples.is_empty() {
            return Err(TrainError::Data("the analysis needs every picture in the same languages".into()));
        }
        let mut names = Vec::new();
        let (mut length, mut tokens) = (0.0, 0);
        for group in &samples {
            let mut of_picture = Vec::new();
            for sample in group {
                let ids = scorer.processor.tokenizer().encode(sample.answer())?;
                let count = ids.len();
                let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
                let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, count]), &scorer.device);
                let scale = scorer.model.language_model.embed_scale();
                let rows = rows(scorer.model.language_model.embed(ids) / scale).pop().unwrap_or_default();
                length += rows.iter().map(|row| norm(row)).sum::<f64>();
                tokens += rows.len();
                of_picture.push(mean(&rows));
            }
            names.push(of_picture);
        }
        Ok(Self { scorer, samples, names, name_length: length / tokens.max(1) as f64 })
    }

    /// The probe's model as it is now.
    ///
    /// # Errors
    /// A picture without features.
    pub fn moment(&self, at: &str) -> Result<Moment> {
        let (visual, weights) = self.visual()?;
        Ok(self.moment_of(at, &self.projected()?, &visual, weights.as_ref()))
    }

    fn moment_of(&self, at: &str, projected: &Tokens, visual: &Tokens, weights: Option<&Weights>) -> Moment {
        let mean_length = |tokens: &Tokens| {
            let all: Vec<f64> = tokens.iter().flatten().flatten().map(|token| norm(token)).collect();
            all.iter().sum::<f64>() / all.len().max(1) as f64
        };
        Moment {
            at: at.into(),
            projected: mean_length(projected),
            visual: mean_length(visual),
            text: self.name_length,
            information: weights.map(|weights| mutual_information(&mean_by_language(weights))),
        }
    }

    /// Everything about the probe's model. `moments` are those noted earlier.
    ///
    /// # Errors
    /// A picture without features.
    pub fn analyse(&self, mut moments: Vec<Moment>) -> Result<Analysis> {
        let (visual, weights) = self.visual()?;
        let projected = self.projected()?;
        moments.push(self.moment_of("end", &projected, &visual, weights.as_ref()));
        let mut alignment = vec![self.align("before", &projected)];
        if weights.is_some() {
            alignment.push(self.align("after", &visual));
        }
        Ok(Analysis {
            languages: self.samples[0]
                .iter()
                .map(|sample| sample.language.map_or("-", |language| language.tag()).to_string())
                .collect(),
            pictures: self.samples.len(),
            moments,
            alignment,
            routing: weights.map(|weights| routing_findings(&weights)),
            experts: self.experts()?,
        })
    }

    /// Tokens behind the projector: `[picture][1]`, the prompt does not change them.
    fn projected(&self) -> Result<Tokens> {
        let Some((features, counts)) = self.features()? else { return Ok(Vec::new()) };
        let projected = rows(self.scorer.model.multi_modal_projector.project(features)?);
        let Some(counts) = counts else { return Ok(projected.into_iter().map(|tokens| vec![tokens]).collect()) };
        let mut tokens = projected.into_iter().flatten();
        Ok(counts.into_iter().map(|count| vec![tokens.by_ref().take(count).collect()]).collect())
    }

    /// Tokens as the decoder gets them, and the routing weights where there are any: `[picture][language]`.
    fn visual(&self) -> Result<(Tokens, Option<Weights>)> {
        let (mut tokens, mut weights) = (Vec::new(), Vec::new());
        let model = &self.scorer.model;
        for group in &self.samples {
            let input = self.input(group)?;
            let visual = model.visual_tokens(&input)?;
            tokens.push(visual.map(rows).unwrap_or_default());
            if let Some(routing) = model.routing(&input)? {
                weights.push(rows(routing.weights.unsqueeze_dim::<3>(0)).pop().unwrap_or_default());
            }
        }
        let routed = weights.len() == tokens.len();
        Ok((tokens, routed.then_some(weights)))
    }

    /// The prompts of one picture as a batch; every word of them routes.
    fn input(&self, group: &[&Sample]) -> Result<VlmInput> {
        let shown: Vec<Vec<Shown>> = group.iter().map(|sample| shown(sample)).collect::<Result<_>>()?;
        let prompt = |(sample, shown): (&&Sample, &Vec<Shown>)| -> Result<Encoded> {
            let ids = self.scorer.prompt(sample.prompt(), shown)?;
            Ok(Encoded { labels: vec![IGNORE; ids.len()], ids, ..Encoded::default() })
        };
        let prompts: Vec<Encoded> = group.iter().zip(&shown).map(prompt).collect::<Result<_>>()?;
        let text: TextBatch = collate(&prompts, self.scorer.pad_id(), PaddingSide::Right, 1);
        let shape = [text.batch, text.tokens];
        let shown: Vec<&[Shown]> = shown.iter().map(Vec::as_slice).collect();
        let mask = TensorData::new(text.mask(), shape);
        let routing_text = Some(Tensor::<2, Bool>::from_data(mask, &self.scorer.device));
        self.scorer.input_routed(&text, &shown, &mut Kept::default(), routing_text)
    }

    /// The features of each picture; where pictures have grids of their own, of all one behind the other, and how many each has.
    fn features(&self) -> Result<Option<(Tensor<3>, Option<Vec<usize>>)>> {
        let firsts: Vec<Vec<Shown>> =
            self.samples.iter().filter_map(|group| group.first()).map(|sample| shown(sample)).collect::<Result<_>>()?;
        let firsts: Vec<&[Shown]> = firsts.iter().map(Vec::as_slice).collect();
        let VisualFeatures { features, packing, .. } = self.scorer.features_of(&firsts, &mut Kept::default())?;
        Ok(match (features, packing.filter(|_| self.scorer.model.config.is_flexible())) {
            (Some(features), Some(packing)) => {
                Some((packing.apply(features, None)?, Some(packing.image_tokens().to_vec())))
            }
            (features, _) => features.map(|features| (features, None)),
        })
    }

    fn align(&self, place: &str, tokens: &Tokens) -> Alignment {
        let visual: Vec<Vec<Vec<f64>>> =
            tokens.iter().map(|prompts| prompts.iter().map(|tokens| mean(tokens)).collect()).collect();
        let languages = self.names.first().map_or(0, Vec::len);
        let mut features: Vec<Vec<f64>> = visual.iter().flatten().cloned().collect();
        features.extend(self.names.iter().flatten().cloned());
        let places = tsne(&features, SEED);
        let prompts = visual.first().map_or(0, Vec::len);
        let count = visual.len() * prompts;
        let point = |(index, at): (usize, [f32; 2])| match index.checked_sub(count) {
            None => Point { at, visual: true, language: (prompts > 1).then_some(index % prompts.max(1)) },
            Some(name) => Point { at, visual: false, language: Some(name % languages.max(1)) },
        };
        Alignment {
            place: place.into(),
            prompt_language: prompt_language(&visual, &self.names),
            across_prompts: across_prompts(&visual),
            points: places.into_iter().enumerate().map(point).collect(),
        }
    }

    fn experts(&self) -> Result<Option<ExpertSimilarity>> {
        let Some((features, _)) = self.features()? else { return Ok(None) };
        let experts = self.scorer.model.multi_modal_projector.experts(features)?;
        if experts.is_empty() {
            return Ok(None);
        }
        let outputs: Vec<Rows> = experts.into_iter().map(|expert| rows(expert).concat()).collect();
        let matrix = |similarity: &dyn Fn(&Rows, &Rows) -> f64| {
            outputs.iter().map(|x| outputs.iter().map(|y| similarity(x, y)).collect()).collect()
        };
        Ok(Some(ExpertSimilarity { cka: matrix(&linear_cka), cosine: matrix(&mean_cosine) }))
    }
}

/// The pictures of a sample with their keys.
fn shown(sample: &Sample) -> Result<Vec<Shown>> {
    sample.pictures().map(Shown::new).collect()
}

fn routing_findings(weights: &Weights) -> RoutingFindings {
    let by_language = mean_by_language(weights);
    let entropies: Vec<f64> = weights.iter().flatten().map(|weights| entropy(weights)).collect();
    RoutingFindings {
        entropy: entropies.iter().sum::<f64>() / entropies.len().max(1) as f64,
        max_entropy: by_language.first().map_or(0.0, |weights| (weights.len() as f64).log2()),
        information: mutual_information(&by_language),
        p: permutation_p(weights, PERMUTATIONS, SEED),
        permutations: PERMUTATIONS,
        weights: by_language,
    }
}

/// See [`Alignment::prompt_language`]. Visual tokens that no prompt changes are held against every language: chance exactly.
fn prompt_language(visual: &[Vec<Vec<f64>>], names: &[Vec<Vec<f64>>]) -> f64 {
    let languages = names.first().map_or(0, Vec::len);
    let all_names: Vec<Vec<f64>> = names.concat();
    let all_visual: Vec<Vec<f64>> = visual.concat();
    let (names_mean, visual_mean) = (mean(&all_names), mean(&all_visual));
    let centroid = |language: usize| {
        let of_language: Vec<Vec<f64>> = names.iter().map(|picture| picture[language].clone()).collect();
        difference(&mean(&of_language), &names_mean)
    };
    let centroids: Vec<Vec<f64>> = (0..languages).map(centroid).collect();
    let mut hits = 0usize;
    let mut count = 0usize;
    for prompts in visual {
        for language in 0..languages {
            let token = difference(&prompts[language.min(prompts.len() - 1)], &visual_mean);
            let cosines: Vec<f64> = centroids.iter().map(|centroid| cosine(&token, centroid)).collect();
            hits += usize::from(crate::eval::argmax(&cosines) == language);
            count += 1;
        }
    }
    hits as f64 / count.max(1) as f64
}

/// See [`Alignment::across_prompts`].
fn across_prompts(visual: &[Vec<Vec<f64>>]) -> f64 {
    let pairs = |prompts: &Vec<Vec<f64>>| -> Vec<f64> {
        (0..prompts.len())
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| cosine(&prompts[i], &prompts[j]))
            .collect()
    };
    let cosines: Vec<f64> = visual.iter().flat_map(pairs).collect();
    if cosines.is_empty() { 1.0 } else { cosines.iter().sum::<f64>() / cosines.len() as f64 }
}

/// A tensor as nested lists.
fn rows(tensor: Tensor<3>) -> Vec<Vec<Vec<f64>>> {
    let [_, tokens, width] = tensor.dims();
    let values: Vec<f64> = tensor.into_data().iter::<f32>().map(f64::from).collect();
    values.chunks(tokens * width).map(|item| item.chunks(width).map(<[f64]>::to_vec).collect()).collect()
}

fn mean(rows: &[Vec<f64>]) -> Vec<f64> {
    let width = rows.first().map_or(0, Vec::len);
    (0..width).map(|column| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn norm(row: &[f64]) -> f64 {
    row.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two languages whose names lie at (1, 0) and (0, 1), pictures whose tokens follow or ignore the prompt.
    #[test]
    fn tokens_that_follow_the_prompt() {
        let names = vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]]; 3];
        let following = vec![vec![vec![5.0, 4.0], vec![4.0, 5.0]]; 3];
        assert_eq!(prompt_language(&following, &names), 1.0);
        let swapped = vec![vec![vec![4.0, 5.0], vec![5.0, 4.0]]; 3];
        assert_eq!(prompt_language(&swapped, &names), 0.0);
        let ignoring: Vec<Vec<Vec<f64>>> = vec![vec![vec![5.0, 4.0]], vec![vec![4.0, 5.0]], vec![vec![4.5, 4.0]]];
        assert_eq!(prompt_language(&ignoring, &names), 0.5);
        assert_eq!(across_prompts(&ignoring), 1.0);
        assert!((across_prompts(&following) - 40.0 / 41.0).abs() < 1e-12);
    }

    #[test]
    fn mean_over_pairs() {
        let matrix = vec![vec![1.0, 0.2, 0.4], vec![0.2, 1.0, 0.6], vec![0.4, 0.6, 1.0]];
        assert!((ExpertSimilarity::mean_pair(&matrix) - 0.4).abs() < 1e-12);
        assert_eq!(ExpertSimilarity::mean_pair(&[vec![1.0]]), 1.0);
    }
}
