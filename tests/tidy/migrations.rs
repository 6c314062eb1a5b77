//! The schema, which is written once for each database.

use std::collections::BTreeSet;
use std::fs;

use crate::files::root;

#[test]
fn both_databases_have_the_same_migrations() {
    let of = |database: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(database);
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let postgres = of("postgres");
    assert_eq!(postgres, of("sqlite"));
    let numbers: Vec<u32> =
        postgres.iter().map(|name| name.split_once('_').unwrap().0.parse().unwrap()).collect();
    let consecutive: Vec<u32> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, consecutive, "numbers have gaps, or stand twice: {postgres:?}");
}
