"""Front ends: from audio to a network's integer frames.

Importing the package registers the front ends that come with it, see
:mod:`bamac.frontends.registry`.
"""

from . import dnsmos, log_mel

__all__ = ["dnsmos", "log_mel"]
