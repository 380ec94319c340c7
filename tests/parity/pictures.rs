//! The pictures of a fixture: files of the folder `images` beside its own, in the order in which its README.txt lists them.

use std::path::{Path, PathBuf};

use burn_vlm_data::image::{ImageProcessor, PixelBatch, ProcessedImage};
use burn_vlm_data::processor::Processor;

use crate::common::Fixture;

/// The folder of the pictures that others use.
pub const FOLDER: &str = "images";

/// Where README.txt names a picture, by its name or by its file's.
type Way = fn(&Pictures, &str, &str) -> Option<usize>;

/// The pictures beside a fixture.
pub struct Pictures {
    folder: PathBuf,
    /// What a picture is called (the name of its file without the ending, or with it where two differ in the ending alone), and
    /// its file.
    files: Vec<(String, PathBuf)>,
    readme: String,
}

impl Pictures {
    /// Of a folder with nothing beside it: none.
    pub fn beside(fixture: &Path) -> Self {
        let folder = fixture.join("..").join(FOLDER);
        let entries = std::fs::read_dir(&folder).into_iter().flatten();
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
        paths.sort();
        let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let label = |path: &PathBuf| {
            let alone = paths.iter().filter(|other| stem(other) == stem(path)).count() == 1;
            if alone { stem(path) } else { path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
        };
        let files = paths.iter().map(|path| (label(path), path.clone())).collect();
        let readme = std::fs::read_to_string(fixture.join("README.txt")).unwrap_or_default();
        Self { folder, files, readme }
    }

    /// What all pictures beside the fixture are called.
    pub fn names(&self) -> Vec<&str> {
        self.files.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The pictures that README.txt names, in its order. It may have a line for each (the name first), name them in quotes or
    /// by their files, or in its text; what names the most of them counts.
    pub fn listed(&self) -> Vec<&str> {
        let ways: [Way; 4] = [Self::as_a_line, Self::in_quotes, Self::as_a_file, Self::as_a_word];
        let found = ways.map(|way| {
            let place = |(name, path): &'_ (String, PathBuf)| -> Option<usize> {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                way(self, name, &file)
            };
            let mut places: Vec<(usize, &str)> =
                self.files.iter().filter_map(|entry| Some((place(entry)?, entry.0.as_str()))).collect();
            places.sort_unstable();
            places
        });
        let most = found.iter().map(Vec::len).max().unwrap_or(0);
        let best = found.into_iter().find(|places| places.len() == most).unwrap_or_default();
        best.into_iter().map(|(_, name)| name).collect()
    }

    fn as_a_line(&self, name: &str, file: &str) -> Option<usize> {
        let first = |line: &str| -> bool {
            let word = line.trim_start_matches([' ', '\t', '-', '*']).split_whitespace().next().unwrap_or_default();
            let word = word.trim_end_matches([',', ':', ';']);
            word == name || word == file
        };
        self.readme.lines().position(first)
    }

    fn in_quotes(&self, name: &str, file: &str) -> Option<usize> {
        let quoted = ["'", "\"", "`"].into_iter().flat_map(|mark| {
            [name, file].map(|name| self.readme.find(&format!("{mark}{name}{mark}"))).into_iter().flatten()
        });
        quoted.min()
    }

    fn as_a_file(&self, _: &str, file: &str) -> Option<usize> {
        self.word(file)
    }

    fn as_a_word(&self, name: &str, _: &str) -> Option<usize> {
        self.word(name)
    }

    /// Where a name stands by itself: `cat` does not in `cat_451x300`, nor in `pil.cat`, a tensor.
    fn word(&self, name: &str) -> Option<usize> {
        let inside = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
        let alone = |(at, _): &(usize, &str)| {
            let before = self.readme[..*at].chars().next_back();
            let mut after = self.readme[at + name.len()..].chars();
            let next = after.next();
            // A full stop, or the ending of a file.
            let ends = next.is_none_or(|letter| !inside(letter)) || next == Some('.');
            !before.is_some_and(inside) && ends
        };
        self.readme.match_indices(name).find(alone).map(|(at, _)| at)
    }

    /// The pictures of each sample as README.txt has them: `[['cat', 'china'], ['coffee']]`.
    pub fn samples(&self) -> Option<Vec<Vec<String>>> {
        let begin = self.readme.find("[[")?;
        let end = begin + self.readme[begin..].find("]]")? + 2;
        serde_json::from_str(&self.readme[begin..end].replace('\'', "\"")).ok()
    }

    /// The file of a picture: its name and its bytes.
    pub fn read(&self, name: &str) -> (String, Vec<u8>) {
        let is_it = |(label, path): &&(String, PathBuf)| {
            label == name || path.file_name().is_some_and(|file| file.to_string_lossy() == name)
        };
        let Some((_, path)) = self.files.iter().find(is_it) else {
            panic!("{}: no picture {name:?}; there are {}", self.folder.display(), self.names().join(", "))
        };
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.display().to_string(), bytes)
    }

    /// Pictures by the image processor of the fixture's folder; `None` where it has no processor.
    pub fn processed(&self, fixture: &Path, names: &[&str]) -> Option<Vec<ProcessedImage>> {
        let has = |file: &str| fixture.join(file).is_file();
        if !has("preprocessor_config.json") && !has("processor_config.json") {
            return None;
        }
        let config = Processor::image_config(fixture).unwrap_or_else(|error| panic!("{error}"));
        let processor = ImageProcessor::new(config).unwrap_or_else(|error| panic!("{error}"));
        let process = |name: &&str| {
            let (path, bytes) = self.read(name);
            processor.process_tiles_bytes(&path, &bytes).unwrap_or_else(|error| panic!("{error}"))
        };
        Some(names.iter().map(process).collect())
    }
}

/// The pictures of a VLM's folder, sample by sample: those of expected.json, else of README.txt; `None` is a sample without one.
pub fn of_samples(fixture: &Fixture, expected: Option<&serde_json::Value>) -> Option<Vec<Vec<Option<String>>>> {
    if let Some(images) = expected.and_then(|expected| expected.get("images")) {
        // A list for each sample, or Parrot's one picture or null.
        let one = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let sample = |value: &serde_json::Value| match value.as_array() {
            Some(list) => list.iter().map(one).collect(),
            None => vec![one(value)],
        };
        return Some(images.as_array().unwrap().iter().map(sample).collect());
    }
    let samples = Pictures::beside(&fixture.dir).samples()?;
    Some(samples.into_iter().map(|sample| sample.into_iter().map(Some).collect()).collect())
}

/// What stands in for `pixel_values` and `image_sizes` where the folder has none: its pictures, sample by sample, by its image
/// processor. A sample without a picture is one of zeros.
pub fn batch(fixture: &Fixture, expected: Option<&serde_json::Value>) -> Option<PixelBatch> {
    let names: Vec<Option<String>> = match of_samples(fixture, expected) {
        Some(samples) => samples.into_iter().flatten().collect(),
        None => Pictures::beside(&fixture.dir).listed().into_iter().map(|name| Some(name.to_owned())).collect(),
    };
    let pictures = Pictures::beside(&fixture.dir);
    let there: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    if there.is_empty() {
        return None;
    }
    let mut processed = pictures.processed(&fixture.dir, &there)?.into_iter();
    let like = processed.clone().next()?;
    let zeros = ProcessedImage { data: vec![0.0; like.data.len() / like.tiles], tiles: 1, ..like };
    let images: Vec<ProcessedImage> = names
        .iter()
        .map(|name| if name.is_some() { processed.next() } else { Some(zeros.clone()) })
        .collect::<Option<_>>()?;
    println!("{:24} {:64} computed from {}", fixture.name, "pixel_values", there.join(", "));
    Some(PixelBatch::stack(&images).unwrap_or_else(|error| panic!("{error}")))
}
