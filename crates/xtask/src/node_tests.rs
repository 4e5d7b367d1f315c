//! Runs the `*.test.mjs` of a folder by `node --test`, one file after the other: browsers and servers of two files must
//! not meet.

use crate::counts::{self, Tally};
use crate::host::{self, Project};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// More failing files than these are no chance of a busy machine, and are not run again.
const RERUN_FILES_MAX: usize = 3;

/// Runs each file of a folder. `prepare` sets what the tests need of their environment.
pub fn run(project: &Project, folder: &str, prepare: impl Fn(&mut Command)) -> Result<Tally> {
    Ok(run_files(project, &files_of(project, folder)?, prepare)?.0)
}

/// The same for tests that drive whole browsers, which a busy machine can starve: a file that fails is run once more, by
/// itself. What passes only then is counted as flaky and named: a fault to be looked into, but no reason to fail the run.
pub fn run_with_second_try(project: &Project, folder: &str, prepare: impl Fn(&mut Command)) -> Result<Tally> {
    let (first, failing) = run_files(project, &files_of(project, folder)?, &prepare)?;
    if first.failed == 0 || failing.is_empty() || failing.len() > RERUN_FILES_MAX {
        return Ok(first);
    }
    println!("\nonce more, by themselves: {}", failing.join(", "));
    let (second, _) = run_files(project, &failing, &prepare)?;
    if second.failed > 0 || second.passed == 0 {
        return Ok(first);
    }
    println!("flaky: {} failed, and passed when run again", failing.join(", "));
    Ok(Tally { passed: first.passed + first.failed, failed: 0, flaky: first.failed })
}

/// The counts, and the files in which a test failed.
fn run_files(
    project: &Project,
    files: &[String],
    prepare: impl Fn(&mut Command),
) -> Result<(Tally, Vec<String>)> {
    let mut node = project.command("node");
    prepare(&mut node);
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]).args(files);
    let captured = host::capture(&mut node)?;
    let failing = counts::failing_node_files(&captured.text);
    Ok((counts::counted(captured, counts::of_node), failing))
}

fn files_of(project: &Project, folder: &str) -> Result<Vec<String>> {
    let mut files: Vec<String> = std::fs::read_dir(project.path(folder))
        .with_context(|| format!("cannot list {folder}"))?
        .flatten()
        .map(|entry| Path::new(folder).join(entry.file_name()).to_string_lossy().into_owned())
        .filter(|file| file.ends_with(".test.mjs"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("{folder} holds no *.test.mjs");
    }
    Ok(files)
}
