---------------------------------- MODULE Lanes ----------------------------------
(*
  One order, many lanes: how entries that several Raft groups commit side by side
  come to be applied in one and the same order on every node.

  THE DESIGN IN SHORT. Every node holds everything. The root group's log holds
  writes of its own, decisions, and cuts. A cut says for some lanes "ordered up to
  index i". The one order is the root's log with each cut replaced by the lane
  entries that it newly covers, lanes in the order of their ids. The section "The
  one order" is this sentence as a definition; the rest is what nodes do, one entry
  at a time, each with what it knows, with crashes, lost disks and late messages.

  MODELLED. Lanes and their creation and dropping; cuts that are proposed by any
  node (as by a root leader that was deposed meanwhile), twice, overlapping and out
  of date; waiting at a cut; writes that are proposed more than once, also to
  several groups; placements, epochs and writes on the way while they change; void
  entries of a dropped lane and their second way; answers to clients; checkpoints,
  crashes, replay from the middle of a cut; lost disks and snapshots; leaving the
  group of a dropped lane.

  ABSTRACTED. A Raft group is a sequence with a committed part that only grows,
  and perhaps a tail that a change of leaders may take away; votes, terms and
  quorums are those of crates/core, which the simulator tests. The root's log is
  known to every node some time later, which is the same as being applied some time
  later; only for lanes is it a variable what a node knows. A node that has not
  left a lane can give its entries to others. Rows are the ids of the writes that
  made them. A placement names a group for each shard, and the shard of write p
  follows from p alone.

  CODE THAT FOLLOWS THIS. crates/core/src/cut.rs (which cuts are proposed, and the
  covered indexes), crates/core/src/lanes.rs (creating, dropping, leaving),
  crates/node/src/apply_loop.rs (the order, waiting, acknowledging, the second way
  of void writes), crates/apply (exactly once, and the place that is stored with the
  rows).

  TO RUN IT: make spec. README.md beside this file says more, also of the mutants.
*)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Nodes,        \* there are nodes 1..Nodes
    Writes,       \* clients make writes 1..Writes
    LanesMax,     \* lanes can get the ids 1..LanesMax
    LanesFirst,   \* lanes 1..LanesFirst exist from the beginning
    RouteFirst,   \* the placement at the beginning: for each shard, its group
    Script,       \* what administrators decide, in this order, at any time
    Tails,        \* whether lanes have an uncommitted part
    Repeats,      \* how often a write may be proposed again for no good reason
    OldCuts,      \* how many cuts may say nothing new
    Checkpoints,  \* how often a node may make its state durable
    Crashes,      \* how often a node may fall back to its durable state
    LostDisks,    \* how often a node may lose all that it had
    Mutant        \* a mistake that is planted: see mutants.txt. "none" is the design

VARIABLES
    root,     \* the root's log, all of it committed
    lane,     \* per lane: its log
    commit,   \* per lane: how much of its log is committed
    knows,    \* per node and lane: how much it knows to be committed
    node,     \* per node: its state, with its place in the one order
    durable,  \* per node: the state that it would restart with
    left,     \* per node: the dropped lanes whose logs it has removed
    write,    \* per write: what its origin and its client know of it
    decided,  \* how much of Script is in the root's log
    spent     \* how much of Repeats, OldCuts, ... is used up

vars == <<root, lane, commit, knows, node, durable, left, write, decided, spent>>

Node == 1..Nodes
Lane == 1..LanesMax
Write == 1..Writes
Root == 0  \* as a group among lanes

Range(sequence) == {sequence[i] : i \in DOMAIN sequence}
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Min(S) == CHOOSE x \in S : \A y \in S : x <= y

----------------------------------------------------------------------------------
(* What is in the logs. *)

WriteEntry(id, epoch) == [kind |-> "write", id |-> id, epoch |-> epoch]
CutEntry(upTo) == [kind |-> "cut", upTo |-> upTo]
CreateLane == [kind |-> "create"]              \* its id follows from its position
DropLane(id) == [kind |-> "drop", lane |-> id]
Place(route) == [kind |-> "place", route |-> route, epoch |-> 0]

(* Scripts and placements that configurations choose from. *)
NoScript == <<>>
ToTheRoot == <<Place(<<Root>>), DropLane(1)>>
ToAnotherLane == <<CreateLane, Place(<<2>>), DropLane(1)>>
ThereAndBack == <<Place(<<Root>>), DropLane(1), CreateLane, Place(<<2>>)>>

InOneLane == <<1>>
InTwoLanes == <<1, 2>>
InTwoLanesAndTheRoot == <<1, 2, Root>>
InOneLaneAndTheRoot == <<1, Root>>
InOneLaneTwiceAndTheRoot == <<1, Root, 1>>

----------------------------------------------------------------------------------
(* The state of a node, and what applying one entry does to it. All of it is
   written in one transaction: a place is never stored without its rows.          *)

Start == [
    root  |-> 0,                     \* entries of the root's log that are applied
    lane  |-> [l \in Lane |-> 0],    \* entries of each lane that are applied
    made  |-> LanesFirst,            \* ids of lanes that were ever given away
    live  |-> 1..LanesFirst,         \* lanes that exist
    epoch |-> 1,
    route |-> RouteFirst,
    rows  |-> <<>>,                  \* what readers see
    ids   |-> {}                     \* proposals that need not be applied again
]

PlaceOf(s) == <<s.root, s.lane>>

(* Exactly once; and a write of any epoch applies where it is ordered. *)
WithWrite(s, entry) ==
    IF \/ entry.id \in s.ids /\ Mutant # "no id is remembered"
       \/ entry.epoch < s.epoch /\ Mutant = "an epoch fences older writes"
    THEN s
    ELSE [s EXCEPT !.rows = Append(@, entry.id), !.ids = @ \union {entry.id}]

(* An id follows from the position of its entry, and is never given away again: cuts
   and entries that are late must not mean a lane that they have never heard of.  *)
NewLane(s) ==
    IF Mutant = "the id of a dropped lane is used again"
    THEN Min((1..s.made + 1) \ s.live)
    ELSE s.made + 1

WithCreate(s) ==
    LET id == NewLane(s)
    IN [s EXCEPT !.live = @ \union {id}, !.made = Max({@, id})]

RECURSIVE WithEntries(_, _, _)
WithEntries(s, l, i) ==  \* lane l up to index i; only a mutant does this without a cut
    IF s.lane[l] >= i THEN s
    ELSE WithEntries([WithWrite(s, lane[l][s.lane[l] + 1]) EXCEPT !.lane[l] = @ + 1], l, i)

(* From here on, what no cut has covered of the lane is void. *)
WithDrop(n, s, l) ==
    IF Mutant = "a drop applies what is left of its lane"
    THEN [WithEntries(s, l, knows[n][l]) EXCEPT !.live = @ \ {l}]
    ELSE [s EXCEPT !.live = @ \ {l}]

WithPlacement(s, entry) ==
    [s EXCEPT !.route = entry.route,
              !.epoch = IF Mutant = "the proposer chooses the epoch" THEN entry.epoch ELSE @ + 1]

(* The next entry of the root that is not a cut. *)
WithRootEntry(n, s, entry) ==
    [CASE entry.kind = "write"  -> WithWrite(s, entry)
       [] entry.kind = "create" -> WithCreate(s)
       [] entry.kind = "drop"   -> WithDrop(n, s, entry.lane)
       [] entry.kind = "place"  -> WithPlacement(s, entry)
     EXCEPT !.root = @ + 1]

(* How far a cut orders a lane, as node n reads it. *)
CutUpTo(n, cut, l) ==
    IF Mutant = "a cut covers all that a node knows" /\ cut.upTo[l] > 0
    THEN Max({cut.upTo[l], knows[n][l]})
    ELSE cut.upTo[l]

(* The lanes in which a cut covers something that none before it has. A lane that
   is dropped is not among them: what it still says of it is void.                *)
Uncovered(n, s, cut) ==
    {l \in IF Mutant = "a cut is honoured after the drop" THEN 1..s.made ELSE s.live :
        s.lane[l] < CutUpTo(n, cut, l)}

(* A cut that says nothing new, because cuts count as their maximum. *)
WithOldCut(s, cut) ==
    IF Mutant = "an older cut takes a newer one back"
    THEN [s EXCEPT !.root = @ + 1,
                   !.lane = [l \in Lane |-> IF l \in s.live THEN cut.upTo[l] ELSE @[l]]]
    ELSE [s EXCEPT !.root = @ + 1]

(* One entry of lane l, which the cut at s.root + 1 covers. The cut is done with
   its last one; before that, the place is in the middle of it.                   *)
WithLaneEntry(n, s, cut, l) ==
    LET next == [WithWrite(s, lane[l][s.lane[l] + 1]) EXCEPT !.lane[l] = @ + 1]
    IN IF Uncovered(n, next, cut) = {} THEN [next EXCEPT !.root = @ + 1] ELSE next

----------------------------------------------------------------------------------
(* The one order. It is a function of the logs alone, and no node is in it. *)

(* How far the cuts among the root's first r entries order lane l: their maximum,
   in any order in which they come.                                               *)
Drops(r, l) == \E i \in 1..r : root[i] = DropLane(l)
Ordered(r, l) ==
    Max({0} \union {root[i].upTo[l] : i \in {j \in 1..r : root[j].kind = "cut" /\ ~Drops(j, l)}})

(* Where writes stand in the order, those that are there again included. *)
At(group, index, id) == [group |-> group, index |-> index, id |-> id]

RECURSIVE OfLanes(_, _)
OfLanes(r, l) ==  \* what the root's entry r, a cut, newly covers in lanes l and behind
    IF l > LanesMax THEN <<>>
    ELSE LET from == Ordered(r - 1, l)
         IN [i \in 1..(Ordered(r, l) - from) |-> At(l, from + i, lane[l][from + i].id)]
            \o OfLanes(r, l + 1)

RECURSIVE UpToRoot(_)
UpToRoot(r) ==
    IF r = 0 THEN <<>>
    ELSE UpToRoot(r - 1) \o
         CASE root[r].kind = "write" -> <<At(Root, r, root[r].id)>>
           [] root[r].kind = "cut"   -> OfLanes(r, 1)
           [] OTHER                  -> <<>>

Order == UpToRoot(Len(root))

(* Whether a node in state s is past x. *)
Past(s, x) == IF x.group = Root THEN s.root >= x.index ELSE s.lane[x.group] >= x.index

RECURSIVE Once(_)
Once(sequence) ==  \* each id where it stands first
    IF sequence = <<>> THEN <<>>
    ELSE LET front == Once(SubSeq(sequence, 1, Len(sequence) - 1))
             last == sequence[Len(sequence)]
         IN IF \E i \in DOMAIN front : front[i] = last THEN front ELSE Append(front, last)

(* The rows that a node in state s must have. *)
RowsAt(s) ==
    LET there == SelectSeq(Order, LAMBDA x : Past(s, x))
    IN Once([i \in DOMAIN there |-> there[i].id])

----------------------------------------------------------------------------------
(* Clients, origins, and the groups' logs. *)

Origin(p) == ((p - 1) % Nodes) + 1
Shard(p, route) == ((p - 1) % Len(route)) + 1

(* Where the origin sends a write: by the placement that it has applied. *)
RouteOf(p) ==
    LET s == node[Origin(p)]
        group == s.route[Shard(p, s.route)]
    IN IF group \in s.live THEN group ELSE Root

(* Whether a node is left that takes a write for the lane. *)
IsThere(l) == \E n \in Node : l \notin left[n]

(* The clients of n whose writes are now applied there get their answers. *)
Answered(n, s) ==
    [p \in Write |->
        IF write[p].state = "open" /\ Origin(p) = n /\ p \in s.ids
        THEN [write[p] EXCEPT !.state = "acknowledged"]
        ELSE write[p]]

(* The clients of n hear no more of their writes. *)
InDoubt(n) ==
    [p \in Write |->
        IF write[p].state = "open" /\ Origin(p) = n THEN [write[p] EXCEPT !.state = "in doubt"]
        ELSE write[p]]

(* The origin of p puts it into a group's log; a lane that all have left takes nothing. *)
Put(p, group) ==
    LET entry == WriteEntry(p, node[Origin(p)].epoch)
    IN CASE group = Root ->
                /\ root' = Append(root, entry)
                /\ UNCHANGED <<lane, commit>>
         [] group # Root /\ IsThere(group) ->
                /\ lane' = [lane EXCEPT ![group] = Append(@, entry)]
                /\ commit' = IF Tails THEN commit ELSE [commit EXCEPT ![group] = @ + 1]
                /\ UNCHANGED root
         [] OTHER ->
                UNCHANGED <<root, lane, commit>>

Sent(p, group) ==
    /\ Put(p, group)
    /\ write' = [write EXCEPT ![p] = [state |-> "open", via |-> group]]
    /\ UNCHANGED <<knows, node, durable, left, decided>>

Offer(p) ==
    /\ write[p].state = "new"
    /\ Sent(p, RouteOf(p))
    /\ UNCHANGED spent

(* The leader that had taken p has lost it again, and says so. *)
IsLost(p) ==
    /\ write[p].state = "open"
    /\ write[p].via # Root
    /\ \A i \in DOMAIN lane[write[p].via] : lane[write[p].via][i].id # p

(* The origin applies the drop of the lane that p was sent to, and p was in no cut:
   it is void there, and goes the second way, under the same id.                  *)
IsVoid(p) ==
    LET s == node[Origin(p)]
    IN /\ write[p].state = "open"
       /\ write[p].via \in (1..s.made) \ s.live
       /\ p \notin s.ids
       /\ Mutant # "a void write is not proposed again"

OfferVoid(p) ==
    /\ IsVoid(p)
    /\ Sent(p, Root)
    /\ UNCHANGED spent

(* The origin has heard nothing for long, and tries again: in the same group, or
   where the write would go by now.                                               *)
OfferAgain(p) ==
    /\ write[p].state = "open"
    /\ ~IsVoid(p)
    /\ IsLost(p) \/ spent.repeats < Repeats
    /\ spent' = IF IsLost(p) THEN spent ELSE [spent EXCEPT !.repeats = @ + 1]
    /\ \E group \in {write[p].via, RouteOf(p)} : Sent(p, group)

(* A lane commits what it has; or its leader goes, and what was not committed too. *)
Commit(l) ==
    /\ commit[l] < Len(lane[l])
    /\ commit' = [commit EXCEPT ![l] = Len(lane[l])]
    /\ UNCHANGED <<root, lane, knows, node, durable, left, write, decided, spent>>

LoseTail(l) ==
    /\ commit[l] < Len(lane[l])
    /\ lane' = [lane EXCEPT ![l] = SubSeq(@, 1, commit[l])]
    /\ UNCHANGED <<root, commit, knows, node, durable, left, write, decided, spent>>

Decide ==
    /\ decided < Len(Script)
    /\ decided' = decided + 1
    /\ LET entry == Script[decided + 1]
       IN IF entry.kind = "place" /\ Mutant = "the proposer chooses the epoch"
          THEN \E n \in Node : root' = Append(root, [entry EXCEPT !.epoch = node[n].epoch + 1])
          ELSE root' = Append(root, entry)
    /\ UNCHANGED <<lane, commit, knows, node, durable, left, write, spent>>

(* A node hears how far a lane is committed, and gets the entries. *)
Learn(n, l) ==
    /\ l \in 1..node[n].made
    /\ knows[n][l] < commit[l]
    /\ l \notin left[n]
    /\ \E m \in Node \ {n} : l \notin left[m]
    /\ knows' = [knows EXCEPT ![n][l] = commit[l]]
    /\ UNCHANGED <<root, lane, commit, node, durable, left, write, decided, spent>>

(* Node n, which leads the root or thinks so, says how far it knows the lanes to be
   committed. Another node may have said more, or the same, or have dropped one.  *)
Cut(n) ==
    LET length(l) ==
            IF Mutant = "a cut names what is not committed" THEN Len(lane[l]) ELSE knows[n][l]
        upTo == [l \in Lane |-> IF l \in node[n].live THEN length(l) ELSE 0]
        isNew == \E l \in Lane : upTo[l] > Ordered(Len(root), l) /\ ~Drops(Len(root), l)
    IN /\ \E l \in Lane : upTo[l] > 0
       /\ isNew \/ spent.oldCuts < OldCuts
       /\ spent' = IF isNew THEN spent ELSE [spent EXCEPT !.oldCuts = @ + 1]
       /\ root' = Append(root, CutEntry(upTo))
       /\ UNCHANGED <<lane, commit, knows, node, durable, left, write, decided>>

----------------------------------------------------------------------------------
(* Nodes apply. *)

Applied(n, s) ==
    /\ node' = [node EXCEPT ![n] = s]
    /\ write' = Answered(n, s)
    /\ UNCHANGED <<root, lane, commit, knows, durable, left, decided, spent>>

(* The lane that is next at a cut: they come in the order of their ids. *)
NextLanes(n, cut) ==
    LET uncovered == Uncovered(n, node[n], cut)
    IN IF Mutant = "lanes are applied in the order of arrival"
       THEN {l \in uncovered : knows[n][l] > node[n].lane[l]}
       ELSE {Min(uncovered)}

(* What a node must not do when the entries have not arrived. It waits: they are
   committed, so they come, or a snapshot does.                                   *)
SkipLane(n, cut, l) ==
    /\ Mutant = "a cut is applied without waiting"
    /\ LET s == [node[n] EXCEPT !.lane[l] = cut.upTo[l]]
       IN Applied(n, IF Uncovered(n, s, cut) = {} THEN [s EXCEPT !.root = @ + 1] ELSE s)

ApplyCut(n, cut) ==
    IF Uncovered(n, node[n], cut) = {}
    THEN Applied(n, WithOldCut(node[n], cut))
    ELSE \E l \in NextLanes(n, cut) :
            IF knows[n][l] > node[n].lane[l]
            THEN Applied(n, WithLaneEntry(n, node[n], cut, l))
            ELSE SkipLane(n, cut, l)

Apply(n) ==
    /\ node[n].root < Len(root)
    /\ LET entry == root[node[n].root + 1]
       IN IF entry.kind = "cut"
          THEN ApplyCut(n, entry)
          ELSE Applied(n, WithRootEntry(n, node[n], entry))

(* What clients would like, and must not get: an answer before the position. *)
AnswerEarly(p) ==
    /\ Mutant = "a write is acknowledged when its lane has committed it"
    /\ write[p].state = "open"
    /\ write[p].via # Root
    /\ \E i \in 1..commit[write[p].via] : lane[write[p].via][i].id = p
    /\ write' = [write EXCEPT ![p].state = "acknowledged"]
    /\ UNCHANGED <<root, lane, commit, knows, node, durable, left, decided, spent>>

----------------------------------------------------------------------------------
(* Nodes fail, come back, and forget. *)

(* The state as it is, with all of its place, also in the middle of a cut. *)
Image(n) ==
    CASE Mutant = "a checkpoint stores the root's index alone" ->
            [node[n] EXCEPT !.lane = [l \in Lane |-> Ordered(node[n].root, l)]]
      [] Mutant = "a checkpoint stores the place before the rows" ->
            [node[n] EXCEPT !.rows = durable[n].rows, !.ids = durable[n].ids]
      [] OTHER ->
            node[n]

Checkpoint(n) ==
    /\ durable[n] # node[n]
    /\ spent.checkpoints < Checkpoints
    /\ spent' = [spent EXCEPT !.checkpoints = @ + 1]
    /\ durable' = [durable EXCEPT ![n] = Image(n)]
    /\ UNCHANGED <<root, lane, commit, knows, node, left, write, decided>>

(* Back to the last checkpoint; the logs are still there. *)
Crash(n) ==
    /\ spent.crashes < Crashes
    /\ spent' = [spent EXCEPT !.crashes = @ + 1]
    /\ node' = [node EXCEPT ![n] = durable[n]]
    /\ write' = InDoubt(n)
    /\ UNCHANGED <<root, lane, commit, knows, durable, left, decided>>

(* What node m gives away: rows, ids and place of one moment. *)
Snapshot(m) ==
    CASE Mutant = "a snapshot has the lanes' indexes of a later moment" ->
            [node[m] EXCEPT !.lane = knows[m]]
      [] Mutant = "a snapshot comes without the ids" ->
            [node[m] EXCEPT !.ids = {}]
      [] OTHER ->
            node[m]

(* Node n has met a cut, and lacks entries of lane l for it. *)
WaitsFor(n, l) ==
    /\ node[n].root < Len(root)
    /\ root[node[n].root + 1].kind = "cut"
    /\ l \in Uncovered(n, node[n], root[node[n].root + 1])
    /\ knows[n][l] <= node[n].lane[l]

(* Node n waits for entries that all other nodes hold only as rows. *)
IsTooLate(n) == \E l \in Lane : WaitsFor(n, l) /\ \A m \in Node \ {n} : l \in left[m]

(* A node with nothing, or too far behind, goes on from another's state. It is no
   member any more of lanes that are dropped there.                               *)
Reseed(n, m) ==
    /\ n # m
    /\ \/ IsTooLate(n) /\ node[m].root > node[n].root /\ spent' = spent
       \/ spent.lostDisks < LostDisks /\ spent' = [spent EXCEPT !.lostDisks = @ + 1]
    /\ node' = [node EXCEPT ![n] = Snapshot(m)]
    /\ durable' = [durable EXCEPT ![n] = Snapshot(m)]
    /\ knows' = [knows EXCEPT ![n] = Snapshot(m).lane]
    /\ left' = [left EXCEPT ![n] = (1..node[m].made) \ node[m].live]
    /\ write' = InDoubt(n)
    /\ UNCHANGED <<root, lane, commit, decided>>

(* A node removes the log of a dropped lane when it will never read it again: when
   the state that it would restart with is behind the drop.                       *)
Leave(n, l) ==
    LET s == IF Mutant = "a lane's log goes when its drop is applied" THEN node[n] ELSE durable[n]
    IN /\ l \in (1..s.made) \ s.live
       /\ l \notin left[n]
       /\ left' = [left EXCEPT ![n] = @ \union {l}]
       /\ UNCHANGED <<root, lane, commit, knows, node, durable, write, decided, spent>>

----------------------------------------------------------------------------------
Init ==
    /\ root = <<>>
    /\ lane = [l \in Lane |-> <<>>]
    /\ commit = [l \in Lane |-> 0]
    /\ knows = [n \in Node |-> [l \in Lane |-> 0]]
    /\ node = [n \in Node |-> Start]
    /\ durable = [n \in Node |-> Start]
    /\ left = [n \in Node |-> {}]
    /\ write = [p \in Write |-> [state |-> "new", via |-> Root]]
    /\ decided = 0
    /\ spent = [repeats |-> 0, oldCuts |-> 0, checkpoints |-> 0, crashes |-> 0, lostDisks |-> 0]

Next ==
    \/ \E p \in Write : Offer(p) \/ OfferVoid(p) \/ OfferAgain(p) \/ AnswerEarly(p)
    \/ \E l \in Lane : Commit(l) \/ LoseTail(l)
    \/ Decide
    \/ \E n \in Node : Cut(n) \/ Apply(n) \/ Checkpoint(n) \/ Crash(n)
    \/ \E n \in Node, l \in Lane : Learn(n, l) \/ Leave(n, l)
    \/ \E n, m \in Node : Reseed(n, m)

Spec == Init /\ [][Next]_vars

----------------------------------------------------------------------------------
(* What must hold in every state. *)

States == {node[n] : n \in Node} \union {durable[n] : n \in Node}

IsPrefix(a, b) == Len(a) <= Len(b) /\ SubSeq(b, 1, Len(a)) = a

(* A cut names only committed entries: a node that waits for them will get them. *)
CutsNameWhatIsCommitted ==
    \A r \in DOMAIN root : root[r].kind = "cut" => \A l \in Lane : root[r].upTo[l] <= commit[l]

(* Of all that nodes hold or would restart with: equal places, equal states. *)
EqualPlacesEqualStates ==
    \A s, t \in States : PlaceOf(s) = PlaceOf(t) => s = t

(* Two nodes differ only in how far they are. *)
OneSequence ==
    \A s, t \in States : IsPrefix(s.rows, t.rows) \/ IsPrefix(t.rows, s.rows)

(* And what they hold is what the logs say. *)
NodesFollowTheOrder ==
    \A s \in States : s.rows = RowsAt(s)

NothingIsAppliedTwice ==
    \A s \in States : Len(s.rows) = Cardinality(Range(s.rows))

(* What a client was told stands in the order, and every state that is past that
   position holds it.                                                             *)
NothingAcknowledgedIsLost ==
    \A p \in Write : write[p].state = "acknowledged" =>
        \E i \in DOMAIN Order :
            /\ Order[i].id = p
            /\ \A s \in States : Past(s, Order[i]) => p \in Range(s.rows)

(* A lane's entries that no cut before its drop has covered are void, for ever. *)
NothingAfterTheDrop ==
    \A r \in DOMAIN root : root[r].kind = "drop" =>
        \A s \in States : s.lane[root[r].lane] <= Ordered(r, root[r].lane)

(* Later is larger, and a placement makes it larger. *)
EpochsOnlyGrow ==
    \A s, t \in States : s.root < t.root =>
        IF \E r \in s.root + 1 .. t.root : root[r].kind = "place"
        THEN s.epoch < t.epoch
        ELSE s.epoch = t.epoch

(* When nothing is on the way any more, no client waits. *)
IsQuiet ==
    /\ \A n \in Node : node[n].root = Len(root)
    /\ \A l \in Lane : commit[l] = Len(lane[l])
    /\ \A n \in Node : \A l \in node[n].live : node[n].lane[l] = commit[l]
    /\ \A p \in Write : ~IsVoid(p) /\ ~IsLost(p)

NothingIsForgotten ==
    IsQuiet => \A p \in Write : write[p].state # "open"

(* What a node waits for comes, or a snapshot does. *)
NobodyWaitsInVain ==
    \A n \in Node, l \in Lane : WaitsFor(n, l) =>
        \/ /\ knows[n][l] < commit[l]
           /\ l \notin left[n]
           /\ \E m \in Node \ {n} : l \notin left[m]
        \/ /\ IsTooLate(n)
           /\ \E m \in Node : node[m].root > node[n].root

(* What the order holds of a lane, some node can still give away after a restart: as
   entries, or as rows in a snapshot.                                             *)
NothingNeededIsGone ==
    \A l \in Lane :
        \/ \E n \in Node : l \notin left[n]
        \/ \E n \in Node : durable[n].lane[l] = Ordered(Len(root), l)

----------------------------------------------------------------------------------
(* What some state must be like: a model that never gets there would prove nothing
   about it. Each configuration names those that it reaches.                      *)

IsInTheMiddle(s) ==
    /\ \E l \in Lane : s.lane[l] > Ordered(s.root, l)
    /\ s.root < Len(root)

SomebodyWaits == \E n \in Node, l \in Lane : WaitsFor(n, l)

SomebodyIsTooLate == \E n \in Node : IsTooLate(n)

SomebodyIsInTheMiddle == \E n \in Node : IsInTheMiddle(node[n])

SomebodyRestartsInTheMiddle ==
    \E n \in Node : IsInTheMiddle(durable[n]) /\ node[n] = durable[n] /\ spent.crashes > 0

SomebodyIsReseededInTheMiddle ==
    \E n \in Node : IsInTheMiddle(durable[n]) /\ node[n] = durable[n] /\ spent.lostDisks > 0

AnIdIsOrderedTwice ==
    \E i, j \in DOMAIN Order : i < j /\ Order[i].id = Order[j].id

ACutIsOutOfDate ==
    \E r \in DOMAIN root, l \in Lane : root[r].kind = "cut" /\ root[r].upTo[l] < Ordered(r - 1, l)

ACutNamesADroppedLane ==
    \E r \in DOMAIN root, l \in Lane : root[r].kind = "cut" /\ Drops(r, l) /\ root[r].upTo[l] > 0

ATailIsLost == \E p \in Write : IsLost(p)

AVoidWriteIsAcknowledged ==
    \E l \in Lane : Drops(Len(root), l) /\ \E i \in Ordered(Len(root), l) + 1 .. Len(lane[l]) :
        write[lane[l][i].id].state = "acknowledged"

AnOlderEpochIsApplied ==
    \E n \in Node, l \in Lane : \E i \in 1..node[n].lane[l] :
        \E r \in 1..node[n].root :
            root[r].kind = "place" /\ Ordered(r, l) < i /\ lane[l][i].epoch = 1

ALaterLaneIsUsed == \E n \in Node : node[n].lane[LanesMax] > 0

==================================================================================
