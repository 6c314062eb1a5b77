//! Which credentials go to which host, and which files are refused.

use super::*;

fn told(credentials: &Credentials, url: &str, client: &str) -> Option<String> {
    credentials.of(&Url::parse(url).unwrap(), client).map(|credential| match credential {
        Credential::Basic { user, password } => format!("{user}:{}", password.expose_secret()),
        Credential::Bearer(token) => token.expose_secret().to_owned(),
    })
}

#[test]
fn each_host_is_told_its_own() {
    let text = r#"
        ["PBX.example.com"]
        insecure = true
        user = "callvine"
        password = "secret"
        ["files.example.com:8443"]
        bearer = "token"
        ["files.example.com"]
        bearer = "other"
        ["web.example.com:80"]
        bearer = "plain"
        insecure = true
        ["[2001:DB8::1]"]
        bearer = "six"
        insecure = true
    "#;
    let credentials = Credentials::parse(text).unwrap();
    for (url, expected) in [
        ("http://pbx.example.com/x", Some("callvine:secret")),
        ("https://pbx.example.com:9/x", Some("callvine:secret")),
        ("https://files.example.com:8443/x", Some("token")),
        ("https://files.example.com/x", Some("other")),
        ("http://web.example.com/x", Some("plain")),
        ("https://web.example.com/x", None),
        ("http://[2001:db8:0::1]:5/x", Some("six")),
        ("http://example.com/", None),
        ("http://evil.pbx.example.com/", None),
        ("http://pbx.example.com.evil.example/", None),
    ] {
        assert_eq!(told(&credentials, url, "acme").as_deref(), expected, "{url}");
    }
}

#[test]
fn an_entry_is_for_tls_and_for_one_client_where_it_says_so() {
    let text = r#"
        ["both.example.com"]
        bearer = "everybody's"
        ["both.example.com:8443"]
        bearer = "acme's"
        client = "acme"
        ["plain.example.com"]
        bearer = "plain"
        insecure = true
        client = "acme"
        ["careful.example.com"]
        bearer = "careful"
        insecure = false
    "#;
    let credentials = Credentials::parse(text).unwrap();
    for (url, client, expected) in [
        ("https://both.example.com/", "acme", Some("everybody's")),
        ("https://both.example.com/", "other", Some("everybody's")),
        ("http://both.example.com/", "acme", None),
        ("https://both.example.com:8443/", "acme", Some("acme's")),
        ("https://both.example.com:8443/", "other", Some("everybody's")),
        ("http://both.example.com:8443/", "acme", None),
        ("http://plain.example.com/", "acme", Some("plain")),
        ("https://plain.example.com/", "acme", Some("plain")),
        ("http://plain.example.com/", "Acme", None),
        ("https://plain.example.com/", "", None),
        ("https://careful.example.com/", "acme", Some("careful")),
        ("http://careful.example.com/", "acme", None),
    ] {
        assert_eq!(told(&credentials, url, client).as_deref(), expected, "{url} {client}");
    }
}

#[test]
fn wrong_files_are_refused_without_quoting_them() {
    for text in [
        "[\"a.example\"]\nuser = \"hunter2\"",
        "[\"a.example\"]\npassword = \"hunter2\"",
        "[\"a.example\"]\nuser = 1\npassword = \"hunter2\"",
        "[\"a.example\"]\nbearer = 12345678",
        "[\"a.example\"]\nbearer = \"hunter2\"\nuser = \"u\"",
        "[\"a.example\"]\nbearer = \"hunter2\"\nextra = 1",
        "[\"a.example\"]\nbearer = \"hunter2\"\ninsecure = \"true\"",
        "[\"a.example\"]\nbearer = \"hunter2\"\nclient = 1",
        "[\"a.example\"]\nbearer = \"hunter2\"\nclient = \"\"",
        "[\"a.example\"]\nclient = \"hunter2\"\ninsecure = true",
        "bearer = \"hunter2\"",
        "[\"http://a.example/\"]\nbearer = \"hunter2\"",
        "[\"a.example/x\"]\nbearer = \"hunter2\"",
        "[\"u@a.example\"]\nbearer = \"hunter2\"",
        "[\"a.example:99999\"]\nbearer = \"hunter2\"",
        "[\"\"]\nbearer = \"hunter2\"",
        "[\"a.example\"]\nbearer = \"hunter2\"\n[\"A.EXAMPLE\"]\nbearer = \"hunter2\"",
    ] {
        let error = Credentials::parse(text).expect_err(text).to_string();
        assert!(!error.contains("hunter2") && !error.contains("12345678"), "{text}: {error}");
    }
    let error = Credentials::parse("[\"a.example\"]\n\nbearer = hunter2\n").unwrap_err();
    assert_eq!(error.to_string(), "line 3 is not TOML");
}

#[test]
fn debug_output_hides_secrets() {
    let credentials = Credentials::parse("[\"a.example\"]\nbearer = \"hunter2\"").unwrap();
    assert!(!format!("{credentials:?}").contains("hunter2"));
}
