//! Element-wise loops and reductions, compiled for the widest vectors the processor has.
//!
//! Sums run in sixteen lanes that are added in a fixed order, and no product is fused with a sum,
//! so every instruction set gives the same bits. The only `unsafe` is the macro's call of a function
//! compiled for features that were detected.

/// Lanes of a reduction.
const LANES: usize = 16;

/// Defines a function once and compiles it for AVX-512, AVX2 and the target's baseline.
macro_rules! wide {
    ($(#[$note:meta])* pub fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$note])*
        #[allow(unsafe_code)]
        pub fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
                fn avx512($($arg: $type),*) $(-> $result)? { body($($arg),*) }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $result)? { body($($arg),*) }
                if std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: the four features were just detected.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was just detected.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use wide;

/// `e^x` within 2e-7 (relative); 0 to 2e-38 below -87, finite above 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding this constant leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    // The Taylor series to the seventh power: |rest| <= 0.35.
    let mut power = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * rest + factor;
    }
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn add_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Replaces the elements of two equally long slices pairwise by what `f` makes of them. In chunks:
/// over plain iterators of two slices that are both written, nothing is vectorised.
#[inline(always)]
pub fn each_pair(a: &mut [f32], b: &mut [f32], f: impl Fn(f32, f32) -> (f32, f32)) {
    let (a_lanes, a_rest) = a.as_chunks_mut::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks_mut::<LANES>();
    for (a, b) in a_lanes.iter_mut().zip(b_lanes) {
        for lane in 0..LANES {
            (a[lane], b[lane]) = f(a[lane], b[lane]);
        }
    }
    for (a, b) in a_rest.iter_mut().zip(b_rest) {
        (*a, *b) = f(*a, *b);
    }
}

/// The same with a third slice that is only read.
#[inline(always)]
pub fn each_pair_with(
    a: &mut [f32],
    b: &mut [f32],
    c: &[f32],
    f: impl Fn(f32, f32, f32) -> (f32, f32),
) {
    let (a_lanes, a_rest) = a.as_chunks_mut::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks_mut::<LANES>();
    let (c_lanes, c_rest) = c.as_chunks::<LANES>();
    for ((a, b), c) in a_lanes.iter_mut().zip(b_lanes).zip(c_lanes) {
        for lane in 0..LANES {
            (a[lane], b[lane]) = f(a[lane], b[lane], c[lane]);
        }
    }
    for ((a, b), c) in a_rest.iter_mut().zip(b_rest).zip(c_rest) {
        (*a, *b) = f(*a, *b, *c);
    }
}

/// Sum of `f(a, b)` over two equally long slices.
#[inline(always)]
pub fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
    add_lanes(lanes) + rest
}

/// Dot product.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum2(a, b, |a, b| a * b)
}

/// Largest element; negative infinity for none.
#[inline(always)]
pub fn largest(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, x| if *x > most { *x } else { most })
}

/// Replaces each element by `e^(x - shift)` and gives the sum.
#[inline(always)]
pub fn exp_sum(a: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = a.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            chunk[lane] = exp(chunk[lane] - shift);
            lanes[lane] += chunk[lane];
        }
    }
    let mut sum = add_lanes(lanes);
    for x in rest {
        *x = exp(*x - shift);
        sum += *x;
    }
    sum
}

wide! {
    /// `a += b`.
    pub fn add(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
    }
}

wide! {
    /// Adds `bias` to each row.
    pub fn add_bias(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len().max(1)) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += b;
            }
        }
    }
}

wide! {
    /// Adds the sum of the rows to `bias`.
    pub fn add_column_sums(bias: &mut [f32], rows: &[f32]) {
        for row in rows.chunks_exact(bias.len().max(1)) {
            for (b, x) in bias.iter_mut().zip(row) {
                *b += x;
            }
        }
    }
}

wide! {
    /// Sum of squares, in chunks of 4,096 added in double precision.
    pub fn sum_of_squares(a: &[f32]) -> f64 {
        a.chunks(4096).map(|chunk| f64::from(dot(chunk, chunk))).sum()
    }
}

wide! {
    /// `a *= factor`.
    pub fn scale(a: &mut [f32], factor: f32) {
        for x in a {
            *x *= factor;
        }
    }
}

wide! {
    /// One AdamW step. `rates` are those of the moments; corrections are part of `step` and
    /// `epsilon`.
    pub fn adam_step(
        parameters: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        rates: [f32; 2],
        step: f32,
        epsilon: f32,
    ) {
        let [a, b] = rates;
        let moments = first.iter_mut().zip(second);
        for ((x, g), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *first = a * *first + (1.0 - a) * g;
            *second = b * *second + (1.0 - b) * g * g;
            *x -= step * *first / (second.sqrt() + epsilon);
        }
    }
}

wide! {
    /// Moves `momentum` on, and gives the gradient looked at one step ahead (Nesterov).
    pub fn momentum_step(momentum: &mut [f32], gradient: &[f32], keep: f32, ahead: &mut [f32]) {
        for ((m, g), out) in momentum.iter_mut().zip(gradient).zip(ahead) {
            *m = keep * *m + g;
            *out = g + keep * *m;
        }
    }
}

wide! {
    /// `a = keep * a + factor * b`.
    pub fn decay_and_add(a: &mut [f32], keep: f32, b: &[f32], factor: f32) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = keep * *a + factor * b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_library() {
        for step in -8600..8800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 3e-7, "{x}");
        }
        assert!(exp(-1e9) < 1e-37);
    }

    #[test]
    fn reductions_take_every_length() {
        for length in 0..70 {
            let a: Vec<f32> = (0..length).map(|x| x as f32).collect();
            assert_eq!(dot(&a, &vec![1.0; length]), (length * length.saturating_sub(1) / 2) as f32);
            let most = if length == 0 { f32::NEG_INFINITY } else { (length - 1) as f32 };
            assert_eq!(largest(&a), most);
            assert!(exp_sum(&mut a.clone(), 1e9) < 1e-35);
        }
    }
}
