//! The images and limits of docker-compose.yml and Dockerfile.

use crate::files::{none, read};

/// The services that use the anchor of the program's own image, with its limit.
const ANCHOR: &str = "<<: *callvine";

#[test]
fn every_service_has_a_memory_limit() {
    let compose = read("docker-compose.yml");
    let (shared, services) = compose.split_once("\nservices:\n").unwrap();
    let (services, _) = services.split_once("\nvolumes:\n").unwrap();
    assert!(shared.contains("\n  mem_limit: "), "the program's own image has no memory limit");
    let mut found: Vec<(&str, bool)> = Vec::new();
    for line in services.lines() {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        match name.filter(|name| !name.starts_with([' ', '#'])) {
            Some(name) => found.push((name, false)),
            None if line.trim() == ANCHOR || line.starts_with("    mem_limit: ") => {
                found.last_mut().unwrap().1 = true;
            }
            None => {}
        }
    }
    assert!(found.len() >= 4, "only these services are found: {found:?}");
    let unlimited = found.iter().filter(|(_, limited)| !limited);
    none(&unlimited.map(|(name, _)| format!("{name} has no mem_limit")).collect::<Vec<_>>());
}

#[test]
fn every_image_has_an_exact_version() {
    let (compose, dockerfile) = (read("docker-compose.yml"), read("Dockerfile"));
    let composed = compose.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    let built = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let images: Vec<&str> =
        composed.chain(built).filter(|image| !["callvine", "scratch"].contains(image)).collect();
    assert!(images.len() >= 4, "only these images are found: {images:?}");
    let loose = images.iter().filter(|image| {
        let version = image.split_once(':').map_or("", |(_, tag)| tag.split('-').next().unwrap_or_default());
        // PostgreSQL, Debian: 15.14; RabbitMQ, Rust: 4.2.5.
        version.split('.').count() < 2 || version.split('.').any(|part| part.parse::<u32>().is_err())
    });
    none(&loose.map(|image| format!("{image} has no exact version")).collect::<Vec<_>>());
}
