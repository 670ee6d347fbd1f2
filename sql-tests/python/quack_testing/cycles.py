"""Graphs whose edges have kinds, and the shortest cycles in them.

Nodes are any hashable things. Edges of kind "rw" are anti-dependencies. `cycles_without_adjacent` finds those in which no
two anti-dependencies follow each other: a history is allowed by snapshot isolation if and only if it has none (Cerone
and Gotsman, "Analysing Snapshot Isolation", 2018, theorem 4.1; the necessary half is Fekete et al., "Making Snapshot
Isolation Serializable", 2005).
"""

from collections import defaultdict, deque
from itertools import islice

RW = "rw"
# Where a search for a shortest cycle begins, at most: a component of thousands is as wrong as one of ten.
STARTS_MAX = 200


class Graph:
    """Edges with the kinds and reasons that they have."""

    def __init__(self):
        self.edges = defaultdict(lambda: defaultdict(dict))

    def add(self, one, other, kind, reason=None):
        if one != other:
            self.edges[one][other].setdefault(kind, reason)

    def kinds(self, one, other):
        return self.edges[one][other]

    def successors(self, node, kinds):
        """The nodes that edges of any of these kinds lead to."""
        return [other for other, found in list(self.edges.get(node, {}).items()) if not kinds.isdisjoint(found)]


def components(nodes, successors):
    """The strongly connected components of more than one node, by Tarjan's algorithm without recursion."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(successors(root)))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(successors(other))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = set()
                    while node not in component:
                        other = stack.pop()
                        on_stack.discard(other)
                        component.add(other)
                    if len(component) > 1:
                        found.append(component)
    return found


def shortest_cycle(component, successors):
    """A cycle of few nodes in a component, as a list that begins where it ends."""
    best = None
    for start in islice(component, STARTS_MAX):
        before, queue = {start: None}, deque([start])
        while queue and (best is None or len(best) > 3):
            node = queue.popleft()
            for other in successors(node):
                if other == start:
                    cycle = [start]
                    while node is not None:
                        cycle.append(node)
                        node = before[node]
                    cycle.reverse()
                    if best is None or len(cycle) < len(best):
                        best = cycle
                    queue.clear()
                    break
                if other in component and other not in before:
                    before[other] = node
                    queue.append(other)
    return best


def cycles_without_adjacent(graph, dependencies):
    """A shortest cycle of dependencies and of anti-dependencies that do not follow each other, for each component."""

    def successors(state):
        node, after_rw = state
        found = [(other, False) for other in graph.successors(node, dependencies)]
        if not after_rw:
            found += [(other, True) for other in graph.successors(node, {RW})]
        return found

    states = [(node, after_rw) for node in list(graph.edges) for after_rw in (False, True)]
    found = []
    for component in components(states, successors):
        cycle = shortest_cycle(component, successors)
        # With each node the kind of the edge that led to it.
        found.append([(node, after_rw) for node, after_rw in cycle])
    return found
