//! Ranks passages: by their words, and by the titles that question and best passages mention.
//!
//! A question that needs two pages names one; the other is named there. A page whose title stands
//! in the question or in one of the first hits is likely to be wanted, the more so the more of the
//! question's words it has itself: both are taken as independent evidence, a noisy or.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, ConstScoreQuery, EnableScoring, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, Searcher, TantivyDocument, Term};

use super::Passage;
use super::analyse::QuestionAnalyser;
use super::index::Fields;
use super::keys::{Keys, key_of};
use super::links::{Linker, Mention, Writing};

/// BM25 score that maps to 0.5. With it the best hits of the four measured sets map to 0.49 to 0.87
/// (5th to 95th percentile).
const SCORE_HALF: f32 = 10.0;
/// Mapped scores are rounded to this: processors differ in the last bits of a sum, and the order
/// of hits must not.
const SCORE_STEPS: f32 = 10_000.0;
/// Passages fetched beyond the limit at first, to see whether a tie crosses it.
const TIE_ROOM: usize = 8;
/// Passages looked at for a tie at most.
const TIE_MAX: usize = 4_000;
/// First hits whose mentions are followed. The third still gains, a fourth does not.
const SEEDS: usize = 3;
/// Passages of one document among the hits, while others have any.
const PASSAGES_PER_DOCUMENT: usize = 2;
/// How much deeper is looked for the others, as a multiple.
const DEEPER: usize = 4;
/// Passages taken of each page that is mentioned.
const PASSAGES_PER_KEY: usize = 2;
/// So many mentions in one seed weaken each by the square root of two. Between 8 and 24 all is
/// alike.
const MENTIONS_HALF: f32 = 16.0;

/// A passage that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Similarity in `0..1`.
    pub score: f32,
    /// BM25 of its own words.
    bm25: f32,
    /// Where it is in the index.
    pub address: DocAddress,
    /// Path of the file.
    pub source: String,
    /// The passage.
    pub passage: Passage,
    /// Title of the page that mentions it, when that made the score.
    pub via: Option<String>,
}

/// A mention of a passage's page.
#[derive(Clone, Debug)]
struct Link {
    /// How much it speaks for the passage, 0..=1.
    evidence: f32,
    /// Title of the page that mentions it; `None`: the question does.
    via: Option<String>,
}

/// The strongest link to each passage that a mention leads to.
type Links = BTreeMap<DocAddress, Link>;

/// One search.
pub(super) struct Ranking<'a> {
    pub searcher: &'a Searcher,
    pub fields: Fields,
    pub analyser: &'a QuestionAnalyser,
    pub keys: &'a Keys,
}

impl Ranking<'_> {
    /// The best passages for a question, best first; equal scores in the order of document, file
    /// and place.
    pub(super) fn rank(&self, question: &str, limit: usize) -> tantivy::Result<Vec<Found>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let search = |terms: Vec<String>| {
            let query = self.any_of(&terms, None);
            let found = self.best(&query, limit.max(SEEDS))?;
            Ok::<_, tantivy::TantivyError>((terms, query, found))
        };
        let (mut terms, mut query, mut by_words) = search(self.analyser.terms(question))?;
        if by_words.is_empty() {
            // What is there in another language is better than nothing.
            (terms, query, by_words) = search(self.analyser.terms_in_all(question))?;
        }
        let Some(best) = by_words.first().map(|hit| hit.bm25) else {
            return Ok(Vec::new());
        };
        let links = self.links(question, &terms, best, &by_words)?;
        let mut hits = self.linked(&query, by_words, links.clone(), best, limit)?;
        if beyond_share(hits.iter().take(limit)).contains(&true) {
            // One long document fills the list: look deeper for others.
            let deeper = limit * DEEPER;
            hits = self.linked(&query, self.best(&query, deeper)?, links, best, deeper)?;
            return Ok(varied(hits, limit));
        }
        hits.truncate(limit);
        Ok(hits)
    }

    /// The pages that the question and the first hits mention.
    fn links(
        &self,
        question: &str,
        terms: &[String],
        best: f32,
        hits: &[Found],
    ) -> tantivy::Result<Links> {
        let mut links = Links::new();
        self.follow_question(question, terms, &mut links)?;
        for seed in hits.iter().take(SEEDS) {
            self.follow_hit(seed.bm25 / best, &seed.passage, terms, &mut links)?;
        }
        Ok(links)
    }

    /// The hits with what links add to them: at least `limit`, if there are so many, best first.
    fn linked(
        &self,
        query: &BooleanQuery,
        mut hits: Vec<Found>,
        mut links: Links,
        best: f32,
        limit: usize,
    ) -> tantivy::Result<Vec<Found>> {
        for hit in &mut hits {
            if let Some(link) = links.remove(&hit.address) {
                hit.strengthen(link, best);
            }
        }
        sort(&mut hits);
        self.admit(query, links, best, limit, &mut hits)?;
        Ok(hits)
    }

    /// An OR of terms, perhaps among the passages of one page.
    fn any_of(&self, terms: &[String], page: Option<&str>) -> BooleanQuery {
        let clause = |term: &String| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.fields.search, term);
            (Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)))
        };
        let page = page.map(|key| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.fields.key, key);
            let page = Box::new(TermQuery::new(term, IndexRecordOption::Basic));
            (Occur::Must, Box::new(ConstScoreQuery::new(page, 0.0)))
        });
        BooleanQuery::new(terms.iter().map(clause).chain(page).collect())
    }

    /// Pages named in the question: a name of many words is hardly there by chance.
    fn follow_question(
        &self,
        question: &str,
        terms: &[String],
        links: &mut Links,
    ) -> tantivy::Result<()> {
        for mention in self.linker().mentions(question, Writing::Question)? {
            let evidence = 1.0 - 1.0 / (1.0 + mention.words as f32);
            self.offer(&mention, &Link { evidence, via: None }, terms, links)?;
        }
        Ok(())
    }

    /// Pages mentioned in a hit: none is better than the hit, which is `relative` to the best, and
    /// a hit that mentions many says little of each.
    fn follow_hit(
        &self,
        relative: f32,
        seed: &Passage,
        terms: &[String],
        links: &mut Links,
    ) -> tantivy::Result<()> {
        let own = key_of(&seed.title);
        let mut mentions = self.linker().mentions(&seed.text, Writing::Text)?;
        mentions.retain(|mention| own.as_ref() != Some(&mention.key));
        let evidence = relative / (1.0 + mentions.len() as f32 / MENTIONS_HALF).sqrt();
        let named = if seed.title.is_empty() { &seed.document } else { &seed.title };
        let link = Link { evidence, via: Some(named.clone()) };
        mentions.iter().try_for_each(|mention| self.offer(mention, &link, terms, links))
    }

    fn linker(&self) -> Linker<'_> {
        Linker {
            searcher: self.searcher,
            search: self.fields.search,
            keys: self.keys,
            analyser: self.analyser,
        }
    }

    /// Keeps the link where it is the strongest to a passage.
    fn offer(
        &self,
        mention: &Mention,
        link: &Link,
        terms: &[String],
        links: &mut Links,
    ) -> tantivy::Result<()> {
        for address in self.passages_of(mention, terms)? {
            let known = links.entry(address).or_insert_with(|| link.clone());
            if known.evidence < link.evidence {
                known.clone_from(link);
            }
        }
        Ok(())
    }

    /// The passages of a page that share most with the question.
    fn passages_of(&self, mention: &Mention, terms: &[String]) -> tantivy::Result<Vec<DocAddress>> {
        let all = self.keys.passages(&mention.key, PASSAGES_PER_KEY + 1)?;
        if all.len() <= PASSAGES_PER_KEY {
            return Ok(all);
        }
        let best = self.best(&self.any_of(terms, Some(&mention.key)), PASSAGES_PER_KEY)?;
        Ok(best.into_iter().take(PASSAGES_PER_KEY).map(|hit| hit.address).collect())
    }

    /// The best passages by their words: `limit` of them, and all that tie with the last.
    fn best(&self, query: &dyn Query, limit: usize) -> tantivy::Result<Vec<Found>> {
        let best = best_with_ties(self.searcher, query, limit)?;
        let mut found = best
            .into_iter()
            .map(|(bm25, address)| self.load(bm25, address))
            .collect::<tantivy::Result<Vec<_>>>()?;
        sort(&mut found);
        Ok(found)
    }

    fn load(&self, bm25: f32, address: DocAddress) -> tantivy::Result<Found> {
        let stored: TantivyDocument = self.searcher.doc(address)?;
        let (source, passage) = self.fields.read_document(&stored);
        Ok(Found { score: similarity(bm25), bm25, address, source, passage, via: None })
    }

    /// Adds the linked passages that are good enough to the hits, which are sorted.
    fn admit(
        &self,
        query: &BooleanQuery,
        links: Links,
        best: f32,
        limit: usize,
        hits: &mut Vec<Found>,
    ) -> tantivy::Result<()> {
        let cut = hits.get(limit - 1).map_or(0.0, |hit| hit.score);
        let own = self.scores(query, links.keys())?;
        for ((address, link), bm25) in links.into_iter().zip(own) {
            if similarity(strengthened(bm25, &link, best)) >= cut {
                let mut found = self.load(bm25, address)?;
                found.strengthen(link, best);
                hits.push(found);
            }
        }
        sort(hits);
        Ok(())
    }

    /// BM25 scores of passages, which come in their order in the index; 0 without a common word.
    fn scores<'p>(
        &self,
        query: &BooleanQuery,
        passages: impl Iterator<Item = &'p DocAddress>,
    ) -> tantivy::Result<Vec<f32>> {
        let weight = query.weight(EnableScoring::enabled_from_searcher(self.searcher))?;
        let mut scorers = BTreeMap::new();
        let mut scores = Vec::new();
        for DocAddress { segment_ord, doc_id } in passages {
            let scorer = match scorers.entry(segment_ord) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(room) => {
                    let segment = self.searcher.segment_reader(*segment_ord);
                    room.insert(weight.scorer(segment, 1.0)?)
                }
            };
            if scorer.doc() < *doc_id {
                scorer.seek(*doc_id);
            }
            scores.push(if scorer.doc() == *doc_id { scorer.score() } else { 0.0 });
        }
        Ok(scores)
    }
}

impl Found {
    fn strengthen(&mut self, link: Link, best: f32) {
        self.score = similarity(strengthened(self.bm25, &link, best));
        self.via = link.via.filter(|_| link.evidence > self.bm25 / best);
    }
}

/// The BM25 score that is worth as much as a passage's own and a link to it together.
fn strengthened(bm25: f32, link: &Link, best: f32) -> f32 {
    best * (1.0 - (1.0 - link.evidence) * (1.0 - bm25 / best))
}

/// Which of the hits are beyond their document's share.
fn beyond_share<'a>(hits: impl Iterator<Item = &'a Found>) -> Vec<bool> {
    let mut counts = BTreeMap::new();
    let is_beyond = |hit: &'a Found| {
        let count = counts.entry((&hit.passage.document, &hit.source)).or_insert(0);
        *count += 1;
        *count > PASSAGES_PER_DOCUMENT
    };
    hits.map(is_beyond).collect()
}

/// `limit` hits, best first; those beyond their document's share only where there are too few
/// others.
fn varied(hits: Vec<Found>, limit: usize) -> Vec<Found> {
    let beyond = beyond_share(hits.iter());
    let (rest, first): (Vec<_>, Vec<_>) =
        hits.into_iter().zip(beyond).partition(|(_, beyond)| *beyond);
    let chosen = first.into_iter().chain(rest).take(limit).map(|(hit, _)| hit);
    let mut chosen: Vec<Found> = chosen.collect();
    sort(&mut chosen);
    chosen
}

fn sort(found: &mut [Found]) {
    found.sort_by(|a, b| {
        let by_place = (&a.passage.document, &a.source, a.passage.ordinal).cmp(&(
            &b.passage.document,
            &b.source,
            b.passage.ordinal,
        ));
        b.score.total_cmp(&a.score).then(by_place)
    });
}

/// The best passages with their scores: `limit` of them, and all that tie with the last.
/// Which of equals the index returns first depends on how it was built, so all are needed.
fn best_with_ties(
    searcher: &Searcher,
    query: &dyn Query,
    limit: usize,
) -> tantivy::Result<Vec<(f32, DocAddress)>> {
    let mut room = limit + TIE_ROOM;
    loop {
        let mut best = searcher.search(query, &TopDocs::with_limit(room).order_by_score())?;
        let cut = best.get(limit - 1).map_or(0.0, |(score, _)| similarity(*score));
        let last = best.last().map_or(0.0, |(score, _)| similarity(*score));
        let crossed = best.len() == room && last >= cut;
        if !crossed || room >= TIE_MAX {
            best.retain(|(score, _)| similarity(*score) >= cut);
            return Ok(best);
        }
        room *= 4;
    }
}

/// Maps a BM25 score into `0..1`.
fn similarity(score: f32) -> f32 {
    let score = score.max(0.0);
    (score / (score + SCORE_HALF) * SCORE_STEPS).round() / SCORE_STEPS
}
