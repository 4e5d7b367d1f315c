//! The stages `interop` and `interop-s2`: the published servers on loopback, and what Driftline says to them.
//!
//! Their packages have lock files of their own under `tests/interop`, so that whoever only builds installs none of them.
//! s2-lite is a stage of its own, since it is built from source: see `Options::left_out` of the stages.

use crate::counts::Tally;
use crate::host::{self, Project};
use crate::{build, demo, node_tests, setup};
use anyhow::Result;
use std::path::PathBuf;

/// Runs the tests of `tests/interop`.
pub fn run(project: &Project) -> Result<Tally> {
    install(project, &PACKAGES)?;
    run_folder(project, "tests/interop", demo::Backend::LiveStore, None)
}

/// Runs the tests of `tests/interop/s2`, building s2-lite if it is not there.
pub fn run_s2(project: &Project) -> Result<Tally> {
    let s2_lite = setup::install_s2_lite(project)?;
    install(project, &S2_PACKAGES)?;
    run_folder(project, "tests/interop/s2", demo::Backend::S2, Some(s2_lite))
}

/// Folders with a `package-lock.json`: the server of each version apart, since they need different versions of the same
/// libraries, and what runs them.
const PACKAGES: [&str; 3] = ["tests/interop", "tests/interop/sync-cf-0.3", "tests/interop/sync-cf-0.4"];
const S2_PACKAGES: [&str; 1] = ["tests/interop/sync-s2"];

/// As the lock file says. `npm ci` would refuse these: some of the packages name builds for other platforms that were never
/// published.
const INSTALL: [&str; 3] = ["install", "--no-save", "--ignore-scripts"];

fn install(project: &Project, packages: &[&str]) -> Result<()> {
    packages.iter().try_for_each(|folder| setup::npm(project, folder, &INSTALL))
}

fn run_folder(
    project: &Project,
    folder: &str,
    backend: demo::Backend,
    s2_lite: Option<PathBuf>,
) -> Result<Tally> {
    host::run(project.cargo().args(["build", "--quiet", "--package", "driftline-interop"]))?;
    let demo = demo::build_app(project, backend)?;
    let temporary = tempfile::tempdir()?;
    let programs = build::metadata(project)?.target_directory.into_std_path_buf().join("debug");
    node_tests::run_with_second_try(project, folder, |node| {
        node.env("TMPDIR", temporary.path());
        node.env("DRIFTLINE_INTEROP", programs.join("driftline-interop"));
        node.env("DRIFTLINE_SERVER", &demo.server).env("DRIFTLINE_DEMO", &demo.pages);
        if let Some(program) = &s2_lite {
            node.env("S2_LITE", program);
        }
    })
}
