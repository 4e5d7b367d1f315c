//! `wasm-pack.toml`: the one list of wasm builds.

use crate::host::Project;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// One wasm file of the package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmBuild {
    /// Name of the output: `<name>.js`, `<name>_bg.wasm`, and `dist/wasm/<name>.wasm`.
    pub name: String,
    /// Folder of the cdylib crate, from the root.
    #[serde(rename = "crate")]
    pub crate_folder: PathBuf,
    /// wasm-pack's `--target`.
    pub target: String,
    /// Cargo profile.
    pub profile: String,
    /// Arguments of wasm-opt.
    pub wasm_opt: Vec<String>,
    /// Folder of the glue and the wasm file, from the root.
    pub out_dir: PathBuf,
    /// Most bytes that the gzipped wasm file may have.
    pub budget_gz_bytes: u64,
}

impl WasmBuild {
    /// The wasm file that wasm-pack writes.
    pub fn wasm_file(&self, project: &Project) -> PathBuf {
        project.path(&self.out_dir).join(format!("{}_bg.wasm", self.name))
    }
}

/// Reads the list.
pub fn read(project: &Project) -> Result<Vec<WasmBuild>> {
    let text =
        std::fs::read_to_string(project.path("wasm-pack.toml")).context("cannot read wasm-pack.toml")?;
    parse(&text).context("wasm-pack.toml is not as xtask expects it")
}

fn parse(text: &str) -> Result<Vec<WasmBuild>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        wasm: Vec<WasmBuild>,
    }
    Ok(toml::from_str::<List>(text)?.wasm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_this_project_is_readable_and_names_each_output_once() {
        let list = parse(include_str!("../../../wasm-pack.toml")).expect("the file is part of this project");
        let mut names: Vec<_> = list.iter().map(|build| build.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["client", "sw", "worker"]);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let text = include_str!("../../../wasm-pack.toml").replace("budget_gz_bytes = 4", "budget_bytes = 4");
        let error = format!("{:#}", parse(&text).expect_err("the key is unknown"));
        assert!(error.contains("budget_bytes"), "{error}");
    }
}
