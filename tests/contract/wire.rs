//! The corpus of the wire contract, replayed byte for byte against both engines by the script that integrators use.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Callvine, Postgres, RabbitMq, Running, new_directory};

/// Debian's, which needs no package beside itself.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A contract does not shrink: with fewer cases than these, some were lost.
const CASES_MIN: usize = 390;

/// A program with the keys that the cases name.
pub(crate) struct Engine {
    pub(crate) process: Running,
    pub(crate) key: String,
    other_key: String,
    analyst_key: String,
    limited_key: String,
}

impl Engine {
    /// `callvine up` on SQLite.
    pub(crate) async fn embedded(environment: &[(&str, &str)]) -> Self {
        let directory = new_directory("wire");
        Self::start(
            &|command| {
                let command = Callvine::new(command).directory(&directory);
                environment.iter().fold(command, |command, (name, value)| command.env(name, value))
            },
            "up",
        )
        .await
    }

    /// `callvine gateway` on PostgreSQL and RabbitMQ.
    async fn distributed() -> Self {
        let database = Postgres::shared().await.database().await;
        let broker = RabbitMq::shared().await;
        let broker = broker.url(&broker.vhost().await);
        Self::start(
            &|command| Callvine::new(command).env("DATABASE_URL", &database).env("AMQP_URL", &broker),
            "gateway",
        )
        .await
    }

    async fn start(program: &dyn Fn(&str) -> Callvine, command: &str) -> Self {
        let create = async |arguments: &[&str]| {
            let created = program("keys").arg("create").args(arguments).run().await;
            created.assert_code(0);
            created.stdout.trim().to_owned()
        };
        let key = create(&["--client", "acme"]).await;
        let other_key = create(&["--client", "other"]).await;
        let analyst_key = create(&["--client", "analysts", "--role", "analyst"]).await;
        // One call in a thousand seconds.
        let limited_key = create(&["--client", "limited", "--rate", "0.001"]).await;
        Self { process: program(command).start().await, key, other_key, analyst_key, limited_key }
    }

    /// Replays these cases; the script's exit code and output.
    async fn replay(&mut self, cases: &[PathBuf]) -> (i32, String) {
        let mut script = Command::new(PYTHON);
        script.arg(folder().join("replay.py")).arg(self.process.public_socket().await.to_string());
        script.arg(&self.key).args(["--other-key", &self.other_key]);
        script.args(["--analyst-key", &self.analyst_key, "--limited-key", &self.limited_key]);
        script.args(cases);
        finished(script).await
    }

    async fn assert_corpus(&mut self) {
        let (code, output) = self.replay(&[]).await;
        assert_eq!(code, 0, "{output}");
        let cases = cases().len();
        assert!(cases >= CASES_MIN);
        assert_eq!(output.trim(), format!("{cases} cases as expected, 0 not, 0 left out"));
    }
}

/// Runs a program to its end; its exit code, and its output with its errors.
pub(crate) async fn finished(mut command: Command) -> (i32, String) {
    tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    })
    .await
    .unwrap()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/wire"))
}

fn cases() -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "case")).collect()
}

#[tokio::test]
async fn the_embedded_engine_answers_every_case_to_the_byte() {
    Engine::embedded(&[]).await.assert_corpus().await;
}

#[tokio::test]
async fn the_distributed_engine_answers_every_case_to_the_byte() {
    Engine::distributed().await.assert_corpus().await;
}

/// Each change turns a right case into a wrong one, which the script must notice.
#[tokio::test]
async fn a_case_that_is_not_met_is_noticed() {
    let mut engine = Engine::embedded(&[]).await;
    let directory = new_directory("wrong-cases");
    let changes = [
        ("01-published-curl", "201 Created", "200 OK"),
        ("01-published-curl", "\"success\":true", "\"success\": true"),
        ("01-published-curl", "Agent Smith)\",", "Agent Smyth)\","),
        ("01-published-curl", "\"id\":${id}", "\"id\":\"${id}\""),
        ("01-published-curl", "\"id\":${id}", "\"id\":${id}0"),
        ("01-published-curl", "/calls/${id}", "/calls/${id}x"),
        ("01-published-curl", "< access-control-allow-origin: *\n", ""),
        ("01-published-curl", "< access-control-allow-origin: *", "< access-control-allow-origin: x"),
        ("01-published-curl", "< content-type: application/json", "< content-type: application/json\n< x: y"),
        ("01-published-curl", "< date: ${date}", "< date: now"),
        ("06-size-larger", "~ closed\n", ""),
        ("16-call-head", "200 OK", "404 Not Found"),
        ("18-pipelined", "\"from_phone\":\"2\",\"to_phone\"", "\"from_phone\":\"1\",\"to_phone\""),
    ];
    for (number, (name, from, to)) in changes.into_iter().enumerate() {
        let case = std::fs::read_to_string(folder().join(format!("{name}.case"))).unwrap();
        let (at, _) = case.rmatch_indices(from).next().unwrap_or_else(|| panic!("{name} has no {from}"));
        let wrong = [&case[..at], to, &case[at + from.len()..]].concat();
        let path = directory.join(format!("{number}.case"));
        std::fs::write(&path, wrong).unwrap();
        let (code, output) = engine.replay(&[path]).await;
        assert_eq!(code, 1, "{name}, {from:?} as {to:?}: {output}");
    }
}
