//! `test`: every check as a named stage, with timings and one closing line that says how many tests ran.

use crate::counts::{self, Tally, counted};
use crate::host::{self, Project};
use crate::{build, demo, doc_examples, interop, node_tests, setup, size, tidy};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What the command line says.
#[derive(Debug, Default)]
pub struct Options {
    length: Length,
    only: Vec<String>,
    /// Whether servers that take minutes to build are built; otherwise their tests run only if they are there.
    build_servers: bool,
}

/// How much of the suite runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// What needs no browser, with few simulator seeds.
    Fast,
    /// Every stage.
    #[default]
    Full,
    /// Every stage, with many more simulator seeds.
    Long,
}

impl Options {
    /// Reads `--fast`, `--long`, `--build-servers`, and `--only NAME`, which may be repeated.
    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--fast" => options.length = Length::Fast,
                "--long" => options.length = Length::Long,
                "--build-servers" => options.build_servers = true,
                "--only" => {
                    options.only.push(words.next().context("--only needs the name of a stage")?.clone())
                }
                _ => bail!("test takes --fast, --long, --build-servers and --only NAME, not `{word}`"),
            }
        }
        Ok(options)
    }

    fn stages(&self) -> Result<Vec<&'static Stage>> {
        if self.only.is_empty() {
            return Ok(STAGES
                .iter()
                .filter(|stage| self.length != Length::Fast || !stage.needs.browsers)
                .collect());
        }
        let names = || STAGES.iter().map(|stage| stage.name).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = self.only.iter().find(|name| !STAGES.iter().any(|stage| stage.name == *name)) {
            bail!("no stage is called `{unknown}`; there are {}", names());
        }
        let asked = |stage: &Stage| self.only.iter().any(|name| name == stage.name);
        let needs_dist = STAGES.iter().any(|stage| asked(stage) && stage.needs.dist);
        Ok(STAGES.iter().filter(|stage| asked(stage) || (needs_dist && stage.name == BUILD)).collect())
    }
}

impl Options {
    /// Why a stage is left out, if it is. What was asked for by its name, or with everything, is not.
    fn left_out(&self, stage: &Stage, has_s2_lite: bool) -> Option<&'static str> {
        let is_wanted = self.build_servers || self.length == Length::Long || !self.only.is_empty();
        (stage.needs.s2_lite && !has_s2_lite && !is_wanted).then_some(
            "s2-lite is not built yet; `npm run test:interop` builds it (11 minutes of CPU time, once) and runs these",
        )
    }
}

/// Runs the stages in order, one failure not keeping the others from running.
pub fn run(project: &Project, options: Options) -> Result<()> {
    let mut stages = options.stages()?;
    let mut left_out = Vec::new();
    let has_s2_lite = setup::s2_lite().is_file();
    stages.retain(|stage| match options.left_out(stage, has_s2_lite) {
        Some(why) => {
            left_out.push(format!("{:<16} not run: {why}", stage.name));
            false
        }
        None => true,
    });
    let browsers = stages.iter().any(|stage| stage.needs.browsers);
    setup::run(project, if browsers { setup::Purpose::Test } else { setup::Purpose::Build })?;

    let suite = Suite { project, length: options.length };
    let all_started = Instant::now();
    let mut total = Tally::default();
    let mut lines = Vec::new();
    let mut dist_is_built = false;
    for stage in stages {
        println!("\n== {}", stage.name);
        let started = Instant::now();
        let outcome = if stage.needs.dist && !dist_is_built {
            Err(anyhow::anyhow!("needs what the stage `{BUILD}` makes, and that failed"))
        } else {
            (stage.run)(&suite)
        };
        let tally = match outcome {
            Ok(tally) if tally == Tally::default() => {
                eprintln!("error: {} ran no test", stage.name);
                Tally { passed: 0, failed: 1, flaky: 0 }
            }
            Ok(tally) => tally,
            Err(error) => {
                eprintln!("error: {}: {error:#}", stage.name);
                Tally { passed: 0, failed: 1, flaky: 0 }
            }
        };
        dist_is_built |= stage.name == BUILD && tally.failed == 0;
        let seconds = started.elapsed().as_secs_f64();
        let flaky = if tally.flaky > 0 { format!(" {:>4} flaky", tally.flaky) } else { String::new() };
        lines.push(format!(
            "{:<16} {seconds:>8.1} s {:>7} passed {:>4} failed{flaky}",
            stage.name, tally.passed, tally.failed
        ));
        total += tally;
    }
    lines.extend(left_out);
    println!(
        "\n== summary\n{}\n{:<16} {:>8.1} s\n",
        lines.join("\n"),
        "all",
        all_started.elapsed().as_secs_f64()
    );
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        // The counts are the last word: each failure was told where it happened.
        std::process::exit(1);
    }
    Ok(())
}

struct Stage {
    name: &'static str,
    needs: Needs,
    run: fn(&Suite) -> Result<Tally>,
}

/// What must be there before a stage runs.
#[derive(Clone, Copy)]
struct Needs {
    dist: bool,
    browsers: bool,
    s2_lite: bool,
}

struct Suite<'a> {
    project: &'a Project,
    length: Length,
}

const BUILD: &str = "build";
const NOTHING: Needs = Needs { dist: false, browsers: false, s2_lite: false };
const DIST: Needs = Needs { dist: true, ..NOTHING };
const BROWSERS: Needs = Needs { browsers: true, ..NOTHING };
const DIST_AND_BROWSERS: Needs = Needs { dist: true, browsers: true, ..NOTHING };
const DIST_BROWSERS_AND_S2_LITE: Needs = Needs { dist: true, browsers: true, s2_lite: true };

/// Every stage there is, in the order in which they run: what fails soonest first.
const STAGES: [Stage; 17] = [
    Stage { name: "tidy", needs: NOTHING, run: |c| check(tidy::run(c.project)) },
    Stage {
        name: "format",
        needs: NOTHING,
        run: |c| check(host::run(c.project.cargo().args(["fmt", "--all", "--check"]))),
    },
    Stage { name: "clippy", needs: NOTHING, run: |c| check(host::run(&mut clippy(c.project, &[]))) },
    Stage {
        name: "clippy-wasm",
        needs: NOTHING,
        run: |c| check(host::run(&mut clippy(c.project, &WASM_CLIPPY))),
    },
    Stage { name: "native", needs: NOTHING, run: native },
    Stage { name: "sim", needs: NOTHING, run: simulate },
    Stage { name: BUILD, needs: NOTHING, run: |c| check(build::run(c.project, false)) },
    Stage { name: "types", needs: DIST, run: types },
    Stage { name: "js", needs: DIST, run: |c| node_tests::run(c.project, "tests/js", |_| {}) },
    Stage { name: "wasm-chromium", needs: BROWSERS, run: |c| wasm_tests(c.project, Engine::Chromium) },
    Stage { name: "wasm-firefox", needs: BROWSERS, run: |c| wasm_tests(c.project, Engine::Firefox) },
    Stage { name: "wasm-webkit", needs: BROWSERS, run: |c| wasm_tests(c.project, Engine::WebKit) },
    Stage { name: "e2e", needs: DIST_AND_BROWSERS, run: end_to_end },
    Stage { name: "interop", needs: DIST_AND_BROWSERS, run: |c| interop::run(c.project) },
    Stage { name: "interop-s2", needs: DIST_BROWSERS_AND_S2_LITE, run: |c| interop::run_s2(c.project) },
    Stage { name: "packaging", needs: DIST, run: |c| node_tests::run(c.project, "tests/packaging", |_| {}) },
    Stage { name: "size", needs: DIST, run: |c| check(size::run(c.project)) },
];

/// The crates that only build for wasm.
const WASM_CLIPPY: [&str; 10] = [
    "--target",
    "wasm32-unknown-unknown",
    "-p",
    "driftline-web",
    "-p",
    "driftline-client",
    "-p",
    "driftline-worker",
    "-p",
    "driftline-sw",
];

/// A whole test binary has this long; the runner's own limit is 20 s.
const WASM_TEST_TIMEOUT_S: u32 = 180;

/// A check that is no test runner counts as one test.
fn check(outcome: Result<()>) -> Result<Tally> {
    outcome.map(|()| Tally { passed: 1, failed: 0, flaky: 0 })
}

fn clippy(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.cargo();
    command.args(["clippy", "--all-targets", "--quiet"]).args(arguments).args(["--", "-D", "warnings"]);
    command
}

fn native(suite: &Suite) -> Result<Tally> {
    Ok(counted(host::capture(suite.project.cargo().args(["test", "--no-fail-fast"]))?, counts::of_rust))
}

fn simulate(suite: &Suite) -> Result<Tally> {
    let seeds = match suite.length {
        Length::Fast => "200",
        // Of 160 steps each: a million and more.
        Length::Full => "6400",
        Length::Long => "30000",
    };
    let mut sim = suite.project.cargo();
    sim.args(["run", "--quiet", "--profile", "fast", "--package", "driftline-sim", "--", "--seeds", seeds]);
    Ok(counted(host::capture(&mut sim)?, counts::of_seeds))
}

fn types(suite: &Suite) -> Result<Tally> {
    for config in ["tsconfig.json", "tsconfig.worker.json"] {
        host::run(suite.project.command("tsc").args(["--noEmit", "--project", config]))?;
    }
    let examples = doc_examples::check(suite.project)?;
    println!("types: {examples} examples of the documents are well typed");
    Ok(Tally { passed: 2 + examples as u64, failed: 0, flaky: 0 })
}

fn end_to_end(suite: &Suite) -> Result<Tally> {
    let built = demo::build_app(suite.project, demo::Backend::default())?;
    let temporary = tempfile::tempdir()?;
    node_tests::run_with_second_try(suite.project, "tests/e2e", |node| {
        node.env("TMPDIR", temporary.path());
        node.env("DRIFTLINE_SERVER", &built.server).env("DRIFTLINE_DEMO", &built.pages);
    })
}

#[derive(Clone, Copy)]
enum Engine {
    Chromium,
    Firefox,
    WebKit,
}

/// The wasm crates' tests in one engine, through WebDriver.
fn wasm_tests(project: &Project, engine: Engine) -> Result<Tally> {
    let mut tally = Tally::default();
    for crate_folder in crates_with_browser_tests(project)? {
        // The runner kills its driver hard, which leaves profiles behind.
        let temporary = tempfile::tempdir()?;
        let capabilities = temporary.path().join("webdriver.json");
        std::fs::write(&capabilities, engine.capabilities())?;
        let mut pack = project.command("wasm-pack");
        pack.args(["--log-level", "error", "test", "--mode", "no-install", "--headless"]);
        match engine {
            Engine::Chromium => {
                pack.args(["--chrome", "--chromedriver"]).arg(driver(project, "chromedriver")?)
            }
            Engine::Firefox => pack.args(["--firefox", "--geckodriver"]).arg(driver(project, "geckodriver")?),
            Engine::WebKit => {
                pack.args(["--safari", "--safaridriver"]).arg(project.path("tests/webkit/safaridriver.mjs"))
            }
        };
        pack.arg(&crate_folder);
        pack.env("TMPDIR", temporary.path());
        pack.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities);
        pack.env("WASM_BINDGEN_TEST_TIMEOUT", WASM_TEST_TIMEOUT_S.to_string());
        let ran = counted(host::capture(&mut pack)?, counts::of_rust);
        if ran == Tally::default() {
            bail!("no test of {} ran", crate_folder.display());
        }
        tally += ran;
    }
    Ok(tally)
}

/// Folders of the wasm crates that have test files; `tests/browser` belongs to one of them.
fn crates_with_browser_tests(project: &Project) -> Result<Vec<PathBuf>> {
    let metadata = build::metadata(project)?;
    let mut folders = Vec::new();
    for package in metadata.workspace_packages() {
        let is_wasm_only =
            !metadata.workspace_default_packages().iter().any(|native| native.id == package.id);
        if is_wasm_only && package.targets.iter().any(|target| target.is_test()) {
            let folder = package.manifest_path.parent().context("a manifest stands in a folder")?;
            folders.push(folder.as_std_path().to_owned());
        }
    }
    if folders.is_empty() {
        bail!("no wasm crate has tests");
    }
    Ok(folders)
}

impl Engine {
    /// WebDriver capabilities; the runner adds what makes the browser headless.
    fn capabilities(self) -> &'static str {
        match self {
            Self::Chromium => {
                r#"{"goog:chromeOptions":{"args":["disable-gpu","disable-quic","no-first-run","disable-background-networking","disable-component-update","disable-sync"]}}"#
            }
            // Without these, asking for persistent storage waits for an answer that nobody gives.
            Self::Firefox => {
                r#"{"moz:firefoxOptions":{"prefs":{"dom.storageManager.prompt.testing":true,"dom.storageManager.prompt.testing.allow":true}}}"#
            }
            Self::WebKit => "{}",
        }
    }
}

fn driver(project: &Project, program: &str) -> Result<PathBuf> {
    project.which(program).with_context(|| format!("{program} is not on PATH: run `cargo xtask setup`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<&'static str> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let options = Options::from_arguments(&words).expect("the words are known");
        options.stages().expect("the stages are known").iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn without_options_every_stage_runs() {
        assert_eq!(names(&[]).len(), STAGES.len());
    }

    #[test]
    fn the_fast_suite_starts_no_browser() {
        let fast = names(&["--fast"]);
        assert!(fast.contains(&"native") && !fast.contains(&"e2e") && !fast.contains(&"wasm-firefox"));
    }

    #[test]
    fn what_would_take_minutes_to_build_is_left_out_unless_it_is_there_or_asked_for() {
        let left_out = |words: &[&str], has_s2_lite| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let options = Options::from_arguments(&words).expect("the words are known");
            let stages = options.stages().expect("the stages are known");
            let names = stages.iter().filter(|stage| options.left_out(stage, has_s2_lite).is_some());
            names.map(|stage| stage.name).collect::<Vec<_>>()
        };
        assert_eq!(left_out(&[], false), ["interop-s2"]);
        for (words, has_s2_lite) in [
            (vec![], true),
            (vec!["--build-servers"], false),
            (vec!["--long"], false),
            (vec!["--only", "interop-s2"], false),
        ] {
            assert!(left_out(&words, has_s2_lite).is_empty(), "{words:?}");
        }
    }

    #[test]
    fn a_stage_that_needs_the_package_brings_the_build_with_it() {
        assert_eq!(names(&["--only", "packaging"]), ["build", "packaging"]);
        assert_eq!(names(&["--only", "tidy"]), ["tidy"]);
    }

    #[test]
    fn an_unknown_stage_is_refused_with_the_names_there_are() {
        let options = Options::from_arguments(&["--only".into(), "luck".into()]).expect("it is a name");
        let error = options.stages().map(|_| ()).expect_err("no such stage").to_string();
        assert!(error.contains("luck") && error.contains("wasm-webkit"), "{error}");
    }
}
