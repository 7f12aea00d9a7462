//! How a question is answered: what must be read, and what becomes of it.

use super::populate::Entity;
use super::relation::{Relation, ValueKind};
use super::value;

/// What is answered when the corpus does not say it.
pub const NOT_IN_CORPUS: &str = "not in the corpus";

/// How to answer a question, in terms of what the question names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What must be read, in this order.
    pub needs: Vec<Need>,
    /// What becomes of it.
    pub finish: Finish,
}

/// Facts of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Whose.
    pub subject: Subject,
    /// Which; the last one leads on.
    pub relations: Vec<Relation>,
}

/// Whose facts are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The entity with this title, which the question names.
    Named(String),
    /// The entity that the last fact of the need before leads to.
    Found,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// The first is smaller.
    Smaller,
    /// The first is larger.
    Larger,
}

/// How a number is written in another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// By what the number is multiplied, or divided.
    pub factor: u32,
    /// Whether it is divided.
    pub divides: bool,
    /// The other unit.
    pub unit: &'static str,
}

/// What becomes of what was read. Numbers are the first and the last one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The last value is the answer.
    Value,
    /// Their distance.
    Difference,
    /// Their sum.
    Sum,
    /// The title whose number is smaller or larger.
    Choice(Order, [String; 2]),
    /// How many the list has.
    Count,
    /// Days between two dates.
    Days,
    /// The number in another unit.
    Scale(Scale),
    /// Whether the number is smaller or larger than a bound.
    Bound(Order, u32),
    /// Whether the first number is smaller or larger than the last.
    Check(Order),
    /// Nothing is read: this Python has the value.
    Compute {
        /// An expression, or lines of statements with an expression as the last.
        code: String,
        /// Its value, as `str()` prints it.
        answer: String,
        /// The same step by step: `34 + 12 = 46`.
        working: Vec<String>,
    },
}

/// A fact that a plan reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Of which entity.
    pub title: String,
    /// What.
    pub relation: Relation,
    /// The value.
    pub value: String,
}

impl Plan {
    /// One fact of the entity with this title.
    #[must_use]
    pub fn lookup(title: &str, relation: Relation) -> Self {
        Self { needs: vec![Need::named(title, &[relation])], finish: Finish::Value }
    }

    /// One fact of each of two entities.
    #[must_use]
    pub fn pair([a, b]: [&str; 2], relation: Relation, finish: Finish) -> Self {
        let needs = vec![Need::named(a, &[relation]), Need::named(b, &[relation])];
        Self { needs, finish }
    }

    /// All facts that must be read, of whatever entity.
    #[must_use]
    pub fn relations(&self) -> Vec<Relation> {
        self.needs.iter().flat_map(|need| need.relations.iter().copied()).collect()
    }

    /// What the entities say, in the order of the plan, up to the first fact that none states; and
    /// whether that was all.
    pub fn resolve<'a>(&self, entity: impl Fn(&str) -> Option<&'a Entity>) -> (Vec<Read>, bool) {
        let mut reads: Vec<Read> = Vec::new();
        for need in &self.needs {
            let title = match (&need.subject, reads.last()) {
                (Subject::Named(title), _) => title.clone(),
                (Subject::Found, Some(last)) => last.value.clone(),
                (Subject::Found, None) => return (reads, false),
            };
            for relation in &need.relations {
                let value = entity(&title).and_then(|entity| entity.value(*relation));
                let Some(value) = value else { return (reads, false) };
                let (relation, value) = (*relation, value.to_owned());
                reads.push(Read { title: title.clone(), relation, value });
            }
        }
        (reads, true)
    }

    /// The answer, as `str()` prints it, from everything the plan reads; `None` when that does not
    /// fit, or when two numbers that are compared are equal.
    #[must_use]
    pub fn answer(&self, reads: &[Read]) -> Option<String> {
        let last = reads.last().map(|read| read.value.as_str());
        let [first_number, last_number] = ends(reads);
        match &self.finish {
            Finish::Value => last.map(str::to_owned),
            Finish::Difference => Some(first_number?.abs_diff(last_number?).to_string()),
            Finish::Sum => Some((first_number? + last_number?).to_string()),
            Finish::Choice(order, [a, b]) => {
                let is_first = order.holds(first_number?, last_number?)?;
                Some(if is_first { a.clone() } else { b.clone() })
            }
            Finish::Count => Some(value::items(last?).len().to_string()),
            Finish::Days => {
                let days: Option<Vec<i64>> =
                    reads.iter().map(|read| value::day_number(&read.value)).collect();
                let days = days?;
                Some(days.first()?.abs_diff(*days.last()?).to_string())
            }
            Finish::Scale(scale) => Some(scale.of(last_number?)),
            Finish::Bound(order, bound) => {
                Some(yes_no(order.holds(last_number?, i64::from(*bound))?))
            }
            Finish::Check(order) => Some(yes_no(order.holds(first_number?, last_number?)?)),
            Finish::Compute { answer, .. } => Some(answer.clone()),
        }
    }
}

impl Need {
    /// Facts of an entity that the question names.
    #[must_use]
    pub fn named(title: &str, relations: &[Relation]) -> Self {
        Self { subject: Subject::Named(title.to_owned()), relations: relations.to_vec() }
    }

    /// A fact of the entity that the need before leads to.
    #[must_use]
    pub fn found(relation: Relation) -> Self {
        Self { subject: Subject::Found, relations: vec![relation] }
    }
}

impl Order {
    /// Python's sign.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Smaller => '<',
            Self::Larger => '>',
        }
    }

    /// `None` for equal numbers: neither answer would be right.
    fn holds(self, a: i64, b: i64) -> Option<bool> {
        (a != b).then_some(match self {
            Self::Smaller => a < b,
            Self::Larger => a > b,
        })
    }
}

impl Scale {
    /// The number in the other unit, as Python prints it.
    fn of(self, number: i64) -> String {
        let factor = i64::from(self.factor);
        if self.divides {
            let quotient = number as f64 / factor as f64;
            if quotient.fract() == 0.0 { format!("{quotient:.1}") } else { quotient.to_string() }
        } else {
            (number * factor).to_string()
        }
    }
}

/// The first and the last number read.
fn ends(reads: &[Read]) -> [Option<i64>; 2] {
    let mut numbers = reads
        .iter()
        .filter(|read| read.relation.words().value == ValueKind::Number)
        .filter_map(|read| read.value.parse().ok());
    let first = numbers.next();
    [first, numbers.next_back().or(first)]
}

fn yes_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}
