//! The stage `interop`: the published servers on loopback, and what Driftline says to them.
//!
//! Their packages have lock files of their own under `tests/interop`, so that whoever only builds installs none of them.

use crate::counts::Tally;
use crate::host::{self, Project};
use crate::{build, demo, node_tests, setup};
use anyhow::Result;

/// Runs the tests of `tests/interop`.
pub fn run(project: &Project) -> Result<Tally> {
    for folder in PACKAGES {
        setup::npm(project, folder, &INSTALL)?;
    }
    host::run(project.cargo().args(["build", "--quiet", "--package", "driftline-interop"]))?;
    let demo = demo::build_app(project, demo::Backend::LiveStore)?;
    let temporary = tempfile::tempdir()?;
    let programs = build::metadata(project)?.target_directory.into_std_path_buf().join("debug");
    node_tests::run_with_second_try(project, "tests/interop", |node| {
        node.env("TMPDIR", temporary.path());
        node.env("DRIFTLINE_INTEROP", programs.join("driftline-interop"));
        node.env("DRIFTLINE_SERVER", &demo.server).env("DRIFTLINE_DEMO", &demo.pages);
    })
}

/// Folders with a `package-lock.json`: the server of each version apart, since they need different versions of the same
/// libraries, and what runs them.
const PACKAGES: [&str; 3] = ["tests/interop", "tests/interop/sync-cf-0.3", "tests/interop/sync-cf-0.4"];

/// As the lock file says. `npm ci` would refuse these: some of the packages name builds for other platforms that were never
/// published.
const INSTALL: [&str; 3] = ["install", "--no-save", "--ignore-scripts"];
