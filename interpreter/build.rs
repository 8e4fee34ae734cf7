//! Lets the binary find the libpython that it was linked with, also outside the system's directories.

fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
    // Installed into the directory of a Python that has its own, by pip: below that.
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib");
}
