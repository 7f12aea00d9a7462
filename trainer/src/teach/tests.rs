#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retort::engine::{Engine, Flow, SampleRequest, Sampling};
use retort_transcript::{Dialect, Segment};

use super::simulate::Simulation;
use super::*;
use crate::world::{Operation, Plan, Relation, World, WorldConfig, generate};

fn dialect() -> Dialect {
    Dialect::named("retort").unwrap()
}

fn world(seed: u64) -> World {
    generate(&WorldConfig { seed, documents: 400, test_tasks: 200, train_tasks: 100 }).unwrap()
}

#[test]
fn the_teacher_solves_every_task_in_simulation() {
    let dialect = dialect();
    for seed in 0..5 {
        let world = world(seed);
        let simulation = Simulation::new(&world);
        for task in world.test.iter().chain(&world.train) {
            let (transcript, answer) = simulation.teach(task, &dialect, &[3, 3]).unwrap();
            assert_eq!(answer, task.answer, "{transcript:?}");
            assert!(transcript.steps.len() <= 3);
        }
    }
}

#[test]
fn the_document_of_a_name_is_among_the_first_three() {
    let world = world(21);
    let simulation = Simulation::new(&world);
    let mut first = 0;
    for document in &world.documents {
        let hits = simulation.search(&document.title, 3);
        assert!(hits.iter().any(|hit| hit.title == document.title), "{}", document.title);
        first += usize::from(hits[0].title == document.title);
    }
    assert!(first * 10 > world.documents.len() * 9, "{first} of {}", world.documents.len());
}

#[test]
fn a_trace_cites_what_it_read_and_restates_what_is_needed() {
    let plan = Plan::Age { title: "Heahi Bridge".to_owned(), maker: Relation::Designer };
    let bridge = "Lu Bridge [1]: The Lu Bridge was opened in 1801 [1].\n\
        Heahi Bridge [2]: The plans for the Heahi Bridge were drawn by Bokaru Temi [2]. The bridge has been open since 1836 [2].";
    let person = "Bokaru Temi [1]: Temi came into the world in 1790 [1].";
    let action = next_action(&plan, &[]).unwrap();
    assert_eq!(
        action.thought,
        "I need the opening year and the architect of Heahi Bridge, then the birth year and the difference."
    );
    assert_eq!(action.code, "print(search(\"Heahi Bridge\"))");
    let action = next_action(&plan, &[bridge]).unwrap();
    assert_eq!(
        action.thought,
        "Heahi Bridge [2] was opened in the year 1836. Heahi Bridge [2] was designed by Bokaru Temi. I need the birth year of Bokaru Temi, then the difference."
    );
    assert_eq!(action.code, "print(search(\"Bokaru Temi\"))");
    let action = next_action(&plan, &[bridge, person]).unwrap();
    assert_eq!(action.thought, "Bokaru Temi [1] was born in the year 1790.");
    assert_eq!(action.code, "final_answer(abs(1836 - 1790))");
    assert!(next_action(&plan, &[bridge, person, person]).is_err());
}

#[test]
fn what_is_there_already_is_not_searched_for() {
    let plan = Plan::Age { title: "Heahi Bridge".to_owned(), maker: Relation::Designer };
    let both = "Bokaru Temi [1]: Temi came into the world in 1790 [1].\n\
        Heahi Bridge [2]: The plans for the Heahi Bridge were drawn by Bokaru Temi [2]. The bridge has been open since 1836 [2].";
    let action = next_action(&plan, &[both]).unwrap();
    assert_eq!(
        action.thought,
        "Heahi Bridge [2] was opened in the year 1836. Heahi Bridge [2] was designed by Bokaru Temi. Bokaru Temi [1] was born in the year 1790."
    );
    assert_eq!(action.code, "final_answer(abs(1836 - 1790))");
}

#[test]
fn comparison_and_sum_are_left_to_python() {
    let pair = |operation| Plan::Pair {
        titles: ["A".to_owned(), "B".to_owned()],
        relation: Relation::Population,
        operation,
    };
    let code = |operation| {
        let observations =
            ["A [1]: A has 1200 inhabitants [1].", "B [1]: B has 900 inhabitants [1]."];
        next_action(&pair(operation), &observations).unwrap().code
    };
    assert_eq!(code(Operation::Sum), "final_answer(1200 + 900)");
    assert_eq!(code(Operation::Larger), "final_answer(\"A\" if 1200 > 900 else \"B\")");
}

#[test]
fn a_missing_passage_is_said_to_be_missing() {
    let plan = Plan::Lookup { title: "Vaze".to_owned(), relation: Relation::Population };
    let error = next_action(&plan, &["No results found for \"Vaze\"."]).unwrap_err();
    assert_eq!(error.to_string(), "observation 0 does not give the population of Vaze");
}

#[test]
fn the_teacher_reads_its_observations_from_the_prompt() {
    let dialect = dialect();
    let world = world(4);
    let simulation = Simulation::new(&world);
    let request = SampleRequest {
        candidates: 1,
        sampling: Sampling::Greedy,
        seed: 1,
        stops: Vec::new(),
        reply_tokens_max: 1,
    };
    for task in world.test.iter().take(30) {
        let (transcript, _) = simulation.teach(task, &dialect, &[2, 4]).unwrap();
        let mut engine = TeacherEngine::new(task.plan.as_ref().unwrap(), &dialect);
        for turn in 0..transcript.steps.len() {
            let mut before = transcript.clone();
            before.steps.truncate(turn);
            engine.prefill(&dialect.render_prompt(&before)).unwrap();
            let replies = engine.sample(&request, &mut |_, _| Flow::Continue).unwrap();
            assert_eq!(replies[0].text, transcript.steps[turn].reply);
        }
    }
}

#[test]
fn drills_are_rendered_as_traces_are() {
    let dialect = dialect();
    let world = world(9);
    let source = DrillSource::new(&world, &dialect);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for drill in [Drill::Copy, Drill::Recall, Drill::Lookup].repeat(20) {
        let segments = source.draw(drill, &mut rng);
        let text: String = segments.iter().map(|segment| segment.text.as_str()).collect();
        assert!(segments.iter().filter(|segment| segment.learned).count() > 1, "{text}");
        assert!(text.starts_with("<|im_start|>user\n") && text.ends_with("<|im_end|>\n"), "{text}");
    }
}

#[test]
fn a_lookup_drill_is_learned_at_numbers_and_values() {
    let dialect = dialect();
    let world = world(9);
    let source = DrillSource::new(&world, &dialect);
    let segments = source.draw(Drill::Lookup, &mut ChaCha8Rng::seed_from_u64(3));
    let asked: Vec<usize> =
        (0..segments.len()).filter(|i| segments[*i].text.ends_with(" [")).collect();
    assert!(!asked.is_empty());
    for index in asked {
        let window: Vec<&Segment> = segments[index..].iter().take(4).collect();
        assert_eq!(
            window.iter().map(|s| s.learned).collect::<Vec<_>>(),
            [false, true, false, true]
        );
        assert!(window[1].text.ends_with(']'));
    }
}
