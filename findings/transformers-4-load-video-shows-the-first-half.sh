#!/usr/bin/env bash
# transformers 4's `load_video(video, num_frames=N)` takes neighbouring frames from the begin, where a video has less than 2 N frames, and
# at times N + 1 of them.
#
# `transformers.video_utils.default_sample_indices_fn`, by which `load_video` chooses where no rule is given,
# is `np.arange(0, total, total / N, dtype=int)`. With a whole-number dtype numpy takes the number of values from the fractional step, and
# the values from the step cut to a whole number. What is meant, and what the video processors of the same release do for
# `do_sample_frames` (`torch.arange(0, total, total / N).int()`), is to cut the values.
#
# Seen (transformers 4.57.3, numpy 2.4.6):
#   63 frames, 32 asked for:  0 to 31, 32 of them: the second half of the video is never shown
#   90 frames, 32 asked for:  0 to 62, 32 of them
#   90 frames,  8 asked for:  0 to 77,  8 of them
#   17 frames,  7 asked for:  0 to 14,  8 of them
# Expected: evenly over the video, to frames 61, 87, 78 and 14; as many as were asked for. (transformers 5 does so, by whole numbers.)
#
# Why it matters: a video language model that is asked with 32 frames about a clip of two seconds at 30 frames a second is shown the first
# of them, and what happens at the end is not there; scores of runs with 4.x and 5.x differ by what was shown. One frame more than asked
# for is an error where the prompt was made for N.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet transformers==4.57.3 numpy==2.4.6
cat > see.py <<'PY'
from transformers.video_utils import VideoMetadata, default_sample_indices_fn

seen = []
for total, asked in ((63, 32), (90, 32), (90, 8), (17, 7)):
    indices = default_sample_indices_fn(VideoMetadata(total_num_frames=total, fps=30), num_frames=asked).tolist()
    meant = [int(k * total / asked) for k in range(asked)]
    print(f"{total} frames, {asked} asked for: 0 to {indices[-1]}, {len(indices)} of them; evenly: 0 to {meant[-1]}")
    seen.append((indices[-1], len(indices), meant[-1]))
assert seen == [(31, 32, 61), (62, 32, 87), (77, 8, 78), (14, 8, 14)], seen
PY
venv/bin/python see.py
