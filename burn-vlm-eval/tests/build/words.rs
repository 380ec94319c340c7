//! What is asked for below a question, and the words for yes and no.

use burn_vlm_data::language::Language;
use burn_vlm_eval::build::AnswerWords;

fn of(tag: &str, given: &str) -> Result<AnswerWords, String> {
    AnswerWords::of(Language::parse(tag).unwrap(), &toml::from_str(given).unwrap())
}

#[test]
fn words_are_the_librarys_or_the_users() {
    let german = of("de", "").unwrap();
    assert_eq!((german.word(true), german.word(false), german.given), (Some("ja"), Some("nein"), false));
    let spanish = of("es", "").unwrap();
    assert_eq!(spanish.cell(true), "sí|si.");
    let swahili = of("sw", "").unwrap();
    assert_eq!((swahili.word(true), &swahili.yes_no, &swahili.letter), (None, &None, &None));
    let given =
        of("sw", "[sw]\nyes_no = \"Jibu ndiyo au hapana.\"\nyes = [\"ndiyo\"]\nno = [\"hapana\", \"la\"]").unwrap();
    assert_eq!((given.word(true), given.cell(false).as_str()), (Some("ndiyo"), "hapana|la"));
    assert_eq!(of("de", "[de]\nletter = \"Nur der Buchstabe.\"").unwrap().letter.unwrap(), "Nur der Buchstabe.");
    let english = AnswerWords::english_for(Language::DE);
    assert_eq!((english.language, english.word(false)), (Language::DE, Some("no")));
}

#[test]
fn words_that_cannot_be_told_apart_are_refused() {
    for (given, words) in [
        ("yes = [\"ndiyo\"]", "give both lists"),
        ("yes = [\"ndiyo\"]\nno = [\"hapana\"]", "no `yes_no`"),
        ("yes_no = \"?\"\nyes = [\"la\"]\nno = [\"la\"]", "is not read as no"),
        ("yes_no = \"?\"\nyes = [\"+\"]\nno = [\"la\"]", "is not read as yes"),
        ("yes_no = \"?\"\nyes = [\"a|b\"]\nno = [\"la\"]", "is no word"),
        ("yes_no = \"?\"\nyes = [\"ndiyo\"]\nno = [\"\"]", "is no word"),
    ] {
        let error = of("sw", &format!("[sw]\n{given}")).unwrap_err();
        assert!(error.contains(words) && error.contains("[sw]"), "{error}");
    }
}
