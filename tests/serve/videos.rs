//! Videos: answers are those of `chat --video`, to a model that takes videos and to one that is shown their frames as pictures.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::image::RgbImage;
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame};
use serde_json::{Value, json};

use super::{Served, chat, content, fixture, models, request, said, shown};

/// Frames of the clips here, and how many of them are shown.
const FRAMES: u8 = 7;
const SHOWN: usize = 3;

/// A square that moves, and its file.
fn clip(name: &str) -> (Value, PathBuf) {
    let frame = |at: u8| {
        let inside = |x: u32| (u32::from(at) * 5..u32::from(at) * 5 + 10).contains(&x);
        let picture = RgbImage::from_fn(48, 32, |x, _| if inside(x) { [250, 40, 10] } else { [10, 200, 90] }.into());
        Frame::new(DynamicImage::ImageRgb8(picture).into_rgba8())
    };
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes).encode_frames((0..FRAMES).map(frame)).unwrap();
    let path = models().folder.join(name);
    fs::write(&path, &bytes).unwrap();
    (part(&format!("data:image/gif;base64,{}", STANDARD.encode(bytes))), path)
}

fn part(url: &str) -> Value {
    json!({"type": "video_url", "video_url": {"url": url}})
}

#[test]
fn answers_about_videos_are_those_of_chat() {
    let (video, path) = clip("moves.gif");
    let path = path.display().to_string();
    let (pictures, videos) = (models().vlm(), fixture("onevision_siglip_gemma2_video4"));
    let more = ["--model", &videos.display().to_string(), "--name", "tiny", "--name", "videos", "--frames", "3"];
    let root = models().folder.display().to_string();
    let served = Served::start(&pictures, &[&more[..], &["--image-root", &root]].concat());
    let shows = ["--video", path.as_str(), "--frames", "3"];
    for (name, folder) in [("tiny", &pictures), ("videos", &videos)] {
        assert_eq!(served.get(&format!("/v1/models/{name}")).json()["burn_vlm"]["videos"], true);
        let expected = chat(folder, "what moves?", &shows);
        assert!(!expected.is_empty());
        let ask = |video: &Value| served.answer(&request(name, json!([video, said("what moves?")]), json!({})));
        let reply = ask(&video);
        assert_eq!(content(&reply), expected, "{name}");
        // The same file by its name, and from the features that are kept.
        assert_eq!(content(&ask(&part("moves.gif"))), expected, "{name}");

        let inspected = request(name, json!([shown(0), video, said("what moves?")]), json!({}));
        let seen = served.post("/v1/inspect", &inspected).json();
        let media = seen["pictures"].as_array().unwrap();
        assert_eq!((media.len(), &media[0]["frames"]), (2, &Value::Null), "{seen}");
        let moving = &media[1];
        assert_eq!(moving["param"], "messages[0].content[1].video_url.url");
        assert_eq!(
            (moving["width"].as_u64(), moving["height"].as_u64(), &moving["frames"]["indices"]),
            (Some(48), Some(32), &json!([0, 3, 6]))
        );
        assert_eq!((moving["frames"]["of"].as_u64(), moving["views"].as_array().unwrap().len()), (Some(7), SHOWN));
        let views = moving["views"].as_array().unwrap();
        assert!(views[0] != views[1] && views[1] != views[2], "frames differ");
        let tokens = |medium: &Value| medium["tokens"].as_u64().unwrap();
        assert_eq!(seen["visual_tokens"].as_u64(), Some(tokens(&media[0]) + tokens(moving)));
    }
    // What is a video to one model is so many pictures to the other.
    let tokens = |name: &str| {
        let seen = served.post("/v1/inspect", &request(name, json!([video, said("what moves?")]), json!({}))).json();
        seen["pictures"][0]["tokens"].as_u64().unwrap()
    };
    let one = served.post("/v1/inspect", &request("tiny", json!([shown(0)]), json!({}))).json();
    assert_eq!(tokens("tiny"), SHOWN as u64 * one["pictures"][0]["tokens"].as_u64().unwrap());
    // A picture of a GIF is not the video of it.
    let still = json!({"type": "image_url", "image_url": {"url": video["video_url"]["url"]}});
    let both = served.answer(&request("videos", json!([still, video, said("what moves?")]), json!({})));
    assert_eq!(content(&both), chat(&videos, "what moves?", &[&["--image", path.as_str()][..], &shows].concat()));
}

/// Whoever leaves while a video is decoded is not decoded for, and a server that ends leaves nothing running.
#[cfg(unix)]
#[test]
fn a_client_that_leaves_ends_the_decoding() {
    use std::os::unix::fs::PermissionsExt;
    let programs = tempfile::tempdir().unwrap();
    let started = programs.path().join("started");
    let script = format!("#!/bin/sh\necho $$ >> {}\nsleep 1000\n", started.display());
    for program in ["ffmpeg", "ffprobe"] {
        let path = programs.path().join(program);
        fs::write(&path, &script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut served = Served::start_with(&models().vlm(), &["--frames", "2"], &[("PATH", &path)]);
    let hangs = request("tiny", json!([part("data:video/mp4;base64,AAAAGGZ0eXBpc29t"), said("what?")]), json!({}));
    let runs =
        |number: &str| fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    let became = |what: &dyn Fn() -> bool| {
        let began = std::time::Instant::now();
        while !what() && began.elapsed() < super::LONGEST {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        what()
    };
    let numbers =
        || -> Vec<String> { fs::read_to_string(&started).unwrap_or_default().lines().map(str::to_owned).collect() };
    for (count, inspects) in [(1, false), (2, true)] {
        let stream = match inspects {
            false => served.begin(&hangs),
            true => {
                served.send("POST", "/v1/inspect", "Content-Type: application/json\r\n", hangs.to_string().as_bytes())
            }
        };
        assert!(became(&|| numbers().len() == count), "the program was not started");
        drop(stream);
        assert!(became(&|| !numbers().iter().any(|number| runs(number))), "{:?}", numbers());
    }
    let (video, _) = clip("after.gif");
    assert!(!content(&served.answer(&request("tiny", json!([video, said("and?")]), json!({})))).is_empty());
    // The second signal ends the server at once.
    let stream = served.begin(&hangs);
    assert!(became(&|| numbers().len() == 3), "the program was not started");
    served.signal("TERM");
    while served.get("/health").status != 503 {}
    served.signal("TERM");
    let _status = served.child.wait().unwrap();
    assert!(became(&|| !numbers().iter().any(|number| runs(number))), "{:?}", numbers());
    drop(stream);
}

#[test]
fn a_video_that_cannot_be_shown_is_refused_by_name() {
    let words = models().language().display().to_string();
    let served = Served::start(&models().vlm(), &["--model", &words, "--frames", "2"]);
    let (video, _) = clip("refused.gif");
    let refuse = |model: &str, content: Value| {
        let reply = served.ask(&request(model, content, json!({})));
        let error = reply.json()["error"].clone();
        (reply.status, error["code"].as_str().unwrap().to_owned(), error["param"].as_str().unwrap().to_owned())
    };
    let field = |at: usize| format!("messages[0].content[{at}].video_url.url");
    assert_eq!(served.get("/v1/models/words").json()["burn_vlm"]["videos"], false);
    assert_eq!(refuse("words", json!([video])), (400, "image_not_supported".to_owned(), field(0)));
    let broken = part("data:video/mp4;base64,AAAAGGZ0eXBpc29tAAAAAGlzb20=");
    assert_eq!(refuse("tiny", json!([shown(0), broken])), (400, "invalid_video".to_owned(), field(1)));
    let marked = json!([video, said("what is <image>?")]);
    assert_eq!(refuse("tiny", marked), (400, "invalid_value".to_owned(), "messages[0].content".to_owned()));
    // The server is well.
    assert!(!content(&served.answer(&request("tiny", json!([video, said("and?")]), json!({})))).is_empty());
}
