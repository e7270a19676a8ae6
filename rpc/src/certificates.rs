//! Makes the certificates of a cluster: `basalt cert ca`, `node` and `client`.
//!
//! The authority's name is fixed, so its certificate follows from its key, and signing needs `ca.key` and nothing else; what
//! was signed is then checked against `ca.crt`.

use std::{path::Path, time::Duration};

use basalt_base::NodeId;
use basalt_env::Clock;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};

use crate::{certs_dir, security::NODE_NAME};

const AUTHORITY_NAME: &str = "Basalt authority";
const AUTHORITY_YEARS: i32 = 10;
const CERTIFICATE_YEARS: i32 = 5;
/// Clocks differ, and a new certificate should be valid everywhere.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// Makes `ca.crt` and `ca.key` in `folder`.
pub fn create_authority(folder: &Path, clock: &dyn Clock) -> Result<(), String> {
    let key = new_key()?;
    let certificate = authority(&key, clock)?;
    let files = [("ca.crt", certificate.pem()), ("ca.key", key.serialize_pem())];
    write(folder, &files)
}

/// Makes `node.crt` and `node.key`, signed by the authority in `folder`. `hosts` are the names and addresses by which SQL
/// clients know the node; `node_id`, if given, binds the certificate to it.
pub fn create_node(
    folder: &Path,
    hosts: &[String],
    node_id: Option<NodeId>,
    clock: &dyn Clock,
) -> Result<(), String> {
    let mut names = vec![NODE_NAME.to_owned()];
    names.extend(node_id.map(|id| format!("n{id}.{NODE_NAME}")));
    for host in hosts {
        if host.to_ascii_lowercase().ends_with(NODE_NAME) {
            return Err(format!("{host}: names under {NODE_NAME} are given by this command alone"));
        }
        names.push(host.clone());
    }
    let mut params = parameters("node", names, CERTIFICATE_YEARS, clock)?;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let (certificate, key) = sign(folder, params, clock)?;
    write(folder, &[("node.crt", certificate.pem()), ("node.key", key.serialize_pem())])
}

/// Makes `client.<user>.crt` and `client.<user>.key`, signed by the authority in `folder`.
pub fn create_client(folder: &Path, user: &str, clock: &dyn Clock) -> Result<(), String> {
    let is_plain = |character: char| character.is_alphanumeric() || "_-$".contains(character);
    if user.is_empty() || user.len() > 63 || !user.chars().all(is_plain) {
        return Err(format!("\"{user}\" cannot be the name of a file: letters, digits, _, - and $ can"));
    }
    let mut params = parameters(user, Vec::new(), CERTIFICATE_YEARS, clock)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (certificate, key) = sign(folder, params, clock)?;
    let (crt, pem) = (format!("client.{user}.crt"), format!("client.{user}.key"));
    write(folder, &[(&crt, certificate.pem()), (&pem, key.serialize_pem())])
}

fn write(folder: &Path, files: &[(&str, String)]) -> Result<(), String> {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    certs_dir::write_new(folder, &files)
}

fn new_key() -> Result<KeyPair, String> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| format!("no key could be made: {error}"))
}

fn authority(key: &KeyPair, clock: &dyn Clock) -> Result<Certificate, String> {
    let mut params = parameters(AUTHORITY_NAME, Vec::new(), AUTHORITY_YEARS, clock)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key).map_err(|error| format!("the authority's certificate: {error}"))
}

fn sign(
    folder: &Path,
    params: CertificateParams,
    clock: &dyn Clock,
) -> Result<(Certificate, KeyPair), String> {
    let path = folder.join("ca.key");
    let tell = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = String::from_utf8(certs_dir::read_key(&path)?).map_err(|error| tell(&error))?;
    let authority_key = KeyPair::from_pem(&text).map_err(|error| tell(&error))?;
    let issuer = authority(&authority_key, clock)?;
    let key = new_key()?;
    let certificate = params.signed_by(&key, &issuer, &authority_key).map_err(|error| tell(&error))?;
    check(folder, &certificate, clock)?;
    Ok((certificate, key))
}

/// `ca.key` may belong to another `ca.crt`.
fn check(folder: &Path, certificate: &Certificate, clock: &dyn Clock) -> Result<(), String> {
    let path = folder.join("ca.crt");
    let tell = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let authority = CertificateDer::from_pem_slice(&certs_dir::read(&path)?).map_err(|error| tell(&error))?;
    let anchor = webpki::anchor_from_trusted_cert(&authority).map_err(|error| tell(&error))?;
    let leaf = webpki::EndEntityCert::try_from(certificate.der()).map_err(|error| tell(&error))?;
    let now = u64::try_from(clock.wall_micros()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_micros(now));
    let usage = webpki::KeyUsage::client_auth();
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[anchor], &[], now, usage, None, None)
        .map(|_| ())
        .map_err(|error| format!("{} does not belong to ca.key beside it: {error}", path.display()))
}

fn parameters(
    name: &str,
    names: Vec<String>,
    years: i32,
    clock: &dyn Clock,
) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(names).map_err(|error| format!("certificate: {error}"))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let seconds = clock.wall_micros().div_euclid(1_000_000) - BACKDATED.as_secs().cast_signed();
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    params.not_before = date_time_ymd(year, month, day);
    // The 29th of February has no anniversary in most years.
    params.not_after = date_time_ymd(year + years, month, day.min(28));
    Ok(params)
}

/// Year, month and day of a day counted from the first of January 1970, after Howard Hinnant's method: years that begin in
/// March end with the odd day.
fn civil_date(days: i64) -> (i32, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |value: i64| u8::try_from(value).expect("months and days are small");
    (i32::try_from(year).unwrap_or(i32::MAX), small(month), small(day))
}

#[cfg(test)]
mod tests {
    use super::civil_date;

    #[test]
    fn days_become_dates() {
        let dates = [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ];
        for (days, date) in dates {
            assert_eq!(civil_date(days), date, "day {days}");
        }
    }
}
