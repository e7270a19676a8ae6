//! What nodes say of themselves and of each other.

use std::collections::BTreeSet;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::member::Member;
use crate::chaos::Outcome;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub id: i64,
    pub replicas: Vec<i64>,
    pub leaseholder: Option<i64>,
}

/// Rows as text, without preparing anything.
pub async fn rows(client: &Client, query: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let messages = client.simple_query(query).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

pub fn number(field: Option<&String>) -> Option<i64> {
    field?.parse().ok()
}

pub async fn own_id(member: &Member) -> Outcome<i64> {
    let client = member.connect().await?;
    let rows = rows(&client, "select node_id from basalt_nodes where is_local").await?;
    rows.first().and_then(|row| number(row[0].as_ref())).ok_or_else(|| "a node does not know itself".into())
}

/// The ids of those that answer, this one included, as a node sees them.
pub async fn nodes_alive(member: &Member) -> Outcome<BTreeSet<i64>> {
    let client = member.connect().await?;
    let query = "select node_id from basalt_nodes where status <> 'down' and status <> 'decommissioned'";
    Ok(rows(&client, query).await?.iter().filter_map(|row| number(row[0].as_ref())).collect())
}

pub async fn ranges(member: &Member) -> Outcome<Vec<Range>> {
    let client = member.connect().await?;
    let rows = rows(&client, "select range_id, replicas, leaseholder from basalt_ranges").await?;
    rows.iter().map(|row| range(row).ok_or_else(|| format!("not a range: {row:?}").into())).collect()
}

fn range(row: &[Option<String>]) -> Option<Range> {
    let list = row[1].as_ref()?.trim_matches(['{', '}']);
    let replicas = list.split(',').filter(|id| !id.is_empty()).map(str::parse).collect::<Result<_, _>>();
    let leaseholder = number(row[2].as_ref()).filter(|id| *id > 0);
    Some(Range { id: number(row[0].as_ref())?, replicas: replicas.ok()?, leaseholder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_from_text() {
        let row = |fields: [&str; 3]| fields.map(|field| Some(field.to_owned())).to_vec();
        let expected = Range { id: 7, replicas: vec![1, 3], leaseholder: Some(3) };
        assert_eq!(range(&row(["7", "{1,3}", "3"])), Some(expected));
        assert_eq!(range(&[Some("7".into()), Some("{}".into()), None]).unwrap().leaseholder, None);
        assert_eq!(range(&row(["7", "{x}", "3"])), None);
    }
}
