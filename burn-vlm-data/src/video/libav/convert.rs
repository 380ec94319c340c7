//! From a decoded frame to RGB, as the program `ffmpeg` does it: by a graph of its filters.

use super::av;
use crate::image::RgbImage;
use av::filter::{self, Graph};
use av::frame::Video;

/// The numbers of a display matrix.
const MATRIX: usize = 9;

/// How frames are to be turned: the filters that the program puts in for a display matrix.
pub(super) fn turning(matrix: &[u8]) -> (&'static str, bool) {
    let (numbers, _) = matrix.as_chunks::<4>();
    let matrix: Vec<f64> = numbers.iter().map(|bytes| f64::from(i32::from_ne_bytes(*bytes))).collect();
    let Some(m) = matrix.get(..MATRIX) else { return ("", false) };
    let (first, second) = (m[0].hypot(m[3]), m[1].hypot(m[4]));
    if first == 0.0 || second == 0.0 {
        return ("", false);
    }
    // The program's angle, from 0 to 360.
    let angle = (m[1] / second).atan2(m[0] / first).to_degrees().round().rem_euclid(360.0);
    match angle {
        90.0 => (if m[3] > 0.0 { "transpose=cclock_flip," } else { "transpose=clock," }, true),
        270.0 => (if m[3] < 0.0 { "transpose=clock_flip," } else { "transpose=cclock," }, true),
        180.0 => match (m[0] < 0.0, m[4] < 0.0) {
            (true, true) => ("hflip,vflip,", false),
            (true, false) => ("hflip,", false),
            (false, true) => ("vflip,", false),
            (false, false) => ("", false),
        },
        0.0 if m[4] < 0.0 => ("vflip,", false),
        // Other angles are shown as they are stored.
        _ => ("", false),
    }
}

/// Makes RGB of frames; all come in the size of the first.
#[derive(Default)]
pub(super) struct Converter {
    /// Filters that turn frames, each with a comma behind it.
    pub(super) turn: &'static str,
    /// What the graph was made for, and it.
    graph: Option<(String, Graph)>,
    size: Option<(u32, u32)>,
}

impl Converter {
    /// The frame as it is shown.
    pub(super) fn rgb(&mut self, frame: &Video) -> Result<RgbImage, av::Error> {
        let input = input_of(frame)?;
        let mut graph = match self.graph.take().filter(|(known, _)| *known == input) {
            Some((_, graph)) => graph,
            None => self.graph_for(&input)?,
        };
        let missing = av::Error::FilterNotFound;
        graph.get("in").ok_or(missing)?.source().add(frame)?;
        let mut made = Video::empty();
        graph.get("out").ok_or(missing)?.sink().frame(&mut made)?;
        self.graph = Some((input, graph));
        let (width, height) = (made.width(), made.height());
        self.size.get_or_insert((width, height));
        let row = 3 * width as usize;
        let mut pixels = Vec::with_capacity(row * height as usize);
        for line in made.data(0).chunks(made.stride(0)).take(height as usize) {
            pixels.extend_from_slice(line.get(..row).ok_or(av::Error::InvalidData)?);
        }
        RgbImage::from_raw(width, height, pixels).ok_or(av::Error::InvalidData)
    }

    fn graph_for(&self, input: &str) -> Result<Graph, av::Error> {
        let find = |name: &str| filter::find(name).ok_or(av::Error::FilterNotFound);
        let mut graph = Graph::new();
        graph.add(&find("buffer")?, "in", input)?;
        graph.add(&find("buffersink")?, "out", "")?;
        let size = self.size.map_or_else(String::new, |(width, height)| format!("{width}:{height}:"));
        let filters = format!("{}scale={size}flags=bicubic,format=pix_fmts=rgb24", self.turn);
        graph.output("in", 0)?.input("out", 0)?.parse(&filters)?;
        graph.validate()?;
        Ok(graph)
    }
}

/// What the graph is told of its input.
fn input_of(frame: &Video) -> Result<String, av::Error> {
    let format = frame.format().descriptor().ok_or(av::Error::InvalidData)?;
    let aspect = frame.aspect_ratio();
    Ok(format!(
        "video_size={}x{}:pix_fmt={}:time_base=1/1:pixel_aspect={}/{}",
        frame.width(),
        frame.height(),
        format.name(),
        aspect.numerator(),
        aspect.denominator().max(1)
    ))
}
