//! `setup`: installs what a purpose needs, says each step, and costs next to nothing when all is there.
//!
//! Cargo's tools are kept by version in `<cargo home>/driftline-tools/<name>-<version>`, unless the one on PATH already
//! is of the wanted version. Browsers are Debian packages: installed when this runs as root with apt-get, named otherwise.

use crate::host::{self, Project, cargo_home};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::OnceLock;

/// What is about to be done, and so what must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The package is built.
    Build,
    /// The demo is built and served: any browser of the user's will do.
    Demo,
    /// Everything is tested, in all three engines.
    Test,
}

impl Purpose {
    /// Reads `--for NAME`; without it, everything is set up.
    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["--for", "test"] => Ok(Self::Test),
            ["--for", "demo"] => Ok(Self::Demo),
            ["--for", "build"] => Ok(Self::Build),
            _ => bail!("setup takes `--for build`, `--for demo` or `--for test`"),
        }
    }
}

/// Installs what is missing for the purpose.
pub fn run(project: &Project, purpose: Purpose) -> Result<()> {
    if purpose == Purpose::Test {
        // First, because it is the one step that may end in asking the user for something.
        browsers(project)?;
    }
    wasm_target(project)?;
    for tool in tools(project)?.iter().filter(|tool| purpose == Purpose::Test || !tool.only_for_tests) {
        tool.install(project)?;
    }
    node_modules(project)
}

/// The folders of pinned tools that were installed by `run`, for PATH.
pub fn tool_folders(project: &Project) -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let all = tools(project).unwrap_or_default();
        all.iter().filter(|tool| !tool.is_on_user_path()).map(Tool::folder).collect()
    })
}

const WASM_TARGET: &str = "wasm32-unknown-unknown";
const WASM_PACK_VERSION: &str = "0.15.1";
const GECKODRIVER_VERSION: &str = "0.37.1";
const S2_LITE_VERSION: &str = "0.43.4";
const NODE_MAJOR_AT_LEAST: u32 = 20;

/// What builds s2-lite in 11 minutes of CPU time rather than a multiple of that; its tests need no fast server.
const S2_LITE_PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// A Debian package and the file that shows that it is installed.
const BROWSER_PACKAGES: [(&str, &str); 7] = [
    ("chromium", "/usr/bin/chromium"),
    ("chromium-driver", "/usr/bin/chromedriver"),
    ("firefox-esr", "/usr/bin/firefox-esr"),
    ("webkit2gtk-driver", "/usr/bin/WebKitWebDriver"),
    ("xvfb", "/usr/bin/Xvfb"),
    ("gir1.2-webkit2-4.1", "/usr/lib/*/girepository-1.0/WebKit2-4.1.typelib"),
    ("python3-gi", "/usr/lib/python3/dist-packages/gi/__init__.py"),
];

/// A program that `cargo install` makes.
struct Tool {
    package: &'static str,
    /// A program of the package, asked for its version.
    program: &'static str,
    version: String,
    /// Whether the lock file of the package is used; wasm-bindgen-cli's does not build here.
    locked: bool,
    only_for_tests: bool,
    /// Set while it is built.
    environment: &'static [(&'static str, &'static str)],
}

/// The program of s2-lite, a server of S2's REST v1, which only some tests and one demo need: it is built by
/// [`install_s2_lite`], and stays out of PATH, where its name `server` would say nothing.
pub fn s2_lite() -> PathBuf {
    let tool = s2_lite_tool();
    tool.folder().join(tool.program)
}

/// Builds s2-lite, once.
pub fn install_s2_lite(project: &Project) -> Result<PathBuf> {
    let (tool, program) = (s2_lite_tool(), s2_lite());
    if !program.is_file() {
        tool.build(project)?;
    }
    Ok(program)
}

fn s2_lite_tool() -> Tool {
    Tool {
        package: "s2-lite",
        program: "server",
        version: S2_LITE_VERSION.to_owned(),
        locked: true,
        only_for_tests: true,
        environment: &S2_LITE_PROFILE,
    }
}

fn tools(project: &Project) -> Result<Vec<Tool>> {
    let tool = |package, program, version: &str, locked, only_for_tests| Tool {
        package,
        program,
        version: version.to_owned(),
        locked,
        only_for_tests,
        environment: &[],
    };
    Ok(vec![
        tool("wasm-bindgen-cli", "wasm-bindgen", &wasm_bindgen_version(project)?, false, false),
        tool("wasm-pack", "wasm-pack", WASM_PACK_VERSION, true, false),
        tool("geckodriver", "geckodriver", GECKODRIVER_VERSION, true, true),
    ])
}

/// The CLI and the library must be one version, so the pin of the workspace says it for both.
fn wasm_bindgen_version(project: &Project) -> Result<String> {
    let text = std::fs::read_to_string(project.path("Cargo.toml"))?;
    let manifest: toml::Table = toml::from_str(&text).context("Cargo.toml is not TOML")?;
    let pin =
        manifest["workspace"]["dependencies"]["wasm-bindgen"].as_str().and_then(|pin| pin.strip_prefix('='));
    Ok(pin.context("Cargo.toml must pin wasm-bindgen as \"=x.y.z\"")?.to_owned())
}

impl Tool {
    fn folder(&self) -> PathBuf {
        cargo_home().join("driftline-tools").join(format!("{}-{}", self.package, self.version)).join("bin")
    }

    /// Whether the user's own PATH, or cargo's bin folder, has it in the wanted version.
    fn is_on_user_path(&self) -> bool {
        let mut folders: Vec<_> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
        folders.push(cargo_home().join("bin"));
        let Some(found) = folders.iter().map(|folder| folder.join(self.program)).find(|path| path.is_file())
        else {
            return false;
        };
        std::process::Command::new(found).arg("--version").output().is_ok_and(|output| {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            said.split_whitespace().any(|word| word == self.version)
        })
    }

    fn install(&self, project: &Project) -> Result<()> {
        if self.is_on_user_path() || self.folder().join(self.program).is_file() {
            return Ok(());
        }
        self.build(project)
    }

    fn build(&self, project: &Project) -> Result<()> {
        let name = format!("{} {}", self.package, self.version);
        println!("setup: installing {name} (some minutes, once)");
        let root = self.folder().parent().map(PathBuf::from).context("a tool's folder has a parent")?;
        let mut command = project.cargo();
        command.args(["install", "--quiet", "--root"]).arg(&root);
        command.args(["--version", &self.version, self.package]);
        if self.locked {
            command.arg("--locked");
        }
        command.envs(self.environment.iter().copied());
        host::run(&mut command)
            .with_context(|| format!("{name} could not be installed; nothing else was changed"))
    }
}

fn wasm_target(project: &Project) -> Result<()> {
    let sysroot = host::read(project.command("rustc").args(["--print", "sysroot"]))?;
    if PathBuf::from(sysroot).join("lib/rustlib").join(WASM_TARGET).is_dir() {
        return Ok(());
    }
    println!("setup: adding the Rust target {WASM_TARGET}");
    host::run(project.command("rustup").args(["target", "add", WASM_TARGET]))
        .context("without rustup, install the target with the package manager that Rust came from")
}

/// `npm ci`, when the lock file is not the one that `node_modules` was made from.
fn node_modules(project: &Project) -> Result<()> {
    let version = host::read(project.command("node").arg("--version")).with_context(|| {
        format!("Node {NODE_MAJOR_AT_LEAST} or newer is needed: install it, then run this again")
    })?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_AT_LEAST) {
        bail!("Node {NODE_MAJOR_AT_LEAST} or newer is needed, and this is {version}");
    }
    npm(project, ".", &["ci"])
}

/// Installs a folder's pinned packages, when its lock file is not the one that its `node_modules` was made from.
/// `command` is npm's, one that takes the lock file as it is.
pub fn npm(project: &Project, folder: &str, command: &[&str]) -> Result<()> {
    let folder = project.path(folder);
    let lock = folder.join("package-lock.json");
    let lock = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let wanted = format!("{:x}", Sha256::digest(&lock));
    let mark = folder.join("node_modules/.driftline-lock-sha256");
    if std::fs::read_to_string(&mark).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    println!("setup: npm {} in {}", command.join(" "), folder.display());
    let mut npm = project.command("npm");
    npm.current_dir(&folder).args(command).args(["--no-audit", "--no-fund", "--loglevel=error"]);
    host::run(&mut npm)?;
    std::fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))
}

fn browsers(project: &Project) -> Result<()> {
    let missing: Vec<_> = BROWSER_PACKAGES
        .iter()
        .filter(|(_, shown_by)| !exists(shown_by))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand =
        format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !nix::unistd::geteuid().is_root() || project.which("apt-get").is_none() {
        bail!(
            "these browser packages are missing, and may be installed only by root with apt-get: {}.\n\
             Nothing was installed. Run this as root, or install the same programs in another way:\n  {by_hand}",
            missing.join(", ")
        );
    }
    println!("setup: installing with apt-get: {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        host::run(project.command("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install).with_context(|| format!("apt-get failed; by hand: {by_hand}"))
}

/// Whether a file is there; one component of the path may be `*`.
fn exists(path: &str) -> bool {
    match path.split_once("/*/") {
        None => PathBuf::from(path).exists(),
        Some((folder, rest)) => std::fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.path().join(rest).exists())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_wasm_bindgen_is_the_exact_pin_of_the_workspace() {
        let project = Project::find().expect("tests run in the checkout");
        let version = wasm_bindgen_version(&project).expect("the workspace pins it");
        assert_eq!(version.split('.').count(), 3, "{version}");
    }

    #[test]
    fn an_unknown_purpose_is_refused() {
        let error = Purpose::from_arguments(&["--for".into(), "fun".into()]).expect_err("no such purpose");
        assert!(error.to_string().contains("--for demo"), "{error}");
    }
}
