//! What a caption's user asks, in each language: a caption alone would be an answer to nothing.

use std::collections::BTreeMap;

use crate::language::Language;
use crate::random::{hash_bytes, mix};

/// "Describe this picture.", in the order of [`Language::ALL`].
const DESCRIBE: [&str; 32] = [
    "Describe this picture.",
    "Beschreibe dieses Bild.",
    "Beschrijf deze afbeelding.",
    "Describe esta imagen.",
    "Describe esta imagen.",
    "Décris cette image.",
    "Descreve esta imagem.",
    "Descreva esta imagem.",
    "Опиши це зображення.",
    "इस चित्र का वर्णन करें।",
    "描述这张图片。",
    "描述這張圖片。",
    "Опиши это изображение.",
    "Popiš tento obrázek.",
    "이 사진을 설명해 주세요.",
    "この画像を説明してください。",
    "Descrivi questa immagine.",
    "Opisz ten obraz.",
    "Descrie această imagine.",
    "Beskriv dette biletet.",
    "Beskriv dette bildet.",
    "صف هذه الصورة.",
    "Bu resmi tanımla.",
    "Beskriv dette billede.",
    "Kuvaile tätä kuvaa.",
    "Írd le ezt a képet.",
    "Lýstu þessari mynd.",
    "Beskriv den här bilden.",
    "এই ছবিটির বর্ণনা দিন।",
    "මෙම පින්තූරය විස්තර කරන්න.",
    "இந்தப் படத்தை விவரிக்கவும்.",
    "اس تصویر کی وضاحت کریں۔",
];

/// Requests by language, of which one is drawn for each caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionRequests {
    seed: u64,
    own: BTreeMap<Language, Vec<String>>,
    none: bool,
}

impl CaptionRequests {
    /// One's own for the languages that have some, "Describe this picture." for others of the known languages.
    pub fn new(seed: u64, own: BTreeMap<Language, Vec<String>>) -> Self {
        Self { seed, own, none: false }
    }

    /// None: the user shows the picture and says nothing.
    pub fn none() -> Self {
        Self { seed: 0, own: BTreeMap::new(), none: true }
    }

    /// What is asked for a sample.
    pub fn draw(&self, language: Language, id: &str) -> Option<&str> {
        if self.none {
            return None;
        }
        match self.own.get(&language).filter(|requests| !requests.is_empty()) {
            Some(requests) => {
                let place = mix(self.seed, hash_bytes(id.as_bytes())) % requests.len() as u64;
                requests.get(place as usize).map(String::as_str)
            }
            None => language.index().and_then(|index| DESCRIBE.get(index).copied()),
        }
    }
}
