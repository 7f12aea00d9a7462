//! What was spent, and whether there is room for more.

use std::sync::{Condvar, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::book::{Book, Entry};
use super::config::{BudgetConfig, Price};
use super::error::CallError;

/// What requests used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of replies.
    pub completion_tokens: u64,
    /// Of both, tokens that the server did not count: a quarter of the bytes.
    pub estimated_tokens: u64,
    /// By the price of the configuration.
    pub cost: f64,
}

impl Spent {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.requests, other.requests);
        add(&mut self.failures, other.failures);
        add(&mut self.prompt_tokens, other.prompt_tokens);
        add(&mut self.completion_tokens, other.completion_tokens);
        add(&mut self.estimated_tokens, other.estimated_tokens);
        self.cost += other.cost;
    }

    /// What is left without an earlier state of it.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failures: self.failures.saturating_sub(earlier.failures),
            prompt_tokens: self.prompt_tokens.saturating_sub(earlier.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_sub(earlier.completion_tokens),
            estimated_tokens: self.estimated_tokens.saturating_sub(earlier.estimated_tokens),
            cost: (self.cost - earlier.cost).max(0.0),
        }
    }

    /// Of prompts and replies.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl<'a> std::iter::Sum<&'a Spent> for Spent {
    fn sum<I: Iterator<Item = &'a Spent>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum.add(part);
            sum
        })
    }
}

/// Tokens of a text whose tokenizer is unknown.
pub fn estimated_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// The most tokens that a prompt of so many bytes will have, on the high side: text has a token for
/// three bytes or more in most languages and tokenizers, code and digits one for two.
pub fn prompt_tokens_at_most(bytes: usize) -> u64 {
    bytes.div_ceil(2) as u64 + 64
}

/// Adds up, and lets nothing begin that could go beyond the budget.
pub struct Meter {
    price: Price,
    budget: BudgetConfig,
    state: Mutex<State>,
    settled: Condvar,
    book: Option<Book>,
}

#[derive(Default)]
struct State {
    spent: Spent,
    reserved: Reserved,
}

/// The most that requests under way can use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reserved {
    requests: u64,
    tokens: u64,
    cost: f64,
}

impl Meter {
    /// A meter that begins with what earlier runs spent.
    pub fn new(price: Price, budget: BudgetConfig, before: Spent, book: Option<Book>) -> Self {
        let state = Mutex::new(State { spent: before, reserved: Reserved::default() });
        Self { price, budget, state, settled: Condvar::new(), book }
    }

    /// What was spent is kept elsewhere.
    pub fn close_book(&self) {
        self.book.iter().for_each(Book::close);
    }

    fn note(&self, state: &State) {
        let Some(book) = &self.book else { return };
        let State { spent, reserved: Reserved { requests, tokens, cost } } = *state;
        // How they divide into prompts and replies is open.
        let under_way = Spent {
            failures: requests,
            prompt_tokens: tokens,
            estimated_tokens: tokens,
            cost,
            ..Spent::default()
        };
        book.write(Entry { spent, under_way });
    }

    /// What these tokens cost.
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        self.price.of(prompt_tokens, completion_tokens)
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).spent
    }

    /// Sets aside the most that a request can use. While others are under way it waits for what
    /// they leave over.
    ///
    /// # Errors
    /// [`CallError::BudgetSpent`] when not even that would do.
    pub fn reserve(&self, prompt: u64, completion_max: u64) -> Result<Reserved, CallError> {
        let tokens = prompt + completion_max;
        let wanted = Reserved { requests: 1, tokens, cost: self.cost(prompt, completion_max) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(reason) = self.beyond(&state, wanted) else {
                state.reserved.requests += wanted.requests;
                state.reserved.tokens += wanted.tokens;
                state.reserved.cost += wanted.cost;
                self.note(&state);
                return Ok(wanted);
            };
            if state.reserved.tokens == 0 {
                return Err(CallError::BudgetSpent(reason));
            }
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A request is over: what it used takes the place of what was set aside for it.
    pub fn settle(&self, reserved: Reserved, spent: &Spent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reserved.requests = state.reserved.requests.saturating_sub(reserved.requests);
        state.reserved.tokens = state.reserved.tokens.saturating_sub(reserved.tokens);
        state.reserved.cost = (state.reserved.cost - reserved.cost).max(0.0);
        state.spent.add(spent);
        self.note(&state);
        self.settled.notify_all();
    }

    /// Why a request that may use `wanted` cannot begin.
    fn beyond(&self, state: &State, wanted: Reserved) -> Option<String> {
        let tokens = state.spent.tokens();
        if let Some(max) = self.budget.tokens_max
            && tokens.saturating_add(state.reserved.tokens + wanted.tokens) > max
        {
            let next = wanted.tokens;
            return Some(format!(
                "{tokens} of {max} tokens are used, and the next request may take {next}; raise \
                 teacher.budget.tokens_max and run again"
            ));
        }
        if let Some(max) = self.budget.cost_max
            && state.spent.cost + state.reserved.cost + wanted.cost > max
        {
            let (spent, next) = (state.spent.cost, wanted.cost);
            return Some(format!(
                "{spent:.4} of {max} is spent, and the next request may cost {next:.4}; raise \
                 teacher.budget.cost_max and run again"
            ));
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn meter(tokens_max: Option<u64>, cost_max: Option<f64>) -> Meter {
        let price = Price { prompt_per_million: 1.0, completion_per_million: 10.0 };
        Meter::new(price, BudgetConfig { tokens_max, cost_max }, Spent::default(), None)
    }

    fn used(meter: &Meter, prompt_tokens: u64, completion_tokens: u64) -> Spent {
        let cost = meter.cost(prompt_tokens, completion_tokens);
        Spent { requests: 1, prompt_tokens, completion_tokens, cost, ..Spent::default() }
    }

    #[test]
    fn nothing_begins_that_could_go_beyond_the_budget() {
        let meter = meter(Some(1000), None);
        let reserved = meter.reserve(100, 500).unwrap();
        meter.settle(reserved, &used(&meter, 90, 200));
        assert!(meter.reserve(300, 411).is_err());
        assert!(meter.reserve(300, 410).is_ok());
        assert_eq!(meter.spent().tokens(), 290);
    }

    #[test]
    fn money_is_counted_by_the_price() {
        let meter = meter(None, Some(0.01));
        let reserved = meter.reserve(1000, 500).unwrap();
        meter.settle(reserved, &used(&meter, 1000, 400));
        assert!((meter.spent().cost - 0.005).abs() < 1e-12);
        let told = meter.reserve(1000, 500).unwrap_err();
        assert!(told.concerns_all() && told.to_string().contains("cost_max"), "{told}");
    }

    #[test]
    fn a_killed_run_is_paid_for_with_what_was_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.spent.json");
        let earlier = Spent { requests: 1, prompt_tokens: 100, ..Spent::default() };
        let begin = || {
            let (book, before) = Book::open(&path, earlier).unwrap();
            Meter::new(Price::default(), BudgetConfig::default(), before, Some(book))
        };
        let killed = begin();
        let first = killed.reserve(300, 100).unwrap();
        killed.settle(first, &used(&killed, 30, 10));
        killed.reserve(50, 20).unwrap();
        drop(killed);
        let spent = begin().spent();
        assert_eq!((spent.requests, spent.failures, spent.tokens()), (2, 1, 210));
        begin().close_book();
        assert!(!path.exists());
        assert_eq!(begin().spent(), earlier);
        std::fs::write(&path, "{}").unwrap();
        let told = Book::open(&path, earlier).err().unwrap().to_string();
        assert!(told.contains("remove it"), "{told}");
    }

    #[test]
    fn what_a_request_leaves_over_is_there_for_the_next() {
        let meter = meter(Some(1000), None);
        let first = meter.reserve(0, 900).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| meter.reserve(0, 900).map(|_| ()));
            meter.settle(first, &used(&meter, 0, 50));
            second.join().unwrap().unwrap();
        });
    }
}
