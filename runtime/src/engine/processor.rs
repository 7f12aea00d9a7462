//! Whether this processor has the instructions that llama.cpp was compiled to use. Without the
//! question, a build for a newer processor ends by a signal in the middle of its work.

/// The processor lacks instructions that this build of llama.cpp uses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this build uses instructions that this processor lacks ({missing}); \
     use the armv8-a build, which runs on every 64-bit ARM processor"
)]
pub struct UnfitProcessor {
    missing: String,
}

/// Instructions beyond the architecture's first version.
struct InstructionSet {
    name: &'static str,
    is_used: bool,
    is_present: bool,
}

/// Refuses a processor on which this build cannot run. To be asked before anything else.
///
/// # Errors
/// [`UnfitProcessor`] names what is missing.
pub fn check_processor() -> Result<(), UnfitProcessor> {
    check(&instruction_sets())
}

fn check(sets: &[InstructionSet]) -> Result<(), UnfitProcessor> {
    let missing = sets.iter().filter(|set| set.is_used && !set.is_present);
    let missing: Vec<&str> = missing.map(|set| set.name).collect();
    if missing.is_empty() { Ok(()) } else { Err(UnfitProcessor { missing: missing.join(", ") }) }
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> [InstructionSet; 4] {
    use super::llama::{CompiledFor, compiled_for};
    use std::arch::is_aarch64_feature_detected as has;

    let CompiledFor { dotprod, fp16, i8mm, sve } = compiled_for();
    [
        InstructionSet { name: "dotprod", is_used: dotprod, is_present: has!("dotprod") },
        InstructionSet { name: "fp16", is_used: fp16, is_present: has!("fp16") },
        InstructionSet { name: "i8mm", is_used: i8mm, is_present: has!("i8mm") },
        InstructionSet { name: "sve", is_used: sve, is_present: has!("sve") },
    ]
}

#[cfg(not(target_arch = "aarch64"))]
fn instruction_sets() -> [InstructionSet; 0] {
    []
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{InstructionSet, check};

    fn set(name: &'static str, is_used: bool, is_present: bool) -> InstructionSet {
        InstructionSet { name, is_used, is_present }
    }

    #[test]
    fn only_what_is_used_and_absent_is_missing() {
        let old = [set("dotprod", false, false), set("fp16", false, false)];
        assert_eq!(check(&old), Ok(()));
        let new = [set("dotprod", true, true), set("fp16", true, true), set("sve", false, true)];
        assert_eq!(check(&new), Ok(()));
        let unfit = check(&[set("dotprod", true, false), set("fp16", true, false)]).unwrap_err();
        assert!(unfit.to_string().contains("lacks (dotprod, fp16); use the armv8-a build"));
    }
}
