//! The failures of an S3 store, in words that name no credential and no address.

use std::error::Error as _;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

/// The reason why the S3 store didn't do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum S3Failure {
    /// The store has no such bucket, or has lost the upload.
    #[error(
        "the S3 store has no such bucket, or lost what was begun (check CALLVINE_RECORDINGS_URL and AWS_ENDPOINT)"
    )]
    Missing,
    /// The store refuses the credentials, or they allow too little.
    #[error(
        "the S3 store refuses the credentials, or they don't allow this (check AWS_ACCESS_KEY_ID, \
         AWS_SECRET_ACCESS_KEY, AWS_REGION and the bucket's policy)"
    )]
    Denied,
    /// There is no connection, no trust in it, or no answer in time.
    #[error(
        "the S3 store can't be reached, or its certificate is not trusted (check AWS_ENDPOINT and AWS_REGION)"
    )]
    Unreachable,
    /// The store answers with this error: its code, such as `SlowDown`, or its status.
    #[error("the S3 store answers with an error: {0}")]
    Answer(String),
}

impl S3Failure {
    /// Keeps only the kind of the error: its text contains addresses, and answers that repeat what was signed.
    #[expect(clippy::needless_pass_by_value, reason = "a function to map errors with")]
    pub(super) fn of(error: Error) -> Self {
        match &error {
            Error::NotFound { .. } => return Self::Missing,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => return Self::Denied,
            _ => {}
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<HttpError>() {
                return match error.kind() {
                    HttpErrorKind::Decode | HttpErrorKind::Unknown => {
                        Self::Answer("one that isn't understood".to_owned())
                    }
                    _ => Self::Unreachable,
                };
            }
            cause = error.source();
        }
        let text = error.to_string();
        // Errors of listings have no kind of their own.
        match status_in(&text) {
            Some("404") => return Self::Missing,
            Some("401" | "403") => return Self::Denied,
            _ => {}
        }
        Self::Answer(code_in(&text).or_else(|| status_in(&text)).unwrap_or("unknown").to_owned())
    }
}

/// Turns "no such object" into `None`.
pub(super) fn unless_missing<T>(result: Result<T, Error>) -> Result<Option<T>, S3Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(S3Failure::of(error)),
    }
}

/// The code of an error in S3's XML.
pub(super) fn code_in(text: &str) -> Option<&str> {
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    code.chars().all(|character| character.is_ascii_alphanumeric()).then_some(code)
}

fn status_in(text: &str) -> Option<&str> {
    let status = text.split_once("status code: ")?.1.get(..3)?;
    status.bytes().all(|digit| digit.is_ascii_digit()).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_kind_it_is_and_nothing_of_its_text() {
        let of =
            |source: &str| S3Failure::of(Error::Generic { store: "S3", source: source.into() }).to_string();
        let xml = "<Error><Code>SlowDown</Code><AWSAccessKeyId>AKIAX</AWSAccessKeyId></Error>";
        assert_eq!(of(xml), "the S3 store answers with an error: SlowDown");
        assert_eq!(of("PUT http://h/k status code: 507: no"), "the S3 store answers with an error: 507");
        assert_eq!(of("status code: 404: <Code>NoSuchBucket</Code>"), S3Failure::Missing.to_string());
        assert_eq!(of("<Code>a b</Code> http://h/k"), "the S3 store answers with an error: unknown");
    }
}
