"""What is said while something long is made."""

from __future__ import annotations

from testbed.setup.progress import Counter


def test_a_counter_has_a_bar_and_the_time_left() -> None:
    counter = Counter("compiling the kernel", 860)
    counter.number = 215
    assert counter.line(60.0) == (
        "compiling the kernel: [#####...............] 215 of about 860 files, about 3 min left"
    )
    counter.number = 860
    assert counter.line(240.0).endswith("] 860 of about 860 files, about 0 s left")
    counter.number = 900
    assert "900 of about 900" in counter.line(250.0)
