#![allow(clippy::unwrap_used)]

use super::*;

fn resolve(sources: &Sources) -> Result<Resolved, ConfigError> {
    sources.resolve(&Boards::embedded().unwrap())
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> Option<(PathBuf, String)> {
    Some((PathBuf::from("retort.toml"), text.to_owned()))
}

#[track_caller]
fn check_refused(sources: &Sources, expected: &str) {
    assert_eq!(resolve(sources).unwrap_err().to_string(), expected);
}

#[test]
fn every_setting_has_an_origin() {
    let folders = Folders { data: Some("/data".into()), ..Folders::default() };
    let resolved = resolve(&Sources { folders, ..Sources::default() }).unwrap();
    let mut names = setting_names().unwrap();
    names
        .retain(|name| !["model", "adapter", "corpus", "worker_launcher"].contains(&name.as_str()));
    assert_eq!(resolved.origins.keys().cloned().collect::<Vec<_>>(), names);
    assert!(resolved.origins.values().all(|origin| !origin.is_empty()));
    assert_eq!(resolved.settings.data_dir, Some("/data".into()));
    assert_eq!(resolved.origins.get("steps_max").unwrap(), "firmware-configs/base.toml");
    assert_eq!(resolved.origins.get("top_p").unwrap(), "default");
    assert_eq!(resolved.origins.get("board").unwrap(), "detected");
    assert_eq!(resolved.settings.board, "generic");
}

#[test]
fn a_manifest_covers_the_board_and_is_covered_by_the_user() {
    let manifest = RawSettings { top_p: Some(0.5), samples: Some(2), ..RawSettings::default() };
    let sources = Sources {
        user_file: Some(("config.toml".into(), "samples = 4".to_owned())),
        manifest: Some(("student.toml".into(), manifest)),
        ..Sources::default()
    };
    let resolved = resolve(&sources).unwrap();
    assert_eq!((resolved.settings.top_p, resolved.settings.samples), (0.5, 4));
    assert_eq!(resolved.origins.get("top_p").unwrap(), "student.toml");
    assert_eq!(resolved.origins.get("samples").unwrap(), "config.toml");
}

#[test]
fn the_nearest_source_wins() {
    // Each source sets its own key and those of all sources below it.
    let sources = Sources {
        flags: RawSettings { seed: Some(4), ..RawSettings::default() },
        environment: variables(&[("RETORT_SEED", "3"), ("RETORT_TOP_P", "0.3"), ("PATH", "/bin")]),
        project_file: file("seed = 2\ntop_p = 0.2\nsamples = 2"),
        user_file: Some((
            "config.toml".into(),
            "seed = 1\ntop_p = 0.1\nsamples = 1\nsteps_max = 9".to_owned(),
        )),
        system_file: Some((
            "/etc/retort/config.toml".into(),
            "seed = 0\nsteps_max = 8\nrun_tokens_max = 900".to_owned(),
        )),
        ..Sources::default()
    };
    let resolved = resolve(&sources).unwrap();
    let settings = &resolved.settings;
    assert_eq!(
        (settings.seed, settings.top_p, settings.samples, settings.steps_max),
        (4, 0.3, 2, 9)
    );
    let origin = |key: &str| resolved.origins.get(key).unwrap().as_str();
    assert_eq!(
        ["seed", "top_p", "samples", "steps_max", "run_tokens_max", "reply_tokens_max"].map(origin),
        [
            "command line",
            "RETORT_TOP_P",
            "retort.toml",
            "config.toml",
            "/etc/retort/config.toml",
            "firmware-configs/base.toml"
        ]
    );
}

#[test]
fn a_named_board_wins_over_the_detected_one() {
    let machine = Machine { model: Some("Raspberry Pi 5 Model B".to_owned()), processors: None };
    let mut sources = Sources { machine, ..Sources::default() };
    let detected = resolve(&sources).unwrap();
    assert_eq!((detected.profile.name.as_str(), detected.settings.samples), ("raspberry-pi-5", 4));
    sources.environment = variables(&[("RETORT_BOARD", "jetson-orin-nano")]);
    let named = resolve(&sources).unwrap();
    assert_eq!((named.settings.board.as_str(), named.settings.threads), ("jetson-orin-nano", 6));
    assert_eq!(named.origins.get("board").unwrap(), "RETORT_BOARD");
    sources.flags.board = Some("raspbery-pi-5".to_owned());
    check_refused(&sources, "unknown board `raspbery-pi-5`; did you mean `raspberry-pi-5`?");
}

#[test]
fn a_boards_threads_are_capped_to_the_machine_and_a_users_are_not() {
    let machine = Machine { model: None, processors: Some(2) };
    let mut sources = Sources { machine, ..Sources::default() };
    let capped = resolve(&sources).unwrap();
    assert_eq!(capped.settings.threads, 2);
    assert_eq!(capped.origins.get("threads").unwrap(), "processors of this machine");
    sources.flags.threads = Some(8);
    assert_eq!(resolve(&sources).unwrap().settings.threads, 8);
}

#[test]
fn unknown_keys_are_refused_in_files_and_warned_about_in_the_environment() {
    let wrong = Sources { project_file: file("modle = 'x'"), ..Sources::default() };
    check_refused(&wrong, "retort.toml: unknown key `modle`; did you mean `model`?");
    let environment =
        variables(&[("RETORT_MODLE", "x"), ("RETORT_LOG", "debug"), ("RETORT_SEED", "")]);
    let warned = resolve(&Sources { environment, ..Sources::default() }).unwrap();
    assert_eq!(
        warned.warnings,
        ["environment variable RETORT_MODLE is not one that is read; did you mean `RETORT_MODEL`?"]
    );
    assert_eq!(warned.settings.seed, 42);
}

#[test]
fn text_settings_stay_text() {
    let environment = variables(&[("RETORT_MODEL", "7"), ("RETORT_CORPUS", "true")]);
    let resolved = resolve(&Sources { environment, ..Sources::default() }).unwrap();
    assert_eq!(resolved.settings.model.as_deref(), Some("7"));
    assert_eq!(resolved.settings.corpus.as_deref(), Some("true"));
}

#[test]
fn wrong_values_name_their_source() {
    let with = |environment| Sources { environment, ..Sources::default() };
    check_refused(
        &with(variables(&[("RETORT_THREADS", "many")])),
        "RETORT_THREADS: `threads`: invalid type: found string \"many\", expected u16",
    );
    check_refused(
        &with(variables(&[("RETORT_TOP_P", "1.5")])),
        "RETORT_TOP_P: `top_p` is 1.5; expected more than 0, at most 1",
    );
    let sources = Sources { project_file: file("samples = 0"), ..Sources::default() };
    check_refused(&sources, "retort.toml: `samples` is 0; expected 1 to 64");
    let sources = Sources { project_file: file("samples = = 0"), ..Sources::default() };
    assert!(resolve(&sources).unwrap_err().to_string().starts_with("retort.toml: "));
}

#[test]
fn a_projects_file_names_no_program() {
    let text = "worker_launcher = 'qemu-aarch64-static -cpu max'";
    let user_file = Some((PathBuf::from("config.toml"), text.to_owned()));
    let resolved = resolve(&Sources { user_file, ..Sources::default() }).unwrap();
    let launcher = resolved.settings.worker_launcher.as_deref();
    assert_eq!(launcher, Some("qemu-aarch64-static -cpu max"));
    check_refused(
        &Sources { project_file: file(text), ..Sources::default() },
        "retort.toml: `worker_launcher` names a program to run; set it as a flag, as a variable \
         or in the user's settings file",
    );
}
