//! `size`: what the built files weigh, raw and gzipped, against the budgets of `wasm-pack.toml`.

use crate::host::Project;
use crate::wasm_list;
use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::Path;

/// Prints the table; a wasm file over its budget is an error.
pub fn run(project: &Project) -> Result<()> {
    let mut over = Vec::new();
    println!("{:<24} {:>10} {:>10} {:>10}", "file", "bytes", "gzipped", "budget");
    for build in wasm_list::read(project)? {
        let name = format!("wasm/{}.wasm", build.name);
        let size = Size::of(&project.path("dist").join(&name))?;
        println!("{name:<24} {:>10} {:>10} {:>10}", size.raw_bytes, size.gz_bytes, build.budget_gz_bytes);
        if size.gz_bytes > build.budget_gz_bytes {
            over.push(format!(
                "{name} has {} bytes gzipped and may have {}",
                size.gz_bytes, build.budget_gz_bytes
            ));
        }
    }
    for script in scripts(&project.path("dist"))? {
        let size = Size::of(&project.path("dist").join(&script))?;
        println!("{script:<24} {:>10} {:>10} {:>10}", size.raw_bytes, size.gz_bytes, "");
    }
    if !over.is_empty() {
        bail!("over the budgets of wasm-pack.toml: {}", over.join("; "));
    }
    Ok(())
}

struct Size {
    raw_bytes: u64,
    gz_bytes: u64,
}

impl Size {
    fn of(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file)
            .with_context(|| format!("cannot read {}: `cargo xtask build` makes it", file.display()))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        Ok(Self { raw_bytes: bytes.len() as u64, gz_bytes: encoder.finish()?.len() as u64 })
    }
}

/// Paths of the scripts under `dist`, one folder deep.
fn scripts(dist: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["", "sw"] {
        let Ok(entries) = std::fs::read_dir(dist.join(folder)) else { continue };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".js") {
                found.push(if folder.is_empty() { name } else { format!("{folder}/{name}") });
            }
        }
    }
    found.sort();
    Ok(found)
}
