//! `bench`: the package as it ships, measured by `tests/bench`.

use crate::host::{self, Project};
use crate::{build, setup};
use anyhow::Result;

/// Builds, then hands the arguments to the benchmark runner.
pub fn run(project: &Project, arguments: &[String]) -> Result<()> {
    setup::run(project, setup::Purpose::Test)?;
    build::run(project, false)?;
    host::run(project.command("node").arg("tests/bench/run.mjs").args(arguments))
}
