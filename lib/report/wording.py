"""Words that the statements of the report share. A cell is (value, low, high)."""

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def points(cell: tuple) -> str:
    """'12.3 points [10.1, 14.5]'."""
    return f"{cell[0]:.1f} points [{cell[1]:.1f}, {cell[2]:.1f}]"


def percent(cell: tuple) -> str:
    """'12.3% [10.1, 14.5]'."""
    return f"{cell[0]:.1f}% [{cell[1]:.1f}, {cell[2]:.1f}]"


def joined(parts: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def every_mean(count: int) -> str:
    """'all 3 means compared'."""
    return "both means compared" if count == 2 else f"all {count} means compared" if count > 1 else "the one mean compared"


def counted(count: int, noun: str = "") -> str:
    """'two tasks', '12 tasks', 'one task'; without a noun the number alone."""
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return number if not noun else f"{number} {noun}" if count == 1 else f"{number} {noun}s"
