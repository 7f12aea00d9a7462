//! From logits to a token.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Sampling;

/// The random stream of one candidate.
pub fn stream(seed: u64, candidate: u8) -> ChaCha8Rng {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_stream(u64::from(candidate));
    stream
}

/// Draws a token. Returns its id and its natural-log probability at temperature 1.
pub fn draw(
    logits: &[f32],
    sampling: Sampling,
    random: &mut impl Rng,
    scratch: &mut Vec<(u32, f32)>,
) -> (u32, f32) {
    let token = match sampling {
        Sampling::Greedy => most_probable(logits),
        Sampling::Nucleus { temperature, top_p } => {
            nucleus(logits, temperature, top_p, random.random(), scratch)
        }
    };
    (token, log_probability(logits, token))
}

/// The first of the largest logits.
fn most_probable(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            best = (token, *logit);
        }
    }
    best.0
}

/// Nucleus sampling (arXiv 1904.09751): the smallest set of most probable tokens whose mass
/// reaches `top_p`, drawn from in proportion. `uniform` lies in 0..1.
fn nucleus(
    logits: &[f32],
    temperature: f32,
    top_p: f32,
    uniform: f32,
    scratch: &mut Vec<(u32, f32)>,
) -> u32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scratch.clear();
    scratch.extend(
        (0..).zip(logits).map(|(token, logit)| (token, ((logit - max) / temperature).exp())),
    );
    let total: f32 = scratch.iter().map(|(_, weight)| weight).sum();
    // Tokens that together hold less than the tail outside the nucleus need no sorting.
    let floor = total * (1.0 - top_p).max(1e-9) / logits.len().max(1) as f32;
    scratch.retain(|(_, weight)| *weight >= floor);
    scratch.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut kept = 0;
    let mut mass = 0.0;
    while kept < scratch.len() && mass < top_p * total {
        mass += scratch.get(kept).map_or(0.0, |(_, weight)| *weight);
        kept += 1;
    }
    let mut left = uniform * mass;
    let mut nucleus = scratch.iter().take(kept);
    for (token, weight) in nucleus.clone() {
        left -= weight;
        if left < 0.0 {
            return *token;
        }
    }
    nucleus.next_back().map_or(0, |(token, _)| *token)
}

fn log_probability(logits: &[f32], token: u32) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
    logits.get(token as usize).map_or(f32::NEG_INFINITY, |logit| logit - max - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 3.0, -2.0];

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let mut random = stream(1, 0);
        let (token, logprob) = draw(&LOGITS, Sampling::Greedy, &mut random, &mut Vec::new());
        assert_eq!(token, 1);
        assert!((logprob + 0.7620).abs() < 1e-3, "{logprob}");
    }

    #[test]
    fn the_nucleus_holds_only_the_most_probable() {
        let mut drawn = [0; 4];
        let mut random = stream(1, 0);
        let sampling = Sampling::Nucleus { temperature: 1.0, top_p: 0.8 };
        for _ in 0..1000 {
            let (token, _) = draw(&LOGITS, sampling, &mut random, &mut Vec::new());
            drawn[token as usize] += 1;
        }
        assert_eq!(drawn[0] + drawn[3], 0);
        assert!((400..600).contains(&drawn[1]), "{drawn:?}");
    }

    #[test]
    fn candidates_have_streams_of_their_own_and_keep_them() {
        let first = |candidate| stream(42, candidate).next_u64();
        assert_eq!(first(0), first(0));
        assert_ne!(first(0), first(1));
    }
}
