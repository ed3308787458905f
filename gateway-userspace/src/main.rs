//! The `portcullis` binary.

fn main() -> gateway_userspace::cli::Exit {
    gateway_userspace::cli::main()
}
