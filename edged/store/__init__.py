"""What is kept on disk: one SQLite file that routing never waits for."""
