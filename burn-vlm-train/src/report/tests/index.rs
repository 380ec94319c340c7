//! The page over several studies.

use super::fake;
use crate::report::{
    Card, CardPaper, IndexEntry, Progress, ReportInput, index_html, index_markdown, summarise, write_report,
};

const SEEDS: [u64; 2] = [0, 1];

/// What a study has written for the page.
fn card() -> Card {
    let spec = fake::two_by_two();
    let summary = summarise(&spec, fake::outcomes(&spec, &SEEDS, 40), fake::provenance(&SEEDS)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Card::read(folder.path()).unwrap(), None);
    let input = ReportInput { spec: &spec, summary: &summary, losses: &[], examples: &[], sections: &[] };
    write_report(folder.path(), &input).unwrap();
    Card::read(folder.path()).unwrap().unwrap()
}

fn entry(name: &str, progress: Progress, card: Option<Card>) -> IndexEntry {
    let paper = CardPaper { source: "A paper, Table 1".into(), note: "It found <b>.".into() };
    IndexEntry {
        name: name.into(),
        title: "Which <one>?".into(),
        question: "Does A | B help?".into(),
        paper: Some(paper),
        progress,
        card,
    }
}

#[test]
fn each_study_has_question_answer_picture_and_paper() {
    let card = card();
    // The largest step first, all in one sentence.
    assert!(
        card.answer.contains("Encoder: SigLIP 2 (multilingual) instead of SigLIP 1 (English): "),
        "{}",
        card.answer
    );
    assert!(card.answer.contains("Finetuning data: En + Multi instead of En: ") && card.answer.ends_with('.'));
    assert_eq!(card.answer.matches("; ").count(), 1, "{}", card.answer);
    assert!(card.best.starts_with("Highest scores: En "), "{}", card.best);
    let picture = card.picture.clone().unwrap();
    assert!(picture.wide.starts_with("<svg") && picture.narrow.starts_with("<svg") && picture.wide != picture.narrow);
    let entries = [
        entry("first", Progress::Finished, Some(card.clone())),
        entry("second", Progress::Cells(1, 4), None),
        entry("third", Progress::NotBegun, None),
        entry("fourth", Progress::Failed("no <part>".into()), None),
    ];
    let page = index_html("tiny", "Minutes & more", &entries);
    for text in [
        "<h2 id=\"first\">Which &lt;one&gt;?</h2>",
        "<a href=\"#second\">",
        "· finished<",
        "· 1 of 4 cells finished<",
        "· not begun<",
        "· failed<",
        "no &lt;part&gt;",
        "Minutes &amp; more",
        "It found &lt;b&gt;.",
        "<a href=\"first/report.html\">",
    ] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    assert_eq!(page.matches("report.html").count(), 1, "only what is there is linked");
    assert!(page.contains(&picture.wide) && page.contains(&picture.narrow));
    let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "//", "<script", "<link", "@import", "url(h"] {
        assert!(!without_namespace.contains(outside), "the page has `{outside}`");
    }
    for tag in ["svg", "dl", "figure", "div", "p"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    let md = index_markdown("tiny", "Minutes & more", &entries);
    for text in [
        "| `first` | Which \\<one>? ([report](first/report.html)) | finished |",
        "| `second` | Which \\<one>? | 1 of 4 cells finished |",
        "Does A \\| B help?",
        "**Failed**: no \\<part>",
        "(first/plots/scores.svg)",
    ] {
        assert!(md.contains(text), "no {text} in {md}");
    }
    assert_eq!(md.matches("scores.svg").count(), 1);
}
