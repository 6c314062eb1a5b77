//! The files of TLS: which are refused at the start, and which take the place of others while the program runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use harness::{Authority, Callvine, PATIENCE, Validity, eventually, new_directory};

use crate::tls::{Secure, exchange};

const HOST: &str = "127.0.0.1";

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start_with_code_2_and_their_variable() {
    let directory = new_directory("wrong-tls");
    let [certificate, key] = Authority::new().files(HOST, Validity::Now);
    let [other_certificate, _] = Authority::new().files(HOST, Validity::Now);
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let half = certificate.split_at(certificate.len() / 2).0;
    let (cert_variable, key_variable) = ("CALLVINE_TLS_CERT", "CALLVINE_TLS_KEY");
    for (name, certificate, key, variable, told) in [
        ("no key", Some(certificate.as_str()), None, key_variable, "must be set"),
        ("no certificate", None, Some(key.as_str()), cert_variable, "must be set"),
        ("another's key", Some(&other_certificate), Some(&key), key_variable, "its own key"),
        ("an encrypted key", Some(&certificate), Some(&encrypted), key_variable, "not encrypted"),
        ("an empty key", Some(&certificate), Some(""), key_variable, "in PEM"),
        ("an empty certificate", Some(""), Some(&key), cert_variable, "in PEM"),
        ("half a certificate", Some(half), Some(&key), cert_variable, "in PEM"),
        ("both the other way round", Some(&key), Some(&certificate), cert_variable, "in PEM"),
    ] {
        let mut program = Callvine::new("up");
        for (variable, pem) in [(cert_variable, certificate), (key_variable, key)] {
            // An empty variable counts as absent.
            let path = pem.map(|pem| {
                let path = directory.join(variable);
                fs::write(&path, pem).unwrap();
                path
            });
            program = program.env(variable, path.unwrap_or_default());
        }
        let finished = program.run().await;
        assert_eq!(finished.code(), Some(2), "{name}: {}", finished.stderr);
        let stderr = &finished.stderr;
        assert!(stderr.contains(variable) && stderr.contains(told), "{name}: {stderr}");
        assert_eq!(finished.stdout, "", "{name}");
    }
    let missing = directory.join("missing");
    let present = directory.join(cert_variable);
    fs::write(&present, certificate).unwrap();
    for (certificate, key, variable) in [
        (&missing, &present, cert_variable),
        (&present, &missing, key_variable),
        (&directory, &present, cert_variable),
    ] {
        let program = Callvine::new("up").env(cert_variable, certificate).env(key_variable, key);
        let finished = program.run().await;
        finished.assert_code(2);
        let named = if variable == cert_variable { certificate } else { key };
        let named = format!("{variable}={}", named.display());
        assert!(finished.stderr.contains(&named), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_now_is_warned_about() {
    for (validity, is_warned) in [(Validity::Now, false), (Validity::Past, true), (Validity::Future, true)] {
        let directory = new_directory("tls");
        let files = [directory.join("cert.pem"), directory.join("key.pem")];
        let authority = Authority::new();
        write(&files, &authority.files(HOST, validity));
        let secure = Secure::start_on(authority, files, &[]).await;
        let log = secure.process.stderr();
        assert_eq!(log.contains("clients will refuse the certificate"), is_warned, "{validity:?}: {log}");
    }
}

fn write(files: &[PathBuf; 2], contents: &[String; 2]) {
    for (file, pem) in files.iter().zip(contents) {
        fs::write(file, pem).unwrap();
    }
}

/// A new file under an old name.
fn put_in_place(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

/// Goal: certificates are renewed without a restart, however the files are replaced, and a wrong one does no harm.
#[tokio::test]
async fn new_files_are_used_for_new_connections_and_wrong_ones_are_not() {
    let mut secure = Secure::start().await;
    let first = std::mem::replace(&mut secure.authority, Authority::new());
    let mut held = secure.connect(&first).await.unwrap();
    assert!(exchange(&mut held).await.starts_with("HTTP/1.1 201 "));

    // One name after the other, so that they don't match in between.
    let second = Authority::new();
    let contents = second.files(HOST, Validity::Now);
    put_in_place(&secure.files[0], &contents[0]);
    put_in_place(&secure.files[1], &contents[1]);
    eventually(PATIENCE, "the second certificate is used", async || secure.connect(&second).await.is_some())
        .await;
    assert!(secure.connect(&first).await.is_none());
    assert!(exchange(&mut held).await.starts_with("HTTP/1.1 201 "), "what stands goes on");

    let warnings = |log: String| log.matches("the last one stays").count();
    let before = warnings(secure.process.stderr());
    fs::write(&secure.files[0], "-----BEGIN CERTIFICATE-----").unwrap();
    eventually(PATIENCE, "the wrong file is warned about", async || {
        warnings(secure.process.stderr()) > before
    })
    .await;
    assert!(secure.connect(&second).await.is_some(), "the last one stays");
    fs::remove_file(&secure.files[1]).unwrap();
    eventually(PATIENCE, "so is the missing one", async || warnings(secure.process.stderr()) > before + 1)
        .await;
    assert!(secure.connect(&second).await.is_some(), "the last one stays");

    let third = Authority::new();
    // In their places: the certificate is the same file as before.
    write(&secure.files, &third.files(HOST, Validity::Now));
    eventually(PATIENCE, "the third certificate is used", async || secure.connect(&third).await.is_some())
        .await;
    assert!(exchange(&mut held).await.starts_with("HTTP/1.1 201 "), "what stands goes on");
    // Each change was warned about once: two, and one more where the third's files were seen half-written.
    let warned = warnings(secure.process.stderr()) - before;
    assert!((2..=3).contains(&warned), "{}", secure.process.stderr());
}

/// As Kubernetes replaces the files of a secret: the names stay links into a directory that is itself a link.
#[tokio::test]
async fn files_behind_links_are_replaced_when_the_links_lead_elsewhere() {
    let directory = new_directory("secret");
    let (first, second) = (Authority::new(), Authority::new());
    for (version, authority) in [("1", &first), ("2", &second)] {
        fs::create_dir(directory.join(version)).unwrap();
        let files = ["tls.crt", "tls.key"].map(|name| directory.join(version).join(name));
        write(&files, &authority.files(HOST, Validity::Now));
    }
    symlink("1", directory.join("data")).unwrap();
    let files = ["tls.crt", "tls.key"].map(|name| {
        symlink(Path::new("data").join(name), directory.join(name)).unwrap();
        directory.join(name)
    });
    let mut secure = Secure::start_on(Authority::new(), files, &[]).await;
    assert!(secure.connect(&first).await.is_some());
    symlink("2", directory.join("data-new")).unwrap();
    fs::rename(directory.join("data-new"), directory.join("data")).unwrap();
    eventually(PATIENCE, "the second certificate is used", async || secure.connect(&second).await.is_some())
        .await;
    let log = secure.process.stderr();
    assert!(!log.contains("the last one stays"), "{log}");
}
