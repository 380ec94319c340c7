//! The answers: a model's, asked here and kept as they come, or another system's, read from its files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm::checkpoint::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, other_base};
use burn_vlm_base::files::{create_dir_all, list_dir, read_json_if_there, write_json_atomic};
use burn_vlm_base::progress::Reporter;
use burn_vlm_base::seal::Seal;
use burn_vlm_base::stop;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER};
use burn_vlm_eval::cxmi::cxmi;
use burn_vlm_eval::table::shown;
use burn_vlm_eval::{Answer, Item};
use burn_vlm_train::chat::{ChatModel, is_language_model, model_folder};
use burn_vlm_train::device::choose;
use burn_vlm_train::error::TrainError;
use burn_vlm_train::eval::{
    Benchmarks, Question, ReplyLog, Scorer, Unreadable, ask, match_predictions, question_key, read_predictions,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EvaluateArgs;
use super::questions::Wanted;
use super::videos::{Place, Videos};
use crate::AnyError;

/// What an evaluation's folder is of.
pub(super) const IDENTITY: &str = "evaluation.json";
/// Replies as they come; those of a shard have its number.
const REPLIES: &str = "replies.jsonl";
/// Ends of the names of files that a model is made of.
const MODEL_FILES: [&str; 4] = [".safetensors", ".json", ".jinja", ".model"];
/// Files of a finished cell that say nothing of the model.
const NOT_MODEL: [&str; 3] = ["seal.json", "summary.json", "scores.json"];

/// Answers to everything.
pub(super) struct Answers {
    by_benchmark: BTreeMap<String, Vec<Answer>>,
    /// By benchmark, the questions that are not asked, since what they show cannot be read: the answers are those of the others.
    pub(super) unreadable: BTreeMap<String, Unreadable>,
    /// By benchmark, what pictures are worth, where that was asked.
    pub(super) picture_use: BTreeMap<String, Value>,
    /// What answered.
    pub(super) from: String,
    /// Where it ran.
    pub(super) device: String,
    /// Rows of a forward pass.
    pub(super) batch: usize,
    /// What a reader must know.
    pub(super) notes: Vec<String>,
}

/// What the replies of a folder depend on beside the questions, whose hashes stand beside each reply.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    model: PathBuf,
    dtype: String,
    files: Seal,
    /// The files of the adapter beside the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapter: Option<Seal>,
}

impl Answers {
    /// Of a benchmark, one a question.
    pub(super) fn of(&self, benchmark: &str) -> &[Answer] {
        self.by_benchmark.get(benchmark).map_or(&[], Vec::as_slice)
    }

    /// The same, for the judge's replies.
    pub(super) fn of_mut(&mut self, benchmark: &str) -> &mut [Answer] {
        self.by_benchmark.get_mut(benchmark).map_or(&mut [], Vec::as_mut_slice)
    }
}

/// The answers; none if this was a part of them.
///
/// # Errors
/// Replies that are to other questions, a model that cannot be loaded, a folder of another model's replies.
pub(super) fn get(
    args: &EvaluateArgs,
    wanted: &Wanted,
    benchmarks: &Benchmarks,
    reporter: &Reporter,
) -> Result<Option<Answers>, AnyError> {
    match &args.model {
        Some(model) => of_model(args, model, wanted, benchmarks, reporter),
        None => imported(args, benchmarks).map(Some),
    }
}

fn imported(args: &EvaluateArgs, benchmarks: &Benchmarks) -> Result<Answers, AnyError> {
    let mut replies = Vec::new();
    for path in &args.predictions {
        replies.extend(read_predictions(path)?);
    }
    let matched = match_predictions(benchmarks, replies)?;
    let note = |(name, missing): (&String, &usize)| {
        let questions = matched.answers.get(name).map_or(0, Vec::len);
        format!("{name}: no reply to {missing} of {questions} questions; how they count is said by the rules")
    };
    let mut notes: Vec<String> = matched.missing.iter().map(note).collect();
    if matched.unasked > 0 {
        notes.push(format!("{} replies are to rows that are not asked, and are left out", matched.unasked));
    }
    for benchmark in benchmarks.iter().filter(|benchmark| benchmark.published().is_none()) {
        if let Some(missing) = matched.missing.get(benchmark.name()) {
            return Err(
                format!("{}: no reply to {missing} questions; every one needs its reply", benchmark.name()).into()
            );
        }
    }
    let from: Vec<String> = args.predictions.iter().map(|path| path.display().to_string()).collect();
    let by_benchmark = matched.answers;
    let (from, device) = (from.join(", "), "none".to_owned());
    let (picture_use, unreadable) = Default::default();
    Ok(Answers { by_benchmark, unreadable, picture_use, from, device, batch: 0, notes })
}

/// Questions that are asked together: a benchmark's own, or those that tell what its pictures are worth.
pub(super) struct List<'a> {
    pub(super) name: String,
    pub(super) questions: Cow<'a, [Question]>,
}

/// One question with its hash.
struct Keyed {
    list: usize,
    number: usize,
    key: String,
}

fn of_model(
    args: &EvaluateArgs,
    model: &Path,
    wanted: &Wanted,
    benchmarks: &Benchmarks,
    reporter: &Reporter,
) -> Result<Option<Answers>, AnyError> {
    // Before anything is looked at: the processor's own errors would name files that such a folder need not have.
    let folder = model_folder(model)?;
    if is_language_model(&folder)? {
        return Err(format!(
            "{}: a language model alone, which is shown neither pictures nor videos, and `evaluate` asks about those: name the folder of a \
             vision-language model",
            folder.display()
        )
        .into());
    }
    let mut lists: Vec<List<'_>> = Vec::new();
    for benchmark in benchmarks.iter() {
        let questions = match args.without_pictures {
            true => Cow::Owned(benchmark.questions().iter().map(without_pictures).collect()),
            false => Cow::Borrowed(benchmark.questions()),
        };
        lists.push(List { name: benchmark.name().to_owned(), questions });
    }
    let asked_twice = match args.picture_use {
        true => with_and_without(benchmarks, &mut lists)?,
        false => Vec::new(),
    };
    let mut videos = Videos::of(args, model, &mut lists)?;
    let mut keyed = Vec::new();
    for (list, List { name, questions }) in lists.iter().enumerate() {
        for (number, question) in questions.iter().enumerate().filter(|(number, _)| videos.can_show(list, *number)) {
            keyed.push(Keyed { list, number, key: question_key(name, question)? });
        }
    }
    let keys: BTreeMap<Place, &str> =
        keyed.iter().map(|keyed| ((keyed.list, keyed.number), keyed.key.as_str())).collect();
    let mut notes = Vec::new();
    if let Some(adapter) = &args.adapter {
        let warning = other_base(adapter, &model_folder(model)?)?.map(|other| other.message);
        warning.iter().for_each(|warning| reporter.warn(warning));
        notes.extend(warning);
    }
    let chosen = choose(args.place.device)?;
    let mut log = open_log(args, model, reporter)?;
    let mut missing = missing(args, &lists, &keyed, &log);
    // A clip that is none is told before the model is loaded, as a picture is; what only decoding tells, when its turn comes.
    videos.look(&lists, &mut missing)?;
    videos.keep_answered(|place| is_answered(&keys, &log, place));
    videos.check(benchmarks, &lists)?;
    let left: usize = missing.iter().map(Vec::len).sum();
    if !log.is_empty() {
        reporter.line(&format!("{} replies are there already, {left} questions are left", log.len()));
    }
    let batch = args.batch.map_or(wanted.recipe.batch, |batch| batch as usize);
    if left > 0 {
        let adapter = args.adapter.as_deref();
        let chat: ChatModel = ChatModel::load_adapted(model, adapter, &chosen.device, args.place.dtype.options())?;
        let (vlm, processor) = chat.into_vlm()?;
        reporter.line(&format!("{} on {}", called(args, model), chosen.choice));
        let processor = Arc::new(processor.with_limits(benchmarks.limits()));
        let cache = args.cache_memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let scorer = Scorer::new(&vlm, &chosen.device, processor, None, batch).with_cache_memory(cache);
        for ((at, list), numbers) in lists.iter().enumerate().zip(&missing) {
            if numbers.is_empty() {
                continue;
            }
            reporter.line(&format!("{}: {} questions", list.name, numbers.len()));
            let bar = reporter.bar(&list.name, numbers.len() as u64);
            let (mut done, mut written) = (0, 0);
            for mut portion in videos.portions(at, numbers) {
                let of_bar = portion.len();
                if videos.decode(at, &mut portion) {
                    videos.keep_answered(|place| is_answered(&keys, &log, place));
                    videos.check(benchmarks, &lists)?;
                }
                let mut so_far = (0, 0);
                ask(
                    &scorer,
                    (&list.name, &list.questions),
                    &portion,
                    &mut |number, reply| {
                        let question = &list.questions[number];
                        let shown = videos.shown((at, number));
                        log.add_with(keys[&(at, number)], &question.id, reply, shown)?;
                        if stop::asked() { Err(TrainError::Stopped) } else { Ok(()) }
                    },
                    &mut |progress| {
                        so_far = (progress.done, progress.written);
                        let (done, written) = (done + progress.done, written + progress.written);
                        bar.set_tokens_of(done as u64, numbers.len() as u64, written as u64);
                    },
                )?;
                (done, written) = (done + of_bar, written + so_far.1);
            }
        }
    }
    let unreadable = videos.unreadable(&lists);
    if let Some(shard) = args.shard {
        unreadable.values().flatten().for_each(|(_, reason)| reporter.warn(&format!("not asked about: {reason}")));
        reporter.line(&format!("shard {shard} is done; when all are, the same command without --shard scores them"));
        return Ok(None);
    }
    let mut answers: Vec<Vec<Answer>> = vec![Vec::new(); lists.len()];
    for Keyed { list, key, .. } in keyed.iter().filter(|keyed| videos.can_show(keyed.list, keyed.number)) {
        answers[*list].push(Answer { reply: log.get(key).cloned(), judge: None });
    }
    let mut picture_use = BTreeMap::new();
    for (name, items, first) in asked_twice {
        let found = cxmi(items, &answers[first], &answers[first + 1]);
        notes.push(format!(
            "{name}: its pictures are worth {} nats a token (CXMI, {} items)",
            found.totals["all"]["cxmi"], found.totals["all"]["items"]
        ));
        notes.extend(found.notes.iter().map(|note| format!("{name}: {note}")));
        picture_use.insert(name, found.totals);
    }
    if let Some((name, damage)) = log.damaged().iter().next() {
        notes.push(format!(
            "{} videos are not whole and were shown as far as they go (`damage` in {REPLIES} says it of each), the first: {name}: {damage}",
            log.damaged().len()
        ));
    }
    let by_benchmark =
        lists.iter().map(|list| list.name.clone()).zip(answers).take(benchmarks.iter().count()).collect();
    let device = format!("{}, weights in {}", chosen.choice, format!("{:?}", args.place.dtype).to_lowercase());
    let from = called(args, model);
    Ok(Some(Answers { by_benchmark, unreadable, picture_use, from, device, batch, notes }))
}

/// The question without what it shows, and without the places of that in its words.
fn without_pictures(question: &Question) -> Question {
    let mut question = Question { media: Vec::new(), ..question.clone() };
    for turn in &mut question.turns {
        for placeholder in [IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER] {
            turn.text = turn.text.replace(&format!("{placeholder}\n"), "").replace(placeholder, "");
        }
    }
    question
}

/// Whether there is a reply to a question.
fn is_answered(keys: &BTreeMap<Place, &str>, log: &ReplyLog, place: &Place) -> bool {
    keys.get(place).is_some_and(|key| log.get(key).is_some())
}

/// The model, and its adapter, for people.
fn called(args: &EvaluateArgs, model: &Path) -> String {
    match &args.adapter {
        None => model.display().to_string(),
        Some(adapter) => format!("{} with {}", model.display(), adapter.display()),
    }
}

/// A benchmark's name and items, and the place of its list with pictures; that without follows.
type AskedTwice<'a> = (String, &'a [Item], usize);

/// Adds the questions that tell what pictures are worth.
fn with_and_without<'a>(
    benchmarks: &'a Benchmarks,
    lists: &mut Vec<List<'_>>,
) -> Result<Vec<AskedTwice<'a>>, AnyError> {
    let mut all = Vec::new();
    for benchmark in benchmarks.iter() {
        let Some(published) = benchmark.published() else { continue };
        let Some([with, without]) = published.picture_use() else { continue };
        all.push((benchmark.name().to_owned(), published.items(), lists.len()));
        for (questions, what) in [(with, "with"), (without, "without")] {
            let name = format!("{}, {what} pictures", benchmark.name());
            lists.push(List { name, questions: Cow::Owned(questions) });
        }
    }
    match all.is_empty() {
        true => Err("--picture-use: none of the benchmarks has such questions (commute and multi30k have)".into()),
        false => Ok(all),
    }
}

/// By list, the questions without a reply. What is asked twice is asked once; a shard asks its part of the pictures.
fn missing(args: &EvaluateArgs, lists: &[List<'_>], keyed: &[Keyed], log: &ReplyLog) -> Vec<Vec<usize>> {
    let mut seen = HashSet::new();
    let mut missing: Vec<Vec<usize>> = vec![Vec::new(); lists.len()];
    for (part, of_picture) in by_picture(lists, keyed).into_iter().enumerate() {
        if args.shard.is_some_and(|shard| !shard.contains(part)) {
            continue;
        }
        for Keyed { list, number, key } in of_picture {
            if log.get(key).is_none() && seen.insert(key) {
                missing[*list].push(*number);
            }
        }
    }
    missing
}

/// The questions by what they show, in the order of the first question of each; the same question without a picture stands together.
fn by_picture<'k>(lists: &[List<'_>], keyed: &'k [Keyed]) -> Vec<Vec<&'k Keyed>> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&Keyed>> = Vec::new();
    for one in keyed {
        let question = &lists[one.list].questions[one.number];
        let group = shown(&question.media).unwrap_or_else(|| one.key.clone());
        let at = *places.entry(group).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(one);
    }
    groups
}

/// The replies that are there.
fn open_log(args: &EvaluateArgs, model: &Path, reporter: &Reporter) -> Result<ReplyLog, AnyError> {
    let Some(out) = &args.out else { return Ok(ReplyLog::in_memory()) };
    create_dir_all(out)?;
    // A finished cell holds its model, and checkpoints beside it.
    let inner = model.join("model");
    let files = Seal::of(if inner.is_dir() { &inner } else { model }, |path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        MODEL_FILES.iter().any(|end| name.ends_with(end)) && !NOT_MODEL.contains(&name)
    })?;
    let of_adapter = |folder: &PathBuf| Seal::of(folder, |path| [ADAPTER_CONFIG, ADAPTER_WEIGHTS].contains(&path));
    let adapter = args.adapter.as_ref().map(of_adapter).transpose()?;
    let identity = Identity { model: model.to_owned(), dtype: format!("{:?}", args.place.dtype), files, adapter };
    let path = out.join(IDENTITY);
    match read_json_if_there::<Identity>(&path)? {
        None => write_json_atomic(&path, &identity)?,
        Some(known)
            if known.files == identity.files && known.dtype == identity.dtype && known.adapter == identity.adapter => {}
        Some(known) => {
            let why = match () {
                () if known.files != identity.files => "whose files are others",
                () if known.adapter != identity.adapter => "with another adapter, or none",
                () => "in another element type",
            };
            let message = format!(
                "{} has the replies of {} ({why}): name another folder with --out",
                out.display(),
                known.model.display(),
            );
            return Err(message.into());
        }
    }
    let own = match args.shard {
        None => REPLIES.to_owned(),
        Some(shard) => format!("replies-{}.jsonl", shard.to_string().replace('/', "-of-")),
    };
    let mut log = ReplyLog::open(&out.join(&own))?;
    // A shard has its part alone.
    for name in list_dir(out)? {
        if args.shard.is_none() && name.starts_with("replies-") && name.ends_with(".jsonl") {
            let count = log.merge(&out.join(&name))?;
            reporter.line(&format!("{count} replies of {name}"));
        }
    }
    Ok(log)
}
