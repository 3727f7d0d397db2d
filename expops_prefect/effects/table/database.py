"""Databases: connecting and executing."""

import re

ENTRIES = {
    "database": """
        psycopg psycopg2 psycopg_pool aiopg asyncpg pg8000 postgresql pgdb pygresql pymysql MySQLdb mysql aiomysql
        asyncmy mariadb sqlite3 aiosqlite apsw sqlite_utils dataset records pyodbc pypyodbc aioodbc turbodbc pymssql
        cx_Oracle oracledb ibm_db ibm_db_dbi hdbcli teradatasql teradata vertica_python jaydebeapi ibis.connect
        ibis.duckdb ibis.sqlite ibis.postgres ibis.mysql ibis.mssql ibis.oracle ibis.bigquery ibis.snowflake
        ibis.clickhouse ibis.trino ibis.impala ibis.pyspark ibis.druid ibis.flink ibis.databricks ibis.athena
        pandas.core.generic.NDFrame.to_sql pandas.DataFrame.to_sql pandas.Series.to_sql
        polars.dataframe.frame.DataFrame.write_database polars.DataFrame.write_database
        sqlalchemy.create_engine sqlalchemy.engine sqlalchemy.ext.asyncio sqlalchemy.orm.Session
        sqlalchemy.orm.sessionmaker sqlalchemy.orm.scoped_session sqlalchemy.orm.session sqlalchemy.inspect
        sqlalchemy.create_async_engine sqlalchemy.Engine sqlalchemy.Connection sqlalchemy.engine.create
        sqlmodel.create_engine sqlmodel.Session peewee pony tortoise databases django.db flask_sqlalchemy
        redis aioredis rediscluster valkey pymemcache memcache pylibmc diskcache
        pymongo motor mongoengine beanie odmantic bson.decode_file_iter
        cassandra scylla pynamodb couchdb couchbase cloudant arango pyArango neo4j py2neo neomodel gremlin_python
        rdflib.plugins.stores SPARQLWrapper influxdb influxdb_client influxdb3_client questdb taosrest pinot druid
        elasticsearch elasticsearch_dsl opensearchpy pysolr meilisearch typesense whoosh
        snowflake snowflake.connector snowflake.snowpark google.cloud.bigquery bigquery redshift_connector
        clickhouse_connect clickhouse_driver asynch trino prestodb pyhive pyathena impala happybase phoenixdb
        hdfs snakebite pyspark delta databricks.sql duckdb.connect duckdb.DuckDBPyConnection singlestoredb
        ydb pymilvus lancedb faiss_server pgvector kdbai qpython pykx pandas.read_sql pandas.read_sql_query
        pandas.read_sql_table pandas.io.sql polars.read_database polars.read_database_uri connectorx
        adbc_driver_manager adbc_driver_postgresql adbc_driver_sqlite adbc_driver_snowflake turbodbc_arrow
        prefect_sqlalchemy prefect_snowflake prefect_dbt.cli soda petl.fromdb petl.todb shelve dbm lmdb plyvel
        rocksdb tinydb zodb BTrees leveldb alembic.command expops_prefect.Project expops_prefect.project.Project
    """,
    "harmless": """
        sqlalchemy sqlalchemy.engine.URL sqlalchemy.engine.url sqlalchemy.orm sqlalchemy.text
        sqlite3.Row sqlite3.register_adapter
        redis.exceptions pymongo.ASCENDING pymongo.DESCENDING pymongo.UpdateOne pymongo.InsertOne pymongo.ReplaceOne
        pyspark.sql.functions pyspark.sql.types bson psycopg2.sql psycopg.sql psycopg2.extras.Json
        sqlite3.complete_statement
    """,
}

IN_MEMORY = frozenset({"sqlite3.connect", "duckdb.connect", "apsw.Connection", "sqlite3.dbapi2.connect"})
"""Databases that are private to the body where they are opened in memory."""

HANDLES = re.compile(
    r"(engine|connection|connector|session|sessionmaker|cursor|client|pool|channel|socket|producer|consumer|resource"
    r"|bucket|blob|database|collection|redis|smtp|smtp_ssl|ftp|ftp_tls|imap4|webdriver|openai|anthropic|filesystem)$",
    re.IGNORECASE,
)
"""The last names of classes of databases and networks whose objects are ways to something outside of the process."""

HANDLES_OF = ("pyspark.", "botocore.client.", "boto3.resources.")
"""Where the classes have other names, and each is such a way."""

RUNS_SQL = frozenset("execute executemany executescript sql query from_query".split())
"""Methods of a database in memory that run a text."""

WRITES_TABLES = frozenset({"to_sql", "write_database"})
"""Methods of frames that write into the database that they are given."""

IN_SQL = {
    "database": re.compile(
        r"\b(attach|vacuum\b.*\binto|load_extension|copy|export|import|install|load|readfile|writefile)\b",
        re.IGNORECASE | re.DOTALL,
    ),
    "clock": re.compile(
        r"""\bcurrent_(time|date|timestamp)\b|'now'|\b(now|today|getdate)\s*\(|\b(date|time|datetime|julianday|unixepoch)\s*\(\s*\)""",
        re.IGNORECASE,
    ),
    "random": re.compile(r"\b(random|randomblob|uuid|gen_random_uuid|setseed)\s*\(", re.IGNORECASE),
}
"""What in such a text reaches out of the memory, or asks for what is not in the database."""

MEMORY_BY_DEFAULT = frozenset({"duckdb.connect"})
