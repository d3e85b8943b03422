//! The README's table of tested clients: its versions and its code are those of these tests.

use std::{fs, path::Path};

/// Returns the rows: the name of a crate, its version, and the code that it needs.
fn rows() -> Vec<(String, String, Vec<String>)> {
    let readme = fs::read_to_string(here().join("../../README.md")).unwrap();
    let (_, table) = readme.split_once("## Tried with").expect("the table's heading");
    let (table, _) = table.split_once("\n## ").expect("the next heading");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, version, needs] = cells[..] else { panic!("three cells: {row}") };
        (code(name).remove(0), version.to_owned(), code(needs))
    })
    .collect()
}

/// Returns the text between backquotes.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Removes white space and trailing commas.
fn packed(text: &str) -> String {
    text.replace(char::is_whitespace, "").replace(",)", ")")
}

#[test]
fn readme_table_matches_these_tests() {
    let manifest = fs::read_to_string(here().join("Cargo.toml")).unwrap();
    let own = Path::new(file!()).file_name();
    let tests = fs::read_dir(here().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let tests = tests.filter(|path| path.is_file() && path.file_name() != own);
    let tests: String = tests.map(|path| packed(&fs::read_to_string(path).unwrap())).collect();
    let rows = rows();
    assert!(rows.len() >= 10, "{rows:?}");
    for (name, version, needs) in rows {
        let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not tried"));
        assert!(line.contains(&format!("\"{version}\"")), "{name} {version}: {line}");
        for code in needs {
            assert!(tests.contains(&packed(&code)), "no test has this code: {code}");
        }
    }
}
