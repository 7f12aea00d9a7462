//! What a tool call may use of its action.

/// What is left to a tool call of its action, and what it took of that.
pub struct Allowance<'a> {
    fuel_left: u64,
    fuel_used: u64,
    is_interrupted: &'a dyn Fn() -> bool,
}

impl<'a> Allowance<'a> {
    /// A call may use `fuel_left`, until `is_interrupted`.
    #[must_use]
    pub fn new(fuel_left: u64, is_interrupted: &'a dyn Fn() -> bool) -> Self {
        Self { fuel_left, fuel_used: 0, is_interrupted }
    }

    /// Fuel that the call may use.
    #[must_use]
    pub fn fuel_left(&self) -> u64 {
        self.fuel_left.saturating_sub(self.fuel_used)
    }

    /// Fuel that it used.
    #[must_use]
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Counts fuel. The action ends when more is charged than was left.
    pub fn charge(&mut self, fuel: u64) {
        self.fuel_used = self.fuel_used.saturating_add(fuel);
    }

    /// Whether the action was cancelled or its time is up: whatever takes long looks now and then.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        (self.is_interrupted)()
    }

    /// Whether the action ends with this call, whatever it answers.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.fuel_left() == 0 || self.is_interrupted()
    }
}

impl std::fmt::Debug for Allowance<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Allowance of {} fuel", self.fuel_left())
    }
}
