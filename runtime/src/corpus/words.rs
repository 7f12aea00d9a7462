//! Text to words, for scripts with blanks between words and for those without.

use std::ops::Range;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// What is made of a run of letters of a script that puts no blanks between words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// Each letter and each pair of neighbours: what a document can be found by.
    LettersAndPairs,
    /// Pairs of neighbours, and a letter that stands alone: what a question asks for.
    Pairs,
}

/// Runs of letters and digits are words; letters of scripts without blanks are taken as [`Runs`].
#[derive(Clone, Debug)]
pub(super) struct Words {
    runs: Runs,
    token: Token,
}

impl Words {
    pub(super) fn new(runs: Runs) -> Self {
        Self { runs, token: Token::default() }
    }
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, at: 0, pair: None, runs: self.runs, token: &mut self.token }
    }
}

/// The words of one text.
pub(super) struct WordStream<'a> {
    text: &'a str,
    at: usize,
    /// The pair that follows a letter already told.
    pair: Option<Range<usize>>,
    runs: Runs,
    token: &'a mut Token,
}

impl WordStream<'_> {
    fn next_range(&mut self) -> Option<Range<usize>> {
        if let Some(pair) = self.pair.take() {
            return Some(pair);
        }
        loop {
            let rest = self.text.get(self.at..)?;
            let start = self.at + rest.find(char::is_alphanumeric)?;
            let first = self.text.get(start..)?.chars().next()?;
            if !is_unspaced(first) {
                let word = self.text.get(start..)?;
                let ends = |letter: char| !letter.is_alphanumeric() || is_unspaced(letter);
                self.at = start + word.find(ends).unwrap_or(word.len());
                return Some(start..self.at);
            }
            self.at = start + first.len_utf8();
            if let Some(found) = self.unspaced(start..self.at) {
                return Some(found);
            }
        }
    }

    /// What is told at the letter of a run that stands at `letter`.
    fn unspaced(&mut self, letter: Range<usize>) -> Option<Range<usize>> {
        let is_in_run = |found: Option<char>| found.filter(|next| is_unspaced(*next));
        let next = is_in_run(self.text.get(letter.end..)?.chars().next());
        let pair = next.map(|next| letter.start..letter.end + next.len_utf8());
        let before = is_in_run(self.text.get(..letter.start)?.chars().next_back());
        match (self.runs, pair) {
            (Runs::LettersAndPairs, pair) => {
                self.pair = pair;
                Some(letter)
            }
            (Runs::Pairs, Some(pair)) => Some(pair),
            (Runs::Pairs, None) => before.is_none().then_some(letter),
        }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(range) = self.next_range() else {
            return false;
        };
        self.token.text.clear();
        self.token.text.push_str(self.text.get(range.clone()).unwrap_or_default());
        self.token.position = self.token.position.wrapping_add(1);
        (self.token.offset_from, self.token.offset_to) = (range.start, range.end);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Letters of scripts that are written without blanks between words, and Hangul, whose words take
/// endings that no stemmer here removes.
fn is_unspaced(letter: char) -> bool {
    // Most text is below these blocks.
    letter >= '\u{0e00}'
        && matches!(letter,
            '\u{0e00}'..='\u{0eff}' // Thai, Lao
            | '\u{1000}'..='\u{109f}' // Myanmar
            | '\u{1780}'..='\u{17ff}' // Khmer
            | '\u{3005}'..='\u{3007}' // marks of repetition, zero
            | '\u{3040}'..='\u{30ff}' // Hiragana, Katakana
            | '\u{31f0}'..='\u{31ff}' // Katakana extensions
            | '\u{3400}'..='\u{4dbf}' // Han, extension A
            | '\u{4e00}'..='\u{9fff}' // Han
            | '\u{ac00}'..='\u{d7af}' // Hangul
            | '\u{f900}'..='\u{faff}' // Han, compatibility
            | '\u{20000}'..='\u{3ffff}') // Han, further extensions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runs: Runs, text: &str, expected: &[&str]) {
        let mut words = Words::new(runs);
        let mut stream = words.token_stream(text);
        let mut found = Vec::new();
        while stream.advance() {
            found.push(stream.token().text.clone());
        }
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        for runs in [Runs::LettersAndPairs, Runs::Pairs] {
            check(runs, "The M8x20 bolt, E-42!", &["The", "M8x20", "bolt", "E", "42"]);
            check(runs, " … ", &[]);
        }
    }

    #[test]
    fn runs_without_blanks_become_pairs() {
        check(Runs::Pairs, "東京タワー", &["東京", "京タ", "タワ", "ワー"]);
        check(Runs::Pairs, "橋 of 2橋川x", &["橋", "of", "2", "橋川", "x"]);
        check(Runs::LettersAndPairs, "東京は", &["東", "東京", "京", "京は", "は"]);
        check(Runs::LettersAndPairs, "한국", &["한", "한국", "국"]);
    }
}
