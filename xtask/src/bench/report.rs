//! The table and the JSON of a comparison.

use std::fmt::Write;

use super::node_counts::Counts;

/// One kind of work at one number of clients, on both servers.
pub struct Row {
    pub script: String,
    pub protocol: String,
    pub clients: u32,
    /// Transactions per second of each run.
    pub postgres: Vec<f64>,
    pub basalt: Vec<f64>,
    /// Failed transactions of the Basalt runs.
    pub failed: u64,
    /// Per transaction, over all Basalt runs.
    pub counts: Counts,
}

impl Row {
    fn ratio(&self) -> f64 {
        let peer = median(&self.postgres);
        if peer > 0.0 { median(&self.basalt) / peer } else { 0.0 }
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

pub fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("work                      clients   PostgreSQL tps   Basalt tps   ratio   failed\n");
    for row in rows {
        let work = format!("{} {}", row.script, row.protocol);
        let (peer, ours) = (median(&row.postgres), median(&row.basalt));
        writeln!(
            text,
            "{work:<24} {:>8} {peer:>16.0} {ours:>12.0} {:>7.2} {:>8}",
            row.clients,
            row.ratio(),
            row.failed
        )
        .expect("a string takes all");
    }
    text.push_str("\ncounts per Basalt transaction\n");
    for row in rows {
        writeln!(text, "  {} {} {}", row.script, row.protocol, row.clients).expect("a string takes all");
        for (name, count) in &row.counts {
            writeln!(text, "    {name:<32} {count:>12.3}").expect("a string takes all");
        }
    }
    text
}

/// Names are ours and need no escapes.
pub fn json(rows: &[Row], versions: &[(&str, &str)]) -> String {
    let list =
        |values: &[f64]| values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(",");
    let versions: Vec<String> =
        versions.iter().map(|(name, text)| format!("\"{name}\":\"{text}\"")).collect();
    let row = |row: &Row| {
        let counts: Vec<String> =
            row.counts.iter().map(|(name, count)| format!("\"{name}\":{count:.4}")).collect();
        format!(
            "{{\"script\":\"{}\",\"protocol\":\"{}\",\"clients\":{},\"postgresql_tps\":[{}],\"basalt_tps\":[{}],\
             \"ratio\":{:.4},\"failed\":{},\"counts\":{{{}}}}}",
            row.script,
            row.protocol,
            row.clients,
            list(&row.postgres),
            list(&row.basalt),
            row.ratio(),
            row.failed,
            counts.join(",")
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("{{{},\"rows\":[\n{}\n]}}\n", versions.join(","), rows.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    #[test]
    fn a_report_is_json_with_ratios_of_medians() {
        let row = Row {
            script: "select-only".into(),
            protocol: "prepared".into(),
            clients: 8,
            postgres: vec![100.0, 300.0, 200.0],
            basalt: vec![50.0, 150.0],
            failed: 0,
            counts: Counts::from([("gets".to_owned(), 1.0)]),
        };
        let parsed = Json::parse(&json(std::slice::from_ref(&row), &[("postgresql", "15")])).unwrap();
        let first = &parsed.get("rows").unwrap().list()[0];
        assert_eq!(first.get("ratio"), Some(&Json::Number(0.5)));
        assert_eq!(parsed.get("postgresql").unwrap().text(), Some("15"));
        assert!(table(&[row]).contains("0.50"));
    }
}
