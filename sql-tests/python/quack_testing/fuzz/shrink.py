"""Makes a script that shows a difference as short as it can be: ever smaller blocks are taken out, then single steps."""

from quack_testing.fuzz.steps import CHECK, RESTART, SQL

TRIES_MAX = 250
READS = ("SELECT", "FROM", "SHOW", "DESCRIBE", "PRAGMA", "SUMMARIZE")


def shrink(steps, shows, tries=TRIES_MAX):
    """The shortest list of steps for which `shows` still holds, that leaving out blocks leads to."""
    for dispensable in (is_read, is_pause):
        # The last step is the one that shows it.
        rest = [step for step in steps[:-1] if not dispensable(step)] + steps[-1:]
        if len(rest) < len(steps) and shows(rest):
            steps = rest
    size = max(1, len(steps) // 2)
    while tries > 0:
        start = len(steps)
        shorter = False
        # From the end: what comes late depends on what comes early.
        while start > 0 and tries > 0:
            first = max(0, start - size)
            rest = steps[:first] + steps[start:]
            tries -= 1
            if rest and shows(rest):
                steps, shorter = rest, True
            start = first
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return steps


def is_read(step):
    return step.action == SQL and step.sql.startswith(READS)


def is_pause(step):
    return step.action in (CHECK, RESTART)


def script(steps):
    """The steps as records of a .test file, as far as there are such."""
    text = "\n".join(step.shown() for step in steps)
    return text if any(step.action in (CHECK, RESTART) for step in steps) else text.rstrip("\n")
