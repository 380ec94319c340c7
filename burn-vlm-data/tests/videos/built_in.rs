//! GIF, animated WebP and folders of frames, which need no program.

use super::{linspace, sampled};
use burn_vlm_data::image::RgbImage;
use burn_vlm_data::video::{
    Clip, Clips, FrameSource, Sampling, VideoError, VideoLimits, VideoOptions, VideoProcessor, VideoProcessorConfig,
    VideoReader, VideoSettings, Waiting,
};
use image::codecs::gif::GifEncoder;
use image::codecs::webp::WebPEncoder;
use image::{Delay, ExtendedColorType, Frame, ImageEncoder, Rgba, RgbaImage};
use std::path::Path;

const RED: [u8; 4] = [255, 0, 0, 255];
const BLUE: [u8; 4] = [0, 0, 255, 255];
const CLEAR: [u8; 4] = [0; 4];

/// A GIF of plain pictures of 8 x 6 pixels, each shown for so many milliseconds.
fn gif(colours: &[[u8; 4]], milliseconds: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut bytes);
        for colour in colours {
            let image = RgbaImage::from_pixel(8, 6, Rgba(*colour));
            let delay = Delay::from_numer_denom_ms(milliseconds, 1);
            encoder.encode_frame(Frame::from_parts(image, 0, 0, delay)).unwrap();
        }
    }
    bytes
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&name[..], &length, content, &[0][..content.len() % 2]].concat()
}

fn three(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}

/// A frame of an animated WebP: place and size of a plain rectangle, its colour, milliseconds, and whether it is blended, and cleared after.
struct Part([u32; 4], [u8; 4], u32, bool, bool);

/// An animated WebP, put together after the container's specification.
fn webp(width: u32, height: u32, parts: &[Part]) -> Vec<u8> {
    let header = [&[0x12, 0, 0, 0][..], &three(width - 1), &three(height - 1)].concat();
    let mut body = [b"WEBP".to_vec(), chunk(b"VP8X", &header), chunk(b"ANIM", &[255, 255, 0, 255, 0, 0])].concat();
    for Part([left, top, width, height], colour, milliseconds, blends, clears) in parts {
        let image = RgbaImage::from_pixel(*width, *height, Rgba(*colour));
        let mut file = Vec::new();
        WebPEncoder::new_lossless(&mut file)
            .write_image(image.as_raw(), *width, *height, ExtendedColorType::Rgba8)
            .unwrap();
        // Behind RIFF, its length and WEBP: the chunk of the picture.
        let picture = &file[12..];
        let mut content = Vec::new();
        for number in [left / 2, top / 2, width - 1, height - 1, *milliseconds] {
            content.extend_from_slice(&three(number));
        }
        content.push(u8::from(!blends) << 1 | u8::from(*clears));
        content.extend_from_slice(picture);
        body.extend(chunk(b"ANMF", &content));
    }
    chunk(b"RIFF", &body)
}

fn open(bytes: &[u8]) -> Box<dyn FrameSource> {
    VideoReader::default().open_bytes("clip", bytes).unwrap()
}

fn pixel(frame: &RgbImage, x: u32, y: u32) -> [u8; 3] {
    frame.get_pixel(x, y).0
}

#[test]
fn gif_frames_and_times() {
    let mut source = open(&gif(&[RED, BLUE, CLEAR], 250));
    let info = source.info().unwrap().clone();
    assert_eq!((info.frames, info.width, info.height, info.codec.as_str()), (3, 8, 6, "gif"));
    assert_eq!((info.times, info.fps), (vec![0.0, 0.25, 0.5], Some(4.0)));
    let found = sampled(source.as_mut(), linspace(4)).unwrap();
    let shown: Vec<[u8; 3]> = found.iter().map(|frame| pixel(frame, 3, 3)).collect();
    assert_eq!((shown[0], shown[1], found.order), ([255, 0, 0], [255, 0, 0], vec![0, 0, 1, 2]));
    assert_eq!(shown[2], [0, 0, 255]);
    assert_eq!(
        (found.record.counted, found.record.decoded, found.record.seconds),
        (3, None, vec![0.0, 0.0, 0.25, 0.5])
    );
    // No delay is a tenth of a second.
    assert_eq!(open(&gif(&[RED, BLUE], 0)).info().unwrap().times, [0.0, 0.1]);
}

/// A picture within a GIF's screen: its area, the number of each pixel's colour, how it is disposed of, its transparent colour.
struct Patch<'p>([u16; 4], &'p [u8], u8, Option<u8>);

/// A GIF of 6 x 5 with green, red and blue as colours 0, 1 and 2, put together after the format's specification: each colour is a code of
/// nine bits, and before each stands the code that clears the table. Without `background` each picture has a palette of its own.
fn patches(background: Option<u8>, patches: &[Patch<'_>]) -> Vec<u8> {
    let mut palette = vec![10, 200, 30, 250, 0, 0, 0, 0, 250];
    palette.resize(768, 0);
    let (flags, local) = if background.is_some() { (0x87, 0) } else { (0, 0x87) };
    let mut bytes = [&b"GIF89a\x06\0\x05\0"[..], &[flags, background.unwrap_or(0), 0]].concat();
    bytes.extend(palette.iter().filter(|_| background.is_some()));
    for Patch(area, colours, disposal, transparent) in patches {
        let control = disposal << 2 | u8::from(transparent.is_some());
        bytes.extend([0x21, 0xf9, 4, control, 10, 0, transparent.unwrap_or(0), 0, 0x2c]);
        bytes.extend(area.iter().flat_map(|number| number.to_le_bytes()));
        bytes.push(local);
        bytes.extend(palette.iter().filter(|_| background.is_none()));
        let codes = colours.iter().flat_map(|colour| [256, u16::from(*colour)]).chain([257]);
        let bits: Vec<u8> = codes.flat_map(|code| (0..9).map(move |bit| (code >> bit & 1) as u8)).collect();
        let data: Vec<u8> = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect();
        bytes.extend([8, u8::try_from(data.len()).unwrap()]);
        bytes.extend(data);
        bytes.push(0);
    }
    bytes.push(0x3b);
    bytes
}

/// Frames in letters: green, Red, Blue, black (0) and the white that transparent pixels are laid over (.).
fn letters(bytes: &[u8]) -> Vec<String> {
    let mut source = open(bytes);
    let frames = source.info().unwrap().frames;
    let found = sampled(source.as_mut(), linspace(frames)).unwrap();
    let letter = |pixel: &image::Rgb<u8>| match pixel.0 {
        [10, 200, 30] => 'g',
        [250, 0, 0] => 'R',
        [0, 0, 250] => 'B',
        [0, 0, 0] => '0',
        [255, 255, 255] => '.',
        other => panic!("{other:?}"),
    };
    let rows = |frame: &RgbImage| frame.rows().map(|row| row.map(letter).collect()).collect::<Vec<String>>().join(" ");
    found.distinct.iter().map(rows).collect()
}

/// What is around the first picture, and what a picture is cleared to, as FFmpeg 5.1.9 shows the same files.
#[test]
fn the_ground_of_a_gif() {
    let check = |background, pictures: &[Patch<'_>], shown: &[&str]| {
        assert_eq!(letters(&patches(background, pictures)), shown, "{background:?}");
    };
    let first = || Patch([2, 1, 3, 2], &[1, 2, 1, 2, 1, 2], 0, None);
    let block = |disposal, transparent| Patch([1, 0, 3, 3], &[2; 9], disposal, transparent);
    let last = || Patch([5, 4, 1, 1], &[1], 0, None);
    let alone = "gggggg ggRBRg ggBRBg gggggg gggggg";
    let covered = "gBBBgg gBBBRg gBBBBg gggggg gggggg";
    check(
        Some(0),
        &[first(), Patch([0, 0, 2, 2], &[1; 4], 0, None), Patch([4, 3, 2, 2], &[2; 4], 0, None)],
        &[alone, "RRgggg RRRBRg ggBRBg gggggg gggggg", "RRgggg RRRBRg ggBRBg ggggBB ggggBB"],
    );
    // Cleared after it was shown; put back; cleared to nothing, where it has a transparent colour.
    let cleared = [alone, covered, "gggggg ggggRg ggggBg gggggg gggggR"];
    check(Some(0), &[first(), block(2, None), last()], &cleared);
    check(Some(0), &[first(), block(3, None), last()], &[alone, covered, "gggggg ggRBRg ggBRBg gggggg gggggR"]);
    check(Some(0), &[first(), block(2, Some(1)), last()], &[alone, covered, "g...gg g...Rg g...Bg gggggg gggggR"]);
    // A hole shows what was there.
    check(
        Some(0),
        &[first(), Patch([0, 0, 3, 3], &[1, 2, 1, 1, 2, 1, 1, 2, 1], 0, Some(1))],
        &[alone, "gBgggg gBRBRg gBBRBg gggggg gggggg"],
    );
    // A first picture with a transparent colour, another background colour, and no palette for all.
    check(
        Some(0),
        &[Patch([2, 1, 3, 2], &[1, 2, 1, 2, 1, 2], 0, Some(1)), block(2, None), last()],
        &[
            "...... ...B.. ..B.B. ...... ......",
            ".BBB.. .BBB.. .BBBB. ...... ......",
            ".ggg.. .ggg.. .gggB. ...... .....R",
        ],
    );
    check(
        Some(1),
        &[first(), block(2, None), last()],
        &[
            "RRRRRR RRRBRR RRBRBR RRRRRR RRRRRR",
            "RBBBRR RBBBRR RBBBBR RRRRRR RRRRRR",
            "RRRRRR RRRRRR RRRRBR RRRRRR RRRRRR",
        ],
    );
    check(
        None,
        &[first(), block(2, None), last()],
        &[
            "...... ..RBR. ..BRB. ...... ......",
            ".BBB.. .BBBR. .BBBB. ...... ......",
            ".000.. .000R. .000B. ...... .....R",
        ],
    );
}

/// The cut file has fewer whole pictures: the rule chooses among these.
#[test]
fn a_gif_that_breaks_off() {
    let bytes = gif(&[RED, BLUE, RED], 100);
    let whole = sampled(open(&bytes).as_mut(), linspace(3)).unwrap();
    assert_eq!(whole.record.damage, None);
    let mut counts = Vec::new();
    for length in 0..bytes.len() {
        let Ok(mut source) = VideoReader::default().open_bytes("cut.gif", &bytes[..length]) else { continue };
        if length < 16 {
            continue;
        }
        match sampled(source.as_mut(), linspace(3)) {
            Ok(found) => {
                assert!(found.distinct.iter().zip(&whole.distinct).all(|(a, b)| a == b), "{length}");
                assert!(found.record.damage.is_some(), "{length}");
                counts.push(found.distinct.len());
            }
            Err(error) => assert!(error.to_string().contains("cut.gif"), "{error}"),
        }
    }
    assert!(counts.is_sorted() && counts.contains(&1) && counts.contains(&2), "{counts:?}");
    let told = |length: usize| {
        let part = &bytes[..length];
        sampled(open(part).as_mut(), linspace(3)).unwrap().record.damage.unwrap()
    };
    assert_eq!(told(bytes.len() - 1), "it has no end behind its 3rd picture: more may be missing");
    assert_eq!(told(bytes.len() - 2), "it breaks off within its 3rd picture");
}

/// Damage in the middle of an animation ends it there, and is told.
#[test]
fn damage_in_the_middle() {
    let damage = |bytes: &[u8]| {
        let record = sampled(open(bytes).as_mut(), linspace(3)).unwrap().record;
        (record.counted, record.decoded, record.damage.unwrap_or_default())
    };
    // A picture of nine pixels with the data of four.
    let picture = |colours| Patch([0, 0, 3, 3], colours, 0, None);
    let gif = patches(Some(0), &[picture(&[1; 9]), picture(&[1; 4]), picture(&[2; 9])]);
    let (counted, decoded, told) = damage(&gif);
    assert!((counted, decoded) == (3, Some(1)) && told.starts_with("1 of 3 frames decode; "), "{told}");
    // A block that no GIF has.
    let mut gif = patches(Some(0), &[picture(&[1; 9]), picture(&[2; 9])]);
    let second = gif.windows(2).rposition(|pair| pair == [0x21, 0xf9]).unwrap();
    gif[second] = 0x55;
    assert_eq!(damage(&gif), (1, None, "what follows its 1st picture is damaged and not shown".to_owned()));

    let parts: Vec<Part> = (0..3).map(|_| Part([0, 0, 8, 6], RED, 40, false, false)).collect();
    let whole = webp(8, 6, &parts);
    assert_eq!(damage(&whole), (3, None, String::new()));
    let picture =
        |number: usize| whole.windows(4).enumerate().filter(|(_, name)| name == b"VP8L").nth(number).unwrap().0;
    let mut broken = whole.clone();
    // The mark of a picture, behind its name and length.
    broken[picture(1) + 8] ^= 0xff;
    let (counted, decoded, told) = damage(&broken);
    assert!((counted, decoded) == (3, Some(1)) && told.starts_with("1 of 3 frames decode; "), "{told}");
    let (counted, _, told) = damage(&whole[..picture(2)]);
    assert!(counted == 2 && told.starts_with("it breaks off: its header promises "), "{told}");
}

#[test]
fn webp_frames_that_are_cleared() {
    let whole = [0, 0, 8, 6];
    let parts = [
        Part(whole, CLEAR, 40, false, false),
        Part([2, 2, 2, 2], RED, 40, true, true),
        Part([4, 2, 2, 2], BLUE, 40, true, false),
        // Half transparent over nothing, and over blue.
        Part([4, 2, 4, 2], [0, 255, 0, 128], 40, true, false),
        // Not blended: what it has replaces what is there.
        Part([0, 0, 8, 6], [0, 0, 0, 0], 0, false, false),
    ];
    let mut source = open(&webp(8, 6, &parts));
    let info = source.info().unwrap().clone();
    assert_eq!((info.frames, info.width, info.height), (5, 8, 6));
    let close = |time: f64, wanted: f64| (time - wanted).abs() < 1e-9;
    assert!(info.times.iter().zip([0.0, 0.04, 0.08, 0.12, 0.16]).all(|(time, wanted)| close(*time, wanted)));
    let found = sampled(source.as_mut(), linspace(5)).unwrap();
    let frames: Vec<&RgbImage> = found.iter().collect();
    let white = [255; 3];
    assert_eq!((pixel(frames[0], 2, 2), pixel(frames[1], 2, 2), pixel(frames[1], 4, 2)), (white, [255, 0, 0], white));
    // The red one leaves no trail.
    assert_eq!((pixel(frames[2], 2, 2), pixel(frames[2], 4, 2)), (white, [0, 0, 255]));
    // Over nothing: (0, 255, 0) with alpha 128 on white, 255 * 127/255 = 127. Over blue, by libwebp's whole numbers: what is kept is
    // 255 * 128 >> 8 = 127, the alpha 255, blue 255 * 127 * floor(2^24 / 255) >> 24 = 126, green 255 * 128 likewise 127.
    assert_eq!((pixel(frames[3], 6, 2), pixel(frames[3], 4, 2)), ([127, 255, 127], [0, 127, 126]));
    assert_eq!(pixel(frames[4], 4, 2), white);
    // Frames in the middle come out the same when others are left out.
    let mut seen = Vec::new();
    let mut take = |index, frame: RgbImage| {
        seen.push((index, frame));
        Ok(())
    };
    source.read(&[2, 4], &mut take).unwrap();
    assert!(seen.iter().all(|(index, frame)| frame == frames[*index]) && seen.len() == 2);
}

#[test]
fn a_still_webp_is_a_video_of_one_frame() {
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file).write_image(&RED.repeat(6), 3, 2, ExtendedColorType::Rgba8).unwrap();
    let found = sampled(open(&file).as_mut(), linspace(3)).unwrap();
    assert_eq!((found.order, found.distinct.len(), pixel(&found.distinct[0], 1, 1)), (vec![0; 3], 1, [255, 0, 0]));
}

/// A file that ends within a frame has the frames before it; damage is an error with the name, never a panic.
#[test]
fn damaged_files() {
    let parts = [Part([0, 0, 8, 6], RED, 40, false, false), Part([2, 2, 2, 2], BLUE, 40, true, true)];
    for bytes in [webp(8, 6, &parts), gif(&[RED, BLUE], 40)] {
        let mut fewer = 0;
        for length in 16..bytes.len() {
            match sampled(open(&bytes[..length]).as_mut(), linspace(2)) {
                Ok(found) => {
                    assert!(found.record.damage.is_some(), "{length}");
                    fewer += usize::from(found.distinct.len() == 1);
                }
                Err(error) => assert!(error.to_string().contains("clip"), "{error}"),
            }
        }
        assert!(fewer > 0);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x5a;
            let Ok(mut source) = VideoReader::default().open_bytes("clip", &damaged) else { continue };
            // What has lost its first bytes is for the programs, which need not be there.
            if at < 12 {
                continue;
            }
            if let Err(error) = sampled(source.as_mut(), linspace(2)) {
                assert!(error.to_string().contains("clip"), "{error}");
            }
        }
    }
    for bytes in [&b""[..], b"GIF89a", b"RIFF\x04\0\0\0WEBP", b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff"] {
        let error = match VideoReader::default().open_bytes("short", bytes) {
            Ok(mut source) => source.info().unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains("short"), "{error}");
    }
}

#[test]
fn limits() {
    let bytes = gif(&[RED, BLUE, RED], 100);
    let parts: Vec<Part> = (0..3).map(|_| Part([0, 0, 8, 6], RED, 40, false, false)).collect();
    let animation = webp(8, 6, &parts);
    let error = |limits: VideoLimits, bytes: &[u8]| {
        let reader = VideoReader::new(VideoOptions { limits, ..VideoOptions::default() });
        let read = reader.open_bytes("clip", bytes).and_then(|mut source| sampled(source.as_mut(), linspace(2)));
        read.unwrap_err().to_string()
    };
    for bytes in [&bytes, &animation] {
        let usual = VideoLimits::default();
        assert!(error(VideoLimits { max_pixels: 47, ..usual }, bytes).contains("8 x 6"));
        assert!(error(VideoLimits { max_frames: 2, ..usual }, bytes).contains("more than 2 frames"));
        assert!(error(VideoLimits { max_bytes: 20, ..usual }, bytes).contains("at most 20"));
        assert!(error(VideoLimits { seconds: 0.0, ..usual }, bytes).contains("longer than the 0 s"));
    }
    // A screen of 65535 x 65535 pixels is refused by its header.
    let mut large = bytes;
    large[6..10].fill(0xff);
    assert!(error(VideoLimits::default(), &large).contains("65535 x 65535"));
}

/// Decoding ends when whoever waits for it gives up, and is done anew for whoever still waits.
#[test]
fn who_waits_may_give_up() {
    let bytes = gif(&[RED, BLUE, RED, BLUE], 100);
    let parts: Vec<Part> = (0..4).map(|_| Part([0, 0, 8, 6], RED, 40, false, false)).collect();
    for bytes in [&bytes, &webp(8, 6, &parts)] {
        let (waiting, mut taken) = (Waiting::default(), 0);
        let mut source = open(bytes);
        let mut take = |_, _| {
            taken += 1;
            waiting.give_up();
            Ok(())
        };
        let ended = waiting.work(|| source.read(&[0, 1, 2, 3], &mut take));
        assert!(matches!(ended, Err(VideoError::GivenUp { .. })) && taken == 1, "{ended:?}, {taken}");
    }
    let settings = VideoSettings { sampling: linspace(2), ..VideoSettings::default() };
    let frames = VideoProcessor::new(VideoProcessorConfig::onevision(8).unwrap()).unwrap();
    let clips = Clips::new(&settings, frames, Path::new("")).unwrap();
    let clip = Clip::Encoded { name: "clip.gif".to_owned(), bytes: bytes.into() };
    let gone = Waiting::default();
    drop(gone.until_dropped());
    let reason = gone.work(|| clips.record(&clip)).unwrap_err();
    assert!(reason.detail.contains("clip.gif: nobody waits"), "{}", reason.detail);
    assert_eq!(clips.record(&clip).unwrap().indices, [0, 3]);
    // What is held is given to anybody.
    assert!(gone.work(|| clips.hold(&clip)).is_ok());
}

fn save(path: &Path, side: u32) {
    RgbImage::from_pixel(side, side, image::Rgb([side as u8; 3])).save(path).unwrap();
}

#[test]
fn folders_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    // Their sizes are their order; names sorted as texts would put 10 first.
    for (name, side) in [("f10.png", 5), ("f2.png", 3), ("f9.png", 4)] {
        save(&folder.path().join(name), side);
    }
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    std::fs::write(folder.path().join(".f1.png"), "x").unwrap();
    std::fs::create_dir(folder.path().join("f3.png")).unwrap();
    let open = |fps| {
        let options = VideoOptions { folder_fps: fps, ..VideoOptions::default() };
        VideoReader::new(options).open(folder.path())
    };
    let found = sampled(open(None).unwrap().as_mut(), linspace(3)).unwrap();
    assert_eq!(found.iter().map(RgbImage::width).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!((found.record.fps, found.record.seconds.len()), (None, 0));
    let every = Sampling::Fps { fps: 1.0, upper_bound: None, force: false };
    let error = sampled(open(None).unwrap().as_mut(), every).unwrap_err().to_string();
    assert!(error.contains("how many frames a second"), "{error}");
    let found = sampled(open(Some(2.0)).unwrap().as_mut(), every).unwrap();
    assert_eq!((found.record.indices, found.record.seconds), (vec![0, 2], vec![0.0, 1.0]));
    assert!(open(Some(0.0)).is_err());

    std::fs::write(folder.path().join("f9.png"), "no picture").unwrap();
    let error = sampled(open(None).unwrap().as_mut(), linspace(3)).unwrap_err().to_string();
    assert!(error.contains("frame 1") && error.contains("f9.png"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = VideoReader::default().open(empty.path()).err().unwrap().to_string();
    assert!(error.contains("no frames"), "{error}");
    let error = VideoReader::default().open(empty.path().join("none.mp4")).err().unwrap().to_string();
    assert!(error.contains("none.mp4"), "{error}");
    std::fs::write(empty.path().join("empty.mp4"), "").unwrap();
    let error = VideoReader::default().open(empty.path().join("empty.mp4")).err().unwrap().to_string();
    assert!(error.contains("empty"), "{error}");
}
