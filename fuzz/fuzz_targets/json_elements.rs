//! Any bytes as a JSON array or as lines of JSON: records are told apart as serde_json tells them.

#![no_main]

use burn_vlm_data::source::{Format, Source};
use burn_vlm_fuzz::{file, open, read_all};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// An array whose bracket comes later is not taken for one.
const HEAD: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let source = open(&file("data.json", bytes), Format::Json);
    let begin = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    if begin.is_some_and(|begin| begin < HEAD && bytes[begin] == b'[') {
        // What serde_json takes for an array is one, of as many elements.
        if let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(bytes) {
            assert_eq!(source.as_ref().expect("an array").len(), elements.len() as u64);
        }
    } else if !bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
        match &source {
            Ok(source) => assert_eq!(source.len(), lines.count() as u64),
            // One object around the list is told, and is all that is no file of lines.
            Err(error) => assert!(error.to_string().contains("the file is one object"), "{error}"),
        }
    }
    if let Ok(source) = source {
        read_all(&source);
    }
});
