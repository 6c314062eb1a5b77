//! The two dialects of the schema agree, and migrating is safe to repeat.

use std::collections::BTreeSet;

use callvine_shared::store::Store;
use harness::Postgres;
use sqlx::{Connection, PgConnection, Row, SqliteConnection};

/// Table, column, and whether it may be null.
type Column = (String, String, bool);

#[tokio::test]
async fn both_dialects_have_the_same_tables_and_columns() {
    let url = Postgres::shared().await.database().await;
    migrate(&url).await;
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/callvine.db", directory.path().display());
    migrate(&file).await;
    let (postgres, sqlite) = (postgres_columns(&url).await, sqlite_columns(&file).await);
    assert!(postgres.len() > 50, "{postgres:?}");
    assert_eq!(postgres, sqlite);
}

#[tokio::test]
async fn migrating_again_changes_nothing_and_many_may_migrate_at_once() {
    let url = Postgres::shared().await.database().await;
    futures_util::future::join_all((0..4).map(|_| migrate(&url))).await;
    let columns = postgres_columns(&url).await;
    migrate(&url).await;
    assert_eq!(postgres_columns(&url).await, columns);
}

async fn migrate(url: &str) {
    let store = Store::connect(url).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
}

async fn postgres_columns(url: &str) -> BTreeSet<Column> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(
        "select table_name::text, column_name::text, is_nullable = 'YES' from information_schema.columns
         where table_schema = 'public' and table_name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn sqlite_columns(url: &str) -> BTreeSet<Column> {
    let mut connection = SqliteConnection::connect(url).await.unwrap();
    // The key of a table is an alias of its row id, which is never null although it is not declared so.
    let rows = sqlx::query(
        "select m.name, c.name, c.\"notnull\" = 0 and c.pk = 0 from sqlite_master m, pragma_table_info(m.name) c
         where m.type = 'table' and m.name not like 'sqlite_%' and m.name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}
