//! Catalogs of what Basalt does not have (foreign data, text search, replication, policies, …), with PostgreSQL 15's
//! columns and no rows, so that clients that look there find out.
//!
//! Columns of types that Basalt lacks are text.

use super::definitions::Definition;

#[rustfmt::skip]
pub(super) static DEFINITIONS: &[Definition] = &[
    ("pg_amop", 2602,
     "oid oid,amopfamily oid,amoplefttype oid,amoprighttype oid,amopstrategy int2,\
      amoppurpose char,amopopr oid,amopmethod oid,amopsortfamily oid"),
    ("pg_amproc", 2603,
     "oid oid,amprocfamily oid,amproclefttype oid,amprocrighttype oid,amprocnum int2,\
      amproc regproc"),
    ("pg_available_extension_versions", 12085,
     "name name,version text,installed bool,superuser bool,trusted bool,relocatable bool,\
      schema name,requires _text,comment text"),
    ("pg_available_extensions", 12081,
     "name name,default_version text,installed_version text,comment text"),
    ("pg_db_role_setting", 2964,
     "setdatabase oid,setrole oid,setconfig _text"),
    ("pg_foreign_data_wrapper", 2328,
     "oid oid,fdwname name,fdwowner oid,fdwhandler oid,fdwvalidator oid,fdwacl _aclitem,\
      fdwoptions _text"),
    ("pg_group", 12010,
     "groname name,grosysid oid,grolist _oid"),
    ("pg_init_privs", 3394,
     "objoid oid,classoid oid,objsubid int4,privtype char,initprivs _aclitem"),
    ("pg_opfamily", 2753,
     "oid oid,opfmethod oid,opfname name,opfnamespace oid,opfowner oid"),
    ("pg_parameter_acl", 6243,
     "oid oid,parname text,paracl _aclitem"),
    ("pg_policies", 12018,
     "schemaname name,tablename name,policyname name,permissive text,roles _text,cmd text,\
      qual text,with_check text"),
    ("pg_publication_tables", 12068,
     "pubname name,schemaname name,tablename name,attnames _text,rowfilter text"),
    ("pg_replication_origin", 6000,
     "roident oid,roname text"),
    ("pg_replication_slots", 12257,
     "slot_name name,plugin name,slot_type text,datoid oid,database name,temporary bool,\
      active bool,active_pid int4,xmin text,catalog_xmin text,restart_lsn text,\
      confirmed_flush_lsn text,wal_status text,safe_wal_size int8,two_phase bool"),
    ("pg_seclabels", 12099,
     "objoid oid,classoid oid,objsubid int4,objtype text,objnamespace oid,objname text,\
      provider text,label text"),
    ("pg_shdepend", 1214,
     "dbid oid,classid oid,objid oid,objsubid int4,refclassid oid,refobjid oid,deptype char"),
    ("pg_shseclabel", 3592,
     "objoid oid,classoid oid,provider text,label text"),
    ("pg_stat_replication", 12227,
     "pid int4,usesysid oid,usename name,application_name text,client_addr text,\
      client_hostname text,client_port int4,backend_start timestamptz,backend_xmin text,\
      state text,sent_lsn text,write_lsn text,flush_lsn text,replay_lsn text,\
      write_lag interval,flush_lag interval,replay_lag interval,sync_priority int4,\
      sync_state text,reply_time timestamptz"),
    ("pg_stat_subscription", 12244,
     "subid oid,subname name,pid int4,relid oid,received_lsn text,\
      last_msg_send_time timestamptz,last_msg_receipt_time timestamptz,latest_end_lsn text,\
      latest_end_time timestamptz"),
    ("pg_stat_wal_receiver", 12236,
     "pid int4,status text,receive_start_lsn text,receive_start_tli int4,written_lsn text,\
      flushed_lsn text,received_tli int4,last_msg_send_time timestamptz,\
      last_msg_receipt_time timestamptz,latest_end_lsn text,latest_end_time timestamptz,\
      slot_name text,sender_host text,sender_port int4,conninfo text"),
    ("pg_subscription_rel", 6102,
     "srsubid oid,srrelid oid,srsubstate char,srsublsn text"),
    ("pg_transform", 3576,
     "oid oid,trftype oid,trflang oid,trffromsql regproc,trftosql regproc"),
    ("pg_ts_config", 3602,
     "oid oid,cfgname name,cfgnamespace oid,cfgowner oid,cfgparser oid"),
    ("pg_ts_config_map", 3603,
     "mapcfg oid,maptokentype int4,mapseqno int4,mapdict oid"),
    ("pg_ts_dict", 3600,
     "oid oid,dictname name,dictnamespace oid,dictowner oid,dicttemplate oid,\
      dictinitoption text"),
    ("pg_ts_parser", 3601,
     "oid oid,prsname name,prsnamespace oid,prsstart regproc,prstoken regproc,prsend regproc,\
      prsheadline regproc,prslextype regproc"),
    ("pg_ts_template", 3764,
     "oid oid,tmplname name,tmplnamespace oid,tmplinit regproc,tmpllexize regproc"),
    ("pg_user_mappings", 12327,
     "umid oid,srvid oid,srvname name,umuser oid,usename name,umoptions _text"),
];
