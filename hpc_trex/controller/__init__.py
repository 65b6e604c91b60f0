"""The controller: one short tick after another, the only writer of the tree (DESIGN section 3).

``loop`` holds the tick and the loop around it; ``collect`` reads results and states, ``advance`` decides what follows
from them, ``design`` adds rounds, ``submit`` starts jobs, ``finish`` measures the noise, makes the final choice and
opens the sealed test. Every step is derived from what is recorded, so a controller may die between any two of them.
"""

from hpc_trex.controller.loop import Controller, TickReport

__all__ = ["Controller", "TickReport"]
