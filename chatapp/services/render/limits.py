"""How much work one text may cause. A call into the Markdown library cannot be interrupted, so every limit is
checked before the call, and counts characters and lines, never time: the same text always comes out the same.
"""

from __future__ import annotations

from typing import Final

#: Work units (about one per character, see :mod:`.blocks`) after which the rest of a text is shown as plain text.
WORK_PER_TEXT: Final = 600_000
#: What starting a block costs, and what reading a line costs, in the same units.
WORK_PER_BLOCK: Final = 200
WORK_PER_LINE: Final = 24
#: The same inside a fence, where a line is only looked at for the closing fence.
WORK_PER_CODE_LINE: Final = 4
CODE_CHARACTERS_PER_UNIT: Final = 16

#: One block of Markdown longer than this is shown as plain text.
BLOCK_CHARACTERS: Final = 60_000
#: Short rows of a table are filled up to the width of its head, so a few bytes can ask for millions of cells.
TABLE_CELLS: Final = 20_000
#: Elements inside one another; browsers flatten what lies deeper than 512.
DEPTH: Final = 100
#: An opening ``\(`` without its end, and the start of an e-mail address, are searched through the block each time.
SEARCHED_MARKS: Final = 4_000

#: Lines of plain text with an element between each two.
PLAIN_BREAKS: Final = 2_000

#: One formula, and all formulas of one text together; what is longer stays visible as its source.
FORMULA_CHARACTERS: Final = 1_000
FORMULA_CHARACTERS_PER_TEXT: Final = 12_000

#: Code longer than this is not coloured.
COLOUR_BYTES: Final = 20_000
#: Time for colouring in one request; a block that was begun is finished, unless it passes the second bound.
COLOUR_BUDGET_MS: Final = 30.0
COLOUR_BLOCK_MS: Final = 250.0

#: What the caches may hold.
COLOUR_CACHE_BYTES: Final = 4_000_000
FORMULA_CACHE_BYTES: Final = 1_000_000
TEXT_CACHE_BYTES: Final = 4_000_000

#: Definitions of link targets kept for the rest of a text.
LINK_DEFINITIONS: Final = 200

#: An open block longer than this is rendered again only after it has grown by an eighth.
TAIL_CHARACTERS: Final = 8_000
