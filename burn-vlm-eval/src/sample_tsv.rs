//! Small files of questions for tests.

use std::path::Path;

use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::published::{Items, Published};
use crate::rules::Rules;

/// One pixel, as PNG in base64.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Writes `NAME.tsv`; columns stand apart by `|`, and `@` is a picture.
pub fn write(folder: &Path, name: &str, rows: &[&str]) {
    let text: String = rows.iter().map(|row| row.replace('|', "\t").replace('@', PIXEL) + "\n").collect();
    std::fs::write(folder.join(format!("{name}.tsv")), text).unwrap();
}

/// Reads `FILES.tsv` with further settings.
pub fn read(
    folder: &Path,
    benchmark: &dyn Published,
    files: &str,
    settings: &str,
    rules: Rules,
) -> Result<Items, BenchmarkError> {
    let file: FileRecipe = toml::from_str(&format!("name = 'x'\nfile = '{files}.tsv'\n{settings}")).unwrap();
    benchmark.read(&file, folder, rules)
}

/// Reads the rows as the file `NAME.tsv`.
pub fn of_rows(benchmark: &dyn Published, name: &str, rows: &[&str], rules: Rules) -> Result<Items, BenchmarkError> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), name, rows);
    read(folder.path(), benchmark, name, "", rules)
}

/// What is wrong with the rows.
pub fn error_of(benchmark: &dyn Published, name: &str, rows: &[&str], rules: Rules) -> String {
    of_rows(benchmark, name, rows, rules).map(|items| items.items).unwrap_err().to_string()
}
