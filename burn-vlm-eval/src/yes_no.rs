//! Yes or no: the right answer, what replies mean under each rule, and what follows from how often.

use burn_vlm_data::source::SkipReason;

use crate::published::Item;
use crate::reply;
use crate::rules::Rules;
use crate::table::refuse;

/// The right answer as tables have it.
pub fn word(yes: bool) -> &'static str {
    if yes { "Yes" } else { "No" }
}

/// Writes the right answer as `Yes` or `No`, whatever its case.
///
/// # Errors
/// It is neither.
pub fn check(item: &mut Item) -> Result<(), SkipReason> {
    let yes = match item.answer().trim().to_lowercase().as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(refuse(format!("answer {:?}, expected Yes or No", item.answer()))),
    };
    item.answers = vec![word(yes).to_owned()];
    Ok(())
}

/// lmms-eval's POPE: the whole reply is the word.
pub fn whole(reply: &str) -> Option<bool> {
    match reply.to_lowercase().trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// LLaVA's POPE: no if one of three words stands in the first sentence, between spaces alone; else yes, whatever it is.
pub fn unless_denied(reply: &str) -> bool {
    let sentence = reply.split('.').next().unwrap_or_default().replace(',', "");
    !sentence.split(' ').any(|word| matches!(word, "No" | "no" | "not"))
}

/// What a reply means by the reader that most rules have; see [`reply::yes_no`].
pub fn read(reply: &str, rules: Rules) -> Option<bool> {
    reply::yes_no(reply, rules)
}

/// How often what was said of what was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Yes, rightly.
    pub true_yes: usize,
    /// Yes, wrongly.
    pub false_yes: usize,
    /// No, rightly.
    pub true_no: usize,
    /// No, wrongly.
    pub false_no: usize,
}

impl Counts {
    /// Counts what was right and what was said; what is neither yes nor no is left out.
    pub fn of(said: impl Iterator<Item = (bool, Option<bool>)>) -> Self {
        said.fold(Self::default(), |mut counts, (right, said)| {
            match (right, said) {
                (true, Some(true)) => counts.true_yes += 1,
                (false, Some(true)) => counts.false_yes += 1,
                (false, Some(false)) => counts.true_no += 1,
                (true, Some(false)) => counts.false_no += 1,
                (_, None) => {}
            }
            counts
        })
    }

    /// Of those that yes was said of, the share where it is right; 0 for none.
    pub fn precision(self) -> f64 {
        share(self.true_yes, self.true_yes + self.false_yes)
    }

    /// Of those where yes is right, the share that yes was said of; 0 for none.
    pub fn recall(self) -> f64 {
        share(self.true_yes, self.true_yes + self.false_no)
    }

    /// The harmonic mean of both; 0 where both are.
    pub fn f1(self) -> f64 {
        let (precision, recall) = (self.precision(), self.recall());
        if precision + recall > 0.0 { 2.0 * (precision * recall) / (precision + recall) } else { 0.0 }
    }
}

/// A part of a whole; 0 where the whole is nothing.
pub fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_differ() {
        for (reply, exact, llava) in [
            ("Yes", Some(true), true),
            (" no\n", Some(false), true),
            ("no.", None, false),
            ("Yes. There is no doubt", None, true),
            ("It is not, there", None, false),
            ("NO", Some(false), true),
            ("nein", None, true),
            ("", None, true),
        ] {
            assert_eq!(whole(reply), exact, "{reply}");
            assert_eq!(unless_denied(reply), llava, "{reply}");
        }
    }

    #[test]
    fn rates_of_nothing_are_nothing() {
        let none = Counts::of([(true, None), (false, None)].into_iter());
        assert_eq!((none.precision(), none.recall(), none.f1()), (0.0, 0.0, 0.0));
        let some = Counts::of([(true, Some(true)), (true, Some(false)), (false, Some(true))].into_iter());
        assert_eq!((some.precision(), some.recall(), some.f1()), (0.5, 0.5, 0.5));
    }
}
