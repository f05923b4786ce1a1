"""What several tests use: tiny models, data sets on disk, runs, servers. No test imports a test."""
