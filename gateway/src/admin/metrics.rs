//! `/metrics`: the counts of the process in the Prometheus text format.

use http::StatusCode;
use http::header::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::answer::{self, Answer};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Renders all that was counted so far.
pub(super) fn show(metrics: &PrometheusHandle) -> Answer {
    answer::with_body(StatusCode::OK, CONTENT_TYPE, metrics.render())
}
