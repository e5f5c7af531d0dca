"""Prefect flows: they put the stages of `phreg.pipeline` in order, and show what comes of them.

Nothing here decides what is done: the commit records in the cache, the students' `result.json` and the
registry's records do. A flow that is run again goes on where it was.
"""

import os

from flows.home import check_user_has_home
from phreg.extras import require

require("A flow", "prefect")

# On a closed network telemetry stalls; it stays off unless the user turns it on.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# Of the temporary server, whose 20 s a machine under load may exceed.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")

check_user_has_home()
