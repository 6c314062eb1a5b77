//! Every answer that is not a success: its status, headers and published body, beside its cause.

use callvine_shared::analyzer::NotAnAnalyzerName;
use callvine_shared::call::Invalid;
use callvine_shared::store::ANALYZERS_MAX;
use http::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::rate::TooMany;

/// Seconds of `Retry-After` while the database is out of reach: long enough for a restart.
const RETRY_AFTER_DATABASE: HeaderValue = HeaderValue::from_static("5");

/// Seconds of `Retry-After` when too many calls wait: a batch takes milliseconds, so the queue is soon short again.
const RETRY_AFTER_OVERLOAD: HeaderValue = HeaderValue::from_static("1");

/// Why a request is refused. `Display` is the published message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("An HTTP/1.1 request must have one Host header, and that must be a host")]
    Host,
    #[error(
        "This listener has no token, so it answers for addresses and localhost alone (see CALLVINE_ADMIN_TOKEN)"
    )]
    ForeignHost,
    #[error("There is nothing at this address")]
    NotFound,
    #[error("There is no call with this ID")]
    NoSuchCall,
    #[error("The recording of this call is not stored")]
    NoRecording,
    #[error("The recording does not have these bytes")]
    Range,
    #[error("This process does not know where recordings are kept")]
    RecordingElsewhere,
    #[error("The recording can't be read at the moment")]
    RecordingNotRead,
    #[error("Too many recordings are being sent, please try again")]
    TooManyReaders,
    #[error("This endpoint only accepts {} requests", .0.message())]
    Method(Methods),
    #[error("API key must be provided in X-API-Key header or Authorization header")]
    KeyMissing,
    #[error("The provided API key is not valid")]
    KeyUnknown,
    #[error("The key of an analyst can't post calls")]
    Forbidden,
    #[error("Only the key of an analyst can answer analyses")]
    NoAnalyst,
    #[error("The name of an analyzer {0}")]
    AnalyzerName(NotAnAnalyzerName),
    #[error("The text of failed must have 1 to 2000 characters, without U+0000")]
    FailureText,
    #[error("{} other analyzers have answered about this call already", ANALYZERS_MAX)]
    TooManyAnalyzers,
    #[error("Failed to store the analysis in the database")]
    AnalysisNotStored,
    #[error("{}", .0.what.message())]
    TooMany(TooMany),
    #[error("An admin token must be provided as Authorization: Bearer")]
    AdminToken,
    #[error("Request body must have at most {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("Request body did not arrive in time")]
    BodyTimeout,
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("Idempotency-Key must have 1 to 255 visible ASCII characters and be sent once")]
    IdempotencyKeyInvalid,
    #[error("This Idempotency-Key was sent before with another request body")]
    IdempotencyKeyReused,
    #[error("Failed to insert call log into database")]
    NotStored,
    #[error("Failed to read call log from database")]
    NotRead,
    #[error("An unexpected error occurred while processing the request")]
    Internal,
    #[error("Too many calls are waiting to be stored, please try again")]
    Overloaded,
}

/// The methods that an endpoint accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    Post,
    Get,
    Put,
    /// As `Get`, on the admin listener: no page of another origin has business there, so it answers no `OPTIONS`.
    AdminGet,
}

impl Methods {
    fn message(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get | Self::AdminGet => "GET",
            Self::Put => "PUT",
        }
    }

    fn published(self) -> &'static [&'static str] {
        match self {
            Self::Post => &["POST"],
            Self::Get | Self::AdminGet => &["GET", "HEAD"],
            Self::Put => &["PUT"],
        }
    }

    pub(crate) fn include(self, method: &Method) -> bool {
        match self {
            Self::Post => method == Method::POST,
            Self::Get | Self::AdminGet => method == Method::GET || method == Method::HEAD,
            Self::Put => method == Method::PUT,
        }
    }

    /// For the `Allow` header; every endpoint of the public listener answers `OPTIONS` too.
    pub(crate) fn allow(self) -> HeaderValue {
        match self {
            Self::Post => HeaderValue::from_static("POST, OPTIONS"),
            Self::Get => HeaderValue::from_static("GET, HEAD, OPTIONS"),
            Self::Put => HeaderValue::from_static("PUT, OPTIONS"),
            Self::AdminGet => HeaderValue::from_static("GET, HEAD"),
        }
    }
}

/// A published error body, its fields in the published order.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_fields: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_methods: Option<&'static [&'static str]>,
}

impl Rejection {
    /// The answer for the caller.
    pub(crate) fn into_answer(self) -> Answer {
        let mut answer = answer::json(self.status(), self.body());
        if let Some((name, value)) = self.header() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchCall | Self::NoRecording => StatusCode::NOT_FOUND,
            Self::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyMissing | Self::KeyUnknown | Self::AdminToken => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NoAnalyst => StatusCode::FORBIDDEN,
            Self::TooManyAnalyzers => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Host
            | Self::Invalid(_)
            | Self::IdempotencyKeyInvalid
            | Self::AnalyzerName(_)
            | Self::FailureText => StatusCode::BAD_REQUEST,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NotStored | Self::NotRead | Self::AnalysisNotStored | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Overloaded | Self::RecordingElsewhere | Self::RecordingNotRead | Self::TooManyReaders => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Whether some of the request's body may be unread when this is the answer.
    pub(crate) fn leaves_body_unread(&self) -> bool {
        match self {
            Self::Host
            | Self::ForeignHost
            | Self::NotFound
            | Self::NoSuchCall
            | Self::NoRecording
            | Self::Range
            | Self::RecordingElsewhere
            | Self::RecordingNotRead
            | Self::TooManyReaders
            | Self::Method(_)
            | Self::KeyMissing
            | Self::KeyUnknown
            | Self::Forbidden
            | Self::NoAnalyst
            | Self::AnalyzerName(_)
            | Self::TooMany(_)
            | Self::AdminToken
            | Self::TooLarge { .. }
            | Self::BodyTimeout
            | Self::NotRead
            | Self::Overloaded
            // A panic may come before the body is read.
            | Self::Internal => true,
            Self::Invalid(_)
            | Self::IdempotencyKeyInvalid
            | Self::IdempotencyKeyReused
            | Self::FailureText
            | Self::TooManyAnalyzers
            | Self::AnalysisNotStored
            | Self::NotStored => false,
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method(methods) => Some((ALLOW, methods.allow())),
            Self::KeyMissing | Self::KeyUnknown | Self::AdminToken => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            // The rest of the body stays unread, so no request can follow on this connection.
            Self::TooLarge { .. } | Self::BodyTimeout => {
                Some((CONNECTION, HeaderValue::from_static("close")))
            }
            Self::TooMany(refused) => Some((RETRY_AFTER, HeaderValue::from(refused.retry_after_seconds))),
            Self::NotStored | Self::NotRead | Self::AnalysisNotStored => {
                Some((RETRY_AFTER, RETRY_AFTER_DATABASE))
            }
            Self::RecordingElsewhere | Self::RecordingNotRead => Some((RETRY_AFTER, RETRY_AFTER_DATABASE)),
            Self::Overloaded | Self::TooManyReaders => Some((RETRY_AFTER, RETRY_AFTER_OVERLOAD)),
            Self::Host
            | Self::ForeignHost
            | Self::NotFound
            | Self::NoSuchCall
            | Self::Forbidden
            | Self::NoAnalyst
            | Self::AnalyzerName(_)
            | Self::FailureText
            | Self::TooManyAnalyzers
            | Self::NoRecording
            | Self::Range
            | Self::Invalid(_)
            | Self::IdempotencyKeyInvalid
            | Self::IdempotencyKeyReused
            | Self::Internal => None,
        }
    }

    fn error(&self) -> &'static str {
        match self {
            Self::Host => "Bad request",
            Self::ForeignHost => "Misdirected request",
            Self::NotFound | Self::NoSuchCall | Self::NoRecording => "Not found",
            Self::Range => "Range not satisfiable",
            Self::RecordingElsewhere | Self::RecordingNotRead => "Recording unavailable",
            Self::Method(_) => "Method not allowed",
            Self::KeyMissing | Self::AdminToken => "Authentication required",
            Self::KeyUnknown => "Invalid API key",
            Self::Forbidden | Self::NoAnalyst => "Forbidden",
            Self::AnalyzerName(_) => "Invalid analyzer name",
            Self::FailureText => "Invalid field value",
            Self::TooManyAnalyzers => "Too many analyzers",
            Self::TooMany(_) => "Too many requests",
            Self::TooLarge { .. } => "Payload too large",
            Self::BodyTimeout => "Request timeout",
            Self::Invalid(invalid) => match invalid {
                Invalid::Json => "Invalid JSON",
                Invalid::MissingFields(_) => "Missing required fields",
                Invalid::FieldType { .. } => "Invalid field type",
                Invalid::FieldValue { .. } => "Invalid field value",
                Invalid::TimeFormat { field: "start_time" } => "Invalid start_time format",
                Invalid::TimeFormat { .. } => "Invalid end_time format",
                Invalid::TimeRange => "Invalid time range",
                Invalid::RecordingUrl => "Invalid recording URL",
            },
            Self::IdempotencyKeyInvalid => "Invalid idempotency key",
            Self::IdempotencyKeyReused => "Idempotency key reused",
            Self::NotStored | Self::NotRead | Self::AnalysisNotStored => "Database error",
            Self::Internal => "Internal server error",
            Self::Overloaded | Self::TooManyReaders => "Service overloaded",
        }
    }

    fn body(&self) -> Vec<u8> {
        let message = self.to_string();
        let mut body = Body {
            error: self.error(),
            message: &message,
            missing_fields: None,
            example: None,
            field: None,
            allowed_methods: None,
        };
        match self {
            Self::Method(methods) => body.allowed_methods = Some(methods.published()),
            Self::Invalid(Invalid::MissingFields(fields)) => body.missing_fields = Some(fields),
            Self::Invalid(Invalid::TimeFormat { .. }) => body.example = Some("2024-01-15 09:00:00"),
            Self::FailureText => body.field = Some("failed"),
            Self::Invalid(Invalid::FieldType { field } | Invalid::FieldValue { field, .. }) => {
                body.field = Some(field);
            }
            _ => {}
        }
        // A struct of strings always serializes.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}
