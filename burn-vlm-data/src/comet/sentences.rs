//! Sentences of long texts.
//!
//! Boundaries are those of Unicode's annex 29, without lists of abbreviations: "Dr. Smith" may be cut in two, on both sides of a pair
//! or on one. A pair is only scored by sentences where both sides have equally many, so that such a cut is seen.

use unicode_segmentation::UnicodeSegmentation;

/// The sentences of a text, without the spaces around them.
pub fn sentences(text: &str) -> Vec<&str> {
    text.split_sentence_bounds().map(str::trim).filter(|sentence| !sentence.is_empty()).collect()
}

/// The sentences of two texts side by side.
///
/// # Errors
/// The two counts, where they differ.
pub fn aligned_sentences<'a>(source: &'a str, translation: &'a str) -> Result<Vec<(&'a str, &'a str)>, (usize, usize)> {
    let (left, right) = (sentences(source), sentences(translation));
    if left.len() != right.len() {
        return Err((left.len(), right.len()));
    }
    Ok(left.into_iter().zip(right).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_as_their_script_has_it() {
        let cases: [(&str, &[&str]); 6] = [
            ("One dog. Two cats!  Three?", &["One dog.", "Two cats!", "Three?"]),
            ("It costs 3.5 euros. Yes.", &["It costs 3.5 euros.", "Yes."]),
            ("一只狗。两只猫！", &["一只狗。", "两只猫！"]),
            ("कुत्ता दौड़ता है। बिल्ली सोती है।", &["कुत्ता दौड़ता है।", "बिल्ली सोती है।"]),
            ("A line\nanother line\n\n", &["A line", "another line"]),
            ("  \n ", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(sentences(text), expected, "{text:?}");
        }
        assert_eq!(aligned_sentences("A. B.", "C. D."), Ok(vec![("A.", "C."), ("B.", "D.")]));
        assert_eq!(aligned_sentences("A. B.", "C und D."), Err((2, 1)));
    }
}
