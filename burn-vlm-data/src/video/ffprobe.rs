//! What the program `ffprobe` says of a file: the stream, and every packet of it.
//!
//! Unusual here: frames are counted as packets that are not to be discarded. The counts of headers are wrong for cut files, which hide
//! frames behind an edit list, and are missing in MPEG transport streams and WebM.

use super::error::saying;
use super::info::average_rate;
use super::program::{Patience, Program, last_words};
use super::{VideoError, VideoInfo, VideoOptions};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The containers that are read. Lists of other files, streams from the network and devices are not: a file must not make the programs
/// read another one.
pub(super) const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,av1,obu,\
    ivf,m4v,dv,mxf,nut,wtv,vc1,apng,yuv4mpegpipe,mjpeg";
/// Containers whose time stamps can be sought exactly.
const SEEKABLE: [&str; 2] = ["mov", "matroska"];
/// What the Matroska demuxer says of a file that breaks off.
const ENDS_EARLY: &str = "File ended prematurely";
/// What the demuxer of mp4 says of each sample that is not there.
const NOT_THERE: &str = "partial file";
/// Bytes of a packet of an MPEG transport stream: alone, behind a time stamp, before a checksum.
const TS_PACKETS: [u64; 3] = [188, 192, 204];
/// The longest line that is looked at.
const MAX_LINE: u64 = 1 << 16;

/// What is known of a file.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) info: VideoInfo,
    /// The key frames among the frames that are shown, from which on decoding may begin; empty where frames cannot be sought by their times.
    pub(super) keys: Vec<usize>,
    /// What the program complained about, although it could read the file.
    pub(super) complaint: String,
    /// How the file breaks off, where it does.
    pub(super) cut: Option<Cut>,
}

/// What is unsure about the last frames of a file that breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The last packet may be there in part: what a decoder makes of it is half a guess, or another frame again.
    partial: bool,
    /// Frames that the decoder holds back to put them in order. When the data end it gives them all, although frames that belong between
    /// them are missing: of a cut file frame 44 would be followed by frame 48.
    held_back: usize,
}

impl Probe {
    /// How many of the frames that decode are those that their numbers say: all, but of a file that breaks off. There it is as many as a
    /// decoder gives before the data end.
    pub(super) fn right(&self, decoded: usize) -> usize {
        let Some(Cut { partial, held_back }) = self.cut else { return decoded };
        let whole = decoded.min(self.info.frames.saturating_sub(usize::from(partial)));
        // A first frame is right: nothing is shown before it.
        whole.saturating_sub(held_back).max(1).min(decoded)
    }
}

/// The name of a file for the programs: never an option, never a protocol.
pub(super) fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// Looks at a file.
pub(super) fn probe(name: &str, path: &Path, options: &VideoOptions) -> Result<Probe, VideoError> {
    let limits = &options.limits;
    let mut arguments: Vec<OsString> =
        ["-v", "error", "-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-max_pixels"]
            .map(OsString::from)
            .into();
    arguments.push(limits.max_pixels.to_string().into());
    // Capital V: pictures that are attached to sound are no video.
    let shown = "packet=pts_time,flags:stream=codec_name,codec_tag_string,width,height,avg_frame_rate,nb_frames,has_b_frames:\
                 stream_side_data=rotation:format=format_name";
    arguments.extend(["-select_streams", "V:0", "-show_entries", shown, "-of", "compact", "-i"].map(OsString::from));
    arguments.push(file_argument(path));
    let mut patience = Patience::new(limits);
    let mut program = Program::start(name, &options.ffprobe, &arguments, limits, &mut patience)?;
    program.count_all_time();
    let mut found = Found { bytes: file_bytes(path), ..Found::default() };
    let mut line = Vec::new();
    let mut output = BufReader::new(&mut program);
    loop {
        line.clear();
        match (&mut output).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => found.line(&String::from_utf8_lossy(&line)),
            Err(error) => {
                drop(output);
                return Err(program.failure(&error));
            }
        }
        if found.shown > limits.max_frames {
            return Err(VideoError::TooLong { name: name.to_owned(), max_frames: limits.max_frames });
        }
    }
    drop(output);
    let status = program.wait()?;
    let sized = found.stream.as_ref().is_some_and(|stream| stream.width > 0);
    if let Some((width, height)) = refused_size(&program.messages()).filter(|_| !sized) {
        return Err(VideoError::TooLarge { name: name.to_owned(), width, height, max_pixels: limits.max_pixels });
    }
    if !status.success() {
        return Err(program.error(format!("cannot read it ({status})")));
    }
    found.probe(name, options, &program.messages())
}

/// How large a file is, where the system says.
pub(super) fn file_bytes(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|data| data.len())
}

/// The size that the program would not decode: it then ends with an error, or without saying how large frames are.
pub(super) fn refused_size(messages: &str) -> Option<(u32, u32)> {
    let (_, after) = messages.split_once("Picture size ")?;
    let (size, _) = after.split_once(" exceeds specified max pixel count")?;
    let (width, height) = size.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// What the lines say.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Times of the packets that are shown, where all have one.
    times: Vec<f64>,
    pub(super) shown: usize,
    packets: usize,
    keys: usize,
    /// Times of the key frames among them.
    key_times: Vec<f64>,
    pub(super) stream: Option<Stream>,
    /// The container's names.
    format: String,
    /// How large the file is.
    bytes: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) codec: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rate: Option<f64>,
    /// Width and height change places.
    pub(super) turned: bool,
    /// Frames that the header promises.
    pub(super) promised: Option<usize>,
    /// Frames that a decoder holds back to put them in order.
    pub(super) held_back: usize,
}

impl Found {
    /// Nothing yet, of a file of these bytes, in a container of these names.
    #[cfg(feature = "libav")]
    pub(super) fn of(format: &str, bytes: Option<u64>) -> Self {
        Self { format: format.to_owned(), bytes, ..Self::default() }
    }

    /// Takes in a line such as `packet|pts_time=1.300000|flags=K_`. Of a transport stream the stream's line comes twice, behind the name
    /// of its programme.
    fn line(&mut self, line: &str) {
        let mut parts = line.trim_end().split('|').peekable();
        while parts.next_if(|part| *part == "program").is_some() {}
        let kind = parts.next().unwrap_or_default();
        // In newer versions a key is behind the name of the side data that it belongs to.
        let values = parts.filter_map(|part| part.split_once('=')).map(|(key, value)| {
            let key = key.rsplit(':').next().unwrap_or(key);
            (key, value)
        });
        match kind {
            "packet" => self.packet_of(values),
            "stream" => self.stream = Some(Stream::of(values)),
            "format" => {
                self.format = values.filter(|(key, _)| *key == "format_name").map(|(_, name)| name).collect();
            }
            _ => {}
        }
    }

    fn packet_of<'l>(&mut self, values: impl Iterator<Item = (&'l str, &'l str)>) {
        let (mut time, mut flags) = (None, "");
        for (key, value) in values {
            match key {
                "pts_time" => time = value.parse().ok().filter(|time: &f64| time.is_finite()),
                "flags" => flags = value,
                _ => {}
            }
        }
        self.packet(time, flags.contains('K'), flags.contains('D'));
    }

    /// Takes in a packet: when it is shown, whether it is a key frame, and whether it is decoded for the sake of others alone.
    pub(super) fn packet(&mut self, time: Option<f64>, key: bool, discarded: bool) {
        self.packets += 1;
        self.keys += usize::from(key);
        if !discarded {
            self.shown += 1;
            self.times.extend(time);
            self.key_times.extend(time.filter(|_| key));
        }
    }

    /// Whether a file breaks off, by what its container says.
    fn breaks_off(&self, container: &str, messages: &str) -> bool {
        let promised = self.stream.as_ref().and_then(|stream| stream.promised);
        let fewer = promised.is_some_and(|promised| promised > self.packets);
        match container {
            "matroska" => messages.contains(ENDS_EARLY),
            // Of a file in fragments the header promises nothing. Sound may be missing alone.
            "mov" => fewer && !messages.is_empty() || promised.is_none() && messages.contains(NOT_THERE),
            "avi" => fewer,
            // Packets of one length that fill no whole number of them.
            "mpegts" => self.bytes.is_some_and(|bytes| TS_PACKETS.iter().all(|packet| bytes % packet != 0)),
            _ => false,
        }
    }

    /// What is known when all is taken in, the demuxer's messages among it.
    pub(super) fn probe(self, name: &str, options: &VideoOptions, messages: &str) -> Result<Probe, VideoError> {
        let name = || name.to_owned();
        let complaint = last_words(messages);
        let said = saying(&complaint);
        let container = self.format.split(',').next().unwrap_or_default();
        let breaks_off = self.breaks_off(container, messages);
        let Some(stream) = self.stream else {
            let what = if self.format.is_empty() { said } else { format!(" ({})", self.format) };
            return Err(VideoError::NoStream { name: name(), said: what });
        };
        if self.shown == 0 {
            return Err(VideoError::NoFrames { name: name(), said });
        }
        let (mut width, mut height) = (stream.width, stream.height);
        if width == 0 || height == 0 {
            let reason = format!("its {} stream does not say how large its frames are{said}", stream.codec);
            return Err(VideoError::File { name: name(), reason });
        }
        if u64::from(width) * u64::from(height) > options.limits.max_pixels {
            return Err(VideoError::TooLarge { name: name(), width, height, max_pixels: options.limits.max_pixels });
        }
        if stream.turned && options.turn {
            (width, height) = (height, width);
        }
        let mut times = self.times;
        times.sort_by(f64::total_cmp);
        let exact = times.len() == self.shown && times.windows(2).all(|pair| pair[0] < pair[1]);
        let fps = stream.rate.or_else(|| average_rate(&times));
        if times.len() != self.shown {
            // Packets without a time (AVI): as far as the average rate tells.
            times = fps.map_or(Vec::new(), |fps| (0..self.shown).map(|frame| frame as f64 / fps).collect());
        }
        let key_interval = (self.keys > 1).then(|| self.packets as f64 / self.keys as f64);
        let seekable = exact && key_interval.is_some() && SEEKABLE.contains(&container);
        let place = |time: &f64| times.binary_search_by(|other| other.total_cmp(time)).ok();
        let mut keys: Vec<usize> =
            if seekable { self.key_times.iter().filter_map(place).collect() } else { Vec::new() };
        keys.sort_unstable();
        // Headers promise other numbers than are shown for good reasons too; without a complaint only AVI's is a count of what follows.
        let promised = stream.promised.filter(|promised| *promised > self.packets);
        // Whole blocks alone come of Matroska.
        let cut = breaks_off.then(|| Cut { partial: container != "matroska", held_back: stream.held_back });
        let promised =
            promised.map(|promised| format!("its header promises {promised} frames, {} are there", self.packets));
        let complaint_of = (!complaint.is_empty()).then(|| format!("ffprobe said: {complaint}"));
        let damage = match (complaint_of, promised) {
            (Some(said), promised) => Some(promised.into_iter().chain([said]).collect::<Vec<_>>().join("; ")),
            (None, promised) => promised.filter(|_| container == "avi"),
        };
        let damage = damage.or_else(|| cut.map(|_| "it breaks off within a packet".to_owned()));
        let info = VideoInfo {
            frames: self.shown,
            decoded: None,
            width,
            height,
            fps,
            times,
            key_interval,
            codec: stream.codec,
            damage,
        };
        Ok(Probe { info, keys, complaint, cut })
    }
}

impl Stream {
    fn of<'l>(values: impl Iterator<Item = (&'l str, &'l str)>) -> Self {
        let mut stream = Self::default();
        for (key, value) in values {
            match key {
                "codec_name" => stream.codec = value.to_owned(),
                // What no decoder is known for has a tag at most.
                "codec_tag_string" if stream.codec.is_empty() => stream.codec = value.to_owned(),
                "width" => stream.width = value.parse().unwrap_or_default(),
                "height" => stream.height = value.parse().unwrap_or_default(),
                "avg_frame_rate" => stream.rate = rate(value),
                "nb_frames" => stream.promised = value.parse().ok(),
                "has_b_frames" => stream.held_back = value.parse().unwrap_or_default(),
                "rotation" => {
                    // Quarter turns; other angles are shown as they are stored.
                    let quarters = value.parse().map_or(0.0, |degrees: f64| (degrees / 90.0).round());
                    stream.turned = quarters.rem_euclid(2.0) == 1.0;
                }
                _ => {}
            }
        }
        stream
    }
}

/// A rate such as `30000/1001`; `None` for `0/0`.
fn rate(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/')?;
    let rate = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(text: &str) -> Result<Probe, VideoError> {
        let mut found = Found::default();
        text.lines().for_each(|line| found.line(line));
        found.probe("a.mp4", &VideoOptions::default(), "")
    }

    /// Lines as FFmpeg 5.1 writes them for a file whose beginning is hidden, and for a turned one.
    #[test]
    fn hidden_packets_do_not_count() {
        let cut = "packet|pts_time=-0.066667|flags=KD\npacket|pts_time=-0.033333|flags=_D\npacket|pts_time=0.033333|flags=K_\n\
                   packet|pts_time=0.000000|flags=__|side_data|\n\nstream|codec_name=h264|codec_tag_string=avc1|width=160|height=96|\
                   avg_frame_rate=30/1|side_data|rotation=-90\n\nformat|format_name=mov,mp4,m4a,3gp,3g2,mj2\n";
        let Probe { info, keys, .. } = probed(cut).unwrap();
        assert_eq!((info.frames, info.width, info.height, info.fps), (2, 96, 160, Some(30.0)));
        assert_eq!((info.times, info.key_interval, keys), (vec![0.0, 0.033333], Some(2.0), vec![1]));
        // As newer versions name side data.
        let newer = cut.replace("side_data|rotation=-90", "side_datum/display_matrix:rotation=-90");
        assert_eq!(probed(&newer).unwrap().info.width, 96);
        assert_eq!(probed(&cut.replace("-90", "180")).unwrap().info.width, 160);
    }

    #[test]
    fn transport_streams_and_packets_without_times() {
        let stream = "packet|pts_time=N/A|flags=K_\npacket|pts_time=1.5|flags=__\n\
                      program|stream|codec_name=mpeg4|width=8|height=4|avg_frame_rate=4/2\nstream|codec_name=mpeg4|width=8|height=4|\
                      avg_frame_rate=4/2\nformat|format_name=mpegts";
        let Probe { info, keys, .. } = probed(stream).unwrap();
        assert_eq!((info.frames, info.fps, info.times, keys.len()), (2, Some(2.0), vec![0.0, 0.5], 0));
        let unknown = stream.replace("4/2", "0/0");
        let info = probed(&unknown).unwrap().info;
        assert_eq!((info.fps, info.times.len()), (None, 0));
    }

    /// What a header promises and is not there is told: of AVI always, of others beside a complaint.
    #[test]
    fn what_is_missing_is_told() {
        let of = |container: &str, complaint: &str| {
            let text = format!(
                "packet|pts_time=0|flags=K_\nstream|codec_name=mpeg4|width=8|height=4|avg_frame_rate=4/2|nb_frames=60\n\
                                format|format_name={container}"
            );
            let mut found = Found::default();
            text.lines().for_each(|line| found.line(line));
            found.probe("a", &VideoOptions::default(), complaint).unwrap().info.damage
        };
        assert_eq!(of("avi", "").as_deref(), Some("its header promises 60 frames, 1 are there"));
        assert_eq!(of("mov,mp4", ""), None, "an edit list hides frames");
        let told = of("mov,mp4", "partial file").unwrap();
        assert_eq!(told, "its header promises 60 frames, 1 are there; ffprobe said: partial file");
    }

    /// Of a file that breaks off count the frames that a decoder gives before the data end; of others all that decode.
    #[test]
    fn frames_before_the_end_of_the_data() {
        let of = |container: &str, promised: &str, bytes: u64, messages: &str| {
            let packets = "packet|pts_time=0|flags=K_\n".repeat(47);
            let text = format!(
                "{packets}stream|codec_name=h264|width=8|height=4|has_b_frames=2|avg_frame_rate=4/2|nb_frames={promised}\n\
                 format|format_name={container}"
            );
            let mut found = Found { bytes: Some(bytes), ..Found::default() };
            text.lines().for_each(|line| found.line(line));
            let probe = found.probe("a", &VideoOptions::default(), messages).unwrap();
            (probe.right(47), probe.right(46), probe.right(3), probe.right(1), probe.info.damage.is_some())
        };
        let whole = (47, 46, 3, 1, false);
        // The last packet may be there in part, but not of Matroska; two frames are held back.
        let cut = (44, 44, 1, 1, true);
        let gone = "[mov @ 0x1] stream 0, offset 0x32aa: partial file";
        assert_eq!(of("mov,mp4", "90", 188, gone), cut);
        assert_eq!(of("mov,mp4", "N/A", 188, gone), cut);
        assert_eq!(of("mov,mp4", "47", 188, gone), (47, 46, 3, 1, true), "all packets are there: sound is missing");
        assert_eq!(of("mov,mp4", "90", 188, ""), whole, "an edit list");
        assert_eq!(of("avi", "90", 188, ""), cut);
        assert_eq!(of("avi", "47", 188, ""), whole);
        assert_eq!(
            of("matroska,webm", "N/A", 188, "[matroska,webm @ 0x1] File ended prematurely"),
            (45, 44, 1, 1, true)
        );
        assert_eq!(of("matroska,webm", "N/A", 188, "odd"), (47, 46, 3, 1, true));
        assert_eq!((of("mpegts", "N/A", 1881, ""), of("mpegts", "N/A", 1880, "")), (cut, whole));
        assert_eq!((of("mpegts", "N/A", 1920, ""), of("mpegts", "N/A", 2040, "")), (whole, whole));
    }

    #[test]
    fn what_is_no_video() {
        let error = probed("format|format_name=mov,mp4").unwrap_err().to_string();
        assert!(error.contains("no video stream") && error.contains("mov,mp4"), "{error}");
        let error = probed("stream|codec_name=h264|width=8|height=8|avg_frame_rate=0/0").unwrap_err().to_string();
        assert!(error.contains("no frame"), "{error}");
        let large = "packet|flags=K\nstream|codec_name=h264|width=16384|height=16384|avg_frame_rate=1/1";
        let error = probed(large).unwrap_err().to_string();
        assert!(error.contains("16384 x 16384"), "{error}");
        let error = probed("packet|flags=K\nstream|codec_tag_string=xyz1|width=0|height=0").unwrap_err().to_string();
        assert!(error.contains("xyz1") && error.contains("how large"), "{error}");
    }
}
