//! Draws questions of each kind about the entities of a world.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::kind::EntityKind;
use super::measure::{self, Measure};
use super::names::{NameSource, Split};
use super::plan::{Finish, NOT_IN_CORPUS, Need, Order, Plan, Read};
use super::populate::Entity;
use super::questions::{self, description};
use super::relation::Relation;
use super::task::{Task, TaskKind, TaskSource};
use super::{Domain, arithmetic, describe, routes};

/// The entities of one split, by title.
pub struct Source<'a> {
    domain: Domain,
    split: Split,
    style: super::Style,
    entities: Vec<&'a Entity>,
    by_title: BTreeMap<&'a str, &'a Entity>,
    names: &'a mut NameSource,
}

/// A question with the plan that answers it.
type Drawn = (String, Plan);

impl<'a> Source<'a> {
    pub fn new(about: &TaskSource<'a>, names: &'a mut NameSource) -> Self {
        let of_split = |entity: &&Entity| entity.split == about.split;
        let entities: Vec<&Entity> = about.entities.iter().filter(of_split).collect();
        let by_title = entities.iter().map(|entity| (entity.title.as_str(), *entity)).collect();
        let (domain, split, style) = (about.domain, about.split, about.style);
        Self { domain, split, style, entities, by_title, names }
    }

    /// One task of `kind`; `None` when what was drawn does not fit together.
    pub fn draw(&mut self, kind: TaskKind, rng: &mut ChaCha8Rng) -> Option<Task> {
        let (question, plan) = match kind {
            TaskKind::Lookup => self.lookup(rng),
            TaskKind::Hop => self.hops(1, rng),
            TaskKind::Chain => self.hops(2, rng),
            TaskKind::Age => self.age(rng),
            TaskKind::Span => self.span(rng),
            TaskKind::Difference => self.pair(Finish::Difference, rng),
            TaskKind::Total => self.pair(Finish::Sum, rng),
            TaskKind::Comparison => self.comparison(rng),
            TaskKind::Count => self.count(rng),
            TaskKind::Days => self.days(rng),
            TaskKind::Units => self.units(rng),
            TaskKind::YesNo => self.yes_no(rng),
            TaskKind::NoSearch => Some(self.no_search(rng)),
            TaskKind::Absent => self.absent(rng),
        }?;
        let (reads, is_whole) = plan.resolve(|title| self.by_title.get(title).copied());
        let answer = match (kind, is_whole) {
            (TaskKind::Absent, false) => NOT_IN_CORPUS.to_owned(),
            (TaskKind::Absent, true) | (_, false) => return None,
            (_, true) => plan.answer(&reads)?,
        };
        Some(Task { id: String::new(), question, answer, kind, plan: Some(plan) })
    }

    fn lookup(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let entity = *self.entities.choose(rng)?;
        let relation = entity.facts.choose(rng)?.relation;
        let question = questions::lookup(relation, &describe(&entity.title), wording(rng));
        Some((question, Plan::lookup(&entity.title, relation)))
    }

    /// `count` facts that lead on, then one more.
    fn hops(&self, count: usize, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let (start, _) = *routes::of(self.domain).choose(rng)?;
        let title = &self.entity_with(start, rng)?.title;
        let (mut needs, mut via) = (vec![Need::named(title, &[start])], start);
        let mut described = description(start, &describe(title), wording(rng));
        for _ in 1..count {
            via = routes::next(self.domain, via, rng)?;
            needs.push(Need::found(via));
            described = description(via, &described, wording(rng));
        }
        let relation = *routes::asked(self.domain, via).choose(rng)?;
        needs.push(Need::found(relation));
        let question = questions::lookup(relation, &described, wording(rng));
        Some((question, Plan { needs, finish: Finish::Value }))
    }

    fn age(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let age = questions::ages(self.domain).choose(rng)?;
        let title = &self.entity_with(age.maker, rng)?.title;
        let needs = vec![Need::named(title, &[age.year, age.maker]), Need::found(age.birth)];
        Some((age.question(title, wording(rng)), Plan { needs, finish: Finish::Difference }))
    }

    fn span(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let span = questions::spans(self.domain).choose(rng)?;
        let title = &self.entity_with(span.end, rng)?.title;
        let needs = vec![Need::named(title, &[span.end, span.start])];
        Some((span.question(title, wording(rng)), Plan { needs, finish: Finish::Difference }))
    }

    fn days(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let span = questions::day_spans(self.domain).choose(rng)?;
        let title = &self.entity_with(span.end, rng)?.title;
        let needs = vec![Need::named(title, &[span.end, span.start])];
        Some((span.question(title, wording(rng)), Plan { needs, finish: Finish::Days }))
    }

    fn count(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let relation = match self.domain {
            Domain::Gazetteer => Relation::Bridges,
            Domain::Plant => Relation::Parts,
        };
        let title = &self.entity_with(relation, rng)?.title;
        let plan = Plan { finish: Finish::Count, ..Plan::lookup(title, relation) };
        Some((questions::count(relation, title, wording(rng)), plan))
    }

    fn units(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let (relation, scale) = *measure::scales(self.domain).choose(rng)?;
        let title = &self.entity_with(relation, rng)?.title;
        let plan = Plan { finish: Finish::Scale(scale), ..Plan::lookup(title, relation) };
        Some((measure::scale_question(relation, scale, title, wording(rng)), plan))
    }

    /// Two entities of one kind that have the fact of `measure`.
    fn two(&self, measure: &Measure, rng: &mut ChaCha8Rng) -> Option<[&'a str; 2]> {
        let (a, b) =
            (self.entity_with(measure.relation, rng)?, self.entity_with(measure.relation, rng)?);
        (a.kind == b.kind && a.title != b.title).then_some([&a.title, &b.title])
    }

    fn pair(&self, finish: Finish, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let measure = measure::of(self.domain).choose(rng)?;
        let titles = self.two(measure, rng)?;
        let question = if finish == Finish::Sum {
            measure.sum(titles, wording(rng))?
        } else {
            measure.difference(titles, wording(rng))
        };
        Some((question, Plan::pair(titles, measure.relation, finish)))
    }

    fn comparison(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let measure = measure::of(self.domain).choose(rng)?;
        let titles = self.two(measure, rng)?;
        let order = order(rng);
        let finish = Finish::Choice(order, titles.map(str::to_owned));
        let question = measure.choice(order, titles, wording(rng));
        Some((question, Plan::pair(titles, measure.relation, finish)))
    }

    fn yes_no(&self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let measure = measure::of(self.domain).choose(rng)?;
        let order = order(rng);
        if rng.random_ratio(1, 3) {
            let titles = self.two(measure, rng)?;
            let plan = Plan::pair(titles, measure.relation, Finish::Check(order));
            return Some((measure.check(order, titles, wording(rng)), plan));
        }
        let entity = self.entity_with(measure.relation, rng)?;
        let value: u32 = entity.value(measure.relation)?.parse().ok()?;
        let bound = measure.bound(value, rng);
        let question = measure.bounded(order, &entity.title, bound, wording(rng));
        let plan = Plan::lookup(&entity.title, measure.relation);
        Some((question, Plan { finish: Finish::Bound(order, bound), ..plan }))
    }

    fn no_search(&self, rng: &mut ChaCha8Rng) -> Drawn {
        let story = if rng.random_ratio(1, 3) {
            self.given(rng)
        } else {
            Some(arithmetic::short(self.style, rng))
        };
        let story = story.unwrap_or_else(|| arithmetic::short(self.style, rng));
        let arithmetic::Story { question, code, answer, working } = story;
        let finish = Finish::Compute { code, answer, working };
        (question, Plan { needs: Vec::new(), finish })
    }

    /// A fact in the question itself, asked at once.
    fn given(&self, rng: &mut ChaCha8Rng) -> Option<arithmetic::Story> {
        let entity = *self.entities.choose(rng)?;
        let fact = entity.facts.iter().find(|fact| fact.relation.is_number())?;
        let subject = describe(&entity.title);
        let said = fact.relation.sentence(wording(rng), &subject, &fact.value);
        let asked = questions::lookup(fact.relation, &subject, wording(rng));
        let question = format!("{}{said}. {asked}", questions::given(wording(rng)));
        let (code, answer) = (fact.value.clone(), fact.value.clone());
        Some(arithmetic::Story { question, code, answer, working: Vec::new() })
    }

    /// A question about a fact that a page does not state, or about something without a page.
    fn absent(&mut self, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        if rng.random_bool(0.5) {
            let measured: Vec<Relation> = routes::all(self.domain);
            let relation = *measured.choose(rng)?;
            let like = self.entities.choose(rng)?;
            let owns =
                self.entities.iter().any(|e| e.kind == like.kind && e.value(relation).is_some());
            (owns && like.value(relation).is_none()).then(|| {
                let question = questions::lookup(relation, &describe(&like.title), wording(rng));
                (question, Plan::lookup(&like.title, relation))
            })
        } else {
            let like = *self.entities.choose(rng)?;
            let relation = like.facts.choose(rng)?.relation;
            let title = self.new_title(like.kind, rng);
            let question = questions::lookup(relation, &describe(&title), wording(rng));
            Some((question, Plan::lookup(&title, relation)))
        }
    }

    /// A title that nothing in the world has.
    fn new_title(&mut self, kind: EntityKind, rng: &mut ChaCha8Rng) -> String {
        let mut word = || self.names.draw(self.split, rng);
        match kind {
            EntityKind::Person => format!("{} {}", word(), word()),
            EntityKind::Fault => kind.title(&super::names::fault_code(self.names, self.split, rng)),
            _ => kind.title(&word()),
        }
    }

    fn entity_with(&self, relation: Relation, rng: &mut ChaCha8Rng) -> Option<&'a Entity> {
        let with = |entity: &&&'a Entity| entity.value(relation).is_some();
        let candidates: Vec<&'a Entity> = self.entities.iter().filter(with).copied().collect();
        candidates.choose(rng).copied()
    }
}

fn wording(rng: &mut ChaCha8Rng) -> usize {
    rng.random_range(0..60)
}

fn order(rng: &mut ChaCha8Rng) -> Order {
    if rng.random_bool(0.5) { Order::Smaller } else { Order::Larger }
}

/// The facts that a plan reads, from the entities of a world.
pub fn reads(plan: &Plan, entities: &[Entity]) -> (Vec<Read>, bool) {
    plan.resolve(|title| entities.iter().find(|entity| entity.title == title))
}
