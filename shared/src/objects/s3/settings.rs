//! The address and the `AWS_*` settings of an S3 store.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{ClientConfigKey, ClientOptions, RetryConfig};
use url::Url;

use super::client::Connector;
use crate::objects::ObjectsError;

/// Longest request. A part of an upload, 8 MiB, takes as long at half a megabit a second.
const REQUEST_TIMEOUT: &str = "120s";

/// Retries within one attempt at a recording. Few, since the attempt holds a permit of the worker, whose own backoff
/// spaces the attempts.
const RETRIES_MAX: usize = 3;
/// See [`RETRIES_MAX`].
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bucket and prefix of `s3://bucket/prefix`.
pub(super) fn parts(url: &Url) -> Option<(&str, Path)> {
    let bucket = url.host_str()?;
    let has_more = url.query().is_some() || url.fragment().is_some() || url.port().is_some();
    let signs_in = !url.username().is_empty() || url.password().is_some();
    let prefix = url.path().trim_matches('/');
    // These need no encoding anywhere, so that a location is the same text in every tool.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if bucket.is_empty() || has_more || signs_in || !prefix.bytes().all(is_plain) {
        return None;
    }
    Some((bucket, Path::parse(prefix).ok()?))
}

/// The store, and an HTTP client for the requests that it has no function for.
pub(super) fn store(bucket: &str, aws: &[(String, String)]) -> Result<(AmazonS3, HttpClient), ObjectsError> {
    let (builder, is_plain) = builder(aws)?;
    let unusable = |_error| {
        ObjectsError::Setting("one of the AWS_* variables can't be used (README.md names the usual ones)")
    };
    let client = Connector.connect(&ClientOptions::new().with_allow_http(is_plain)).map_err(unusable)?;
    // After the settings, so that none of them leads elsewhere.
    let builder = builder.with_bucket_name(bucket).with_allow_http(is_plain).with_http_connector(Connector);
    Ok((builder.build().map_err(unusable)?, client))
}

/// The settings; and whether the store is reached without TLS, as an `http://` endpoint says.
fn builder(aws: &[(String, String)]) -> Result<(AmazonS3Builder, bool), ObjectsError> {
    let retry =
        RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = AmazonS3Builder::new().with_retry(retry).with_config(timeout, REQUEST_TIMEOUT);
    // An empty variable counts as absent.
    for (name, value) in aws.iter().filter(|(_, value)| !value.is_empty()) {
        // The other variables are for other programs.
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    let of = |key| builder.get_config_value(&key);
    let endpoint = of(AmazonS3ConfigKey::S3Endpoint).or_else(|| of(AmazonS3ConfigKey::Endpoint));
    let is_plain = match endpoint {
        Some(endpoint) => is_plain(&endpoint)?,
        None => false,
    };
    if of(AmazonS3ConfigKey::AccessKeyId).is_some() != of(AmazonS3ConfigKey::SecretAccessKey).is_some() {
        return Err(ObjectsError::Setting(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: there must be both of them, or neither",
        ));
    }
    Ok((builder, is_plain))
}

/// Tells whether this endpoint is `http://`.
fn is_plain(endpoint: &str) -> Result<bool, ObjectsError> {
    let url = Url::parse(endpoint).ok().filter(Url::has_host);
    let scheme = url.as_ref().map(Url::scheme);
    match scheme {
        Some("http") => Ok(true),
        Some("https") => Ok(false),
        _ => Err(ObjectsError::Setting("AWS_ENDPOINT must be http://host:port or https://host:port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(aws: &[(&str, &str)]) -> Vec<(String, String)> {
        aws.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_endpoint_may_do_without_tls_when_it_says_so() {
        let is_plain = |aws: &[_]| builder(&named(aws)).unwrap().1;
        assert!(!is_plain(&[]));
        assert!(is_plain(&[("AWS_ENDPOINT", "http://127.0.0.1:9000")]));
        assert!(!is_plain(&[("AWS_ENDPOINT_URL", "https://s3.example.com")]));
        assert!(!is_plain(&[("AWS_ENDPOINT", ""), ("AWS_SDK_LOAD_CONFIG", "1")]));
    }

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let refused = |name, value| store("bucket", &named(&[(name, value)])).unwrap_err().to_string();
        assert!(refused("AWS_ENDPOINT", "127.0.0.1:9000").contains("AWS_ENDPOINT"));
        assert!(refused("AWS_ACCESS_KEY_ID", "k").contains("AWS_SECRET_ACCESS_KEY"));
        assert!(refused("AWS_SKIP_SIGNATURE", "perhaps").contains("AWS_*"));
        assert!(refused("AWS_CONNECT_TIMEOUT", "soon").contains("AWS_*"));
    }

    #[test]
    fn a_url_has_a_bucket_and_perhaps_a_prefix() {
        let in_parts = |url| {
            let url = Url::parse(url).unwrap();
            parts(&url).map(|(bucket, prefix)| (bucket.to_owned(), prefix.to_string()))
        };
        let some = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(in_parts("s3://b"), some("b", ""));
        assert_eq!(in_parts("s3://b/"), some("b", ""));
        assert_eq!(in_parts("s3://b.c/calls/eu-1/"), some("b.c", "calls/eu-1"));
        for url in ["s3://b/x?y", "s3://b:9000/x", "s3://k:s@b/x", "s3://b/a//b", "s3://b/%20"] {
            assert_eq!(in_parts(url), None, "{url}");
        }
    }
}
