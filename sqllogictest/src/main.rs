//! `basalt-slt`: runs files and folders, prints the counts of each, and a closing line.

use std::{path::PathBuf, process::ExitCode};

use basalt_sqllogictest::{files, rewrite_file, run_file};
use clap::Parser;

#[derive(Parser)]
#[command(
    name = "basalt-slt",
    about = "Runs sqllogictest files against a server that speaks PostgreSQL's protocol"
)]
struct Arguments {
    /// The server
    #[arg(long, default_value = "postgresql://postgres@127.0.0.1:5454/postgres")]
    url: String,
    /// Prints no failed records, only counts
    #[arg(long)]
    quiet: bool,
    /// Failed records that are printed of each file
    #[arg(long, default_value_t = 20)]
    failures: usize,
    /// Replaces the expected results by those of the server, which should be PostgreSQL
    #[arg(long)]
    rewrite: bool,
    /// Files, and folders of .slt and .test files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut passed, mut failed) = (0, 0);
    for path in &arguments.paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        };
        for file in files {
            if arguments.rewrite
                && let Err(message) = rewrite_file(&arguments.url, &file).await
            {
                eprintln!("{}: {message}", file.display());
                return ExitCode::FAILURE;
            }
            let result = run_file(&arguments.url, &file).await;
            println!("{}: {}/{}", file.display(), result.passed, result.failures.len());
            let shown = if arguments.quiet { 0 } else { arguments.failures };
            for failure in result.failures.iter().take(shown) {
                println!("{failure}\n");
            }
            passed += result.passed;
            failed += result.failures.len();
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
