//! Ingest and search together, on small corpora.

use std::path::{Path, PathBuf};

use super::{
    Corpus, CorpusError, CorpusState, Hit, IngestOptions, IngestProgress, IngestReport, index,
    ingest, ledger, list,
};

/// A folder of files and a corpus folder beside it.
pub(super) struct World(tempfile::TempDir);

impl World {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(world.files()).unwrap();
        for (name, text) in files {
            world.write(name, text);
        }
        world
    }

    pub(super) fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }

    pub(super) fn corpus(&self) -> PathBuf {
        self.0.path().join("corpora/notes")
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.files().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn try_ingest(&self) -> Result<IngestReport, CorpusError> {
        ingest(&self.corpus(), &[self.files()], &IngestOptions::default(), &mut ())
    }

    pub(super) fn ingest(&self) -> IngestReport {
        self.try_ingest().unwrap()
    }

    pub(super) fn hits(&self, question: &str) -> Vec<Hit> {
        Corpus::open(&self.corpus()).unwrap().search(question, 10).unwrap()
    }

    pub(super) fn documents(&self, question: &str) -> Vec<String> {
        self.hits(question).into_iter().map(|hit| hit.document).collect()
    }

    /// A file of the index whose name ends so.
    pub(super) fn index_file(&self, end: &str) -> PathBuf {
        let entries = std::fs::read_dir(index::folder(&self.corpus())).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_string_lossy().ends_with(end)).unwrap()
    }
}

pub(super) const BRIDGES: &str = "{\"id\": 7, \"title\": \"Heahi Bridge\", \"text\": \"It was designed by Ann \
                       Boll. It opened in 1931.\"}\n\
                       {\"id\": \"ann\", \"title\": \"Ann Boll\", \"text\": \"An architect of \
                       bridges, born in 1889.\"}\n";

#[test]
fn a_hit_says_where_it_comes_from() {
    let world =
        World::new(&[("b.jsonl", BRIDGES), ("sub/n.md", "# Notes\n## Tide\nThe tide rose.")]);
    let report = world.ingest();
    assert_eq!((report.indexed, report.passages, report.skipped_total), (2, 3, 0));
    let hits = world.hits("Who designed the Heahi Bridge?");
    let files = world.files().canonicalize().unwrap();
    assert_eq!(hits[0].document, "7");
    assert_eq!(hits[0].title, "Heahi Bridge");
    assert_eq!(hits[0].passage, "It was designed by Ann Boll. It opened in 1931.");
    assert_eq!(Path::new(&hits[0].source), files.join("b.jsonl"));
    assert!(hits[0].score > hits[1].score && hits[0].score < 1.0 && hits[1].score > 0.0);
    let tide = &world.hits("tide")[0];
    assert_eq!((tide.document.as_str(), tide.title.as_str()), ("sub/n.md", "Notes"));
    assert_eq!(tide.heading, ["Notes", "Tide"]);
    assert_eq!(tide.byte_range, 16..30);
    let stats = Corpus::check(&world.corpus()).unwrap();
    assert_eq!((stats.documents, stats.passages, stats.sources), (3, 3, 2));
}

#[test]
fn only_what_changed_is_read_again() {
    let world = World::new(&[("a.txt", "alpha"), ("b.txt", "beta"), ("c.txt", "gamma")]);
    assert_eq!(world.ingest().indexed, 3);
    world.write("b.txt", "delta");
    std::fs::remove_file(world.files().join("c.txt")).unwrap();
    let report = world.ingest();
    assert_eq!((report.indexed, report.unchanged, report.removed), (1, 1, 1));
    assert_eq!(world.documents("alpha beta gamma delta"), ["a.txt", "b.txt"]);
    let report = world.ingest();
    assert_eq!((report.indexed, report.unchanged, report.removed), (0, 2, 0));
}

#[test]
fn an_updated_corpus_answers_as_a_fresh_one() {
    let files: Vec<(String, String)> =
        (0..40).map(|n| (format!("{n}.txt"), format!("stone bridge number {n}"))).collect();
    let named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (grown, fresh) = (World::new(&named[..25]), World::new(&named));
    grown.ingest();
    grown.write("3.txt", "nothing of the kind");
    grown.ingest();
    for (name, text) in &named {
        grown.write(name, text);
    }
    grown.ingest();
    fresh.ingest();
    let answers = |world: &World| -> Vec<(String, f32)> {
        world.hits("which stone bridge").into_iter().map(|hit| (hit.document, hit.score)).collect()
    };
    assert_eq!(answers(&grown), answers(&fresh));
    // All forty tie: the first ten by name, whatever the index was built from.
    assert_eq!(answers(&fresh)[2].0, "10.txt");
}

#[test]
fn another_folder_adds_and_removes_nothing() {
    let world = World::new(&[("one/a.txt", "alpha"), ("two/b.txt", "beta")]);
    let index = |name: &str| {
        let input = world.files().join(name);
        ingest(&world.corpus(), &[input], &IngestOptions::default(), &mut ()).unwrap()
    };
    index("one");
    std::fs::remove_file(world.files().join("one/a.txt")).unwrap();
    assert_eq!(index("two").removed, 0);
    assert_eq!(world.documents("alpha beta"), ["a.txt", "b.txt"]);
    let report = index("one/a.txt");
    assert_eq!((report.removed, report.skipped.len()), (1, 1));
    assert_eq!(world.documents("alpha beta"), ["b.txt"]);
}

#[test]
fn what_a_link_or_a_folder_replaced_is_gone() {
    let world = World::new(&[("a.txt", "alpha"), ("b.txt", "beta"), ("sub/c.txt", "gamma")]);
    world.ingest();
    let (files, away) = (world.files(), tempfile::tempdir().unwrap());
    std::fs::rename(files.join("a.txt"), away.path().join("a.txt")).unwrap();
    std::os::unix::fs::symlink(away.path().join("a.txt"), files.join("a.txt")).unwrap();
    std::fs::remove_file(files.join("b.txt")).unwrap();
    std::fs::create_dir(files.join("b.txt")).unwrap();
    std::fs::rename(files.join("sub"), away.path().join("sub")).unwrap();
    std::os::unix::fs::symlink(away.path().join("sub"), files.join("sub")).unwrap();
    world.write("d.txt", "delta");
    let report = world.ingest();
    assert_eq!((report.indexed, report.removed), (1, 3));
    assert_eq!(world.documents("alpha beta gamma delta"), ["d.txt"]);
}

#[test]
fn a_language_of_few_passages_is_found_by_its_own_words() {
    let rows: String = (0..150)
        .map(|n| {
            let text =
                format!("The bridge number {n} is in the south of the town and it was built.");
            serde_json::json!({"id": n, "title": format!("Note {n}"), "text": text}).to_string()
                + "\n"
        })
        .collect();
    let german = "# Käserei\n\nDie Häuser der Käserei stehen an der Straße, und der Käse wird von \
                  einer Familie mit der Hand gemacht.\n";
    let world = World::new(&[("en.jsonl", &rows), ("k.md", german)]);
    world.ingest();
    assert_eq!(world.documents("Käse"), ["k.md"]);
    assert_eq!(world.documents("Häuser"), ["k.md"]);
}

#[test]
fn a_folder_that_is_gone_or_empty_keeps_its_files_until_told_to_forget() {
    let world = World::new(&[("disk/sub/a.txt", "alpha"), ("b.txt", "beta")]);
    world.ingest();
    let disk = world.files().join("disk");
    let index = |forget| {
        let options = IngestOptions { forget, ..IngestOptions::default() };
        ingest(&world.corpus(), std::slice::from_ref(&disk), &options, &mut ()).unwrap()
    };
    std::fs::remove_dir_all(disk.join("sub")).unwrap();
    let empty = index(false);
    assert_eq!((empty.removed, empty.skipped.len()), (0, 1));
    assert!(empty.skipped[0].reason.contains("(1) stay in the corpus"), "{empty:?}");
    std::fs::remove_dir(&disk).unwrap();
    assert_eq!(index(false).removed, 0);
    assert_eq!(world.documents("alpha beta"), ["disk/sub/a.txt", "b.txt"]);
    assert_eq!(index(true).removed, 1);
    assert_eq!(world.documents("alpha beta"), ["b.txt"]);
    // What lies below another input that is there was deleted.
    world.write("disk/c.txt", "gamma");
    world.ingest();
    std::fs::remove_dir_all(&disk).unwrap();
    assert_eq!(world.ingest().removed, 1);
}

#[test]
fn what_is_passed_over_is_told_each_time() {
    let world =
        World::new(&[("a.jsonl", "{\"text\": \"x\"}\noops\n"), ("b.txt", ""), ("c.doc", "%")]);
    let told = |report: IngestReport| -> Vec<(String, Option<u64>)> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        report.skipped.into_iter().map(|skip| (name(skip.path), skip.line)).collect()
    };
    let expected = [("a.jsonl".to_owned(), Some(2)), ("b.txt".to_owned(), None)];
    assert_eq!(told(world.ingest()), expected);
    let again = world.ingest();
    // A file that gave nothing is neither indexed nor unchanged: it is skipped, each time.
    assert_eq!((again.indexed, again.unchanged), (0, 1));
    assert_eq!(told(again), expected);
    let named = [world.files().join("c.pdf"), world.files().join("none")];
    let report = ingest(&world.corpus(), &named, &IngestOptions::default(), &mut ()).unwrap();
    assert_eq!(told(report).len(), 2);
}

#[test]
fn missing_empty_and_damaged_differ() {
    let world = World::new(&[]);
    assert!(matches!(Corpus::open(&world.corpus()), Err(CorpusError::Missing { .. })));
    world.ingest();
    assert!(matches!(Corpus::open(&world.corpus()), Err(CorpusError::Empty { .. })));
    world.write("a.txt", "alpha");
    world.ingest();
    assert!(Corpus::open(&world.corpus()).is_ok());
    std::fs::write(ledger::path(&world.corpus()), "no database, but long enough to be one")
        .unwrap();
    assert!(matches!(Corpus::open(&world.corpus()), Err(CorpusError::Damaged { .. })));
    assert!(matches!(world.try_ingest(), Err(CorpusError::Damaged { .. })));
}

#[test]
fn faults_in_the_index_are_found() {
    for end in [".store", ".idx", ".term", "meta.json"] {
        let world = World::new(&[("b.jsonl", BRIDGES)]);
        world.ingest();
        let path = world.index_file(end);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        let flipped = Corpus::open(&world.corpus()).err();
        std::fs::write(&path, &bytes[..middle]).unwrap();
        let cut = Corpus::open(&world.corpus()).err();
        std::fs::remove_file(&path).unwrap();
        let gone = Corpus::open(&world.corpus()).err();
        for error in [flipped, cut, gone] {
            assert!(matches!(error, Some(CorpusError::Damaged { .. })), "{end}: {error:?}");
        }
    }
}

#[test]
fn an_index_older_than_the_ledger_is_damage() {
    let world = World::new(&[("a.txt", "alpha")]);
    world.ingest();
    let old = std::fs::read(world.index_file("meta.json")).unwrap();
    world.write("b.txt", "beta");
    world.ingest();
    std::fs::write(world.index_file("meta.json"), old).unwrap();
    assert!(matches!(Corpus::open(&world.corpus()), Err(CorpusError::Damaged { .. })));
}

#[test]
fn a_commit_that_the_ledger_missed_is_made_again() {
    let world = World::new(&[("a.txt", "alpha")]);
    world.ingest();
    let before = std::fs::read(ledger::path(&world.corpus())).unwrap();
    world.write("b.txt", "beta");
    world.ingest();
    std::fs::write(ledger::path(&world.corpus()), before).unwrap();
    let report = world.ingest();
    assert_eq!((report.indexed, report.unchanged), (1, 1));
    assert_eq!(world.documents("alpha beta"), ["a.txt", "b.txt"]);
}

/// Cancels when the second file begins.
struct CancelAtSecond(IngestOptions, u32);

impl IngestProgress for CancelAtSecond {
    fn started(&mut self, _path: &Path) {
        self.1 += 1;
        if self.1 == 2 {
            self.0.cancel.cancel();
        }
    }
}

#[test]
fn a_cancelled_ingest_keeps_what_was_done_and_goes_on_later() {
    let world = World::new(&[("a.txt", "alpha"), ("b.txt", "beta"), ("c.txt", "gamma")]);
    let options = IngestOptions::default();
    let mut progress = CancelAtSecond(options.clone(), 0);
    let report = ingest(&world.corpus(), &[world.files()], &options, &mut progress).unwrap();
    assert!(report.cancelled);
    assert_eq!(report.indexed, 1);
    assert_eq!(world.documents("alpha beta gamma"), ["a.txt"]);
    let report = world.ingest();
    assert_eq!((report.indexed, report.unchanged), (2, 1));
    assert_eq!(world.documents("alpha beta gamma").len(), 3);
}

/// Cancels within a file that is so far read.
struct CancelWithin(IngestOptions);

impl IngestProgress for CancelWithin {
    fn advanced(&mut self, _bytes: u64) {
        self.0.cancel.cancel();
    }
}

#[test]
fn a_file_that_is_cut_off_keeps_the_passages_it_had() {
    let long = |word: &str| format!("{word} stands here.\n\n").repeat(80_000);
    let world = World::new(&[("a.txt", "beta"), ("b.txt", &long("alpha"))]);
    world.ingest();
    world.write("a.txt", "delta");
    world.write("b.txt", &long("gamma"));
    let options = IngestOptions::default();
    let mut progress = CancelWithin(options.clone());
    let report = ingest(&world.corpus(), &[world.files()], &options, &mut progress).unwrap();
    assert!(report.cancelled);
    let has = |word: &str| !world.documents(word).is_empty();
    assert_eq!(["alpha", "gamma", "delta"].map(has), [true, false, false]);
    assert_eq!(world.ingest().indexed, 2);
    assert_eq!(["alpha", "gamma", "delta"].map(has), [false, true, true]);
}

#[test]
fn nothing_is_made_of_nothing() {
    let world = World::new(&[]);
    let missing = world.files().join("typo.txt");
    let options = IngestOptions::default();
    let report = ingest(&world.corpus(), &[missing], &options, &mut ()).unwrap();
    assert_eq!((report.indexed, report.skipped_total), (0, 1));
    assert!(!world.corpus().exists());
}

#[test]
fn an_ingest_that_was_cut_off_is_taken_up_again() {
    /// Copies the corpus when the second file begins: what a killed process leaves.
    struct Copy<'a>(&'a World, &'a World, u32);
    impl IngestProgress for Copy<'_> {
        fn started(&mut self, _path: &Path) {
            self.2 += 1;
            if self.2 == 2 {
                copy_folder(&self.0.corpus(), &self.1.corpus());
            }
        }
    }
    let files = [("a.txt", "alpha"), ("b.txt", "beta")];
    let (world, cut) = (World::new(&files), World::new(&files));
    ingest(&world.corpus(), &[cut.files()], &IngestOptions::default(), &mut ()).unwrap();
    for at in [&world, &cut] {
        at.write("a.txt", "gamma");
        at.write("b.txt", "delta");
    }
    let mut copy = Copy(&world, &cut, 0);
    ingest(&world.corpus(), &[cut.files()], &IngestOptions::default(), &mut copy).unwrap();
    let state = list(cut.corpus().parent().unwrap()).unwrap()[0].state.clone();
    assert!(matches!(state, CorpusState::Interrupted(_)), "{state:?}");
    assert_eq!(cut.documents("alpha beta gamma delta"), ["a.txt", "b.txt"]);
    assert_eq!(cut.hits("alpha").len(), 1);
    assert_eq!(cut.ingest().indexed, 2);
    assert_eq!(cut.hits("alpha").len(), 0);
    assert_eq!(cut.documents("gamma delta"), ["a.txt", "b.txt"]);
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else if let Err(error) = std::fs::copy(&path, &target) {
            // The index's own threads remove what they merged, also between listing and copying.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", path.display());
        }
    }
}

#[test]
fn one_ingest_at_a_time() {
    /// Tries to index into the same corpus meanwhile.
    struct Second<'a>(&'a World, bool);
    impl IngestProgress for Second<'_> {
        fn started(&mut self, _path: &Path) {
            self.1 = matches!(self.0.try_ingest(), Err(CorpusError::Busy { .. }));
            let state = list(self.0.corpus().parent().unwrap()).unwrap()[0].state.clone();
            assert!(matches!(state, CorpusState::Ingesting(_)), "{state:?}");
        }
    }
    let world = World::new(&[("a.txt", "alpha")]);
    let mut second = Second(&world, false);
    ingest(&world.corpus(), &[world.files()], &IngestOptions::default(), &mut second).unwrap();
    assert!(second.1);
}

#[test]
fn a_huge_or_hostile_question_is_only_text() {
    let world = World::new(&[("b.jsonl", BRIDGES)]);
    world.ingest();
    let corpus = Corpus::open(&world.corpus()).unwrap();
    let huge: String = (0..150_000).map(|n| format!("bridge{n} ")).collect();
    assert_eq!(corpus.search(&huge, 5).unwrap(), []);
    assert_eq!(corpus.search(&"bridge ".repeat(150_000), 5).unwrap().len(), 2);
    for question in ["", " ", "?", "\0", "title:\"", "((((", "-bridge~3 AND [a TO", "\u{202e}*"] {
        corpus.search(question, 5).unwrap();
    }
    assert_eq!(corpus.search("bridge", 0).unwrap(), []);
    assert_eq!(corpus.search("bridge", usize::MAX).unwrap().len(), 2);
}

#[test]
fn a_read_only_corpus_is_searched() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(&[("b.jsonl", BRIDGES)]);
    world.ingest();
    let corpus = world.corpus();
    let modes = |folder: u32, file: u32| {
        for folder_path in [index::folder(&corpus), corpus.clone()] {
            for entry in std::fs::read_dir(&folder_path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    std::fs::set_permissions(path, PermissionsExt::from_mode(file)).unwrap();
                }
            }
            std::fs::set_permissions(&folder_path, PermissionsExt::from_mode(folder)).unwrap();
        }
    };
    modes(0o555, 0o444);
    let found = Corpus::open(&corpus).map(|corpus| corpus.search("bridge", 5));
    modes(0o755, 0o644);
    assert_eq!(found.unwrap().unwrap().len(), 2);
}

#[test]
fn corpora_are_listed_by_name() {
    let world = World::new(&[("a.txt", "alpha")]);
    let folder = world.0.path().join("corpora");
    assert_eq!(list(&folder).unwrap(), []);
    world.ingest();
    ingest(&folder.join("bare"), &[], &IngestOptions::default(), &mut ()).unwrap();
    std::fs::create_dir(folder.join("broken")).unwrap();
    std::fs::write(folder.join("broken/corpus.db"), "x".repeat(200)).unwrap();
    std::fs::create_dir(folder.join("other")).unwrap();
    let corpora = list(&folder).unwrap();
    let names: Vec<&str> = corpora.iter().map(|corpus| corpus.name.as_str()).collect();
    assert_eq!(names, ["bare", "broken", "notes"]);
    assert_eq!(corpora[0].state, CorpusState::Empty);
    assert!(matches!(corpora[1].state, CorpusState::Unusable(_)));
    assert!(matches!(&corpora[2].state, CorpusState::Ready(stats) if stats.passages == 1));
}

#[test]
fn a_hit_is_shown_in_its_document() {
    let sections: String =
        (0..6).map(|n| format!("## Part {n}\nPump {n} holds {n} litres.\n")).collect();
    let world = World::new(&[("a.md", &sections), ("b.jsonl", BRIDGES)]);
    world.ingest();
    let corpus = Corpus::open(&world.corpus()).unwrap();
    let hit = &corpus.search("pump 3", 1).unwrap()[0];
    let around = corpus.around(hit, 2).unwrap();
    let texts =
        |hits: &[Hit]| -> Vec<String> { hits.iter().map(|hit| hit.passage.clone()).collect() };
    assert_eq!(texts(&around.before), ["Pump 1 holds 1 litres.", "Pump 2 holds 2 litres."]);
    assert_eq!(texts(&around.after), ["Pump 4 holds 4 litres.", "Pump 5 holds 5 litres."]);
    let only = &corpus.search("architect", 1).unwrap()[0];
    let around = corpus.around(only, 2).unwrap();
    assert_eq!((around.before.len(), around.after.len()), (0, 0));
}

#[test]
fn one_long_document_does_not_fill_a_result() {
    let sections: String =
        (0..9).map(|n| format!("## Pump {n}\nThe pump is pump {n}.\n")).collect();
    let world =
        World::new(&[("long.md", &sections), ("short.md", "# Valve\nIt is beside the pump.")]);
    world.ingest();
    let corpus = Corpus::open(&world.corpus()).unwrap();
    let documents = |limit| -> Vec<String> {
        let hits = corpus.search("pump", limit).unwrap();
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        hits.into_iter().map(|hit| hit.document).collect()
    };
    assert_eq!(documents(3), ["long.md", "long.md", "short.md"]);
    assert_eq!(documents(10).len(), 10);
}

#[test]
fn pages_that_are_mentioned_are_found() {
    let world = World::new(&[("b.jsonl", BRIDGES)]);
    world.ingest();
    let hits = world.hits("When was the designer of the Heahi Bridge alive?");
    let found: Vec<_> = hits.iter().map(|hit| (hit.title.as_str(), hit.via.as_deref())).collect();
    assert_eq!(found, [("Heahi Bridge", None), ("Ann Boll", Some("Heahi Bridge"))]);
}

#[test]
fn text_without_blanks_is_found() {
    let world =
        World::new(&[("j.txt", "東京タワーは一九五八年に完成した。"), ("c.txt", "大阪城は古い。")]);
    world.ingest();
    assert_eq!(world.documents("東京タワーはいつ"), ["j.txt"]);
    assert_eq!(world.documents("城"), ["c.txt"]);
}
