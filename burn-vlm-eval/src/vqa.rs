//! Short answers as VQA's own evaluation compares them, in the variants that its copies made of it.
//!
//! Unusual here: the rules are kept with their slips, since published numbers have them. A hyphen becomes a space or
//! vanishes by what else stands in the text; articles go in every language (`Rua A` is `rua`); at most 32 dots are
//! removed.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::rules::Rules;

/// Marks that are removed or become spaces; all are ASCII.
const MARKS: &str = ";/[]\"{}()=+\\_-><@`,?!";
/// The most dots that are removed: a number of flags was given where a count was asked for.
const DOTS: usize = 32;
const ARTICLES: [&str; 3] = ["a", "an", "the"];
/// Words for the numbers of their place; `none` is 0 too.
const NUMBERS: [&str; 11] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
/// Short forms that are mended where exactly one of their apostrophes is left out (`dont`, `couldnt've`).
const SHORT_FORMS: &str = "\
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd \
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't \
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've \
    somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll \
    that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've \
    weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've \
    why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're \
    you've";
/// The one short form that loses its apostrophe.
const LOSES: (&str, &str) = ("somebody'd", "somebodyd");

/// Mended short forms by how they are written without one of their apostrophes.
static MENDED: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let broken = |form: &'static str| {
        form.match_indices('\'').map(move |(at, _)| (format!("{}{}", &form[..at], &form[at + 1..]), form))
    };
    let mended = SHORT_FORMS.split_whitespace().flat_map(broken);
    mended.chain([(LOSES.0.to_owned(), LOSES.1)]).collect()
});

/// Digits of any script; numbers such as `²` are none.
static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d$").ok());

fn is_digit(c: char) -> bool {
    let other = |c: char| DIGIT.as_ref().is_some_and(|digit| digit.is_match(c.encode_utf8(&mut [0; 4])));
    c.is_ascii_digit() || (!c.is_ascii() && other(c))
}

/// An answer as the text that is compared, by the rules' own steps.
///
/// VLMEvalKit and its copies, and lmms-eval's VQAv2 (`with_tokens` false): marks, numbers, articles, short forms.
/// lmms-eval's TextVQA and LLaVA's script (`with_tokens` true) lower the text before, delete commas and question marks,
/// and set `'s` apart.
pub fn compared(text: &str, rules: Rules, with_tokens: bool) -> String {
    let text = match with_tokens {
        true => text.to_lowercase().replace([',', '?'], "").replace("'s", " 's"),
        false => text.to_owned(),
    };
    let text = text.trim().replace(['\n', '\t'], " ");
    plain_words(&without_marks(text.trim(), rules))
}

/// A mark that touches a space somewhere in the text is deleted everywhere, another becomes a space (all are deleted
/// where the text has digit, comma, digit); then at most 32 dots go, but not those before a digit and, in VLMEvalKit
/// alone, those after one.
pub fn without_marks(text: &str, rules: Rules) -> String {
    let thousands = has_thousands(text, rules);
    let mut out = text.to_owned();
    for mark in MARKS.chars() {
        let touches = text.contains(&format!("{mark} ")) || text.contains(&format!(" {mark}"));
        out = out.replace(mark, if touches || thousands { "" } else { " " });
    }
    let chars: Vec<char> = out.chars().collect();
    let mut dots = 0;
    let mut kept = String::with_capacity(out.len());
    for (at, &c) in chars.iter().enumerate() {
        let digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| is_digit(*c));
        // The others have a mistyped look-behind, so that a dot after a digit goes too.
        let behind = rules == Rules::Vlmevalkit && digit(at.checked_sub(1));
        if c == '.' && dots < DOTS && !behind && !digit(at.checked_add(1)) {
            dots += 1;
        } else {
            kept.push(c);
        }
    }
    kept
}

/// The text has a comma between digits; outside VLMEvalKit and its copy, several in a row count too.
fn has_thousands(text: &str, rules: Rules) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let digit = |at: Option<&char>| at.is_some_and(|c| is_digit(*c));
    (1..chars.len()).any(|at| {
        if !digit(chars.get(at - 1)) {
            return false;
        }
        let commas = chars[at..].iter().take_while(|c| **c == ',').count();
        let fits = if rules.uses_pandas() { commas == 1 } else { commas >= 1 };
        fits && digit(chars.get(at + commas))
    })
}

/// Words in lower case: numbers up to ten as digits, without articles, short forms mended.
fn plain_words(text: &str) -> String {
    let text = text.to_lowercase();
    let number = |word: &str| match word {
        "none" => Some(0),
        word => NUMBERS.iter().position(|number| *number == word),
    };
    let words = text.split_whitespace().map(|word| number(word).map_or(word.to_owned(), |number| number.to_string()));
    let words = words.filter(|word| !ARTICLES.contains(&word.as_str()));
    let words: Vec<String> = words.map(|word| MENDED.get(&word).map_or(word, |form| (*form).to_owned())).collect();
    words.join(" ")
}

/// The score of an answer: over all people asked, the mean of min(matches among the others / 3, 1); 0 where nobody was
/// asked.
pub fn leave_one_out(answer: &str, people: &[String]) -> f64 {
    /// So many others must agree for a full score.
    const AGREE: f64 = 3.0;
    let matches = people.iter().filter(|given| *given == answer).count();
    let one = |given: &String| (matches.saturating_sub(usize::from(given == answer)) as f64 / AGREE).min(1.0);
    crate::mean(people.iter().map(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variants_differ_in_dots_tokens_and_commas() {
        for (text, kit, parrot, lmms) in [
            ("22.", "22.", "22", "22"),
            ("John's", "john's", "john's", "john 's"),
            ("1,,000-a", "1 000", "1 000", "1000"),
            ("3-2", "3 2", "3 2", "3 2"),
            ("1,000-2", "10002", "10002", "1000 2"),
            ("Rua A", "rua", "rua", "rua"),
            (
                "dont, couldnt've somebody'd",
                "don't couldn't've somebodyd",
                "don't couldn't've somebodyd",
                "don't couldn't've somebodyd",
            ),
            ("none of ten", "0 of 10", "0 of 10", "0 of 10"),
            // Digits of other scripts are digits, powers are none.
            ("٣.", "٣.", "٣", "٣"),
            ("m².", "m²", "m²", "m²"),
        ] {
            assert_eq!(compared(text, Rules::Vlmevalkit, false), kit, "{text}");
            assert_eq!(compared(text, Rules::ParrotVlmevalkit, false), parrot, "{text}");
            assert_eq!(compared(text, Rules::LmmsEval, true), lmms, "{text}");
        }
        assert_eq!(compared("1,,000-a", Rules::LmmsEval, false), "1000a");
    }

    #[test]
    fn dots_beyond_the_limit_stay() {
        let text = format!("x{}", ".".repeat(DOTS + 1));
        assert_eq!(compared(&text, Rules::LmmsEval, true), "x.");
        assert_eq!(compared(&text[..=DOTS], Rules::LmmsEval, true), "x");
    }

    #[test]
    fn short_forms_lack_one_apostrophe() {
        assert_eq!(MENDED.get("hadntve"), None);
        for (broken, form) in [("hadnt've", "hadn't've"), ("twas", "'twas"), ("y'alld've", "y'all'd've")] {
            assert_eq!(MENDED.get(broken), Some(&form));
        }
    }

    #[test]
    fn scores_leave_one_out() {
        let people: Vec<String> = ["a", "a", "a", "a", "b", "b", "b", "c", "c", "d"].map(str::to_owned).to_vec();
        // Sums of tenths, not exact in binary.
        const ROUNDING: f64 = 1e-12;
        for (answer, score) in [("a", 1.0), ("b", 0.9), ("c", 0.6), ("d", 0.3), ("e", 0.0)] {
            assert!((leave_one_out(answer, &people) - score).abs() < ROUNDING, "{answer}");
        }
        assert_eq!(leave_one_out("a", &[]), 0.0);
    }
}
