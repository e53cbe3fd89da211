//! The journal of captures: one line of JSON per record, each with a checksum, in a few files of limited size.
//!
//! A line that a crash cut off has no valid checksum and is left out; so is any other that does not hold. What must be
//! known after a restart is on the disk before the call that it is about; the rest is for people and may get lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sam_capture::{Prior, Record};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// A file that has grown to this is put aside.
const BYTES_MAX: u64 = 8 << 20;
/// Files that were put aside and are kept.
const KEPT: u32 = 3;
/// What stands before the checksum of a line, and after it.
const BEFORE_SUM: &str = ",\"sum\":\"";
const AFTER_SUM: &str = "\"}";
/// Digits of the checksum.
const SUM_DIGITS: usize = 8;

/// A journal that is written on.
#[derive(Debug)]
pub(crate) struct CaptureJournal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What the journal says so far, or would if all could be written: a new file begins with it.
    prior: Prior,
    /// The last line may be there in part, or not at all.
    behind: bool,
}

/// A line without its checksum.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Milliseconds since 1970.
    at_ms: u64,
    #[serde(flatten)]
    record: Record,
}

impl CaptureJournal {
    /// Opens a journal, or begins one; returns what it says.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Prior)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = options().open(path)?;
        let mut text = Vec::new();
        // It is put aside when it is longer than this by one line.
        Read::by_ref(&mut file)
            .take(BYTES_MAX * 2)
            .read_to_end(&mut text)?;
        let (prior, bad) = replay(&text);
        if bad > 0 {
            warn!(path = %path.display(), lines = bad, "lines of the journal of captures do not hold and are left out");
        }
        let mut bytes = file.seek(SeekFrom::End(0))?;
        if !text.is_empty() && !text.ends_with(b"\n") {
            file.write_all(b"\n")?;
            bytes += 1;
        }
        let journal = Self {
            path: path.to_owned(),
            file,
            bytes,
            prior: prior.clone(),
            behind: false,
        };
        Ok((journal, prior))
    }

    /// Writes a record; what must survive is on the disk afterwards, also of those before that could not be written.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        self.prior.apply(record);
        let written = self.put(record);
        self.behind = written.is_err();
        written
    }

    fn put(&mut self, record: &Record) -> io::Result<()> {
        // Nothing is written behind half a line: neither of the two would hold.
        if self.behind || self.bytes >= BYTES_MAX {
            self.begin_anew()?;
        }
        self.write(record)?;
        match record {
            Record::Forwarding { .. } | Record::Mark { .. } | Record::Intent { .. } => {
                self.file.sync_data()
            }
            Record::Restored | Record::Unmark { .. } | Record::Answer { .. } => Ok(()),
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = line(record, now_ms())?;
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Puts the file aside; the new one is whole before it has the name.
    fn begin_anew(&mut self) -> io::Result<()> {
        let fresh = numbered(&self.path, 0);
        // What a former try left is no journal of anybody.
        fs::remove_file(&fresh).or_else(absent_is_fine)?;
        let mut file = options().open(&fresh)?;
        let mut bytes = 0;
        for record in self.prior.records() {
            let line = line(&record, now_ms())?;
            file.write_all(line.as_bytes())?;
            bytes += line.len() as u64;
        }
        file.sync_all()?;
        self.replace_by(&fresh)?;
        (self.file, self.bytes) = (file, bytes);
        Ok(())
    }

    /// Keeps the file under another name and gives its own to a fresh one.
    fn replace_by(&self, fresh: &Path) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            fs::rename(
                numbered(&self.path, number),
                numbered(&self.path, number + 1),
            )
            .or_else(absent_is_fine)?;
        }
        let aside = numbered(&self.path, 1);
        // Two names of one file are not renamed one to the other, so it may still be there.
        fs::remove_file(&aside).or_else(absent_is_fine)?;
        // There is a whole file of the name at any time.
        keep(&self.path, &aside, |path, aside| fs::hard_link(path, aside))?;
        fs::rename(fresh, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Gives a file a second name; on a file system that has no hard links (FAT, some of FUSE), a copy.
fn keep(
    path: &Path,
    aside: &Path,
    link: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let kept = link(path, aside).or_else(absent_is_fine);
    kept.or_else(|_| fs::copy(path, aside).map(drop))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

/// The name of a file that was put aside; 0 is one in the making.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn now_ms() -> u64 {
    // A clock before 1970 only spoils the time of the line.
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn line(record: &Record, at_ms: u64) -> io::Result<String> {
    let record = record.clone();
    let json = serde_json::to_string(&Line { at_ms, record })?;
    let body = json.strip_suffix('}').unwrap_or(&json);
    let sum = crc32(body.as_bytes());
    Ok(format!("{body}{BEFORE_SUM}{sum:08x}{AFTER_SUM}\n"))
}

/// What the lines say, and how many do not hold.
fn replay(text: &[u8]) -> (Prior, usize) {
    let mut prior = Prior::default();
    let mut bad = 0;
    for line in text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        match parse(line) {
            Some(record) => prior.apply(&record),
            None => bad += 1,
        }
    }
    (prior, bad)
}

fn parse(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?;
    let text = text.strip_suffix(AFTER_SUM)?;
    let (body, sum) = text.split_at_checked(text.len().checked_sub(SUM_DIGITS)?)?;
    let body = body.strip_suffix(BEFORE_SUM)?;
    if u32::from_str_radix(sum, 16).ok()? != crc32(body.as_bytes()) {
        return None;
    }
    let line: Line = serde_json::from_str(&format!("{body}}}")).ok()?;
    Some(line.record)
}

/// CRC-32 of IEEE 802.3; a journal is short, so bit by bit is fast enough.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
impl CaptureJournal {
    /// From now on nothing can be written.
    pub(crate) fn fill_the_disk(&mut self) {
        let full = OpenOptions::new().write(true).open("/dev/full");
        self.file = full.expect("a device");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_is_written_is_there_after_a_restart() {
        let folder = folder("restart");
        let path = folder.join("captures.jsonl");
        let (mut journal, prior) = CaptureJournal::open(&path).expect("a journal");
        assert_eq!(prior, Prior::default());
        for record in records() {
            journal.append(&record).expect("written");
        }
        drop(journal);

        let (_, prior) = CaptureJournal::open(&path).expect("a journal");

        assert_eq!(prior.forwarding, Some(false));
        assert_eq!(prior.marks, [address(11)].into());
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn a_line_that_was_cut_off_anywhere_is_left_out_and_writing_goes_on() {
        let folder = folder("cut");
        let path = folder.join("captures.jsonl");
        let whole = line(&records()[0], 1).expect("a line");
        for cut in 1..whole.len() - 1 {
            fs::write(&path, [whole.as_str(), &whole[..cut]].concat()).expect("writable");
            let (mut journal, prior) = CaptureJournal::open(&path).expect("a journal");
            assert_eq!(prior.marks, [address(10), address(11)].into(), "{cut}");
            journal.append(&records()[1]).expect("written");
            drop(journal);
            let (_, prior) = CaptureJournal::open(&path).expect("a journal");
            assert_eq!(prior.forwarding, Some(false), "{cut}");
        }
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let whole = line(&records()[0], 1).expect("a line");
        let whole = whole.trim_end().as_bytes();
        assert!(parse(whole).is_some());
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            assert_eq!(parse(&changed), None, "{at}");
        }
    }

    #[test]
    fn a_long_journal_begins_anew_with_what_counts_and_few_files_are_kept() {
        let folder = folder("long");
        let path = folder.join("captures.jsonl");
        let (mut journal, _) = CaptureJournal::open(&path).expect("a journal");
        journal.append(&records()[0]).expect("written");
        for _ in 0..6 {
            journal.bytes = BYTES_MAX;
            journal.append(&records()[2]).expect("written");
        }
        drop(journal);

        let (_, prior) = CaptureJournal::open(&path).expect("a journal");

        assert_eq!(prior.marks, [address(11)].into());
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 4);
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn after_a_write_that_failed_halfway_nothing_is_lost() {
        let folder = folder("full");
        let path = folder.join("captures.jsonl");
        let (mut journal, _) = CaptureJournal::open(&path).expect("a journal");
        journal.fill_the_disk();
        journal.append(&mark(12)).expect_err("no space");
        let half = &line(&mark(12), 1).expect("a line")[..20];
        fs::write(&path, half).expect("writable");
        journal.file = options().open(&path).expect("a journal");

        journal.append(&mark(13)).expect("space again");

        let (mut journal, prior) = CaptureJournal::open(&path).expect("a journal");
        assert_eq!(prior.marks, [address(12), address(13)].into());
        journal.bytes = BYTES_MAX;
        journal.append(&records()[1]).expect("written");
        let (_, prior) = CaptureJournal::open(&path).expect("a journal");
        assert_eq!(prior.marks, [address(12), address(13)].into());
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn there_is_a_journal_wherever_its_replacement_ends() {
        let folder = folder("replaced");
        let path = folder.join("captures.jsonl");
        let (mut journal, _) = CaptureJournal::open(&path).expect("a journal");
        journal.append(&records()[0]).expect("written");
        for _ in 0..4 {
            let missing = numbered(&path, 0);
            journal.replace_by(&missing).expect_err("no fresh file");
            assert!(path.exists());
        }
        journal.bytes = BYTES_MAX;
        journal.append(&records()[2]).expect("written");

        let (_, prior) = CaptureJournal::open(&path).expect("a journal");

        assert_eq!(prior.marks, [address(11)].into());
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn where_there_are_no_hard_links_a_copy_is_put_aside() {
        let folder = folder("links");
        let (path, aside) = (folder.join("captures.jsonl"), folder.join("aside"));
        fs::write(&path, "lines").expect("writable");
        let refuse = |_: &Path, _: &Path| Err(io::ErrorKind::PermissionDenied.into());

        keep(&path, &aside, refuse).expect("a copy");

        assert_eq!(fs::read(&aside).expect("there"), b"lines");
        assert!(path.exists());
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    fn records() -> [Record; 3] {
        [
            Record::Mark {
                addresses: [address(10), address(11)].into(),
            },
            Record::Forwarding { before: false },
            Record::Unmark {
                addresses: [address(10)].into(),
            },
        ]
    }

    fn mark(last: u8) -> Record {
        Record::Mark {
            addresses: [address(last)].into(),
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        [10, 77, 60, last].into()
    }

    fn folder(name: &str) -> PathBuf {
        let name = format!("samctl-captures-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("not there yet");
        folder
    }
}
