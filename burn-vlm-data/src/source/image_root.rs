//! The folder that a source's image paths may not leave.

use super::skip::{SkipKind, SkipReason};
use std::path::{Component, Path, PathBuf};

/// A folder of pictures; paths from outside are looked up in it and nowhere else.
#[derive(Debug, Clone)]
pub(super) struct ImageRoot {
    /// All links resolved.
    root: PathBuf,
}

impl ImageRoot {
    /// The folder must be there.
    pub(super) fn new(folder: &Path) -> Result<Self, std::io::Error> {
        let root = folder.canonicalize()?;
        if root.is_dir() {
            return Ok(Self { root });
        }
        Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, "it is not a folder"))
    }

    /// The file that a relative path stands for.
    pub(super) fn file(&self, relative: &str) -> Result<PathBuf, SkipReason> {
        let path = self.resolve(relative)?;
        // A pipe or a device could block for ever, or have no end.
        if path.is_file() {
            return Ok(path);
        }
        Err(SkipReason::new(SkipKind::MissingImage, format!("{relative:?} is not a file")))
    }

    /// The files of a folder by name: the frames of a video.
    pub(super) fn frames(&self, relative: &str) -> Result<Vec<PathBuf>, SkipReason> {
        let path = self.resolve(relative)?;
        if !path.is_dir() {
            let detail = format!("{relative:?} is no folder of frames; extract the frames first");
            return Err(SkipReason::new(SkipKind::UnsupportedVideo, detail));
        }
        let unreadable = |error| SkipReason::new(SkipKind::MissingImage, format!("{relative:?}: {error}"));
        let mut frames = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            frames.push(self.file(&format!("{relative}/{}", name.to_string_lossy()))?);
        }
        frames.sort();
        Ok(frames)
    }

    fn resolve(&self, relative: &str) -> Result<PathBuf, SkipReason> {
        let escape = |why: &str| SkipReason::new(SkipKind::PathEscape, format!("{relative:?}: {why}"));
        if relative.contains("://") {
            return Err(SkipReason::new(SkipKind::MissingImage, format!("{relative:?} is an address; fetch it first")));
        }
        // A backslash is a separator elsewhere; no picture needs one.
        if relative.contains(['\\', '\0']) {
            return Err(escape("a backslash or a zero byte"));
        }
        let plain = |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
        if relative.is_empty() || !Path::new(relative).components().all(plain) {
            return Err(escape("only paths below the image root are read"));
        }
        let path = self.root.join(relative).canonicalize();
        let path = path.map_err(|error| SkipReason::new(SkipKind::MissingImage, format!("{relative:?}: {error}")))?;
        if path.starts_with(&self.root) { Ok(path) } else { Err(escape("a link leads out of the image root")) }
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
        let images = ImageRoot::new(&root).unwrap();
        for good in ["a.png", "./a.png", "video/1.png"] {
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
        let frames = images.frames("video").unwrap();
        assert!(frames[0].ends_with("1.png") && frames[1].ends_with("2.png") && frames.len() == 2);
        assert_eq!(images.frames("a.png").unwrap_err().kind, SkipKind::UnsupportedVideo);
        assert!(ImageRoot::new(&root.join("a.png")).is_err());
        assert!(ImageRoot::new(&root.join("none")).is_err());
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
        let images = ImageRoot::new(&root).unwrap();
        assert_eq!(images.file("out.png").unwrap_err().kind, SkipKind::PathEscape);
        assert_eq!(images.file("up/secret.png").unwrap_err().kind, SkipKind::PathEscape);
        assert!(images.file("in.png").is_ok());
    }
}
