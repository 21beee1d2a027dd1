"""The only package with sockets. Where to look:

- a client's connection: `listener`, `handshakes`, `http1`, `service` (what stands behind it), `server_settings`,
  `status`
- one request and its answer: `exchange`, `exchange_record`, `request_body`, `response_head`, `deadlines`, `tunnel`
- the way to an application: `clusters`, `host_maker`, `hosts`, `lobby`, `health`, `cluster_names`, `cluster_stats`;
  one host's connections: `pool`, `pool_log`, `tally`, `load`, `roles`, `upstream` (HTTP/1.1), `traffic`; HTTP/2:
  `h2_pool`, `h2_upstream`, `h2_stream`, `h2_sender`, `h2_events`
- the way to a provider: `client`, `lone_client`, `watched`
- making a connection: `dialing`, `connector`, `race`, `race_log`, `attempt`, `pipe`, `path_memory`, `routes`,
  `network`, `connect_error`, `kept_out`, `stream` (for programs)
- names: `resolver`, `dns_exchange`, `dns_transport`, `resolv_conf`, `system_lookup`, `resolution_log`
- TLS: `tls`, `certificates`, `peer`
- looking at a network (the doctor, `ostiary connect`): `survey`, `dns_survey`, `glance`, `refusals`
- between processes: `inbox`, `canvass`, `lease_desk`, `lease_client`, `lease_wire`, `service_manager` (systemd)
- the admin API's server and its clients: `small_server`, `admin_client`
- logs and time: `log`, `sink`, `access_log`, `ticker`
"""
