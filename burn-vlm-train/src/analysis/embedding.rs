//! t-SNE of visual and text features (van der Maaten and Hinton 2008), as in Parrot's Figure 6.
//!
//! Distances are those of directions (features divided by their norm): visual tokens and word embeddings differ in length by an
//! order of magnitude, and plain distances would show only that. The start is drawn from a seed and one thread does the sums, whose order
//! would otherwise differ from run to run: the picture is always the same.

use burn_vlm_data::random::Stream;

/// Distance of points that count as neighbours; fewer points take a third of their number.
const PERPLEXITY: f32 = 30.0;
/// Gradient steps; the usual number.
const EPOCHS: usize = 1000;
/// Spread of the start; the usual number.
const START: f32 = 1e-2;
/// Fewer points have no neighbourhoods to show.
const LEAST: usize = 8;

/// Two coordinates a point; nothing where there are too few points.
pub fn tsne(features: &[Vec<f64>], seed: u64) -> Vec<[f32; 2]> {
    if features.len() < LEAST {
        return Vec::new();
    }
    // Without a pool of its own (no thread to be had) the picture may differ in detail.
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(|| embed(features, seed)),
        Err(_) => embed(features, seed),
    }
}

fn embed(features: &[Vec<f64>], seed: u64) -> Vec<[f32; 2]> {
    let directions: Vec<Vec<f32>> = features.iter().map(|row| direction(row)).collect();
    let mut stream = Stream::new(seed);
    // a sum of uniform numbers is as good as a Gaussian to start from
    let mut start = || (0..4).map(|_| stream.uniform(-START, START)).sum::<f32>() / 2.0;
    let start: Vec<f32> = (0..directions.len() * 2).map(|_| start()).collect();
    let mut model = bhtsne::tSNE::<f32, Vec<f32>, 2>::new(&directions);
    model
        .perplexity(PERPLEXITY.min((directions.len() - 1) as f32 / 3.0))
        .epochs(EPOCHS)
        .initial_embedding(start)
        .exact(|a, b| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt());
    model.embedding().chunks(2).map(|point| [point[0], point[1]]).collect()
}

fn direction(row: &[f64]) -> Vec<f32> {
    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    row.iter().map(|value| (value / norm) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_two_clusters_the_same_way_every_time() {
        let mut stream = Stream::new(5);
        let features: Vec<Vec<f64>> = (0..40)
            .map(|i| {
                let centre = if i % 2 == 0 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] };
                centre.iter().map(|c| c + f64::from(stream.uniform(-0.05, 0.05))).collect()
            })
            .collect();
        let points = tsne(&features, 1);
        assert_eq!(points.len(), 40);
        assert_eq!(points, tsne(&features, 1));
        let distance =
            |a: usize, b: usize| ((points[a][0] - points[b][0]).powi(2) + (points[a][1] - points[b][1]).powi(2)).sqrt();
        let nearest =
            |a: usize| (0..40).filter(|b| *b != a).min_by(|b, c| distance(a, *b).total_cmp(&distance(a, *c))).unwrap();
        assert!((0..40).all(|a| nearest(a) % 2 == a % 2));
        assert_eq!(tsne(&features[..3], 1), Vec::<[f32; 2]>::new());
    }
}
