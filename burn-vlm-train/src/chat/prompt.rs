//! A conversation that is ready to be answered: its ids and its pixels, made by any thread, without the model's tensors.

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use burn_vlm_data::encode::{EncodeError, VisualCounts};
use burn_vlm_data::image::{ImageError, ProcessedImage};
use burn_vlm_data::processor::PictureInput;
use burn_vlm_data::sample::MediaKey;

use super::ChatModel;

/// Set in the symbols of visual tokens, so that none is an id.
const VISUAL: u64 = 1 << 63;

/// A turn of a conversation: words and pictures in their order.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown.
    pub pieces: Vec<SaidPiece<'a>>,
}

/// A part of a turn.
#[derive(Debug, Clone, Copy)]
pub enum SaidPiece<'a> {
    /// Words.
    Text(&'a str),
    /// The bytes of a picture's file.
    Picture(&'a [u8]),
}

impl<'a> SaidPiece<'a> {
    fn picture(&self) -> Option<&'a [u8]> {
        match self {
            Self::Text(_) => None,
            Self::Picture(bytes) => Some(bytes),
        }
    }
}

/// A conversation that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A picture for a language model alone.
    #[error("this is a language model alone ({0}), which is shown no pictures")]
    NoPictures(&'static str),
    /// A picture that cannot be read, or that the model does not take.
    #[error("{}", of_picture(*number, source))]
    Picture {
        /// Which, from 0.
        number: usize,
        /// Why.
        source: ImageError,
    },
    /// Words that stand for a picture or a video.
    #[error("the text contains `{mark}`, which stands for a {what}: leave it out")]
    Mark {
        /// Which turn, from 0.
        turn: usize,
        /// The words.
        mark: String,
        /// What they stand for.
        what: &'static str,
    },
    /// Template or tokenizer refuse the conversation.
    #[error(transparent)]
    Conversation(#[from] EncodeError),
    /// Ids that the model does not have.
    #[error(transparent)]
    Model(#[from] burn_vlm::ModelError),
    /// More tokens than the model reads.
    #[error(
        "the conversation has {tokens} tokens, pictures included, the model reads {most} (max_position_embeddings), of which one at \
         least is for the answer: shorten it, or begin a new one"
    )]
    TooLong {
        /// Tokens of the conversation.
        tokens: usize,
        /// Tokens that the model reads.
        most: usize,
    },
}

/// A picture of a prompt.
#[derive(Debug)]
pub(super) struct PromptPicture {
    /// What it is, and whether it is one of several where that makes a difference.
    pub(super) key: (MediaKey, bool),
    pub(super) image: ProcessedImage,
    tokens: usize,
}

/// A conversation up to where the answer begins, as [`ChatBatch`](super::ChatBatch) takes it.
#[derive(Debug)]
pub struct ChatPrompt {
    pub(super) ids: Vec<u32>,
    /// What tells its tokens from those of other prompts, one for each.
    pub(super) symbols: Vec<u64>,
    pub(super) pictures: Vec<PromptPicture>,
}

/// What is wrong with a picture, which some of the errors name themselves.
fn of_picture(number: usize, source: &ImageError) -> String {
    match source {
        ImageError::Decode { .. } | ImageError::TooLarge { .. } => source.to_string(),
        other => format!("picture {}: {other}", number + 1),
    }
}

impl ChatPrompt {
    /// Number of tokens, those of the pictures included.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The pictures in their order: as the vision tower is shown them, and how many tokens each has.
    pub fn pictures(&self) -> impl Iterator<Item = (&ProcessedImage, usize)> {
        self.pictures.iter().map(|picture| (&picture.image, picture.tokens))
    }
}

impl<T: VisionTower, P: Projector> ChatModel<T, P> {
    /// Makes a conversation ready to be answered. What a turn shows is told apart from what it says, since words must not stand
    /// for pictures. In a [`ChatSession`](super::ChatSession) the same turns with the same pictures have the
    /// same ids and the same pixels.
    ///
    /// # Errors
    /// What is wrong with the conversation: see [`PromptError`].
    pub fn prepare(&self, said: &[Said<'_>]) -> Result<ChatPrompt, PromptError> {
        let files: Vec<&[u8]> = said.iter().flat_map(|said| &said.pieces).filter_map(SaidPiece::picture).collect();
        if !files.is_empty() && self.model.vlm().is_none() {
            return Err(PromptError::NoPictures(self.model.language_model().config().name()));
        }
        let turns = said.iter().enumerate().map(|(at, said)| self.turn(at, said)).collect::<Result<Vec<Turn>, _>>()?;
        let among = files.len();
        let differs = among > 1 && self.processor.several_differ();
        let mut pictures = Vec::with_capacity(among);
        for (number, &bytes) in files.iter().enumerate() {
            let wrong = |source| PromptError::Picture { number, source };
            let name = (number + 1).to_string();
            let image =
                self.processor.process_image(PictureInput::File { name: &name, bytes }, among).map_err(wrong)?;
            let tokens = self.processor.num_image_tokens(&image);
            pictures.push(PromptPicture { key: (MediaKey::of(bytes), differs), image, tokens });
        }
        let counts: Vec<usize> = pictures.iter().map(|picture| picture.tokens).collect();
        let ids = self.processor.encode_media_prompt(&turns, VisualCounts::of_images(&counts))?;
        let config = self.model.language_model().config();
        let most = config.max_position_embeddings();
        if ids.len() >= most {
            return Err(PromptError::TooLong { tokens: ids.len(), most });
        }
        let visual = self.model.vlm().map(|model| model.config.visual_ids()).unwrap_or_default();
        config.check_ids(std::slice::from_ref(&ids), &visual)?;
        let symbols = self.symbols(&ids, &visual, &pictures);
        Ok(ChatPrompt { ids, symbols, pictures })
    }

    /// A turn with placeholders: a picture stands on a line of its own, as the session writes it.
    fn turn(&self, turn: usize, said: &Said<'_>) -> Result<Turn, PromptError> {
        let (mut text, mut shown) = (String::new(), 0);
        for piece in &said.pieces {
            match piece {
                SaidPiece::Text(words) => text.push_str(words),
                SaidPiece::Picture(_) => {
                    if !text.is_empty() && !text.ends_with('\n') {
                        text.push('\n');
                    }
                    text.push_str(IMAGE_PLACEHOLDER);
                    text.push('\n');
                    shown += 1;
                }
            }
        }
        let among_words = (text.matches(IMAGE_PLACEHOLDER).count() != shown).then_some((IMAGE_PLACEHOLDER, "picture"));
        let mark = among_words.or_else(|| text.split(IMAGE_PLACEHOLDER).find_map(|words| self.mark_in(words)));
        if let Some((mark, what)) = mark {
            return Err(PromptError::Mark { turn, mark: mark.to_owned(), what });
        }
        Ok(Turn { role: said.role, text })
    }

    fn symbols(&self, ids: &[u32], visual: &[i64], pictures: &[PromptPicture]) -> Vec<u64> {
        // Where the words choose the experts, a picture's tokens are another's in every conversation.
        let reads_text = self.model.vlm().is_some_and(|model| model.multi_modal_projector.reads_text());
        let words = ids.iter().flat_map(|id| id.to_le_bytes());
        let words = if reads_text { MediaKey::of(&words.collect::<Vec<u8>>()).0 } else { [0; 16] };
        let places =
            pictures.iter().flat_map(|picture| (0..picture.tokens as u64).map(move |place| (picture.key, place)));
        let mut places = places.map(|((key, several), place)| {
            let key = [&key.0[..], &words, &place.to_le_bytes(), &[u8::from(several)]].concat();
            let mut symbol = [0; 8];
            symbol.copy_from_slice(&MediaKey::of(&key).0[..8]);
            VISUAL | u64::from_le_bytes(symbol)
        });
        let symbol =
            |id: &u32| if visual.contains(&i64::from(*id)) { places.next() } else { None }.unwrap_or(u64::from(*id));
        ids.iter().map(symbol).collect()
    }
}
