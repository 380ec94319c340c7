//! What a picture is worth to a model that translates: conditional cross-mutual information.
//!
//! With `q` the model, `x` a source sentence, `v` its picture and `y` the reference of `T` tokens, the gain of one item
//! is
//!
//! ```text
//! 1/T * (log q(y | x, v) - log q(y | x))     in nats a token
//! ```
//!
//! and CXMI(v -> y | x) = H_q(y | x) - H_q(y | x, v) is estimated by the mean of the gains over the items: above 0
//! where pictures help to foresee the reference, 0 where they are not looked at, below 0 where they disturb. The
//! measure is that of Fernandes et al., "Measuring and Increasing Context Usage in Context-Aware Machine Translation"
//! (ACL 2021), after the cross-mutual information of Bugliarello et al. (ACL 2020), with the picture as the context.
//!
//! Unusual here: those sum over the tokens of a sentence, we take their mean, as [`Ask::Likelihood`](crate::ask::Ask)
//! gives it, so that long sentences do not outweigh short ones. Numbers of models with different tokenizers are not
//! comparable.

use serde_json::{Map, Value, json};

use crate::ask::Reply;
use crate::mean;
use crate::published::{Answer, Item};

/// What pictures are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Cxmi {
    /// The gain of each item, in nats a token; none where one of the two replies is missing, is no likelihood, or there
    /// is no picture.
    pub gains: Vec<Option<f64>>,
    /// Of every part, and of `all` items: `cxmi` in nats a token, `items` that it is the mean of.
    pub totals: Value,
    /// What a reader must know: items that are not among them.
    pub notes: Vec<String>,
}

/// Compares what [`Published::picture_use`](crate::Published::picture_use) asked with pictures and without, an answer
/// of each item in their order.
pub fn cxmi(items: &[Item], with: &[Answer], without: &[Answer]) -> Cxmi {
    let likelihood = |answer: Option<&Answer>| match answer?.reply.as_ref()? {
        Reply::Scores(scores) => scores.first().copied().filter(|score| score.is_finite()),
        Reply::Text(_) => None,
    };
    let gain = |(number, item): (usize, &Item)| {
        let gain = likelihood(with.get(number))? - likelihood(without.get(number))?;
        (!item.media.is_empty()).then_some(gain)
    };
    let gains: Vec<Option<f64>> = items.iter().enumerate().map(gain).collect();
    let pairs = || items.iter().zip(&gains).filter_map(|(item, gain)| Some((item, (*gain)?)));
    let total = |part: Option<&str>| {
        let of_part = || pairs().filter(move |(item, _)| part.is_none_or(|part| item.part == part));
        let items = of_part().count();
        let value = (items > 0).then(|| mean(of_part().map(|(_, gain)| gain)));
        json!({ "cxmi": value, "items": items })
    };
    let mut totals = Map::new();
    for item in items {
        if !totals.contains_key(&item.part) {
            totals.insert(item.part.clone(), total(Some(&item.part)));
        }
    }
    totals.insert("all".to_owned(), total(None));
    let lacking = gains.iter().filter(|gain| gain.is_none()).count();
    let note =
        format!("CXMI: {lacking} of {} items lack a picture, or a likelihood with it or without it", items.len());
    Cxmi { gains, totals: totals.into(), notes: Vec::from_iter((lacking > 0).then_some(note)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain_text::tests::item;
    use burn_vlm_data::sample::{Media, Picture};

    /// Two tokens of probability 1/2 and 1/4 with the picture, 1/4 and 1/16 without: (ln 2 + ln 4) / 2 = 1.5 ln 2. A
    /// second item that the picture takes ln 2 from. Together 0.25 ln 2 a token.
    #[test]
    fn by_hand() {
        let shown = |part: &str| {
            let picture = Picture::File { path: "x.png".into(), max_bytes: 1 };
            Item { media: vec![Media::Image(picture)], ..item(part, "0", "a", "b") }
        };
        let items = [shown("de"), shown("fr"), item("fr", "1", "a", "b")];
        let scores =
            |values: [f64; 3]| values.map(|value| Answer { reply: Some(Reply::Scores(vec![value])), judge: None });
        let ln2 = std::f64::consts::LN_2;
        let found = cxmi(&items, &scores([-1.5 * ln2, -2.0 * ln2, -1.0]), &scores([-3.0 * ln2, -ln2, -9.0]));
        let near = |value: &Value, wanted: f64| value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-12);
        assert!(near(&found.totals["de"]["cxmi"], 1.5 * ln2), "{found:?}");
        assert!(near(&found.totals["fr"]["cxmi"], -ln2), "{found:?}");
        assert!(near(&found.totals["all"]["cxmi"], 0.25 * ln2), "{found:?}");
        // The third has no picture.
        assert_eq!(found.gains[2], None);
        assert_eq!(found.totals["all"]["items"], 2);
        assert!(found.notes[0].contains("1 of 3"));
        let nothing = cxmi(&items, &[], &[Answer::text("x")]);
        assert_eq!(nothing.totals["all"], json!({ "cxmi": null, "items": 0 }));
    }
}
