//! The facts that the code cites are on the page that it cites.

use std::collections::BTreeSet;
use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "a test reads what is checked in")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections that the sources below a folder name, each with a file that does.
fn cited(folder: &Path, found: &mut BTreeSet<(String, String)>) {
    for entry in folder.read_dir().expect("a folder of sources") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            cited(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            let sections = text
                .lines()
                .filter_map(|line| line.split_once("PLATFORM.md, "))
                .flat_map(|(_, names)| {
                    names.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
                });
            found.extend(sections.map(|section| (section, path.display().to_string())));
        }
    }
}

#[test]
fn every_fact_that_is_cited_has_its_section() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read(&house.join("../docs/PLATFORM.md"));
    let sections: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    cited(&house.join("src"), &mut found);
    assert!(!found.is_empty(), "the sources were not found");
    for (section, file) in found {
        assert!(sections.contains(&section), "{file} cites {section:?}, which PLATFORM.md lacks");
    }
}
