//! Tells Cargo which files are compiled in.

fn main() {
    // Without these, files that are added or removed go unseen until the next clean build.
    println!("cargo::rerun-if-changed=assets");
    println!("cargo::rerun-if-changed=dashboards");
}
