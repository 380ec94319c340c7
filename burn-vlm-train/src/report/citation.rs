//! BibTeX entries: of this software at its version and commit, and of the papers whose numbers stand beside ours.

/// The papers whose studies ship, by the name with which their `source` begins.
const PAPERS: [(&str, &str); 2] = [
    (
        "TowerVision",
        "@misc{towervision,\n  title = {{TowerVision}: Understanding and Improving Multilinguality in Vision-Language Models},\n  \
         author = {Viveiros, Andr{\\'e} G. and Fernandes, Patrick and Santos, Saul and Sannigrahi, Sonal and Zaranis, Emmanouil and \
         Guerreiro, Nuno M. and Farajian, Amin and Colombo, Pierre and Neubig, Graham and Martins, Andr{\\'e} F. T.},\n  year = {2025},\n  \
         eprint = {2510.21849},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        "Parrot",
        "@inproceedings{parrot,\n  title = {{Parrot}: Multilingual Visual Instruction Tuning},\n  author = {Sun, Hai-Long and Zhou, Da-Wei \
         and Li, Yang and Lu, Shiyin and Yi, Chao and Chen, Qing-Guo and Xu, Zhao and Luo, Weihua and Zhang, Kaifu and Zhan, De-Chuan and \
         Ye, Han-Jia},\n  booktitle = {Proceedings of the 42nd International Conference on Machine Learning},\n  series = {Proceedings of \
         Machine Learning Research},\n  volume = {267},\n  year = {2025}\n}",
    ),
];

/// The entry of a paper by what a study gives as its source: `TowerVision, Table 5`.
pub fn paper_entry(source: &str) -> Option<&'static str> {
    PAPERS.iter().find(|(name, _)| source.starts_with(name)).map(|(_, entry)| *entry)
}

/// The entry of this software: its version, and the commit that made the result.
pub fn software_entry(commit: &str) -> String {
    let (version, url) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_REPOSITORY"));
    // Several commits, where cells were made by several, and what git says of changes are kept, as one note.
    let commits: Vec<&str> = commit.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let note = match commits.is_empty() {
        true => String::new(),
        false => format!(",\n  note = {{Commit {}}}", commits.join(", ")),
    };
    format!(
        "@software{{burn_vlm,\n  title = {{burn-vlm: training, evaluation and ablations of multilingual vision-language models}},\n  \
         version = {{{version}}},\n  url = {{{url}}}{note}\n}}"
    )
}

/// The entries of a study: the software's, then the papers'.
pub(super) fn bibtex(spec: &super::StudySpec, summary: &super::Summary) -> String {
    let software = software_entry(&summary.provenance.commit);
    let entries: Vec<&str> =
        std::iter::once(software.as_str()).chain(spec.citations.iter().map(String::as_str)).collect();
    entries.join("\n\n")
}
