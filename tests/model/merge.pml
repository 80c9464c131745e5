/* Entries that move: merges, deletions and truncations against collectors and the floor. Sections 4.2, 4.5, 4.6.
 *
 * Question: jobs merge live entries into new segments and ask for the swap much later, several at once, while topics are deleted,
 * partitions truncated, inline slots freed and objects collected, each by whoever likes, from a state as old as it likes. Is every
 * record that was acknowledged, and neither truncated nor deleted, in exactly one live entry whose object exists?
 *
 * Abstractions
 *   - The log is one sequence (commit.pml), so the state after each slot is kept: `live[n]` is a set of entries, `ltime[n]` log time,
 *     `since` the pending-delete list. Whoever decides something may do it from any state so far: that stands for every lag and pause.
 *   - Records 0 and 1 are of topic X, record 2 of topic Y. At the start record 0 is inline in object 0, a slot; 1 and 2 share object 1, a
 *     segment. Job m writes segment 2+m with at most an entry for X and one for Y.
 *   - A job picks its inputs from some old state, finds their objects there (else it gives up), uploads; its op lands at any later slot.
 *   - The age rule of the floor is clean.pml's: here a slot is always old enough.
 *   - A commit takes log time to the wall clock T, or leaves it (its bytes may be old). W units are the 10 min of both windows.
 * Asserted
 *   readable    each such record is in exactly one live entry, and that entry's object exists; nothing of a deleted topic is in any
 *   collected   what is deleted has no live entry, by the newest state, at that moment
 *   floor       it never passes a slot with a live inline entry
 *   lag         a segment or slot that a reader found not more than W of log time ago can be read. What is older is a 404, a read barrier
 *               and a second look-up, which `readable` makes succeed
 * Variants   -DNS=n slots  -DTMAX=n  -DW=n admission window  -DPW=n pending-delete window  -DJOBS=n
 *            -DTWOOPS a job asks for each topic in an op of its own: its segment may be referenced, dereferenced and referenced again
 *            -DNOLAG leaves `lag` unchecked, to see what a mutant leads to
 *            -DLITERAL "unreferenced" includes what is on the pending-delete list: fence + window alone decides there as well
 * Mutants    -DM_APPLYGONE (applied though an input is gone)  -DM_FLOOR (floor past a live inline entry)  -DM_NOHOLD (the floor does not
 *            wait for the window of log time after the last inline entry of a slot has left)  -DM_ATONCE (inputs deleted when
 *            dereferenced)  -DM_WALL (collector and floor by wall clock)  -DM_OFF1 (window ends differ by one)  -DM_NOFENCE (outputs admitted at any time)
 *            -DM_REUSE (after refusal the same output, for the inputs still live)  -DM_PARTIAL (an object is pending when one of its entries
 *            has left)  -DM_STICKS (an object that is referenced again stays on the list; with -DTWOOPS)
 *            -DM_DELREFUSED (a job deletes its output when an op is refused; with -DTWOOPS; without, it is safe)
 */
#ifndef NS
#define NS 5
#endif
#ifndef W
#define W 1
#endif
#ifndef PW
#define PW W
#endif
#ifndef TMAX
#define TMAX 3
#endif
#ifndef JOBS
#define JOBS 2
#endif
#define NE (3 + 2*JOBS)
#define NO (2 + JOBS)
#define X_ENTRIES (1+2+8+32)             /* entries 0, 1, 3, 5 */
#define Y_ENTRIES (4+16+64)              /* entries 2, 4, 6 */

byte T, n;                               /* wall clock; slots written */
byte ltime[NS+1], live[NS+1];
byte since[(NS+1)*NO];                   /* log time + 1 since which an object is on the pending-delete list, after a slot */
#define SINCE(s,o) since[(s)*NO+(o)]
byte mask[NE];                           /* the records of an entry */
bit there[NO]; byte fence[NO];
bit truncated, deleted;

#define object_of(e) ((e)+1)/2

inline entries_of(P_o, P_refs)           /* the set of entries in an object */
{
  P_refs = (P_o == 0 -> 1 : 3 << (2*P_o-1))
}

/* The next slot; `l` is the set of live entries that it leaves. */
inline commit(P_advance)
{
  ltime[n+1] = (P_advance && T > ltime[n] -> T : ltime[n]);
  live[n+1] = l;
  o = 0;
  do
  :: o < NO ->
     entries_of(o, refs);
     SINCE(n+1,o) = SINCE(n,o);
     if
#ifdef M_PARTIAL
     :: (live[n] & refs & ~l) && !SINCE(n,o) -> SINCE(n+1,o) = ltime[n] + 1
#else
     :: (live[n] & refs) && !(l & refs) -> SINCE(n+1,o) = ltime[n] + 1
#endif
#ifndef M_STICKS
     :: !(live[n] & refs) && (l & refs) -> SINCE(n+1,o) = 0
#endif
     :: else
     fi;
     o++
  :: else -> break
  od;
  n++; refs = 0; o = 0;
  printf("T%d slot %d: live %d, log time %d\n", T, n, live[n], ltime[n]);
  readable()
}

inline readable()
{
  r = 0;
  do
  :: r < 3 ->
     c = 0; e = 0;
     do
     :: e < NE ->
        if
        :: (live[n] & (1 << e)) && (mask[e] & (1 << r)) ->
           c++;
           assert(there[object_of(e)])       /* readable */
        :: else
        fi;
        e++
     :: else -> break
     od;
     assert(c <= 1);                                                    /* readable: once */
     assert(c == 1 || (r == 0 && truncated) || (r == 2 && deleted));    /* readable: at all */
     assert(!(c == 1 && r == 2 && deleted));                            /* readable: nothing of a deleted topic */
     r++
  :: else -> break
  od;
  r = 0; c = 0; e = 0
}

inline delete(P_o, P_within)             /* of a reader within the window, if asked */
{
  entries_of(P_o, refs);
  there[P_o] = 0; printf("T%d object %d is deleted\n", T, P_o);
  assert(!(live[n] & refs));                                            /* collected, floor */
  r = 0;
  do
  :: P_within && r <= n -> assert(!(live[r] & refs) || ltime[n] > ltime[r] + PW); r++     /* lag */
  :: else -> break
  od;
  r = 0; refs = 0
}

proctype Clock() { end_clock: do :: T < TMAX -> T++ od }

proctype Others()
{
  byte l, o, refs, r, c, e; bit advance;
end_others:
  do
  :: d_step { n < NS && T > ltime[n] -> printf("tick\n"); l = live[n]; commit(1); l = 0 }
  :: atomic { n < NS && !truncated ->
       if :: advance = 0 :: advance = 1 fi;
       d_step {
         truncated = 1; printf("truncation\n"); l = live[n]; e = 0;
         do
         :: e < NE && mask[e] == 1 -> l = l & ~(1 << e); e++            /* what lies below the new start as a whole */
         :: e < NE && mask[e] != 1 -> e++
         :: else -> break
         od;
         commit(advance); l = 0; advance = 0 } }
  :: atomic { n < NS && !deleted ->
       if :: advance = 0 :: advance = 1 fi;
       d_step { deleted = 1; printf("topic deletion\n"); l = live[n] & X_ENTRIES; commit(advance); l = 0; advance = 0 } }
  od
}

proctype Job(byte m)
{
  byte want, left, l, o, refs, r, c, e, at; bit advance, ok;
#ifdef M_REUSE
  bit again;
#endif

  atomic {                                              /* choose from an old state, read, upload */
    true ->
retry:
    at = n;
    do
    :: at > 0 -> at--
    :: true -> break
    od;
    e = 0; want = 0;
    do
    :: e < NE && (live[at] & (1 << e)) -> if :: want = want | (1 << e) :: true fi; e++
    :: e < NE && !(live[at] & (1 << e)) -> e++
    :: else -> break
    od;
    want != 0;                                          /* (nothing to do is no behaviour) */
    d_step {
      ok = 1; e = 0; l = 0; r = 0;
      do
      :: e < NE && (want & (1 << e)) ->
         ok = ok && there[object_of(e)];
         if
         :: (1 << e) & X_ENTRIES -> l = l | mask[e]
         :: else -> r = r | mask[e]
         fi;
         e++
      :: e < NE && !(want & (1 << e)) -> e++
      :: else -> break
      od;
      e = 0;
      if
      :: ok ->
         mask[3+2*m] = l; mask[4+2*m] = r; there[2+m] = 1; fence[2+m] = ltime[at];
         printf("T%d job %d of state %d merges %d into object %d, fence %d\n", T, m, at, want, 2+m, fence[2+m])
      :: else -> want = 0
      fi;
      at = 0; l = 0; r = 0; ok = 0
    };
    left = want
  };
  if
  :: left == 0 -> goto end_job
  :: else
  fi;

  do
  :: atomic {                                           /* the op, or one of the two, lands */
       n < NS && left != 0 ->
       want = left;
#ifdef TWOOPS
       if
       :: left & X_ENTRIES -> want = left & X_ENTRIES
       :: left & Y_ENTRIES -> want = left & Y_ENTRIES
       fi;
#endif
       if :: advance = 0 :: advance = 1 fi;
       d_step {
         left = left & ~want;
#ifdef M_APPLYGONE
         ok = (live[n] & want) != 0;
#else
         ok = (live[n] & want) == want;
#endif
#ifndef M_NOFENCE
         ok = ok && fence[2+m] <= ltime[n] && ltime[n] <= fence[2+m] + W;
#endif
         l = live[n];
         if
         :: ok ->
            printf("job %d moves %d\n", m, want);
            l = l & ~want;
            if :: (want & X_ENTRIES) -> l = l | (1 << (3+2*m)) :: else fi;
            if :: (want & Y_ENTRIES) -> l = l | (1 << (4+2*m)) :: else fi
         :: else -> printf("job %d is refused %d\n", m, want);
#ifdef M_REUSE
            if
            :: !again -> again = 1; left = left | (want & live[n])
            :: else
            fi
#endif
#ifdef M_DELREFUSED
            delete((2+m), 0)
#endif
         fi;
         commit(advance); l = 0; want = 0; advance = 0; ok = 0 } }
  :: left == 0 -> break
  od;
end_job: false
}

#ifdef M_WALL
#define clock(at) T
#else
#define clock(at) ltime[at]
#endif
#ifdef M_OFF1
#define past(at, from, window) (clock(at) >= from + window)
#else
#define past(at, from, window) (clock(at) > from + window)
#endif

/* Floor of a state as it was, like a collector: what left longer ago than the window may also be held up longer, as the code does. */
proctype Floor()
{
  byte at, r, refs; bit passed;
end_floor:
  do
  :: atomic {
       !passed && n > 0 ->
       at = n;
       do
       :: at > 0 -> at--
       :: true -> break
       od;
       d_step {
         if
#ifdef M_FLOOR
         :: true
#else
         :: (!(live[at] & 1)
#ifndef M_NOHOLD
             && past(at, (SINCE(at,0)-1), PW)
#endif
            )
#endif
            ->
#ifdef NOLAG
            delete(0, 0);
#else
            delete(0, 1);
#endif
            passed = 1
#ifndef M_FLOOR
         :: else
#endif
         fi;
         at = 0 } }
  od
}

proctype Collector()
{
  byte at, x, refs, r; bit ok;
end_collector:
  do
  :: atomic {
       (there[1] || there[2] || (JOBS > 1 && there[NO-1])) ->
       if
       :: there[1] -> x = 1
       :: there[2] -> x = 2
#if JOBS > 1
       :: there[3] -> x = 3
#endif
       fi;
       at = n;
       do
       :: at > 0 -> at--
       :: true -> break
       od;
       d_step {
         entries_of(x, refs);
#ifdef M_ATONCE
         ok = SINCE(at,x) != 0;
#else
         ok = SINCE(at,x) != 0 && past(at, (SINCE(at,x)-1), PW);
#endif
#ifdef LITERAL
         ok = ok || (!(live[at] & refs) && past(at, fence[x], W));
#else
         ok = ok || (SINCE(at,x) == 0 && !(live[at] & refs) && past(at, fence[x], W));
#endif
         if
#ifdef NOLAG
         :: ok -> delete(x, 0)
#else
         :: ok -> delete(x, 1)
#endif
         :: else
         fi;
         at = 0; x = 0; ok = 0; refs = 0 } }
  od
}

init { atomic {
  mask[0] = 1; mask[1] = 2; mask[2] = 4;
  live[0] = 7; there[0] = 1; there[1] = 1;
  run Clock(); run Others(); run Floor(); run Collector();
  run Job(0); if :: JOBS > 1 -> run Job(1) :: else fi
} }
