//! Any bytes as tab-separated values: as many rows as a reader finds that goes byte by byte.

#![no_main]

use burn_vlm_data::source::{Format, Source};
use burn_vlm_fuzz::{file, open, read_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = open(&file("data.tsv", bytes), Format::Tsv) else { return };
    let rows = rows(bytes).expect("a quote that is never closed is refused");
    assert_eq!(source.len() + 1, rows, "rows, the header among them");
    read_all(&source);
});

/// Rows that are not blank; `None` if a cell in quotes never ends.
fn rows(bytes: &[u8]) -> Option<u64> {
    let (mut rows, mut blank, mut begins, mut quoted) = (0, true, true, false);
    let mut rest = bytes.iter().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' if quoted && rest.peek() == Some(&&b'"') => drop(rest.next()),
            b'"' if quoted => quoted = false,
            _ if quoted => {}
            b'"' if begins => (quoted, begins, blank) = (true, false, false),
            b'\n' => {
                rows += u64::from(!blank);
                (blank, begins) = (true, true);
            }
            byte => {
                begins = *byte == b'\t';
                blank &= *byte == b'\r';
            }
        }
    }
    (!quoted).then_some(rows + u64::from(!blank))
}
