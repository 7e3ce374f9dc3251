"""What the parts of the picture share: its width, its time axis, and how a lane is named; pure."""

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from tasks.status.axis import TimeAxis
from tasks.status.svg import element

WIDE, NARROW = 1080.0, 343.0
"""Pixels: the whole page of a desktop, and that of a phone."""
_MARGIN = 0.012
"""Of the time shown, before its first moment and after its last."""
_TITLE = 17.0
"""Above a lane, where there is no room beside it."""


@dataclass(frozen=True)
class Frame:
    """A picture of one width."""

    width: float
    axis: TimeAxis

    @classmethod
    def of(cls, width: float, start: datetime, end: datetime) -> "Frame":
        """A frame with room for names and values at its sides, if it is wide enough."""
        left, right = (4.0, width - 30.0) if width < WIDE else (132.0, width - 104.0)
        margin = _MARGIN * (end - start)
        return cls(width, TimeAxis(start - margin, end + margin, left, right))

    @property
    def narrow(self) -> bool:
        return self.width < WIDE

    @property
    def top(self) -> float:
        """Where a lane's content begins below its own upper edge."""
        return _TITLE if self.narrow else 0.0

    def name(self, words: str, middle: float, aside: str = "") -> Markup:
        """The name of a lane whose content has its middle there: beside it, or above."""
        if self.narrow:
            more = element("tspan", f"  {aside}", class_="soft") if aside else Markup("")
            return element("text", words, more, x=self.axis.left, y=11.0, class_="lane")
        at, anchor = self.axis.left - 12, "end"
        if not aside:
            return element("text", words, x=at, y=middle + 4, text_anchor=anchor, class_="lane")
        return Markup("").join(
            (
                element("text", words, x=at, y=middle - 3, text_anchor=anchor, class_="lane"),
                element("text", aside, x=at, y=middle + 12, text_anchor=anchor, class_="lane soft"),
            )
        )


@dataclass(frozen=True)
class Part:
    """A lane, drawn from its own upper edge down."""

    height: float
    drawn: Markup
