//! `sqlx migrate run` without the program: the same `Migrator`, over the files of a directory.

use std::path::Path;
use std::process::ExitCode;

use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: sqlx-migrations DIRECTORY");
        return ExitCode::from(2);
    };
    match migrate(Path::new(&directory)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where to connect to is what libpq's environment variables say.
async fn migrate(directory: &Path) -> Result<(), MigrateError> {
    let migrator = Migrator::new(directory).await?;
    let mut connection = PgConnection::connect_with(&PgConnectOptions::new()).await?;
    let result = migrator.run(&mut connection).await;
    connection.close().await?;
    result
}
