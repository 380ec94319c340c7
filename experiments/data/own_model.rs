//! Questions answered by a model on this machine, many at a time: one that has ended makes room for the next between two tokens.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use burn_vlm::generate::GenerationConfig;
use burn_vlm_base::guard::guarded;
use burn_vlm_base::stop;
use burn_vlm_data::pipeline::{Answer, Answerer, Finish, Part, Question, Questions, Reply, Spent, Task, Trouble};
use burn_vlm_train::chat::{
    AnswerEnd, AnswerSettings, BatchLimits, ChatBatch, ChatModel, ChatPrompt, PromptError, Said, SaidPiece,
    model_folder,
};

use crate::AnyError;

/// Bytes of features of pictures that are kept for other questions.
const FEATURE_BYTES: usize = 256 << 20;
/// Bytes of each end of a weight file that tell one model from another.
const ENDS: u64 = 1 << 20;
/// Characters of a model's hash that names it.
const SHORT_HASH: usize = 16;

/// A model that is loaded.
pub(super) struct OwnModel {
    chat: ChatModel,
    rows: usize,
}

/// An answer under way.
struct Running {
    task: Task,
    text: String,
    spent: Spent,
}

impl OwnModel {
    pub(super) fn new(chat: ChatModel, rows: usize) -> Self {
        Self { chat, rows }
    }

    /// Puts a question into the batch; its number there, and what it has cost so far.
    fn begin(
        &self,
        batch: &mut ChatBatch<'_>,
        question: &Question,
        seed: u64,
    ) -> Result<(usize, Spent), (Trouble, String)> {
        let failed = |words: String| (Trouble::Model, words);
        let prompt = guarded(|| self.prompt(question)).map_err(failed)?.map_err(trouble)?;
        let settings = &question.settings;
        let generation = GenerationConfig {
            max_new_tokens: settings.max_tokens as usize,
            temperature: settings.temperature,
            top_p: settings.top_p,
            top_k: None,
            seed: settings.seed.unwrap_or_default() ^ seed,
            ..self.chat.generation.clone()
        };
        let answer = AnswerSettings { generation, ..AnswerSettings::default() };
        let ids = guarded(|| batch.push(&prompt, &[answer])).map_err(failed)?;
        let ids = ids.map_err(|error| failed(error.to_string()))?;
        let id = ids.first().copied().ok_or_else(|| failed("no answer was begun".to_owned()))?;
        Ok((id, Spent { requests: 1, prompt_tokens: prompt.tokens() as u64, completion_tokens: 0 }))
    }

    fn prompt(&self, question: &Question) -> Result<ChatPrompt, PromptError> {
        let said = question
            .messages
            .iter()
            .map(|message| Said { role: message.role, pieces: message.parts.iter().map(piece).collect() });
        self.chat.prepare(&said.collect::<Vec<_>>())
    }
}

fn piece(part: &Part) -> SaidPiece<'_> {
    match part {
        Part::Text(text) => SaidPiece::Text(text),
        Part::Picture(bytes) => SaidPiece::Picture(bytes),
    }
}

/// Why a question cannot be asked.
fn trouble(error: PromptError) -> (Trouble, String) {
    let trouble = match error {
        PromptError::NoPictures(_) => Trouble::NoPictures,
        PromptError::TooLong { .. } | PromptError::TooManyFrames { .. } => Trouble::TooLong,
        PromptError::Mark { .. } => Trouble::Unsayable,
        _ => Trouble::BadRequest,
    };
    (trouble, error.to_string())
}

impl Answerer for OwnModel {
    fn answer(&self, questions: &dyn Questions) -> Result<(), String> {
        let limits = BatchLimits { rows: self.rows.max(1), cache_bytes: None, feature_bytes: FEATURE_BYTES };
        let mut batch = ChatBatch::new(&self.chat, limits).map_err(|error| error.to_string())?;
        let mut running: HashMap<usize, Running> = HashMap::new();
        loop {
            while batch.unfinished() < limits.rows
                && let Some(task) = questions.next()
            {
                if !questions.may_ask() {
                    let why = "the budget of requests or tokens is spent".to_owned();
                    questions.answered(task, Answer::Failed(Trouble::Budget, why), Spent::default());
                    break;
                }
                match self.begin(&mut batch, &task.question, task.key.seed()) {
                    Ok((id, spent)) => drop(running.insert(id, Running { task, text: String::new(), spent })),
                    Err((trouble, why)) if trouble == Trouble::NoPictures => {
                        questions.answered(
                            task,
                            Answer::Refused(trouble, why),
                            Spent { requests: 1, ..Spent::default() },
                        );
                    }
                    Err((trouble, why)) => {
                        questions.answered(
                            task,
                            Answer::Failed(trouble, why),
                            Spent { requests: 1, ..Spent::default() },
                        );
                    }
                }
            }
            if running.is_empty() {
                return Ok(());
            }
            let step = guarded(|| batch.step()).map_err(|words| format!("the model failed: {words}"));
            let parts = match step.and_then(|step| step.map_err(|error| error.to_string())) {
                Ok(parts) => parts,
                Err(words) => {
                    for (_, Running { task, spent, .. }) in running.drain() {
                        questions.answered(task, Answer::Failed(Trouble::Model, words.clone()), spent);
                    }
                    batch.clear().map_err(|error| error.to_string())?;
                    continue;
                }
            };
            for part in parts {
                let Some(row) = running.get_mut(&part.id) else { continue };
                row.text.push_str(&part.text);
                row.spent.completion_tokens += part.tokens as u64;
                let Some(end) = part.end else { continue };
                let Some(Running { task, text, spent }) = running.remove(&part.id) else { continue };
                let finish = if end == AnswerEnd::Stop { Finish::Stop } else { Finish::Length };
                let reply = Reply { text, finish, model: None, full: false };
                questions.answered(task, Answer::Reply(reply), spent);
            }
            if stop::asked() {
                for (_, Running { task, .. }) in running.drain() {
                    let why = "stopped while it was answered".to_owned();
                    // Nobody has to pay for it again.
                    questions.answered(task, Answer::Failed(Trouble::Stopped, why), Spent::default());
                }
                return Ok(());
            }
        }
    }
}

/// What tells a model's folder from others, wherever it lies: its name, and a hash of its small files and of both ends of its weights.
pub(super) fn model_name(folder: &Path) -> Result<String, AnyError> {
    let folder = model_folder(folder)?;
    let failed = |path: &Path, error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut hasher = blake3::Hasher::new();
    // A GGUF file is a model by itself.
    let mut names = match (folder.is_file(), folder.file_name()) {
        (true, Some(name)) => vec![name.to_string_lossy().into_owned()],
        _ => burn_vlm_base::files::list_dir(&folder)?,
    };
    names.sort_unstable();
    for name in names {
        let path = if folder.is_file() { folder.clone() } else { folder.join(&name) };
        let weights = name.ends_with(".safetensors") || folder.is_file();
        if !path.is_file() || !(weights || name.ends_with(".json") || name.ends_with(".jinja")) {
            continue;
        }
        let mut file = File::open(&path).map_err(|error| failed(&path, error))?;
        let length = file.metadata().map_err(|error| failed(&path, error))?.len();
        hasher.update(name.as_bytes()).update(&length.to_le_bytes());
        let mut bytes = Vec::new();
        let most = if weights { ENDS } else { length };
        let mut read = (&mut file).take(most).read_to_end(&mut bytes);
        if weights && length > ENDS {
            let end = |file: &mut File| file.seek(SeekFrom::Start((length - ENDS).max(ENDS)));
            read = read.and_then(|_| end(&mut file)).and_then(|_| file.read_to_end(&mut bytes));
        }
        read.map_err(|error| failed(&path, error))?;
        hasher.update(&bytes);
    }
    let hash: String = hasher.finalize().to_hex().chars().take(SHORT_HASH).collect();
    let name = folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()));
    Ok(format!("{}@{hash}", name.unwrap_or_default()))
}
