//! Pictures that end too early.
//!
//! Unusual here: decoders of JPEG and BMP fill what is missing with grey or black and say nothing, so that a download that
//! broke off would become a wrong picture. As in Pillow, a JPEG must reach its end-of-image marker, and a BMP must hold the
//! rows that its header promises. The decoders of the other formats find out by themselves. What follows the end is ignored.

use ::image::ImageFormat;

/// Markers of a JPEG stream.
const END_OF_IMAGE: u8 = 0xd9;
const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const TEMPORARY: u8 = 0x01;

/// Whether the data of a picture of a known format are there to their end, as far as the format's decoder does not tell.
pub(super) fn is_whole(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Bmp => bmp(bytes).unwrap_or(true),
        _ => true,
    }
}

/// Whether the end-of-image marker is there: segments are skipped by their length, so that a thumbnail's does not count, and
/// in what is between them, compressed data among it, `ff` is a marker unless a zero or a restart follows.
fn jpeg(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(at) = memchr::memchr(0xff, rest) {
        rest = &rest[at + 1..];
        let Some(marker) = rest.first().copied() else { return false };
        match marker {
            END_OF_IMAGE => return true,
            // The same byte may begin the next marker.
            0xff => {}
            0 | TEMPORARY => rest = &rest[1..],
            _ if RESTARTS.contains(&marker) => rest = &rest[1..],
            _ => {
                let Some(&[_, high, low]) = rest.first_chunk() else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(after) = rest.get(1 + length..) else { return false };
                rest = after;
            }
        }
    }
    false
}

/// Whether the rows are there; `None` where the header does not say how long they are (compressed or older kinds).
fn bmp(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize| Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (start, header) = (usize::try_from(number(10)?).ok()?, number(14)?);
    // Plain and bit-field rows; run lengths end where they say.
    if header < 40 || !matches!(number(30)?, 0 | 3) {
        return None;
    }
    let (width, height) = (u64::try_from(number(18)?).ok()?, u64::from(number(22)?.unsigned_abs()));
    let bits = u64::from(u16::from_le_bytes(*bytes.get(28..)?.first_chunk()?));
    // Rows are padded to four bytes.
    let row = width.checked_mul(bits)?.div_ceil(32).checked_mul(4)?;
    let needed = row.checked_mul(height)?.checked_add(start as u64)?;
    Some(bytes.len() as u64 >= needed)
}

/// Bytes of a PNG before its first chunk, and of a chunk around its data.
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const CHUNK: usize = 12;
/// The chunk that ends a PNG.
const IEND: [u8; CHUNK] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// A PNG whose chunks are whole but for the one that ends it, with that put behind them; `None` for any other file.
pub(super) fn png_with_end(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = PNG_SIGNATURE.len();
    let mut has_data = false;
    bytes.starts_with(PNG_SIGNATURE).then_some(())?;
    while let Some(&[a, b, c, d, kind @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = at.checked_add(length)?.checked_add(CHUNK)?;
        if end > bytes.len() {
            break;
        }
        if kind == *b"IEND" {
            return None;
        }
        has_data |= kind == *b"IDAT";
        at = end;
    }
    // What is left is less than the last chunk would be.
    let rest = bytes.get(at..)?;
    (has_data && rest.len() < CHUNK && IEND.starts_with(rest)).then(|| [&bytes[..at], &IEND].concat())
}

#[cfg(test)]
mod tests {
    use super::jpeg;

    #[test]
    fn jpeg_streams() {
        // start, a segment of 4 bytes with an end marker inside, a scan header of 2, data with a stuffed ff and a restart
        let whole =
            [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 2, 7, 0xff, 0, 8, 0xff, 0xd3, 9, 0xff, 0xd9];
        assert!(jpeg(&whole));
        for length in 0..whole.len() {
            assert!(!jpeg(&whole[..length]), "{length}");
        }
        let filled = [&whole[..whole.len() - 1], &[0xff, 0xff, 0xd9]].concat();
        assert!(jpeg(&filled), "markers may be filled with ff");
        assert!(jpeg(&[&whole[..], b"anything, \xff\xda\xff\xff"].concat()), "trailing bytes");
    }
}
