//! Any bytes as a tar archive: as many samples as there are runs of entries with one key.

#![no_main]

use burn_vlm_data::source::{Format, Source};
use burn_vlm_fuzz::{file, open, read_all};
use libfuzzer_sys::fuzz_target;
use tar::{Archive, EntryType};

fuzz_target!(|bytes: &[u8]| {
    let source = open(&file("data.tar", bytes), Format::WebDataset);
    let Ok(source) = source else { return };
    // Read in one go, without seeking; where that fails (a truncated entry), there is nothing to compare with.
    if let Ok(samples) = samples(bytes) {
        assert_eq!(source.len(), samples);
    }
    read_all(&source);
});

fn samples(bytes: &[u8]) -> std::io::Result<u64> {
    let (mut samples, mut last) = (0, None);
    for entry in Archive::new(bytes).entries()? {
        let entry = entry?;
        if entry.header().entry_type() == EntryType::Directory {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (folder, base) = name.rsplit_once('/').map_or((None, name.as_str()), |(folder, base)| (Some(folder), base));
        // What a Mac or a writer adds, and what has no ending, is part of no sample.
        let first = name.split('/').next().unwrap_or_default();
        let own = first.len() > 4 && first.starts_with("__") && first.ends_with("__");
        if base.starts_with('.') || own || !base.contains('.') {
            continue;
        }
        let stem = base.split('.').next().unwrap_or_default();
        let key = Some((folder.map(str::to_owned), stem.to_owned()));
        samples += u64::from(key != last);
        last = key;
    }
    Ok(samples)
}
