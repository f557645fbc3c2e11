"""Markdown to safe HTML, on the server, once, shared by everybody who reads it.

The parts, in the order in which a text meets them: :mod:`.blocks` (by :mod:`.lines`) cuts it; :mod:`.markdown`,
:mod:`.highlight` and :mod:`.maths` render a block; :mod:`.allowed` lets only known elements pass; :mod:`.stream`
joins them. While a reply is written, :mod:`.heal` completes its open end for display. :mod:`.limits` holds all
bounds.
"""

from chatapp.services.render.highlight import ColourBudget
from chatapp.services.render.stream import BlockStream, render_markdown

__all__ = ["BlockStream", "ColourBudget", "render_markdown"]
