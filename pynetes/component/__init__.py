"""What every component shares: configuration, flags, logs, metrics, tracing, health, TLS, tasks and the clock."""
