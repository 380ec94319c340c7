//! The words of questions about clips and of their answers: CLDR's names, its pattern of a category and its list, and the project's
//! "What is this?".
//!
//! | question | words | in English | answers |
//! |---|---|---|---|
//! | direction | name of 🧭: What is this? | compass: What is this? | names of ⬅ ➡, or of ⏫ ⏬ |
//! | grows | name of 📊 | bar chart: What is this? | names of 📈 📉 |
//! | turns | name of 🔁 | repeat button: What is this? | names of 🔃 🔄 |
//! | order | name of ⏯ | play or pause button: What is this? | two names in order, as a list |
//! | first, last | names of 🔝, 🔚 | TOP arrow: What is this? | a name |
//! | becomes | name of 🔜 | SOON arrow: What is this? | two names in order, as a list |
//! | times | name of 🔁, a name | repeat button: tulip | a number |
//! | control | name of 🔢, a name | input numbers: tulip | a number |
//!
//! Each language of the corpus has these names, the pattern of a category (`{0}: {1}`) and "What is this?"; numbers are digits.
//!
//! Unusual here: in Latin American Spanish 🔄 is called after horizontal arrows that turn clockwise, and in Icelandic 🔃 after reloading, so
//! there is no question about turning in these two. The arrow ⬆ is a held-out concept, so what goes up is called after a button. Names that hold what separates a list (a comma) in some language are in no list.

use super::film::{Film, Said};
use super::question::ClipQuestion;
use crate::emoji::ConceptId;
use crate::language::Language;
use crate::tasks::builder::TaskBuilder;
use crate::tasks::prompts::prompts;

const COMPASS: &str = "1f9ed";
const BAR_CHART: &str = "1f4ca";
const REPEAT: &str = "1f501";
const PLAY: &str = "23ef";
const FIRST: &str = "1f51d";
const LAST: &str = "1f51a";
const SOON: &str = "1f51c";
const NUMBERS: &str = "1f522";

/// Languages in which the names of the two turning arrows do not say which way.
const NO_TURNS: [Language; 2] = [Language::ES_419, Language::IS];

/// Whether a question can be asked in a language.
pub(super) fn has_words(question: ClipQuestion, language: Language) -> bool {
    question != ClipQuestion::Turns || !NO_TURNS.contains(&language)
}

/// The concept whose name is the answer, of answers that are names of signs.
fn sign_of(said: Said) -> Option<&'static str> {
    match said {
        Said::Left => Some("2b05"),
        Said::Right => Some("27a1"),
        Said::Up => Some("23eb"),
        Said::Down => Some("23ec"),
        Said::Grows => Some("1f4c8"),
        Said::Shrinks => Some("1f4c9"),
        Said::Clockwise => Some("1f503"),
        Said::Counterclockwise => Some("1f504"),
        Said::Name(_) | Said::Pair(..) | Said::Number(_) => None,
    }
}

/// The concept whose name says what is asked.
fn asked_by(film: &Film) -> &'static str {
    match film {
        Film::Moves { .. } => COMPASS,
        Film::Grows { .. } => BAR_CHART,
        Film::Turns { .. } | Film::Times { .. } => REPEAT,
        Film::Order { .. } => PLAY,
        Film::FirstLast { last: false, .. } => FIRST,
        Film::FirstLast { last: true, .. } => LAST,
        Film::Becomes { .. } => SOON,
        Film::Control { .. } => NUMBERS,
    }
}

impl TaskBuilder<'_> {
    /// The question about a clip of these concepts, without placeholders; none where a name is missing.
    pub(super) fn clip_question(&self, film: &Film, concepts: &[ConceptId], language: Language) -> Option<String> {
        let sign = self.name_of_sign(asked_by(film), language)?;
        let counted = matches!(film, Film::Times { .. } | Film::Control { .. });
        let second = match counted {
            true => self.name_of(*concepts.first()?, language)?,
            false => prompts(language).what_is_this,
        };
        let pattern = self.corpus().strings(language)?.patterns.get("category-list")?;
        Some(pattern.replace("{0}", sign).replace("{1}", second))
    }

    /// An answer in a language; none where a name is missing.
    pub(super) fn clip_answer(&self, said: Said, concepts: &[ConceptId], language: Language) -> Option<String> {
        let name = |place: usize| self.name_of(*concepts.get(place)?, language);
        match said {
            Said::Name(place) => name(place).map(str::to_owned),
            Said::Pair(first, second) => Some(self.join(language, &[name(first)?, name(second)?])),
            Said::Number(number) => Some(number.to_string()),
            sign => self.name_of_sign(sign_of(sign)?, language).map(str::to_owned),
        }
    }

    /// Whether a concept's name may stand in a list in every language: it holds nothing that separates one.
    pub(super) fn is_listable(&self, concept: ConceptId) -> bool {
        self.parallel.iter().all(|language| {
            let separator = self.join(*language, &["", ""]);
            self.name_of(concept, *language).is_some_and(|name| !name.contains(separator.trim()))
        })
    }

    fn name_of(&self, concept: ConceptId, language: Language) -> Option<&str> {
        self.text(concept, language).map(|text| text.name.as_str())
    }

    fn name_of_sign(&self, code: &str, language: Language) -> Option<&str> {
        self.name_of(self.corpus().by_code(code)?.id, language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::{EmojiCorpus, Split};
    use crate::random::Stream;

    const SIGNS: [Said; 8] = [
        Said::Left,
        Said::Right,
        Said::Up,
        Said::Down,
        Said::Grows,
        Said::Shrinks,
        Said::Clockwise,
        Said::Counterclockwise,
    ];

    /// A film of each question, first and last apart.
    fn films() -> Vec<Film> {
        let first_last = [true, false].map(|last| Film::FirstLast { forward: true, last });
        let others = ClipQuestion::ALL.into_iter().filter(|question| *question != ClipQuestion::FirstLast);
        others.map(|question| Film::draw(question, &mut Stream::new(1))).chain(first_last).collect()
    }

    /// What the documentation says of languages, checked against the corpus.
    #[test]
    fn every_question_and_answer_has_its_own_words_in_every_language() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let (tulip, bear) = (corpus.by_code("1f337").unwrap().id, corpus.by_code("1f43b").unwrap().id);
        let languages = corpus.languages();
        assert_eq!(languages.len(), 32);
        let builder = TaskBuilder::new(&corpus, &languages, 0).unwrap();
        let distinct = |mut words: Vec<String>| {
            let count = words.len();
            words.sort_unstable();
            words.dedup();
            words.len() == count
        };
        for language in languages {
            let ask = |film: &Film| builder.clip_question(film, &[tulip], language).unwrap();
            assert!(distinct(films().iter().map(ask).collect()), "{language}");
            let said = SIGNS.into_iter().chain([Said::Name(0), Said::Name(1), Said::Pair(0, 1), Said::Pair(1, 0)]);
            let answer = |said| builder.clip_answer(said, &[tulip, bear], language).unwrap();
            assert!(distinct(said.map(answer).collect()), "{language}");
        }
    }

    /// The traps of CLDR's names, each as it stands there.
    #[test]
    fn languages_whose_words_fail_are_left_out() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let name = |code: &str, language| corpus.text(corpus.by_code(code).unwrap().id, language).unwrap().name.clone();
        // Latin American Spanish: what turns counterclockwise elsewhere turns clockwise here.
        assert!(name("1f504", Language::ES_419).contains("sentido horario"), "{}", name("1f504", Language::ES_419));
        assert!(name("1f504", Language::ES).contains("antihorario"), "{}", name("1f504", Language::ES));
        // Icelandic: to reload, which is no direction.
        assert!(!name("1f503", Language::IS).contains("sælis"), "{}", name("1f503", Language::IS));
        assert!(!has_words(ClipQuestion::Turns, Language::ES_419) && !has_words(ClipQuestion::Turns, Language::IS));
        let everywhere = corpus.languages().into_iter().filter(|language| has_words(ClipQuestion::Turns, *language));
        assert_eq!(everywhere.count(), 30);
        assert!(ClipQuestion::ALL.iter().all(|question| has_words(*question, Language::HI)));
        // Hindi: the labels of arrows to the left and to the right are one text, the names of the emoji are two.
        let hindi = corpus.strings(Language::HI).unwrap();
        assert_eq!(hindi.labels.get("leftwards_arrows"), hindi.labels.get("rightwards_arrows"));
        assert_ne!(name("2b05", Language::HI), name("27a1", Language::HI));
    }

    /// Names with commas are in no list; where a language lists with another sign, its own is what counts.
    #[test]
    fn names_with_separators_are_not_listed() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let with = |language: Language| {
            let builder = TaskBuilder::new(&corpus, &[language], 0).unwrap();
            let named = corpus.concepts().iter().filter(|concept| builder.is_named(concept.id));
            named.filter(|concept| !builder.is_listable(concept.id)).map(|concept| concept.id).collect::<Vec<_>>()
        };
        for language in [Language::HI, Language::UK, Language::BN, Language::EN] {
            let found = with(language);
            let holds = |concept: &ConceptId| corpus.text(*concept, language).unwrap().name.contains(',');
            assert!(found.len() > 20 && found.iter().all(holds), "{language}: {}", found.len());
        }
        assert!(with(Language::HI).len() > with(Language::EN).len());
        // In two languages what fails in one of them is left out.
        let both = TaskBuilder::new(&corpus, &[Language::EN, Language::HI], 0).unwrap();
        assert!(with(Language::HI).into_iter().chain(with(Language::EN)).all(|concept| !both.is_listable(concept)));
    }

    #[test]
    fn words_of_three_languages() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let languages = [Language::EN, Language::DE, Language::ZH_HANS];
        let builder = TaskBuilder::new(&corpus, &languages, 0).unwrap();
        let (tulip, bear) = (corpus.by_code("1f337").unwrap().id, corpus.by_code("1f43b").unwrap().id);
        let ask =
            |film: Film| languages.map(|language| builder.clip_question(&film, &[tulip, bear], language).unwrap());
        let say = |said| languages.map(|language| builder.clip_answer(said, &[tulip, bear], language).unwrap());
        assert_eq!(ask(Film::Becomes { forward: true })[0], "SOON arrow: What is this?");
        assert_eq!(ask(Film::Times { there: 1, wrong: 2 })[0], "repeat button: tulip");
        assert_eq!(say(Said::Pair(1, 0)), ["bear, tulip", "Bär, Tulpe", "熊、郁金香"]);
        assert_eq!(say(Said::Left)[0], "left arrow");
        assert_eq!(say(Said::Grows)[0], "chart increasing");
        assert_eq!(say(Said::Clockwise)[0], "clockwise vertical arrows");
        assert_eq!(say(Said::Number(3)), ["3", "3", "3"]);
    }

    #[test]
    fn words_are_names_of_training_concepts() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let asked = films().iter().map(asked_by).collect::<Vec<_>>();
        for code in SIGNS.into_iter().filter_map(sign_of).chain(asked) {
            assert_eq!(corpus.by_code(code).unwrap().split, Split::Train, "{code}");
        }
        // The arrow that is left out is held out.
        assert_ne!(corpus.by_code("2b06").unwrap().split, Split::Train);
    }
}
