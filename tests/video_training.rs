//! A stage on video files: killed and resumed, with features computed once, in a model that takes videos and in one that is shown
//! pictures; the model that comes out talks about a video, and is trained further.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::Device;
use burn_vlm::vlm::VlmType;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::video::{Clip, Sampling, VideoSettings};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::log::StepLog;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::Recipe;
use burn_vlm_train::run::{PartFolders, Start, TrainRun, Trained, train};
use common::{kill_when, test_alone};
use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, RgbaImage};
use serde_json::json;

/// Features that were computed before go through the same connector as those of the step: f32 sums in other batches, relative.
const ROUNDING: f32 = 2e-5;
/// Set for the copy of this test binary that is killed: the folder it trains in.
const CHILD: &str = "BURN_VLM_TEST_VIDEO_OUT";
/// Frames that are shown of a clip.
const FRAMES: usize = 4;
/// Clips; a quarter of them begin a step.
const CLIPS: usize = 48;

/// A white square that moves to the right, or to the left.
fn clip(number: usize, right: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for step in 0..8u32 {
        let at = if right { step } else { 7 - step } * 4;
        let colour = [40 + number as u8 * 3, 90, 200 - number as u8 * 2, 255];
        let frame = RgbaImage::from_fn(48, 32, |x, y| {
            let inside = (at..at + 12).contains(&x) && (10..22).contains(&y);
            if inside { [255; 4].into() } else { colour.into() }
        });
        encoder.encode_frame(Frame::from_parts(frame, 0, 0, Delay::from_numer_denom_ms(100, 1))).unwrap();
    }
    drop(encoder);
    bytes
}

/// Clips, the records that name them, and one that cannot be read.
fn write_data(folder: &Path) {
    fs::create_dir_all(folder.join("clips")).unwrap();
    let mut records = Vec::new();
    for number in 0..CLIPS {
        let right = number % 2 == 0;
        let name = format!("{number}.gif");
        let bytes = clip(number, right);
        fs::write(folder.join("clips").join(&name), if number == 7 { &bytes[..40] } else { &bytes }).unwrap();
        let answer = if right { "right" } else { "left" };
        records.push(json!({"id": number, "video": name, "conversations": [
            {"from": "human", "value": "<image>\nWhere to?"}, {"from": "gpt", "value": answer}]}));
    }
    fs::write(folder.join("data.json"), json!(records).to_string()).unwrap();
    let mixture = "seed = 3\n[[source]]\nname = \"clips\"\npath = \"data.json\"\nformat = \"llava_json\"\nvideo_root = \"clips\"\n\
                   language = \"en\"\n";
    fs::write(folder.join("mixture.toml"), mixture).unwrap();
}

fn recipe(model: &str, video: &str, mixture: &str) -> Recipe {
    // A model for pictures alone has no newline to train.
    let newline = if model == PARTS && !video.contains("extend_model") { "" } else { "image_newline = 1e-3, " };
    let text = format!(
        r#"
        stages = ["video"]
        [model]
        {model}
        [video]
        {video}
        [stage.video]
        objective = "vlm"
        epochs = 1
        batch = 4
        log_every = 1
        checkpoint_every = 2
        keep_checkpoints = 100
        train = {{ multi_modal_projector = 1e-3, {newline}language_model = 5e-4 }}
        schedule = {{ warmup = 0.0 }}
        mixture = {{ file = "mixture.toml", skip_limit = {{ fraction = 0.5 }}, {mixture} }}
        "#
    );
    Recipe::from_table(toml::from_str(&text).unwrap()).unwrap()
}

const PARTS: &str = "encoder = \"siglip2\"\nbackbone = \"backbone\"\nscale_visual_embeds = true";
const VIDEO: &str = "extend_model = true\nsampling = { rule = \"linspace\", frames = 4 }\ntime_instruction = false";

fn run_with(recipe: &Recipe, base: &Path, out: &Path, features: &Path) -> (Result<Trained, String>, String) {
    let device = choose(DeviceChoice::Auto).unwrap().device;
    let context = Context { corpus: EmojiCorpus::embedded().unwrap(), device, workers: 2 };
    let parts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("parts");
    let reporter = Reporter::capture();
    let parts = PartFolders::named(recipe, &parts).unwrap();
    let run = TrainRun {
        context: &context,
        recipe,
        base,
        parts: &parts,
        features,
        replicas: &[],
        out,
        start: &Start::default(),
        reporter: &reporter,
        observer: None,
    };
    let trained = train(&run).map_err(|error| error.to_string());
    (trained, reporter.captured().join("\n"))
}

fn run(recipe: &Recipe, base: &Path, out: &Path) -> Result<Trained, String> {
    run_with(recipe, base, out, &out.join("features")).0
}

fn losses(log: &[StepLog]) -> Vec<f32> {
    log.iter().map(|entry| entry.loss).collect()
}

/// The child of the test below; does nothing when it is run by itself.
#[test]
fn child_trains() {
    if let Ok(out) = std::env::var(CHILD) {
        let out = PathBuf::from(out);
        run(&recipe(PARTS, VIDEO, ""), out.parent().unwrap(), &out).unwrap();
    }
}

#[test]
fn a_video_stage_that_is_killed_equals_one_that_is_not_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let (whole, killed) = (folder.join("whole"), folder.join("killed"));
    let recipe = recipe(PARTS, VIDEO, "");
    let uninterrupted = run(&recipe, folder, &whole).unwrap();
    assert_eq!(uninterrupted.stages[0].log.len(), CLIPS / 4);

    let stage = Path::new("stages/1-video");
    kill_when(&mut test_alone("child_trains", CHILD, &killed), || killed.join(stage).join("step-00000004").exists());
    assert!(!killed.join("model").exists(), "killed too late to show anything");
    let trained = run(&recipe, folder, &killed).unwrap();
    let read = |out: &Path, file: &str| fs::read(out.join(file)).unwrap();
    assert_eq!(read(&whole, "model/model.safetensors"), read(&killed, "model/model.safetensors"));
    assert_eq!(losses(&trained.stages[0].log), losses(&uninterrupted.stages[0].log));
    for file in ["stages/1-video/data.json", "stages/1-video/skipped.jsonl"] {
        assert_eq!(read(&whole, file), read(&killed, file), "{file}");
    }
    let skipped = fs::read_to_string(whole.join("stages/1-video/skipped.jsonl")).unwrap();
    assert!(skipped.contains("unreadable_video") && skipped.contains("7.gif"), "{skipped}");
    assert_eq!(skipped.lines().count(), 1);
}

/// With a frozen tower the features of all frames are computed once; steps then neither decode nor encode.
#[test]
fn features_of_frames_are_computed_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let plain = run(&recipe(PARTS, VIDEO, ""), folder, &folder.join("plain")).unwrap();
    let features = folder.join("features");
    let kept = recipe(PARTS, VIDEO, "views = 1");
    let (first, said) = run_with(&kept, folder, &folder.join("first"), &features);
    let first = losses(&first.unwrap().stages[0].log);
    let pictures = format!("features of {} pictures x 1 views", CLIPS * FRAMES);
    assert!(said.contains(&pictures), "{said}");
    for (step, (a, b)) in losses(&plain.stages[0].log).iter().zip(&first).enumerate() {
        // Updates of AdamW divide small gradients by their own size.
        let tolerance = if step == 0 { ROUNDING } else { 10.0 * ROUNDING };
        assert!((a - b).abs() <= tolerance * a.abs(), "step {step}: {a} and {b}");
    }
    // Nothing can be decoded now, and nothing is asked to be.
    let limited = format!("{VIDEO}\nreading = {{ limits = {{ max_frames = 1 }} }}");
    let again = recipe(PARTS, &limited, "views = 1");
    let again = run_with(&again, folder, &folder.join("again"), &features).0.unwrap();
    assert_eq!(losses(&again.stages[0].log), first);
    let refused = run(&recipe(PARTS, &limited, ""), folder, &folder.join("refused")).unwrap_err();
    assert!(refused.contains("unreadable_video"), "{refused}");
}

#[test]
fn the_trained_model_talks_about_videos_and_is_trained_further() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let trained = run(&recipe(PARTS, VIDEO, ""), folder, &folder.join("first")).unwrap();
    assert_eq!(trained.assembled.model.config.model_type, VlmType::LlavaOnevision);
    let mut chat = ChatModel::load(&trained.model, &Device::flex()).unwrap();
    chat.generation.max_new_tokens = 4;
    let clips =
        chat.clips(&VideoSettings { sampling: Sampling::Linspace { frames: FRAMES }, ..Default::default() }).unwrap();
    let mut session = chat.session();
    let (tokens, record) = session.add_video(&Clip::File(folder.join("clips/0.gif")), &clips).unwrap();
    // 8 x 8 patches pooled to 4 x 4, and a newline.
    assert_eq!((tokens, record.indices.clone()), (FRAMES * 16 + 1, vec![0, 2, 4, 7]));
    let right = session.ask("Where to?").unwrap().finish().unwrap();
    let error = session.ask("<video>?").map(drop).unwrap_err().to_string();
    assert!(error.contains("stands for a video"), "{error}");
    assert_eq!(right, chat_again(&chat, folder, &clips), "the same video, the same answer");
    // The folder is a whole model that takes videos: its token, newline and settings are kept.
    let from = format!("from = {:?}", trained.model.display().to_string());
    let further =
        run(&recipe(&from, "sampling = { rule = \"linspace\", frames = 2 }", ""), folder, &folder.join("second"))
            .unwrap();
    let (before, after) = (&trained.assembled.model.config, &further.assembled.model.config);
    assert_eq!((after.video_token_index, after.frame_tokens()), (before.video_token_index, before.frame_tokens()));
    let (last, first) = (losses(&trained.stages[0].log), losses(&further.stages[0].log));
    assert!(first[0] < last[0], "it goes on from what was learnt: {last:?}, {first:?}");
    assert!(ChatModel::load(&further.model, &Device::flex()).is_ok());
}

/// A table of questions with a column of videos, asked of a model that takes videos and of one that is shown pictures; the replies say
/// which frames were shown. Where ffmpeg is there, a file that it makes is among them.
#[test]
fn questions_about_videos_are_asked_by_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let mut names = vec!["0.gif", "1.gif"];
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=3", "-pix_fmt", "yuv420p"])
        .arg(folder.join("clips/made.mp4"))
        .status();
    if made.is_ok_and(|status| status.success()) {
        names.push("made.mp4");
    }
    let rows: String =
        names.iter().enumerate().map(|(index, name)| format!("{index}\t{name}\tWhere to?\tleft\tright\tB\n")).collect();
    fs::write(folder.join("q.tsv"), format!("index\tvideo\tquestion\tA\tB\tanswer\n{rows}")).unwrap();
    let table = "[[benchmark]]\nname = \"clips\"\nkind = \"choice\"\nfile = \"q.tsv\"\nvideo_root = \"clips\"\nlanguage = \"en\"\n\
                 protocol = \"likelihood\"\n";
    let written = table.replace("likelihood", "generate").replacen("clips", "written", 1) + "max_new_tokens = 4\n";
    fs::write(folder.join("questions.toml"), format!("{table}{written}")).unwrap();
    fs::create_dir(folder.join("clips/frames")).unwrap();
    for level in 0..3u8 {
        let frame = image::RgbImage::from_pixel(16, 16, image::Rgb([80 * level; 3]));
        frame.save(folder.join(format!("clips/frames/{level}.png"))).unwrap();
    }
    for (video, frames) in [(VIDEO, FRAMES), ("sampling = { rule = \"linspace\", frames = 2 }", 2)] {
        let out = folder.join(format!("model-{frames}"));
        let trained = run(&recipe(PARTS, video, ""), folder, &out).unwrap();
        let answers = out.join("answers");
        let count = frames.to_string();
        let args = |command: &mut Command| {
            command.current_dir(folder).output().map(|output| {
                let said =
                    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                assert!(output.status.success(), "{said}");
                said
            })
        };
        let burn_vlm = || Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
        args(
            burn_vlm()
                .args(["evaluate", "questions.toml", "--frames", &count, "--model"])
                .arg(&trained.model)
                .arg("--out")
                .arg(&answers),
        )
        .unwrap();
        let replies: Vec<serde_json::Value> = fs::read_to_string(answers.join("replies.jsonl"))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(replies.len(), 2 * names.len());
        for reply in &replies {
            let video = &reply["videos"][0];
            assert_eq!(video["sampling"]["rule"], "linspace", "{reply}");
            let indices: Vec<u64> = serde_json::from_value(video["indices"].clone()).unwrap();
            let last = if video["name"].as_str().unwrap().ends_with("made.mp4") { 29 } else { 7 };
            assert_eq!((indices.len(), indices[0], indices[frames - 1]), (frames, 0, last), "{reply}");
        }
        for name in names.iter().chain(&["frames"]) {
            let said = args(
                burn_vlm()
                    .args(["chat", "--frames", &count, "--prompt", "Where to?", "--max-new-tokens", "4", "--video"])
                    .arg(folder.join("clips").join(name))
                    .arg("--model")
                    .arg(&trained.model),
            )
            .unwrap();
            // Of a folder of three, no more than these.
            let different = if *name == "frames" { frames.min(3) } else { frames };
            assert!(said.contains(&format!("{different} of ")) && said.contains("by linspace"), "{said}");
        }
    }
}

fn chat_again(chat: &ChatModel, folder: &Path, clips: &std::sync::Arc<burn_vlm_data::video::Clips>) -> String {
    let mut session = chat.session();
    session.add_video(&Clip::File(folder.join("clips/0.gif")), clips).unwrap();
    session.ask("Where to?").unwrap().finish().unwrap()
}

/// A model that takes no videos is shown their frames as pictures.
#[test]
fn a_picture_model_is_shown_the_frames() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let recipe = recipe(PARTS, "sampling = { rule = \"linspace\", frames = 2 }", "");
    let trained = run(&recipe, folder, &folder.join("out")).unwrap();
    assert_eq!(trained.assembled.model.config.model_type, VlmType::Llava);
    assert_eq!(trained.stages[0].log[0].images, 8, "two pictures a clip, four clips a step");
    let chat = ChatModel::load(&trained.model, &Device::flex()).unwrap();
    let clips =
        chat.clips(&VideoSettings { sampling: Sampling::Linspace { frames: 2 }, ..Default::default() }).unwrap();
    let mut session = chat.session();
    let (tokens, _) = session.add_video(&Clip::File(folder.join("clips/1.gif")), &clips).unwrap();
    assert_eq!((tokens, session.num_images()), (2 * 64, 2));
    session.ask("Where to?").unwrap().finish().unwrap();
}

/// A template that writes pictures alone, TowerVision's here, becomes one that writes a video as it writes a picture: in training, and in
/// the folder that comes out, which is a whole model for videos.
#[test]
fn a_template_of_pictures_is_extended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava_next_siglip_gemma2");
    assert!(!fs::read_to_string(fixture.join("chat_template.jinja")).unwrap().contains("video"));
    let from = format!("from = {:?}", fixture.display().to_string());
    let trained = run(&recipe(&from, VIDEO, ""), folder, &folder.join("first")).unwrap();
    assert_eq!(trained.assembled.model.config.model_type, VlmType::LlavaOnevision);
    assert!(trained.stages[0].log.iter().all(|entry| entry.loss.is_finite()));
    let chat = ChatModel::load(&trained.model, &Device::flex()).unwrap();
    let clips = chat.clips(&VideoSettings::default()).unwrap();
    let mut session = chat.session();
    let (tokens, _) = session.add_video(&Clip::File(folder.join("clips/0.gif")), &clips).unwrap();
    assert_eq!(tokens, chat.processor.num_video_tokens(32));
    session.ask("Where to?").unwrap().finish().unwrap();
    let written = fs::read_to_string(trained.model.join("chat_template.jinja")).unwrap();
    assert!(written.contains("<video>") && written.contains("<start_of_turn>"), "{written}");
    let from = format!("from = {:?}", trained.model.display().to_string());
    run(&recipe(&from, "sampling = { rule = \"linspace\", frames = 2 }", ""), folder, &folder.join("second")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("second/model/chat_template.jinja")).unwrap(), written);
}

/// What cannot be a model for videos is told with what to do, and so is a program that is not there, before anything is trained.
#[test]
fn what_cannot_be_shown_is_one_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let pooled = format!("{PARTS}\nvisual_tokens = {{ pooled_head = true }}");
    let error = run(&recipe(&pooled, VIDEO, ""), folder, &folder.join("pooled")).unwrap_err();
    for word in ["extend_model", "pooled_head = true", "without extend_model"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    // No GIF, so the programs would read it.
    fs::write(folder.join("clips/0.gif"), "something else").unwrap();
    let none = format!("{VIDEO}\nreading = {{ ffmpeg = \"no-such-ffmpeg\", ffprobe = \"no-such-ffprobe\" }}");
    let out = folder.join("none");
    let error = run(&recipe(PARTS, &none, ""), folder, &out).unwrap_err();
    assert!(
        error.contains("no-such-ffprobe") && error.contains("apt-get install") && error.contains("0.gif"),
        "{error}"
    );
    assert!(!error.contains("unreadable_video"), "{error}");
    // Also where features would be computed of the others first, which takes minutes.
    let (error, said) =
        run_with(&recipe(PARTS, &none, "views = 1"), folder, &folder.join("views"), &out.join("features"));
    let error = error.err().unwrap();
    assert!(
        error.contains("no-such-ffprobe") && error.contains("0.gif") && !said.contains("features of"),
        "{error}, {said}"
    );
    // GIFs need no program.
    fs::write(folder.join("clips/0.gif"), clip(0, true)).unwrap();
    run(&recipe(PARTS, &none, "views = 1"), folder, &folder.join("gifs")).unwrap();
}

/// The command where no program is to be found; its exit code and all that it says.
fn evaluate_without_programs(folder: &Path, model: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.current_dir(folder).env("PATH", folder).args(["evaluate", "questions.toml", "--frames", "2"]).args(more);
    let output = command.arg("--model").arg(model).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

/// Clips of questions that cannot be read are counted skips, up to the limit, as pictures are; and a missing program is no reason to skip.
#[test]
fn questions_about_clips_that_cannot_be_read_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let trained =
        run(&recipe(PARTS, "sampling = { rule = \"linspace\", frames = 2 }", ""), folder, &folder.join("model"))
            .unwrap();
    let mut names = vec!["0.gif", "7.gif", "1.gif"];
    // All its packets are there, and none of them decodes: only decoding tells.
    let late = folder.join("clips/late.mp4");
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=96x64:rate=10:duration=2",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "mpeg4",
        ])
        .arg(&late)
        .status();
    match made.is_ok_and(|status| status.success()) {
        true => {
            let mut bytes = fs::read(&late).unwrap();
            let data = bytes.windows(4).position(|four| four == b"mdat").unwrap() + 4;
            let end = bytes.windows(4).position(|four| four == b"moov").unwrap() - 4;
            bytes[data..end].fill(0);
            fs::write(&late, bytes).unwrap();
            names.push("late.mp4");
        }
        false => println!("a clip that only decoding finds: skipped, ffmpeg is not there"),
    }
    let bad = names.len() - 2;
    let ask = |names: &[&str], allowed: usize| {
        let row = |(index, name): (usize, &&str)| format!("{index}\t{name}\tWhere to?\tleft\tright\tB\n");
        let rows: String = names.iter().enumerate().map(row).collect();
        fs::write(folder.join("q.tsv"), format!("index\tvideo\tquestion\tA\tB\tanswer\n{rows}")).unwrap();
        let table = format!(
            "[[benchmark]]\nname = \"clips\"\nkind = \"choice\"\nfile = \"q.tsv\"\nvideo_root = \"clips\"\nlanguage = \"en\"\n\
             max_skipped = {allowed}\n"
        );
        fs::write(folder.join("questions.toml"), table).unwrap();
    };
    let evaluate = |out: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
            .current_dir(folder)
            .args(["evaluate", "questions.toml", "--frames", "2", "--out", out, "--model"])
            .arg(&trained.model)
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    ask(&names, 0);
    let (code, said) = evaluate("none");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("`max_skipped` allows 0") && said.contains("q.tsv, line 3 (id \"1\"): unreadable_video: "),
        "{said}"
    );
    assert!(!folder.join("none/results.json").exists(), "{said}");
    ask(&names, bad);
    let (code, said) = evaluate("some");
    assert_eq!(code, Some(0), "{said}");
    let read = |file: &str| fs::read_to_string(folder.join("some").join(file)).unwrap();
    for name in names.iter().filter(|name| !["0.gif", "1.gif"].contains(name)) {
        for text in [&said, &read("report.html"), &read("scores.json"), &read("results.json")] {
            assert!(text.contains("left out: ") && text.contains(name), "{name}: {text}");
        }
    }
    let results: serde_json::Value = serde_json::from_str(&read("results.json")).unwrap();
    assert_eq!(results["n-samples"]["clips"], json!({ "original": 2, "effective": 2 }));
    assert_eq!((read("predictions.jsonl").lines().count(), read("replies.jsonl").lines().count()), (2, 2));
    if bad > 1 {
        ask(&names, 1);
        let (code, said) = evaluate("some");
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("2 of 4 rows cannot be used, `max_skipped` allows 1") && said.contains("late.mp4"),
            "{said}"
        );
    }
    // A missing program is told before anything else, whatever may be skipped; GIFs need none.
    fs::write(folder.join("clips/late.mp4"), "some other file").unwrap();
    ask(&["0.gif", "late.mp4"], 2);
    let (code, said) = evaluate_without_programs(folder, &trained.model, &["--out", "absent"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ffprobe") && said.contains("apt-get install") && said.contains("late.mp4"), "{said}");
    ask(&["0.gif", "1.gif"], 0);
    let (code, said) = evaluate_without_programs(folder, &trained.model, &[]);
    assert_eq!(code, Some(0), "{said}");
    // A folder has no clock: what to do is told before the model is loaded, and done.
    fs::create_dir(folder.join("clips/frames")).unwrap();
    for level in 0..6u8 {
        let frame = image::RgbImage::from_pixel(16, 16, image::Rgb([40 * level; 3]));
        frame.save(folder.join(format!("clips/frames/{level}.png"))).unwrap();
    }
    let chat = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
        command.current_dir(folder).args([
            "chat",
            "--prompt",
            "Where to?",
            "--max-new-tokens",
            "2",
            "--video",
            "clips/frames",
        ]);
        let output = command.args(more).arg("--model").arg(&trained.model).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = chat(&["--fps", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("clips/frames") && said.contains("--folder-fps") && !said.contains("loaded in"), "{said}");
    let (code, said) = chat(&["--fps", "1", "--folder-fps", "2"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 of 6 frames by fps") && said.contains(": 0 2 4"), "{said}");
}

/// A run that goes on names what is not as it was: a key of the recipe, a clip.
#[test]
fn what_has_changed_since_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let out = folder.join("out");
    run(&recipe(PARTS, VIDEO, ""), folder, &out).unwrap();
    let error = run(&recipe(PARTS, &VIDEO.replace("frames = 4", "frames = 2"), ""), folder, &out).err().unwrap();
    assert!(error.contains("there `video.sampling.frames = 4`, now `video.sampling.frames = 2`"), "{error}");
    let error =
        run(&recipe(PARTS, &format!("{VIDEO}\nreading = {{ limits = {{ max_frames = 9 }} }}"), ""), folder, &out);
    let error = error.err().unwrap();
    assert!(error.contains("now `video.reading.limits.max_frames = 9`"), "{error}");
    let moved = clip(5, false);
    fs::write(folder.join("clips/4.gif"), [moved.as_slice(), &[0]].concat()).unwrap();
    let error = run(&recipe(PARTS, VIDEO, ""), folder, &out).err().unwrap();
    assert!(
        error.contains("the video") && error.contains("4.gif has ") && error.contains(" bytes and had "),
        "{error}"
    );
}

/// Folders of frames are in the replies as files are; clips that are cut off are shown, and counted by training and by the command. Where
/// ffmpeg is not there, nothing makes such a clip.
#[test]
fn cut_clips_are_counted_and_folders_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(folder);
    let whole = folder.join("whole.mkv");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=6", "-pix_fmt", "yuv420p"])
        .arg(&whole)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: ffmpeg is not there");
        return;
    }
    let bytes = fs::read(&whole).unwrap();
    fs::write(folder.join("clips/cut.mkv"), &bytes[..bytes.len() * 6 / 10]).unwrap();
    fs::create_dir(folder.join("clips/frames")).unwrap();
    for level in 0..3u8 {
        let frame = image::RgbImage::from_pixel(16, 16, image::Rgb([80 * level; 3]));
        frame.save(folder.join(format!("clips/frames/{level}.png"))).unwrap();
    }
    // The record that cannot be read becomes the clip that is cut off.
    let data = fs::read_to_string(folder.join("data.json")).unwrap().replace("\"7.gif\"", "\"cut.mkv\"");
    fs::write(folder.join("data.json"), data).unwrap();
    let (trained, said) =
        run_with(&recipe(PARTS, VIDEO, ""), folder, &folder.join("out"), &folder.join("out/features"));
    let trained = trained.unwrap();
    assert!(said.contains("1 videos are not whole") && said.contains("cut.mkv: "), "{said}");
    let rows = "index\tvideo\tquestion\tA\tB\tanswer\n0\tcut.mkv\tWhere to?\tleft\tright\tB\n1\tframes\tWhere to?\tleft\tright\tB\n";
    fs::write(folder.join("q.tsv"), rows).unwrap();
    let table = "[[benchmark]]\nname = \"clips\"\nkind = \"choice\"\nfile = \"q.tsv\"\nvideo_root = \"clips\"\nlanguage = \"en\"\n";
    fs::write(folder.join("questions.toml"), table).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
        .current_dir(folder)
        .args(["evaluate", "questions.toml", "--frames", "2", "--out", "answers", "--model"])
        .arg(&trained.model)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 videos are not whole"), "{said}");
    let replies = fs::read_to_string(folder.join("answers/replies.jsonl")).unwrap();
    let replies: Vec<serde_json::Value> = replies.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let video = |end: &str| {
        let all = replies.iter().flat_map(|reply| reply["videos"].as_array().unwrap());
        all.clone().find(|video| video["name"].as_str().unwrap().ends_with(end)).unwrap().clone()
    };
    assert!(video("cut.mkv")["damage"].as_str().unwrap().contains("File ended prematurely"), "{}", video("cut.mkv"));
    assert_eq!((&video("frames")["indices"], &video("frames")["counted"]), (&json!([0, 2]), &json!(3)));
}
