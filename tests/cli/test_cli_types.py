"""What may be typed is parsed exactly, or refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import output, types


@given(st.integers(0, (1 << 64) - 1))
def test_an_amount_that_is_shown_can_be_typed_again(value: int) -> None:
    assert types.parse_amount(output.amount(value).replace(",", "")) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 10**9),
        ("0.000000001", 1),
        ("1.5000000000000", 15 * 10**8),
        ("12 AITBC", 12 * 10**9),
        ("0.1", 10**8),
        ("18446744073.709551615", (1 << 64) - 1),
    ],
)
def test_amounts(text: str, value: int) -> None:
    assert types.parse_amount(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1e5",
        "1,5",
        "1_000",
        ".5",
        "5.",
        "NaN",
        "inf",
        "0x10",
        "1 EUR",
        "١",
        "1.0000000001",
        "18446744073.709551616",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        types.parse_amount(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("15min", 900), ("1h30m", 5_400), ("7d", 604_800), ("1d 2h", 93_600)],
)
def test_durations(text: str, seconds: int) -> None:
    assert types.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-5", "1.5h", "h", "5x", "99999999d", "30m1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        types.parse_duration(text)


@pytest.mark.parametrize(("text", "seconds"), [("1", 3_600), ("1.5", 5_400), ("0.25h", 900), ("24", 86_400)])
def test_hours_are_exact(text: str, seconds: int) -> None:
    assert types.parse_hours(text) == seconds


@pytest.mark.parametrize("text", ["0", "0.0001", "-1", "x", "1e3", "9999999"])
def test_hours_that_are_no_whole_number_of_seconds_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        types.parse_hours(text)


def test_times() -> None:
    assert types.parse_time("2030-01-31T18:00:00+00:00") == 1_896_112_800_000
    assert types.parse_time("+2h") - types.parse_time("+1h") in range(3_599_000, 3_601_001)
    for text in ("tomorrow", "", "+", "1969-01-01T00:00:00+00:00", "2030-13-01"):
        with pytest.raises(ValueError):
            types.parse_time(text)


def test_memory() -> None:
    assert types.parse_memory("24GB") == types.parse_memory("24576") == types.parse_memory("24576 MB") == 24_576
    for text in ("0", "-1", "24TB", "", "99999999GB"):
        with pytest.raises(ValueError):
            types.parse_memory(text)


def test_ids_and_their_beginnings() -> None:
    assert types.parse_id("ABCDEF") == "abcdef"
    assert types.parse_id("aef8a3697e5f…") == "aef8a3697e5f"
    for text in ("abcde", "xyzxyz", "", "a" * 65):
        with pytest.raises(ValueError):
            types.parse_id(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (5_400, "1 h 30 min"), (93_784, "1 d 2 h"), (86_405, "1 d 5 s")]
)
def test_durations_are_told_by_their_two_largest_units(seconds: int, text: str) -> None:
    assert output.duration(seconds) == text
