//! Makes cargo compile again when a migration is added: `sqlx::migrate!` embeds the folder, but can't watch it.
fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
