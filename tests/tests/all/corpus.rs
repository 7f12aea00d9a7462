//! Documents of all kinds through the real program: good, broken and hostile ones, changed, cut
//! off, watched.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use retort::corpus::{self, Corpus, IngestOptions, IngestReport, Reader, ReaderSettings};
use retort_test_data::files;
use retort_tests::{program, retort};
use serde_json::Value;

/// A home, and a folder of documents in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new(documents: &[(&str, Vec<u8>)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.documents()).unwrap();
        for (name, bytes) in documents {
            place.write(name, bytes);
        }
        place
    }

    fn documents(&self) -> PathBuf {
        self.0.path().join("documents")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.documents().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = retort(self.0.path());
        command.args(["index", "documents", "--corpus", "c", "--json"]).args(more);
        command
    }

    fn index(&self, more: &[&str]) -> Value {
        let output = self.command(more).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}{error}"))
    }

    /// The first hit of a search.
    fn hit(&self, query: &str) -> Value {
        let mut command = retort(self.0.path());
        let output = command.args(["search", query, "--corpus", "c", "--json"]).output().unwrap();
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        line["hits"][0].clone()
    }

    /// What was told of a file.
    fn reason(report: &Value, name: &str) -> String {
        let skipped = report["skipped"].as_array().unwrap();
        let of_file = |skip: &&Value| skip["path"].as_str().unwrap().ends_with(name);
        let found = skipped.iter().find(of_file).unwrap_or_else(|| panic!("{name}: {report}"));
        found["reason"].as_str().unwrap().to_owned()
    }
}

/// Makes a file look as if it had been written an hour ago.
fn age(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(3_600);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn shift_jis() -> Vec<u8> {
    // 吊り橋は高い。 twelve times, in Shift-JIS.
    let sentence =
        [0x92, 0xdd, 0x82, 0xe8, 0x8b, 0xb4, 0x82, 0xcd, 0x8d, 0x82, 0x82, 0xa2, 0x81, 0x42];
    sentence.repeat(12)
}

fn good() -> Vec<(&'static str, Vec<u8>)> {
    let utf16: Vec<u8> =
        "\u{feff}Die Zugbrücke quietscht.".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let html = "<html lang=en><title>Viaduct</title><nav>Menu</nav><p>A viaduct <b>spans</b> it.";
    let body = files::paragraph("", "The causeway floods.");
    vec![
        ("a.txt", b"The footbridge sways.".to_vec()),
        ("b/note.md", b"# Notes\n## Arch\nThe aqueduct leaks.".to_vec()),
        ("c.html", html.into()),
        ("d.xhtml", b"<html><body><p>The overpass hums.</p><script/></body></html>".to_vec()),
        ("e.pdf", files::pdf("Gantry", &["Nothing here.", "The gantry rusts."])),
        ("f.epub", files::epub("Ferry", "en", &[("One", "<p>The ferry sank.</p>")])),
        ("g.docx", files::docx("Causeway", &body)),
        ("h.csv", b"name;built\nTrestle;1931\nPontoon;1889\n".to_vec()),
        (
            "i.jsonl",
            b"{\"id\": 7, \"title\": \"Ropeway\", \"text\": \"The ropeway jams.\"}\n".to_vec(),
        ),
        ("j.zim", files::zim(&[("Furt", "Furt", "<p>Der Durchlass verlandet.</p>")])),
        ("k.txt", utf16),
        ("l.txt", shift_jis()),
        ("m.html.zst", zstd::encode_all(&b"<p>The culvert clogged."[..], 3).unwrap()),
        ("n.tsv", b"id\ttext\n1\tThe towpath crumbles.\n".to_vec()),
    ]
}

fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let blanks = vec![b' '; 80 << 20];
    vec![
        ("x/binary.txt", b"a\0b".to_vec()),
        ("x/bomb.docx", files::zip(&[("word/document.xml", &blanks)])),
        ("x/bomb.txt.zst", zstd::encode_all(&blanks[..], 3).unwrap()),
        ("x/cut.epub", good().swap_remove(5).1[..300].to_vec()),
        ("x/empty.pdf", Vec::new()),
        ("x/loop.pdf", files::looping_pdf()),
        ("x/locked.pdf", files::encrypted_pdf()),
        ("x/ring.pdf", files::circular_pdf()),
        ("x/text.zim", b"no archive at all".to_vec()),
        ("x/wrong.docx", files::pdf("t", &["A PDF by another name."])),
    ]
}

#[test]
fn a_sentence_of_every_format_is_found() {
    let place = Place::new(&good());
    let report = place.index(&["--strict"]);
    assert_eq!((&report["indexed"], &report["skipped_total"]), (&14.into(), &0.into()), "{report}");
    for (query, document) in [
        ("footbridge sways", "a.txt"),
        ("aqueduct", "b/note.md"),
        ("viaduct spans", "c.html"),
        ("overpass", "d.xhtml"),
        ("gantry rusts", "e.pdf"),
        ("ferry sank", "f.epub"),
        ("causeway floods", "g.docx"),
        ("Pontoon", "h.csv#2"),
        ("ropeway", "7"),
        ("Durchlass verlandet", "j.zim#Furt"),
        ("Zugbrücke", "k.txt"),
        ("吊り橋", "l.txt"),
        ("culvert", "m.html.zst"),
        ("towpath crumbles", "n.tsv#1"),
    ] {
        let hit = place.hit(query);
        assert_eq!(hit["document"], document, "{query}: {hit}");
    }
    assert_eq!(place.hit("viaduct")["title"], "Viaduct");
    assert_eq!(place.hit("pontoon")["passage"], "name: Pontoon; built: 1889");
}

#[test]
fn bad_files_are_told_and_the_others_indexed() {
    let place = Place::new(&[good(), bad()].concat());
    let report = place.index(&[]);
    assert_eq!(report["indexed"], 14, "{report}");
    for (name, words) in [
        ("binary.txt", "zero byte"),
        ("bomb.docx", "when decompressed"),
        ("bomb.txt.zst", "200 times its size"),
        ("cut.epub", "zip archive"),
        ("empty.pdf", "broken PDF"),
        ("locked.pdf", "encrypted"),
        ("loop.pdf", "the reader stopped (signal 6) on this file"),
        ("ring.pdf", "OCR"),
        ("text.zim", "no ZIM file"),
        ("wrong.docx", "zip archive"),
    ] {
        let reason = Place::reason(&report, name);
        assert!(reason.contains(words), "{name}: {reason}");
    }
    assert_eq!(place.hit("gantry rusts")["document"], "e.pdf");

    // Mended, changed and deleted files; what was refused and is the same is told again.
    place.write("x/empty.pdf", &files::pdf("Dam", &["The weir roars."]));
    place.write("a.txt", b"The drawbridge creaks.");
    fs::remove_file(place.documents().join("c.html")).unwrap();
    let report = place.index(&[]);
    let counts = ["indexed", "unchanged", "removed", "skipped_total"].map(|count| &report[count]);
    assert_eq!(counts, [2, 12, 1, 9], "{report}");
    assert_eq!(place.hit("weir roars")["document"], "x/empty.pdf");
    assert_eq!(place.hit("footbridge sways"), Value::Null);
}

#[test]
fn an_unchanged_file_is_told_without_reading_it() {
    let place = Place::new(&[("a.txt", b"An arch.".to_vec())]);
    let path = place.documents().join("a.txt");
    age(&path);
    assert_eq!(place.index(&[])["indexed"], 1);
    // Other bytes behind the same size, time and inode: nobody who does not read can tell.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, b"An oxbow").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(place.index(&[])["unchanged"], 1);
    assert_eq!(place.index(&["--rehash"])["indexed"], 1);
    assert_eq!(place.hit("oxbow")["document"], "a.txt");
    // A file that changed a moment ago is read, whatever its size and inode say.
    fs::write(&path, b"A trench").unwrap();
    assert_eq!(place.index(&[])["indexed"], 1);
    fs::write(&path, b"A furrow").unwrap();
    assert_eq!(place.index(&[])["indexed"], 1);
}

/// Reads lines of a program's log until one holds `words`.
fn read_until(lines: &mut impl Iterator<Item = String>, words: &str) -> String {
    lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("never told: {words}"))
}

/// Whether a process is gone, or only waits for its parent to notice.
fn is_gone(process: &str) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

#[test]
fn an_ingest_that_was_killed_goes_on_where_it_was() {
    // One more than goes into a commit.
    const FILES: usize = 10_001;
    let place = Place::new(&[]);
    for number in 0..FILES {
        place.write(&format!("{:05}.txt", number), format!("Milestone number{number}.").as_bytes());
    }
    let mut child = place
        .command(&["--log", "retort::corpus=debug"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let started = read_until(&mut log, "the reader has started");
    read_until(&mut log, "durable");
    child.kill().unwrap();
    child.wait().unwrap();
    // The reader goes with its parent.
    let reader = started.rsplit("process=").next().unwrap().trim().to_owned();
    let begun = SystemTime::now();
    while !is_gone(&reader) {
        assert!(begun.elapsed().unwrap() < Duration::from_secs(20), "{started}");
        std::thread::yield_now();
    }
    let report = place.index(&[]);
    assert_eq!(report["unchanged"].as_u64().unwrap() + report["indexed"].as_u64().unwrap(), 10_001);
    assert!(report["unchanged"].as_u64().unwrap() >= 10_000, "{report}");
    assert_eq!(place.hit("number10000")["document"], "10000.txt");
    let stats = Corpus::check(&place.0.path().join(".local/share/retort/corpora/c")).unwrap();
    assert_eq!(stats.documents, 10_001);
}

/// Interrupts a program as Ctrl-C does.
fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn a_watched_folder_is_indexed_when_it_changes() {
    let place = Place::new(&[("a.txt", b"The lock fills.".to_vec())]);
    let mut child = place.command(&["--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut reports = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let mut until = |count: &str| reports.find(|report| report[count] == 1).unwrap();
    until("indexed");
    place.write("sub/b.md", b"The sluice opens.");
    assert_eq!(until("indexed")["passages"], 1);
    assert_eq!(place.hit("sluice opens")["document"], "sub/b.md");
    fs::remove_file(place.documents().join("a.txt")).unwrap();
    until("removed");
    assert_eq!(place.hit("lock fills"), Value::Null);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Indexes with a reader of its own settings.
fn ingest(place: &Place, settings: ReaderSettings) -> Result<IngestReport, corpus::CorpusError> {
    let options = IngestOptions { reader: Reader::Process(settings), ..IngestOptions::default() };
    corpus::ingest(&place.0.path().join("corpus"), &[place.documents()], &options, &mut ())
}

fn reader() -> ReaderSettings {
    ReaderSettings { command: vec![program("retort")], ..ReaderSettings::default() }
}

/// The real reader with less memory: a file that wants more ends it.
fn small_reader() -> ReaderSettings {
    let script = "ulimit -v 600000; exec \"$@\"";
    let command = ["/bin/sh", "-c", script, "sh"].map(PathBuf::from);
    let command = command.into_iter().chain([program("retort")]).collect();
    ReaderSettings { command, ..ReaderSettings::default() }
}

#[test]
fn a_file_that_kills_its_reader_is_told_and_tried_once() {
    let place = Place::new(&[
        ("a.pdf", files::inflating_pdf(600 << 20)),
        ("b.pdf", files::pdf("Weir", &["The weir roars."])),
    ]);
    let report = ingest(&place, small_reader()).unwrap();
    assert_eq!((report.indexed, report.skipped_total), (1, 1), "{report:?}");
    let skip = &report.skipped[0];
    assert_eq!(skip.reason, "the reader stopped (signal 6) on this file", "{report:?}");
    assert!(skip.path.ends_with("a.pdf"));
    // It is known by its hash: the reader is not sacrificed again, nor even started.
    let nobody = ReaderSettings { command: vec!["/bin/false".into()], ..reader() };
    let again = ingest(&place, nobody).unwrap();
    assert_eq!((again.unchanged, again.skipped_total), (1, 1));
    assert_eq!(again.skipped, report.skipped);
}

/// Says that it is ready (a frame of two bytes: the answer's number, the protocol's version), and
/// nothing more. A real reader may answer before the parent looks at its clock.
const SILENT_READER: &str =
    "printf '\\002\\000\\000\\000\\000\\001'; while read -r line; do :; done";

#[test]
fn a_reader_that_is_silent_is_ended() {
    let place = Place::new(&[("a.txt", b"The lock fills.".to_vec())]);
    let command = ["/bin/sh", "-c", SILENT_READER, "sh"].map(PathBuf::from).to_vec();
    let hurried = ReaderSettings { command, silence_max: Duration::ZERO };
    let report = ingest(&place, hurried).unwrap();
    assert_eq!(report.indexed, 0);
    assert_eq!(
        report.skipped[0].reason,
        "the reader was silent for 0ns and was ended on this file"
    );
}

/// As above, then without end that no further byte was read (a frame of the answer's number and 0).
const ENDLESS_READER: &str = "printf '\\002\\000\\000\\000\\000\\001'; \
     while :; do printf '\\002\\000\\000\\000\\001\\000%.0s' $(seq 50000); done";

#[test]
fn a_reader_that_says_more_than_the_file_can_hold_is_ended() {
    let place = Place::new(&[("a.txt", b"The lock fills.".to_vec())]);
    let command = ["/bin/sh", "-c", ENDLESS_READER, "sh"].map(PathBuf::from).to_vec();
    let report = ingest(&place, ReaderSettings { command, ..reader() }).unwrap();
    assert_eq!(report.indexed, 0);
    assert_eq!(
        report.skipped[0].reason,
        "the reader was ended because it answered nonsense (more than the file can hold) on this file"
    );
}

#[test]
fn what_is_no_reader_is_told() {
    let place = Place::new(&[("a.txt", b"The lock fills.".to_vec())]);
    let told = |program: &str| {
        let command = vec![program.into()];
        ingest(&place, ReaderSettings { command, ..reader() }).unwrap_err().to_string()
    };
    assert!(told("/bin/true").contains("serve_if_reader"), "{}", told("/bin/true"));
    assert!(told("/nowhere/retort").contains("cannot be started"));
}

/// A few bytes of a file are others.
fn mutated() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let kinds = 0..good().len();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12);
    (kinds, changes, any::<prop::sample::Index>(), 0..4_u8).prop_map(
        |(kind, changes, end, torn)| {
            let mut bytes = good().swap_remove(kind).1;
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if torn == 0 {
                bytes.truncate(end.index(bytes.len()));
            }
            (kind, bytes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// Whatever is done to files, the ingest ends well and loses none of the others.
    #[test]
    fn mutated_files_harm_nobody_else(files in prop::collection::vec(mutated(), 60)) {
        let place = Place::new(&good());
        for (number, (kind, bytes)) in files.iter().enumerate() {
            let name = good().swap_remove(*kind).0;
            place.write(&format!("m{number}/{name}"), bytes);
        }
        let report = ingest(&place, reader()).unwrap();
        prop_assert!(report.indexed >= 14, "{report:?}");
        let corpus = Corpus::open(&place.0.path().join("corpus")).unwrap();
        for query in ["footbridge sways", "gantry rusts", "ferry sank", "towpath crumbles"] {
            prop_assert!(!corpus.search(query, 5).unwrap().is_empty(), "{}", query);
        }
    }
}
