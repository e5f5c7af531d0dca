"""Everything of Ray: the connection, the pool of actors that makes targets, Ray Train, and single tasks."""

from phreg.extras import require

require("What runs on a cluster", "ray")
