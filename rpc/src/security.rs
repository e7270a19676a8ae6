//! Who may talk to whom: mutual TLS with certificates of the cluster's own authority, or nothing, on loopback.
//!
//! A certificate has a role. That of a node carries the DNS name `node.basalt`, which only the authority can give; a client's
//! never does. So a client's certificate opens no connection between nodes, in either direction. One that also carries
//! `n<ID>.node.basalt` is bound to these node ids; one without speaks for any.

use std::{collections::BTreeSet, fmt, io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use basalt_base::NodeId;
use basalt_env::Clock;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, RootCertStore, ServerConfig,
        client::Resumption,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        server::WebPkiClientVerifier,
        time_provider::TimeProvider,
        version::TLS13,
    },
};

use crate::{RpcError, certs_dir};

/// The DNS name in the certificate of every node.
pub const NODE_NAME: &str = "node.basalt";
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// How nodes recognise each other.
#[derive(Clone)]
pub enum Security {
    /// Anybody on this machine is believed.
    Insecure,
    Certificates(Certificates),
}

#[derive(Clone)]
pub struct Certificates {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// What a certificate says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) is_node: bool,
    /// Empty: any.
    pub(crate) node_ids: BTreeSet<u64>,
}

/// Both ways of a connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}
pub(crate) type Stream = Box<dyn Duplex>;

/// A connection that somebody else opened.
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) holder: Option<Holder>,
    /// One side uses certificates and the other does not: nothing may pass but this reason why the connection ends.
    pub(crate) mismatch: Option<&'static str>,
}

impl Security {
    /// Reads `ca.crt`, `node.crt` and `node.key`.
    pub fn from_certs_dir(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, RpcError> {
        let files = certs_dir::read_node(folder).map_err(RpcError::Certificates)?;
        let wrong = |file: &str, cause: &dyn fmt::Display| RpcError::Certificates(format!("{file}: {cause}"));
        let in_folder = |file: &str| folder.join(file).display().to_string();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&files.authority) {
            let authority = authority.map_err(|cause| wrong(&in_folder("ca.crt"), &cause))?;
            roots.add(authority).map_err(|cause| wrong(&in_folder("ca.crt"), &cause))?;
        }
        let roots = Arc::new(roots);
        let chain = CertificateDer::pem_slice_iter(&files.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|cause| wrong(&in_folder("node.crt"), &cause))?;
        let key = PrivateKeyDer::from_pem_slice(&files.key);
        let key = key.map_err(|cause| wrong(&in_folder("node.key"), &cause))?;
        let own = chain.first().map(Holder::of).unwrap_or_default();
        if !own.is_node {
            let cause = format!("it is not a node's certificate: it lacks the DNS name {NODE_NAME}");
            return Err(wrong(&in_folder("node.crt"), &cause));
        }
        let provider = Arc::new(default_provider());
        let time = Arc::new(EnvTime(clock));
        let folder = folder.display().to_string();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|cause| wrong(&folder, &cause))?;
        let server = ServerConfig::builder_with_details(provider.clone(), time.clone())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|cause| wrong(&folder, &cause))?;
        let mut client = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|cause| wrong(&folder, &cause))?;
        // Each connection is judged by its certificates anew.
        client.resumption = Resumption::disabled();
        Ok(Self::Certificates(Certificates {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        }))
    }

    /// Without certificates, nobody outside this machine may take part.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), RpcError> {
        match self {
            Self::Insecure if !address.to_canonical().is_loopback() => {
                Err(RpcError::NotLoopback { address: address.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The dialling side. The other side must hold a node's certificate.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<(Stream, Option<Holder>)> {
        let Self::Certificates(certificates) = self else {
            return Ok((Box::new(stream), None));
        };
        let name = ServerName::try_from(NODE_NAME).expect("it is a DNS name");
        let stream = certificates.connector.connect(name, stream).await?;
        let holder = Holder::of_chain(stream.get_ref().1.peer_certificates());
        Ok((Box::new(stream), Some(holder)))
    }

    /// The accepting side. The role of the other side is for the caller to check, who can say so to it.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let mut first = [0];
        let seen = stream.peek(&mut first).await?;
        let speaks_tls = seen > 0 && first[0] == TLS_HANDSHAKE;
        let mismatch = match self {
            Self::Insecure if speaks_tls => "it uses certificates, and this node was started with --insecure",
            Self::Insecure => return Ok(Accepted { stream: Box::new(stream), holder: None, mismatch: None }),
            Self::Certificates(certificates) if speaks_tls => {
                let stream = certificates.acceptor.accept(stream).await?;
                let holder = Holder::of_chain(stream.get_ref().1.peer_certificates());
                return Ok(Accepted { stream: Box::new(stream), holder: Some(holder), mismatch: None });
            }
            Self::Certificates(_) => "this cluster demands certificates, and the connection is not encrypted",
        };
        Ok(Accepted { stream: Box::new(stream), holder: None, mismatch: Some(mismatch) })
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insecure => "Insecure",
            Self::Certificates(_) => "Certificates",
        })
    }
}

impl Holder {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
            return Self::default();
        };
        let mut holder = Self::default();
        for name in certificate.valid_dns_names() {
            if name == NODE_NAME {
                holder.is_node = true;
            } else if let Some(id) = name.strip_suffix(NODE_NAME).and_then(|name| name.strip_suffix('.')) {
                holder.node_ids.extend(id.strip_prefix('n').and_then(|id| id.parse::<u64>().ok()));
            }
        }
        holder
    }

    fn of_chain(chain: Option<&[CertificateDer<'_>]>) -> Self {
        chain.and_then(<[_]>::first).map(Self::of).unwrap_or_default()
    }

    pub(crate) fn may_be(&self, node: NodeId) -> bool {
        self.node_ids.is_empty() || self.node_ids.contains(&node.0)
    }
}

/// Certificates expire by the clock that everything else goes by.
struct EnvTime(Arc<dyn Clock>);

impl TimeProvider for EnvTime {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.wall_micros()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

impl fmt::Debug for EnvTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvTime")
    }
}

/// What an error of a TLS stream means to a person, if it is one that says anything of certificates.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let text = match error {
        // All authorities have one name, so that of another cluster shows by its signature.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "its certificate was not signed by this cluster's authority (ca.crt)",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is not a node's",
        rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose) => {
            "its certificate is not a node's"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired",
        rustls::Error::NoCertificatesPresented
        | rustls::Error::AlertReceived(AlertDescription::NoCertificate) => "it sent no certificate",
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it demands a certificate, and none was sent"
        }
        rustls::Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::DecryptError) => {
            "it refused this node's certificate: its authority (ca.crt) is another one"
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "it refused this node's certificate, which has expired"
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown,
        ) => "it refused this node's certificate",
        rustls::Error::InvalidCertificate(_) => {
            return Some(format!("its certificate is not valid: {error}"));
        }
        _ => return None,
    };
    Some(text.to_owned())
}
