#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retort::corpus::Corpus;
use retort::engine::{Engine, Flow, SampleRequest, Sampling};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::{Action, Dialect, Segment, Step};

use super::*;
use crate::classroom::{Attempt, Classroom, Tallies};
use crate::environment::{Environment, index_world};
use crate::world::{
    Domain, Finish, NOT_IN_CORPUS, Need, Order, Plan, Relation, Style, Subject, Task, TaskKind,
    World, WorldConfig, generate, reads,
};

fn next(plan: &Plan, observations: &[&str]) -> Result<Action, TeachError> {
    next_action(plan, Manner::default(), observations)
}

fn dialect() -> Dialect {
    Dialect::named("retort").unwrap()
}

fn world(seed: u64, domain: Domain, style: Style) -> World {
    generate(&WorldConfig { style, ..WorldConfig::new(seed, domain, 400, 200) }).unwrap()
}

/// A world whose tasks are training tasks.
fn training(seed: u64, domain: Domain, style: Style) -> World {
    let config = WorldConfig { style, train_tasks: 200, ..WorldConfig::new(seed, domain, 400, 0) };
    generate(&config).unwrap()
}

/// A world with its corpus and a sandbox: lessons are runs of the real loop.
struct School {
    world: World,
    corpus: Corpus,
    sandbox: Sandbox,
    dialect: Dialect,
    _folder: tempfile::TempDir,
}

impl School {
    fn new(world: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let corpus = index_world(&world, folder.path()).unwrap();
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: None }).unwrap();
        Self { world, corpus, sandbox, dialect: dialect(), _folder: folder }
    }

    fn lesson(&self, task: &Task, slips: Slips) -> Attempt {
        let (dialect, sandbox) = (&self.dialect, &self.sandbox);
        let environment = Environment { dialect, sandbox, retriever: &self.corpus };
        Classroom { environment, manner: Manner::default() }.teach(task, 3, slips).unwrap()
    }

    fn tallies(&self, rate: f64) -> Tallies {
        let mut tallies = Tallies::default();
        for (seed, task) in (0..).zip(&self.world.test) {
            let lesson = self.lesson(task, Slips { rate, seed });
            tallies.count(task.kind, lesson.is_right, lesson.missed);
        }
        tallies
    }
}

/// Tasks that the teacher must solve, in percent.
const RIGHT_PERCENT_MIN: usize = 97;

#[track_caller]
fn check_teacher(domain: Domain, style: Style) {
    let tallies = School::new(world(21, domain, style)).tallies(0.0);
    let all = tallies.all();
    assert!(all.right * 100 >= all.tasks * RIGHT_PERCENT_MIN, "{tallies}");
    if style != Style::Plain {
        // It must often enough be needed, and it must help.
        assert!(all.missed >= 5 && all.missed_right * 2 > all.missed, "{tallies}");
    }
}

#[test]
fn the_teacher_solves_a_plain_gazetteer_through_the_loop() {
    check_teacher(Domain::Gazetteer, Style::Plain);
}

#[test]
fn the_teacher_solves_a_gazetteer_and_changes_its_query_when_a_search_misses() {
    check_teacher(Domain::Gazetteer, Style::Full);
}

#[test]
fn the_teacher_solves_a_plant_and_changes_its_query_when_a_search_misses() {
    check_teacher(Domain::Plant, Style::Full);
}

#[test]
fn the_teacher_reads_an_author_it_has_not_met() {
    check_teacher(Domain::Plant, Style::Unfamiliar);
}

#[test]
fn a_teacher_that_slips_is_wrong_at_times_and_the_same_way_each_time() {
    let small = WorldConfig { style: Style::Full, ..WorldConfig::new(5, Domain::Plant, 200, 60) };
    let school = School::new(generate(&small).unwrap());
    let wrong = |tallies: &Tallies| tallies.all().tasks - tallies.all().right;
    let often = school.tallies(0.3);
    assert!((6..50).contains(&wrong(&often)), "{often}");
    assert_eq!(school.tallies(0.3), often);
    assert!(wrong(&school.tallies(0.05)) < wrong(&often) / 2);
}

#[test]
fn a_trace_cites_what_it_read_and_restates_what_is_needed() {
    let plan = age("Heahi Bridge");
    let bridge = "Lu Bridge [1]: The Lu Bridge was opened in 1801 [1].\n\
        Heahi Bridge [2]: The plans for the Heahi Bridge were drawn by Bokaru Temi [2]. The bridge has been open since 1836 [2].";
    let person = "Bokaru Temi [1]: Temi came into the world in 1790 [1].";
    let action = next(&plan, &[]).unwrap();
    assert_eq!(
        action.thought,
        "I need the opening year and the architect of Heahi Bridge, then the birth year and the difference."
    );
    assert_eq!(action.code, "print(search(\"Heahi Bridge\"))");
    let action = next(&plan, &[bridge]).unwrap();
    assert_eq!(
        action.thought,
        "Heahi Bridge [2] was opened in the year 1836. Heahi Bridge [2] was designed by Bokaru Temi. I need the birth year of Bokaru Temi, then the difference."
    );
    assert_eq!(action.code, "print(search(\"Bokaru Temi\"))");
    let action = next(&plan, &[bridge, person]).unwrap();
    assert_eq!(action.thought, "Bokaru Temi [1] was born in the year 1790.");
    assert_eq!(action.code, "final_answer(abs(1836 - 1790))");
    assert!(next(&plan, &[bridge, person, person]).is_err());
}

fn age(title: &str) -> Plan {
    let needs = vec![
        Need::named(title, &[Relation::OpeningYear, Relation::Designer]),
        Need::found(Relation::BirthYear),
    ];
    Plan { needs, finish: Finish::Difference }
}

#[test]
fn what_is_there_already_is_not_searched_for() {
    let both = "Bokaru Temi [1]: Temi came into the world in 1790 [1].\n\
        Heahi Bridge [2]: The plans for the Heahi Bridge were drawn by Bokaru Temi [2]. It has been open since 1836 [2].";
    let action = next(&age("Heahi Bridge"), &[both]).unwrap();
    assert_eq!(
        action.thought,
        "Heahi Bridge [2] was opened in the year 1836. Heahi Bridge [2] was designed by Bokaru Temi. Bokaru Temi [1] was born in the year 1790."
    );
    assert_eq!(action.code, "final_answer(abs(1836 - 1790))");
}

#[test]
fn computation_is_left_to_python() {
    let facts = ["A [1]: A has 1200 inhabitants [1].", "B [1]: B has 900 inhabitants [1]."];
    let code = |finish| {
        let plan = Plan::pair(["A", "B"], Relation::Population, finish);
        next(&plan, &facts).unwrap().code
    };
    assert_eq!(code(Finish::Sum), "final_answer(1200 + 900)");
    let titles = ["A".to_owned(), "B".to_owned()];
    let choice = Finish::Choice(Order::Larger, titles);
    assert_eq!(code(choice), "final_answer(\"A\" if 1200 > 900 else \"B\")");
    let check = Finish::Check(Order::Smaller);
    assert_eq!(code(check), "final_answer(\"yes\" if 1200 < 900 else \"no\")");
    let dates = "Lu Pump [1]: Last service: 3 May 2021 [1]. Next service: 9 June 2022 [1].";
    let needs = vec![Need::named("Lu Pump", &[Relation::NextService, Relation::LastService])];
    let days = next(&Plan { needs, finish: Finish::Days }, &[dates]).unwrap();
    assert_eq!(
        days.code,
        "from datetime import date\nfinal_answer(abs(date(2022, 6, 9) - date(2021, 5, 3)).days)"
    );
}

#[test]
fn a_first_thought_may_begin_with_the_outline() {
    let needs = vec![
        Need::named("Lu River", &[Relation::Mouth]),
        Need { subject: Subject::Found, relations: vec![Relation::Population] },
    ];
    let hop = Plan { needs, finish: Finish::Value };
    let thought = |plan, manner, seen: &[&str]| next_action(plan, manner, seen).unwrap().thought;
    let bare = "I need the mouth of Lu River.";
    assert_eq!(thought(&hop, Manner::Bare, &[]), bare);
    let outline = "I need the mouth of Lu River, then the population.";
    assert_eq!(thought(&hop, Manner::Restating, &[]), outline);
    assert_eq!(thought(&hop, Manner::Prefixed, &[]), format!("{outline} {bare}"));
    let seen = ["Other [1]: It is small [1]."];
    assert_eq!(thought(&hop, Manner::Prefixed, &seen), thought(&hop, Manner::Bare, &seen));
    let lookup = Plan::lookup("Lu River", Relation::Mouth);
    assert_eq!(thought(&lookup, Manner::Prefixed, &[]), bare);
    let working = ["34 + 12 = 46", "46 * 3 = 138"].map(str::to_owned).to_vec();
    let (code, answer) = ("(34 + 12) * 3".to_owned(), "138".to_owned());
    let story = Plan { needs: Vec::new(), finish: Finish::Compute { code, answer, working } };
    assert_eq!(
        thought(&story, Manner::Prefixed, &[]),
        "I need 34 + 12, then that * 3. The question says all that is needed."
    );
}

#[test]
fn a_search_that_misses_is_changed_before_the_teacher_gives_up() {
    let plan = Plan::lookup("Vaze", Relation::Population);
    let nothing = "No results found for \"Vaze\". Search for other words.";
    let action = next(&plan, &[nothing]).unwrap();
    assert_eq!(action.thought, "Vaze [0] has no population here. I need the population of Vaze.");
    assert_eq!(action.code, "print(search(\"Vaze inhabitants population people residents\"))");
    let found = "Lu [1]: Lu is small [1].\nVaze [2]: It is home to 1200 people [2].";
    assert_eq!(next(&plan, &[nothing, found]).unwrap().code, "final_answer(1200)");
    let action = next(&plan, &[nothing, nothing]).unwrap();
    assert_eq!(action.thought, "Vaze [0] has no population here.");
    assert_eq!(action.code, format!("final_answer(\"{NOT_IN_CORPUS}\")"));
    assert!(next(&plan, &[nothing, nothing, found]).is_err());
}

#[test]
fn the_teacher_reads_its_observations_from_the_prompt() {
    let school = School::new(world(4, Domain::Gazetteer, Style::Full));
    let request = SampleRequest {
        candidates: 1,
        sampling: Sampling::Greedy,
        seed: 1,
        stops: Vec::new(),
        reply_tokens_max: 1,
        wall_max: None,
    };
    for task in school.world.test.iter().take(30) {
        let transcript = school.lesson(task, Slips::default()).transcript;
        let plan = task.plan.as_ref().unwrap();
        let mut engine =
            TeacherEngine::new(plan, &school.dialect, Manner::default(), Slips::default());
        for turn in 0..transcript.steps.len() {
            let mut before = transcript.clone();
            before.steps.truncate(turn);
            engine.prefill(&school.dialect.render_prompt(&before)).unwrap();
            let replies = engine.sample(&request, &mut |_, _| Flow::Continue).unwrap();
            assert_eq!(replies[0].text, transcript.steps[turn].reply);
        }
    }
}

#[test]
fn prose_ends_in_the_answer_and_says_what_was_read() {
    let world = world(6, Domain::Plant, Style::Full);
    for task in &world.test {
        let plan = task.plan.as_ref().unwrap();
        let (read, _) = reads(plan, &world.entities);
        let text = explain(plan, &read, &task.answer);
        assert!(text.ends_with(&format!("\n\nAnswer: {}", task.answer)), "{text}");
        assert!(read.iter().all(|fact| text.contains(&fact.value)), "{text}");
        let is_computed = matches!(task.kind, TaskKind::Difference | TaskKind::Total);
        assert!(!is_computed || text.contains(&format!("= {}", task.answer)), "{text}");
    }
}

#[test]
fn prose_may_stand_under_passages() {
    let dialect = dialect();
    let passage = retort_transcript::Passage {
        title: "Lu Pump".to_owned(),
        text: "It is old.".to_owned(),
        score: 0.5,
    };
    let transcript = with_passages(&dialect, "How old?", &[passage], "Answer: 3");
    assert_eq!(transcript.question, "How old?\nLu Pump [1]: It is old [1].");
    let reply = Step { reply: "Answer: 3".to_owned(), observation: None };
    assert_eq!(transcript.steps, [reply]);
    assert_eq!(with_passages(&dialect, "How old?", &[], "x").question, "How old?");
}

#[test]
fn drills_are_rendered_as_traces_are() {
    let dialect = dialect();
    for style in [Style::Plain, Style::Full] {
        let world = training(9, Domain::Plant, style);
        let source = DrillSource::new(&world, &dialect);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for drill in [Drill::Copy, Drill::Recall, Drill::Lookup, Drill::Brief].repeat(20) {
            let segments = source.draw(drill, &mut rng);
            let text: String = segments.iter().map(|segment| segment.text.as_str()).collect();
            assert!(segments.iter().filter(|segment| segment.learned).count() > 1, "{text}");
            assert!(text.starts_with("<|im_start|>user\n") && text.ends_with("<|im_end|>\n"));
        }
    }
}

#[test]
fn a_brief_drill_ends_in_the_answer_of_a_training_task() {
    let dialect = dialect();
    for domain in [Domain::Gazetteer, Domain::Plant] {
        let world = training(9, domain, Style::Full);
        let source = DrillSource::new(&world, &dialect);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (mut right, mut literal, mut tokens) = (0, 0, 0);
        for _ in 0..200 {
            let text: String =
                source.draw(Drill::Brief, &mut rng).iter().map(|s| s.text.as_str()).collect();
            tokens += text.len();
            let task = world.train.iter().find(|task| text.contains(&task.question)).unwrap();
            let called = text.rsplit_once("final_answer(").unwrap().1;
            if called.starts_with('"') && !called.contains(" if ") {
                literal += 1;
                right += usize::from(called.contains(&format!("\"{}\"", task.answer)));
            }
        }
        assert!(literal > 10 && right * 100 >= literal * 95, "{right} of {literal}");
        assert!(tokens < 200 * 1500, "{tokens}");
    }
}

#[test]
fn drills_over_searches_ask_for_pages_shown_and_for_pages_only_named() {
    let dialect = dialect();
    let world = training(9, Domain::Plant, Style::Full);
    let dir = tempfile::tempdir().unwrap();
    let corpus = index_world(&world, dir.path()).unwrap();
    let source = DrillSource::new(&world, &dialect).searching(&corpus);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut only_named = 0;
    for _ in 0..50 {
        let segments = source.draw(Drill::Lookup, &mut rng);
        let text: String = segments.iter().map(|segment| segment.text.as_str()).collect();
        let entities = || {
            world
                .entities
                .iter()
                .filter(|entity| text.contains(&format!(". {} [0] has no", entity.title)))
        };
        only_named +=
            entities().filter(|entity| !text.contains(&format!("\n{} [", entity.title))).count();
    }
    assert!(only_named > 5, "{only_named}");
}

#[test]
fn a_lookup_drill_is_learned_at_numbers_and_values() {
    let dialect = dialect();
    let world = world(9, Domain::Gazetteer, Style::Full);
    let source = DrillSource::new(&world, &dialect);
    let (mut found, mut absent) = (0, 0);
    for seed in 0..10 {
        let segments = source.draw(Drill::Lookup, &mut ChaCha8Rng::seed_from_u64(seed));
        for index in (0..segments.len()).filter(|i| segments[*i].text.ends_with(" [")) {
            let window: Vec<&Segment> = segments[index..].iter().take(4).collect();
            assert!(!window[0].learned && window[1].learned && !window[2].learned);
            if window[1].text == "0]" {
                absent += 1;
                assert!(window[2].text.starts_with(" has no "));
            } else {
                found += 1;
                assert!(window[1].text.ends_with(']') && window[3].learned);
            }
        }
    }
    assert!(found > 20 && absent > 2, "{found} {absent}");
}
