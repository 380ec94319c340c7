//! From replies to verdicts and totals under burn-vlm's own rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::SkipReason;
use serde_json::{Map, Value, json};

use super::ask::{Instruction, instruction};
use super::short::{agreeing, holds};
use super::words::refusal;
use super::{Reading, accepts, letter, short, text, tokens, yes_no, yes_no_with};
use crate::ask::Ask;
use crate::benchmarks::OCRBENCH_FORMULA;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::lettered::spread;
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Scored, Verdict};
use crate::reading::{self, FileLanguage, Together};
use crate::rules::Rules;
use crate::table::refuse;

/// The key of the share of groups whose rotations are all right.
pub const CIRCULAR: &str = "circular";
/// The key of the share of pairs that are right in both questions.
pub const PAIRS: &str = "pairs";

/// Columns in which a benchmark brings along what stands below a question, and further words for yes and for no with `|` between them:
/// how translated benchmarks are written ([`crate::build`]).
pub const ANSWER_INSTRUCTION: &str = "answer_instruction";
/// See [`ANSWER_INSTRUCTION`].
pub const YES_WORDS: &str = "yes_words";
/// See [`ANSWER_INSTRUCTION`].
pub const NO_WORDS: &str = "no_words";

/// Enough for an answer with a sentence about it; a model that thinks aloud needs more, by `max_new_tokens`.
const MAX_NEW_TOKENS: usize = 128;
/// Rotations of a question have its index plus a multiple of this.
const ROTATION: u64 = 1_000_000;
/// Questions of a pair.
const PAIR: usize = 2;
/// Columns that totals are taken apart by.
const COLUMNS: [&str; 4] = ["split", "category", "l2-category", "l2_category"];
/// Groups that a note names; the rest are counted.
const SHOWN: usize = 5;
/// How an item without a reply is counted.
const NO_REPLY: &str = "no_reply";

/// What kind of benchmark is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An option's letter; each question counts by itself.
    Choice,
    /// An option's letter; the rotations of a question count together, as in MMBench.
    Circular,
    /// Yes or no; each question counts by itself.
    Binary,
    /// Yes or no; the two questions of an [`Item::group`] also count together, as in MME.
    Pairs,
    /// A word or phrase that is accepted.
    Short,
    /// An option's letter of a question with options, else a word or phrase that is accepted, as in RealWorldQA.
    Open,
    /// A word or phrase, compared with those of several people: the more of them say it, the better, as in VQA.
    Votes,
    /// A text that holds one of those that are accepted, as in OCRBench.
    Holds,
}

/// Reads a table in VLMEvalKit's form as it is written: an option `None` is an option. Every row needs a picture, and
/// an answer of the kind.
///
/// # Errors
/// As [`reading::read`]; rows without a picture.
pub fn read(file: &FileRecipe, base: &Path, language: FileLanguage<'_>, kind: Kind) -> Result<Items, BenchmarkError> {
    reading::read(file, base, &kind.reading(language), spread, |item| kind.check(item))
}

impl Kind {
    /// How rows are read: as written, every one with a picture; what counts together is drawn together.
    pub fn reading(self, language: FileLanguage<'_>) -> reading::Reading<'_> {
        let together = match self {
            Self::Circular => Together::Circle,
            Self::Pairs => Together::Group,
            _ => Together::Index,
        };
        reading::Reading { together, ..reading::Reading::of(Rules::BurnVlm, language) }
    }

    /// The kind of an item.
    fn of(self, item: &Item) -> Self {
        match self {
            Self::Open if item.options.is_empty() => Self::Short,
            Self::Open => Self::Choice,
            other => other,
        }
    }

    /// Whether an item can be asked and scored.
    ///
    /// # Errors
    /// Fewer than two options, an answer that is no option's letter, or is neither yes nor no.
    pub fn check(self, item: &mut Item) -> Result<(), SkipReason> {
        match self.of(item) {
            Self::Choice | Self::Circular if item.options.len() < 2 => Err(refuse("fewer than two options")),
            Self::Choice | Self::Circular => kit::check_letter(item),
            Self::Binary | Self::Pairs => match gold(item) {
                Some(_) => Ok(()),
                None => Err(refuse(format!("answer {:?} is neither yes nor no", item.answer()))),
            },
            _ if item.answers.iter().all(|answer| short(answer, item.language).is_empty()) => {
                Err(refuse("no answer that a reply could be"))
            }
            _ => Ok(()),
        }
    }

    /// The question, its options, and what is wanted in the question's language.
    pub fn question(self, item: &Item) -> Asked {
        let hint = item.cell("hint").filter(|hint| !hint.trim().is_empty());
        let hint = hint.map(|hint| format!("{hint}\n")).unwrap_or_default();
        let lines: String = item.options.iter().map(|(letter, text)| format!("{letter}. {text}\n")).collect();
        let (wanted, lines) = match self.of(item) {
            Self::Choice | Self::Circular => (Instruction::Letter, lines),
            Self::Binary | Self::Pairs => (Instruction::YesNo, String::new()),
            _ => (Instruction::Short, String::new()),
        };
        let given = item.cell(ANSWER_INSTRUCTION);
        let wanted = given.as_deref().unwrap_or_else(|| instruction(wanted, item.language));
        // MME's questions have a request of their own.
        let own = item.question.strip_suffix(" Please answer yes or no.");
        let own = own.or_else(|| Some(item.question.strip_suffix(wanted)?.trim_end()));
        let text = format!("{hint}{}\n{lines}{wanted}", own.unwrap_or(&item.question));
        Asked { text, ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS } }
    }

    /// What the answers are worth, one of each item in their order: verdicts with what was read, and totals over all
    /// and by file, language and category, each with its share of invalid replies.
    pub fn score(self, items: &[Item], answers: &[Answer]) -> Scored {
        let nothing = Answer::default();
        let answers = answers.iter().chain(std::iter::repeat(&nothing));
        let mut verdicts: Vec<Verdict> =
            items.iter().zip(answers).map(|(item, answer)| self.verdict(item, answer)).collect();
        let mut notes = read_notes(&verdicts);
        if let Some(groups) = self.groups(items) {
            notes.extend(self.score_groups(&groups, items, &mut verdicts));
        }
        let totals = self.totals(items, &verdicts);
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes }
    }

    /// What the scores of an item mean.
    pub fn metrics(self, items: &[Item]) -> Vec<MetricInfo> {
        let accuracy = MetricInfo {
            key: ACCURACY,
            label: "accuracy".into(),
            explanation: match self {
                Self::Votes => {
                    "The mean over all people asked of min(others who answered the same / 3, 1), as in VQA; texts are \
                     compared by burn-vlm's strict reading."
                }
                Self::Holds => {
                    "The share of replies that hold an accepted answer as words of its own, as in OCRBench; texts are \
                     compared by burn-vlm's strict reading, formulas without white space."
                }
                _ => {
                    "Right answers by burn-vlm's strict reading, each question by itself; what cannot be read in one \
                     way is wrong."
                }
            }
            .into(),
            chance: match self {
                // No guess is worth anything where a word is asked for.
                Self::Open if items.iter().any(|item| item.options.is_empty()) => None,
                Self::Open => Some(mean(items.iter().map(|item| 100.0 * guess(item)))),
                Self::Choice | Self::Circular => Some(mean(items.iter().map(|item| 100.0 * guess(item)))),
                Self::Binary | Self::Pairs => Some(50.0),
                Self::Short | Self::Votes | Self::Holds => None,
            },
        };
        match self {
            Self::Circular => {
                let all_right =
                    |item: &Item| 100.0 * guess(item).powi(i32::try_from(item.options.len()).unwrap_or(i32::MAX));
                let bases = self.groups(items).unwrap_or_default();
                let bases = bases.iter().filter_map(|group| items.get(*group.members.first()?));
                let circular = MetricInfo {
                    key: CIRCULAR,
                    label: "circular".into(),
                    explanation:
                        "Questions that are right in all rotations of their options; one with a rotation missing is \
                                  wrong."
                            .into(),
                    chance: Some(mean(bases.map(all_right))),
                };
                vec![circular, accuracy]
            }
            Self::Pairs => {
                let pairs = MetricInfo {
                    key: PAIRS,
                    label: "both of a pair".into(),
                    explanation: "Pairs of questions that are both right; one without its partner is wrong.".into(),
                    chance: Some(25.0),
                };
                vec![accuracy, pairs]
            }
            _ => vec![accuracy],
        }
    }

    fn verdict(self, item: &Item, answer: &Answer) -> Verdict {
        let Some(reply) = answer.as_text() else {
            return Verdict::right(ACCURACY, None, false).flagged(Flag::NoReply, true).with("reading", NO_REPLY);
        };
        let (reading, score) = self.of(item).read_reply(item, reply);
        let name = reading.as_str();
        let understood = reading.answer();
        let is_invalid = understood.is_none();
        // Whole numbers are written as such.
        let hit = if self == Self::Votes { Value::from(score) } else { Value::from(u8::from(score > 0.0)) };
        Verdict { understood: understood.clone(), scores: vec![(ACCURACY, score)], ..Verdict::default() }
            .flagged(Flag::Invalid, is_invalid)
            .with("reading", name)
            .with("understood", understood)
            .with("hit", hit)
    }

    /// What a reply says, and what that is worth, 0 to 1.
    fn read_reply(self, item: &Item, reply: &str) -> (Reading<String>, f64) {
        let whole = |right: bool| f64::from(u8::from(right));
        match self {
            Self::Choice | Self::Circular => {
                let reading = letter(reply, &item.options, item.language);
                let right = matches!(reading, Reading::Answer(letter) if item.answer() == letter.to_string());
                (reading.map(String::from), whole(right))
            }
            Self::Binary | Self::Pairs => {
                let reading = match (item.cell(YES_WORDS), item.cell(NO_WORDS)) {
                    (None, None) => yes_no(reply, item.language),
                    (yes, no) => {
                        let [yes, no] = [yes, no].map(Option::unwrap_or_default);
                        yes_no_with(reply, item.language, &yes, &no)
                    }
                };
                let right = reading.answer().is_some() && reading.answer() == gold(item);
                (reading.map(|yes| word(yes).to_owned()), whole(right))
            }
            _ => {
                let score = match self {
                    Self::Votes => agreeing(reply, &item.answers, item.language),
                    Self::Holds => {
                        let is_formula = item.cell("category").as_deref() == Some(OCRBENCH_FORMULA);
                        whole(holds(reply, &item.answers, item.language, is_formula))
                    }
                    _ => whole(accepts(reply, &item.answers, item.language)),
                };
                let answer = short(reply, item.language);
                let is_refusal = || refusal(&tokens::Words::of(&text::visible(reply)), &[]).is_some();
                let reading = match answer.is_empty() {
                    true => Reading::Empty,
                    false if score == 0.0 && is_refusal() => Reading::Refused,
                    false => Reading::Answer(answer),
                };
                (reading, score)
            }
        }
    }

    /// What counts together; none where each question counts by itself.
    fn groups(self, items: &[Item]) -> Option<Vec<Group>> {
        let key = |item: &Item| match (self, item.index.parse::<u64>()) {
            (Self::Circular, Ok(index)) => Some((index % ROTATION).to_string()),
            (Self::Circular, Err(_)) => Some(item.index.clone()),
            (Self::Pairs, _) => Some(item.group.clone()),
            _ => None,
        };
        let mut groups: BTreeMap<(&str, &str, String), Vec<usize>> = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            let language = item.language.map_or("", Language::tag);
            groups.entry((&item.part, language, key(item)?)).or_default().push(at);
        }
        let group = |((part, _, key), members): ((&str, &str, String), Vec<usize>)| {
            let members_of = members.iter().filter_map(|at| items.get(*at));
            let is_whole = match self {
                Self::Circular => {
                    let rotations: BTreeSet<u64> = members_of
                        .clone()
                        .filter_map(|item| Some(item.index.parse::<u64>().ok()? / ROTATION))
                        .collect();
                    let options = members_of.map(|item| item.options.len()).max().unwrap_or(0);
                    rotations.len() == members.len() && rotations.into_iter().eq((0..).take(options))
                }
                _ => members.len() == PAIR,
            };
            Group { name: format!("{part}/{key}"), members, is_whole }
        };
        Some(groups.into_iter().map(group).collect())
    }

    /// Scores each group on its first item; says which are not whole.
    fn score_groups(self, groups: &[Group], items: &[Item], verdicts: &mut [Verdict]) -> Option<String> {
        let key = if self == Self::Circular { CIRCULAR } else { PAIRS };
        for group in groups {
            let is_right = |at: &usize| verdicts.get(*at).and_then(|verdict| verdict.score(ACCURACY)) == Some(1.0);
            let right = group.is_whole && group.members.iter().all(is_right);
            if let Some(verdict) = group.members.first().and_then(|at| verdicts.get_mut(*at)) {
                let score = (key, f64::from(u8::from(right)));
                let at = if self == Self::Circular { 0 } else { verdict.scores.len() };
                verdict.scores.insert(at, score);
                verdict.details.insert(key.to_owned(), i32::from(right).into());
                verdict.details.insert("whole".to_owned(), group.is_whole.into());
            }
        }
        let torn: Vec<&str> = groups.iter().filter(|group| !group.is_whole).map(|group| group.name.as_str()).collect();
        let what = if self == Self::Circular { "lack a rotation" } else { "are no pairs" };
        let more = torn.len().saturating_sub(SHOWN);
        let names = torn.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!torn.is_empty()).then(|| {
            format!(
                "{} of {} groups of {} questions {what} and count as wrong: {names}{more}",
                torn.len(),
                groups.len(),
                items.len()
            )
        })
    }

    /// `{all, parts, languages}`, each a table of [`Self::table`].
    fn totals(self, items: &[Item], verdicts: &[Verdict]) -> Value {
        let rows: Vec<Row> = items.iter().zip(verdicts).collect();
        let by = |name: &dyn Fn(&Item) -> Option<String>| -> Value {
            let mut parts: BTreeMap<String, Vec<Row>> = BTreeMap::new();
            for row in &rows {
                if let Some(name) = name(row.0) {
                    parts.entry(name).or_default().push(*row);
                }
            }
            parts.into_iter().map(|(name, rows)| (name, self.table(&rows))).collect::<Map<_, _>>().into()
        };
        let language = |item: &Item| item.language.map(|language| language.tag().to_owned());
        json!({ "all": self.table(&rows), "parts": by(&|item| Some(item.part.clone())), "languages": by(&language) })
    }

    /// Shares of 1: `accuracy`, what counts by group, `invalid` replies (those without a reply left out); `readings`,
    /// how many of each; for yes and no also how often yes is said, and precision, recall and F1 of yes, where an
    /// invalid reply is neither.
    fn table(self, rows: &[Row]) -> Value {
        let mut table = summary(rows);
        for key in [CIRCULAR, PAIRS] {
            let scores: Vec<f64> = rows.iter().filter_map(|(_, verdict)| verdict.score(key)).collect();
            if !scores.is_empty() {
                let torn =
                    rows.iter().filter(|(_, verdict)| verdict.details.get("whole") == Some(&false.into())).count();
                table.insert("groups".into(), scores.len().into());
                table.insert("torn_groups".into(), torn.into());
                table.insert(key.into(), mean(scores.into_iter()).into());
            }
        }
        if matches!(self, Self::Binary | Self::Pairs) {
            table.extend(yes_table(rows));
        }
        for column in COLUMNS {
            let mut by_name: BTreeMap<String, Vec<Row>> = BTreeMap::new();
            for row in rows {
                if let Some(name) = row.0.cell(column) {
                    by_name.entry(name).or_default().push(*row);
                }
            }
            if !by_name.is_empty() {
                let shares = by_name.into_iter().map(|(name, rows)| {
                    let mut table = summary(&rows);
                    table.remove("readings");
                    (name, Value::Object(table))
                });
                table.insert(column.into(), Value::Object(shares.collect()));
            }
        }
        Value::Object(table)
    }
}

/// An item and what its reply is worth.
type Row<'a> = (&'a Item, &'a Verdict);

/// Questions that count together, by their numbers.
#[derive(Default)]
struct Group {
    name: String,
    members: Vec<usize>,
    is_whole: bool,
}

/// The chance that a guess is right, of 1.
fn guess(item: &Item) -> f64 {
    1.0 / item.options.len().max(1) as f64
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The right answer of a question for yes or no, in whatever language it is given.
fn gold(item: &Item) -> Option<bool> {
    yes_no(item.answer(), item.language).answer()
}

/// How many verdicts have each reading.
fn readings<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for verdict in verdicts {
        if let Some(reading) = verdict.details.get("reading").and_then(Value::as_str) {
            *counts.entry(reading.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn is_invalid(verdict: &Verdict) -> bool {
    verdict.flags.contains(&Flag::Invalid)
}

/// How many questions, how many are right, how many replies are invalid, and in which ways.
fn summary(rows: &[Row]) -> Map<String, Value> {
    let replied: Vec<&Verdict> =
        rows.iter().map(|(_, verdict)| *verdict).filter(|verdict| !verdict.flags.contains(&Flag::NoReply)).collect();
    let invalid = mean(replied.iter().map(|verdict| f64::from(u8::from(is_invalid(verdict)))));
    let accuracy = mean(rows.iter().filter_map(|(_, verdict)| verdict.score(ACCURACY)));
    Map::from_iter([
        ("rows".to_owned(), rows.len().into()),
        ("replies".to_owned(), replied.len().into()),
        (ACCURACY.to_owned(), accuracy.into()),
        ("invalid".to_owned(), invalid.into()),
        ("readings".to_owned(), json!(readings(rows.iter().map(|(_, verdict)| *verdict)))),
    ])
}

/// How often yes is said and right.
fn yes_table(rows: &[Row]) -> Map<String, Value> {
    let said = |verdict: &Verdict| verdict.understood.as_deref() == Some(word(true));
    let (mut said_yes, mut right_yes, mut gold_yes, mut read) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (item, verdict) in rows {
        let is_yes = gold(item) == Some(true);
        read += u32::from(verdict.understood.is_some());
        gold_yes += u32::from(is_yes);
        said_yes += u32::from(said(verdict));
        right_yes += u32::from(is_yes && said(verdict));
    }
    let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
    let f1 = share(2 * right_yes, said_yes + gold_yes);
    Map::from_iter([
        ("yes_said".to_owned(), share(said_yes, read).into()),
        ("yes_right".to_owned(), share(gold_yes, u32::try_from(rows.len()).unwrap_or(u32::MAX)).into()),
        ("precision".to_owned(), share(right_yes, said_yes).into()),
        ("recall".to_owned(), share(right_yes, gold_yes).into()),
        ("f1".to_owned(), f1.into()),
    ])
}

/// What a reader must know of the replies.
fn read_notes(verdicts: &[Verdict]) -> Vec<String> {
    let counts = readings(verdicts.iter());
    let missing = counts.get(NO_REPLY).copied().unwrap_or(0);
    let invalid = verdicts.iter().filter(|verdict| is_invalid(verdict)).count();
    let kinds: Vec<String> = counts
        .iter()
        .filter(|(name, _)| !["answer", NO_REPLY].contains(&name.as_str()))
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let mut notes = Vec::new();
    if invalid > 0 {
        let replies = verdicts.len() - missing;
        notes.push(format!("{invalid} of {replies} replies are invalid and count as wrong: {}", kinds.join(", ")));
    }
    if missing > 0 {
        notes.push(format!("{missing} of {} questions have no reply and count as wrong", verdicts.len()));
    }
    notes
}
