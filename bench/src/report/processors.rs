//! The processor time that a call takes in each process, and the resource that binds.

use super::format;
use super::plot::Stacks;
use crate::results::Sitting;
use crate::spread::Figure;
use crate::subject::Subject;

/// Plots the processor time that a call takes in each process, in the [usual case](usual_case).
pub(super) fn plot(sitting: &Sitting) -> Option<String> {
    let case = usual_case(sitting)?;
    let figures: [(&str, Figure); 5] = [
        ("server", |measures| Some(measures.cpu.server_us)),
        ("PostgreSQL", |measures| Some(measures.cpu.postgres_us)),
        ("RabbitMQ", |measures| Some(measures.cpu.rabbitmq_us)),
        ("load", |measures| Some(measures.cpu.load_us)),
        ("kernel and other", |measures| Some(measures.other_us())),
    ];
    let median = |subject, figure| sitting.spread(subject, case, figure).map_or(0.0, |spread| spread.median);
    let row = |subject: Subject| {
        let values = figures.iter().map(|(_, figure)| median(subject, *figure)).collect();
        (subject.title().to_owned(), values)
    };
    Stacks {
        title: &format!("Microseconds of processor time a call, {}", format::case(case)),
        parts: figures.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: Subject::ALL.into_iter().filter(|subject| sitting.has(*subject, case)).map(row).collect(),
        digits: 1,
    }
    .svg()
}

/// The case with 256 connections, or the last one where that was not measured.
fn usual_case(sitting: &Sitting) -> Option<&str> {
    let cases = sitting.cases();
    cases.iter().find(|case| case.starts_with("256 ")).or(cases.last()).copied()
}

/// Tells for each subject whether the processors bind, and which process takes the most time.
pub(super) fn what_binds(sitting: &Sitting) -> String {
    let Some(case) = usual_case(sitting) else {
        return String::new();
    };
    let cores = sitting.machine.cores as f64;
    let mut text = String::new();
    for subject in Subject::ALL.into_iter().filter(|subject| sitting.has(*subject, case)) {
        let median =
            |figure: Figure| sitting.spread(subject, case, figure).map_or(0.0, |spread| spread.median);
        let takers: [(&str, f64); 4] = [
            ("the server", median(|measures| Some(measures.cpu.server_us))),
            ("PostgreSQL", median(|measures| Some(measures.cpu.postgres_us))),
            ("RabbitMQ", median(|measures| Some(measures.cpu.rabbitmq_us))),
            ("the load generator", median(|measures| Some(measures.cpu.load_us))),
        ];
        let busy = median(|measures| Some(measures.cpu.busy_cores));
        let whole = median(|measures| Some(measures.cpu.machine_us));
        let Some((most, its)) = takers.into_iter().max_by(|one, other| one.1.total_cmp(&other.1)) else {
            continue;
        };
        let verdict =
            if busy > 0.9 * cores { "the processors bind" } else { "waiting binds, not the processors" };
        text += &format!(
            "- {}, {}: {verdict} ({busy:.2} of {cores:.0} busy); {most} takes the most, {its:.1} of {whole:.1} µs a call.\n",
            subject.title(),
            format::case(case),
        );
    }
    text
}
