/* One speaker's group: its LKS (S) gives out keys, its own (odd generations) and those of the DKS (D, even ones);
 * receivers (R) hear them. Disks, RAM, messages on their way, crash between any two steps, partition, loss.
 *
 * An epoch is (v, g) in one number: v * SPAN + g, where v is the version of policy under which the generation was made
 * (POLICIES: how many newer ones come; S, R and D learn of each at any time, or S forgets). A generation has one key
 * whatever v is. Every key made has a number of its own. Untimed: a timer is a step that may come at any moment at which
 * its cause holds. Faults have budgets; after them every run comes to rest, so a property at rest is a property of all
 * runs for ever. docs/models.md maps steps to messages and code.
 *
 * Defences that can be taken out: NO_PARITY NO_RESERVE NO_DISK_FIRST NO_EVIDENCE NO_LATE_CHECK NO_FLOOR NO_ACK
 * NO_RETIRE NO_REPORT NO_REREGISTER NO_SHOWN NO_VERSION_SHOWN.   Faults that can be put in: ROLLBACK_S ROLLBACK_D.
 * Without a DKS: LKS_ONLY. No rekey after the last fault: AT_ONCE.
 */
#ifndef NR
#define NR 1
#endif
#ifndef REKEYS
#define REKEYS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifdef AT_ONCE
#define LATER skip
#else
#define LATER rekeys = (rekeys < 1 -> 1 : rekeys)   /* there is always a rekey to come */
#endif
#ifndef POLICIES
#define POLICIES 0
#endif
/* "STEP …": what a run does to the parties, for who plays it on the code (tests/unit/models/test_played.py). */
#define SPAN 32
#define BLOCK 3

byte policies = POLICIES, p_v = 0;       /* the Policy Server's version; D has each document as soon as it is there */
byte rekeys = REKEYS, faults = FAULTS, losses = 1;
bool over = false;                       /* no more faults */

byte made[SPAN];                         /* key made for a generation, 0 for none */
byte used[SPAN];                         /* key that S handed out or sent with for it */
byte key = 1;
bool two_made = false, two_used = false, older_taken = false, went_back = false, wasted = false;

/* S: disk, then RAM. `pick`: a generation that is chosen and not yet in use. */
byte s_v = 0, s_mark = 0, s_copy = 0;
bool s_on = false, s_order = false, s_tell = false;
byte s_gen, s_act, s_actk, s_wait, s_waitk, s_pick, s_pickk;
bool member[NR], unacked[NR];

/* A disk that was put back. `from_act`, `from_wait`: S has given R these since it started; `highk`: R's key for `high`. */
#ifdef ROLLBACK_S
bool from_act[NR], from_wait[NR], two_taken = false;
byte highk[NR];
#define GAVE(what, j) what[j] = true
#ifdef NO_VERSION_SHOWN
#define LATER_VERSION(e, j) false
#else
#define LATER_VERSION(e, j) (VER(r_floor[j]) > VER(e) && s_v > VER(e))
#endif
#define LATER_THAN(e, given, j) (OF(r_floor[j]) > OF(e) || (OF(r_floor[j]) == OF(e) && !given[j]) || LATER_VERSION(e, j))
#else
#define GAVE(what, j) skip
#define LATER_THAN(e, given, j) (OF(r_floor[j]) > OF(e))
#endif
#if defined(ROLLBACK_S) && !defined(NO_SHOWN)
#define BEHIND(j) (s_wait != 0 -> LATER_THAN(s_wait, from_wait, j) : LATER_THAN(s_act, from_act, j))
#else
#define BEHIND(j) false
#endif
#ifdef NO_SHOWN
#define TO_GIVE(j) s_act
#else
#define TO_GIVE(j) (s_wait != 0 && LATER_THAN(s_act, from_act, j) -> s_wait : s_act)
#endif

/* D: its ledger on the disk (highest epoch), and an order and an answer on their way. */
bool d_on = false;
byte d_ledger = 0, d_copy = 0;
byte o_held = 0; bool o_there = false;
byte a_e = 0, a_k = 0;

/* R: floor and policy on the disk, then RAM; a push and its acknowledgement on their way. `high`: for the properties. */
byte r_floor[NR], r_v[NR], high[NR];
bool r_on[NR], r_reg[NR];
byte r_cur[NR], r_curk[NR], r_old[NR], r_oldk[NR];
byte p_e[NR], p_k[NR];
bool ack[NR], refused[NR];

bool cut_d = false, cut_r[NR];
byte i;

#define OF(e) ((e) % SPAN)
#define VER(e) ((e) / SPAN)
#define EPOCH(g) (s_v * SPAN + (g))
#define JOIN(e, f) ((VER(e) > VER(f) -> VER(e) : VER(f)) * SPAN + (OF(e) > OF(f) -> OF(e) : OF(f)))
/* Retained.check: e after f, at one whose own policy is `own` */
#define OLDER(e, f, own) (OF(e) < OF(f) || (VER(e) < VER(f) && (VER(f) <= (own) || OF(e) == OF(f))))
#define TAKES(j, e) (!OLDER(e, r_floor[j], r_v[j]))
#define DKS_THERE (d_on && !cut_d)
#define NEWEST (s_wait != 0 -> s_wait : s_act)

#ifdef NO_ACK
#define ALL_HAVE_IT true
#else
#if NR > 1
#define ALL_HAVE_IT (!unacked[0] && !unacked[1])
#else
#define ALL_HAVE_IT (!unacked[0])
#endif
#endif

inline note_made(e) {
  if :: made[OF(e)] != 0 -> two_made = true :: else -> made[OF(e)] = key fi;
}
inline note_used(e, k) {
  if :: used[OF(e)] != 0 && used[OF(e)] != k -> two_used = true :: else -> used[OF(e)] = k fi;
}
inline next_own(g) {                     /* Context.next_generation */
  g = s_gen + 1;
#ifndef NO_PARITY
#ifndef LKS_ONLY
  if :: g % 2 == 0 -> g++ :: else fi;
#endif
#endif
}
inline reserve(g) {
#ifdef NO_RESERVE
  skip;
#else
  if :: g > s_mark -> s_mark = g + BLOCK - 1 :: else fi;
#endif
}
inline forget_s() {
  s_on = false; s_order = false; s_gen = 0; s_act = 0; s_actk = 0; s_wait = 0; s_waitk = 0; s_pick = 0; s_pickk = 0;
  s_tell = false;
  for (i : 0 .. NR - 1) {
    member[i] = false; unacked[i] = false; ack[i] = false; refused[i] = false;
#ifdef ROLLBACK_S
    from_act[i] = false; from_wait[i] = false
#endif
  }
}
inline pick_own() {                      /* chosen, and reserved on the disk, before anything else */
  next_own(s_pick);
  s_gen = s_pick;
#ifndef NO_DISK_FIRST
  reserve(s_pick);
#endif
  s_pick = EPOCH(s_pick); s_pickk = key; note_made(s_pick); key++;
  s_tell = true;
}
inline put_in_use() {                    /* kernel, then wire: members get it, later it is sent with */
  note_used(s_pick, s_pickk);
  printf("STEP use\n");
  if
  :: s_act == 0 -> s_act = s_pick; s_actk = s_pickk
  :: else ->
     s_wait = s_pick; s_waitk = s_pickk;
     for (i : 0 .. NR - 1) {
#ifdef ROLLBACK_S
       from_wait[i] = false;
#endif
       if :: member[i] -> unacked[i] = true; ack[i] = false; p_e[i] = s_pick; p_k[i] = s_pickk; GAVE(from_wait, i) :: else fi
     }
  fi;
  s_pick = 0; s_pickk = 0;
}
inline take(j, e, k) {                   /* R uses keys; the caller looked at the floor */
#ifdef ROLLBACK_S
  if :: OF(e) == OF(high[j]) && k != highk[j] && highk[j] != 0 -> two_taken = true :: else fi;
  if :: OF(e) >= OF(high[j]) -> highk[j] = k :: else fi;
#endif
  if :: OLDER(e, high[j], r_v[j]) -> older_taken = true :: else -> high[j] = e fi;
  r_floor[j] = e;
}

#define HEARS(j) (r_on[j] && s_act != 0 && ((r_cur[j] == s_act && r_curk[j] == s_actk) || (r_old[j] == s_act && r_oldk[j] == s_actk)))

active proctype servers() {
  byte g;
  do
  /* -- S ----------------------------------------------------------------------------------------------- */
  :: atomic { !s_on -> printf("STEP boot_s\n"); s_on = true; s_gen = s_mark; pick_own() }
  :: atomic { s_on && s_pick != 0 ->
       put_in_use();
     }
#ifdef NO_DISK_FIRST
  :: atomic { s_on && s_gen > s_mark && s_pick == 0 -> reserve(s_gen) }
#endif
  :: atomic { s_on && s_pick == 0 && s_act != 0 && s_wait == 0 && !s_order && rekeys > 0 ->
       printf("STEP rekey\n");
       rekeys--;
       if
#ifndef LKS_ONLY
       :: DKS_THERE && !o_there && a_e == 0 -> s_order = true; o_there = true; o_held = NEWEST
#endif
       :: !DKS_THERE || o_there || a_e != 0 -> pick_own()
       fi
     }
  :: atomic { s_on && s_order && (losses > 0 || !o_there && a_e == 0 || !DKS_THERE) ->       /* no answer in time */
       if :: o_there || a_e != 0 -> if :: losses > 0 -> losses-- :: else fi :: else fi;
       s_order = false; pick_own()
     }
  :: atomic { s_on && a_e != 0 && s_pick == 0 && !cut_d ->                                   /* Speaker.given */
       if
#ifdef NO_LATE_CHECK
       :: true ->
#else
       :: s_order && OF(a_e) > OF(NEWEST) && VER(a_e) == s_v ->
#endif
            if :: s_gen < OF(a_e) -> s_gen = OF(a_e) :: else fi;
            reserve(OF(a_e));
            if :: OF(a_e) < OF(NEWEST) -> went_back = true :: else fi;
            s_pick = a_e; s_pickk = a_k; s_order = false
#ifndef NO_LATE_CHECK
       :: s_order && !(OF(a_e) > OF(NEWEST) && VER(a_e) == s_v) ->
            if :: VER(a_e) == s_v -> wasted = true :: else fi;
            if :: s_gen < OF(a_e) -> s_gen = OF(a_e) :: else fi;                             /* Speaker.not_given */
            s_order = false; pick_own()
       :: !s_order -> skip
#endif
       fi;
       a_e = 0; a_k = 0
     }
  :: atomic { s_on && s_wait != 0 && s_pick == 0 && ALL_HAVE_IT ->                           /* Speaker._all_have_it */
       s_act = s_wait; s_actk = s_waitk; s_wait = 0; s_waitk = 0;
       for (i : 0 .. NR - 1) {
         refused[i] = false;
#ifdef ROLLBACK_S
         from_act[i] = from_wait[i]; from_wait[i] = false
#endif
       }
     }
#ifndef NO_REPORT
#ifndef LKS_ONLY
  :: atomic { s_on && s_tell && s_act != 0 && s_pick == 0 && DKS_THERE && !o_there && a_e == 0 && !s_order ->
       s_tell = false;                                                                       /* GROUP_REPORT */
       d_ledger = JOIN(NEWEST, d_ledger)
     }
  /* -- policy ----------------------------------------------------------------------------------------- */
  :: atomic { !over && policies > 0 -> printf("STEP publish\n"); policies--; p_v++ }
  :: atomic { s_on && s_v < p_v && s_pick == 0 -> s_v = p_v }
#endif
#endif
  /* -- D ----------------------------------------------------------------------------------------------- */
#ifndef LKS_ONLY
  :: atomic { !d_on -> printf("STEP boot_d\n"); d_on = true }
  :: atomic { d_on && o_there && !cut_d && a_e == 0 ->                                       /* Groups._issue */
       o_there = false;
#ifndef NO_EVIDENCE
       d_ledger = JOIN(o_held, d_ledger);
#endif
       g = OF(d_ledger) + 1;
#ifndef NO_PARITY
       if :: g % 2 == 1 -> g++ :: else fi;
#endif
       d_ledger = p_v * SPAN + g; a_e = d_ledger; a_k = key; note_made(a_e); key++; o_held = 0
     }
  :: atomic { losses > 0 && !over && (o_there || a_e != 0) -> printf("STEP lose\n"); losses--; o_there = false; o_held = 0; a_e = 0; a_k = 0 }
#endif
  /* -- faults -- */
  :: atomic { !over && faults > 0 && s_on -> printf("STEP crash_s\n"); faults--; forget_s() }
  :: atomic { !over && faults > 0 && d_on -> printf("STEP crash_d\n"); faults--; d_on = false; o_there = false; o_held = 0 }
  :: atomic { !over && faults > 0 && !cut_d -> printf("STEP cut_d\n"); faults--; cut_d = true }
  :: atomic { !over && cut_d -> printf("STEP heal_d\n"); cut_d = false }
#ifdef ROLLBACK_S
  :: atomic { !over && !s_on && s_mark != s_copy && faults > 0 -> printf("STEP rollback_s\n"); faults--; s_mark = s_copy; s_v = 0 }
#endif
#ifdef ROLLBACK_D
  :: atomic { !over && !d_on && d_ledger != d_copy && faults > 0 -> printf("STEP rollback_d\n"); faults--; d_ledger = d_copy }
#endif
  :: atomic { !over -> printf("STEP over\n"); over = true; losses = 0; LATER; cut_d = false; for (i : 0 .. NR - 1) { cut_r[i] = false } }
  od
}

/* Receivers' steps, and those of the link to S. */
active [NR] proctype receiver() {
  byte n = _pid - 1, given = 0, givenk = 0;
  do
  :: atomic { !r_on[n] -> printf("STEP boot_r\n"); r_on[n] = true }
  :: atomic { r_on[n] && r_v[n] < p_v -> r_v[n] = p_v }
#if defined(ROLLBACK_S) && !defined(NO_SHOWN)
  :: atomic { r_on[n] && !r_reg[n] && s_on && s_act != 0 && !cut_r[n] && s_pick == 0 && !member[n] && BEHIND(n) ->
       if :: s_gen < OF(r_floor[n]) -> s_gen = OF(r_floor[n]) :: else fi;                    /* N(GROUP_REPORT) */
       pick_own()
     }
#endif
  :: atomic { r_on[n] && !r_reg[n] && s_on && s_act != 0 && !cut_r[n] && s_pick == 0 && !member[n] && !BEHIND(n) ->
       member[n] = true;                                                                     /* GSA_AUTH */
       p_e[n] = 0; ack[n] = false; unacked[n] = false;
       given = TO_GIVE(n);
       if :: given == s_act -> GAVE(from_act, n) :: else -> GAVE(from_wait, n) fi;
       if
       :: TAKES(n, given) ->
            givenk = (given == s_act -> s_actk : s_waitk);
            take(n, given, givenk); r_reg[n] = true; refused[n] = (given != s_act);
            r_cur[n] = given; r_curk[n] = givenk; r_old[n] = 0; r_oldk[n] = 0
       :: else -> r_reg[n] = true; refused[n] = true               /* refused: asked again when S has gone on */
       fi;
       given = 0; givenk = 0;
       if :: s_wait != 0 -> unacked[n] = true; p_e[n] = s_wait; p_k[n] = s_waitk; GAVE(from_wait, n) :: else fi
     }
#if defined(ROLLBACK_S) && !defined(NO_SHOWN)
  :: atomic { r_on[n] && r_reg[n] && s_on && s_act != 0 && !HEARS(n) && s_pick == 0 && !cut_r[n] && BEHIND(n) ->
       member[n] = false; r_reg[n] = false; refused[n] = false; unacked[n] = false; p_e[n] = 0; ack[n] = false   /* Listener.later */
     }
#endif
  :: atomic { r_on[n] && r_reg[n] && s_on && member[n] && p_e[n] == 0 && !ack[n] && s_pick == 0 && !cut_r[n] &&
       r_cur[n] != s_act && r_old[n] != s_act && TAKES(n, s_act) ->                   /* Listener._later */
       take(n, s_act, s_actk); r_cur[n] = s_act; r_curk[n] = s_actk; r_old[n] = 0; r_oldk[n] = 0
     }
  :: atomic { r_on[n] && r_reg[n] && p_e[n] != 0 && !cut_r[n] ->                   /* GSA_INBAND_REKEY */
       if
       :: TAKES(n, p_e[n]) ->
            take(n, p_e[n], p_k[n]);
#ifdef NO_RETIRE
            r_old[n] = 0; r_oldk[n] = 0;
#else
            if :: r_cur[n] != p_e[n] -> r_old[n] = r_cur[n]; r_oldk[n] = r_curk[n] :: else fi;
#endif
            r_cur[n] = p_e[n]; r_curk[n] = p_k[n]
       :: else
       fi;
       ack[n] = true; p_e[n] = 0; p_k[n] = 0
     }
  :: atomic { ack[n] && s_on && !cut_r[n] -> ack[n] = false; unacked[n] = false }
  :: atomic { s_on && unacked[n] && !ack[n] && (!r_on[n] || cut_r[n] || p_e[n] == 0) ->
       member[n] = false; unacked[n] = false; p_e[n] = 0; p_k[n] = 0                         /* given up */
     }
#ifndef NO_REREGISTER
  :: atomic { r_on[n] && r_reg[n] && s_on && !member[n] -> r_reg[n] = false; p_e[n] = 0; ack[n] = false }
#endif
  :: atomic { r_on[n] && r_old[n] != 0 && r_cur[n] == s_act -> r_old[n] = 0; r_oldk[n] = 0 }
  :: atomic { !over && faults > 0 && r_on[n] -> printf("STEP crash_r\n"); faults--;
       r_on[n] = false; refused[n] = false; r_reg[n] = false; r_cur[n] = 0; r_curk[n] = 0; r_old[n] = 0; r_oldk[n] = 0; p_e[n] = 0; ack[n] = false;
       member[n] = false; unacked[n] = false;                      /* INITIAL_CONTACT, or liveness, tells S */
#ifdef NO_FLOOR
       r_floor[n] = 0;
#endif
     }
  :: atomic { !over && faults > 0 && !cut_r[n] -> printf("STEP cut_r\n"); faults--; cut_r[n] = true }
  :: atomic { !over && cut_r[n] -> printf("STEP heal_r\n"); cut_r[n] = false }
  od
}

#if NR > 1
#define ALL_HEAR (HEARS(0) && HEARS(1))
#else
#define ALL_HEAR HEARS(0)
#endif
ltl one_key_made { [] !two_made }
ltl one_key_used { [] !two_used }
ltl no_older { [] !older_taken }
#ifdef ROLLBACK_S
ltl one_key_taken { [] !two_taken }
#endif
ltl no_step_back { [] !went_back }
ltl members_hear { [] ((s_on && r_reg[0] && r_on[0] && member[0] && !refused[0]) -> HEARS(0)) }
ltl all_keyed { <> [] ALL_HEAR }
ltl ledger_not_behind { <> [] (OF(d_ledger) >= OF(s_act)) }
ltl ledger_equal { <> [] (OF(d_ledger) == OF(s_act)) }
ltl order_served { [] !wasted }
