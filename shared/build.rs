//! Lists the files of `migrations/` for `store::migrations`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../migrations");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../migrations").canonicalize()?;
    let mut code = String::new();
    for (constant, folder) in [("POSTGRES", "postgres"), ("SQLITE", "sqlite")] {
        let entries = fs::read_dir(root.join(folder))?.map(|entry| Ok(entry?.path()));
        let mut files = entries.collect::<Result<Vec<_>, std::io::Error>>()?;
        files.sort();
        writeln!(code, "/// The files of `migrations/{folder}`.")?;
        writeln!(code, "pub(super) const {constant}: [File; {}] = [", files.len())?;
        for file in files {
            // `0001_calls.sql`
            let stem = file.file_stem().and_then(|stem| stem.to_str()).ok_or("a migration without a name")?;
            let (version, description) = stem.split_once('_').ok_or("a migration without a number")?;
            let version: i64 = version.parse()?;
            writeln!(code, "({version}, {:?}, include_str!({file:?})),", description.replace('_', " "))?;
        }
        writeln!(code, "];")?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), code)?;
    Ok(())
}
