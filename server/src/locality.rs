//! Where a node stands, as people write it: `region=eu,zone=a`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// One tier of a locality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub key: String,
    pub value: String,
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err(format!("\"{text}\" is not a tier: write it as region=eu")),
        }
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Each tier at most once.
pub fn check(tiers: &[Tier]) -> Result<(), String> {
    for (position, tier) in tiers.iter().enumerate() {
        if tiers[..position].iter().any(|earlier| earlier.key == tier.key) {
            return Err(format!("the locality names the tier {} twice", tier.key));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_a_key_and_a_value() {
        let tier: Tier = "region=eu".parse().unwrap();
        assert_eq!((tier.key.as_str(), tier.value.as_str()), ("region", "eu"));
        for wrong in ["", "region", "=eu", "region=", "a=b=c"] {
            assert!(wrong.parse::<Tier>().is_err(), "{wrong}");
        }
        assert!(check(&["a=b".parse().unwrap(), "a=c".parse().unwrap()]).is_err());
    }
}
