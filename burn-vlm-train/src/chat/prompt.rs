//! A conversation that is ready to be answered: its ids and its pixels, made by any thread, without the model's tensors.

use std::sync::Arc;

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn, VIDEO_PLACEHOLDER};
use burn_vlm_data::encode::{EncodeError, VisualCounts};
use burn_vlm_data::image::{ImageError, ProcessedImage};
use burn_vlm_data::processor::PictureInput;
use burn_vlm_data::sample::{Media, MediaKey, Picture, Video, pictures};
use burn_vlm_data::source::SkipReason;
use burn_vlm_data::video::{Clip, Clips, VideoRecord};

use super::ChatModel;

/// Set in the symbols of visual tokens, so that none is an id.
const VISUAL: u64 = 1 << 63;

/// A turn of a conversation: words, pictures and videos in their order.
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
    /// A video.
    Video(&'a Clip),
}

/// A conversation that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A picture or a video for a language model alone.
    #[error("this is a language model alone ({0}), which is shown neither pictures nor videos")]
    NoPictures(&'static str),
    /// A picture that cannot be read, or that the model does not take.
    #[error("{}", of_picture(*number, source))]
    Picture {
        /// Which of the pictures and videos, from 0.
        number: usize,
        /// Why.
        source: ImageError,
    },
    /// A video where none are shown.
    #[error("no videos are shown here, pictures are")]
    NoVideos {
        /// Which of the pictures and videos, from 0.
        number: usize,
    },
    /// A video that cannot be read, or whose frames the model does not take.
    #[error("{}", reason.detail)]
    Video {
        /// Which of the pictures and videos, from 0.
        number: usize,
        /// Why.
        reason: SkipReason,
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
    /// A video whose frames are more than the model reads; told before they are decoded.
    #[error(
        "{video}: {frames} frames are {tokens} visual tokens, and the model reads {most} (max_position_embeddings): show fewer frames \
         (`--frames` of `serve`)"
    )]
    TooManyFrames {
        /// Which of the pictures and videos, from 0.
        number: usize,
        /// The video.
        video: String,
        /// Its frames that would be shown.
        frames: usize,
        /// Their visual tokens.
        tokens: usize,
        /// Tokens that the model reads.
        most: usize,
    },
    /// More tokens than the model reads.
    #[error(
        "the conversation has {tokens} tokens, pictures and videos included, the model reads {most} (max_position_embeddings), of which one at \
         least is for the answer: shorten it, or begin a new one"
    )]
    TooLong {
        /// Tokens of the conversation.
        tokens: usize,
        /// Tokens that the model reads.
        most: usize,
    },
}

/// What a model is shown in a place of a prompt: a picture, a video, or a frame of a video as a picture.
#[derive(Debug)]
pub struct PromptMedium {
    /// What it is, and whether it is one of several where that makes a difference.
    pub(super) key: (MediaKey, bool),
    pub(super) images: Vec<ProcessedImage>,
    pub(super) is_video: bool,
    piece: usize,
    tokens: usize,
    record: Option<Arc<VideoRecord>>,
}

impl PromptMedium {
    /// Which of the conversation's pictures and videos it is of, from 0. To a model that takes no videos each frame is a picture.
    pub fn piece(&self) -> usize {
        self.piece
    }

    /// Number of its tokens in the prompt.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// As the vision tower is shown it: one picture, or the frames of a video.
    pub fn images(&self) -> &[ProcessedImage] {
        &self.images
    }

    /// Which frames were chosen, of a video and of a frame of one.
    pub fn record(&self) -> Option<&VideoRecord> {
        self.record.as_deref()
    }
}

/// A conversation up to where the answer begins, as [`ChatBatch`](super::ChatBatch) takes it.
#[derive(Debug)]
pub struct ChatPrompt {
    pub(super) ids: Vec<u32>,
    /// What tells its tokens from those of other prompts, one for each.
    pub(super) symbols: Vec<u64>,
    pub(super) media: Vec<PromptMedium>,
}

/// A picture or a video of a conversation, a video as its chosen frames.
enum Given<'a> {
    Picture(&'a [u8]),
    Video { key: MediaKey, frames: Vec<Picture>, record: Arc<VideoRecord> },
}

/// What is wrong with a picture, which some of the errors name themselves.
fn of_picture(number: usize, source: &ImageError) -> String {
    match source {
        ImageError::Decode { .. } | ImageError::TooLarge { .. } => source.to_string(),
        other => format!("picture {}: {other}", number + 1),
    }
}

impl ChatPrompt {
    /// Number of tokens, those of pictures and videos included.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// What is shown, in its order.
    pub fn media(&self) -> &[PromptMedium] {
        &self.media
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
        self.prepare_with(said, None)
    }

    /// As [`Self::prepare`], with videos: `clips` ([`ChatModel::clips`]) chooses their frames. They are decoded here.
    ///
    /// # Errors
    /// See [`PromptError`].
    pub fn prepare_with(&self, said: &[Said<'_>], clips: Option<&Arc<Clips>>) -> Result<ChatPrompt, PromptError> {
        let pieces = said.iter().flat_map(|said| &said.pieces);
        let shown = pieces.filter(|piece| !matches!(piece, SaidPiece::Text(_)));
        if shown.clone().next().is_some() && self.model.vlm().is_none() {
            return Err(PromptError::NoPictures(self.model.language_model().config().name()));
        }
        let given = shown.enumerate().filter_map(|(number, piece)| match piece {
            SaidPiece::Text(_) => None,
            SaidPiece::Picture(bytes) => Some(Ok(Given::Picture(bytes))),
            SaidPiece::Video(clip) => Some(self.frames_of(number, clip, clips)),
        });
        let given = given.collect::<Result<Vec<Given<'_>>, PromptError>>()?;
        let mut frames = given.iter().filter_map(|given| match given {
            Given::Picture(_) => None,
            Given::Video { frames, .. } => Some(frames.len()),
        });
        let turns = said.iter().enumerate().map(|(at, said)| self.turn(at, said, &mut frames));
        let turns = turns.collect::<Result<Vec<Turn>, _>>()?;
        let media = self.media(&given)?;
        let counts = |videos: bool| -> Vec<usize> {
            media.iter().filter(|medium| medium.is_video == videos).map(|medium| medium.tokens).collect()
        };
        let (images, videos) = (counts(false), counts(true));
        let ids = self.processor.encode_media_prompt(&turns, VisualCounts { images: &images, videos: &videos })?;
        let config = self.model.language_model().config();
        let most = config.max_position_embeddings();
        if ids.len() >= most {
            return Err(PromptError::TooLong { tokens: ids.len(), most });
        }
        let visual = self.model.vlm().map(|model| model.config.visual_ids()).unwrap_or_default();
        config.check_ids(std::slice::from_ref(&ids), &visual)?;
        let symbols = self.symbols(&ids, &visual, &media);
        Ok(ChatPrompt { ids, symbols, media })
    }

    /// The frames of a video that are shown.
    fn frames_of<'a>(&self, number: usize, clip: &Clip, clips: Option<&Arc<Clips>>) -> Result<Given<'a>, PromptError> {
        let clips = clips.ok_or(PromptError::NoVideos { number })?;
        let wrong = |reason| PromptError::Video { number, reason };
        let (frames, most) =
            (clips.count(clip).map_err(wrong)?, self.model.language_model().config().max_position_embeddings());
        if let Some(tokens) = self.num_video_tokens(frames).filter(|tokens| *tokens >= most) {
            return Err(PromptError::TooManyFrames { number, video: clip.name(), frames, tokens, most });
        }
        let media = [Media::Video(Video::Clip(clip.clone()))];
        let shown = clips.show(&media, true).map_err(wrong)?;
        let frames = pictures(&shown).cloned().collect();
        Ok(Given::Video { key: clips.key(clip).map_err(wrong)?, frames, record: clips.record(clip).map_err(wrong)? })
    }

    /// As the vision tower is shown what is given.
    fn media(&self, given: &[Given<'_>]) -> Result<Vec<PromptMedium>, PromptError> {
        let processor = &self.processor;
        let takes_videos = processor.video_processor().is_some();
        let pictures = given.iter().map(|given| match given {
            Given::Picture(_) => 1,
            Given::Video { frames, .. } => {
                if takes_videos {
                    0
                } else {
                    frames.len()
                }
            }
        });
        let among = pictures.sum();
        let differs = among > 1 && processor.several_differ();
        let picture = |piece, key, image, record| {
            let tokens = processor.num_image_tokens(&image);
            PromptMedium { key: (key, differs), images: vec![image], is_video: false, piece, tokens, record }
        };
        let mut media = Vec::with_capacity(given.len());
        for (piece, given) in given.iter().enumerate() {
            let of_video = |reason| PromptError::Video { number: piece, reason };
            match given {
                Given::Picture(bytes) => {
                    let name = (piece + 1).to_string();
                    let input = PictureInput::File { name: &name, bytes };
                    let wrong = |source| PromptError::Picture { number: piece, source };
                    let image = processor.process_image(input, among).map_err(wrong)?;
                    media.push(picture(piece, MediaKey::of(bytes), image, None));
                }
                Given::Video { key, frames, record } if takes_videos => {
                    let images = frames.iter().map(|frame| processor.process_frame(frame));
                    let images = images.collect::<Result<Vec<_>, _>>().map_err(of_video)?;
                    // The same file may be shown as a picture too.
                    let key = (MediaKey::of(&[b"video", &key.0[..]].concat()), false);
                    let tokens = processor.num_video_tokens(images.len());
                    media.push(PromptMedium {
                        key,
                        images,
                        is_video: true,
                        piece,
                        tokens,
                        record: Some(record.clone()),
                    });
                }
                Given::Video { frames, record, .. } => {
                    for frame in frames {
                        let key = frame.key().map_err(of_video)?;
                        let image = processor.process_frame(frame).map_err(of_video)?;
                        media.push(picture(piece, key, image, Some(record.clone())));
                    }
                }
            }
        }
        Ok(media)
    }

    /// A turn with placeholders: a picture, a video, or a frame as a picture, stands on a line of its own, as the session writes it.
    /// `frames` counts those of the next videos.
    fn turn(
        &self,
        turn: usize,
        said: &Said<'_>,
        frames: &mut impl Iterator<Item = usize>,
    ) -> Result<Turn, PromptError> {
        let refuse = |words: &str| match self.mark_in(words) {
            Some((mark, what)) => Err(PromptError::Mark { turn, mark: mark.to_owned(), what }),
            None => Ok(()),
        };
        // Words of several pieces may make a mark together.
        let (mut text, mut words) = (String::new(), 0);
        for piece in &said.pieces {
            let (placeholder, count) = match piece {
                SaidPiece::Text(words) => {
                    text.push_str(words);
                    continue;
                }
                SaidPiece::Picture(_) => (IMAGE_PLACEHOLDER, 1),
                SaidPiece::Video(_) => match (self.processor.video_processor(), frames.next()) {
                    (Some(_), _) => (VIDEO_PLACEHOLDER, 1),
                    (None, frames) => (IMAGE_PLACEHOLDER, frames.unwrap_or_default()),
                },
            };
            refuse(&text[words..])?;
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            (0..count).for_each(|_| text.extend([placeholder, "\n"]));
            words = text.len();
        }
        refuse(&text[words..])?;
        Ok(Turn { role: said.role, text })
    }

    fn symbols(&self, ids: &[u32], visual: &[i64], media: &[PromptMedium]) -> Vec<u64> {
        // Where the words choose the experts, a picture's tokens are another's in every conversation.
        let reads_text = self.model.vlm().is_some_and(|model| model.multi_modal_projector.reads_text());
        let words = ids.iter().flat_map(|id| id.to_le_bytes());
        let words = if reads_text { MediaKey::of(&words.collect::<Vec<u8>>()).0 } else { [0; 16] };
        let places = media.iter().flat_map(|medium| (0..medium.tokens as u64).map(move |place| (medium.key, place)));
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
