/* CURRENT, what it names, and answers that are lost: sections 2, 4.5 (last paragraph), 4.6.
 *
 * Question: authors of snapshots, movers of the floor and collectors of parts work at once, each may pause anywhere; a swap may happen
 * though its author is not told, happen late, or never. Does CURRENT ever name what is not there?
 *
 * Follows snapshot.rs: write() (read, parts, swap, start over) and swap_current() (a lost answer is settled by reading back).
 * Abstractions
 *   - A snapshot is (slot, part): its index is always new and goes by the same rule as a part, and one part stands for all 256.
 *     Whether the state's hash allows a part to be used again is a free choice.
 *   - The log is written up to slot NS from the start; slots below `cleaned` are deleted (whether one may be: clean.pml).
 *   - A swap compares the version of the object, here its serial number; CURRENT's content never repeats, which makes that sound.
 * Asserted, after every swap and every deletion
 *   parts       every snapshot that CURRENT keeps has its part
 *   slots       no slot past the oldest kept snapshot is gone, nor one at or past the floor
 *   floor       it never goes back, and never passes the oldest kept snapshot
 *   newest      the newest snapshot never goes back
 *   reader      a starting node that misses a part or a slot finds another CURRENT than the one it began from: it can start over
 * Variants   -DKEEP=n snapshots kept  -DNS=n slots  -DTRIES=n attempts of each of two authors  -DNOFLOOR -DNOREADER
 *            -DGE a part goes when the newest snapshot is at or past its slot (the text: past it)
 *            -DDELMISMATCH an author deletes its new part when the only swap it ever sent was answered "mismatch"
 * Mutants    -DM_SWAPAGAIN (after a failed swap the same part, from the new CURRENT)  -DM_NEWESTONLY (a part goes when the newest snapshot
 *            does not name it)  -DM_REUSEOLD (reuse of what an earlier CURRENT named)  -DM_NOSLOT (a part goes though the newest is not past
 *            it)  -DM_DELUNKNOWN (an author deletes its new part when reading back shows no success)  -DM_DELRESENT (a lost answer: the
 *            swap is sent again, and "mismatch" is believed to be failure)  -DM_BLINDFLOOR (CURRENT as read with another floor, written without comparing)
 *            -DM_FLOORNEWEST (floor up to the newest snapshot)  -DM_ASSUMED (slots deleted though the answer to the floor's swap was lost)
 *            -DM_FATAL (a reader that misses a part gives up instead of reading CURRENT again)
 */
#ifndef KEEP
#define KEEP 2
#endif
#ifndef NS
#define NS 4
#endif
#ifndef TRIES
#define TRIES 2
#endif
#define NP (2*TRIES)             /* new parts, in all */

byte serial = 1, kslot[KEEP], kpart[KEEP], floor = 1;   /* CURRENT: kslot[0] is the newest; 0: none */
byte parts, made[NP+1];                                 /* parts so far, and the slots in their names */
bit there[NP+1];
byte cleaned = 1;                                       /* slots below it are gone */

byte late_from, late_slot, late_part;                   /* a swap that is on its way though its author gave up waiting; slot 0: a floor */
byte lates;

inline oldest(P_s)                                      /* slot of the oldest kept snapshot, 0 if none */
{
  P_s = kslot[0];
  i = 1;
  do
  :: i < KEEP && kslot[i] != 0 -> P_s = kslot[i]; i++
  :: else -> break
  od;
  i = 0
}

inline check()
{
  i = 0;
  do
  :: i < KEEP -> assert(kslot[i] == 0 || there[kpart[i]]); i++          /* parts */
  :: else -> break
  od;
  i = 0;
  oldest(c);
  assert(cleaned <= floor);                                             /* slots */
  assert(cleaned <= c + 1);                                             /* slots */
  assert(floor <= c + 1);                                               /* floor */
  c = 0
}

inline install(P_slot, P_part)
{
  assert(P_slot > kslot[0]);                                            /* newest */
  i = KEEP-1;
  do
  :: i > 0 -> kslot[i] = kslot[i-1]; kpart[i] = kpart[i-1]; i--
  :: else -> break
  od;
  kslot[0] = P_slot; kpart[0] = P_part; serial++;
  printf("  CURRENT %d: snapshot of slot %d names part %d\n", serial, P_slot, P_part);
  check()
}

#define forget_late late_from = 0; late_slot = 0; late_part = 0

proctype Author(byte me)
{
  byte from, my, p, tries, i, c;
  bit fresh, unknown;
#ifdef M_REUSEOLD
  byte known;
#endif
end_author:
  do
  :: /* reads CURRENT, has a newer state, writes what it must */
     atomic {
       p == 0 && tries < TRIES && kslot[0] < NS ->
       my = kslot[0]+1;
       do
       :: my < NS -> my++
       :: true -> break
       od;
       from = serial; tries++;
       i = 0;
       if
       :: d_step { parts < NP -> parts++; p = parts; there[p] = 1; made[p] = my; fresh = 1;
                   printf("  author %d: slot %d, from CURRENT %d, new part %d\n", me, my, from, p) }
#ifdef M_REUSEOLD
       :: known != 0 -> p = known; printf("  author %d: slot %d, from CURRENT %d, uses part %d of old\n", me, my, from, p)
#endif
       :: kslot[0] != 0 -> p = kpart[0]; printf("  author %d: slot %d, from CURRENT %d, uses part %d\n", me, my, from, p)
       :: (KEEP > 1 && kslot[1] != 0) -> p = kpart[1]; printf("  author %d: slot %d, from CURRENT %d, uses part %d\n", me, my, from, p)
       fi;
#ifdef M_REUSEOLD
       known = kpart[0]
#endif
     }

  :: /* the swap runs */
     atomic {
       p != 0 && !unknown ->
       if
       :: d_step { serial == from -> install(my, p); p = 0; fresh = 0; my = 0; from = 0 }
       :: d_step { serial == from -> install(my, p); unknown = 1; printf("    author %d is not told\n", me) }
       :: d_step { lates == 0 -> lates++; late_from = from; late_slot = my; late_part = p; unknown = 1;
                   printf("  the swap of author %d is on its way\n", me) }
       :: d_step { serial != from ->
                   printf("  author %d: mismatch\n", me);
#ifdef M_SWAPAGAIN
                   from = serial;
                   if
                   :: my <= kslot[0] -> p = 0; fresh = 0; my = 0; from = 0
                   :: else
                   fi
#else
#ifdef DELMISMATCH
                   if
                   :: fresh -> there[p] = 0; check()
                   :: else
                   fi;
#endif
                   p = 0; fresh = 0; my = 0; from = 0
#endif
                 }
       fi
     }

  :: /* settled by reading back; after that it starts over, or has nothing to do */
     d_step {
       p != 0 && unknown ->
#ifdef M_DELUNKNOWN
       if
       :: fresh && !(kslot[0] == my && kpart[0] == p && serial == from+1) ->
          there[p] = 0; printf("  author %d deletes part %d\n", me, p); check()
       :: else
       fi;
#endif
       unknown = 0; p = 0; fresh = 0; my = 0; from = 0 }
#ifdef M_DELRESENT
  :: d_step {
       p != 0 && unknown && serial != from ->
       if
       :: fresh -> there[p] = 0; printf("  author %d: mismatch, deletes part %d\n", me, p); check()
       :: else
       fi;
       unknown = 0; p = 0; fresh = 0; my = 0; from = 0 }
#endif
  od
}

proctype Network()
{
  byte i, c;
end_network:
  do
  :: d_step { late_from != 0 && late_from == serial && late_slot != 0 -> printf("  late:\n"); install(late_slot, late_part); forget_late }
  :: d_step { late_from != 0 && late_from == serial && late_slot == 0 ->
       assert(late_part >= floor);                                      /* floor */
       floor = late_part; serial++; printf("  late: CURRENT %d: floor %d\n", serial, floor); check(); forget_late }
  :: d_step { late_from != 0 && late_from != serial -> forget_late }
  od
}

#ifndef NOFLOOR
/* Moves the floor, then deletes below what it knows to be the floor. */
proctype Mover()
{
  byte from, to, known = 1, i, c;
  bit unknown;
#ifdef M_BLINDFLOOR
  byte rslot[KEEP], rpart[KEEP];
#endif
end_mover:
  do
  :: atomic {
       to == 0 ->
#ifdef M_FLOORNEWEST
       c = kslot[0];
#else
       oldest(c);
#endif
       to = floor;
       do
       :: to <= c -> to++
       :: to > floor -> break
       od;
       c = 0; from = serial;
#ifdef M_BLINDFLOOR
       i = 0;
       do
       :: i < KEEP -> rslot[i] = kslot[i]; rpart[i] = kpart[i]; i++
       :: else -> break
       od;
       i = 0
#endif
     }
  :: atomic {
       to != 0 && !unknown ->
       if
#ifdef M_BLINDFLOOR
       :: d_step {
            floor = to; serial++; i = 0;
            assert(rslot[0] >= kslot[0]);                               /* newest */
            do
            :: i < KEEP -> kslot[i] = rslot[i]; kpart[i] = rpart[i]; i++
            :: else -> break
            od;
            check(); known = to; to = 0; from = 0 }
#else
       :: d_step { serial == from -> floor = to; serial++; printf("  CURRENT %d: floor %d\n", serial, floor); check(); known = to; to = 0; from = 0 }
       :: d_step { serial == from -> floor = to; serial++; printf("  CURRENT %d: floor %d, not told\n", serial, floor); check(); unknown = 1 }
       :: d_step { lates == 0 -> lates++; late_from = from; late_part = to; unknown = 1; printf("  the swap of the floor is on its way\n") }
       :: unknown = 1                                   /* nothing happened, not told */
       :: d_step { serial != from -> to = 0; from = 0 }
#endif
       fi }
  :: d_step { to != 0 && unknown ->
#ifdef M_ASSUMED
       known = to;
#else
       known = floor;                                   /* reads back: whatever stands there has been swapped in */
#endif
       unknown = 0; to = 0; from = 0 }
  :: d_step { cleaned < known -> cleaned = known; printf("  slots below %d are deleted\n", known); check() }
  od
}
#endif

/* Reads CURRENT; deletes parts by what it read, at any later time. */
proctype Collector()
{
  byte newest, named[KEEP], p, i, c;
end_collector:
  do
  :: d_step {
       kslot[0] > newest ->
       newest = kslot[0]; i = 0;
       do
       :: i < KEEP -> named[i] = kpart[i]; i++
       :: else -> break
       od;
       i = 0 }
  :: atomic {
       newest != 0 ->
       p = 1;
       do
       :: p < parts -> p++
       :: true -> break
       od;
       d_step {
         if
         :: (there[p] && p != named[0]
#ifndef M_NEWESTONLY
             && (KEEP < 2 || p != named[1]) && (KEEP < 3 || p != named[KEEP-1])
#endif
#ifndef M_NOSLOT
#ifdef GE
             && newest >= made[p]
#else
             && newest > made[p]
#endif
#endif
            ) -> there[p] = 0; printf("  part %d is deleted\n", p); check()
         :: else
         fi;
         p = 0 } }
  od
}

#ifndef NOREADER
proctype Reader()                                       /* starts once, and once more if it has to */
{
  byte from, s, p, starts;
end_reader:
  do
  :: d_step { kslot[0] != 0 && from == 0 && starts < 2 -> starts++; from = serial; s = kslot[0]; p = kpart[0]; printf("  reader begins from CURRENT %d\n", from) }
  :: atomic { from != 0 && p != 0 ->
       if
       :: there[p] -> p = 0
       :: else ->
#ifdef M_FATAL
          assert(false);
#endif
          assert(serial != from); from = 0; s = 0; p = 0                /* reader */
       fi }
  :: atomic { from != 0 && p == 0 ->                    /* replay of slot s+1, or it waits for it */
       if
       :: s < NS && cleaned <= s+1 -> s++
       :: s < NS && cleaned > s+1 -> assert(serial != from); from = 0; s = 0       /* reader: a 404 below the floor of a later CURRENT */
       :: s == NS -> goto end_read
       fi }
  od;
end_read: false
}
#endif

init { atomic {
  run Author(0); run Author(1); run Network(); run Collector();
#ifndef NOFLOOR
  run Mover();
#endif
#ifndef NOREADER
  run Reader()
#endif
} }
