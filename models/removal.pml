/* A removal spreads: the DKS gives the list to router 0, which gives it to router 1. The removed router X is a neighbour
 * of both, relays old lists and makes up new ones. Disks, crash between any two steps, cuts, files put back.
 *
 * Lists by version: 0 none, 1 an older one that X is not in, 2 the one that names X, 3 what X makes up.
 * Defences: NO_SIGNATURE NO_MONOTONE NO_DISK_FIRST NO_NUMBER NO_PASS_ON NO_LEASE.
 * Faults that can be put in: PUT_BACK (the list's file, not the counters), ROLLBACK (the whole folder).
 * ISOLATED: router 1 hears of nobody but X.
 * "STEP …": what a run does to the parties, for who plays it on the code (tests/unit/models/test_played_removal.py).
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#define N 2
byte faults = FAULTS, tricks = 2;
bool over = false, cut[N];
byte dks = 1;                                     /* the DKS's list */
byte file[N], number[N];                          /* on the disk: revocation.cose, and its number in the counters */
bool on[N], closed[N], lease_over[N], heard[N];
byte list[N], taking[N];                          /* in RAM: acted on; verified and not yet on the disk */
byte step[N];

#define ACCEPTS(n) (on[n] && !closed[n] && list[n] != 2 && !lease_over[n])
#define IDLE(n) (on[n] && !closed[n] && step[n] == 0)
#ifdef NO_MONOTONE
#define NEWER(n, v) (v != list[n] && v != 0)
#else
#define NEWER(n, v) (v > list[n])
#endif

inline act(n) { list[n] = taking[n]; if :: list[n] == 2 -> heard[n] = true :: else fi }
inline boot(n) {
  on[n] = true; step[n] = 0; taking[n] = 0; list[n] = file[n]; closed[n] = false;
#ifndef NO_NUMBER
  if :: number[n] > file[n] -> closed[n] = true; list[n] = 0 :: else -> number[n] = file[n] fi;   /* Retained.acts_on_revocation */
#endif
  if :: list[n] == 2 -> heard[n] = true :: else fi
}

active [N] proctype router() {
  byte n = _pid;
  do
  :: atomic { !on[n] -> printf("STEP boot_%d\n", n); boot(n) }
  :: atomic { n == 0 && IDLE(0) && !cut[0] && NEWER(0, dks) -> printf("STEP ask\n"); taking[0] = dks; step[0] = 1 }   /* POLICY_SUMMARY, REVOCATION */
#ifndef NO_PASS_ON
#ifndef ISOLATED
  :: atomic { n == 1 && IDLE(1) && on[0] && !closed[0] && !cut[1] && NEWER(1, list[0]) -> printf("STEP ask\n"); taking[1] = list[0]; step[1] = 1 }
#endif
#endif
  :: atomic { IDLE(n) && tricks > 0 && ACCEPTS(n) && NEWER(n, 1) -> printf("STEP older_%d\n", n); tricks--; taking[n] = 1; step[n] = 1 }
#ifdef NO_MONOTONE
  :: atomic { IDLE(n) && tricks > 0 && list[n] == 2 -> printf("STEP older_%d\n", n); tricks--; taking[n] = 1; step[n] = 1 }
#endif
#ifdef NO_SIGNATURE
  :: atomic { IDLE(n) && tricks > 0 && NEWER(n, 3) -> printf("STEP forged_%d\n", n); tricks--; taking[n] = 3; step[n] = 1 }
#endif
#ifdef NO_DISK_FIRST
  :: atomic { on[n] && step[n] == 1 -> act(n); step[n] = 2 }
  :: atomic { on[n] && step[n] == 2 -> file[n] = taking[n]; number[n] = taking[n]; step[n] = 0; taking[n] = 0 }
#else
  :: atomic { on[n] && step[n] == 1 -> file[n] = taking[n]; step[n] = 2 }
  :: atomic { on[n] && step[n] == 2 -> number[n] = taking[n]; step[n] = 3 }
  :: atomic { on[n] && step[n] == 3 -> act(n); step[n] = 0; taking[n] = 0 }
#endif
#ifndef NO_LEASE
#ifdef ISOLATED
  :: atomic { n == 1 && on[1] && !lease_over[1] && over -> printf("STEP lease\n"); lease_over[1] = true }
#endif
#endif
  :: atomic { closed[n] && over -> printf("STEP mend_%d\n", n); number[n] = 0; file[n] = 0; closed[n] = false; on[n] = false; heard[n] = false }  /* a person sets it right */
  :: atomic { !over && faults > 0 && on[n] -> printf("STEP crash_%d\n", n); faults--; on[n] = false; closed[n] = false; step[n] = 0; taking[n] = 0; list[n] = 0 }
  :: atomic { !over && faults > 0 && !cut[n] -> printf("STEP cut_%d\n", n); faults--; cut[n] = true }
  :: atomic { !over && cut[n] -> printf("STEP heal_%d\n", n); cut[n] = false }
#ifdef PUT_BACK
  :: atomic { !over && faults > 0 && !on[n] && file[n] == 2 -> printf("STEP putback_%d\n", n); faults--; file[n] = 1 }
#endif
#ifdef ROLLBACK
  :: atomic { !over && faults > 0 && !on[n] && file[n] == 2 -> printf("STEP rollback_%d\n", n); faults--; file[n] = 1; number[n] = 1 }
#endif
  od
}

active proctype others() {
  atomic { dks == 1 -> printf("STEP remove\n"); dks = 2 };                 /* the Policy Server removes X */
  atomic { !over -> printf("STEP over\n"); over = true; cut[0] = false; cut[1] = false }
}

ltl stays_out { [] ((heard[0] -> !ACCEPTS(0)) && (heard[1] -> !ACCEPTS(1))) }
ltl all_told { <> [] (on[0] && on[1] && list[0] == 2 && list[1] == 2) }
ltl out_at_last { <> [] (!ACCEPTS(0) && !ACCEPTS(1)) }
