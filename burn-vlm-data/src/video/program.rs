//! A program that reads a video: bounded in time and in what it may write, and gone afterwards.
//!
//! Two threads empty its pipes, so that a full one never stops it and nothing here waits for it without end. Only what it wrote last is
//! kept of its messages.
//!
//! A program has a process group of its own. So a terminal's Ctrl-C, which asks this process to finish what it is at, does not end it in
//! the middle of a clip, which would then look as if it were shorter; and it must be ended when this process ends: see [`end_programs`].

use super::error::saying;
use super::{VideoError, VideoLimits, waiting};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are taken from a pipe at once, and how many such pieces wait: at most 2 MiB of a program's output are in memory here.
const CHUNK: usize = 1 << 18;
/// See [`CHUNK`].
const QUEUE: usize = 8;
/// Bytes of messages that are kept.
const KEPT: usize = 2048;
/// Characters of them that an error shows.
const SHOWN: usize = 300;
/// How long a program that has closed its output may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a program that has given all that it was asked for may take to end by itself, which it does at once; then it is ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two looks whether a program has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two looks whether anybody still waits for a program's output.
const LOOK: Duration = Duration::from_millis(100);

/// The longest that is waited, in seconds: a year, for those who set no limit.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// The programs that run now.
struct Running {
    /// By the numbers of their groups.
    groups: BTreeSet<u32>,
    /// None may run any more.
    over: bool,
}

static RUNNING: Mutex<Running> = Mutex::new(Running { groups: BTreeSet::new(), over: false });

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the programs that read videos, with what they have started, and whichever is started from now on: for whoever is about to end this
/// process at once. Those who wait for their frames get errors.
pub fn end_programs() {
    let mut running = running();
    running.over = true;
    running.groups.iter().copied().for_each(kill_group);
}

#[cfg(unix)]
fn kill_group(number: u32) {
    if let Some(group) = process_id(number) {
        // It may have ended by itself just now.
        let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Elsewhere what a program has started is its own affair.
#[cfg(not(unix))]
fn kill_group(_number: u32) {}

#[cfg(unix)]
fn process_id(number: u32) -> Option<rustix::process::Pid> {
    i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw)
}

/// What the threads report.
enum Event {
    Output(Vec<u8>),
    OutputEnd,
    Flood,
}

/// What remains of the seconds that programs may be waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    left: Duration,
    whole: f64,
}

impl Patience {
    pub(super) fn new(limits: &VideoLimits) -> Self {
        // What is no number of seconds is none.
        let left = Duration::try_from_secs_f64(limits.seconds.clamp(0.0, LONGEST)).unwrap_or(Duration::ZERO);
        Self { left, whole: limits.seconds }
    }

    /// Whether nothing is left.
    #[cfg(feature = "libav")]
    pub(super) fn is_over(&self) -> bool {
        self.left.is_zero()
    }

    /// Takes away what has passed since `begin`.
    pub(super) fn spend(&mut self, begin: Instant) {
        self.left = self.left.saturating_sub(begin.elapsed());
    }
}

/// A running program; dropping it ends it.
pub(super) struct Program<'p> {
    title: String,
    clip: &'p str,
    child: Child,
    ended: bool,
    events: Receiver<Event>,
    messages: Arc<Mutex<Vec<u8>>>,
    max_pixels: u64,
    patience: &'p mut Patience,
    chunk: Vec<u8>,
    at: usize,
    closed: bool,
    failure: Option<VideoError>,
    /// Until when time was counted, where what is done with the output counts too.
    counted: Option<Instant>,
}

impl<'p> Program<'p> {
    /// Starts `program`. Its output is read with [`Read`]; where that fails, [`Self::failure`] has the reason.
    pub(super) fn start(
        clip: &'p str,
        program: &Path,
        arguments: &[OsString],
        limits: &VideoLimits,
        patience: &'p mut Patience,
    ) -> Result<Self, VideoError> {
        let title = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Would write a file into the working folder, and colours into the messages.
        command.env_remove("FFREPORT").env_remove("AV_LOG_FORCE_COLOR");
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // With a group of its own, what it starts ends with it.
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => VideoError::NoProgram { program: program.display().to_string() },
            _ => VideoError::Program {
                name: clip.to_owned(),
                program: title.clone(),
                reason: format!("cannot be started: {error}"),
            },
        })?;
        {
            let mut running = running();
            running.groups.insert(child.id());
            if running.over {
                kill_group(child.id());
            }
        }
        let (sender, events) = sync_channel(QUEUE);
        let messages = Arc::new(Mutex::new(Vec::new()));
        if let Some(output) = child.stdout.take() {
            let sender = sender.clone();
            thread::spawn(move || pass_on(output, &sender));
        }
        if let Some(errors) = child.stderr.take() {
            let (kept, most) = (messages.clone(), limits.max_messages);
            thread::spawn(move || keep_last(errors, &kept, most, &sender));
        }
        Ok(Self {
            title,
            clip,
            child,
            ended: false,
            events,
            messages,
            max_pixels: limits.max_pixels,
            patience,
            chunk: Vec::new(),
            at: 0,
            closed: false,
            failure: None,
            counted: None,
        })
    }

    /// From now on what is done with the output counts as waiting for it. Of a program that writes without end, so that nobody ever waits
    /// for it, nothing would be counted else.
    pub(super) fn count_all_time(&mut self) {
        self.counted = Some(Instant::now());
    }

    /// The most pixels that a picture of its output may have.
    pub(super) fn max_pixels(&self) -> u64 {
        self.max_pixels
    }

    /// The error behind an error of [`Read`], or one of the program's own making.
    pub(super) fn failure(&mut self, error: &io::Error) -> VideoError {
        self.failure.take().unwrap_or_else(|| self.error(format!("wrote what was not expected: {error}")))
    }

    /// An error of the program, with what it said last.
    pub(super) fn error(&self, reason: String) -> VideoError {
        let reason = reason + &saying(&self.said());
        VideoError::Program { name: self.clip.to_owned(), program: self.title.clone(), reason }
    }

    /// Waits until the program ends by itself, which has nothing more to write that matters.
    pub(super) fn wait(&mut self) -> Result<ExitStatus, VideoError> {
        let begin = Instant::now();
        while !self.has_ended().map_err(|error| self.error(format!("cannot be waited for: {error}")))? {
            waiting::check(self.clip)?;
            if begin.elapsed() >= self.patience.left {
                return Err(self.too_slow());
            }
            thread::sleep(PAUSE);
            // So that a program that still writes can go on.
            if self.events.try_iter().any(|event| matches!(event, Event::Flood)) {
                return Err(self.flood());
            }
        }
        let status = self.end().map_err(|error| self.error(format!("cannot be waited for: {error}")))?;
        if !self.hear_all() {
            return Err(self.flood());
        }
        self.patience.spend(begin);
        Ok(status)
    }

    /// Ends a program that has given all that it was asked for, and returns what it said of damage, in one line. Most end by themselves,
    /// so that all that they have to say is there.
    pub(super) fn close(&mut self) -> String {
        let begin = Instant::now();
        // What it still writes is taken away, so that it can end.
        while begin.elapsed() < FAREWELL && !self.has_ended().unwrap_or(true) {
            thread::sleep(PAUSE);
            self.events.try_iter().for_each(drop);
        }
        // How it ends is no news.
        let _status = self.end();
        self.hear_all();
        self.patience.spend(begin);
        damage(&self.messages())
    }

    /// The threads end when the pipes of a program that has ended do: then all messages are there. `false` where they were too many.
    fn hear_all(&self) -> bool {
        let patience = Instant::now() + LAST_WORDS;
        while let Some(left) = patience.checked_duration_since(Instant::now()) {
            match self.events.recv_timeout(left) {
                Ok(Event::Flood) => return false,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        true
    }

    /// All that is kept of what the program said.
    pub(super) fn messages(&self) -> String {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&messages).into_owned()
    }

    /// What the program said last, in one line.
    pub(super) fn said(&self) -> String {
        last_words(&self.messages())
    }

    fn too_slow(&self) -> VideoError {
        VideoError::TooSlow {
            name: self.clip.to_owned(),
            program: self.title.clone(),
            seconds: self.patience.whole,
            said: saying(&self.said()),
        }
    }

    fn flood(&self) -> VideoError {
        VideoError::Flood {
            name: self.clip.to_owned(),
            program: self.title.clone(),
            what: "too many messages".to_owned(),
            said: saying(&self.said()),
        }
    }

    /// The next piece of output; empty at its end.
    fn next_chunk(&mut self) -> io::Result<()> {
        if let Some(counted) = self.counted {
            self.patience.spend(counted);
        }
        let begin = Instant::now();
        let event = loop {
            let left = self.patience.left.saturating_sub(begin.elapsed());
            if left.is_zero() || waiting::nobody_waits() {
                break Err(RecvTimeoutError::Timeout);
            }
            match self.events.recv_timeout(left.min(LOOK)) {
                Err(RecvTimeoutError::Timeout) => {}
                event => break event,
            }
        };
        self.patience.spend(begin);
        self.counted = self.counted.map(|_| Instant::now());
        let failure = match event {
            Ok(Event::Output(chunk)) => {
                (self.chunk, self.at) = (chunk, 0);
                return Ok(());
            }
            Ok(Event::OutputEnd) | Err(RecvTimeoutError::Disconnected) => {
                self.closed = true;
                return Ok(());
            }
            Ok(Event::Flood) => self.flood(),
            Err(RecvTimeoutError::Timeout) => waiting::check(self.clip).err().unwrap_or_else(|| self.too_slow()),
        };
        // How it ends is no news.
        let _status = self.end();
        self.failure = Some(failure);
        Err(io::Error::other("the program was ended"))
    }

    /// Whether the program has ended by itself. Until [`Self::end`] its group keeps its number.
    #[cfg(unix)]
    fn has_ended(&mut self) -> io::Result<bool> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let Some(id) = process_id(self.child.id()) else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(id), options)?.is_some())
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Ends the program, if it has not ended by itself, and what it has started.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.ended {
            self.ended = true;
            kill_group(self.child.id());
            // It may have ended by itself just now.
            let _gone = self.child.kill();
            running().groups.remove(&self.child.id());
        }
        self.child.wait()
    }
}

impl Read for Program<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && !self.closed {
            self.next_chunk()?;
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _status = self.end();
    }
}

/// The last of what was said, in one line.
pub(super) fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| plain(line.trim())).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(2)..].join(" | ");
    let printable: Vec<char> = last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable[printable.len().saturating_sub(SHOWN)..].iter().collect()
}

/// What writes pictures, not what reads them: it complains about time stamps of good files.
const WRITERS: [&str; 8] = ["[image2pipe", "[ppm", "[null", "[out#", "[vost#", "[swscaler", "[Parsed_", "[graph"];
/// What is also said of good files: where decoding begins within a group of pictures or behind a cut, references are missing whose frames are
/// not shown.
const NO_DAMAGE: [&str; 11] = [
    "Last message repeated",
    "monotonically increasing",
    "mmco: unref short failure",
    "Missing reference picture",
    "reference picture missing during reorder",
    "co located POCs unavailable",
    "Could not find ref with POC",
    "number of reference frames",
    "non-existing PPS",
    "decode_slice_header error",
    "no frame!",
];

/// What messages tell of damage, in one line; empty where they tell of none.
pub(super) fn damage(messages: &str) -> String {
    // Where the first ones are gone, the first line that is left may begin anywhere.
    let cut = messages.len() >= KEPT;
    let told = |line: &&str| {
        let line = line.trim_start();
        let written = WRITERS.iter().any(|writer| line.starts_with(writer));
        !written && !NO_DAMAGE.iter().any(|words| line.contains(words))
    };
    let lines: Vec<&str> = messages.lines().skip(usize::from(cut)).filter(told).collect();
    last_words(&lines.join("\n"))
}

/// A message without what says which part of the program wrote it, `[mov,mp4 @ 0x55d0c8]`: addresses differ from run to run.
fn plain(line: &str) -> &str {
    let mut line = line;
    while let Some((head, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if !head.contains(" @ 0x") {
            break;
        }
        line = rest.trim_start();
    }
    line
}

/// Passes a program's output on until it ends or nobody wants it.
fn pass_on(mut output: impl Read, sender: &SyncSender<Event>) {
    loop {
        let mut chunk = vec![0; CHUNK];
        match output.read(&mut chunk) {
            Ok(count) if count > 0 => {
                chunk.truncate(count);
                if sender.send(Event::Output(chunk)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    // Nobody may be there any more.
    let _sent = sender.send(Event::OutputEnd);
}

/// Keeps the last of a program's messages, and reports when there are too many.
fn keep_last(mut errors: impl Read, kept: &Mutex<Vec<u8>>, most: u64, sender: &SyncSender<Event>) {
    let mut buffer = vec![0; 1 << 14];
    let mut all = 0;
    loop {
        let count = match errors.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..count]);
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
        all += count as u64;
        if all > most {
            // Nobody may be there any more.
            let _sent = sender.send(Event::Flood);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as FFmpeg 5.1 writes them.
    #[test]
    fn messages_of_damage() {
        let good = "[image2pipe @ 0x1] Application provided invalid, non monotonically increasing dts to muxer in stream 0: 122 >= 122\n\
                    [h264 @ 0x2] Missing reference picture, default is 0\n[h264 @ 0x2] mmco: unref short failure\n    Last message repeated 1 times\n";
        assert_eq!((damage(good), damage("")), (String::new(), String::new()));
        let bad = format!("{good}[h264 @ 0x2] error while decoding MB 4 3, bytestream -53\n{good}");
        assert_eq!(damage(&bad), "error while decoding MB 4 3, bytestream -53");
        // The rest of a long line is no message.
        assert_eq!(damage(&format!("{}\n{good}", "x".repeat(KEPT))), "");
    }

    #[test]
    fn messages_have_no_addresses() {
        assert_eq!(plain("[mov,mp4,m4a @ 0x55d0c8aa] moov atom not found"), "moov atom not found");
        assert_eq!(plain("[in#0 @ 0x1] [h264 @ 0x2] [1] no frame"), "[1] no frame");
        for same in ["a.mp4: Invalid data", "[h264] no frame", "[ @ 0x1 without an end", ""] {
            assert_eq!(plain(same), same);
        }
    }
}
