//! Markdown, CSV, HTML and the files.

use std::fs;

use super::fake;
use crate::report::{
    Example, ExampleAnswer, ExamplePicture, HeatMap, ReportInput, Scatter, ScatterPoint, Section, StudySpec, Summary,
    blind_scores, csv, differences_csv, html, latex, markdown, paper_entry, summarise, write_report,
};
use crate::stats::Axes;

const SEEDS: [u64; 2] = [0, 1];

fn study() -> (StudySpec, Summary) {
    let spec = fake::two_by_two();
    let outcomes = fake::outcomes(&spec, &SEEDS, 40);
    let summary = summarise(&spec, &outcomes, fake::provenance(&SEEDS)).unwrap();
    (spec, summary)
}

fn example(prompt: &str, options: &[&str], scores: &[f64], right: usize) -> Example {
    Example {
        axes: Axes::from([("encoder".into(), "siglip2".into()), ("data".into(), "en".into())]),
        group: fake::group("cloze", "near", "seen"),
        language: "de".into(),
        picture: Some(ExamplePicture {
            media_type: "image/webp".into(),
            bytes: vec![0, 1, 2],
            description: "a \"red\" apple".into(),
        }),
        prompt: prompt.into(),
        answer: ExampleAnswer::Choice {
            options: options.iter().map(|text| (*text).to_owned()).zip(scores.iter().copied()).collect(),
            right,
        },
    }
}

fn page(spec: &StudySpec, summary: &Summary, examples: &[Example]) -> String {
    html(&ReportInput { spec, summary, losses: &fake::losses(spec, &SEEDS, 100), examples, sections: &[] })
}

#[test]
fn markdown_has_tables_caveats_and_the_paper() {
    let (spec, summary) = study();
    let md = markdown(&spec, &summary, &[], true);
    let best = summary.score(&spec.headline, &summary.table[0].axes, "En").unwrap();
    for text in [
        "| Encoder · Finetuning data | En (N = 40) | Multi (N = 160) | Unseen (N = 80) |",
        &format!("| SigLIP 1 (English) · En | {:.1} ({:.1}–{:.1}) |", best.score, best.low, best.high),
        "## Other protocols",
        "### lettered · far distractors · seen concepts (chance 0.39 %)",
        "ours is a tiny model on icons",
        "| SigLIP 1 (English) · En | 67.4 | 60.2 | 78.3 | 81.2 |",
        "| SigLIP 2 (multilingual) − SigLIP 1 (English), with En | +1.9 | +6.9 | −1.1 | −0.1 |",
        "results show mechanisms, not real-world quality",
        "not corrected for the number of comparisons; Holm's p-values are",
        "95 % bootstrap interval over items and 2 seeds together",
        "Holm: the same corrected for the 45 comparisons of all protocols of the headline",
        "Seeds that would give a difference a standard error of one point",
        "- seen concepts: training shows them, in other styles of drawing",
        "| Order of the cells, as the paper has it | Kendall's tau | Cells | p, exact | smallest possible p |",
        "```sh\ncargo run --release --example ablate_encoder -- --preset tiny\n```",
        "- Training: 8 min 32 s",
    ] {
        assert!(md.contains(text), "no `{text}` in\n{md}");
    }
}

#[test]
fn a_paper_without_numbers_says_what_it_found() {
    let (mut spec, summary) = study();
    let paper = spec.paper.as_mut().unwrap();
    paper.rows.clear();
    paper.note = "little to no positive effect".to_owned();
    for text in [markdown(&spec, &summary, &[], true), page(&spec, &summary, &[])] {
        assert!(text.contains("Beside the paper") && text.contains("little to no positive effect"), "{text}");
        assert!(!text.contains("there and here"), "{text}");
    }
}

#[test]
fn markdown_escapes_what_would_break_a_table() {
    let (mut spec, summary) = study();
    spec.axes[0].values[0].label = "a|b <i>*c*".to_owned();
    assert!(markdown(&spec, &summary, &[], false).contains(r"| a\|b \<i>\*c\* · En |"));
}

#[test]
fn csv_has_a_line_for_each_score() {
    let (spec, summary) = study();
    let bytes = csv(&spec, &summary).unwrap();
    let mut reader = ::csv::Reader::from_reader(&bytes[..]);
    let head = reader.headers().unwrap().clone();
    let expected = "scope,encoder,data,column,protocol,distractors,concepts,n,seeds,seed,score,low,high,chance,over";
    assert_eq!(head.iter().collect::<Vec<_>>().join(","), expected);
    let lines: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(lines.len(), summary.table.len() + summary.languages.len() + summary.cells.len());
    assert_eq!(lines[0][10].parse::<f64>().unwrap(), summary.table[0].score);
}

#[test]
fn differences_have_a_line_each() {
    let (_, summary) = study();
    let bytes = differences_csv(&summary).unwrap();
    let mut reader = ::csv::Reader::from_reader(&bytes[..]);
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let lines: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(lines.len(), summary.differences.len());
    let value = |line: usize, name: &str| {
        let at = head.iter().position(|known| known == name).unwrap_or_else(|| panic!("no {name} in {head:?}"));
        lines[line][at].to_owned()
    };
    let (first, test) = (&summary.differences[0], summary.differences[0].test.unwrap());
    assert_eq!((value(0, "within"), value(0, "against")), ("data=en".to_owned(), String::new()));
    assert_eq!(value(0, "difference").parse::<f64>().unwrap(), first.difference);
    assert_eq!((value(0, "p_holm").parse::<f64>().unwrap(), value(0, "family")), (test.p_holm, "45".to_owned()));
    assert_eq!((value(0, "over"), value(0, "distractors")), ("items_and_seeds".to_owned(), "far".to_owned()));
    let interaction = summary.differences.iter().position(|d| d.against.is_some()).unwrap();
    assert_eq!(value(interaction, "against"), "data=en+multi");
}

#[test]
fn the_report_needs_nothing_outside_itself() {
    let (spec, summary) = study();
    let examples = [example("Was ist das?", &["Apfel", "Birne"], &[-0.5, -1.5], 0)];
    let page = page(&spec, &summary, &examples);
    // Names of what is drawn and of what is cited, which nobody follows.
    let without_names = page.replace("http://www.w3.org/2000/svg", "").replace(env!("CARGO_PKG_REPOSITORY"), "");
    for outside in ["http:", "https:", "//", "<script", "<link", "<iframe", "@import", "url(h"] {
        assert!(!without_names.contains(outside), "the page has `{outside}`");
    }
    assert!(page.contains("src=\"data:image/webp;base64,AAEC\" alt=\"a &quot;red&quot; apple\""));
    assert!(page.contains("✓ right") && page.contains("prefers-color-scheme:dark"));
    for section in
        ["scores", "differences", "languages", "protocols", "losses", "examples", "paper", "caveats", "provenance"]
    {
        assert!(page.contains(&format!("<h2 id=\"{section}\">")), "no section {section}");
        assert!(page.contains(&format!("href=\"#{section}\"")), "no link to {section}");
    }
}

#[test]
fn the_report_escapes_everything() {
    const EVIL: &str = "<script>alert('1')</script>\"&";
    let (mut spec, mut summary) = study();
    for text in [&mut spec.title, &mut spec.question, &mut spec.study, &mut spec.preset, &mut spec.caveats[0]] {
        *text = EVIL.to_owned();
    }
    spec.axes[0].values[0].label = EVIL.to_owned();
    spec.axes[0].label = EVIL.to_owned();
    spec.columns[1].explanation = EVIL.to_owned();
    spec.protocols[0].explanation = EVIL.to_owned();
    spec.protocols[0].label = EVIL.to_owned();
    spec.language_names.insert("de".to_owned(), EVIL.to_owned());
    let provenance = &mut summary.provenance;
    for text in [&mut provenance.command, &mut provenance.recipe, &mut provenance.device, &mut provenance.commit] {
        *text = EVIL.to_owned();
    }
    provenance.more.insert(EVIL.to_owned(), EVIL.into());
    let mut examples = [example(EVIL, &[EVIL, "x"], &[f64::NAN, f64::NEG_INFINITY], 7)];
    examples[0].language = EVIL.to_owned();
    if let Some(picture) = &mut examples[0].picture {
        (picture.media_type, picture.description) = (EVIL.to_owned(), EVIL.to_owned());
    }
    let page = page(&spec, &summary, &examples);
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
    // Only the document's own elements open and close.
    for tag in ["svg", "table", "details", "article", "ul", "dl", "figure", "div"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn words_follow_the_intervals() {
    let (spec, mut summary) = study();
    for difference in &mut summary.differences {
        difference.excludes_zero = false;
    }
    let md = markdown(&spec, &summary, &[], false);
    // Twelve in each of the headline's three protocols; what could have been found must follow.
    let text = "None of the 36 differences between cells, in 3 protocols, has a 95 % interval that excludes 0: no difference could be \
                shown. The smallest difference that this run would have found four times of five is ";
    assert!(md.contains(text), "{md}");

    let encoder_en = |d: &&mut crate::report::Difference| {
        d.axis == "encoder"
            && d.column == "Multi"
            && d.against.is_none()
            && d.within["data"] == "en"
            && d.group() == spec.headline
    };
    let difference = summary.differences.iter_mut().find(encoder_en).unwrap();
    (difference.difference, difference.low, difference.high) = (4.1, 1.2, 7.0);
    difference.excludes_zero = true;
    let md = markdown(&spec, &summary, &[], false);
    let text = "- **Encoder: SigLIP 2 (multilingual) instead of SigLIP 1 (English)**: one of 6 differences has a 95 % interval \
                that excludes 0 (Multi, with En: +4.1 (+1.2 to +7.0)).";
    assert!(md.contains(text), "{md}");
    let text = "- **Finetuning data: En + Multi instead of En**: no difference could be shown, no 95 % interval of one excludes 0 (6 \
                compared). The smallest difference that this run would have found";
    assert!(md.contains(text), "{md}");
    assert!(md.contains("In all 3 protocols the intervals of 1 of 18 exclude 0."), "{md}");

    // What stands after the correction is named, wherever it is.
    for difference in &mut summary.differences {
        difference.test.as_mut().unwrap().p_holm = 1.0;
    }
    let found = summary.differences.iter_mut().find(encoder_en).unwrap();
    found.test.as_mut().unwrap().p_holm = 0.01;
    let md = markdown(&spec, &summary, &[], false);
    let label = spec.group_label(&spec.headline);
    assert!(md.contains(&format!("1 stands: Multi, with En +4.1 in {label}.")), "{md}");

    // Scores at the floor do not have the power of no spread.
    for difference in &mut summary.differences {
        difference.excludes_zero = false;
        difference.test.as_mut().unwrap().detectable = 0.0;
    }
    let md = markdown(&spec, &summary, &[], false);
    assert!(md.contains("All scores are the same here") && !md.contains("four times of five is 0.0"), "{md}");
}

#[test]
fn all_files_are_written_and_written_again_alike() {
    let (spec, summary) = study();
    let losses = fake::losses(&spec, &SEEDS, 100);
    let input = ReportInput { spec: &spec, summary: &summary, losses: &losses, examples: &[], sections: &[] };
    let folder = tempfile::tempdir().unwrap();
    let paths = write_report(folder.path(), &input).unwrap();
    let names: Vec<String> =
        paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
    for name in ["report.html", "summary.md", "summary.csv", "summary.json", "plots/scores.svg", "plots/losses.png"] {
        assert!(names.iter().any(|written| written == name), "{name} is not among {names:?}");
    }
    let read = || paths.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let first = read();
    write_report(folder.path(), &input).unwrap();
    assert!(first == read(), "the same input gave other bytes");
    let back: Summary = serde_json::from_slice(&fs::read(folder.path().join("summary.json")).unwrap()).unwrap();
    assert_eq!(back, summary);
}

#[test]
fn sections_of_the_study_stand_in_page_markdown_and_files() {
    let (spec, summary) = study();
    let maps = vec![HeatMap {
        title: "Weights & <rows>".into(),
        rows: vec!["en".into(), "ru".into()],
        columns: vec!["1".into(), "2".into()],
        values: vec![vec![0.25, 0.75], vec![0.5, 0.5]],
    }];
    let point = |x: f32, series: Option<usize>, filled: bool| ScatterPoint { at: [x, -x], series, filled };
    let points = vec![point(0.0, None, true), point(1.0, Some(0), false), point(f32::NAN, Some(1), true)];
    let panel = Scatter { title: "before".into(), note: "n = 3".into(), points };
    let section = Section::new("routing", "Who is routed where")
        .finding("Routing", "Nobody is routed <anywhere>")
        .text("A | B <b>")
        .table("Cell", &["bits"], vec![("Parrot".into(), vec!["0.19".into()])])
        .heat_maps("routing", "Routing", "Mean weights", maps)
        .scatters("tsne", "Maps", "Points", (&["en".into(), "ru".into()], "pictures", "names"), vec![panel]);
    let sections = [section];
    let input = ReportInput { spec: &spec, summary: &summary, losses: &[], examples: &[], sections: &sections };
    let page = html(&input);
    assert!(page.contains("<h2 id=\"routing\">Who is routed where</h2>") && page.contains("href=\"#routing\""));
    assert!(
        page.contains("A | B &lt;b&gt;") && page.contains("Weights &amp; &lt;rows&gt;") && page.contains(">.75</text>")
    );
    let md = markdown(&spec, &summary, &sections, true);
    assert!(page.contains("<b>Routing</b>: Nobody is routed &lt;anywhere&gt;"));
    assert!(md.contains("- **Routing**: Nobody is routed"), "{md}");
    assert!(md.contains("## Who is routed where") && md.contains("| Parrot | 0.19 |"), "{md}");
    assert!(md.contains("](plots/routing.svg)") && md.contains("](plots/tsne.svg)"), "{md}");
    let folder = tempfile::tempdir().unwrap();
    write_report(folder.path(), &input).unwrap();
    for name in ["routing.svg", "routing.png", "tsne.svg", "tsne.png"] {
        assert!(folder.path().join("plots").join(name).is_file(), "{name}");
    }
    // a point without a place is not drawn
    let drawn = fs::read_to_string(folder.path().join("plots/tsne.svg")).unwrap();
    assert!(!drawn.contains("NaN"));
}

#[test]
fn a_warning_stands_at_the_top_of_everything() {
    let mut spec = fake::two_by_two();
    spec.warning = Some("These scores mean <nothing>".to_owned());
    let summary = summarise(&spec, fake::outcomes(&spec, &SEEDS, 10), fake::provenance(&SEEDS)).unwrap();
    let md = markdown(&spec, &summary, &[], false);
    let page = page(&spec, &summary, &[]);
    let json: serde_json::Value = serde_json::from_slice(&summary.to_json().unwrap()).unwrap();
    assert_eq!(json["warning"], "These scores mean <nothing>");
    assert!(md.find("**These scores mean").unwrap() < md.find("## Result").unwrap(), "{md}");
    let warned = page.find("<b>These scores mean &lt;nothing&gt;</b>").unwrap();
    assert!(warned < page.find("class=\"finding\"").unwrap());
    // Nothing is said to be higher or to differ, by the table alone or by a section of the study's own.
    assert!(md.contains("- **Nothing is concluded from these scores.**\n\n## Scores"), "{md}");
    assert!(!md.contains("Highest scores") && !page.contains("Highest scores") && !page.contains("class=\"clear\""));
    let section = Section::new("added", "Added").finding("Experts", "They differ.");
    assert!(!markdown(&spec, &summary, std::slice::from_ref(&section), false).contains("They differ."));
    assert!(latex(&spec, &summary).contains("\\caption{These scores mean $<$nothing$>$"));
}

#[test]
fn blind_scores_stand_beside_chance() {
    let (spec, mut summary) = study();
    // A fifth of the headline's questions are guessed rightly without the picture.
    let mut outcomes = fake::outcomes(&spec, &SEEDS, 40);
    outcomes.retain(|outcome| outcome.protocol == spec.headline.protocol && outcome.subset == spec.headline.subset);
    outcomes.iter_mut().for_each(|outcome| outcome.score = f64::from(u8::from(outcome.group.ends_with(['0', '5']))));
    assert_eq!(blind_scores(&spec, Vec::new()).unwrap(), []);
    summary.blind = blind_scores(&spec, outcomes).unwrap();
    assert_eq!(summary.blind.len(), 4 * 3);
    let first = &summary.blind[0];
    assert_eq!((first.score, first.n, first.seeds, first.chance), (20.0, 40, 2, Some(25.0)));
    let md = markdown(&spec, &summary, &[], false);
    assert!(md.contains("They are 20.0 to 20.0 %; guessing scores 25 %."), "{md}");
    assert!(page(&spec, &summary, &[]).contains("Without the picture (blind)"));
}

#[test]
fn the_report_says_how_to_cite_it() {
    let (spec, mut summary) = study();
    summary.provenance.commit = "0123456789ab\nba9876543210".to_owned();
    let md = markdown(&spec, &summary, &[], false);
    for text in ["```bibtex\n@software{burn_vlm,", "note = {Commit 0123456789ab, ba9876543210}", "@misc{towervision,"] {
        assert!(md.contains(text), "no `{text}` in\n{md}");
    }
    assert!(page(&spec, &summary, &[]).contains("@software{burn_vlm,"));
    // Braces that do not close would break a reader's whole list.
    for entry in [paper_entry("TowerVision, Table 4"), paper_entry("Parrot, Table 6")] {
        let entry = entry.unwrap();
        assert_eq!(entry.matches('{').count(), entry.matches('}').count(), "{entry}");
    }
    assert_eq!(paper_entry("Another paper"), None);
}

#[test]
fn tables_for_latex_have_every_score() {
    let (mut spec, summary) = study();
    spec.axes[0].values[0].label = "50 % & x_1".to_owned();
    let tex = latex(&spec, &summary);
    let score = summary.score(&spec.headline, &summary.table[0].axes, "En").unwrap();
    let entry = format!(
        "50 \\% \\& x\\_1 $\\cdot$ En & {:.1} {{\\scriptsize [{:.1}--{:.1}]}}",
        score.score, score.low, score.high
    );
    for text in ["\\begin{tabular}{lrrr}", "\\toprule", "\\bottomrule", "\\label{tab:encoder-differences}", &entry] {
        assert!(tex.contains(text), "no `{text}` in\n{tex}");
    }
    assert_eq!(tex.matches("\\begin{").count(), tex.matches("\\end{").count());
    assert!(!tex.contains('−') && !tex.contains('·'), "{tex}");
}
