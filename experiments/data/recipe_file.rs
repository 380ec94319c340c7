//! The recipe beside an exported data set: a small model on it, and what one would change for a large one.

use burn_vlm_data::source::write::WriteFormat;

/// The text of `recipe.toml`, for the shipped parts; two epochs of the data set, first the projector alone.
pub(super) fn recipe_file(format: WriteFormat, samples: u64) -> String {
    // steps of 32 samples; a smaller data set is one step an epoch
    let batch = samples.clamp(1, 32);
    format!(
        "# A small model on this data set, from the parts that ship: docs/training.md has all keys.\n\
         #\n\
         #     cargo run --release --example train -- --recipe recipe.toml\n\n\
         stages = [\"align\", \"finetune\"]\n\n\
         [model]\n\
         # folders below --parts, or any folder with config.json, weights and (backbone) tokenizer.json\n\
         encoder = \"siglip2\"\n\
         backbone = \"backbone\"\n\
         scale_visual_embeds = true\n\
         # 64 patches of a picture averaged to 4 visual tokens, and the pooled output as a fifth; leave it out for all patches\n\
         visual_tokens = {{ pool = 4, pooled_head = true, normalize = true, noise = 0.3 }}\n\n\
         # The projector alone.\n\
         [stage.align]\n\
         objective = \"vlm\"\n\
         epochs = 1\n\
         batch = {batch}\n\
         log_every = 5\n\
         checkpoint_every = 50\n\
         train = {{ multi_modal_projector = 3e-3 }}\n\n\
         [stage.align.mixture]\n\
         file = \"mixture.toml\"               # {format} here; other formats need another mixture file, nothing else\n\n\
         # Projector and language model; what no pattern names is frozen.\n\
         [stage.finetune]\n\
         objective = \"vlm\"\n\
         epochs = 1\n\
         batch = {batch}\n\
         log_every = 5\n\
         checkpoint_every = 50\n\
         train = {{ multi_modal_projector = 1e-3, language_model = 5e-4 }}\n\n\
         [stage.finetune.mixture]\n\
         file = \"mixture.toml\"\n\
         mask = \"answers_only\"               # or towervision, llava_next_qwen\n\
         # samples of similar length together, at most so many tokens a micro-batch; the loss is the same\n\
         batching = {{ strategy = \"grouped\", max_tokens = 1024 }}\n"
    )
}
