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

/// Tokens one reply may have so that `candidates` of them stay inside the run's budget.
pub fn reply_tokens(budgets: &Budgets, usage: &Usage, candidates: u8) -> u32 {
    let left = u64::from(budgets.run_tokens_max).saturating_sub(usage.completion_tokens);
    let share = left / u64::from(candidates.max(1));
    budgets.reply_tokens_max.min(u32::try_from(share).unwrap_or(u32::MAX)).max(1)
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
        let budgets = Budgets { run_tokens_max: 100, reply_tokens_max: 50, ..Budgets::default() };
        let used = |tokens| Usage { completion_tokens: tokens, ..Usage::default() };
        assert_eq!(reply_tokens(&budgets, &used(0), 1), 50);
        assert_eq!(reply_tokens(&budgets, &used(20), 8), 10);
        assert_eq!(reply_tokens(&budgets, &used(100), 8), 1);
    }
}
