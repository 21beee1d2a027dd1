"""Composition: from the model to a running doorkeeper. Where to look:

- the process: `running` (start to end), `lifecycle` (one worker), `serving` (its present configuration), `lasting`
  (what outlives configurations), `runtime` (one configuration's objects), `descriptors`
- a request: `service`, `judge`, `sender`, `prepared`, `targets`, `faults`, `clients`, `routes`, `chain`, `filters`,
  `replies`; what it needs from the provider: `flows`; the clusters: `upstreams`
- what is kept of it: `observe`, `service_stats`, `metrics`, `narrate`, `flights`, `calls`, `tracing`, `telemetry`,
  `otlp`, `otlp_sender`
- several workers: `workers`, `family`, `heartbeat`, `shared`, `tally`, `peers`, `handover`
- another configuration, other files: `reload`, `reloader`, `changes`, `files`, `renewal`, `slices`
- logs and their levels: `logs`, `log_formats`, `level_session`, `level_memory`, `follow`
- for what lies above: `administration`, `diagnosis`, `discovery`, `demo`
"""
