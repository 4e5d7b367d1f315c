//! `build`: each wasm file of `wasm-pack.toml`, then `dist/` by `js/build.mjs`, then the sizes.

use crate::host::{self, Project};
use crate::size;
use crate::wasm_list::{self, WasmBuild};
use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Builds `dist/`. A wasm file is built again only if its sources, its settings or the compiler changed, or by force.
pub fn run(project: &Project, force: bool) -> Result<()> {
    // Two builds at once would read each other's half-written files. The lock goes with the process.
    let lock = std::fs::File::create(project.scratch()?.join("build.lock"))?;
    lock.lock().context("cannot lock the build")?;
    let metadata = metadata(project)?;
    let compiler = host::read(project.command("rustc").arg("--version"))?;
    for build in wasm_list::read(project)? {
        let inputs = fingerprint(project, &metadata, &build, &compiler)?;
        let mark = project.path(&build.out_dir).join("made-from.sha256");
        // The output counts too: wasm-pack run by hand leaves another file there.
        let state = || Some(format!("{inputs}\n{}", digest_of(&build.wasm_file(project)).ok()?));
        let unchanged =
            state().is_some_and(|now| std::fs::read_to_string(&mark).is_ok_and(|then| then == now));
        if unchanged && !force {
            println!("build: {} is unchanged", build.name);
            continue;
        }
        let started = Instant::now();
        build_wasm(project, &build).with_context(|| format!("{} was not built", build.name))?;
        std::fs::write(&mark, state().context("the wasm file that was just built is gone")?)?;
        println!("build: {} took {:.1} s", build.name, started.elapsed().as_secs_f64());
    }
    host::run(project.command("node").arg("js/build.mjs"))?;
    size::run(project)
}

/// What cargo knows of the workspace and its dependencies.
pub fn metadata(project: &Project) -> Result<Metadata> {
    MetadataCommand::new().current_dir(&project.root).exec().context("cargo metadata failed")
}

const WASM_HEADER_BYTES: u64 = 8;

fn build_wasm(project: &Project, build: &WasmBuild) -> Result<()> {
    let mut pack = project.command("wasm-pack");
    // no-opt: wasm-pack takes wasm-opt's arguments from each crate's manifest, and the list has them for all.
    pack.args([
        "--log-level",
        "error",
        "build",
        "--mode",
        "no-install",
        "--no-pack",
        "--no-opt",
        "--no-gitignore",
    ]);
    pack.args(["--target", &build.target, "--profile", &build.profile, "--out-name", &build.name]);
    pack.arg("--out-dir").arg(project.path(&build.out_dir)).arg(project.path(&build.crate_folder));
    pack.env("CARGO_ENCODED_RUSTFLAGS", rustc_flags(project).join("\x1f"));
    host::run(&mut pack)?;

    let wasm = build.wasm_file(project);
    let optimised = wasm.with_extension("opt");
    host::run(project.command("wasm-opt").arg(&wasm).arg("-o").arg(&optimised).args(&build.wasm_opt))?;
    // wasm-opt takes an empty file for an empty module, and says nothing.
    if std::fs::metadata(&optimised)?.len() <= WASM_HEADER_BYTES {
        bail!("wasm-opt left nothing in {}", optimised.display());
    }
    std::fs::rename(&optimised, &wasm).with_context(|| format!("cannot replace {}", wasm.display()))
}

/// Has names stand instead of this machine's paths in the locations of panics.
fn rustc_flags(project: &Project) -> [String; 2] {
    [
        format!("--remap-path-prefix={}=driftline", project.root.display()),
        format!("--remap-path-prefix={}=cargo", host::cargo_home().display()),
    ]
}

/// A digest of all that decides what a wasm file holds.
fn fingerprint(project: &Project, metadata: &Metadata, build: &WasmBuild, compiler: &str) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(format!("{build:?}\n{compiler}\n"));
    let mut files = BTreeSet::from([project.path("Cargo.toml"), project.path("Cargo.lock")]);
    for folder in local_closure(metadata, &project.path(&build.crate_folder))? {
        collect_files(&folder, &mut files)?;
    }
    for file in files {
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(&project.root).unwrap_or(&file).to_string_lossy().into_owned();
        digest.update(format!("{name}\n{}\n", bytes.len()));
        digest.update(bytes);
    }
    Ok(format!("{:x}", digest.finalize()))
}

fn digest_of(file: &Path) -> Result<String> {
    Ok(format!("{:x}", Sha256::digest(std::fs::read(file)?)))
}

/// Folders of the workspace's crates that a crate is built from, itself included.
fn local_closure(metadata: &Metadata, crate_folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata came without its resolution")?;
    let is_local = |package: &cargo_metadata::Package| package.source.is_none();
    let folder = |package: &cargo_metadata::Package| {
        package.manifest_path.parent().map(|parent| parent.as_std_path().to_owned())
    };
    let start = metadata.packages.iter().find(|package| folder(package).as_deref() == Some(crate_folder));
    let start =
        start.with_context(|| format!("{} is not a crate of the workspace", crate_folder.display()))?;
    let mut folders = BTreeSet::new();
    let mut waiting = vec![&start.id];
    while let Some(id) = waiting.pop() {
        let package = &metadata[id];
        if !is_local(package) || !folders.insert(folder(package).context("a manifest stands in a folder")?) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| &node.id == id).context("each package is resolved")?;
        waiting.extend(node.deps.iter().map(|dependency| &dependency.pkg));
    }
    Ok(folders)
}

fn collect_files(folder: &Path, into: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        // A crate's tests are not part of what it builds.
        if path.is_dir()
            && !matches!(path.file_name().and_then(|name| name.to_str()), Some("target" | "tests"))
        {
            collect_files(&path, into)?;
        } else if path.is_file() {
            into.insert(path);
        }
    }
    Ok(())
}
