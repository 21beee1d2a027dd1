"""Bounds of the logs that the doctor reads."""

from __future__ import annotations

from typing import Final

# --- logs that the doctor reads
LOG_BLOCK_BYTES: Final = 512 * 1024
"""Read at once: large enough that the work per block doesn't count, small enough to stay in a processor's cache."""
LOG_BEFORE_BYTES: Final = 16 * 1024
"""Lines this far before one that matters are looked at for what belongs to it: one thread's last lines, mostly."""
LOG_AFTER_BYTES: Final = 16 * 1024
"""And this far behind it: the connection that a token call makes follows at once."""
MAX_LOG_LINE_BYTES: Final = 64 * 1024
"""A longer line is cut: header dumps and rejections stay far below."""
MAX_LOG_CONTINUATION: Final = 64
"""Lines of one record: Envoy's rejection of an OAuth2 filter has 29."""
MAX_PASTED_BYTES: Final = 1024 * 1024
"""Up to here a log may have been pasted, and wrapped by whatever it was pasted into."""
MAX_JOINED: Final = 4096
"""Threads, streams, connections and names each, remembered to join lines to what they belong to."""
MAX_LOG_FACTS: Final = 1000
"""Distinct facts of one kind from one log; equal ones are counted, and what is beyond changes no diagnosis."""
MAX_QUOTE: Final = 400
"""Characters of a line in a finding's proof."""
