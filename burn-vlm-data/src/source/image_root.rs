//! The folder that a source's paths of pictures, or of videos, may not leave.
//!
//! Absolute paths and links are fine as long as they stay below it, a backslash is the separator that it is elsewhere. A link that
//! leads out (a folder of pictures is often one, to a shared disk) is followed only where that is allowed.

use super::skip::{SkipKind, SkipReason};
use crate::image::{is_picture, natural};
use std::path::{Component, Path, PathBuf};

/// The most characters of a path that a message shows.
const SHOWN: usize = 120;

/// A path in quotes as a message shows it; of a long one the end, where the file's name stands.
fn shown(path: &str) -> String {
    match path.char_indices().rev().nth(SHOWN - 1) {
        Some((at, _)) if at > 0 => format!("...{:?} ({} characters)", &path[at..], path.chars().count()),
        _ => format!("{path:?}"),
    }
}

/// A folder of pictures; paths from outside are looked up in it and nowhere else.
#[derive(Debug, Clone)]
pub struct ImageRoot {
    /// As it is given.
    given: PathBuf,
    /// All links resolved.
    root: PathBuf,
    /// Links may lead out.
    allow_links: bool,
    /// Whoever reads here has an option for that, which an error may name.
    has_option: bool,
    /// What is looked up here.
    of: Of,
}

/// What is looked up in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Pictures,
    Videos,
    /// Videos, in the folder of pictures.
    VideosAmongPictures,
}

impl Of {
    /// How a file that is not there is counted.
    fn missing(self) -> SkipKind {
        match self {
            Self::Pictures => SkipKind::MissingImage,
            Self::Videos | Self::VideosAmongPictures => SkipKind::MissingVideo,
        }
    }

    /// What errors call the folder.
    fn words(self) -> &'static str {
        match self {
            Self::Pictures => "image root",
            Self::Videos => "video root",
            Self::VideosAmongPictures => "image root (no `video_root` is set)",
        }
    }
}

impl ImageRoot {
    /// The folder must be there. With `allow_links` links may lead out of it.
    ///
    /// # Errors
    /// Nothing there, or no folder.
    pub fn new(folder: &Path, allow_links: bool) -> Result<Self, std::io::Error> {
        let root = folder.canonicalize()?;
        if root.is_dir() {
            let given = std::path::absolute(folder)?;
            return Ok(Self { given, root, allow_links, has_option: true, of: Of::Pictures });
        }
        Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, "it is not a folder"))
    }

    /// As [`Self::new`] for a folder whose links never lead out of it; no error names an option that would let them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn closed(folder: &Path) -> Result<Self, std::io::Error> {
        Ok(Self { has_option: false, ..Self::new(folder, false)? })
    }

    /// The same folder, in which videos and their frames are looked up.
    pub(super) fn for_videos(self) -> Self {
        Self { of: Of::Videos, ..self }
    }

    /// The same where the folder is that of the pictures.
    pub(super) fn for_videos_too(&self) -> Self {
        Self { of: Of::VideosAmongPictures, ..self.clone() }
    }

    /// The file that a relative path stands for.
    ///
    /// # Errors
    /// A path that leads out of the folder, or to no file.
    pub fn file(&self, relative: &str) -> Result<PathBuf, SkipReason> {
        let path = self.resolve(relative)?;
        // A pipe or a device could block for ever, or have no end.
        if path.is_file() {
            return Ok(path);
        }
        Err(SkipReason::new(self.of.missing(), format!("{} is not a file", shown(relative))))
    }

    /// Whether a path leads to a folder below this one.
    pub(super) fn is_folder(&self, relative: &str) -> bool {
        self.resolve(relative).is_ok_and(|path| path.is_dir())
    }

    /// The pictures of a folder in natural order, as [`FolderSource`](crate::video::FolderSource) has them: the frames of a video.
    pub(super) fn frames(&self, relative: &str) -> Result<Vec<PathBuf>, SkipReason> {
        let path = self.resolve(relative)?;
        if !path.is_dir() {
            let detail = format!("{} is no folder of frames; extract the frames first", shown(relative));
            return Err(SkipReason::new(SkipKind::UnsupportedVideo, detail));
        }
        let unreadable = |error| SkipReason::new(self.of.missing(), format!("{}: {error}", shown(relative)));
        let mut frames = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if !is_picture(Path::new(&name)) {
                continue;
            }
            frames.push(self.file(&format!("{relative}/{}", name.to_string_lossy()))?);
        }
        if frames.is_empty() {
            let detail = format!("{} is a folder without pictures, expected the frames of a video", shown(relative));
            return Err(SkipReason::new(SkipKind::UnsupportedVideo, detail));
        }
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        frames.sort_by(|a, b| natural(&name(a), &name(b)));
        Ok(frames)
    }

    fn resolve(&self, named: &str) -> Result<PathBuf, SkipReason> {
        let escape = |why: &str| SkipReason::new(SkipKind::PathEscape, format!("{}: {why}", shown(named)));
        let missing = |why: String| SkipReason::new(self.of.missing(), format!("{}: {why}", shown(named)));
        if named.contains("://") {
            let detail = format!("{} is an address; fetch it first", shown(named));
            return Err(SkipReason::new(self.of.missing(), detail));
        }
        if named.contains('\0') {
            return Err(escape("a zero byte"));
        }
        // A name may hold a backslash here; else it was written where that separates folders.
        let unix = named.replace('\\', "/");
        let literal = !named.contains('\\') || self.root.join(named).exists();
        let path = Path::new(if literal { named } else { &unix });
        // An absolute path below the folder is the rest of it.
        let below = [&self.given, &self.root].into_iter().find_map(|root| path.strip_prefix(root).ok());
        let path = below.unwrap_or(path);
        let plain = |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
        if path.as_os_str().is_empty() || !path.components().all(plain) {
            return Err(escape(&format!("only paths below the {} are read", self.of.words())));
        }
        let found = self.root.join(path).canonicalize().map_err(|error| missing(error.to_string()))?;
        if self.allow_links || found.starts_with(&self.root) {
            return Ok(found);
        }
        let help = match self.has_option {
            true => "; `allow_links = true` of the source (--allow-links) follows it",
            false => ", which is not followed here; put the file itself there",
        };
        Err(escape(&format!("a link leads out of the {}{help}", self.of.words())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("video")).unwrap();
        std::fs::write(folder.path().join("secret.png"), "secret").unwrap();
        std::fs::write(root.join("a.png"), "a").unwrap();
        std::fs::write(root.join("video/2.png"), "2").unwrap();
        std::fs::write(root.join("video/1.png"), "1").unwrap();
        std::fs::write(root.join("video/10.png"), "10").unwrap();
        std::fs::write(root.join("video/notes.txt"), "no frame").unwrap();
        let images = ImageRoot::new(&root, false).unwrap();
        let absolute = root.join("a.png").display().to_string();
        for good in ["a.png", "./a.png", "video/1.png", "video\\1.png", ".\\video\\1.png", &absolute] {
            assert!(images.file(good).is_ok(), "{good}");
        }
        let secret = folder.path().join("secret.png").display().to_string();
        for bad in [
            "../secret.png",
            "video/../../secret.png",
            "video/../a.png",
            &secret,
            "..",
            "",
            "/etc/passwd",
            "a\0b",
            "..\\a",
        ] {
            assert_eq!(images.file(bad).unwrap_err().kind, SkipKind::PathEscape, "{bad:?}");
        }
        for missing in ["b.png", "https://example.com/a.png", "video"] {
            assert_eq!(images.file(missing).unwrap_err().kind, SkipKind::MissingImage, "{missing}");
        }
        let videos = images.clone().for_videos();
        for missing in ["b.mp4", "https://example.com/a.mp4", "video"] {
            assert_eq!(videos.file(missing).unwrap_err().kind, SkipKind::MissingVideo, "{missing}");
        }
        assert!(videos.file("../a.mp4").unwrap_err().detail.contains("below the video root"));
        assert!(images.for_videos_too().file("../a.mp4").unwrap_err().detail.contains("video_root"));
        let frames = images.frames("video").unwrap();
        let names: Vec<_> = frames.iter().map(|frame| frame.file_name().unwrap()).collect();
        assert_eq!(names, ["1.png", "2.png", "10.png"]);
        std::fs::create_dir(root.join("nothing")).unwrap();
        assert!(images.frames("nothing").unwrap_err().detail.contains("folder without pictures"));
        // Of a long path its end is shown.
        let long = format!("{}/the_name.png", "folder/".repeat(1000));
        let detail = images.file(&long).unwrap_err().detail;
        assert!(detail.contains("/the_name.png\" (7013 characters)") && detail.len() < 300, "{detail}");
        let long = "語".repeat(121);
        assert!(images.file(&long).unwrap_err().detail.starts_with("...\"語"));
        assert_eq!(images.frames("a.png").unwrap_err().kind, SkipKind::UnsupportedVideo);
        assert!(ImageRoot::new(&root.join("a.png"), false).is_err());
        assert!(ImageRoot::new(&root.join("none"), false).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(folder.path().join("secret.png"), "secret").unwrap();
        std::fs::write(root.join("a.png"), "a").unwrap();
        let link = |to: PathBuf, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        link(folder.path().join("secret.png"), "out.png");
        link(folder.path().to_owned(), "up");
        link(root.join("a.png"), "in.png");
        let absolute = root.join("up/secret.png").display().to_string();
        let images = ImageRoot::new(&root, false).unwrap();
        for out in ["out.png", "up/secret.png", "up\\secret.png", &absolute] {
            let reason = images.file(out).unwrap_err();
            assert!(reason.kind == SkipKind::PathEscape && reason.detail.contains("allow_links"), "{out}: {reason}");
        }
        assert!(images.file("in.png").is_ok());
        let closed = ImageRoot::closed(&root).unwrap();
        let reason = closed.file("out.png").unwrap_err();
        assert!(reason.kind == SkipKind::PathEscape && reason.detail.contains("a link leads out"), "{reason}");
        assert!(!reason.detail.contains("allow"), "{reason}");
        assert!(closed.file("in.png").is_ok());
        // Followed where allowed; what is no link stays where it is.
        let images = ImageRoot::new(&root, true).unwrap();
        for good in ["out.png", "up/secret.png", "in.png", &absolute] {
            assert!(images.file(good).is_ok(), "{good}");
        }
        let outside = folder.path().join("secret.png").display().to_string();
        for bad in ["../secret.png", &outside] {
            assert_eq!(images.file(bad).unwrap_err().kind, SkipKind::PathEscape, "{bad}");
        }
        // A root that is a link itself, and paths that begin with it or with where it leads.
        link(root.clone(), "self");
        let images = ImageRoot::new(&root.join("self"), false).unwrap();
        for good in [root.join("self/a.png"), root.join("a.png")] {
            assert!(images.file(&good.display().to_string()).is_ok(), "{}", good.display());
        }
    }
}
