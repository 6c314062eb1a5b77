//! Commands and settings: exit codes, and what is said about a wrong value.

use harness::{Callvine, Signal};

#[tokio::test]
async fn a_wrong_setting_ends_the_start_with_code_2_and_its_name() {
    let cases = [
        ("up", "CALLVINE_LISTEN", "nonsense"),
        ("up", "CALLVINE_ADMIN_LISTEN", "127.0.0.1:99999"),
        ("up", "CALLVINE_MAX_BODY", "0"),
        ("up", "CALLVINE_MAX_IN_FLIGHT", "many"),
        ("up", "CALLVINE_DEV_KEYS", "perhaps"),
        ("up", "DATABASE_URL", "mysql://localhost/x"),
        ("up", "AMQP_URL", "http://localhost"),
        ("up", "CALLVINE_RECORDINGS_URL", "ftp://somewhere/else"),
        ("up", "CALLVINE_STREAM", "sometimes"),
        ("up", "CALLVINE_SHUTDOWN_TIMEOUT", "soon"),
        ("up", "CALLVINE_WORKER_CONCURRENCY", "0"),
        ("up", "CALLVINE_MAX_RECORDING", "huge"),
        ("up", "CALLVINE_FETCH_TIMEOUT", "-1s"),
        ("up", "CALLVINE_FETCH_ATTEMPTS", "0"),
        ("up", "CALLVINE_FETCH_BACKOFF", "x"),
        ("up", "CALLVINE_FETCH_ALLOW", "10.0.0.0/33"),
        ("up", "CALLVINE_FETCH_CREDENTIALS", "/does/not/exist"),
        ("up", "CALLVINE_FETCH_PER_HOST", "0"),
        ("up", "CALLVINE_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("up", "CALLVINE_LOG_FORMAT", "xml"),
        ("up", "RUST_LOG", "callvine=loud"),
        ("gateway", "DATABASE_URL", "sqlite://x.db"),
        ("worker", "CALLVINE_FETCH_ATTEMPTS", "x"),
        ("migrate", "DATABASE_URL", "postgres://host:notaport/x"),
    ];
    for (command, variable, value) in cases {
        let finished = Callvine::new(command).env(variable, value).run().await;
        assert_eq!(finished.code(), Some(2), "{command} {variable}={value}: {}", finished.stderr);
        assert!(finished.stderr.contains(variable), "{variable} is not named: {}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
}

#[tokio::test]
async fn processes_that_share_their_servers_say_what_they_need() {
    let finished = Callvine::new("gateway").run().await;
    finished.assert_code(2);
    assert!(finished.stderr.contains("DATABASE_URL"), "{}", finished.stderr);
    let finished = Callvine::new("worker").env("DATABASE_URL", "postgres://127.0.0.1/x").run().await;
    finished.assert_code(2);
    assert!(finished.stderr.contains("AMQP_URL"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_wrong_flag_is_named_and_help_names_every_variable() {
    let finished = Callvine::new("up").arg("--nonsense").run().await;
    finished.assert_code(2);
    assert!(finished.stderr.contains("--nonsense"), "{}", finished.stderr);
    let help = Callvine::new("up").arg("--help").run().await;
    help.assert_code(0);
    for variable in ["CALLVINE_LISTEN", "DATABASE_URL", "AMQP_URL", "CALLVINE_FETCH_ALLOW", "RUST_LOG"] {
        assert!(help.stdout.contains(variable), "{}", help.stdout);
    }
}

#[tokio::test]
async fn a_password_never_shows() {
    let finished = Callvine::new("up").env("DATABASE_URL", "postgres://u:s3cret@host:x/db").run().await;
    finished.assert_code(2);
    assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
    let help = Callvine::new("up")
        .arg("--help")
        .env("DATABASE_URL", "postgres://u:s3cret@host/db")
        .env("AMQP_URL", "amqp://u:s3cret@host")
        .env("CALLVINE_ADMIN_TOKEN", "s3cret")
        .run()
        .await;
    assert!(!help.stdout.contains("s3cret"), "{}", help.stdout);
}

#[tokio::test]
async fn a_port_that_is_taken_fails_at_run_time() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = Callvine::new("up").env("CALLVINE_LISTEN", &address).run().await;
    finished.assert_code(1);
    assert!(finished.stderr.contains(&address), "{}", finished.stderr);
}

#[tokio::test]
async fn one_data_directory_belongs_to_one_process() {
    let first = Callvine::new("up").start().await;
    let second = Callvine::new("up").directory(first.directory()).run().await;
    second.assert_code(1);
    assert!(second.stderr.contains("another callvine"), "{}", second.stderr);
    let directory = first.directory().to_owned();
    first.kill();
    Callvine::new("up").directory(&directory).start().await.stop().await.assert_code(0);
}

#[tokio::test]
async fn migrate_can_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        Callvine::new("migrate").directory(directory.path()).run().await.assert_code(0);
    }
}

#[tokio::test]
async fn a_signal_while_waiting_for_the_database_ends_the_start() {
    // A port that nobody listens on.
    let port = harness::free_port();
    let mut process = Callvine::new("gateway")
        .env("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{port}/x"))
        .env("AMQP_URL", "amqp://127.0.0.1:1")
        .spawn();
    harness::eventually(harness::PATIENCE, "it says that it waits", async || {
        process.stderr().contains("waiting for the database")
    })
    .await;
    assert!(!process.stdout().contains("listening"));
    process.signal(Signal::TERM);
    process.wait().await.assert_code(0);
}

#[tokio::test]
async fn the_demo_does_what_it_says() {
    // Its own client speaks no TLS, whatever the environment says.
    let demo = Callvine::new("demo").env("CALLVINE_TLS_CERT", "cert.pem").env("CALLVINE_TLS_KEY", "key.pem");
    let finished = demo.run().await;
    finished.assert_code(0);
    for expected in [
        "20",
        "stored",
        "pcm_alaw",
        "pcm_mulaw",
        "pcm_s16le",
        "one_way_audio",
        "long_dead_air",
        "not_found",
        "not_audio",
    ] {
        assert!(finished.stdout.contains(expected), "{expected} is not in\n{}", finished.stdout);
    }
    let words = finished.stdout.lines().skip_while(|line| !line.contains("In words:")).skip(1);
    let told = words.take_while(|line| line.starts_with("call ")).filter(|line| !line.contains("(")).count();
    assert!(told >= 18, "a line of words for each analysed call:\n{}", finished.stdout);
}
