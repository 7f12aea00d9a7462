//! Numbers that are compared, combined, bounded and written in other units, and the questions for
//! that.

mod gazetteer;
mod plant;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::plan::{Order, Scale};
use super::relation::Relation;
use super::{Domain, describe};

/// A number that entities of one kind have, with questions about two of them, `{a}` and `{b}`, or
/// about one and a bound, `{n}`.
pub struct Measure {
    /// The number.
    pub relation: Relation,
    differences: &'static [&'static str],
    sums: &'static [&'static str],
    smaller: &'static [&'static str],
    larger: &'static [&'static str],
    is_smaller: &'static [&'static str],
    is_larger: &'static [&'static str],
    below: &'static [&'static str],
    above: &'static [&'static str],
}

/// Other units of the numbers of each domain.
const GAZETTEER_SCALES: &[(Relation, Scale)] = &[
    (Relation::BridgeLength, times(100, "centimetres")),
    (Relation::BridgeLength, parts(1000, "kilometres")),
    (Relation::RiverLength, times(1000, "metres")),
    (Relation::Depth, times(100, "centimetres")),
];
const PLANT_SCALES: &[(Relation, Scale)] = &[
    (Relation::Pressure, times(100, "kilopascals")),
    (Relation::Power, times(1000, "watts")),
    (Relation::Interval, times(60, "minutes")),
    (Relation::Weight, parts(1000, "kilograms")),
    (Relation::Lifetime, times(60, "minutes")),
];
/// `{k}` is the number, `{u}` the unit.
const SCALED: &[&str] = &[
    "What is the {k} of {x} in {u}?",
    "How many {u} is the {k} of {x}?",
    "How large is the {k} of {x} in {u}?",
    "What {k} does {x} have in {u}?",
];

const fn times(factor: u32, unit: &'static str) -> Scale {
    Scale { factor, divides: false, unit }
}

const fn parts(factor: u32, unit: &'static str) -> Scale {
    Scale { factor, divides: true, unit }
}

/// The measures of a domain.
pub fn of(domain: Domain) -> &'static [Measure] {
    match domain {
        Domain::Gazetteer => gazetteer::MEASURES,
        Domain::Plant => plant::MEASURES,
    }
}

/// The numbers of a domain that are asked for in other units.
pub fn scales(domain: Domain) -> &'static [(Relation, Scale)] {
    match domain {
        Domain::Gazetteer => GAZETTEER_SCALES,
        Domain::Plant => PLANT_SCALES,
    }
}

/// The question for a number in another unit.
pub fn scale_question(relation: Relation, scale: Scale, title: &str, wording: usize) -> String {
    let template = pick(SCALED, wording).replace("{k}", relation.words().key);
    template.replace("{u}", scale.unit).replace("{x}", &describe(title))
}

impl Measure {
    /// The question for the distance of the two numbers.
    pub fn difference(&self, titles: [&str; 2], wording: usize) -> String {
        pair(self.differences, titles, wording)
    }

    /// The question for their sum, if it means anything.
    pub fn sum(&self, titles: [&str; 2], wording: usize) -> Option<String> {
        (!self.sums.is_empty()).then(|| pair(self.sums, titles, wording))
    }

    /// The question for the title with the smaller or larger number.
    pub fn choice(&self, order: Order, titles: [&str; 2], wording: usize) -> String {
        pair(by(order, self.smaller, self.larger), titles, wording)
    }

    /// The question whether the first number is the smaller or larger one.
    pub fn check(&self, order: Order, titles: [&str; 2], wording: usize) -> String {
        pair(by(order, self.is_smaller, self.is_larger), titles, wording)
    }

    /// The question whether the number is below or above a bound.
    pub fn bounded(&self, order: Order, title: &str, bound: u32, wording: usize) -> String {
        let template = pick(by(order, self.below, self.above), wording);
        template.replace("{a}", &describe(title)).replace("{n}", &bound.to_string())
    }

    /// A bound near `value` and never equal to it.
    pub fn bound(&self, value: u32, rng: &mut ChaCha8Rng) -> u32 {
        let is_year = self.differences.iter().any(|words| words.contains("years"));
        let reach = if is_year { 40 } else { (value / 2).max(3) };
        let distance = rng.random_range(1..=reach);
        if rng.random_bool(0.5) { value + distance } else { value.saturating_sub(distance) }
    }
}

fn by<T>(order: Order, smaller: T, larger: T) -> T {
    match order {
        Order::Smaller => smaller,
        Order::Larger => larger,
    }
}

fn pair(templates: &[&'static str], [a, b]: [&str; 2], wording: usize) -> String {
    pick(templates, wording).replace("{a}", &describe(a)).replace("{b}", &describe(b))
}

fn pick(templates: &[&'static str], wording: usize) -> &'static str {
    templates.get(wording % templates.len().max(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_asked_in_several_wordings() {
        for measure in of(Domain::Gazetteer).iter().chain(of(Domain::Plant)) {
            assert!(measure.relation.is_number());
            assert!(
                [measure.differences, measure.smaller, measure.larger].iter().all(|t| t.len() >= 4)
            );
            assert!(measure.sums.is_empty() || measure.sums.len() >= 4);
            let yes_no = [measure.is_smaller, measure.is_larger, measure.below, measure.above];
            assert!(yes_no.iter().all(|t| t.len() >= 2));
            assert!([measure.below, measure.above].concat().iter().all(|t| t.contains("{n}")));
        }
    }

    #[test]
    fn questions_name_their_entities() {
        let lengths = of(Domain::Gazetteer).iter().find(|m| m.relation == Relation::BridgeLength);
        assert_eq!(
            lengths.and_then(|lengths| lengths.sum(["Lu Bridge", "Pa Bridge"], 1)).as_deref(),
            Some("What is the total length of the Lu Bridge and the Pa Bridge in metres?")
        );
        let scale = parts(1000, "kilometres");
        assert_eq!(
            scale_question(Relation::BridgeLength, scale, "Lu Bridge", 0),
            "What is the length of the Lu Bridge in kilometres?"
        );
    }
}
