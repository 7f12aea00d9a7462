//! Compiles the trainer's kernels for the processor.

fn main() {
    let kernels = "../../trainer/src/cuda";
    println!("cargo::rerun-if-changed={kernels}/kernels.cu");
    println!("cargo::rerun-if-changed=src/host.cpp");
    println!("cargo::rerun-if-changed=src/host.h");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        // Jumps from stack to stack are what the check would refuse.
        .flag("-U_FORTIFY_SOURCE")
        .include(kernels)
        .file("src/host.cpp")
        .compile("retort_test_cuda");
}
