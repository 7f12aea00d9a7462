//! Programs of the kind students write, run by the sandbox and its peers alike.

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// In tables.
    pub name: &'static str,
    /// Its source.
    pub code: &'static str,
}

/// As little as an action does.
pub const TINY: Workload = Workload { name: "tiny", code: "x = 17 * 23\nprint(x)\n" };

/// What most actions are like.
pub const SMALL: Workload = Workload {
    name: "small",
    code: r#"import re
text = "The tower is 324 metres tall, the bridge 1280, the hall 95, the mast 628 and the dam 221."
heights = sorted(int(n) for n in re.findall(r"\d+", text))
names = [f"{i}: {h / 100:.2f}" for i, h in enumerate(heights)]
print(f"largest {max(heights)}, mean {sum(heights) / len(heights):.1f}, {', '.join(names)}")
"#,
};

/// A plain loop.
pub const LOOP: Workload = Workload {
    name: "loop of 100,000",
    code: "t = 0\nfor i in range(100_000):\n    t += i * i % 7\nprint(t)\n",
};

/// A computer algebra action.
pub const SYMPY: Workload = Workload {
    name: "sympy",
    code: "from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 4, x))\n",
};

/// What the peers run too.
pub const ALL: [Workload; 7] = [
    TINY,
    SMALL,
    Workload {
        name: "primes below 2,000",
        code: "def is_prime(n):\n    if n < 2:\n        return False\n    for d in range(2, int(n ** 0.5) + 1):\n        \
               if n % d == 0:\n            return False\n    return True\nprint(len([n for n in range(2000) if is_prime(n)]))\n",
    },
    Workload {
        name: "word counts",
        code: "text = 'the cat and the dog and the bird saw the other cat ' * 40\ncounts = {}\nfor word in text.split():\n    \
               counts[word] = counts.get(word, 0) + 1\nprint(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))\n",
    },
    Workload {
        name: "recursion",
        code: "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\nprint(fibonacci(15))\n",
    },
    LOOP,
    SYMPY,
];
