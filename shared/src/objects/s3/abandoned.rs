//! Gives up the unfinished uploads of processes that died. Their parts cost money and disk, and no listing of objects
//! shows them.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use http::Method;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use serde::Deserialize;

use super::Bucket;
use super::failure::{S3Failure, code_in, unless_missing};
use crate::objects::ObjectsError;

/// An older upload is abandoned: the largest recording, with all its retries, takes hours at the worst.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Validity of a listing's signed URL, which is used at once.
const LISTING_VALID: Duration = Duration::from_secs(60);

/// Listings read in one sweep, of at most 1,000 uploads each. The next sweep reads on.
const LISTINGS_MAX: usize = 100;

/// The part of S3's answer that is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Uploads {
    #[serde(rename = "Upload")]
    uploads: Vec<Upload>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: DateTime<Utc>,
}

impl Bucket {
    /// Gives up uploads below the prefix that began more than a day before `now`; returns how many there were.
    pub(in crate::objects) async fn abort_abandoned(&self, now: SystemTime) -> Result<usize, ObjectsError> {
        let latest =
            DateTime::<Utc>::from(now.checked_sub(ABANDONED_AFTER).unwrap_or(SystemTime::UNIX_EPOCH));
        let mut aborted = 0;
        let mut after = (String::new(), String::new());
        for _ in 0..LISTINGS_MAX {
            let listing = self.uploads(&after).await?;
            for upload in listing.uploads.into_iter().filter(|upload| upload.initiated < latest) {
                let Ok(path) = Path::parse(&upload.key) else { continue };
                if unless_missing(self.store.abort_multipart(&path, &upload.upload_id).await)?.is_some() {
                    aborted += 1;
                }
            }
            if !listing.is_truncated {
                break;
            }
            after = (listing.next_key_marker, listing.next_upload_id_marker);
        }
        Ok(aborted)
    }

    /// `ListMultipartUploads`, for which `object_store` has no function.
    async fn uploads(&self, after: &(String, String)) -> Result<Uploads, ObjectsError> {
        let prefix = self.base.splitn(4, '/').nth(3).unwrap_or_default();
        let mut query = vec![("uploads", ""), ("prefix", prefix)];
        if !after.0.is_empty() {
            query.extend([("key-marker", after.0.as_str()), ("upload-id-marker", after.1.as_str())]);
        }
        let options = SignedUrlOptions::default().with_query(query);
        let url = self.store.signed_url_opts(Method::GET, &Path::default(), LISTING_VALID, &options).await;
        let url = url.map_err(S3Failure::of)?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(|_error| not_understood())?;
        let response = self.client.execute(request).await.map_err(|_error| S3Failure::Unreachable)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(|_error| S3Failure::Unreachable)?;
        let text = String::from_utf8_lossy(&body);
        match status.as_u16() {
            200..=299 => Ok(quick_xml::de::from_str(&text).map_err(|_error| not_understood())?),
            401 | 403 => Err(S3Failure::Denied.into()),
            404 => Err(S3Failure::Missing.into()),
            _ => Err(S3Failure::Answer(code_in(&text).unwrap_or(status.as_str()).to_owned()).into()),
        }
    }
}

fn not_understood() -> S3Failure {
    S3Failure::Answer("a list of uploads that isn't understood".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_uploads_is_read_as_s3_writes_it() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket>
            <KeyMarker></KeyMarker><NextKeyMarker>k2</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker>
            <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
            <Upload><Key>k1</Key><UploadId>u1</UploadId><Initiator><ID>i</ID></Initiator>
            <StorageClass>STANDARD</StorageClass><Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>
            <Upload><Key>k2</Key><UploadId>u2</UploadId><Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#;
        let read: Uploads = quick_xml::de::from_str(text).unwrap();
        assert_eq!(
            read.uploads.iter().map(|upload| upload.upload_id.as_str()).collect::<Vec<_>>(),
            ["u1", "u2"]
        );
        assert!(read.is_truncated);
        assert_eq!((read.next_key_marker.as_str(), read.next_upload_id_marker.as_str()), ("k2", "u2"));
        let none: Uploads = quick_xml::de::from_str("<ListMultipartUploadsResult/>").unwrap();
        assert!(none.uploads.is_empty() && !none.is_truncated);
    }
}
