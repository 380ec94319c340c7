//! What is known of a video before its frames are decoded.

use serde::{Deserialize, Serialize};

/// What is known of a video before its frames are decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// Frames that are shown, counted without decoding them.
    pub frames: usize,
    /// Frames that decode, where that is known and fewer: something seemed wrong with the file, and they were counted too. Of a file that
    /// breaks off as many as a decoder gives before the data end: behind them some are missing.
    pub decoded: Option<usize>,
    /// Width of a frame as it is shown.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Average frames a second; `None` where nothing says (a folder).
    pub fps: Option<f64>,
    /// When each frame is shown, in seconds of the file's own clock, which may begin late; empty where nothing says.
    pub times: Vec<f64>,
    /// Average number of frames from one key frame to the next: what must be decoded to reach a frame. `None` where a video can only be
    /// decoded from its beginning.
    pub key_interval: Option<f64>,
    /// Name of the codec.
    pub codec: String,
    /// What is wrong with a file whose frames can be read all the same: it is cut off or damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// Frames a second of frames at these times, where they say.
pub(super) fn average_rate(times: &[f64]) -> Option<f64> {
    let (first, last) = (times.first()?, times.last()?);
    let rate = (times.len() - 1) as f64 / (last - first);
    (rate.is_finite() && rate > 0.0).then_some(rate)
}
