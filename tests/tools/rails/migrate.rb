# `rails db:migrate` without an application: the same task, and how it tells of a failure.
require "logger"
require "active_record"

tasks = ActiveRecord::Tasks::DatabaseTasks
tasks.env = "production"
tasks.migrations_paths = [File.expand_path("migrations")]
ActiveRecord::Migrator.migrations_paths = tasks.migrations_paths
# Where to connect to is what libpq's environment variables say.
ActiveRecord::Base.establish_connection(adapter: "postgresql", prepared_statements: true)

begin
  tasks.migrate
rescue StandardError => error
  warn "rails aborted!"
  while error
    warn "#{error.class}: #{error.message}"
    error = error.cause
    warn "Caused by:" if error
  end
  exit 1
end
