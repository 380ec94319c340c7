//! Asking through another language, the translation-based baseline: a question is translated into it, answered there, and what the model
//! wrote is translated back (Parrot, Table 10 and appendix D.4, which use an online service; here a language model translates).
//!
//! Unusual here:
//! - this library's own wordings ("What is this?") are not given to the translator, since what they are in other languages is known: what
//!   is measured is the translation of names and of the questions in files;
//! - nor are the requests of published prompts ("Answer with the option's letter ..."), which are English or have an English form;
//! - texts are translated line by line; letters of options stay where they stand.

use std::collections::{BTreeMap, BTreeSet};

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Turn};
use burn_vlm_data::language::Language;
use burn_vlm_data::tasks::{prompts, wording};
use burn_vlm_eval::kit;
use serde::{Deserialize, Serialize};

use super::evaluate::ask_all;
use super::rows::{Kept, Row, Scorer};
use super::scores::generate;
use super::{Ask, Benchmark, BenchmarkError, Prediction, Progress, Question, Reply};
use crate::error::Result;

/// On a prediction, where the translation left options that read the same.
const SAME_OPTIONS: &str = "options_translated_alike";

/// `[evaluation.pivot]`: questions in other languages are asked through one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PivotRecipe {
    /// The language in which the model is asked.
    #[serde(default = "english")]
    pub through: Language,
    /// What the translator is asked. `{text}` stands for the text, `{from}` and `{to}` for the languages' English names, `{question}` for
    /// "What is this?" in the language it translates into, for backbones that have learnt to translate by that form.
    #[serde(default = "tower_prompt")]
    pub prompt: String,
    /// What the translator calls a language, where it is not its English name here.
    #[serde(default = "tower_names")]
    pub names: BTreeMap<Language, String>,
    /// The most tokens of the translation of a line.
    #[serde(default = "tokens_of_a_line")]
    pub max_new_tokens: usize,
}

fn english() -> Language {
    Language::EN
}

/// The prompt of Tower+'s model card.
fn tower_prompt() -> String {
    "Translate the following {from} source text to {to}:\n{from}: {text}\n{to}: ".to_owned()
}

/// What Tower+'s model card calls languages otherwise.
fn tower_names() -> BTreeMap<Language, String> {
    BTreeMap::from([(Language::PT_BR, "Portuguese (Brazilian)".to_owned())])
}

fn tokens_of_a_line() -> usize {
    128
}

impl Default for PivotRecipe {
    fn default() -> Self {
        let (through, prompt, names) = (english(), tower_prompt(), tower_names());
        Self { through, prompt, names, max_new_tokens: tokens_of_a_line() }
    }
}

impl PivotRecipe {
    /// # Errors
    /// A prompt that has no place for the text, no token to write.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.prompt.contains("{text}") {
            return Err("`pivot.prompt` has no `{text}`, where the text to be translated goes".into());
        }
        match self.max_new_tokens {
            0 => Err("`pivot.max_new_tokens` must be at least 1".into()),
            _ => Ok(()),
        }
    }

    /// What the translator is asked for a line.
    pub(super) fn prompt_for(&self, wanted: &Untranslated) -> String {
        let name = |language: Language| self.names.get(&language).map_or(language.english_name(), String::as_str);
        // The text last: what stands in it is no placeholder.
        self.prompt
            .replace("{question}", prompts(wanted.to).what_is_this)
            .replace("{from}", name(wanted.from))
            .replace("{to}", name(wanted.to))
            .replace("{text}", &wanted.text)
    }
}

/// A line that is to be translated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Untranslated {
    /// Its language.
    pub from: Language,
    /// The language that is wanted.
    pub to: Language,
    /// The line.
    pub text: String,
}

/// Translations of lines.
pub type Dictionary = BTreeMap<Untranslated, String>;

/// What translates the questions and answers of an evaluation.
pub trait Translator {
    /// Translations of all of these.
    ///
    /// # Errors
    /// As the translator has it.
    fn translate(&mut self, wanted: &BTreeSet<Untranslated>) -> Result<Dictionary>;
}

/// Translates with a model, greedily, without a picture.
///
/// # Errors
/// A prompt that does not fit the model.
pub fn translate_by<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    recipe: &PivotRecipe,
    wanted: &BTreeSet<Untranslated>,
    progress: &mut dyn FnMut(usize),
) -> Result<Dictionary> {
    let row = |one: &Untranslated| {
        let turns = vec![Turn::user(recipe.prompt_for(one))];
        (Row { shown: Vec::new(), turns, whole: false }, recipe.max_new_tokens)
    };
    let rows: Vec<(Row, usize)> = wanted.iter().map(row).collect();
    let mut texts = vec![String::new(); rows.len()];
    let mut done = 0;
    generate(scorer, &rows, &mut Kept::default(), &mut |number, written| {
        // A line becomes a line.
        texts[number] = written.text.split_whitespace().collect::<Vec<_>>().join(" ");
        done += 1;
        progress(done);
        Ok(())
    })?;
    Ok(wanted.iter().cloned().zip(texts).collect())
}

/// Asks a model all questions of a benchmark through another language; see [`evaluate`](super::evaluate) for the rest.
///
/// # Errors
/// A question of which the language is not told; what the translator returns; as [`evaluate`](super::evaluate).
pub fn evaluate_through<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    through: Language,
    translator: &mut dyn Translator,
    benchmark: &dyn Benchmark,
    mut progress: impl FnMut(Progress),
) -> Result<Vec<Prediction>> {
    let languages = languages(benchmark, through)?;
    let (questions, alike) = translated(benchmark.questions(), &languages, through, translator)?;
    let replies = ask_all(scorer, (benchmark.name(), &questions), &mut progress)?;
    let mut predictions = benchmark.predictions(&back(replies, &languages, through, translator)?)?;
    let by_id: BTreeMap<&str, usize> =
        questions.iter().enumerate().map(|(number, question)| (question.id.as_str(), number)).collect();
    for prediction in &mut predictions {
        let Some(number) = question_of(&by_id, &prediction.id) else { continue };
        if languages[number] == through {
            continue;
        }
        prediction.asked = Some(shown_text(&questions[number]));
        if alike.contains(&number) {
            prediction.flags.push(SAME_OPTIONS.to_owned());
        }
    }
    Ok(predictions)
}

/// The language of each question.
fn languages(benchmark: &dyn Benchmark, through: Language) -> Result<Vec<Language>> {
    let language = |number: usize| {
        let told = benchmark.language_of(number);
        let parsed = told.as_deref().map(Language::parse);
        parsed.and_then(Result::ok).ok_or_else(|| {
            let id = benchmark.questions().get(number).map_or("", |question| question.id.as_str());
            let message = format!(
                "`pivot`: question {id} does not say its language{}, so it cannot be asked in {through}",
                told.map_or_else(String::new, |told| format!(" ({told:?} is none)")),
            );
            BenchmarkError::Setting { name: benchmark.name().to_owned(), message }.into()
        })
    };
    (0..benchmark.questions().len()).map(language).collect()
}

/// The questions in the language through which they are asked, and which of them have options that became the same.
fn translated(
    questions: &[Question],
    languages: &[Language],
    through: Language,
    translator: &mut dyn Translator,
) -> Result<(Vec<Question>, BTreeSet<usize>)> {
    let others = || questions.iter().zip(languages).filter(|(_, language)| **language != through);
    let mut wanted = BTreeSet::new();
    for (question, &language) in others() {
        rewritten(question, language, through, &mut |text| {
            wanted.insert(Untranslated { from: language, to: through, text: text.to_owned() });
            text.to_owned()
        });
    }
    let known = translator.translate(&wanted)?;
    let mut alike = BTreeSet::new();
    let translate = |(number, (question, &language)): (usize, (&Question, &Language))| {
        if language == through {
            return question.clone();
        }
        let question = rewritten(question, language, through, &mut |text| look_up(&known, language, through, text));
        if has_options_alike(&question) {
            alike.insert(number);
        }
        question
    };
    let questions = questions.iter().zip(languages).enumerate().map(translate).collect();
    Ok((questions, alike))
}

/// Whether two options read the same: answers that are scored, or lettered lines of the text.
fn has_options_alike(question: &Question) -> bool {
    let lines = question.turns.iter().flat_map(|turn| turn.text.lines());
    let lettered = lines.filter_map(|line| {
        let (letter, option) = kept_beginning(line.trim_start());
        (is_option(letter)).then(|| option.trim().to_owned())
    });
    let mut options: Vec<String> = lettered.collect();
    if let Ask::Likelihood { answers } = &question.ask {
        options = answers.clone();
    }
    let count = options.len();
    options.sort_unstable();
    options.dedup();
    options.len() < count
}

/// The replies in the questions' own languages.
fn back(
    replies: Vec<Reply>,
    languages: &[Language],
    through: Language,
    translator: &mut dyn Translator,
) -> Result<Vec<Reply>> {
    let mut wanted = BTreeSet::new();
    for (reply, &language) in replies.iter().zip(languages) {
        if let Reply::Text(text) = reply
            && language != through
        {
            in_lines(text, through, language, &mut |line| {
                wanted.insert(Untranslated { from: through, to: language, text: line.to_owned() });
                line.to_owned()
            });
        }
    }
    if wanted.is_empty() {
        return Ok(replies);
    }
    let known = translator.translate(&wanted)?;
    let translate = |(reply, &language): (Reply, &Language)| match reply {
        Reply::Text(text) if language != through => {
            Reply::Text(in_lines(&text, through, language, &mut |line| look_up(&known, through, language, line)))
        }
        reply => reply,
    };
    Ok(replies.into_iter().zip(languages).map(translate).collect())
}

fn look_up(known: &Dictionary, from: Language, to: Language, text: &str) -> String {
    let wanted = Untranslated { from, to, text: text.to_owned() };
    known.get(&wanted).cloned().unwrap_or(wanted.text)
}

/// A question with each line that the translator must see replaced by what `line` makes of it.
fn rewritten(question: &Question, from: Language, to: Language, line: &mut dyn FnMut(&str) -> String) -> Question {
    let turn = |turn: &Turn, line: &mut dyn FnMut(&str) -> String| Turn {
        text: in_lines(&turn.text, from, to, line),
        ..turn.clone()
    };
    let turns = question.turns.iter().map(|one| turn(one, line)).collect();
    let mut all = |texts: &[String]| texts.iter().map(|text| in_lines(text, from, to, line)).collect::<Vec<_>>();
    let ask = match &question.ask {
        Ask::Likelihood { answers } => Ask::Likelihood { answers: all(answers) },
        Ask::FirstToken { answers } => Ask::FirstToken { answers: all(answers) },
        Ask::Conversation { turns, answer } => {
            let answer = all(std::slice::from_ref(answer)).concat();
            Ask::Conversation { turns: all(turns), answer }
        }
        Ask::Generate { max_new_tokens } => Ask::Generate { max_new_tokens: *max_new_tokens },
    };
    Question { id: question.id.clone(), turns, media: question.media.clone(), ask }
}

/// A text with each line that the translator must see replaced by what `line` makes of it. Pictures' places, letters of options and empty
/// lines stay; this library's own wordings are known.
fn in_lines(text: &str, from: Language, to: Language, line: &mut dyn FnMut(&str) -> String) -> String {
    let mut one = |text: &str| {
        let (before, rest) = text.split_at(text.len() - text.trim_start().len());
        let (kept, rest) = kept_beginning(rest);
        let (core, after) = rest.split_at(rest.trim_end().len());
        if core.is_empty() || is_letter(core) {
            return text.to_owned();
        }
        let known = wording(core, from, to, |name| Ok::<_, std::convert::Infallible>(line(name)));
        let Ok(known) = known;
        // The requests of published prompts are English, or have an English form.
        let request = || (to == Language::EN).then(|| kit::english_request(core)).flatten().map(str::to_owned);
        let core = known.or_else(request).unwrap_or_else(|| line(core));
        format!("{before}{kept}{core}{after}")
    };
    let lines = text.split('\n').map(|text| {
        let between = text.split(IMAGE_PLACEHOLDER).map(&mut one).collect::<Vec<_>>();
        between.join(IMAGE_PLACEHOLDER)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a line begins with that no translator should see, and the rest: an option's letter with what stands around it (`A. `, `(A) `), or
/// a heading of a published prompt.
fn kept_beginning(line: &str) -> (&str, &str) {
    if let Some(heading) = kit::HEADINGS.iter().find(|heading| line.starts_with(**heading)) {
        return line.split_at(heading.len());
    }
    let inner = line.strip_prefix('(').unwrap_or(line);
    let mut chars = inner.chars();
    let is_option = chars.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && chars.next().is_some_and(|sign| matches!(sign, '.' | ')' | ':'));
    let rest = chars.as_str();
    match is_option && (rest.is_empty() || rest.starts_with(' ')) {
        true => line.split_at(line.len() - rest.trim_start().len()),
        false => ("", line),
    }
}

/// Whether a kept beginning is an option's.
fn is_option(beginning: &str) -> bool {
    !beginning.is_empty() && !kit::HEADINGS.contains(&beginning)
}

fn is_letter(text: &str) -> bool {
    text.len() == 1 && text.chars().all(|letter| letter.is_ascii_alphabetic())
}

/// The first question about an item.
fn question_of(by_id: &BTreeMap<&str, usize>, item: &str) -> Option<usize> {
    let within = format!("{item}/");
    let first = || by_id.range(within.as_str()..).next().filter(|(id, _)| id.starts_with(&within));
    by_id.get(item).or_else(|| first().map(|(_, number)| number)).copied()
}

/// What a question says, and below it the answers to choose from.
fn shown_text(question: &Question) -> String {
    let turns = question.turns.iter().map(|turn| turn.text.replace(IMAGE_PLACEHOLDER, ""));
    let mut lines: Vec<String> = turns.map(|text| text.trim().to_owned()).collect();
    if let Ask::Likelihood { answers } = &question.ask {
        lines.extend(answers.iter().cloned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Marks what it was given.
    struct Marks(Vec<Untranslated>);

    impl Translator for Marks {
        fn translate(&mut self, wanted: &BTreeSet<Untranslated>) -> Result<Dictionary> {
            self.0.extend(wanted.iter().cloned());
            Ok(wanted.iter().map(|one| (one.clone(), format!("<{} {}>", one.to, one.text))).collect())
        }
    }

    fn lines(text: &str) -> String {
        in_lines(text, Language::DE, Language::EN, &mut |line| line.to_uppercase())
    }

    #[test]
    fn lines_are_translated_and_what_stands_around_them_stays() {
        assert_eq!(lines("<image>\nWas ist das?"), "<image>\nWhat is this?");
        assert_eq!(lines("Ist das „roter apfel“?"), "Is this “ROTER APFEL”?");
        assert_eq!(
            lines("<image>\nWelche Farbe?\n\nA. rot\n(B) grün\nC: blau\n Antworte nur mit dem Buchstaben."),
            "<image>\nWELCHE FARBE?\n\nA. ROT\n(B) GRÜN\nC: BLAU\n Answer with the letter only."
        );
        assert_eq!(lines("vor <image> und <image>"), "VOR <image> UND <image>");
        // Published prompts: headings and requests.
        assert_eq!(
            lines(
                "Hint: ein hinweis\nQuestion: welche?\nOptions:\nA. rot\nPlease select the correct answer from the options above. \n"
            ),
            "Hint: EIN HINWEIS\nQuestion: WELCHE?\nOptions:\nA. ROT\nPlease select the correct answer from the options above. \n"
        );
        let arabic =
            in_lines("أجب مباشرةً بحرف الخيار من الاختيارات المعطاة.", Language::AR, Language::EN, &mut |_| "x".into());
        assert_eq!(arabic, kit::ENGLISH);
        // Letters alone, and what only looks like an option.
        assert_eq!(lines("B"), "B");
        assert_eq!(lines("B."), "B.");
        assert_eq!(lines("A.b.c"), "A.B.C");
        assert_eq!(lines("ja"), "yes");
    }

    fn question(id: &str, text: &str, ask: Ask) -> Question {
        Question::new(id, text, Vec::new(), ask)
    }

    #[test]
    fn questions_are_translated_once_and_english_ones_stay() {
        let likelihood = |answers: [&str; 2]| Ask::Likelihood { answers: answers.map(str::to_owned).to_vec() };
        let questions = [
            question("1/de", "Was ist das?", likelihood(["Apfel", "Birne"])),
            question("1/en", "What is this?", likelihood(["apple", "pear"])),
            question("2/de", "Wie heißt es?", likelihood(["Apfel", "Apfel"])),
        ];
        let mut marks = Marks(Vec::new());
        let languages = [Language::DE, Language::EN, Language::DE];
        let (found, alike) = translated(&questions, &languages, Language::EN, &mut marks).unwrap();
        let texts: Vec<&str> = marks.0.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["Apfel", "Birne", "Wie heißt es?"]);
        assert_eq!(found[0].ask, likelihood(["<en Apfel>", "<en Birne>"]));
        assert_eq!(found[0].turns[0].text, "What is this?");
        assert_eq!(found[1], questions[1]);
        assert_eq!(found[2].turns[0].text, "<en Wie heißt es?>");
        assert_eq!(alike, BTreeSet::from([2]));
        // Options in the text, whatever is asked for.
        let lettered = |options: [&str; 2]| {
            let text = format!("Welche?\nA. {}\nB. {}", options[0], options[1]);
            question("3/de", &text, Ask::FirstToken { answers: vec!["A".into(), "B".into()] })
        };
        assert!(has_options_alike(&lettered(["rot", "rot"])) && !has_options_alike(&lettered(["rot", "blau"])));
    }

    #[test]
    fn what_was_written_is_translated_back_and_scores_are_not() {
        let text = |text: &str| Reply::Text(text.into());
        let replies = vec![text("apple"), text("apple"), text("B"), Reply::Scores(vec![1.0])];
        let languages = [Language::RU, Language::EN, Language::RU, Language::RU];
        let found = back(replies, &languages, Language::EN, &mut Marks(Vec::new())).unwrap();
        assert_eq!(found, [text("<ru apple>"), text("apple"), text("B"), Reply::Scores(vec![1.0])]);
    }

    #[test]
    fn items_find_their_questions() {
        let by_id = BTreeMap::from([("a-1", 0), ("a/rotation 0", 1), ("a/rotation 1", 2), ("b", 3), ("b/text", 4)]);
        let of = |item: &str| question_of(&by_id, item);
        assert_eq!((of("a"), of("b"), of("c")), (Some(1), Some(3), None));
    }

    #[test]
    fn the_prompt_is_filled_in() {
        let recipe = PivotRecipe {
            through: Language::EN,
            prompt: "{text}\n{question} {from}>{to}".into(),
            names: tower_names(),
            max_new_tokens: 4,
        };
        let wanted = Untranslated { from: Language::ZH_HANS, to: Language::DE, text: "{to} 苹果".into() };
        assert_eq!(recipe.prompt_for(&wanted), "{to} 苹果\nWas ist das? Chinese (Simplified)>German");
        let wanted = Untranslated { from: Language::PT_BR, to: Language::EN, text: "maçã".into() };
        assert_eq!(recipe.prompt_for(&wanted), "maçã\nWhat is this? Portuguese (Brazilian)>English");
        assert!(recipe.check().is_ok());
        assert!(PivotRecipe { prompt: "{to}".into(), ..recipe.clone() }.check().unwrap_err().contains("{text}"));
        assert!(PivotRecipe { max_new_tokens: 0, ..recipe }.check().is_err());
        let known: Result<_, Infallible> = wording("x", Language::DE, Language::EN, |name| Ok(name.to_owned()));
        assert_eq!(known, Ok(None));
    }
}
