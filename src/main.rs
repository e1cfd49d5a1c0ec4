//! The `lockkeeper` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockkeeper::cli::main()
}
