//! How text becomes terms, for documents and for questions.

use std::collections::BTreeMap;

use tantivy::tokenizer::{
    AsciiFoldingFilter, BoxTokenStream, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, Tokenizer,
};

use super::language::Language;
use super::words::{Runs, Words};

/// Name and version of the analyser. It stands in the index and in the ledger: a corpus analysed
/// by another one is refused.
pub const ANALYSER: &str = "retort-2";

/// Distinct terms of a question that are searched for, in each language of the corpus; those after
/// are ignored. The longest question of the four measured sets has 37, and a 1 MB question costs
/// no more than reading it.
pub const QUERY_TERMS_MAX: usize = 64;

/// Words longer than this are noise (addresses, base64).
const WORD_BYTES_MAX: usize = 40;

/// Words that ask and carry nothing to look for. Leaving them out gained 2 points of recall at 5
/// together with the title weight (HotpotQA, 500 questions).
const QUESTION_WORDS: &[&str] = &[
    "who", "whom", "whose", "what", "which", "when", "where", "why", "how", "did", "does", "do",
    "done", "has", "have", "had", "were", "been", "being", "can", "could", "would", "should",
    "may", "might", "also", "than", "from", "he", "she", "his", "her", "its", "him", "us", "you",
    "we", "i", "me", "my", "our", "your",
];

/// Words, folded to lower-case ASCII, without stop words, stemmed.
fn analyser(language: Language, runs: Runs, left_out: &[&str]) -> TextAnalyzer {
    let mut words = TextAnalyzer::builder(Words::new(runs))
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .dynamic();
    if !left_out.is_empty() {
        let left_out = left_out.iter().map(|word| (*word).to_owned());
        words = words.filter_dynamic(StopWordFilter::remove(left_out));
    }
    let Some(language) = stemmed(language) else {
        return words.build();
    };
    if let Some(stop_words) = StopWordFilter::new(language) {
        words = words.filter_dynamic(stop_words);
    }
    words.filter_dynamic(Stemmer::new(language)).build()
}

/// The name that the stemmers and lists of stop words have for a language.
fn stemmed(language: Language) -> Option<tantivy::tokenizer::Language> {
    use tantivy::tokenizer::Language as Known;
    Some(match language {
        Language::Arabic => Known::Arabic,
        Language::Danish => Known::Danish,
        Language::Dutch => Known::Dutch,
        Language::English => Known::English,
        Language::Finnish => Known::Finnish,
        Language::French => Known::French,
        Language::German => Known::German,
        Language::Greek => Known::Greek,
        Language::Hungarian => Known::Hungarian,
        Language::Italian => Known::Italian,
        Language::Norwegian => Known::Norwegian,
        Language::Portuguese => Known::Portuguese,
        Language::Romanian => Known::Romanian,
        Language::Russian => Known::Russian,
        Language::Spanish => Known::Spanish,
        Language::Swedish => Known::Swedish,
        Language::Tamil => Known::Tamil,
        Language::Turkish => Known::Turkish,
        Language::Other => return None,
    })
}

/// Analyses the text of documents. The text's first line names its language, by its code: one
/// field holds the passages of all languages.
#[derive(Clone)]
pub(super) struct DocumentAnalyser {
    english: TextAnalyzer,
    others: Vec<(Language, TextAnalyzer)>,
}

impl DocumentAnalyser {
    pub(super) fn new() -> Self {
        let of = |language| analyser(language, Runs::LettersAndPairs, &[]);
        let others = Language::all().filter(|language| *language != Language::English);
        let others = others.map(|language| (language, of(language))).collect();
        Self { english: of(Language::English), others }
    }

    /// What to hand to the field for `text`.
    pub(super) fn labelled(language: Language, text: &str) -> String {
        format!("{}\n{text}", language.code())
    }
}

impl Tokenizer for DocumentAnalyser {
    type TokenStream<'a> = BoxTokenStream<'a>;

    fn token_stream<'a>(&'a mut self, labelled: &'a str) -> BoxTokenStream<'a> {
        let (label, text) = labelled.split_once('\n').unwrap_or_default();
        let language = Language::of_code(label).unwrap_or_default();
        let other = self.others.iter_mut().find(|(known, _)| *known == language);
        other.map_or(&mut self.english, |(_, analyser)| analyser).token_stream(text)
    }
}

/// Analyses questions put to a corpus in some languages.
#[derive(Clone)]
pub(super) struct QuestionAnalyser {
    languages: Vec<QuestionLanguage>,
}

/// A language of the corpus.
#[derive(Clone)]
struct QuestionLanguage {
    language: Language,
    /// Too few passages are in it to ask in it without a sign that the question is.
    is_rare: bool,
    /// Without question words.
    short: TextAnalyzer,
    /// With them.
    whole: TextAnalyzer,
}

/// A language in which less than this share of the passages is counts as rare: a text that is
/// taken for another language must not draw every question to itself.
const RARE_SHARE: f64 = 0.01;

impl QuestionAnalyser {
    /// For a corpus with so many passages in each language.
    pub(super) fn new(passages: &BTreeMap<Language, u64>) -> Self {
        let total: u64 = passages.values().sum();
        let most = passages.values().max();
        let languages = passages.iter().map(|(language, count)| {
            let asking = if *language == Language::English { QUESTION_WORDS } else { &[] };
            QuestionLanguage {
                language: *language,
                is_rare: (*count as f64) < RARE_SHARE * total as f64 && Some(count) != most,
                short: analyser(*language, Runs::Pairs, asking),
                whole: analyser(*language, Runs::Pairs, &[]),
            }
        });
        Self { languages: languages.collect() }
    }

    /// The distinct terms of a question in the order of their first appearance, at most
    /// [`QUERY_TERMS_MAX`] a language. A question of nothing but question words keeps them.
    pub(super) fn terms(&self, question: &str) -> Vec<String> {
        Self::terms_in(self.asked_in(question), question)
    }

    /// As [`Self::terms`], in every language of the corpus, the rare ones too.
    pub(super) fn terms_in_all(&self, question: &str) -> Vec<String> {
        Self::terms_in(self.languages.iter().collect(), question)
    }

    fn terms_in(languages: Vec<&QuestionLanguage>, question: &str) -> Vec<String> {
        let mut terms = Vec::new();
        for language in languages {
            let mut found = distinct_terms(&language.short, question);
            if found.is_empty() {
                found = distinct_terms(&language.whole, question);
            }
            found.retain(|term| !terms.contains(term));
            terms.append(&mut found);
        }
        terms
    }

    /// The terms of a title, those that ask too.
    pub(super) fn title_terms(&self, title: &str) -> Vec<String> {
        let common = self.languages.iter().filter(|language| !language.is_rare);
        common.flat_map(|language| distinct_terms(&language.whole, title)).collect()
    }

    /// The languages whose function words the question has most of; without any, those of the
    /// corpus.
    fn asked_in(&self, question: &str) -> Vec<&QuestionLanguage> {
        let counts =
            self.languages.iter().map(|known| known.language.function_words(question).found);
        let counts: Vec<usize> = counts.collect();
        let most = counts.iter().copied().max().unwrap_or_default();
        let languages = || self.languages.iter().zip(&counts);
        let is_asked = |count: usize| count > 0 && count == most;
        let only_rare = languages().all(|(known, count)| known.is_rare || !is_asked(*count));
        let wanted =
            languages().filter(|(known, count)| is_asked(**count) || (only_rare && !known.is_rare));
        wanted.map(|(known, _)| known).collect()
    }
}

fn distinct_terms(analyser: &TextAnalyzer, text: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    let mut analyser = analyser.clone();
    let mut tokens = analyser.token_stream(text);
    while terms.len() < QUERY_TERMS_MAX && tokens.advance() {
        let term = &tokens.token().text;
        if !terms.contains(term) {
            terms.push(term.clone());
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(question: &str) -> Vec<String> {
        QuestionAnalyser::new(&BTreeMap::from([(Language::English, 1)])).terms(question)
    }

    fn document(language: Language, text: &str) -> Vec<String> {
        let labelled = DocumentAnalyser::labelled(language, text);
        let mut analyser = DocumentAnalyser::new();
        let mut tokens = analyser.token_stream(&labelled);
        let mut found = Vec::new();
        while tokens.advance() {
            found.push(tokens.token().text.clone());
        }
        found
    }

    #[test]
    fn question_words_are_left_out_unless_they_are_all_there_is() {
        assert_eq!(english("Who designed the Heahi Bridge?"), ["design", "heahi", "bridg"]);
        assert_eq!(english("Who?"), ["who"]);
        assert!(english(" ?! ").is_empty());
    }

    #[test]
    fn accents_and_case_are_folded() {
        assert_eq!(english("Malmö ZÜRICH"), ["malmo", "zurich"]);
    }

    #[test]
    fn query_syntax_is_only_text() {
        assert_eq!(english("title:(a OR \"b\") -c^2 *"), ["titl", "b", "c", "2"]);
    }

    #[test]
    fn a_question_of_a_megabyte_has_a_bounded_number_of_terms() {
        let question: String = (0..200_000).map(|word| format!("w{word} ")).collect();
        assert_eq!(english(&question).len(), QUERY_TERMS_MAX);
        assert_eq!(english(&"bridge ".repeat(150_000)), ["bridg"]);
        assert!(english(&"x".repeat(1 << 20)).is_empty());
    }

    #[test]
    fn each_language_has_its_own_words() {
        assert_eq!(document(Language::English, "the bridges"), ["bridg"]);
        assert_eq!(document(Language::German, "die Brücken der Stadt"), ["bruck", "stadt"]);
        assert_eq!(document(Language::Other, "the bridges"), ["the", "bridges"]);
        assert_eq!(document(Language::Other, "橋は古い").len(), 7);
    }

    #[test]
    fn a_question_is_analysed_in_its_language_or_in_all() {
        let passages = [(Language::English, 500), (Language::German, 499), (Language::Italian, 1)];
        let mixed = QuestionAnalyser::new(&BTreeMap::from(passages));
        assert_eq!(mixed.terms("Wer hat die Brücken entworfen?"), ["wer", "bruck", "entworf"]);
        assert_eq!(mixed.terms("the bridges of Bergen"), ["bridg", "bergen"]);
        assert_eq!(mixed.terms("Bergen"), ["bergen", "berg"]);
        // One passage in Italian does not make a question Italian alone.
        let terms = mixed.terms("il ponte di Bergen");
        assert!(terms.contains(&"pont".to_owned()) && terms.contains(&"berg".to_owned()));
    }
}
