//! Digest by the examples of its RFCs, and by what hostile hosts ask.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

fn wanted(url: &str) -> Wanted {
    Wanted { url: Url::parse(url).unwrap(), client: "test".to_owned() }
}

fn challenges(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect()
}

/// The parameters of `Digest name="value", …`.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let parameters = header.strip_prefix("Digest ")?.split(", ");
    let mut found = parameters.filter_map(|parameter| parameter.split_once('='));
    found.find(|(found, _)| *found == name).map(|(_, value)| value.trim_matches('"'))
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Signs a GET of this URL in after these challenges.
fn answered(url: &str, values: &[&str]) -> Option<String> {
    let (wanted, credentials) = (wanted(url), Credentials::default());
    let mut signer = Signer::new(&wanted, &credentials);
    signer.is_challenged(&wanted.url, &challenges(values)).then(|| {
        let header = signer.authorization(&wanted.url).unwrap().unwrap();
        assert!(header.is_sensitive());
        header.to_str().unwrap().to_owned()
    })
}

#[test]
fn sha_256_is_computed_as_the_rfc_says() {
    let url = "http://Mufasa:Circle%20of%20Life@www.example.org/dir/index.html?x=1";
    let challenge = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
    let header = answered(url, &[challenge]).unwrap();
    let told = |name| parameter(&header, name).unwrap();
    assert_eq!(
        (told("username"), told("uri"), told("algorithm")),
        ("Mufasa", "/dir/index.html?x=1", "SHA-256")
    );
    assert_eq!((told("qop"), told("opaque")), ("auth", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"));
    let (first, second) =
        (sha256("Mufasa:http-auth@example.org:Circle of Life"), sha256("GET:/dir/index.html?x=1"));
    let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let response = sha256(&format!("{first}:{nonce}:{}:{}:auth:{second}", told("nc"), told("cnonce")));
    assert_eq!(told("response"), response);
    assert!(!header.contains("Circle"));
}

#[test]
fn a_host_without_qop_gets_what_rfc_2069_says() {
    // By md5sum: HA1 of Mufasa:testrealm@host.com:CircleOfLife, HA2 of GET:/dir/index.html, then HA1:nonce:HA2.
    let url = "http://Mufasa:CircleOfLife@www.example.org/dir/index.html";
    let challenge = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let header = answered(url, &[challenge]).unwrap();
    assert_eq!(parameter(&header, "response"), Some("1949323746fe6a43ef61f9606e7febea"));
    assert_eq!((parameter(&header, "qop"), parameter(&header, "nc")), (None, None));
}

#[test]
fn the_challenge_that_can_be_answered_is() {
    let url = "http://u:p@h.example/x";
    let md5 = r#"Digest realm="r", nonce="n", qop="auth", algorithm=MD5"#;
    let sha = r#"Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256"#;
    let own = r#"Digest realm="r", nonce="n", qop="auth", algorithm=WHIRLPOOL"#;
    let whole = r#"Digest realm="r", nonce="n", qop="auth-int""#;
    for (values, algorithm) in [
        (&[md5][..], Some("MD5")),
        (&[sha, md5], Some("SHA-256")),
        (&[r#"Basic realm="r""#, md5], Some("MD5")),
        (&["Negotiate", "NTLM", md5], Some("MD5")),
        (&[own, md5], Some("MD5")),
        (&[whole], Some("MD5")),
        (&[&format!(r#"Basic realm="r", {sha}"#)], Some("SHA-256")),
        (&[r#"Basic realm="r""#], None),
        (&[own], None),
        (&["Digest"], None),
        (&[r#"Digest realm="r""#], None),
        (&["Bearer"], None),
        (&[], None),
    ] {
        let header = answered(url, values);
        assert_eq!(header.is_some(), algorithm.is_some(), "{values:?}");
        if let Some(header) = header {
            let told = parameter(&header, "algorithm").unwrap_or("MD5");
            assert_eq!(Some(told), algorithm, "{values:?}");
        }
    }
    assert_eq!(answered("http://h.example/x", &[md5]), None, "nothing is known to sign in with");
    assert_eq!(answered("http://%ff:p@h.example/x", &[md5]), None, "the name is not UTF-8");
    let long = format!(r#"Digest realm="{}", nonce="n", qop="auth""#, "r".repeat(CHALLENGES_BYTES_MAX));
    assert_eq!(answered(url, &[&long]), None);
}

#[test]
fn a_challenge_is_answered_at_its_own_origin_alone() {
    let (wanted, credentials) = (wanted("http://u:p@h.example/x"), Credentials::default());
    let mut signer = Signer::new(&wanted, &credentials);
    let headers = challenges(&[r#"Digest realm="r", nonce="n", qop="auth""#]);
    assert!(signer.is_challenged(&wanted.url, &headers));
    let mut scheme = |url: &str| {
        let header = signer.authorization(&Url::parse(url).unwrap()).unwrap();
        header.map(|header| header.to_str().unwrap().split(' ').next().unwrap().to_owned())
    };
    for (url, expected) in [
        ("http://h.example/y", Some("Digest")),
        ("https://h.example/y", Some("Basic")),
        ("https://h.example:8443/y", Some("Basic")),
        ("http://h.example:8080/y", None),
        ("http://other.example/y", None),
        ("https://other.example/y", None),
        ("https://h.example.evil.example/y", None),
        ("https://v:q@other.example/y", Some("Basic")),
    ] {
        assert_eq!(scheme(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn a_password_never_goes_back_from_https_to_http() {
    let (wanted, credentials) = (wanted("https://u:p@h.example/x"), Credentials::default());
    let mut signer = Signer::new(&wanted, &credentials);
    for url in ["http://h.example/x", "http://h.example:443/x", "https://h.example:8443/x"] {
        assert_eq!(signer.authorization(&Url::parse(url).unwrap()).unwrap(), None, "{url}");
    }
}

#[test]
fn a_token_answers_no_challenge() {
    let credentials = Credentials::parse("[\"h.example\"]\nbearer = \"token\"").unwrap();
    let wanted = wanted("https://h.example/x");
    let mut signer = Signer::new(&wanted, &credentials);
    assert!(!signer.is_challenged(&wanted.url, &challenges(&[r#"Digest realm="r", nonce="n", qop="auth""#])));
    assert_eq!(signer.authorization(&wanted.url).unwrap().unwrap(), "Bearer token");
}

proptest! {
    #[test]
    fn no_challenge_makes_the_signer_panic(
        value in "(Digest |)([a-z]{1,9}=(\"[ -~]{0,20}\"|[a-zA-Z0-9-]{0,8})[, ]{0,2}){0,8}[ -~]{0,30}",
    ) {
        drop(answered("http://u:p@h.example/x", &[&value]));
    }
}
