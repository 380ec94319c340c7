//! The mixture file beside an exported data set, with what one could change in it.

use std::fmt::Write;

use burn_vlm_data::source::write::WriteFormat;

use super::export::Exported;

/// The text of `mixture.toml`: one source for each file.
pub(super) fn mixture_file(files: &[Exported], format: WriteFormat, seed: u64) -> String {
    let total: u64 = files.iter().map(|file| file.written.samples).sum();
    let mut text = format!(
        "# Training samples of the embedded emoji corpus, one source for each task.\n\
         # Look at them: cargo run --release --example data -- inspect mixture.toml --html page.html\n\
         name = \"emoji\"\n\
         # Which samples are drawn, and in which order.\n\
         seed = {seed}\n\n\
         # Every sample is drawn once an epoch. So many of them, in these ratios by language:\n\
         # total = {}\n\
         # languages = {{ list = [\"en\", \"de\"], english = \"50%\" }}    # or a set: languages = \"parrot-6\"\n\
         # Without the sources that have a tag:\n\
         # exclude_tags = [\"{}\"]\n",
        total / 2,
        files.last().map_or("", |file| file.task.as_str()),
    );
    for Exported { task, written, .. } in files {
        let name = task.as_str();
        let _ = write!(
            text,
            "\n[[source]]\n\
             name = \"{name}\"\n\
             path = \"{}\"\n\
             format = \"{}\"\n\
             language_column = \"language\"     # or, if all samples have one: language = \"en\"\n\
             tags = [\"public\", \"{name}\"]\n",
            written.path,
            format_in_mixtures(format),
        );
        if matches!(format, WriteFormat::Json | WriteFormat::Jsonl) {
            text.push_str("image_root = \".\"                 # where the paths of pictures and videos begin\n");
        }
        text.push_str("take = \"all\"                     # or first:100, random:10%, ...\n");
    }
    text
}

/// A format as a mixture file calls it.
fn format_in_mixtures(format: WriteFormat) -> &'static str {
    match format {
        WriteFormat::Json => "llava_json",
        WriteFormat::Jsonl => "llava_jsonl",
        WriteFormat::Parquet => "parquet",
        WriteFormat::WebDataset => "webdataset",
        WriteFormat::Tsv => "vlmevalkit_tsv",
    }
}
