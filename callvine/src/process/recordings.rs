//! Where a process keeps recordings.

use std::path::Path;

use anyhow::Context;
use callvine_shared::objects::Address;
use url::Url;

use crate::args::RecordingsLocation;
use crate::failure::Failure;

/// Below the data directory: where recordings are kept by default.
const RECORDINGS: &str = "recordings";

/// Below the data directory: where recordings are fetched to, before they are put into a bucket.
const STAGING: &str = "staging";

/// The location that the settings name, or else the one below the data directory. An empty variable counts as absent.
pub(crate) fn recordings(location: &RecordingsLocation, data_dir: &Path) -> Result<Address, Failure> {
    let url = match location.recordings_url.as_deref() {
        Some(url) if !url.is_empty() => url.to_owned(),
        _ => {
            let directory = std::path::absolute(data_dir.join(RECORDINGS))
                .with_context(|| format!("{} (CALLVINE_DATA_DIR) can't be used", data_dir.display()))?;
            Url::from_file_path(&directory)
                .map_err(|()| Failure::Setting("--data-dir (CALLVINE_DATA_DIR) can't be used".to_owned()))?
                .into()
        }
    };
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let aws: Vec<(String, String)> = variables
        .filter(|(name, _)| name.starts_with("AWS_"))
        .filter_map(|(name, value)| Some((name, value.into_string().ok()?)))
        .collect();
    Address::parse(&url, data_dir.join(STAGING), &aws).map_err(Failure::of_setting)
}
