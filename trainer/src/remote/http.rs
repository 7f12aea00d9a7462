//! The HTTP client underneath, and its errors in our words.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::config::ServerConfig;
use super::error::CallError;

/// An agent for the server at `url` with the configured time-outs and authorities. It follows no redirect: a request holds
/// the key.
///
/// # Errors
/// An unreadable certificate.
pub fn agent(config: &ServerConfig, url: &str) -> Result<Agent> {
    let seconds = |value: f64| Some(Duration::from_secs_f64(value));
    let mut builder = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("retort-train/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(seconds(config.connect_seconds_max))
        .timeout_per_read(seconds(config.silence_seconds_max))
        .timeout_global(seconds(config.request_seconds_max))
        .max_idle_connections_per_host(config.concurrent_max);
    if is_loopback(url) {
        builder = builder.proxy(None);
    }
    if let Some(path) = &config.certificate {
        let pem = std::fs::read(path)
            .with_context(|| format!("teacher.certificate {} cannot be read", path.display()))?;
        let certificates = certificates(&pem).filter(|found| !found.is_empty());
        let certificates = certificates.with_context(|| {
            format!("teacher.certificate {} holds no certificate in PEM form", path.display())
        })?;
        let roots = RootCerts::from(certificates);
        builder = builder.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(builder.build().into())
}

fn certificates(pem: &[u8]) -> Option<Vec<Certificate<'static>>> {
    parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Some(certificate)),
            Ok(_) => None,
            Err(_) => Some(None),
        })
        .collect()
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|loopback| host.starts_with(loopback))
}

/// Why nothing was answered.
pub fn failure(error: ureq::Error) -> CallError {
    match error {
        ureq::Error::Timeout(which) => CallError::TimedOut(which.to_string()),
        // rustls reports a certificate it does not trust, and what is no TLS, in this form.
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            CallError::Untrusted(error.to_string())
        }
        ureq::Error::Io(error) => broken(&error),
        ureq::Error::Rustls(error) => CallError::Untrusted(error.to_string()),
        ureq::Error::Tls(reason) => CallError::Untrusted(reason.to_owned()),
        ureq::Error::Protocol(error) => CallError::Garbage(error.to_string()),
        other => CallError::Unreachable(other.to_string()),
    }
}

/// Why an answer broke off.
pub fn broken(error: &std::io::Error) -> CallError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => CallError::TimedOut(error.to_string()),
        ErrorKind::ConnectionRefused | ErrorKind::AddrNotAvailable => {
            CallError::Unreachable(error.to_string())
        }
        ErrorKind::InvalidData => CallError::Garbage(error.to_string()),
        _ => CallError::Broken(error.to_string()),
    }
}
