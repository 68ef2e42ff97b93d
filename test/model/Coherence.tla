----------------------------- MODULE Coherence -----------------------------
(* The coherence protocol of proto/SPEC.md, as the code implements it, for one cached name: a database, the publisher,   *)
(* Kafka, sidecars with their memory (L1), Redis with one fence log (L2) and its appliers, and what goes wrong with each. *)
(* README.md says what is left out and which action stands for which code.                                               *)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
  Sidecars, Appliers,   \* sets of model values; no appliers: no Redis
  IsTagged,             \* whether a tag invalidates the name (a fence is compared at a read) or its key (a fence deletes)
  HasStandby,           \* whether callers may read a standby and name its replay position
  MaxLsn, MaxRecords, MaxEpochs, MaxGenerations,
  HasLateSight,         \* whether a commit may be streamed before snapshots see it
  HasIdleCommits,       \* whether commits may touch nothing that is cached
  CutsAnywhere,         \* whether a record may end before the newest commit
  Budget,               \* how often each fault may strike, and (all) how many in one history
  Without,              \* the rules that are left out, by name: the good protocol has none
  With                  \* designs that were considered, by name: the good protocol has none

ASSUME Without \subseteq {
  "visible clock", "confirm after publish", "slot not ahead", "confirm visible", "timeline compared", "seen before epoch",
  "gap flushes", "own epoch first", "start sets horizon", "eviction", "lease epoch", "fill horizon", "fill fence", "standby position",
  "promotion after check", "read horizon", "read own fences", "read log epoch", "read entry epoch", "tag from", "tag fence",
  "apply hole", "apply deletes", "new generation", "begin sees", "fences intact",
  "L2 fill fence", "L2 fill from", "L2 fill epoch", "L2 new epoch" }
ASSUME With \subseteq {"continue over a switch", "purge at a switch", "fenced producer"}

VARIABLES
  db,       \* Seq of commits, its index is the commit position: [ver, seen]; ver 0: touches nothing that is cached
  vers,     \* versions given out so far: a version is never given twice, not even after a failover
  cuts,     \* Seq: where each timeline ended
  common,   \* by epoch: the position up to which its history is that of db (ghost)
  slot,     \* [ok, conf]
  pub,      \* the publisher: [up, ep, to, vis, floor, have]
  out,      \* the record it has sent and that Kafka has not acknowledged, or None
  late,     \* a record that was sent and may still be appended, though nobody waits for it, or None
  klog, kfirst, \* the topic and its first retained record
  sc,       \* the sidecars
  wire,     \* a fill on its way to Redis, or None
  red,      \* Redis: [has, ok, gen, ep, from, to, off, fence, ents]
  snap,     \* an image of Redis that may be restored
  gens,     \* generations begun so far
  ap,       \* the appliers: [pos, prev, view, broken]
  left      \* what is left of the budget

vars == <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

None == [none |-> TRUE]
Far == MaxLsn + 1
Rule(r) == r \notin Without
Max(a, b) == IF a > b THEN a ELSE b
Min(a, b) == IF a < b THEN a ELSE b
MaxOf(S) == CHOOSE x \in S : \A y \in S : x >= y
Strike(fault) == left[fault] > 0 /\ left.all > 0 /\ left' = [left EXCEPT ![fault] = @ - 1, !.all = @ - 1]

(* What is true, and nobody knows. *)
Top == Len(db)
VersionsAt(i) == {db[j].ver : j \in {j \in 1..Min(i, Top) : db[j].ver > 0}}
VersionsSeen == {db[j].ver : j \in {j \in 1..Top : db[j].ver > 0 /\ db[j].seen}}
Newest(from, to) == MaxOf({0} \cup {j \in (from + 1)..Min(to, Top) : db[j].ver > 0})
Bound(ep, i) == VersionsAt(Min(i, common[ep]))  \* the versions that a consumer at (ep, i) has applied

-----------------------------------------------------------------------------
(* Database. A commit can be streamed at once; snapshots see it later, in any order. *)

Commit ==
  /\ Top < MaxLsn
  /\ \E touches \in {TRUE, ~HasIdleCommits}, seen \in {TRUE, ~HasLateSight} :
       /\ db' = Append(db, [ver |-> IF touches THEN vers + 1 ELSE 0, seen |-> seen \/ ~touches])
       /\ vers' = IF touches THEN vers + 1 ELSE vers
  /\ UNCHANGED <<cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

See ==
  /\ \E i \in 1..Top : ~db[i].seen /\ db' = [db EXCEPT ![i].seen = TRUE]
  /\ UNCHANGED <<vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

(* Another server takes over, with a prefix of the commits; its positions are used again. The slot was synchronized. *)
Failover ==
  /\ Strike("failover")
  /\ \E cut \in 0..Top :
       /\ db' = [i \in 1..cut |-> [db[i] EXCEPT !.seen = TRUE]]
       /\ cuts' = Append(cuts, cut)
       /\ common' = [e \in 1..MaxEpochs |-> Min(common[e], cut)]
       /\ slot' = [slot EXCEPT !.conf = Min(@, cut)]
       /\ sc' = [s \in Sidecars |-> [sc[s] EXCEPT !.must = @ \cap {db[j].ver : j \in 1..cut}]]
  /\ pub' = [pub EXCEPT !.up = FALSE]
  /\ out' = None
  /\ late' \in {late, IF out = None THEN late ELSE out}
  /\ UNCHANGED <<vers, klog, kfirst, wire, red, snap, gens, ap>>

(* Somebody drops the slot, or drops it and makes it again, while nobody reads it. Making one writes WAL. *)
SlotLost ==
  /\ ~pub.up /\ slot.ok
  /\ Strike("slot")
  /\ \/ slot' = [slot EXCEPT !.ok = FALSE] /\ UNCHANGED db
     \/ Top < MaxLsn /\ db' = Append(db, [ver |-> 0, seen |-> TRUE]) /\ slot' = [ok |-> TRUE, conf |-> Top + 1]
        /\ \A i \in 1..Top : db[i].seen
  /\ UNCHANGED <<vers, cuts, common, pub, out, late, klog, kfirst, sc, wire, red, snap, gens, ap>>

-----------------------------------------------------------------------------
(* Publisher: SPEC I1, I2, I3. *)

VisibleTo(to) ==
  LET seen == {p \in pub.floor..to : \A i \in (pub.floor + 1)..p : db[i].seen}
  IN IF ~Rule("visible clock") THEN to ELSE IF seen = {} THEN Min(pub.floor, to) ELSE MaxOf(seen)

Publish ==
  /\ pub.up /\ out = None
  /\ \E to \in (IF CutsAnywhere THEN pub.to..Top ELSE {Top}) :
       LET vis == VisibleTo(to) IN
       /\ to > pub.to \/ vis > pub.vis
       /\ out' = [ep |-> pub.ep, from |-> pub.to, to |-> to, vis |-> vis, f |-> Newest(Max(pub.to, pub.have), to),
                  tl |-> Len(cuts)]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

Acknowledge ==
  /\ pub.up /\ out # None /\ Len(klog) < MaxRecords
  /\ klog' = Append(klog, out)
  /\ pub' = [pub EXCEPT !.to = out.to, !.vis = out.vis]
  /\ out' = None
  /\ UNCHANGED <<db, vers, cuts, common, slot, late, kfirst, sc, wire, red, snap, gens, ap, left>>

Confirm ==
  /\ pub.up
  /\ left.all > 0 /\ left.crash + left.failover > 0  \* only a start looks at it
  /\ LET upTo == IF ~Rule("confirm after publish") /\ out # None THEN out.vis
                 ELSE IF ~Rule("confirm visible") THEN pub.to ELSE pub.vis IN
     upTo > slot.conf /\ slot' = [slot EXCEPT !.conf = upTo]
  /\ UNCHANGED <<db, vers, cuts, common, pub, out, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

(* kill -9. What it had sent may be lost, or reach Kafka at any later time. *)
PublisherCrash ==
  /\ pub.up /\ Strike("crash")
  /\ pub' = [pub EXCEPT !.up = FALSE]
  /\ out' = None
  /\ late' \in {late, IF out = None THEN late ELSE out}
  /\ UNCHANGED <<db, vers, cuts, common, slot, klog, kfirst, sc, wire, red, snap, gens, ap>>

Last == klog[Len(klog)]
IsSameHistory ==
  IF ~Rule("timeline compared") THEN TRUE
  ELSE IF "continue over a switch" \notin With THEN Last.tl = Len(cuts)
  ELSE \A t \in (Last.tl + 1)..Len(cuts) : Last.to <= cuts[t]  \* no timeline since the newest record ended before it
CanContinue == slot.ok /\ IsSameHistory /\ Last.to <= Top /\ (slot.conf <= Last.to \/ ~Rule("slot not ahead"))

Continue ==
  /\ ~pub.up /\ CanContinue
  /\ LET vis == Max(Last.vis, slot.conf) IN
     pub' = [up |-> TRUE, ep |-> Last.ep, to |-> Last.to, vis |-> Last.vis, floor |-> vis, have |-> slot.conf]
  /\ common' = [common EXCEPT ![Last.ep] = Far]
  /\ late' = IF "fenced producer" \in With THEN None ELSE late
  /\ IF Last.tl < Len(cuts) /\ "purge at a switch" \in With
     THEN Top < MaxLsn /\ db' = Append(db, [ver |-> vers + 1, seen |-> TRUE]) /\ vers' = vers + 1
     ELSE UNCHANGED <<db, vers>>
  /\ UNCHANGED <<cuts, slot, out, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

(* The slot came over with a promotion that lost nothing announced: the stream goes on from it, in a new epoch. *)
CanTakeOver ==
  /\ slot.ok /\ slot.conf <= Last.to /\ Last.to <= Top
  /\ Last.tl < Len(cuts) /\ \A t \in (Last.tl + 1)..Len(cuts) : Last.to <= cuts[t]

TakeOver ==
  /\ ~pub.up /\ ~CanContinue /\ CanTakeOver
  /\ pub.ep < MaxEpochs
  /\ LET vis == Max(Last.vis, slot.conf)
         ep == Max(Last.ep, pub.ep) + 1 IN
     /\ pub' = [up |-> TRUE, ep |-> ep, to |-> Last.to, vis |-> vis, floor |-> vis, have |-> slot.conf]
     /\ out' = [ep |-> ep, from |-> Last.to, to |-> Last.to, vis |-> vis, f |-> 0, tl |-> Len(cuts)]
     /\ common' = [common EXCEPT ![ep] = Far]
  /\ UNCHANGED <<db, vers, cuts, slot, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

(* A new slot; its first record goes out once everything before it is seen. Epochs are numbered by the clock. *)
NewEpoch ==
  /\ ~pub.up /\ ~CanContinue /\ ~CanTakeOver
  /\ Top < MaxLsn
  /\ pub.ep < MaxEpochs
  /\ Rule("seen before epoch") => \A i \in 1..Top : db[i].seen
  /\ LET at == Top + 1
         ep == Max(Last.ep, pub.ep) + 1 IN
     /\ db' = Append(db, [ver |-> 0, seen |-> TRUE])
     /\ slot' = [ok |-> TRUE, conf |-> at]
     /\ pub' = [up |-> TRUE, ep |-> ep, to |-> at, vis |-> at, floor |-> at, have |-> at]
     /\ out' = [ep |-> ep, from |-> at, to |-> at, vis |-> at, f |-> 0, tl |-> Len(cuts)]
     /\ common' = [common EXCEPT ![ep] = Far]
  /\ UNCHANGED <<vers, cuts, late, klog, kfirst, sc, wire, red, snap, gens, ap, left>>

-----------------------------------------------------------------------------
(* Kafka. *)

LateAppend ==
  /\ late # None /\ Len(klog) < MaxRecords
  /\ klog' = Append(klog, late)
  /\ late' = None
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, kfirst, sc, wire, red, snap, gens, ap, left>>

(* A request that was sent again because its answer was lost. *)
Duplicate ==
  /\ late = None /\ Strike("duplicate")
  /\ late' = Last
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, klog, kfirst, sc, wire, red, snap, gens, ap>>

Retention ==
  /\ kfirst < Len(klog) /\ Strike("retention")
  /\ kfirst' \in (kfirst + 1)..Len(klog)
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, sc, wire, red, snap, gens, ap>>

-----------------------------------------------------------------------------
(* Sidecars: SPEC I1, I3 to I7, I9, I10. *)

Begin(me, rec) ==
  LET newest == IF rec.ep = me.ep THEN Max(rec.to, me.newest) ELSE rec.to IN
  [me EXCEPT !.on = TRUE, !.ep = rec.ep, !.W = rec.to, !.V = rec.vis, !.H = IF Rule("start sets horizon") THEN newest ELSE 0,
             !.newest = newest, !.fence = 0, !.l1 = None]

Apply(me, rec) ==
  LET V == IF rec.vis > me.V THEN Min(rec.vis, rec.to) ELSE me.V IN
  [me EXCEPT !.W = rec.to, !.newest = Max(@, rec.to), !.V = V, !.fence = Max(@, rec.f),
             !.l1 = IF rec.f > 0 /\ Rule("eviction") THEN None ELSE @]

MayFill(me, lease) ==
  /\ me.on
  /\ lease.ep = me.ep \/ ~Rule("lease epoch")
  /\ lease.asOf >= me.H \/ ~Rule("fill horizon")
  /\ me.fence <= lease.asOf \/ ~Rule("fill fence")

MayServe(me, ans) ==
  LET asOf == IF Rule("promotion after check") THEN ans.e.asOf ELSE Max(ans.e.asOf, me.W) IN
  /\ me.on
  /\ ans.ep = me.ep \/ ~Rule("read log epoch")
  /\ ans.e.ep = me.ep \/ ~Rule("read entry epoch")
  /\ ans.to >= me.H \/ ~Rule("read horizon")
  /\ me.fence <= Max(asOf, ans.to) \/ ~Rule("read own fences")

Observed(me, rec) ==
  LET was == IF ~me.on THEN IF rec.ep < me.ep THEN me ELSE Begin(me, rec)
             ELSE IF rec.ep > me.ep THEN Begin(me, rec)
             ELSE IF rec.ep < me.ep /\ Rule("own epoch first") THEN me
             ELSE IF rec.ep < me.ep THEN Begin(me, rec)
             ELSE IF rec.to <= me.W THEN [me EXCEPT !.V = IF rec.vis > @ THEN Min(rec.vis, me.W) ELSE @]
             ELSE IF rec.from > me.W /\ Rule("gap flushes") THEN Begin(me, rec)
             ELSE Apply(me, rec)
      mayForget == was.on /\ Without \cap {"own epoch first", "start sets horizon", "fill horizon", "read horizon"} = {}
      \* What would be refused from now on for ever is forgotten at once: the same behaviour in fewer states.
  IN [was EXCEPT !.must = IF was.on THEN @ \cup Bound(was.ep, was.W) ELSE @,
                 !.lease = IF @ # None /\ mayForget /\ ~MayFill(was, @) THEN None ELSE @,
                 !.ans = IF @ # None /\ mayForget /\ ~MayServe(was, @) THEN None ELSE @]

Observe(s) ==
  /\ sc[s].pos \in kfirst..Len(klog)
  /\ sc' = [sc EXCEPT ![s] = [Observed(@, klog[sc[s].pos]) EXCEPT !.pos = @ + 1]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

(* What it would read next is gone: it goes on at the newest record; the reader notices, or the chain must. *)
Jump(s) ==
  /\ sc[s].pos < kfirst
  /\ \E told \in BOOLEAN :
       sc' = [sc EXCEPT ![s] = [@ EXCEPT !.pos = Len(klog), !.on = @ /\ ~told, !.l1 = IF told THEN None ELSE @]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

Fresh == [on |-> FALSE, ep |-> 0, W |-> 0, V |-> 0, H |-> 0, newest |-> 0, fence |-> 0, pos |-> 0, l1 |-> None,
          lease |-> None, ans |-> None, must |-> {}]

Restart(s) ==
  /\ Strike("restart")
  /\ sc' = [sc EXCEPT ![s] = [Observed(Fresh, Last) EXCEPT !.pos = Len(klog) + 1]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap>>

Miss(s) ==
  /\ sc[s].on /\ sc[s].lease = None
  /\ sc' = [sc EXCEPT ![s].lease = [asOf |-> sc[s].V, ep |-> sc[s].ep, val |-> {}, loaded |-> FALSE]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

Load(s) ==
  /\ sc[s].lease # None /\ ~sc[s].lease.loaded
  /\ \/ sc' = [sc EXCEPT ![s].lease = [@ EXCEPT !.val = VersionsSeen, !.loaded = TRUE]]
     \/ /\ HasStandby
        /\ \E at \in 0..Top :
             sc' = [sc EXCEPT ![s].lease = [@ EXCEPT !.val = VersionsAt(at), !.loaded = TRUE,
                                                     !.asOf = IF Rule("standby position") THEN Min(@, at) ELSE @]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

Fill(s) ==
  LET me == sc[s]
      entry == [val |-> me.lease.val, asOf |-> me.lease.asOf, ep |-> me.lease.ep] IN
  /\ me.lease # None /\ me.lease.loaded
  /\ IF MayFill(me, me.lease) /\ ~(me.l1 # None /\ me.l1.asOf > entry.asOf)
     THEN /\ sc' = [sc EXCEPT ![s].lease = None, ![s].l1 = entry]
          /\ wire' \in IF Appliers = {} THEN {wire} ELSE {wire, entry}
     ELSE sc' = [sc EXCEPT ![s].lease = None] /\ UNCHANGED wire
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, red, snap, gens, ap, left>>

(* R7: what is there was checked against everything up to W, so it may say so, here and in Redis. *)
Promote(s) ==
  LET me == sc[s]
      entry == [me.l1 EXCEPT !.asOf = Max(@, me.W)] IN
  /\ me.on /\ me.l1 # None /\ (me.l1.asOf < me.W \/ (Appliers # {} /\ wire # me.l1))
  /\ sc' = [sc EXCEPT ![s].l1 = entry]
  /\ wire' \in IF Appliers = {} THEN {wire} ELSE {wire, entry}
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, red, snap, gens, ap, left>>

(* Its time has come, or memory is short. *)
Expire(s) ==
  /\ Appliers # {} /\ sc[s].l1 # None  \* without Redis a restart or an eviction leads to the same states
  /\ sc' = [sc EXCEPT ![s].l1 = None]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

L2Read(s) ==
  /\ sc[s].on /\ sc[s].l1 = None /\ sc[s].ans = None
  /\ red.has
  /\ LET e == red.ents[red.gen] IN
     /\ e # None
     /\ IsTagged => /\ red.ok \/ ~Rule("fences intact")
                    /\ e.asOf >= red.from \/ ~Rule("tag from")
                    /\ red.fence <= e.asOf \/ ~Rule("tag fence")
     /\ sc' = [sc EXCEPT ![s].ans = [e |-> e, ep |-> red.ep, to |-> red.to]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

L2Answer(s) ==
  LET me == sc[s] IN
  /\ me.ans # None
  /\ sc' = [sc EXCEPT ![s].ans = None,
                      ![s].l1 = IF me.l1 = None /\ MayServe(me, me.ans) THEN me.ans.e ELSE @]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, wire, red, snap, gens, ap, left>>

-----------------------------------------------------------------------------
(* Redis: SPEC I7. Each script is one step. *)

WireLands ==
  /\ wire # None
  /\ wire' = None
  /\ LET there == red.ents[red.gen] IN
     IF /\ red.has /\ red.ok
        /\ red.ep = wire.ep \/ ~Rule("L2 fill epoch")
        /\ wire.asOf >= red.from \/ ~Rule("L2 fill from")
        /\ red.fence <= wire.asOf \/ ~Rule("L2 fill fence")
        /\ there = None \/ there.asOf <= wire.asOf
     THEN red' = [red EXCEPT !.ents[red.gen] = wire]
     ELSE UNCHANGED red
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, snap, gens, ap, left>>

Trim ==
  /\ red.has /\ red.fence > 0 /\ Strike("trim")
  /\ red' = [red EXCEPT !.from = Max(@, red.fence), !.fence = 0]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, snap, gens, ap>>

NoLog(r) == [r EXCEPT !.has = FALSE, !.ok = FALSE, !.ep = 0, !.from = 0, !.to = 0, !.off = 0, !.fence = 0]

(* Everything goes, or the log is evicted alone, or the fences alone. *)
RedisForgets ==
  /\ red.has /\ Strike("forget")
  /\ \/ red' = [NoLog(red) EXCEPT !.ents = [g \in 1..MaxGenerations |-> None]]
     \/ red' = NoLog(red)
     \/ red' = [red EXCEPT !.ok = FALSE, !.fence = 0]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, snap, gens, ap>>

Snapshot ==
  /\ snap # red /\ Strike("snapshot")
  /\ snap' = red
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, red, gens, ap>>

(* A restart from an old image, or a failover to a replica that lags behind. *)
Restore ==
  /\ red # snap /\ Strike("restore")
  /\ red' = snap
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, snap, gens, ap>>

-----------------------------------------------------------------------------
(* Appliers: SPEC I7. One that decides by what it saw, and scripts that check it. *)

Header == IF red.has THEN [gen |-> red.gen, ep |-> red.ep, from |-> red.from, to |-> red.to, off |-> red.off] ELSE None
HeaderOf(r) == [gen |-> r.gen, ep |-> r.ep, from |-> r.from, to |-> r.to, off |-> r.off]

ApplierLoad(a) ==
  /\ Strike("applier")
  /\ ap' = [ap EXCEPT ![a] = [pos |-> IF red.has THEN red.off ELSE Len(klog), prev |-> FALSE, view |-> Header,
                              broken |-> FALSE]]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, red, snap, gens>>

ApplierReset(a) ==
  /\ ap[a].pos < kfirst
  /\ ap' = [ap EXCEPT ![a].pos = Len(klog), ![a].prev = FALSE]
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, red, snap, gens, left>>

Done(me, view) == [pos |-> me.pos + 1, prev |-> TRUE, view |-> view, broken |-> FALSE]
Again(me) == [me EXCEPT !.view = Header, !.broken = red.has /\ ~red.ok]

DoBegin(a, rec) ==
  LET me == ap[a] IN
  IF me.view # Header /\ Rule("begin sees")
  THEN ap' = [ap EXCEPT ![a] = Again(me)] /\ UNCHANGED <<red, gens>>
  ELSE /\ gens < MaxGenerations
       /\ LET gen == IF Rule("new generation") THEN gens + 1 ELSE 1
              new == [red EXCEPT !.has = TRUE, !.ok = TRUE, !.gen = gen, !.ep = rec.ep, !.from = rec.to, !.to = rec.to,
                                 !.off = me.pos + 1, !.fence = 0] IN
          /\ red' = new
          /\ gens' = IF Rule("new generation") THEN gens + 1 ELSE gens
          /\ ap' = [ap EXCEPT ![a] = Done(me, HeaderOf(new))]

(* APPLY_SCRIPT; a touch names only the end of what it knows to be applied. *)
DoApply(a, rec, from, f) ==
  LET me == ap[a] IN
  IF \/ ~red.has
     \/ ~red.ok /\ Rule("fences intact")
     \/ red.gen # me.view.gen \/ red.ep # me.view.ep
     \/ from > red.to /\ Rule("apply hole")
  THEN ap' = [ap EXCEPT ![a] = Again(me)] /\ UNCHANGED <<red, gens>>
  ELSE LET e == red.ents[red.gen]
           isNews == rec.to > red.to
           new == IF ~isNews THEN [red EXCEPT !.off = Max(@, me.pos + 1)]
                  ELSE [red EXCEPT !.to = rec.to, !.off = me.pos + 1, !.fence = Max(@, f),
                                   !.ents[red.gen] = IF ~IsTagged /\ e # None /\ e.asOf < f /\ Rule("apply deletes")
                                                     THEN None ELSE @] IN
       red' = new /\ UNCHANGED gens /\ ap' = [ap EXCEPT ![a] = Done(me, HeaderOf(new))]

ApplierStep(a) ==
  /\ ap[a].pos \in kfirst..Len(klog)
  /\ LET me == ap[a]
         rec == klog[me.pos]
         skip == ap' = [ap EXCEPT ![a] = Done(me, me.view)] /\ UNCHANGED <<red, gens>> IN
     IF me.view = None \/ me.broken THEN DoBegin(a, rec)
     ELSE IF rec.ep < me.view.ep THEN skip
     ELSE IF rec.ep > me.view.ep /\ Rule("L2 new epoch") THEN DoBegin(a, rec)
     ELSE IF rec.to <= me.view.to THEN IF me.pos + 1 > me.view.off THEN DoApply(a, rec, rec.to, 0) ELSE skip
     ELSE IF rec.from > me.view.to
     THEN IF me.prev /\ me.pos - 1 >= me.view.off
          THEN ap' = [ap EXCEPT ![a] = [me EXCEPT !.pos = me.view.off, !.prev = FALSE]] /\ UNCHANGED <<red, gens>>
          ELSE DoBegin(a, rec)
     ELSE DoApply(a, rec, rec.from, rec.f)
  /\ UNCHANGED <<db, vers, cuts, common, slot, pub, out, late, klog, kfirst, sc, wire, snap, left>>

-----------------------------------------------------------------------------

FirstRecord == [ep |-> 1, from |-> 0, to |-> 0, vis |-> 0, f |-> 0, tl |-> 0]
FirstLog == [has |-> Appliers # {}, ok |-> Appliers # {}, gen |-> 1, ep |-> 1, from |-> 0, to |-> 0, off |-> 2, fence |-> 0,
             ents |-> [g \in 1..MaxGenerations |-> None]]

Init ==
  /\ db = <<>> /\ vers = 0 /\ cuts = <<>>
  /\ common = [e \in 1..MaxEpochs |-> Far]
  /\ slot = [ok |-> TRUE, conf |-> 0]
  /\ pub = [up |-> TRUE, ep |-> 1, to |-> 0, vis |-> 0, floor |-> 0, have |-> 0]
  /\ out = None /\ late = None
  /\ klog = <<FirstRecord>> /\ kfirst = 1
  /\ sc = [s \in Sidecars |-> [Observed(Fresh, FirstRecord) EXCEPT !.pos = 2]]
  /\ wire = None /\ red = FirstLog /\ snap = FirstLog /\ gens = 1
  /\ ap = [a \in Appliers |-> [pos |-> 2, prev |-> TRUE, view |-> HeaderOf(FirstLog), broken |-> FALSE]]
  /\ left = Budget

Next ==
  \/ Commit \/ See \/ Failover \/ SlotLost
  \/ Publish \/ Acknowledge \/ Confirm \/ PublisherCrash \/ Continue \/ TakeOver \/ NewEpoch
  \/ LateAppend \/ Duplicate \/ Retention
  \/ WireLands \/ Trim \/ RedisForgets \/ Snapshot \/ Restore
  \/ \E s \in Sidecars : \/ Observe(s) \/ Jump(s) \/ Restart(s) \/ Miss(s) \/ Load(s) \/ Fill(s) \/ Promote(s)
                         \/ Expire(s) \/ L2Read(s) \/ L2Answer(s)
  \/ \E a \in Appliers : ApplierLoad(a) \/ ApplierReset(a) \/ ApplierStep(a)

Spec == Init /\ [][Next]_vars

(* States that differ only in what nothing will ever look at again are one. *)
Needed ==
  LET least(S) == CHOOSE x \in S : \A y \in S : x <= y IN
  least({Len(klog)} \cup {sc[s].pos : s \in Sidecars} \cup {ap[a].pos : a \in Appliers}
        \cup {ap[a].view.off : a \in {a \in Appliers : ap[a].view # None}}
        \cup (IF Appliers # {} /\ red.has THEN {red.off} ELSE {})
        \cup (IF Appliers # {} /\ snap.has /\ left.all > 0 /\ left.restore > 0 THEN {snap.off} ELSE {}))
View == <<db, vers, IF With = {} THEN Len(cuts) ELSE cuts, common,
          IF pub.up /\ (left.all = 0 \/ left.crash + left.failover = 0) THEN slot.ok ELSE slot, pub, out, late,
          [i \in Needed..Len(klog) |-> klog[i]], Len(klog), kfirst, sc, wire, red,
          IF left.all > 0 /\ left.restore > 0 THEN snap ELSE None, gens, ap, left>>

-----------------------------------------------------------------------------
(* What is checked. *)

(* Whatever a sidecar would serve reflects every change that it has ever applied. L1 is all that is ever served. *)
NoResurrection == \A s \in Sidecars : sc[s].l1 # None => sc[s].must \subseteq sc[s].l1.val

(* No fill was accepted, and no entry promoted, that does not reflect what its asOf says. *)
FillRefusal ==
  \A s \in Sidecars : sc[s].l1 # None =>
    /\ Bound(sc[s].l1.ep, sc[s].l1.asOf) \subseteq sc[s].l1.val
    /\ Bound(sc[s].ep, sc[s].W) \subseteq sc[s].l1.val

VisibleLeApplied ==
  \A s \in Sidecars : LET me == sc[s] IN me.on =>
    /\ me.V <= me.W /\ me.H <= me.newest
    /\ \A i \in 1..Min(me.V, Min(common[me.ep], Top)) : db[i].seen

(* An entry that Redis would answer reflects everything up to the position of its log. *)
RedisIsTrue ==
  LET e == red.ents[red.gen] IN
  (red.has /\ e # None /\ e.ep = red.ep /\ (IsTagged => (red.ok /\ e.asOf >= red.from /\ red.fence <= e.asOf))) =>
    Bound(red.ep, red.to) \subseteq e.val

Position == 0..MaxLsn
Entry == [val : SUBSET (1..vers), asOf : Position, ep : 1..MaxEpochs]
TypeOK ==
  /\ Top <= MaxLsn
  /\ Len(klog) <= MaxRecords /\ kfirst \in 1..Len(klog)
  /\ slot.conf \in Position
  /\ \A i \in 1..Len(klog) : klog[i].from <= klog[i].to /\ klog[i].vis <= klog[i].to
  /\ \A s \in Sidecars : /\ sc[s].W \in Position /\ sc[s].fence <= sc[s].newest
                         /\ sc[s].l1 = None \/ sc[s].l1 \in Entry
  /\ wire = None \/ wire \in Entry
  /\ red.gen \in 1..MaxGenerations /\ red.from <= Max(red.to, red.fence)

(* Probes: what must be reachable, or the invariants say nothing. Each is expected to be violated. *)
ProbeServedFromRedis == \A s \in Sidecars : ~(sc[s].on /\ sc[s].l1 = None /\ sc[s].ans # None /\ MayServe(sc[s], sc[s].ans)
                                             /\ sc[s].ans.e.val # {} /\ sc[s].W > 0)
=============================================================================
