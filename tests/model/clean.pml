/* Slots that are deleted and then seen as if they had never been: section 4.3 rule 7, section 4.5 (the floor).
 *
 * Question: a paused process may create a slot that was written, applied by all and deleted, or read a 404 of it. When may a node believe
 * what it is told?
 *
 * Abstractions
 *   - `now[s]` is what the store holds, `first[s]` what was created there first: the truth that nobody can see.
 *   - T is the store's clock. Last-Modified and Date come from it; 24 h are AGE units, 1 h is FRESH units (< AGE), 5 min are none.
 *   - Others append at will and may leave one hole for later. The snapshot always reaches past the floor: a jump lands at floor - 1.
 *   - A cleaner reads the age of slots, swaps the floor into CURRENT (from the CURRENT it read: one step), and at any later time, after
 *     any pause, deletes any slot below the floor it knows. The daily LIST of what late writers left there does the same.
 *   - The node has at most two requests out (CREATES of them may be creates) and looks at answers at any later time; a create may be told,
 *     not told, or left on its way to land later. Both ends may pause anywhere: every step is free to wait.
 *   - "Reads CURRENT after the reply" is the step in which the answer is looked at.
 * Asserted, of whatever the node believes
 *   created     my create of s: mine was the first commit ever at s
 *   found       s holds c: c was the first commit ever at s (412 ends here too: a GET follows)
 *   absent      404 of s: s had never been written when the GET ran
 * Variants   -DNS=n slots  -DCREATES=n  -DCLEANERS=2  -DFREEZE the node's own clock may stop (with -DM_OWNCLOCK)
 *            -DSKEW=1 the Date of a reply may be one unit behind or ahead, and the node allows for it; needs a larger -DAGE
 *            -DEFFECT leaves `absent` unchecked, to see what a false 404 leads to
 * Mutants    -DM_CLOCKAGE (the cleaner's own clock, which is ahead by one unit, instead of the Date of the same response)
 *            -DM_LASTAGE (age of the last slot passed only)  -DM_NOAGE  -DM_DELFIRST (delete before the floor is in CURRENT)
 *            -DM_CHECKBEFORE (floor looked at before the operation)  -DM_NOCHECK (never)  -DM_EVGET (evidence from a GET that returned a
 *            commit)  -DM_EVCURRENT (evidence from CURRENT)  -DM_EVANY (evidence holds for lower slots as well)
 *            -DM_LONG (evidence as long-lived as a slot)  -DM_OWNCLOCK (evidence by the node's own clock; with -DFREEZE)
 *            -DM_EVUNBELIEVED (a reply is evidence before it is believed)
 */
#ifndef NS
#define NS 3
#endif
#ifndef AGE
#define AGE 2
#endif
#ifdef M_LONG
#define FRESH AGE
#endif
#ifndef FRESH
#define FRESH 1
#endif
#ifndef TMAX
#define TMAX 3
#endif
#ifndef CREATES
#define CREATES 1
#endif
#ifndef CLEANERS
#define CLEANERS 1
#endif
#ifndef SKEW
#define SKEW 0
#endif
#define OTHER 9
#define ME 1

byte T, mine;                            /* the store's clock; the node's, used by M_OWNCLOCK only */
byte now[NS+2], first[NS+2], modified[NS+2];
byte floor = 1;                          /* in CURRENT */
byte prefix;                             /* slots ever written without a hole */
byte late, lates;                        /* slot of a create of the node that is on its way */

inline write(P_s, P_id)
{
  now[P_s] = P_id; modified[P_s] = T;
  if
  :: first[P_s] == 0 ->
     first[P_s] = P_id;
     do
     :: prefix < NS && first[prefix+1] != 0 -> prefix++
     :: else -> break
     od
  :: else -> printf("T%d slot %d is created again\n", T, P_s)
  fi;
  skip
}

active proctype Clock()
{
end_clock:
  do
  :: d_step { T < TMAX -> T++;
#ifdef M_OWNCLOCK
       mine++
#endif
     }
#ifdef FREEZE
  :: d_step { T < TMAX -> T++ }
#endif
  od
}

active proctype Others()
{
end_others:
  do
  :: d_step { prefix < NS -> printf("T%d others write slot %d\n", T, prefix+1); write((prefix+1), OTHER) }
  :: d_step { prefix+2 <= NS && first[prefix+2] == 0 ->
       printf("T%d others write slot %d and leave %d\n", T, prefix+2, prefix+1); write((prefix+2), OTHER) }
  od
}

active proctype Network()
{
end_network:
  do
  :: d_step { late != 0 && now[late] == 0 -> printf("T%d late create lands on slot %d\n", T, late); write(late, ME); late = 0 }
  :: d_step { late != 0 && now[late] != 0 -> late = 0 }
  od
}

#ifdef M_NOAGE
#define old(s) true
#else
#ifdef M_CLOCKAGE
#define old(s) (T + 1 >= modified[s] + AGE)
#else
#define old(s) (T >= modified[s] + AGE)
#endif
#endif
/* Below the kept snapshot, and old enough by its own response. */
#ifdef M_LASTAGE
#define passable(s) (s <= prefix && now[s] != 0)
#else
#define passable(s) (s <= prefix && now[s] != 0 && old(s))
#endif

proctype Cleaner()
{
  byte to, known = 1, s;
end_cleaner:
  do
  :: atomic {
       passable(floor) ->
       to = floor + 1;
       do
       :: to <= NS && passable(to) -> to++
       :: true -> break
       od;
#ifdef M_LASTAGE
       if
       :: old(to-1) -> skip
       :: else -> to = floor
       fi;
#endif
#ifndef M_DELFIRST
       floor = to; printf("T%d floor %d\n", T, floor);
#endif
       known = to; to = 0 }
#ifdef M_DELFIRST
  :: d_step { known > floor -> floor = known; printf("T%d floor %d\n", T, floor) }
#endif
  :: d_step { known < floor -> known = floor }          /* reads CURRENT */
  :: atomic {
       known > 1 ->
       s = 1;
       do
       :: s+1 < known -> s++
       :: true -> break
       od;
       if
       :: now[s] != 0 -> now[s] = 0; modified[s] = 0; printf("T%d slot %d is deleted\n", T, s)
       :: else
       fi;
       s = 0 }
  od
}

#define IDLE 0
#define OUT 1
#define BACK 2
#define PUT 1
#define GET 2
#define CREATED 1
#define FOUND 2
#define ABSENT 3

typedef Request { byte at; byte kind; byte s; byte date; byte answer; byte id; bit lie; bit before };

#ifdef M_OWNCLOCK
#define DATE mine
#else
#define DATE T
#endif

inline send(P_r, P_kind, P_s)
{
  q[P_r].at = OUT; q[P_r].kind = P_kind; q[P_r].s = P_s;
#ifdef M_CHECKBEFORE
  q[P_r].before = (floor <= P_s)
#endif
}

inline forget(P_r)
{
  q[P_r].at = IDLE; q[P_r].kind = 0; q[P_r].s = 0; q[P_r].date = 0; q[P_r].answer = 0; q[P_r].id = 0; q[P_r].lie = 0; q[P_r].before = 0
}

inline evidence(P_s, P_date)
{
  if
  :: !has || P_date >= ev_date -> has = 1; ev_slot = P_s; ev_date = P_date
  :: else
  fi
}

proctype Node()
{
  Request q[2];
  byte ap, ev_slot, ev_date, r, ahead;                  /* ahead: slot ap + 2 is known */
  bit has, ok, writes = 1;

end_node:
  do
  :: d_step { q[0].at == IDLE && ap < NS -> send(0, GET, (ap+1)) }
  :: d_step { q[0].at == IDLE && ap < NS && writes && CREATES > 0 -> send(0, PUT, (ap+1)) }
  :: d_step { q[1].at == IDLE && q[0].at != IDLE && !ahead && ap+2 <= NS && writes && CREATES > 1 && q[0].kind == PUT ->
       send(1, PUT, (ap+2)) }

  :: /* it runs at the store */
     atomic {
       (q[0].at == OUT || q[1].at == OUT) ->
       if
       :: q[0].at == OUT -> r = 0
       :: q[1].at == OUT -> r = 1
       fi;
       if
       :: d_step { q[r].kind == PUT && now[q[r].s] == 0 ->
            printf("T%d create of %d: created\n", T, q[r].s);
            write(q[r].s, ME); q[r].at = BACK; q[r].answer = CREATED }
       :: d_step { q[r].kind == PUT && now[q[r].s] == 0 -> printf("T%d create of %d: created, not told\n", T, q[r].s); write(q[r].s, ME) }
       :: d_step { q[r].kind == PUT && now[q[r].s] != 0 -> q[r].kind = GET;
#ifdef M_CHECKBEFORE
            q[r].before = (floor <= q[r].s)
#endif
          }
       :: d_step { q[r].kind == PUT && lates == 0 -> printf("T%d create of %d: on its way\n", T, q[r].s); lates++; late = q[r].s }
       :: d_step { q[r].kind == GET ->
            q[r].at = BACK; q[r].id = now[q[r].s];
            q[r].answer = (now[q[r].s] != 0 -> FOUND : ABSENT);
            q[r].lie = (now[q[r].s] == 0 && first[q[r].s] != 0);
            printf("T%d GET of %d: %d\n", T, q[r].s, q[r].id) }
       fi;
       if
       :: q[r].at == BACK -> q[r].date = DATE
#if SKEW
       :: q[r].at == BACK && T > 0 -> q[r].date = T - 1
       :: q[r].at == BACK -> q[r].date = T + 1
#endif
       :: else
       fi;
       r = 0
     }

  :: /* the answer is looked at, perhaps much later */
     atomic {
       (q[0].at == BACK || q[1].at == BACK) ->
       if
       :: q[0].at == BACK -> r = 0
       :: q[1].at == BACK -> r = 1
       fi;
       d_step {
#ifdef M_EVUNBELIEVED
         if
         :: q[r].answer != FOUND -> evidence(q[r].s, q[r].date)
         :: else
         fi;
#endif
         ok = (has && q[r].date + SKEW >= ev_date && q[r].date <= ev_date + FRESH
#ifndef M_EVANY
               && ev_slot <= q[r].s
#endif
              );
         if
         :: ok -> skip
         :: else ->
#ifdef M_NOCHECK
            ok = 1;
#else
#ifdef M_CHECKBEFORE
            ok = q[r].before;
#else
            ok = (floor <= q[r].s);                     /* CURRENT, read after the reply */
#endif
#endif
            printf("T%d CURRENT is read for slot %d: %d\n", T, q[r].s, ok);
#ifdef M_EVCURRENT
            if
            :: ok -> evidence(q[r].s, DATE)
            :: else
            fi
#endif
         fi;
         if
         :: !ok ->                                      /* jump; a new incarnation, which reads only here */
            ap = (floor-1 > ap -> floor-1 : ap); writes = 0; ahead = 0; forget(0); forget(1)
         :: ok && q[r].answer == ABSENT ->
            printf("T%d believes that %d is absent\n", T, q[r].s);
#ifndef EFFECT
            assert(!q[r].lie);                                          /* absent */
#endif
            evidence(q[r].s, q[r].date); forget(r)
         :: ok && q[r].answer != ABSENT ->
            printf("T%d believes that %d holds %d\n", T, q[r].s, (q[r].answer == CREATED -> ME : q[r].id));
            assert(q[r].answer != CREATED || first[q[r].s] == ME);      /* created */
            assert(q[r].answer != FOUND || first[q[r].s] == q[r].id);   /* found */
            if
            :: q[r].answer == CREATED -> evidence(q[r].s, q[r].date)
#ifdef M_EVGET
            :: q[r].answer == FOUND -> evidence(q[r].s, q[r].date)
#endif
            :: else
            fi;
            if
            :: q[r].s == ap+1 -> ap = ap+1+ahead; ahead = 0
            :: q[r].s == ap+2 -> ahead = 1
            :: else
            fi;
            forget(r)
         fi;
         if                                             /* a request for the next slot belongs in the first place */
         :: q[0].at == IDLE && q[1].at != IDLE && q[1].s == ap+1 ->
            q[0].at = q[1].at; q[0].kind = q[1].kind; q[0].s = q[1].s; q[0].date = q[1].date; q[0].answer = q[1].answer;
            q[0].id = q[1].id; q[0].lie = q[1].lie; q[0].before = q[1].before; forget(1)
         :: else
         fi;
         r = 0; ok = 0
       }
     }
  od
}

init { atomic { run Node(); run Cleaner(); if :: CLEANERS > 1 -> run Cleaner() :: else fi } }
