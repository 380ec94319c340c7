//! Several models, adapters, and what a model is shown or chooses.

use super::*;

#[test]
fn several_models_answer_for_themselves() {
    let (vlm, words) = (models().vlm(), models().language());
    let mut served = Served::start(&vlm, &["--model", &words.display().to_string(), "--batch", "1", "--queue", "0"]);
    let listed = served.get("/v1/models").json();
    let ids: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["tiny", "words"]);
    let own = |at: usize, name: &str| listed["data"][at]["burn_vlm"][name].clone();
    assert_eq!((own(0, "pictures"), own(1, "pictures")), (json!(true), json!(false)));
    assert_eq!((own(0, "experts"), own(0, "context"), own(0, "adapter")), (json!(0), json!(POSITIONS), json!(false)));
    let question = "what is this?";
    let seen = served.answer(&request("tiny", json!([shown(0), said(question)]), json!({})));
    assert_eq!(
        (content(&seen), seen["model"].as_str()),
        (chat(&vlm, question, &["--image", &picture_path(0)]).as_str(), Some("tiny"))
    );
    let read = served.answer(&request("words", json!(question), json!({})));
    assert_eq!((content(&read), read["model"].as_str()), (chat(&words, question, &[]).as_str(), Some("words")));
    assert_eq!(served.get("/v1/models/words").json()["id"], "words");
    let missing = served.ask(&request("other", json!("Hi"), json!({})));
    let error = missing.json()["error"].clone();
    assert_eq!((missing.status, error["code"].as_str()), (404, Some("model_not_found")));
    assert!(error["message"].as_str().unwrap().contains("`tiny`, `words`"), "{error}");
    // One of them has no place left, the other one has; the end waits for both.
    let running = served.begin(&endless(true));
    served.wait_for("burn_vlm_requests_running", 1.0);
    assert_eq!(served.ask(&request("words", json!(question), json!({}))).status, 429);
    served.answer(&request("tiny", json!(question), json!({"max_tokens": 2})));
    served.signal("TERM");
    assert!(!streamed(&self::read(running).events(), 1).concat().is_empty());
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_model_is_served_beside_itself_with_an_adapter() {
    let model = fixture("llava_clip_llama");
    let (folder, adapter) = (model.display().to_string(), fixture("../lora/llava").display().to_string());
    let options = ["--name", "base", "--model", &folder, "--name", "tuned", "--adapter", &format!("tuned={adapter}")];
    let served = Served::start(&model, &options);
    let (part, path) = cat();
    let answer = |name: &str| {
        let reply = served.answer(&request(name, json!([part, said("What is this?")]), json!({})));
        content(&reply).to_owned()
    };
    let told =
        |more: &[&str]| chat(&model, "What is this?", &[&["--image", &path, "--temperature", "0"][..], more].concat());
    assert_eq!(answer("base"), told(&[]));
    assert_eq!(answer("tuned"), told(&["--adapter", &adapter]));
    assert_ne!(answer("base"), answer("tuned"));
    assert_eq!(served.get("/v1/models/tuned").json()["burn_vlm"]["adapter"], true);
}

#[test]
fn pictures_are_shown_as_the_model_sees_them() {
    let tiled = fixture("llava_next_siglip_gemma2");
    let served =
        Served::start(&models().vlm(), &["--model", &tiled.display().to_string(), "--name", "tiny", "--name", "tiled"]);
    let look = |model: &str, content: Value| served.post("/v1/inspect", &request(model, content, json!({})));
    let found = look("tiny", json!([shown(0), said("what?"), shown(1)])).json();
    let pictures = found["pictures"].as_array().unwrap();
    assert_eq!(
        (found["model"].as_str(), found["context"].as_u64(), pictures.len()),
        (Some("tiny"), Some(POSITIONS as u64), 2)
    );
    assert_eq!((found["visual_tokens"].as_u64(), found["views_left_out"].as_u64()), (Some(8), Some(0)));
    let prompt = served.answer(&request("tiny", json!([shown(0), said("what?"), shown(1)]), json!({"max_tokens": 1})));
    assert_eq!(found["prompt_tokens"], prompt["usage"]["prompt_tokens"]);
    let picture = &pictures[1];
    assert_eq!(picture["param"], "messages[0].content[2].image_url.url");
    assert_eq!(
        (picture["width"].as_u64(), picture["height"].as_u64(), picture["tokens"].as_u64()),
        (Some(20), Some(30), Some(4))
    );
    assert_eq!((&picture["view"], &picture["tiles"]), (&json!({"width": 16, "height": 16}), &Value::Null));
    // The pixels are those of the processor, before it normalises them.
    let pixels = |view: &Value| {
        let data = view.as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap().to_owned();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        image::load_from_memory(&bytes).unwrap().to_rgb8()
    };
    let processor = burn_vlm_data::image::ImageProcessor::new(ImageProcessorConfig::siglip(16)).unwrap();
    let expected = processor.process_bytes("1.png", &models().picture(1)).unwrap();
    let shown_pixels = pixels(&picture["views"][0]);
    assert_eq!(shown_pixels.dimensions(), (16, 16));
    for (x, y, colours) in shown_pixels.enumerate_pixels() {
        for (channel, colour) in colours.0.iter().enumerate() {
            let value = expected.data[channel * 256 + y as usize * 16 + x as usize];
            assert_eq!(f32::from(*colour), ((value * 0.5 + 0.5) * 255.0).round(), "{x} {y} {channel}");
        }
    }
    // Tiles: the whole, then the grid.
    let (part, _) = cat();
    let alone = look("tiled", json!([part, said("what?")])).json();
    let picture = &alone["pictures"][0];
    let grid = ["rows", "columns"].map(|name| picture["tiles"][name].as_u64().unwrap());
    let views = picture["views"].as_array().unwrap();
    assert!(views.len() as u64 == grid[0] * grid[1] + 1 && views.len() > 2, "{grid:?} {}", views.len());
    assert_eq!(pixels(&views[1]).width() as u64, picture["view"]["width"].as_u64().unwrap());
    let count = |content: Value| {
        let reply = served.answer(&request("tiled", content, json!({"max_tokens": 1})));
        reply["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert_eq!(alone["prompt_tokens"].as_u64(), Some(count(json!([part, said("what?")]))));
    let several = look("tiled", json!([part, part, said("what?")])).json();
    assert_eq!(several["visual_tokens"].as_u64(), alone["visual_tokens"].as_u64().map(|tokens| 2 * tokens));
    assert!(
        several["pictures"].as_array().unwrap().iter().all(|picture| picture["tiles"] == alone["pictures"][0]["tiles"])
    );
    // What is wrong is told as everywhere.
    let broken = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AQIDBAUGBwg="}}]);
    let refused = look("tiny", broken);
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (400, Some("invalid_image")));
    assert_eq!(look("other", json!("Hi")).status, 404);
    assert_eq!(read(served.send("POST", "/v1/inspect", "", b"{}")).status, 415);
}

#[test]
fn the_experts_of_a_prompt_are_told() {
    let served = Served::start(&fixture("parrot_clip_qwen2"), &["--name", "parrot"]);
    assert_eq!(served.get("/v1/models/parrot").json()["burn_vlm"]["experts"], 6);
    let (part, _) = cat();
    let asked =
        |words: &str| request("parrot", json!([part, part, said(words)]), json!({"routing": true, "max_tokens": 4}));
    let weights = |reply: &Value| -> Vec<Vec<f64>> { serde_json::from_value(reply["routing"].clone()).unwrap() };
    let one = served.answer(&asked("What is this?"));
    let found = weights(&one);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
    for row in &found {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < WEIGHTS && row.iter().all(|weight| *weight >= 0.0), "{row:?}");
    }
    // The same picture twice, the same words.
    assert_eq!(found[0], found[1]);
    assert_ne!(weights(&served.answer(&asked("Was ist das?"))), found, "words matter");
    // Streamed: with the first piece, and never again.
    let mut body = asked("What is this?");
    body["stream"] = json!(true);
    body["n"] = json!(2);
    let events = served.ask(&body).events();
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    assert_eq!(weights(&chunks[0]), found);
    assert!(chunks[1..].iter().all(|chunk| chunk.get("routing").is_none()));
    // The answer is the same one; who does not ask is not told.
    let mut quiet = asked("What is this?");
    quiet["routing"] = json!(false);
    let quiet = served.answer(&quiet);
    assert_eq!((content(&quiet), quiet.get("routing")), (content(&one), None));
    let blind = request("parrot", json!("What is this?"), json!({"routing": true, "max_tokens": 1}));
    assert_eq!(served.answer(&blind)["routing"], json!([]));
}
