"""Makes a script that shows a difference as short as it can be: ever smaller blocks are taken out, then single steps."""

from quack_testing.fuzz.steps import CHECK, RESTART

TRIES_MAX = 250


def shrink(steps, shows, tries=TRIES_MAX):
    """The shortest list of steps for which `shows` still holds, that leaving out blocks leads to."""
    size = max(1, len(steps) // 2)
    while tries > 0:
        start = len(steps)
        shorter = False
        # From the end: what comes late depends on what comes early.
        while start > 0 and tries > 0:
            first = max(0, start - size)
            rest = steps[:first] + steps[start:]
            if rest and needed_everything(steps[first:start]):
                tries -= 1
                if shows(rest):
                    steps, shorter = rest, True
            start = first
        if size == 1 and not shorter:
            break
        size = size if shorter and size == 1 else max(1, size // 2)
    return steps


def needed_everything(steps):
    """Whether it is worth trying without these."""
    return bool(steps)


def script(steps):
    """The steps as records of a .test file, as far as there are such."""
    text = "\n".join(step.shown() for step in steps)
    return text if any(step.action in (CHECK, RESTART) for step in steps) else text.rstrip("\n")
