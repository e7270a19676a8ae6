//! Functions that read descriptors. Each is answered by [`crate::SessionInfo::catalog_function`] under its name; one
//! that the session does not know is not supported.

use basalt_types::{Datum, Result, SqlError};

use crate::Call;
use crate::builder::Builder;

fn delegate(name: &str, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    call.context
        .session
        .catalog_function(name, args)
        .unwrap_or_else(|| Err(SqlError::not_supported(format!("function {name}"))))
}

macro_rules! delegated {
    ($builder:expr, $($name:literal)*) => {$(
        $builder.scalar_overloads($name, |call, args| delegate($name, call, args));
    )*};
}

pub fn register(builder: &mut Builder) {
    privileges(builder);
    definitions(builder);
    objects(builder);
}

fn privileges(builder: &mut Builder) {
    delegated!(builder,
        "has_table_privilege" "has_any_column_privilege" "has_column_privilege" "has_schema_privilege"
        "has_database_privilege" "has_function_privilege" "has_sequence_privilege" "has_type_privilege"
        "has_tablespace_privilege" "has_language_privilege" "has_foreign_data_wrapper_privilege"
        "has_server_privilege" "has_parameter_privilege" "pg_has_role" "row_security_active"
        "pg_table_is_visible" "pg_type_is_visible" "pg_function_is_visible" "pg_operator_is_visible"
        "pg_opclass_is_visible" "pg_opfamily_is_visible" "pg_collation_is_visible" "pg_conversion_is_visible"
        "pg_statistics_obj_is_visible" "pg_ts_config_is_visible" "pg_ts_dict_is_visible"
        "pg_ts_parser_is_visible" "pg_ts_template_is_visible"
    );
}

fn definitions(builder: &mut Builder) {
    delegated!(builder,
        "pg_get_userbyid" "pg_get_expr" "pg_get_indexdef" "pg_get_constraintdef" "pg_get_viewdef" "pg_get_ruledef"
        "pg_get_triggerdef" "pg_get_functiondef" "pg_get_function_arguments"
        "pg_get_function_identity_arguments" "pg_get_function_result" "pg_get_function_arg_default"
        "pg_get_function_sqlbody" "pg_get_partkeydef" "pg_get_partition_constraintdef"
        "pg_get_statisticsobjdef" "pg_get_statisticsobjdef_columns" "pg_get_serial_sequence"
        "pg_get_replica_identity_index" "obj_description" "col_description" "shobj_description"
        "pg_describe_object" "oidvectortypes"
    );
}

fn objects(builder: &mut Builder) {
    delegated!(builder,
        "to_regclass" "to_regtype" "to_regproc" "to_regrole" "to_regnamespace"
        "pg_relation_size" "pg_table_size" "pg_indexes_size" "pg_total_relation_size" "pg_database_size"
        "pg_tablespace_size" "pg_tablespace_location" "pg_relation_filenode" "pg_relation_filepath"
        "pg_relation_is_publishable" "pg_relation_is_updatable" "pg_column_is_updatable" "pg_sequence_last_value"
        "nextval" "currval" "setval" "pg_cancel_backend" "pg_terminate_backend"
        "pg_index_column_has_property" "pg_index_has_property" "pg_indexam_has_property" "pg_my_temp_schema"
        "pg_is_other_temp_schema" "pg_partition_root" "pg_postmaster_start_time" "pg_conf_load_time"
        "txid_current" "txid_current_if_assigned" "pg_blocking_pids" "setseed"
    );
}
