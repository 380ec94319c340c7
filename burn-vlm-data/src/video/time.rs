//! The time instruction: words before the question that say how long a video is and when its frames are.

use super::sampling::step;
use super::{Sampling, VideoRecord};
use serde::{Deserialize, Serialize};

/// Which times the instruction tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameTimes {
    /// By the frames' numbers and the average rate, as LLaVA-NeXT's training code does: of the rule `fps` below its bound, a number
    /// divided by the rule's step, which is in seconds only where it asks for one frame a second.
    #[default]
    Trained,
    /// When the frames are shown, which differs where the rate varies.
    Shown,
}

impl VideoRecord {
    /// The time instruction in English, in the words of LLaVA-NeXT's training code (`add_time_instruction`), which stand between the
    /// placeholder's line and the question. There are no such words in other languages that anyone has curated. `None` where the video
    /// does not say when its frames are.
    pub fn time_instruction(&self, times: FrameTimes) -> Option<String> {
        let fps = self.fps?;
        let duration = self.total() as f64 / fps;
        let numbers = || self.indices.iter().map(|index| *index as f64);
        let seconds: Vec<f64> = match (times, self.sampling) {
            (FrameTimes::Shown, _) => self.seconds.clone(),
            (FrameTimes::Trained, Sampling::Fps { fps: wanted, upper_bound, force }) => {
                let step = step(fps, wanted);
                let bounded = force || upper_bound.is_some_and(|bound| self.total().div_ceil(step) > bound);
                numbers().map(|index| index / if bounded { fps } else { step as f64 }).collect()
            }
            (FrameTimes::Trained, _) => numbers().map(|index| index / fps).collect(),
        };
        if seconds.is_empty() {
            return None;
        }
        let count = seconds.len();
        let list: Vec<String> = seconds.iter().map(|second| format!("{second:.2}s")).collect();
        Some(format!(
            "The video lasts for {duration:.2} seconds, and {count} frames are uniformly sampled from it. These frames are located at \
             {}.Please answer the following questions related to this video.",
            list.join(",")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sampling: Sampling) -> VideoRecord {
        let indices = sampling.indices("a", 90, Some(30.0)).unwrap();
        let seconds = indices.iter().map(|index| *index as f64 / 10.0).collect();
        let (codec, size) = (String::new(), (8, 8));
        VideoRecord {
            sampling,
            indices,
            seconds,
            counted: 90,
            decoded: None,
            fps: Some(30.0),
            size,
            codec,
            damage: None,
        }
    }

    #[test]
    fn times_by_number_and_as_shown() {
        let text = |sampling, times| record(sampling).time_instruction(times).unwrap();
        let words = text(Sampling::Linspace { frames: 3 }, FrameTimes::Trained);
        assert!(words.starts_with("The video lasts for 3.00 seconds, and 3 frames are uniformly sampled"), "{words}");
        assert!(words.contains("located at 0.00s,1.47s,2.97s."), "{words}");
        assert!(text(Sampling::Linspace { frames: 3 }, FrameTimes::Shown).contains("0.00s,4.40s,8.90s."));
        // Two frames a second, below the bound: every 15th, told as if it were one.
        let rule = |bound| Sampling::Fps { fps: 2.0, upper_bound: Some(bound), force: false };
        assert!(text(rule(6), FrameTimes::Trained).contains("0.00s,1.00s,2.00s,3.00s,4.00s,5.00s."));
        assert!(text(rule(2), FrameTimes::Trained).contains("0.00s,2.97s."));
        let unknown = VideoRecord { fps: None, ..record(Sampling::Linspace { frames: 1 }) };
        assert_eq!(unknown.time_instruction(FrameTimes::Trained), None);
    }
}
