//! Suites: the benchmarks of a paper's tables in one file, with where their files come from and the averages that the paper takes.
//!
//! ```toml
//! [suite]
//! name = "Parrot, Table 1"
//! paper = "arXiv:2406.02539"
//! data = "../data"                  # where relative paths of the benchmarks begin; from this file's folder
//!
//! [[benchmark]]                     # as in a study
//! name = "mmmb"
//! kind = "mmmb"
//! file = "mmmb_{en,cn,pt,ar,tr,ru}.tsv"
//! from = "where the file is published"
//! md5 = { "mmmb_en.tsv" = "..." }   # where known; or sha256
//!
//! [[average]]
//! name = "MMMB"
//! of = ["mmmb"]                     # benchmarks, or scores of theirs (`pope_f1`)
//! languages = ["en", "zh-Hans"]     # of these languages; all where absent
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::FileError;
use burn_vlm_data::source::pattern_paths;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use toml::{Table, Value};

use super::BenchmarkError;
use crate::ablation::parse_toml;
use crate::error::{Result, TrainError};
use crate::recipe::SuiteUse;
use crate::report::ModelScore;

/// Bytes that are hashed at once.
const CHUNK: usize = 1 << 20;

/// A suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: Option<String>,
    /// The paper whose tables it stands for.
    pub paper: Option<String>,
    /// The tables of `[[benchmark]]`, with their paths made whole.
    pub benchmarks: Vec<Table>,
    /// Where each benchmark's files come from, by its name.
    pub origins: BTreeMap<String, Origin>,
    /// The averages that the paper takes.
    pub averages: Vec<Average>,
}

/// Where a benchmark's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// In words.
    pub from: Option<String>,
    /// MD5 by name of file, where known.
    pub md5: BTreeMap<String, String>,
    /// SHA-256 by name of file, where known.
    pub sha256: BTreeMap<String, String>,
}

/// A mean over benchmarks, by the name under which a paper gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// Its name.
    pub name: String,
    /// Names of benchmarks (their first score) or of scores.
    pub of: Vec<String>,
    /// Only these languages; where absent, each score's mean over all of its languages.
    #[serde(default)]
    pub languages: Vec<String>,
    /// What the paper takes it over, for the report.
    #[serde(default)]
    pub explanation: String,
}

/// An average with its value, in percent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedAverage {
    /// Its name.
    pub name: String,
    /// What it is taken over.
    pub explanation: String,
    /// The scores that it is the mean of, with their languages.
    pub of: Vec<String>,
    /// Number of questions.
    pub n: usize,
    /// The mean.
    pub score: f64,
    /// Lower end of the 95 % interval. The scores' intervals are taken for independent: those of the same pictures in several languages
    /// are not, so that it is too narrow for such.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Files of a suite that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The benchmark.
    pub benchmark: String,
    /// The file or folder.
    pub file: PathBuf,
    /// Where it is published.
    pub from: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: {}", self.benchmark, self.file.display())?;
        self.from.as_ref().map_or(Ok(()), |from| write!(f, " (published: {from})"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    suite: About,
    #[serde(default)]
    average: Vec<Average>,
    #[serde(default)]
    benchmark: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    name: String,
    about: Option<String>,
    paper: Option<String>,
    data: Option<PathBuf>,
}

impl Suite {
    /// Reads a suite's file. `data` takes the place of the folder that it names.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, a benchmark without a name, an average over nothing.
    pub fn load(path: &Path, data: Option<&Path>) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(FileError::io("read", path))?;
        let written: Written = parse_toml(path, &text).map_err(|error| TrainError::Recipe(error.to_string()))?;
        let wrong = |message: String| TrainError::Recipe(format!("{}: {message}", path.display()));
        let folder = path.parent().unwrap_or(Path::new(""));
        let root = match (data, &written.suite.data) {
            (Some(data), _) => data.to_owned(),
            (None, Some(data)) => folder.join(data),
            (None, None) => folder.to_owned(),
        };
        let (mut benchmarks, mut origins) = (Vec::new(), BTreeMap::new());
        for (number, mut table) in written.benchmark.into_iter().enumerate() {
            let Some(name) = table.get("name").and_then(Value::as_str).map(str::to_owned) else {
                return Err(wrong(format!("[[benchmark]] {number} has no `name`")));
            };
            let origin = Origin::take(&mut table).map_err(|message| wrong(format!("benchmark {name:?}: {message}")))?;
            for key in ["file", "image_root", "video_root"] {
                if let Some(Value::String(path)) = table.get_mut(key) {
                    *path = root.join(&*path).to_string_lossy().into_owned();
                }
            }
            origins.insert(name, origin);
            benchmarks.push(table);
        }
        if benchmarks.is_empty() {
            return Err(wrong("the suite has no [[benchmark]]".into()));
        }
        for average in &written.average {
            if average.of.is_empty() {
                return Err(wrong(format!("the average {:?} is of nothing: give `of = [..]`", average.name)));
            }
            let is_known = |of: &String| origins.keys().any(|name| of == name || of.starts_with(&format!("{name}_")));
            if let Some(unknown) = average.of.iter().find(|of| !is_known(of)) {
                return Err(wrong(format!("the average {:?}: no benchmark is called {unknown:?}", average.name)));
            }
        }
        let About { name, about, paper, .. } = written.suite;
        Ok(Self { name, about, paper, benchmarks, origins, averages: written.average })
    }

    /// The files that are not there.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn missing(&self) -> Result<Vec<Missing>> {
        missing_files(&self.benchmarks, &self.origins, Path::new(""))
    }

    /// An error that lists every file that is not there.
    ///
    /// # Errors
    /// Files that are not there.
    pub fn check_files(&self) -> Result<()> {
        let missing = self.missing()?;
        if missing.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let message = format!("{}: {} files are not there:\n{}", self.name, missing.len(), lines.join("\n"));
        Err(TrainError::Recipe(message))
    }

    /// Keeps these benchmarks, and the averages that can still be taken.
    pub fn keep(&mut self, only: &[String]) {
        let is_kept = |name: &str| only.iter().any(|kept| name == kept);
        // A score's name begins with its benchmark's; `mmmb_paired` is a benchmark, and no score of `mmmb`.
        let begins =
            |of: &str, name: &str| of == name || of.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        let names: Vec<String> = self.origins.keys().cloned().collect();
        let benchmark = |of: &str| names.iter().filter(|name| begins(of, name)).max_by_key(|name| name.len());
        self.averages.retain(|average| average.of.iter().all(|of| benchmark(of).is_some_and(|name| is_kept(name))));
        self.benchmarks.retain(|table| table.get("name").and_then(Value::as_str).is_some_and(is_kept));
        self.origins.retain(|name, _| is_kept(name));
    }

    /// A line for each file that is not the published one, by the checksums that the suite knows.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn check_sums(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for (benchmark, file) in files(&self.benchmarks)? {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Some(origin) = self.origins.get(&benchmark) else { continue };
            let sums = [("MD5", origin.md5.get(&name)), ("SHA-256", origin.sha256.get(&name))];
            for (kind, wanted) in sums {
                let Some(wanted) = wanted.filter(|_| file.is_file()) else { continue };
                let found = if kind == "MD5" { sum::<Md5>(&file)? } else { sum::<Sha256>(&file)? };
                if !found.eq_ignore_ascii_case(wanted) {
                    lines.push(format!(
                        "{benchmark}: {} is not the published file: its {kind} is {found}, that one's {wanted}",
                        file.display()
                    ));
                }
            }
        }
        Ok(lines)
    }
}

/// The files of `[[benchmark]]` tables, by their names.
fn files(benchmarks: &[Table]) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for table in benchmarks {
        let text = |key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default();
        // The embedded corpus has no file.
        if text("file").is_empty() {
            continue;
        }
        let paths = pattern_paths(text("file")).map_err(|message| BenchmarkError::Setting {
            name: text("name").to_owned(),
            message: format!("`file = {:?}`: {message}", text("file")),
        })?;
        files.extend(paths.into_iter().map(|path| (text("name").to_owned(), path)));
    }
    Ok(files)
}

/// The files of `[[benchmark]]` tables that are not there; relative ones begin at `base`.
///
/// # Errors
/// A pattern that cannot be read.
pub(crate) fn missing_files(
    benchmarks: &[Table],
    origins: &BTreeMap<String, Origin>,
    base: &Path,
) -> Result<Vec<Missing>> {
    let mut missing = Vec::new();
    for (benchmark, file) in files(benchmarks)? {
        let file = base.join(file);
        if !is_there(&file) {
            let from = origins.get(&benchmark).and_then(|origin| origin.from.clone());
            missing.push(Missing { benchmark, file, from });
        }
    }
    Ok(missing)
}

impl SuiteUse {
    /// The suite, its paths made whole.
    ///
    /// # Errors
    /// As [`Suite::load`]; a benchmark in `only` that the suite does not have.
    pub fn load(&self, base: &Path) -> Result<Suite> {
        let data = self.data.as_ref().map(|data| base.join(data));
        let mut suite = Suite::load(&base.join(&self.file), data.as_deref())?;
        if let Some(unknown) = self.only.iter().find(|name| !suite.origins.contains_key(*name)) {
            let known: Vec<&str> = suite.origins.keys().map(String::as_str).collect();
            let message = format!("[suite]: {:?} is none of its benchmarks ({})", unknown, known.join(", "));
            return Err(TrainError::Recipe(message));
        }
        if !self.only.is_empty() {
            suite.keep(&self.only);
        }
        Ok(suite)
    }

    /// The suite's benchmarks, if all of their files are there.
    ///
    /// # Errors
    /// As [`Self::load`]; files that are not there, all of them, with where they are published.
    pub(super) fn benchmarks(&self, base: &Path) -> Result<Vec<Table>> {
        let suite = self.load(base)?;
        suite.check_files()?;
        Ok(suite.benchmarks)
    }
}

impl Origin {
    /// Takes it out of a `[[benchmark]]` table.
    pub(crate) fn take(table: &mut Table) -> Result<Self, String> {
        let mut sums = |key: &str| match table.remove(key) {
            None => Ok(BTreeMap::new()),
            Some(value) => value
                .try_into::<BTreeMap<String, String>>()
                .map_err(|_| format!("`{key}` must be a table from names of files to checksums")),
        };
        let (md5, sha256) = (sums("md5")?, sums("sha256")?);
        let from = match table.remove("from") {
            None => None,
            Some(Value::String(from)) => Some(from),
            Some(_) => return Err("`from` must be a text".into()),
        };
        Ok(Self { from, md5, sha256 })
    }
}

/// Whether a path is there; of one with a wildcard, whether its folder has anything that fits.
fn is_there(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((begin, end)) = name.split_once('*') else { return path.exists() };
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut fitting = names.filter(|name| name.len() >= begin.len() + end.len());
    fitting.any(|name| name.starts_with(begin) && name.ends_with(end.rsplit('*').next().unwrap_or(end)))
}

fn sum<D: Digest>(path: &Path) -> Result<String> {
    let fail = |error| TrainError::from(FileError::io("read", path)(error));
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let (mut hasher, mut chunk) = (D::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk).map_err(fail)? {
            0 => break,
            read => hasher.update(&chunk[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Average {
    /// Its value, or what is missing for it.
    ///
    /// # Errors
    /// The scores or languages that are not there, in words.
    pub fn of(&self, scores: &[ModelScore]) -> Result<NamedAverage, String> {
        let mut taken: Vec<&ModelScore> = Vec::new();
        for name in &self.of {
            let of_metric: Vec<&ModelScore> = scores.iter().filter(|score| score.metric == *name).collect();
            if of_metric.is_empty() {
                return Err(format!("{}: no score {name:?}", self.name));
            }
            if self.languages.is_empty() {
                let whole = of_metric.iter().find(|score| score.language.is_none()).or(of_metric.first());
                taken.extend(whole);
                continue;
            }
            for language in &self.languages {
                match of_metric.iter().find(|score| score.language.as_ref() == Some(language)) {
                    Some(score) => taken.push(score),
                    None => return Err(format!("{}: {name:?} has no score in {language:?}", self.name)),
                }
            }
        }
        let count = taken.len() as f64;
        let mean = |value: fn(&ModelScore) -> f64| taken.iter().map(|score| value(score)).sum::<f64>() / count;
        // Independent errors add as squares.
        let spread =
            |value: fn(&ModelScore) -> f64| taken.iter().map(|score| value(score).powi(2)).sum::<f64>().sqrt() / count;
        let score = mean(|score| score.score);
        let name = |score: &&ModelScore| match &score.language {
            Some(language) => format!("{} ({language})", score.metric),
            None => score.metric.clone(),
        };
        Ok(NamedAverage {
            name: self.name.clone(),
            explanation: self.explanation.clone(),
            of: taken.iter().map(name).collect(),
            n: taken.iter().map(|score| score.n).sum(),
            score,
            low: score - spread(|score| score.score - score.low),
            high: score + spread(|score| score.high - score.score),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Subset;

    fn score(metric: &str, language: Option<&str>, score: f64, half: f64) -> ModelScore {
        ModelScore {
            metric: metric.into(),
            label: metric.into(),
            subset: Subset::default(),
            language: language.map(str::to_owned),
            n: 10,
            score,
            low: score - half,
            high: score + half,
            chance: None,
        }
    }

    #[test]
    fn averages_are_means_of_what_they_name() {
        let scores = [
            score("a", Some("en"), 60.0, 3.0),
            score("a", Some("de"), 40.0, 4.0),
            score("a", None, 50.0, 2.5),
            score("b", Some("en"), 70.0, 4.0),
        ];
        let average = |of: &[&str], languages: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            Average { name: "mean".into(), of: own(of), languages: own(languages), explanation: String::new() }
                .of(&scores)
        };
        let whole = average(&["a", "b"], &[]).unwrap();
        assert_eq!((whole.score, whole.n, whole.of.clone()), (60.0, 20, vec!["a".to_owned(), "b (en)".to_owned()]));
        let english = average(&["a", "b"], &["en"]).unwrap();
        // sqrt(3^2 + 4^2) / 2
        assert_eq!((english.score, english.low, english.high), (65.0, 62.5, 67.5));
        assert_eq!(average(&["a", "b"], &["de"]).unwrap_err(), "mean: \"b\" has no score in \"de\"");
        assert_eq!(average(&["c"], &[]).unwrap_err(), "mean: no score \"c\"");
    }

    #[test]
    fn files_are_looked_for_and_their_sums_compared() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "suite.toml",
            "[suite]\nname = 's'\ndata = 'd'\n[[benchmark]]\nname = 'x'\nkind = 'mmmb'\nfile = 'm_{en,de}.tsv'\nfrom = 'there'\n\
             md5 = { 'm_en.tsv' = '900150983CD24FB0D6963F7D28E17F72', 'm_de.tsv' = '00' }\n\
             sha256 = { 'm_en.tsv' = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad' }\n\
             [[average]]\nname = 'all'\nof = ['x', 'x_group']\n",
        );
        let load = |data| Suite::load(&folder.path().join("suite.toml"), data).unwrap();
        let suite = load(None);
        let missing = suite.missing().unwrap();
        assert_eq!(missing.len(), 2);
        assert_eq!(missing[0].file, folder.path().join("d/m_en.tsv"));
        assert_eq!(missing[0].from.as_deref(), Some("there"));
        assert!(!suite.benchmarks[0].contains_key("from") && !suite.benchmarks[0].contains_key("md5"));
        // The published vectors of "abc"; the other file is another one.
        write("m_en.tsv", "abc");
        write("m_de.tsv", "abd");
        let here = load(Some(folder.path()));
        assert_eq!(here.missing().unwrap(), []);
        let lines = here.check_sums().unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("m_de.tsv") && lines[0].contains("MD5"), "{lines:?}");
        write("bad.toml", "[suite]\nname = 's'\n[[benchmark]]\nname = 'x'\n[[average]]\nname = 'a'\nof = ['y']\n");
        let error = Suite::load(&folder.path().join("bad.toml"), None).unwrap_err().to_string();
        assert!(error.contains("no benchmark is called \"y\""), "{error}");
    }

    #[test]
    fn what_is_kept_is_named_whole() {
        let table = |name: &str| Table::from_iter([("name".to_owned(), Value::from(name))]);
        let average = |of: &str| Average {
            name: of.into(),
            of: vec![of.into()],
            languages: Vec::new(),
            explanation: String::new(),
        };
        let names = ["mmmb", "mmmb_paired", "pope"];
        let mut suite = Suite {
            name: "s".into(),
            about: None,
            paper: None,
            benchmarks: names.map(table).to_vec(),
            origins: names.iter().map(|name| ((*name).to_owned(), Origin::default())).collect(),
            averages: ["mmmb", "mmmb_paired", "mmmb_paired_accuracy", "pope_f1"].map(average).to_vec(),
        };
        suite.keep(&["mmmb".to_owned(), "pope".to_owned()]);
        assert_eq!(suite.benchmarks, [table("mmmb"), table("pope")]);
        assert_eq!(suite.origins.len(), 2);
        assert_eq!(suite.averages, [average("mmmb"), average("pope_f1")]);
    }

    #[test]
    fn wildcards_are_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_there(&folder.path().join("part-*.parquet")));
        std::fs::write(folder.path().join("part-0.parquet"), "").unwrap();
        assert!(is_there(&folder.path().join("part-*.parquet")));
        assert!(!is_there(&folder.path().join("part-*.tsv")));
    }
}
