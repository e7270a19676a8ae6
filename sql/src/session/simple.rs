//! The simple query protocol: a string of statements.
//!
//! Several statements without BEGIN run in one implicit transaction; a lone one commits by itself and is retried on
//! the server after conflicts.

use std::sync::Arc;

use basalt_planner::parse;
use basalt_types::Result;

use super::{BlockState, Session, StatementPlan};
use crate::Output;

/// Plans of one statement while schema changes overtake it.
const PLANS_MAX: u32 = 10;

impl Session {
    /// Runs every statement; those after an error are not run.
    pub async fn simple_query(&mut self, sql: &str, out: &mut dyn Output) -> Result<()> {
        self.begin_activity(sql);
        // The unnamed statement and portal do not survive a simple query.
        self.statements.remove("");
        self.portals.remove("");
        let result = self.run_string(sql, out).await;
        let result = self.settle(result).await;
        self.end_activity();
        result
    }

    async fn run_string(&mut self, sql: &str, out: &mut dyn Output) -> Result<()> {
        let statements = parse::parse(sql)?;
        if statements.is_empty() {
            return out.empty_query();
        }
        let alone = statements.len() == 1;
        for parsed in statements {
            if !super::utility::allowed_in_failed_block(&parsed) {
                self.check_not_failed()?;
            }
            self.cancel.check()?;
            let _deadline = self.deadline();
            let parsed = Arc::new(parsed);
            let mut attempt = 1;
            loop {
                let statement = self.plan(parsed.clone(), &[]).await?;
                match self.run_one(&statement, alone, out).await {
                    // Nothing was promised to the client when the statement was planned.
                    Err(error) if attempt < PLANS_MAX && super::run::is_broken_promise(&error) => {
                        attempt += 1
                    }
                    done => break done?,
                }
            }
            for notice in self.take_notices() {
                out.notice(&notice);
            }
            if out.is_full() {
                out.flush().await?;
            }
        }
        if self.block == BlockState::Implicit {
            self.commit_transaction().await?;
        }
        Ok(())
    }

    async fn run_one(&mut self, statement: &StatementPlan, alone: bool, out: &mut dyn Output) -> Result<()> {
        let Some(planned) = &statement.planned else {
            let params: Arc<[basalt_types::Datum]> = Arc::new([]);
            return Box::pin(self.run_utility(&statement.parsed, &[], &params, out)).await;
        };
        if !planned.params.is_empty() {
            return Err(basalt_types::SqlError::new(
                basalt_types::SqlState::UNDEFINED_PARAMETER,
                "there is no parameter $1",
            ));
        }
        if alone && self.block == BlockState::Idle {
            let params: Arc<[basalt_types::Datum]> = Arc::new([]);
            return self.run_autocommit(statement, &params, out).await;
        }
        self.ensure_transaction_for(&statement.parsed)?;
        self.run_in_transaction(statement, out).await
    }
}
