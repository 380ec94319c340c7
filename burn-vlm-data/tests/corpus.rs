//! The embedded corpus has what its description says, and a damaged folder is refused with a useful message.

use burn_vlm_data::emoji::{EmojiCorpus, Split, Style};
use burn_vlm_data::language::Language;
use parquet::file::writer::SerializedFileWriter;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/emoji")
}

/// A copy of the corpus folder that a test may damage.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["images64_webp.parquet", "texts.parquet", "strings.parquet", "facts.json", "flag_ambiguous.json"] {
        fs::copy(data().join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn error(folder: &tempfile::TempDir) -> String {
    EmojiCorpus::open(folder.path()).unwrap_err().to_string()
}

#[test]
fn counts() {
    let corpus = EmojiCorpus::embedded().unwrap();
    assert_eq!(corpus.concepts().len(), 1914);
    assert_eq!(corpus.pictures().len(), 5680);
    assert_eq!(corpus.languages(), Language::ALL);
    let split = |split| corpus.split(split).count();
    assert_eq!((split(Split::Train), split(Split::Validation), split(Split::Test)), (1478, 213, 223));
    let style = |style| corpus.pictures().iter().filter(|picture| picture.style == style).count();
    assert_eq!(Style::ALL.map(style), [1652, 1594, 1914, 258, 262]);
    assert_eq!(corpus.ambiguous_flags().len(), 12);
    assert_eq!(corpus.fact("DM").unwrap().currency, ["XCD"]);
}

#[test]
fn a_concept_and_its_texts() {
    let corpus = EmojiCorpus::embedded().unwrap();
    let face = corpus.by_code("1f600").unwrap();
    assert_eq!((face.char.as_str(), face.subgroup.as_str(), face.split), ("😀", "face-smiling", Split::Train));
    let text = |language| corpus.text(face.id, language).unwrap();
    assert_eq!(text(Language::EN).name, "grinning face");
    assert_eq!(text(Language::ZH_HANS).keywords, ["嘿嘿", "笑脸", "脸", "高兴"]);
    assert_eq!(text(Language::ZH_HANS).keywords_besides_name().collect::<Vec<_>>(), ["笑脸", "脸", "高兴"]);
    assert!(text(Language::ES_419).inherited && !text(Language::ES).inherited);
    assert_eq!(text(Language::EN).short_name(), "grinning face");
    let picture = corpus.picture_in(face.id, Style::Twemoji).unwrap();
    assert_eq!(corpus.picture_name(picture.id), "twemoji/1f600");
    assert_eq!(&picture.webp[8..12], b"WEBP");
    assert!(corpus.picture_in(face.id, Style::FlagIcons).is_none());
    assert_eq!(corpus.strings(Language::DE).unwrap().territories["FR"], "Frankreich");
}

/// The short name of a flag is the territory's name in CLDR's own list, in every language; Danish has composed ones.
#[test]
fn flags_have_country_names() {
    let corpus = EmojiCorpus::embedded().unwrap();
    for language in Language::ALL {
        let mut checked = 0;
        for concept in corpus.concepts() {
            let Some(territory) = concept.territory.as_ref() else { continue };
            let expected = corpus.strings(*language).unwrap().territories.get(territory);
            if let (Some(text), Some(expected)) = (corpus.text(concept.id, *language), expected) {
                assert_eq!(text.short_name(), expected, "{language}");
                assert_eq!(text.composed, *language == Language::DA);
                checked += 1;
            }
        }
        assert_eq!(checked, 259, "{language}");
    }
    let dominica = corpus.concepts().iter().find(|c| c.territory.as_deref() == Some("DM")).unwrap();
    assert_eq!(corpus.text(dominica.id, Language::EN).unwrap().name, "flag: Dominica");
    assert_eq!(corpus.text(dominica.id, Language::DA).unwrap().name, "flag: Dominica");
    assert_eq!(corpus.text(dominica.id, Language::ZH_HANT).unwrap().short_name(), "多米尼克");
    let england = corpus.concepts().iter().find(|c| c.territory.as_deref() == Some("GBENG")).unwrap();
    assert_eq!(corpus.text(england.id, Language::FR).unwrap().short_name(), "Angleterre");
}

#[test]
fn lookalikes_are_flags_and_identical_pictures() {
    let corpus = EmojiCorpus::embedded().unwrap();
    let flag = |code: &str| corpus.concepts().iter().find(|c| c.territory.as_deref() == Some(code)).unwrap();
    assert!(corpus.lookalikes(flag("RO").id).contains(&flag("TD").id));
    assert_eq!(corpus.lookalikes(flag("FR").id).len(), 9);
    assert!(corpus.lookalikes(flag("DM").id).is_empty());
    for code in ["AU", "NO", "US", "MC"] {
        assert!(corpus.pictures_of(flag(code).id).all(|picture| corpus.is_ambiguous(picture.id)), "{code}");
    }
    // Twemoji draws one picture for all families of two adults and a child; noto tells astronauts of twemoji apart not.
    let family = corpus.by_code("1f468-200d-1f469-200d-1f466").unwrap();
    assert!(corpus.is_ambiguous(corpus.picture_in(family.id, Style::Twemoji).unwrap().id));
    assert!(corpus.lookalikes(family.id).contains(&corpus.by_code("1f46a").unwrap().id));
    let face = corpus.by_code("1f600").unwrap();
    assert!(corpus.pictures_of(face.id).all(|picture| !corpus.is_ambiguous(picture.id)));
}

#[test]
fn a_copy_opens_and_is_the_same() {
    let opened = EmojiCorpus::open(copy().path()).unwrap();
    let embedded = EmojiCorpus::embedded().unwrap();
    assert_eq!(opened.concepts(), embedded.concepts());
    assert_eq!(opened.pictures(), embedded.pictures());
}

#[test]
fn missing_and_damaged_files_are_named() {
    let folder = copy();
    fs::remove_file(folder.path().join("texts.parquet")).unwrap();
    let message = error(&folder);
    assert!(message.contains("texts.parquet") && message.contains("facts.json"), "{message}");

    let folder = copy();
    let path = folder.path().join("images64_webp.parquet");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let message = error(&folder);
    assert!(message.contains("images64_webp.parquet") && message.contains("fetch it again"), "{message}");

    // Damage in the middle of the data: whatever the decoder makes of it, it is an error and no panic.
    for at in [1000, 400_000, 3_000_000] {
        let mut damaged = bytes.clone();
        damaged[at..at + 2000].fill(0xa5);
        fs::write(&path, &damaged).unwrap();
        let opened = EmojiCorpus::open(folder.path());
        if let Err(error) = opened {
            assert!(error.to_string().contains("images64_webp.parquet"), "{error}");
        }
    }

    let folder = copy();
    fs::write(folder.path().join("facts.json"), "{\"AD\": {\"population\": \"many\"}}").unwrap();
    let message = error(&folder);
    assert!(message.contains("facts.json") && message.contains("line 1"), "{message}");
}

/// A file with another table in it: the column that is missing is named, with those that are there.
#[test]
fn wrong_schemas_name_the_column() {
    let folder = copy();
    fs::copy(data().join("strings.parquet"), folder.path().join("texts.parquet")).unwrap();
    let message = error(&folder);
    assert!(
        message.contains("texts.parquet") && message.contains("\"concept\"") && message.contains("lang"),
        "{message}"
    );
}

/// Writes a parquet file with string columns; an absent value is a null.
fn write_table(path: &Path, columns: &[(&str, &[Option<&str>])]) {
    use parquet::data_type::{ByteArray, ByteArrayType};
    let fields: String = columns.iter().map(|(name, _)| format!("optional binary {name} (UTF8);")).collect();
    let schema = parquet::schema::parser::parse_message_type(&format!("message table {{ {fields} }}")).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, values) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<ByteArray> = values.iter().flatten().map(|value| ByteArray::from(*value)).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn wrong_values_name_row_and_column() {
    let folder = copy();
    let path = folder.path().join("strings.parquet");
    write_table(&path, &[("lang", &[Some("german")]), ("data", &[Some("{}")])]);
    let message = error(&folder);
    assert!(message.contains("row 0, column \"lang\"") && message.contains("such as de"), "{message}");
    write_table(&path, &[("lang", &[Some("de"), None]), ("data", &[Some("{}"), Some("{}")])]);
    let message = error(&folder);
    assert!(message.contains("row 1, column \"lang\"") && message.contains("null"), "{message}");
    write_table(&path, &[("lang", &[Some("de")]), ("data", &[Some("{\"yes\": 1}")])]);
    let message = error(&folder);
    assert!(message.contains("row 0, column \"data\""), "{message}");
}

/// Damage at many places of the two large files: an error or other values, never a panic. Takes half a minute.
#[test]
#[ignore = "slow"]
fn damage_anywhere_never_panics() {
    let folder = copy();
    for file in ["texts.parquet", "images64_webp.parquet"] {
        let path = folder.path().join(file);
        let bytes = fs::read(&path).unwrap();
        let mut refused = 0;
        for number in 0..120u64 {
            let mut damaged = bytes.clone();
            let random = burn_vlm_data::random::mix(number, 1) as usize;
            let at =
                if number.is_multiple_of(3) { bytes.len() - 1 - random % 1500 } else { random % (bytes.len() - 8) };
            damaged[at] ^= 1 << (number % 8);
            fs::write(&path, &damaged).unwrap();
            refused += usize::from(EmojiCorpus::open(folder.path()).is_err());
        }
        println!("{file}: {refused} of 120 refused");
        fs::write(&path, &bytes).unwrap();
    }
}
