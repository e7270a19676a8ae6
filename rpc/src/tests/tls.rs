#![expect(clippy::disallowed_methods, reason = "the folder of certificates lies outside of a store")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use super::*;
use crate::certificates::{create_authority, create_client, create_node};

fn authority() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    create_authority(folder.path(), &*os_env("").clock).unwrap();
    folder
}

/// A folder as a node has it, signed by `authority`.
fn certs(authority: &Path, node_id: Option<u64>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["ca.crt", "ca.key"] {
        fs::copy(authority.join(file), folder.path().join(file)).unwrap();
    }
    create_node(
        folder.path(),
        &["localhost".into(), "127.0.0.1".into()],
        node_id.map(NodeId),
        &*os_env("").clock,
    )
    .unwrap();
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    folder
}

fn security(authority: &TempDir, node_id: Option<u64>) -> Security {
    let folder = certs(authority.path(), node_id);
    Security::from_certs_dir(folder.path(), os_env("").clock).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_certificates_talk() {
    let authority = authority();
    let seats = vec![Seat::with(1, security(&authority, Some(1))), Seat::with(2, security(&authority, None))];
    let nodes = start_all(seats).await;
    let large = Bytes::from(vec![7; 3 << 20]);
    for (from, to) in [(0, 1), (1, 0)] {
        for class in Class::ALL {
            assert!(nodes[from].wire.send(nodes[to].node_id, class, large.clone()));
            assert_eq!(
                nodes[to].inbox.wait(nodes[from].node_id, class, 1).await,
                std::slice::from_ref(&large)
            );
        }
    }
}

/// Neither side lets a message pass; each says something of what it saw.
async fn fails(first: Security, second: Security, at_first: &str, at_second: &str) {
    let nodes = start_all(vec![Seat::with(1, first), Seat::with(2, second)]).await;
    // Only the first one calls.
    nodes[0].wire.send(NodeId(2), Class::Batch, Bytes::from_static(b"secret"));
    for (node, text) in [(&nodes[0], at_first), (&nodes[1], at_second)] {
        node.must_complain(text).await;
    }
    assert!(nodes.iter().all(|node| node.inbox.got.lock().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_is_refused() {
    let (first, second) = (authority(), authority());
    let text = "its certificate was not signed by this cluster's authority";
    fails(security(&first, None), security(&second, None), text, "its authority (ca.crt) is another one")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_another_node_is_refused() {
    let authority = authority();
    let text = "its certificate is that of node 7, not of node 1";
    fails(security(&authority, Some(7)), security(&authority, Some(2)), text, text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_and_without_certificates_do_not_mix() {
    let authority = authority();
    let text = "this cluster demands certificates, and the connection is not encrypted";
    fails(Security::Insecure, security(&authority, None), text, text).await;
    let (at_first, at_second) = ("it does not speak TLS", "started with --insecure");
    fails(security(&authority, None), Security::Insecure, at_first, at_second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_needs_the_same_authority() {
    let (own, other) = (authority(), authority());
    let unsigned = "this cluster demands certificates, and the connection is not encrypted";
    let cases = [
        // The joiner does not trust the node, and says so itself.
        (
            security(&own, None),
            security(&other, None),
            "was not signed by",
            "its authority (ca.crt) is another one",
        ),
        (security(&own, None), Security::Insecure, unsigned, unsigned),
        (Security::Insecure, security(&own, None), "it does not speak TLS", "started with --insecure"),
    ];
    for (of_node, of_joiner, at_joiner, at_node) in cases {
        let node = Seat::with(1, of_node).start(&[]).await;
        let seat = Seat::with(9, of_joiner);
        let (options, local, addresses) = (quick(), seat.local(), [node.address.clone()]);
        let joining = crate::join(&seat.env, &seat.security, &options, &addresses, 1, &local, usize::MAX);
        let error = in_time("an answer", joining).await.unwrap_err().to_string();
        assert!(error.contains(at_joiner), "{error}");
        node.must_complain(at_node).await;
    }
}

/// Connects as a rustls client of our own making; what the node answers.
async fn call(
    address: &str,
    authority: &Path,
    certificate: Option<(&str, &str)>,
) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.join("ca.crt")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(authority.join(certificate)).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(authority.join(key)).unwrap())
                .unwrap()
        }
    };
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from(crate::NODE_NAME).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let identity = crate::handshake::Identity {
        cluster_id: CLUSTER,
        node_id: NodeId(2),
        offset_max: OFFSET_MAX,
        replicas_wanted: 0,
        protocol: crate::PROTOCOL,
    };
    let mut bytes = bytes::BytesMut::from(&crate::handshake::MAGIC[..]);
    crate::frame::put_frame(&mut bytes, &identity.hello("x:1", crate::message::PURPOSE_MESSAGES));
    stream.write_all(&bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_certificate_of_a_node_opens_the_door() {
    let authority = authority();
    let node = Seat::with(1, security(&authority, None)).start(&[]).await;
    create_client(authority.path(), "ann", &*os_env("").clock).unwrap();

    assert!(in_time("the end", call(&node.address, authority.path(), None)).await.is_err());
    node.must_complain("it sent no certificate").await;

    let client = Some(("client.ann.crt", "client.ann.key"));
    let answer = in_time("an answer", call(&node.address, authority.path(), client)).await.unwrap();
    let text = "its certificate is not a node's";
    assert!(String::from_utf8_lossy(&answer).contains(text), "{}", answer.escape_ascii());
    node.must_complain(text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_client_makes_no_server() {
    let authority = authority();
    create_client(authority.path(), "ann", &*os_env("").clock).unwrap();
    for (from, to) in [("client.ann.crt", "node.crt"), ("client.ann.key", "node.key")] {
        fs::copy(authority.path().join(from), authority.path().join(to)).unwrap();
    }
    let error = Security::from_certs_dir(authority.path(), os_env("").clock).unwrap_err().to_string();
    assert!(error.contains("node.crt: it is not a node's certificate"), "{error}");
}

#[tokio::test]
async fn folders_that_are_not_in_order_are_refused() {
    let authority = authority();
    let folder = certs(authority.path(), None);
    let clock = os_env("").clock;
    let load = || {
        Security::from_certs_dir(folder.path(), clock.clone()).map(|_| ()).map_err(|error| error.to_string())
    };
    load().unwrap();
    let key = folder.path().join("node.key");
    for mode in [0o644, 0o640, 0o604, 0o700] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = load().unwrap_err();
        assert!(error.contains(&format!("(mode {mode:04o})")) && error.contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    load().unwrap();
    fs::remove_file(&key).unwrap();
    assert!(load().unwrap_err().contains("node.key"), "absent");
    fs::write(folder.path().join("ca.crt"), "no certificate").unwrap();
    assert!(load().is_err());
}

#[tokio::test]
async fn certificates_are_made_with_care() {
    let clock = os_env("").clock;
    let folder = authority();
    let mode = |file: &str| fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("ca.crt")), (0o600, 0o644));
    assert!(create_authority(folder.path(), &*clock).unwrap_err().contains("exists already"));
    for user in ["", "a/b", "../x", "a b"] {
        assert!(create_client(folder.path(), user, &*clock).is_err(), "{user}");
    }
    let error = create_node(folder.path(), &["n1.node.basalt".into()], None, &*clock).unwrap_err();
    assert!(error.contains("given by this command alone"), "{error}");
    // The key of one authority, the certificate of another.
    fs::copy(authority().path().join("ca.crt"), folder.path().join("ca.crt")).unwrap();
    let error = create_client(folder.path(), "ann", &*clock).unwrap_err();
    assert!(error.contains("does not belong to ca.key"), "{error}");
}
