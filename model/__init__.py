"""SAM 2: the network, its sessions on videos and images, its weights and its training."""

from __future__ import annotations
