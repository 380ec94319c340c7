//! Tables of translations.

use burn_vlm_data::language::Language;
use burn_vlm_eval::build::Translations;

fn read(name: &str, text: &str, language: Option<Language>) -> Result<Translations, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    let mut all = Translations::default();
    all.read(&file, language).map_err(|error| error.to_string())?;
    Ok(all)
}

#[test]
fn by_item_and_by_text() {
    let all = read(
        "t.jsonl",
        concat!(
            r#"{"id": "a/1", "field": "A", "source": "left", "translation": "links", "lang": "de", "score": 0.9}"#,
            "\n",
            r#"{"source": "left", "translation": "übrig", "lang": "German"}"#,
            "\n",
            r#"{"source": "left", "translation": "gauche", "lang": "fr"}"#,
            "\n",
            r#"{"source": "left", "translation": "parti", "lang": "fr"}"#,
            "\n",
            r#"{"source": "right", "translation": null, "lang": "fr"}"#,
        ),
        None,
    )
    .unwrap();
    let found = all.of_item(Language::DE, &["1", "a/1"], "A").unwrap();
    assert_eq!((found.text.as_str(), found.score), ("links", Some(0.9)));
    assert_eq!(all.of_text(Language::DE, "left").unwrap().text, "übrig");
    assert_eq!(all.of_text(Language::FR, "left"), None, "two meanings");
    assert_eq!((all.languages.clone(), all.empty), (vec![(Language::DE, 2), (Language::FR, 2)], 1));
}

#[test]
fn what_says_too_little_is_refused() {
    for (text, words) in [
        ("source\ttranslation\na\tb\n", "no column \"lang\""),
        ("lang\ttranslation\nde\tb\n", "no column \"id\""),
        ("id\tlang\ttranslation\n1\tde\tb\n", "no column \"field\""),
        ("source\tlang\ttranslation\na\tgermn\tb\n", "line 2"),
        ("id\tfield\tlang\ttranslation\n1\tA\tde\tb\n1\tA\tde\tc\n", "stands on line 2; keep one"),
        ("source\tlang\ttranslation\tscore\na\tde\tb\thigh\n", "expected a number"),
        ("id\tfield\tsource\tlang\ttranslation\n1\t\t\tde\tb\n", "say which text"),
    ] {
        let error = read("t.tsv", text, None).unwrap_err();
        assert!(error.contains(words) && error.contains("t.tsv"), "{error}");
    }
    assert!(read("t.tsv", "source\ttranslation\na\tb\n", Some(Language::DE)).is_ok());
}
