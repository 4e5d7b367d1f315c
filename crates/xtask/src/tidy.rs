//! `tidy`: the rules of the code base that no compiler checks.

use crate::build;
use crate::host::{self, Project};
use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata};

/// Checks every rule, prints what breaks one, and fails if anything does.
pub fn run(project: &Project) -> Result<()> {
    let metadata = build::metadata(project)?;
    let sources = tracked_sources(project)?;
    let mut broken = arrows(&metadata);
    for package in SANS_IO_CRATES {
        broken.extend(banned_dependencies(project, package)?);
    }
    for (name, text) in &sources {
        if name.ends_with(".rs") && !EXPORTING_CRATES.iter().any(|folder| name.starts_with(folder)) {
            broken.extend(wasm_exports(text).map(|line| {
                format!(
                    "{name}:{line}: #[wasm_bindgen] exports stand only in {}",
                    EXPORTING_CRATES.join(", ")
                )
            }));
        }
        let lines = text.lines().count();
        if lines > MOST_LINES && !is_test(name) {
            broken.push(format!("{name} has {lines} lines, and {MOST_LINES} are the most outside tests"));
        } else if lines > LONG_LINES && !is_test(name) {
            println!("tidy: {name} has {lines} lines, more than {LONG_LINES}");
        }
    }
    for (reason, pattern) in forbidden_text() {
        broken.extend(grep(project, &pattern)?.iter().map(|hit| format!("{hit}\n    {reason}")));
    }
    if broken.is_empty() {
        println!("tidy: {} source files are in order", sources.len());
        return Ok(());
    }
    bail!("{} rules are broken:\n  {}", broken.len(), broken.join("\n  "))
}

const LONG_LINES: usize = 500;
const MOST_LINES: usize = 800;
const SANS_IO_CRATES: [&str; 2] = ["driftline-core", "driftline-protocol"];
const EXPORTING_CRATES: [&str; 3] = ["crates/client/", "crates/worker/", "crates/sw/"];

/// Which crates of the workspace each may depend on. Tests of any crate may use the testkit besides.
const ARROWS: [(&str, &[&str]); 11] = [
    ("driftline-protocol", &[]),
    ("driftline-core", &["driftline-protocol"]),
    ("driftline-web", &["driftline-core", "driftline-protocol"]),
    ("driftline-client", &["driftline-web", "driftline-core", "driftline-protocol"]),
    ("driftline-worker", &["driftline-web", "driftline-core", "driftline-protocol"]),
    ("driftline-sw", &["driftline-web", "driftline-core", "driftline-protocol"]),
    ("driftline-server", &["driftline-core", "driftline-protocol"]),
    ("driftline-testkit", &["driftline-core", "driftline-protocol", "driftline-server"]),
    ("driftline-sim", &["driftline-core", "driftline-protocol", "driftline-server", "driftline-testkit"]),
    ("driftline-interop", &["driftline-protocol", "driftline-server", "driftline-testkit"]),
    ("xtask", &[]),
];

/// What core and protocol may not reach: the web, async runtimes, clocks, entropy. A `*` ends a prefix.
const BANNED: [&str; 14] = [
    "wasm-bindgen*",
    "js-sys",
    "web-sys",
    "gloo*",
    "tokio*",
    "futures*",
    "async-std",
    "chrono",
    "time",
    "instant",
    "web-time",
    "getrandom",
    "rand",
    "fastrand",
];

fn arrows(metadata: &Metadata) -> Vec<String> {
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            broken.push(format!("{name} is a new crate: say in tidy's ARROWS what it may depend on"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let to = dependency.name.as_str();
            let for_tests = dependency.kind == DependencyKind::Development && to == "driftline-testkit";
            if !for_tests && !allowed.contains(&to) {
                broken.push(format!("{name} may not depend on {to}"));
            }
        }
    }
    broken
}

/// Asks `cargo tree` rather than the metadata, where the features that other crates turn on would count too.
fn banned_dependencies(project: &Project, package: &str) -> Result<Vec<String>> {
    let mut tree = project.cargo();
    tree.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    tree.args(["--target", "wasm32-unknown-unknown"]);
    let names = host::read(&mut tree)?;
    let names = names.lines().filter_map(|line| line.split(' ').next());
    Ok(names
        .filter(|name| is_banned(name))
        .map(|name| format!("{package} reaches {name}, which is banned there"))
        .collect())
}

fn is_banned(name: &str) -> bool {
    BANNED.iter().any(|banned| match banned.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *banned,
    })
}

/// Line numbers of `#[wasm_bindgen]` attributes that export: those neither on nor in an `extern "C"` block.
fn wasm_exports(text: &str) -> impl Iterator<Item = usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut in_imports_until: Option<String> = None;
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim_start().starts_with("extern \"C\" {")
            || line.trim_start().starts_with("unsafe extern \"C\" {")
        {
            in_imports_until = Some(format!("{indent}}}"));
        } else if in_imports_until.as_deref() == Some(line.trim_end()) {
            in_imports_until = None;
        }
        let word = line.trim_start();
        let is_attribute = word.starts_with("#[wasm_bindgen]") || word.starts_with("#[wasm_bindgen(");
        if is_attribute
            && in_imports_until.is_none()
            && !item_after(&lines[index + 1..]).contains("extern \"C\"")
        {
            found.push(index + 1);
        }
    }
    found.into_iter()
}

/// The first line that is neither an attribute, a comment nor empty.
fn item_after<'a>(lines: &[&'a str]) -> &'a str {
    let is_item = |line: &&str| !line.is_empty() && !line.starts_with("#[") && !line.starts_with("//");
    lines.iter().map(|line| line.trim()).find(is_item).unwrap_or_default()
}

/// Extended regular expressions that no tracked file may match. Written in pieces, so that this file does not either.
fn forbidden_text() -> Vec<(&'static str, String)> {
    vec![
        ("a path of one machine", format!("(^|[^a-zA-Z0-9_.-])/({}|{}|{}/[a-z]+)/", "work", "root", "home")),
        ("a package registry's host", format!("https?://({}|{})[.]", "registry", "index")),
        ("a lock file that records download addresses", format!("\"{}\": \"http", "resolved")),
        ("an unfinished piece of work", ["\\bFIX", "ME\\b|\\bXX", "X\\b"].concat()),
        (
            "a test that does not run",
            format!("\\b(it|test|describe)[.]({}|{})[(]|#\\[{}", "skip", "only", "ignore\\b"),
        ),
    ]
}

fn grep(project: &Project, pattern: &str) -> Result<Vec<String>> {
    let mut command = project.command("git");
    // Recorded conversations and vectors are data of others.
    command.args(["grep", "-nIE", pattern, "--", ".", ":(exclude)tests/vectors", ":(exclude)Cargo.lock"]);
    let output = command.output().context("cannot start git")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.chars().take(160).collect()).collect())
}

fn tracked_sources(project: &Project) -> Result<Vec<(String, String)>> {
    let listed =
        host::read(project.command("git").args(["ls-files", "*.rs", "*.ts", "*.tsx", "*.mjs", "*.js"]))?;
    let mut sources = Vec::new();
    for name in listed.lines() {
        // A file that is deleted and not yet committed is still listed.
        if let Ok(text) = std::fs::read_to_string(project.path(name)) {
            sources.push((name.to_owned(), text));
        }
    }
    Ok(sources)
}

fn is_test(name: &str) -> bool {
    name.split('/').any(|part| part == "tests" || part == "vectors")
        || name.ends_with("tests.rs")
        || name.contains(".test.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_no_exports() {
        let text = "#[wasm_bindgen(module = \"x\")]\nextern \"C\" {\n    #[wasm_bindgen(js_name = y)]\n    fn y();\n}\n";
        assert_eq!(wasm_exports(text).count(), 0);
    }

    #[test]
    fn an_exported_function_is_found_even_after_imports() {
        let text = "#[wasm_bindgen]\nextern \"C\" {\n    fn y();\n}\n\n/// Doc.\n#[wasm_bindgen]\n#[must_use]\npub fn z() {}\n";
        assert_eq!(wasm_exports(text).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn test_attributes_are_no_exports() {
        assert_eq!(wasm_exports("#[wasm_bindgen_test]\nfn a_test() {}\n").count(), 0);
    }

    #[test]
    fn banned_names_match_whole_or_by_prefix() {
        assert!(is_banned("gloo-timers") && is_banned("time") && is_banned("futures-core"));
        assert!(!is_banned("timely") && !is_banned("rand_core") && !is_banned("rand_xoshiro"));
    }
}
