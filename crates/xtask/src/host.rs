//! This machine and this checkout: where things are, and how other programs are run.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout that the command runs in, with the tools that its child processes see.
pub struct Project {
    /// Absolute path of the workspace's root.
    pub root: PathBuf,
}

/// What a captured command printed, and whether it succeeded.
pub struct Captured {
    /// Standard output and standard error, in the order of their lines.
    pub text: String,
    /// Whether the exit status was zero.
    pub success: bool,
}

impl Project {
    /// Finds the root from where cargo built this program, or from the current directory once it has moved.
    pub fn find() -> Result<Self> {
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = [built_in, std::env::current_dir()?]
            .into_iter()
            .find(|root| root.join("wasm-pack.toml").is_file())
            .context("wasm-pack.toml is not here: run this in the root of the checkout")?;
        Ok(Self { root: root.canonicalize()? })
    }

    /// A path under the root.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Folder for what xtask itself writes.
    pub fn scratch(&self) -> Result<PathBuf> {
        let folder = self.path("target/xtask");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// A command in the root, with `node_modules/.bin` and the pinned tools first on its PATH.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", self.tool_path());
        // Set by `cargo run` for this program; a nested cargo or rustc must not take them as its own.
        for inherited in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_MANIFEST_PATH"]
        {
            command.env_remove(inherited);
        }
        command
    }

    /// `cargo`, the one that runs this program.
    pub fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Where a tool of that name is found by `command`.
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.tool_path())
            .map(|folder| folder.join(program))
            .find(|candidate| is_executable(candidate))
    }

    fn tool_path(&self) -> std::ffi::OsString {
        let mut folders = vec![self.path("node_modules/.bin")];
        folders.extend(crate::setup::tool_folders(self).iter().cloned());
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        folders.push(cargo_home().join("bin"));
        std::env::join_paths(folders).expect("PATH entries come from PATH and hold no separator")
    }
}

/// Cargo's home folder.
pub fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"))
}

/// Runs a command with this program's own output; an exit status other than zero is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let name = display(command);
    let status = command.status().with_context(|| format!("cannot start `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns its trimmed standard output; an exit status other than zero is an error.
pub fn read(command: &mut Command) -> Result<String> {
    let name = display(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command, shows each line as it comes, and keeps all of them.
pub fn capture(command: &mut Command) -> Result<Captured> {
    let name = display(command);
    let (reader, writer) = std::io::pipe()?;
    let spawned = command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn();
    let mut child = spawned.with_context(|| format!("cannot start `{name}`"))?;
    // The command holds the pipe's other end too, and would keep the loop below waiting.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = String::new();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(Captured { text, success: child.wait()?.success() })
}

fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
