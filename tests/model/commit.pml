/* Who gets a slot, and what becomes of groups whose slot was lost: section 4.3, rules 1 to 6, with three writers.
 *
 * Question: with any number of lost answers, late copies and one death, does every group of a living writer take effect exactly
 * once, is an acknowledgement never wrong, and does it end?
 *
 * Follows log/core.rs: flights, `foreign`, next_to_send (`nxt`), serial_until (`serial`), lose(), resend(), hole().
 * Abstractions
 *   - A commit is (writer, first group, last group); a writer sends one byte string to one slot for ever, so (writer, slot) is its id.
 *   - Slots do not go away here (clean.pml), so "412, then GET, then compare ids" is one step.
 *   - What a writer has applied is the length of a prefix: the state after each slot is a function of the log, kept in `last`.
 *   - An answer that proves nothing and a PUT that did nothing change nothing, and are no step.
 *   - Three writers are three incarnations. Each begins when it likes: number 2 may be number 0 started again after its death.
 *   - Groups arrive at any time: a commit takes any run of them from `nxt` on; in serial mode at least all sent before.
 * Asserted
 *   mine        a writer that holds a slot for its own is right: its bytes stand there, whole
 *   once        a group takes effect once, and in the order of numbers
 *   ack         what is acknowledged has taken effect in the contiguous prefix, so that every later reader sees it
 *   enough      NSLOT slots are enough (with -DENOUGH): the loser's rule comes to an end, whoever is fast and whoever is slow
 *   end state   nothing of a living writer stays without an outcome (spin: invalid end state)
 * Variants   -DG=n groups each  -DNSLOT=n  -DPIPE=n slots in flight  -DNLATE=n late copies  -DNDIE=1 writer 0 may die
 *            -DVOIDS a PUT may be kept cut short, its writer told or not; -DTHREE=0 leaves the third writer out
 * Mutants    -DM_NODEDUPE -DM_GAPOK -DM_ACKSTORED -DM_ACKSEEN -DM_412MINE -DM_VOIDMINE -DM_NOCONFIRM -DM_NOTAGAIN
 *            -DM_LOSEONLY (only the lost slot's groups go again) -DM_NORESEND (gap-refused groups do not) -DM_NOSERIAL
 *            -DM_BLIND (PUT without If-None-Match)
 */
#ifndef G
#define G 2
#endif
#ifndef NSLOT
#define NSLOT 7
#endif
#ifndef PIPE
#define PIPE 2
#endif
#ifndef NLATE
#define NLATE 0
#endif
#ifndef NDIE
#define NDIE 0
#endif
#ifndef THREE
#define THREE 1
#endif
#define NW (2 + THREE)

#define CUT 9                    /* `by` of a slot that is void */

/* what a writer knows of a slot past its applied prefix */
#define FREE 0
#define FLY 1                    /* sent, no answer that proves anything: will be sent again */
#define STORED 2                 /* holds my commit */
#define FOREIGN 3                /* holds something else */
#define CONFIRM 4                /* answered as created; its length is asked for */

typedef Commit { byte by; byte lo; byte hi };           /* by: writer + 1; 0: no such object */
Commit slot[NSLOT+1];
byte prefix;                                            /* slots without a hole */
byte last[NW*(NSLOT+1)];                                /* last group of a writer after a slot of the prefix */
byte effects[NW*(G+1)];
#define LAST(w,s) last[(w)*(NSLOT+1)+(s)]
#define EFFECTS(w,g) effects[(w)*(G+1)+(g)]

Commit late; byte late_slot, lates, deaths, cuts;

inline extend()                                         /* State::apply for whatever the prefix has got */
{
  do
  :: prefix < NSLOT && slot[prefix+1].by != 0 ->
     prefix++;
     x = 0;
     do
     :: x < NW -> LAST(x,prefix) = LAST(x,prefix-1); x++
     :: else -> break
     od;
     x = slot[prefix].by - 1; y = slot[prefix].lo;
     do
     :: x < NW && y <= slot[prefix].hi ->
        if
#ifdef M_NODEDUPE
        :: true ->
#else
#ifdef M_GAPOK
        :: y > LAST(x,prefix) ->
#else
        :: y == LAST(x,prefix) + 1 ->
#endif
           assert(y == 1 || EFFECTS(x,(y-1)) == 1);                     /* once, in order */
#endif
           LAST(x,prefix) = y; EFFECTS(x,y)++;
           assert(EFFECTS(x,y) == 1)                                    /* once */
        :: else
        fi;
        y++
     :: else -> break
     od
  :: else -> break
  od;
  x = 0; y = 0
}

inline create(P_s, P_by, P_lo, P_hi)
{
  printf("    slot %d := writer %d, groups %d to %d\n", P_s, P_by-1, P_lo, P_hi);
#ifdef M_BLIND
  assert(P_s > prefix);                                                 /* what others may have applied never changes */
#endif
  slot[P_s].by = P_by; slot[P_s].lo = P_lo; slot[P_s].hi = P_hi;
  extend()
}

#define at(k) (ap+1+(k))
#define mine(k) (slot[at(k)].by == w+1)
#define flying (st[0] == FLY || st[1] == FLY || (PIPE > 2 && st[PIPE-1] == FLY) || st[0] == CONFIRM || st[1] == CONFIRM)

inline stored(k)
{
  st[k] = STORED;
#ifdef M_ACKSTORED
  y = lo[k];
  do
  :: y <= hi[k] -> assert(EFFECTS(w,y) == 1); y++                       /* ack */
  :: else -> break
  od;
  y = 0
#endif
}

inline lose(k)
{
  printf("  writer %d lost slot %d\n", w, at(k));
  st[k] = FOREIGN;
#ifndef M_NOSERIAL
#ifndef M_LOSEONLY
  if
  :: nxt-1 > serial -> serial = nxt-1
  :: else
  fi;
#endif
#endif
#ifdef M_LOSEONLY
  if
  :: lo[k] <= hi[k] -> again_lo = lo[k]; again_hi = hi[k]
  :: else
  fi;
#else
#ifndef M_NOTAGAIN
  if
  :: lo[k] <= hi[k] && lo[k] < nxt -> nxt = lo[k]
  :: else
  fi;
#endif
#endif
  lo[k] = 0; hi[k] = 0
}

inline choose_flying()
{
  if
  :: st[0] == FLY -> k = 0
  :: st[1] == FLY -> k = 1
#if PIPE > 2
  :: st[2] == FLY -> k = 2
#endif
  fi
}

#define carries(k) ((st[k] == FLY || st[k] == STORED || st[k] == CONFIRM) && lo[k] <= want && want <= hi[k])

proctype Writer(byte w)
{
  byte st[PIPE], lo[PIPE], hi[PIPE];                    /* of slots ap+1, ap+2, … */
  byte ap, nxt = 1, serial, k, h, x, y, want;
#ifdef M_LOSEONLY
  byte again_lo, again_hi;
#define again (again_lo != 0)
#else
#define again false
#endif

  do
  :: /* start_commits(): the next free slot that may be attempted gets what is to be sent */
     atomic {
       ((nxt <= G || again) && (serial == 0 || !flying)
         && (st[0] == FREE || (serial == 0 && (st[1] == FREE || (PIPE > 2 && st[PIPE-1] == FREE))))) ->
       k = 0;
       do
       :: st[k] != FREE -> k++
       :: else -> break
       od;
       if
       :: at(k) > NSLOT ->
#ifdef ENOUGH
          assert(false);                                                /* enough */
#endif
          goto end_full
       :: else
       fi;
       h = (serial > nxt -> serial : nxt);
       do
       :: h < G && !again -> h++
       :: true -> break
       od;
       d_step {
         st[k] = FLY;
#ifdef M_LOSEONLY
         if
         :: again -> lo[k] = again_lo; hi[k] = again_hi; again_lo = 0; again_hi = 0
         :: else -> lo[k] = nxt; hi[k] = h; nxt = h+1
         fi;
#else
         lo[k] = nxt; hi[k] = h; nxt = h+1;
#endif
         printf("  writer %d sends slot %d, groups %d to %d\n", w, at(k), lo[k], hi[k]);
         h = 0; k = 0
       }
     }

  :: /* hole(): a later slot is known, the next is not, and there is nothing to send: an empty commit */
     d_step {
       (nxt > G && !again && st[0] == FREE && (st[1] == STORED || st[1] == FOREIGN) && !(serial > 0 && flying)) ->
       st[0] = FLY; lo[0] = 1; hi[0] = 0; printf("  writer %d fills slot %d\n", w, at(0))
     }

  :: /* the PUT runs at the store, or has run; what becomes of the answer is one of these */
     atomic {
       (st[0] == FLY || st[1] == FLY || (PIPE > 2 && st[PIPE-1] == FLY)) ->
       choose_flying();
       if
       :: d_step { slot[at(k)].by == 0 -> create(at(k), (w+1), lo[k], hi[k]);
#ifdef VOIDS
                   st[k] = CONFIRM
#else
                   stored(k)
#endif
                 }
       :: d_step { slot[at(k)].by == 0 -> create(at(k), (w+1), lo[k], hi[k]); printf("    not told\n") }
#ifdef VOIDS
       :: d_step { slot[at(k)].by == 0 && cuts == 0 -> cuts++; create(at(k), CUT, 1, 0); printf("    cut short, not told\n") }
       :: d_step { slot[at(k)].by == 0 && cuts == 0 -> cuts++; create(at(k), CUT, 1, 0); st[k] = CONFIRM; printf("    cut short, told\n") }
#endif
       :: d_step { slot[at(k)].by == 0 && lates < NLATE ->
            lates++; late_slot = at(k); late.by = w+1; late.lo = lo[k]; late.hi = hi[k]; printf("    on its way\n") }
#ifdef M_BLIND
       :: d_step { slot[at(k)].by != 0 && !mine(k) -> create(at(k), (w+1), lo[k], hi[k]); stored(k) }
#endif
       :: d_step { slot[at(k)].by != 0 ->               /* 412, GET, compare */
            if
#ifdef M_412MINE
            :: true -> stored(k)
#endif
#ifdef M_VOIDMINE
            :: slot[at(k)].by == CUT -> stored(k)
#endif
            :: mine(k) -> stored(k)
            :: else -> lose(k)
            fi }
       fi;
       k = 0
     }
#ifdef VOIDS
  :: d_step {                                           /* on_head() */
       (st[0] == CONFIRM || st[1] == CONFIRM) ->
       k = (st[0] == CONFIRM -> 0 : 1);
       if
#ifdef M_NOCONFIRM
       :: true -> stored(k)
#else
       :: mine(k) -> stored(k)
       :: else -> lose(k)
#endif
       fi;
       k = 0 }
#endif

  :: /* drain(): one slot; of others it is read at this moment at the latest */
     d_step {
       (ap < prefix && (st[0] == STORED || st[0] == FOREIGN || st[0] == FREE)) ->
       assert(st[0] != STORED || mine(0));                              /* mine */
       y = slot[ap+1].lo;
       do
       :: mine(0) && y <= slot[ap+1].hi ->
#ifdef M_ACKSEEN
          assert(EFFECTS(w,y) == 1);                                    /* ack */
#endif
          if
          :: y > LAST(w,ap) && y <= LAST(w,ap+1) -> assert(EFFECTS(w,y) == 1)      /* ack */
          :: else
          fi;
          y++
       :: else -> break
       od;
       ap++;
       k = 0;
       do
       :: k+1 < PIPE -> st[k] = st[k+1]; lo[k] = lo[k+1]; hi[k] = hi[k+1]; k++
       :: else -> break
       od;
       st[PIPE-1] = FREE; lo[PIPE-1] = 0; hi[PIPE-1] = 0;
       if
       :: LAST(w,ap) >= serial -> serial = 0
       :: else
       fi;
#ifndef M_NORESEND
       want = LAST(w,ap) + 1;
       if
       :: (want < nxt && !carries(0) && !carries(1) && !(PIPE > 2 && carries(PIPE-1))
#ifdef M_LOSEONLY
           && !(again_lo <= want && want <= again_hi)
#endif
          ) -> nxt = want
       :: else
       fi;
#endif
       printf("  writer %d applied slot %d\n", w, ap);
       want = 0; y = 0; k = 0
     }

  :: (NDIE > 0 && w == 0 && deaths < NDIE) -> d_step { deaths++; printf("  writer %d dies\n", w) }; goto end_full
  :: (LAST(w,ap) == G && !flying) -> goto end_full      /* an outcome for everything; later slots do not matter to it */
  od;
end_full: false
}

active proctype Network()
{
  byte x, y;
end_network:
  do
  :: d_step { late_slot != 0 && slot[late_slot].by == 0 ->
       printf("    late copy:\n"); create(late_slot, late.by, late.lo, late.hi);
       late_slot = 0; late.by = 0; late.lo = 0; late.hi = 0 }
  :: d_step { late_slot != 0 && slot[late_slot].by != 0 -> late_slot = 0; late.by = 0; late.lo = 0; late.hi = 0 }
  od
}

init { atomic { run Writer(0); run Writer(1); if :: THREE -> run Writer(2) :: else fi } }
