//! A minimal SVG writer, and the same drawing as PNG.
//!
//! Charts are a few kinds of shapes at places the layout has computed, so they are written directly; text is real text
//! (searchable, copyable) in a font whose widths the layout knows.

use std::fmt::Write;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::ReportError;
use super::font::{self, FAMILY};
use super::palette::Ink;

/// Pixels of a PNG for each unit of the drawing.
const PNG_SCALE: f32 = 2.0;

/// A drawing in progress.
pub(super) struct Svg {
    width: f64,
    title: String,
    body: String,
    clips: usize,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    pub size: f64,
    pub bold: bool,
    pub ink: Ink,
}

impl Svg {
    /// An empty drawing. `title` is what screen readers say.
    pub fn new(width: f64, title: &str) -> Self {
        Self { width, title: title.to_owned(), body: String::new(), clips: 0 }
    }

    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), ink: Ink, radius: f64) {
        let (x, y, width, height, radius) = (px(x), px(y), px(width.max(0.0)), px(height.max(0.0)), px(radius));
        let (class, fill) = (ink.class(), ink.light());
        self.add(format_args!(
            r#"<rect class="f-{class}" fill="{fill}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>"#
        ));
    }

    /// A rectangle that lets through what is below it.
    pub fn shade(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), ink: Ink, opacity: f64) {
        let (x, y, width, height, opacity) = (px(x), px(y), px(width.max(0.0)), px(height.max(0.0)), px(opacity));
        let (class, fill) = (ink.class(), ink.light());
        self.add(format_args!(
            r#"<rect class="f-{class}" fill="{fill}" fill-opacity="{opacity}" x="{x}" y="{y}" width="{width}" height="{height}" rx="2"/>"#
        ));
    }

    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), ink: Ink, width: f64, dashes: Option<&str>) {
        let (x1, y1, x2, y2, width) = (px(x1), px(y1), px(x2), px(y2), px(width));
        let (class, stroke, dashes) = (ink.class(), ink.light(), dash_attribute(dashes));
        self.add(format_args!(
            r#"<line class="k-{class}" stroke="{stroke}" stroke-width="{width}"{dashes} x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    /// A polyline that is not filled.
    pub fn path(&mut self, points: &[(f64, f64)], ink: Ink, width: f64, opacity: f64) {
        let mut d = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{} {}", if i == 0 { "M" } else { "L" }, px(*x), px(*y));
        }
        let (class, stroke, dashes) = (ink.class(), ink.light(), dash_attribute(ink.dashes()));
        let (width, opacity) = (px(width), px(opacity));
        self.add(format_args!(
            r#"<path class="k-{class}" stroke="{stroke}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linejoin="round" fill="none"{dashes} d="{d}"/>"#
        ));
    }

    /// A circle; one that is not filled shows the ground within.
    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64, ink: Ink, filled: bool, stroke: f64) {
        let fill = if filled { ink } else { Ink::Ground };
        let (x, y, radius, stroke) = (px(x), px(y), px(radius), px(stroke));
        self.add(format_args!(
            r#"<circle class="f-{} k-{}" fill="{}" stroke="{}" stroke-width="{stroke}" cx="{x}" cy="{y}" r="{radius}"/>"#,
            fill.class(),
            ink.class(),
            fill.light(),
            ink.light(),
        ));
    }

    pub fn text(&mut self, (x, y): (f64, f64), text: &str, font: Font, anchor: Anchor) {
        let (x, y, size) = (px(x), px(y), px(font.size));
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let weight = if font.bold { r#" font-weight="700""# } else { "" };
        let (class, fill, text) = (font.ink.class(), font.ink.light(), escape(text));
        self.add(format_args!(
            r#"<text class="f-{class}" fill="{fill}" font-size="{size}"{weight}{anchor} x="{x}" y="{y}">{text}</text>"#
        ));
    }

    /// Draws what `inner` draws, cut off at a rectangle.
    pub fn clipped(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), inner: impl FnOnce(&mut Self)) {
        self.clips += 1;
        // Several drawings may stand in one page: ids must differ between them.
        let id = format!("c{:x}-{}", fingerprint(&format!("{}{}", self.title, self.width)), self.clips);
        let (x, y, width, height) = (px(x), px(y), px(width), px(height));
        self.add(format_args!(
            r#"<clipPath id="{id}"><rect x="{x}" y="{y}" width="{width}" height="{height}"/></clipPath><g clip-path="url(#{id})">"#
        ));
        inner(self);
        self.add(format_args!("</g>"));
    }

    /// The whole drawing as an SVG document of the given height.
    pub fn finish(self, height: f64) -> String {
        let (width, height, title, body) = (px(self.width), px(height), escape(&self.title), self.body);
        let (ground, fill) = (Ink::Ground.class(), Ink::Ground.light());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\" font-family=\"{FAMILY}\">\n<title>{title}</title>\n<rect class=\"f-{ground}\" fill=\"{fill}\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n"
        )
    }

    fn add(&mut self, shape: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{shape}");
    }
}

fn dash_attribute(dashes: Option<&str>) -> String {
    dashes.map_or_else(String::new, |dashes| format!(r#" stroke-dasharray="{dashes}""#))
}

/// A short number that depends on the text alone (FNV-1a).
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A coordinate with at most two decimals.
fn px(value: f64) -> String {
    let text = format!("{value:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// Text for SVG and HTML, within elements and attributes. Characters that XML forbids are dropped.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' => escaped.push(c),
            c if c < ' ' || c == '\u{7f}' || c == '\u{fffe}' || c == '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// The drawing as PNG, two pixels for each unit.
pub(super) fn png(svg: &str) -> Result<Vec<u8>, ReportError> {
    let failed = |reason: String| ReportError::Internal { what: "a PNG from a drawing".to_owned(), reason };
    let options = Options { fontdb: font::database(), font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(PNG_SCALE).ok_or_else(|| failed("its size is 0".to_owned()))?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or_else(|| failed("its size is 0 or too large".to_owned()))?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    encode(&pixels).map_err(|error| failed(error.to_string()))
}

/// Opaque pixels as RGB with the best compression: a third of what the renderer's own encoder makes of a chart.
fn encode(pixels: &Pixmap) -> Result<Vec<u8>, ::png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, pixels.width(), pixels.height());
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_compression(::png::Compression::Best);
    // Flat areas compress best as they are.
    encoder.set_filter(::png::FilterType::NoFilter);
    let rgb: Vec<u8> = pixels.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> String {
        let mut svg = Svg::new(100.0, "a & b");
        svg.text((10.0, 30.0), text, Font { size: 20.0, bold: true, ink: Ink::Text }, Anchor::Start);
        svg.finish(40.0)
    }

    #[test]
    fn text_is_escaped() {
        let svg = word("<script>'\"&\u{0}\u{8}");
        assert!(svg.contains("&lt;script&gt;&#39;&quot;&amp;</text>"), "{svg}");
        assert!(svg.contains(r#"aria-label="a &amp; b""#));
    }

    #[test]
    fn png_has_text_without_system_fonts() {
        let dark = |text: &str| {
            let pixels = Pixmap::decode_png(&png(&word(text)).unwrap()).unwrap();
            assert_eq!((pixels.width(), pixels.height()), (200, 80));
            pixels.pixels().iter().filter(|pixel| pixel.red() < 128).count()
        };
        assert_eq!(dark(" "), 0);
        assert!(dark("WORD") > 400, "{} dark pixels", dark("WORD"));
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([px(1.0), px(0.256), px(-0.001), px(10.5)], ["1", "0.26", "0", "10.5"]);
    }
}
