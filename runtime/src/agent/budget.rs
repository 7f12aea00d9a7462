//! What a run has used, against what it may use.

use std::time::Duration;

use super::types::{Budget, Budgets, Usage};

/// The first budget of `budgets` that `usage` or `elapsed` has reached.
pub fn spent(budgets: &Budgets, usage: &Usage, elapsed: Duration) -> Option<Budget> {
    if elapsed >= budgets.wall_max {
        Some(Budget::Wall)
    } else if usage.completion_tokens >= u64::from(budgets.run_tokens_max) {
        Some(Budget::Tokens)
    } else if usage.fuel >= budgets.fuel_max {
        Some(Budget::Fuel)
    } else {
        None
    }
}

/// Tokens that every reply of a step may have at least: with less, replies break off before their
/// code ends, and fewer of them are drawn instead.
const REPLY_TOKENS_LEAST: u32 = 128;

/// How many of the `wanted` replies are drawn, and the tokens each may have, so that together they
/// stay inside the run's budget and the `room_tokens` that the context has left.
pub fn draws(budgets: &Budgets, usage: &Usage, room_tokens: u32, wanted: u8) -> (u8, u32) {
    let left = u64::from(budgets.run_tokens_max).saturating_sub(usage.completion_tokens);
    let left = u32::try_from(left).unwrap_or(u32::MAX).min(room_tokens);
    let least = budgets.reply_tokens_max.clamp(1, REPLY_TOKENS_LEAST);
    let fitting = u8::try_from(left / least).unwrap_or(u8::MAX);
    let candidates = wanted.min(fitting).max(1);
    (candidates, budgets.reply_tokens_max.min(left / u32::from(candidates)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_is_named_when_it_is_reached() {
        let budgets = Budgets { run_tokens_max: 10, fuel_max: 5, ..Budgets::default() };
        let at = |tokens, fuel, seconds| {
            let usage = Usage { completion_tokens: tokens, fuel, ..Usage::default() };
            spent(&budgets, &usage, Duration::from_secs(seconds))
        };
        assert_eq!(at(9, 4, 599), None);
        assert_eq!(at(10, 0, 0), Some(Budget::Tokens));
        assert_eq!(at(0, 5, 0), Some(Budget::Fuel));
        assert_eq!(at(0, 0, 600), Some(Budget::Wall));
    }

    #[test]
    fn candidates_share_what_is_left() {
        let budgets = Budgets { run_tokens_max: 1000, reply_tokens_max: 300, ..Budgets::default() };
        let drawn = |used, room, wanted| {
            let usage = Usage { completion_tokens: used, ..Usage::default() };
            draws(&budgets, &usage, room, wanted)
        };
        assert_eq!(drawn(0, 4000, 1), (1, 300));
        assert_eq!(drawn(0, 4000, 4), (4, 250));
        // Rather fewer than some that break off.
        assert_eq!(drawn(0, 4000, 64), (7, 142));
        assert_eq!(drawn(0, 400, 8), (3, 133));
        assert_eq!(drawn(1000, 4000, 8), (1, 1));
        let short = Budgets { reply_tokens_max: 20, ..budgets };
        assert_eq!(draws(&short, &Usage::default(), 100, 8), (5, 20));
    }
}
