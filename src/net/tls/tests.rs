//! Handshakes of a client with an [`Acceptor`] over a pipe, with certificates made here.

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{ClientConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

use super::*;

struct Made {
    cert: String,
    key: String,
}

impl Made {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        Made { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn pem(&self) -> Pem {
        Pem { cert: self.cert.clone(), key: self.key.clone(), client_ca: None }
    }
}

/// A client that trusts a certificate and shows one of its own where it has one.
fn client(trusts: &Made, own: Option<&Made>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let roots = roots_of(trusts.cert.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = certificates(own.cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

type Ours = Result<TlsStream<DuplexStream>, (HandshakeError, DuplexStream)>;

async fn meet(
    acceptor: &Acceptor,
    config: &Arc<ClientConfig>,
) -> (Ours, io::Result<client::TlsStream<DuplexStream>>) {
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(config.clone());
    tokio::join!(acceptor.accept(near), connector.connect("localhost".try_into().unwrap(), far))
}

fn failure(met: Ours) -> TlsFailure {
    met.expect_err("the handshake succeeded").0.reason
}

#[tokio::test]
async fn both_versions_are_spoken_and_told_apart() {
    let made = Made::new();
    let acceptor = Acceptor::new(&made.pem(), MinVersion::V12, &["h2", "http/1.1"]).unwrap();
    for (spoken, expected) in [(&version::TLS12, TlsVersion::V12), (&version::TLS13, TlsVersion::V13)] {
        let mut config = client(&made, None, &[spoken]);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let facts = meet(&acceptor, &Arc::new(config)).await.0.unwrap().facts();
        assert_eq!((facts.version, facts.resumed, facts.client), (expected, false, None));
        assert_eq!((facts.sni.as_deref(), facts.alpn.as_deref()), (Some("localhost"), Some("http/1.1")));
        assert!(facts.cipher_suite.starts_with("TLS_"), "{}", facts.cipher_suite);
    }
}

#[tokio::test]
async fn a_version_older_than_the_oldest_is_refused() {
    let made = Made::new();
    let acceptor = Acceptor::new(&made.pem(), MinVersion::V13, &[]).unwrap();
    let config = Arc::new(client(&made, None, &[&version::TLS12]));
    assert_eq!(failure(meet(&acceptor, &config).await.0), TlsFailure::Protocol);
}

#[tokio::test]
async fn what_began_on_one_connection_is_resumed_on_another_by_a_clone() {
    let made = Made::new();
    let acceptor = Acceptor::new(&made.pem(), MinVersion::V12, &[]).unwrap();
    for spoken in [&version::TLS12, &version::TLS13] {
        let config = Arc::new(client(&made, None, &[spoken]));
        let (ours, theirs) = meet(&acceptor, &config).await;
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        // The tickets of TLS 1.3 come with the first bytes that the client reads.
        ours.write_all(b"hi").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut [0; 2]).await.unwrap();
        assert!(!ours.facts().resumed);
        assert!(meet(&acceptor.clone(), &config).await.0.unwrap().facts().resumed);
    }
}

#[tokio::test]
async fn a_client_shows_a_certificate_of_the_right_root_or_is_refused() {
    let (made, ca_key) = (Made::new(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::default();
    own.distinguished_name = rcgen::DistinguishedName::new();
    own.distinguished_name.push(rcgen::DnType::CommonName, "ada");
    let cert = own.signed_by(&key, &Issuer::new(params, ca_key)).unwrap().pem();
    let ada = Made { cert, key: key.serialize_pem() };

    let pem = Pem { client_ca: Some(ca), ..made.pem() };
    let acceptor = Acceptor::new(&pem, MinVersion::V12, &[]).unwrap();
    let versions = [&version::TLS13];
    let met = meet(&acceptor, &Arc::new(client(&made, Some(&ada), &versions))).await.0.unwrap();
    assert_eq!(met.facts().client.as_deref(), Some("CN=ada"));
    let stranger = Made::new();
    for own in [None, Some(&stranger)] {
        let met = meet(&acceptor, &Arc::new(client(&made, own, &versions))).await.0;
        assert_eq!(failure(met), TlsFailure::BadCertificate);
    }
}

#[tokio::test]
async fn what_is_no_handshake_fails_and_says_why() {
    let made = Made::new();
    let acceptor = Acceptor::new(&made.pem(), MinVersion::V12, &[]).unwrap();
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], TlsFailure::Protocol),
        (&[0x16, 3, 1, 0xff, 0xff, 1], TlsFailure::Protocol),
        (&[0x16, 3, 1], TlsFailure::Eof),
        (b"", TlsFailure::Eof),
    ] {
        let (near, mut far) = duplex(1024);
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(failure(acceptor.accept(near).await), expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn an_orderly_end_is_told_from_a_cut_one() {
    let made = Made::new();
    let acceptor = Acceptor::new(&made.pem(), MinVersion::V12, &[]).unwrap();
    let config = Arc::new(client(&made, None, &[&version::TLS13]));
    for orderly in [true, false] {
        let (ours, theirs) = meet(&acceptor, &config).await;
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        if orderly {
            ours.shutdown().await.unwrap();
        }
        drop(ours);
        let end = theirs.read(&mut [0; 8]).await.map_err(|error| error.kind());
        assert_eq!(end, if orderly { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof) });
    }
}

#[test]
fn what_is_wrong_with_the_texts_is_said_of_the_right_one() {
    let (made, other) = (Made::new(), Made::new());
    let wrong = |pem: Pem| Acceptor::new(&pem, MinVersion::V12, &[]).unwrap_err().to_string();
    let none = "no certificate in PEM format is in it";
    assert_eq!(wrong(Pem { cert: String::new(), ..made.pem() }), format!("the certificate: {none}"));
    assert_eq!(
        wrong(Pem { key: "x".into(), ..made.pem() }),
        "the key: no private key in PEM format is in it"
    );
    let foreign = Pem { key: other.key.clone(), ..made.pem() };
    assert_eq!(wrong(foreign), "the key: it is not the key of the certificate");
    assert_eq!(
        wrong(Pem { client_ca: Some(String::new()), ..made.pem() }),
        format!("the roots of the clients: {none}")
    );
}

#[test]
fn the_time_of_a_certificate_is_read() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let made = Made { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let Validity { from, until } = Acceptor::new(&made.pem(), MinVersion::V12, &[]).unwrap().validity();
    assert_eq!(from, UNIX_EPOCH + Duration::from_secs(1_577_836_800));
    assert_eq!(until.duration_since(from).unwrap(), Duration::from_secs(86_400));
}
