//! Any text as a chat template: compiling and rendering end, soon, with a text or an error.

#![no_main]

use burn_vlm_data::chat_template::{ChatTemplate, Message, OrderedJson, RenderOptions};
use burn_vlm_data::conversation::Turn;
use libfuzzer_sys::fuzz_target;

// The library makes errors of the template engine's panics, so these must not end the process; any other does.
fn init() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("minijinja")) {
            abort(panic);
        }
    }));
}

fuzz_target!(init: init(), |source: &str| {
    let Ok(template) = ChatTemplate::new(source) else { return };
    let template = template.with_special_tokens("<s>", "</s>");
    let turns = [
        Turn::system("Be brief."),
        Turn::user("<image>\nWhat is \u{2764}?"),
        Turn::assistant("a heart"),
        Turn::user(""),
    ];
    for generation in [false, true] {
        for turns in [&turns[..], &turns[1..3], &[]] {
            // Rendering does not depend on what was rendered before.
            let [first, again] = [(), ()].map(|()| template.render(turns, generation).map_err(|error| error.to_string()));
            assert!(first == again || source.contains("strftime_now"), "{first:?} {again:?}");
        }
    }
    let Ok(tools) = r#"[{"name": "f", "parameters": {"x": [1, 2.5, null, true]}}]"#.parse::<OrderedJson>() else { return };
    let variables = [("tools".to_owned(), tools)].into();
    let options = RenderOptions { add_generation_prompt: true, variables };
    let messages: Vec<Message> = turns.iter().map(Message::from).collect();
    let _ = template.render_messages(&messages, &options);
});
