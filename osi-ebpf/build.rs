//! Tells the linker what cargo has no word for.

fn main() {
    // Left to itself, bpf-linker keeps the compiler from writing zeros in place: even twelve bytes are a call to a loop over them,
    // which takes more time and is verified round by round.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        println!("cargo:rustc-link-arg-bins=--disable-expand-memcpy-in-order");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
