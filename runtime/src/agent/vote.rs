//! The vote over candidates: which result do most of them reach?
//!
//! Candidates vote with what their code *did*, not with its text. Failures have no vote unless
//! all fail. A tie goes to the result whose best reply the model finds most probable, then to the
//! smaller text, so the outcome does not depend on the order in which candidates ran.

use std::cmp::Ordering;

/// What one candidate puts into the vote.
#[derive(Clone, Debug, PartialEq)]
pub struct Ballot {
    /// What the candidate's action did; `None` if it failed to parse or to run.
    pub result: Option<ResultKey>,
    /// Mean log-probability per token of the reply.
    pub mean_logprob: f32,
    /// The reply, for the last tie rule.
    pub text: String,
}

/// A result, normalised so that equal results are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultKey {
    logs: String,
    value: Option<String>,
    answer: Option<String>,
    deed: Option<String>,
}

impl ResultKey {
    /// From printed text, value of the last expression and final answer.
    pub fn new(logs: &str, value: Option<&str>, answer: Option<&str>) -> Self {
        let (value, answer) = (value.map(normalise), answer.map(normalise));
        Self { logs: normalise(logs), value, answer, deed: None }
    }

    /// From what the candidate would do if it won.
    pub fn of_deed(deed: &str) -> Self {
        let (value, answer) = (None, None);
        Self { logs: String::new(), value, answer, deed: Some(deed.to_owned()) }
    }
}

/// White space collapsed, numbers in one form: `1`, `1.0` and `1e0` are equal.
fn normalise(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(normalise_number).collect();
    words.join(" ")
}

fn normalise_number(word: &str) -> String {
    // Beyond 2^53 different integers share a float: those keep their digits.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() && number.abs() < EXACT_MAX => {
            if number == 0.0 {
                "0".to_owned()
            } else {
                format!("{number}")
            }
        }
        _ => word.to_owned(),
    }
}

/// The index of the winning ballot and how many agree with it; `None` without ballots.
pub fn winner(ballots: &[Ballot]) -> Option<(usize, u32)> {
    let best = ballots.iter().enumerate().max_by(|a, b| compare(ballots, a.1, b.1))?;
    Some((best.0, votes(ballots, best.1)))
}

/// Whether `remaining` further ballots can no longer change the winning result nor, where it is an
/// answer, whether `agreement_min` of all reach it.
pub fn is_decided(ballots: &[Ballot], remaining: usize, agreement_min: f64) -> bool {
    let Some((best, count)) = winner(ballots) else { return false };
    let Some(best) = ballots.get(best).filter(|ballot| ballot.result.is_some()) else {
        return remaining == 0;
    };
    let runner_up = ballots
        .iter()
        .filter(|ballot| ballot.result.is_some() && ballot.result != best.result)
        .map(|ballot| votes(ballots, ballot))
        .max()
        .unwrap_or(0);
    let is_answer = best.result.as_ref().is_some_and(|result| result.answer.is_some());
    let wanted = if is_answer { agreement_min * (ballots.len() + remaining) as f64 } else { 0.0 };
    let is_enough = f64::from(count) >= wanted;
    let is_in_reach = f64::from(count) + remaining as f64 >= wanted;
    // A tie would be broken by probability, so the lead must exceed what is left.
    count as usize > runner_up as usize + remaining && (is_enough || !is_in_reach)
}

fn votes(ballots: &[Ballot], ballot: &Ballot) -> u32 {
    if ballot.result.is_none() {
        return 0;
    }
    let equal = ballots.iter().filter(|other| other.result == ballot.result).count();
    u32::try_from(equal).unwrap_or(u32::MAX)
}

/// Most votes, then the group's best probability, then the own probability, then smaller text.
fn compare(ballots: &[Ballot], a: &Ballot, b: &Ballot) -> Ordering {
    votes(ballots, a)
        .cmp(&votes(ballots, b))
        .then_with(|| group_logprob(ballots, a).total_cmp(&group_logprob(ballots, b)))
        .then_with(|| a.mean_logprob.total_cmp(&b.mean_logprob))
        .then_with(|| b.text.cmp(&a.text))
}

fn group_logprob(ballots: &[Ballot], ballot: &Ballot) -> f32 {
    if ballot.result.is_none() {
        return ballot.mean_logprob;
    }
    ballots
        .iter()
        .filter(|other| other.result == ballot.result)
        .map(|other| other.mean_logprob)
        .fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn ballot(answer: Option<&str>, mean_logprob: f32, text: &str) -> Ballot {
        let result = answer.map(|answer| ResultKey::new("", None, Some(answer)));
        Ballot { result, mean_logprob, text: text.to_owned() }
    }

    #[test]
    fn the_majority_wins_even_against_higher_probability() {
        let mut ballots = vec![ballot(Some("London"), -0.01, "a")];
        ballots.extend((0..7).map(|i| ballot(Some("Paris"), -1.0, &format!("b{i}"))));
        let (index, agreed) = winner(&ballots).unwrap();
        assert_eq!((ballots[index].text.as_str(), agreed), ("b0", 7));
    }

    #[test]
    fn equal_numbers_are_one_result() {
        let ballots = [
            ballot(Some("1"), -2.0, "a"),
            ballot(Some("2"), -0.1, "b"),
            ballot(Some("1.0"), -2.0, "c"),
        ];
        assert_eq!(winner(&ballots), Some((0, 2)));
        assert_ne!(
            ResultKey::new("9007199254740993", None, None),
            ResultKey::new("9007199254740992", None, None)
        );
    }

    #[test]
    fn failures_have_no_vote_unless_all_fail() {
        let ballots =
            [ballot(None, -0.1, "a"), ballot(None, -0.1, "b"), ballot(Some("x"), -9.0, "c")];
        assert_eq!(winner(&ballots), Some((2, 1)));
        assert_eq!(winner(&ballots[..2]), Some((0, 0)));
    }

    #[test]
    fn the_winner_does_not_depend_on_order() {
        let ballots = [
            ballot(Some("x"), -0.5, "a"),
            ballot(Some("y"), -0.5, "b"),
            ballot(Some("x"), -0.7, "c"),
            ballot(Some("y"), -0.4, "d"),
            ballot(None, -0.1, "e"),
        ];
        let mut rotated = ballots.to_vec();
        for _ in 0..ballots.len() {
            rotated.rotate_left(1);
            let (index, agreed) = winner(&rotated).unwrap();
            assert_eq!((rotated[index].text.as_str(), agreed), ("d", 2));
        }
    }

    #[test]
    fn a_lead_that_cannot_be_caught_up_decides() {
        let ballots = [ballot(Some("x"), -0.5, "a"), ballot(Some("x"), -0.5, "b")];
        assert!(is_decided(&ballots, 1, 0.0));
        assert!(!is_decided(&ballots, 2, 0.0));
        assert!(!is_decided(&[ballot(None, -0.5, "a")], 1, 0.0));
        assert!(is_decided(&[ballot(None, -0.5, "a")], 0, 0.0));
    }

    #[test]
    fn a_wanted_agreement_has_to_be_decided_too() {
        let five: Vec<Ballot> = (0..5).map(|_| ballot(Some("x"), -0.5, "a")).collect();
        assert!(is_decided(&five, 3, 0.6));
        assert!(!is_decided(&five, 3, 0.9));
        let apart = [five.clone(), vec![ballot(Some("y"), -0.5, "b")]].concat();
        assert!(is_decided(&apart, 2, 0.9));
        let printed = Ballot { result: Some(ResultKey::new("x", None, None)), ..five[0].clone() };
        assert!(is_decided(&vec![printed; 5], 3, 0.9));
    }
}
