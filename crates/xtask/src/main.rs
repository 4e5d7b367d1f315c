//! The project's own commands, run as `cargo xtask <command>`; `npm test` and the other scripts of `package.json` call them.
//!
//! Each command does its set-up first, so that one command is enough on a fresh machine.

mod bench;
mod build;
mod counts;
mod demo;
mod doc_examples;
mod host;
mod interop;
mod node_tests;
mod setup;
mod size;
mod stages;
mod tidy;
mod wasm_list;

use anyhow::{Result, bail};
use host::Project;

const USAGE: &str = "\
cargo xtask <command>

  setup [--for build|demo|test]   install what is missing; says what it does
  build [--force]                 wasm-pack, wasm-opt and esbuild into dist/, then the sizes
  test [--fast | --long] [--build-servers] [--only NAME]...   every check, or the named stages
  tidy                            the rules of the code base that no compiler checks
  size                            what the built files weigh, against wasm-pack.toml
  demo [--port N] [--data DIR] [--backend server|livestore|s2]   build and serve the demo on loopback
  bench [arguments...]            build, then run tests/bench";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("which command?\n\n{USAGE}");
    };
    let project = Project::find()?;
    match command.as_str() {
        "setup" => setup::run(&project, setup::Purpose::from_arguments(rest)?),
        "build" => {
            let force = flags(rest, &["--force"])?.contains(&"--force");
            setup::run(&project, setup::Purpose::Build)?;
            build::run(&project, force)
        }
        "test" => stages::run(&project, stages::Options::from_arguments(rest)?),
        "tidy" => {
            flags(rest, &[])?;
            tidy::run(&project)
        }
        "size" => {
            flags(rest, &[])?;
            size::run(&project)
        }
        "demo" => demo::run(&project, demo::Options::from_arguments(rest)?),
        "bench" => bench::run(&project, rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("no command is called `{other}`\n\n{USAGE}"),
    }
}

fn flags<'a>(arguments: &'a [String], known: &[&str]) -> Result<Vec<&'a str>> {
    match arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        Some(unknown) => bail!("unknown argument `{unknown}`\n\n{USAGE}"),
        None => Ok(arguments.iter().map(String::as_str).collect()),
    }
}
