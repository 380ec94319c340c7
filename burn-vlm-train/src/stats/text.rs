//! Scores of one generated text against one reference.

use burn_vlm_eval::translation::Chrf;
use unicode_normalization::UnicodeNormalization;

/// Sentence-level chrF2 in percent: the F2 score of character n-grams of length 1 to 6.
///
/// The same number, 0 to 100, as sacrebleu's `CHRF()` with its defaults: whitespace is removed, case counts, there
/// are no word n-grams, and orders for which either side is too short do not count ("effective order"). Characters are
/// Unicode scalar values. Two empty texts score 0, as in sacrebleu.
pub fn chrf(hypothesis: &str, reference: &str) -> f64 {
    Chrf::DEFAULT.corpus([(hypothesis, reference)])
}

/// Whether two texts are the same after [`normalise`].
pub fn exact_match(hypothesis: &str, reference: &str) -> bool {
    normalise(hypothesis) == normalise(reference)
}

/// A text as [`exact_match`] compares it.
///
/// Unicode compatibility composition (NFKC: full-width letters become plain, `e` + accent becomes `é`), then lower case by
/// the Unicode tables, independent of the locale (`ß` stays `ß`, the Turkish dotless i is not folded), then NFKC again
/// since lower-casing can decompose, then every run of whitespace becomes one space and none is left at the ends.
/// Punctuation counts.
pub fn normalise(text: &str) -> String {
    let folded: String = text.nfkc().collect::<String>().to_lowercase();
    let composed: String = folded.nfkc().collect();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides add the same few terms in f64; only the order of additions may differ.
    const SAME_ARITHMETIC: f64 = 1e-12;

    #[test]
    fn chrf_is_sacrebleus() {
        // sacrebleu 2.6.0: CHRF().sentence_score(hypothesis, [reference]).score
        let expected = [
            ("red apple", "red apple", 100.0),
            ("red apple", "green apple", 36.462_956_884_771_49),
            ("grüner Apfel", "roter Apfel", 57.845_807_547_845_965),
            ("the cat sat on the mat", "the cat is on the mat", 64.577_942_062_528_7),
            ("红苹果", "青苹果", 38.888_888_888_888_886),
            ("a", "b", 0.0),
            ("", "apple", 0.0),
            ("apple", "", 0.0),
            ("", "", 0.0),
            ("ab", "abc", 63.636_363_636_363_626),
            ("visage souriant", "visage souriant avec de grands yeux", 47.093_530_750_853_2),
            ("улыбающееся лицо", "лицо с улыбкой", 30.289_548_034_132_52),
            ("abc\u{3000}def", "abcdef", 100.0),
            ("ok", "okay then", 23.404_255_319_148_938),
        ];
        for (hypothesis, reference, percent) in expected {
            let score = chrf(hypothesis, reference);
            assert!(
                (score - percent).abs() < SAME_ARITHMETIC,
                "chrf({hypothesis:?}, {reference:?}) = {score}, sacrebleu gives {percent}"
            );
        }
    }

    #[test]
    fn exact_match_ignores_form_case_and_spacing() {
        assert!(exact_match("  Red\tApple ", "red apple"));
        assert!(exact_match("cafe\u{301}", "CAFÉ"));
        assert!(exact_match("ＡＢＣ", "abc"));
        assert!(exact_match("İstanbul", "i\u{307}stanbul"));
        assert!(exact_match("", "  "));
        assert!(!exact_match("red apple", "red apples"));
        assert!(!exact_match("red apple.", "red apple"));
        assert!(!exact_match("redapple", "red apple"));
    }
}
