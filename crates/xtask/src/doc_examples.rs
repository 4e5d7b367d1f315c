//! Takes the TypeScript examples out of the documents, so that `tsc` can check each as a module of an app.

use crate::host::{self, Project};
use anyhow::{Context, Result, bail};
use std::fmt::Write;

/// Documents whose every `ts` block is a whole module.
const DOCUMENTS: [&str; 1] = ["README.md"];

/// Checks all examples against the built types, and returns how many there were.
pub fn check(project: &Project) -> Result<usize> {
    let folder = project.scratch()?.join("doc-examples");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut count = 0;
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(project.path(document))
            .with_context(|| format!("cannot read {document}"))?;
        for example in examples(&text) {
            count += 1;
            let name =
                format!("{}-line-{}.{}", document.replace(['/', '.'], "-"), example.line, example.language);
            // A block without an import is a script to tsc, and its names would clash with those of the others.
            std::fs::write(folder.join(name), format!("{}\nexport {{}}\n", example.code))?;
        }
    }
    if count == 0 {
        bail!("no example stands in {}", DOCUMENTS.join(", "));
    }
    std::fs::write(folder.join("tsconfig.json"), TSCONFIG)?;
    host::run(project.command("tsc").arg("--project").arg(&folder))?;
    Ok(count)
}

/// `driftline` is found by this repository's own package.json, through its exports map.
const TSCONFIG: &str = r#"{
  "extends": "../../../tsconfig.json",
  "compilerOptions": {
    "noEmit": true,
    "rootDir": "../../..",
    "types": []
  },
  "include": ["*"],
  "exclude": []
}
"#;

struct Example {
    /// Line of the opening fence, from 1.
    line: usize,
    language: &'static str,
    code: String,
}

fn examples(markdown: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut open: Option<Example> = None;
    for (index, line) in markdown.lines().enumerate() {
        open = match (open, line.trim_end()) {
            (None, "```ts") => Some(Example { line: index + 1, language: "ts", code: String::new() }),
            (None, "```tsx") => Some(Example { line: index + 1, language: "tsx", code: String::new() }),
            (None, _) => None,
            (Some(example), "```") => {
                found.push(example);
                None
            }
            (Some(mut example), _) => {
                writeln!(example.code, "{line}").expect("a String takes any text");
                Some(example)
            }
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typescript_blocks_are_found_with_their_lines_and_others_are_left_alone() {
        let found = examples("# A\n```sh\nnpm i\n```\n```ts\nconst a = 1\n```\ntext\n```tsx\n<p/>\n```\n");
        let found: Vec<_> = found.iter().map(|e| (e.line, e.language, e.code.as_str())).collect();
        assert_eq!(found, [(5, "ts", "const a = 1\n"), (9, "tsx", "<p/>\n")]);
    }
}
