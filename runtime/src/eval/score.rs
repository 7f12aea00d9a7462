//! Is an answer right? Exact match and token F1 as HotpotQA's evaluation script defines them
//! (arXiv 1809.09600), and a numeric match for mathematics.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

/// Scores of one answer against its best-fitting expected one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Equal after normalisation.
    pub exact_match: bool,
    /// Harmonic mean of token precision and recall, 0..=1.
    pub f1: f64,
    /// Equal as numbers (relative tolerance 1e-4), or exactly where one is no number.
    pub math: bool,
}

/// Scores `answer` against each of `expected` and keeps the best of each figure.
#[must_use]
pub fn score<'a>(answer: &str, expected: impl Iterator<Item = &'a str>) -> Score {
    expected.fold(Score::default(), |best, expected| {
        let exact_match = normalise(answer) == normalise(expected);
        Score {
            exact_match: best.exact_match || exact_match,
            f1: best.f1.max(f1(answer, expected)),
            math: best.math || equal_numbers(answer, expected).unwrap_or(exact_match),
        }
    })
}

/// Lower case, no ASCII punctuation, no articles, single spaces.
#[must_use]
pub fn normalise(text: &str) -> String {
    let text: String = text.nfc().flat_map(char::to_lowercase).collect();
    let text: String = text.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words = text.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}

fn f1(answer: &str, expected: &str) -> f64 {
    let (answer, expected) = (normalise(answer), normalise(expected));
    let is_closed = |text: &str| matches!(text, "yes" | "no" | "noanswer");
    if (is_closed(&answer) || is_closed(&expected)) && answer != expected {
        return 0.0;
    }
    let (answer, expected) = (count_words(&answer), count_words(&expected));
    let common: usize =
        answer.iter().map(|(word, count)| count.min(expected.get(word).unwrap_or(&0))).sum();
    let total: usize = answer.values().sum::<usize>() + expected.values().sum::<usize>();
    if common == 0 { 0.0 } else { 2.0 * common as f64 / total as f64 }
}

fn count_words(text: &str) -> BTreeMap<&str, usize> {
    text.split_whitespace().fold(BTreeMap::new(), |mut counts, word| {
        *counts.entry(word).or_default() += 1;
        counts
    })
}

fn equal_numbers(answer: &str, expected: &str) -> Option<bool> {
    let (answer, expected) = (number(answer)?, number(expected)?);
    Some((answer - expected).abs() <= 1e-4 * expected.abs().max(1e-12))
}

/// A number as people write it: `\boxed{}`, thousands separators, `$`, `%`, or a fraction `a/b`.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let text = text
        .split_once("\\boxed{")
        .and_then(|(_, rest)| rest.rsplit_once('}'))
        .map_or(text, |(inside, _)| inside);
    let text: String = text.chars().filter(|c| !matches!(c, ',' | '$' | '%' | ' ')).collect();
    match text.split_once('/') {
        Some((above, below)) => {
            let (above, below) = (above.parse::<f64>().ok()?, below.parse::<f64>().ok()?);
            (below != 0.0).then(|| above / below)
        }
        None => text.parse::<f64>().ok().filter(|number| number.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str, expected: &str) -> Score {
        score(answer, std::iter::once(expected))
    }

    #[test]
    fn articles_case_and_punctuation_do_not_count() {
        assert!(of("The Heahi Bridge.", "heahi bridge").exact_match);
        assert!(!of("Heahi", "Heahi Bridge").exact_match);
    }

    #[test]
    fn f1_counts_shared_words() {
        assert!((of("Heahi", "Heahi Bridge").f1 - 2.0 / 3.0).abs() < 1e-9);
        assert!(of("yes it is", "yes").f1 < 1e-9);
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(of("1,234.0", "1234").math);
        assert!(of("\\boxed{1/2}", "0.5").math);
        assert!(!of("12", "13").math);
        // What normalisation takes for equal is not, where both are numbers.
        assert!(of("5", "-5").exact_match && !of("5", "-5").math);
        assert!(!of("15", "1.5").math);
    }

    #[test]
    fn the_best_alias_counts() {
        let score = score("NYC", ["New York City", "NYC"].into_iter());
        assert!(score.exact_match && score.f1 > 0.99);
    }
}
